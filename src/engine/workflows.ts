import { createHash } from "node:crypto";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Invocation } from "../core/model.ts";
import { checkResourceName } from "../core/names.ts";
import { checkDefinition, isEventName } from "../core/workflow/check.ts";
import type { DeciderProtocol } from "../core/workflow/decider.ts";
import { type Workflow, type WorkflowDefinition, workflowLimits } from "../core/workflow/definition.ts";
import type { Outcome, StartedEvent, Value } from "../core/workflow/event.ts";
import { openTasks, type RunState, type Task } from "../core/workflow/state.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { Clock } from "../ports/clock.ts";
import type { Journal } from "../ports/journal.ts";
import type { Log } from "../ports/log.ts";
import type { Queue } from "../ports/queue.ts";
import type { RecordEntry, Records } from "../ports/records.ts";
import type { Dispatcher, RunSummary, RunView, SequencedEvent, StartRun, Workflows } from "./engine.ts";
import { everyStream } from "./every-stream.ts";
import { timeOf } from "./identifier.ts";
import { valuesNamedInStream } from "./named-values.ts";
import { decode, runStream, runStreams, type RunHost, WorkflowRun } from "./workflow-run.ts";
import { type Due, WorkflowTimers } from "./workflow-timers.ts";
import { failureOf, timingsOf, WorkflowValues } from "./workflow-values.ts";
import { runView } from "./workflow-view.ts";

export interface WorkflowsOptions {
  readonly journal: Journal;
  readonly records: Records;
  readonly queue: Queue;
  readonly values: Pick<Blobs, "put" | "get" | "has">;
  readonly dispatcher: Pick<Dispatcher, "accept" | "cancel" | "status">;
  readonly clock: Clock;
  readonly identify: () => string;
  readonly log: Log;
  /** How long a run that is over can be asked about. */
  readonly retentionMs: number;
  /** Hears of each run that has ended, before its parent does; asked again where it rejects, and after a crash. */
  readonly onEnded?: (run: RunView) => Promise<void>;
  /** How dialects' deciders are asked, by name. */
  readonly protocols?: Readonly<Record<string, DeciderProtocol>>;
}

export interface EngineWorkflows extends Workflows {
  /**
   * For the dispatcher: a call of a run has settled. Resolves when the run's journal knows, and only then may the call be
   * forgotten; told twice, the journal holds it once.
   */
  settled(record: Invocation): Promise<void> | undefined;
  /** Removes all that a namespace has of workflows. */
  forget(namespace: string): Promise<void>;
  /** Deletes the histories of runs whose retention is over. */
  sweep(): Promise<void>;
  /** Digests of the kept values that histories of runs name, any number of times. */
  namedValues(): AsyncIterable<string>;
  /** Takes up the runs that are open. */
  open(): Promise<void>;
  /** Begins nothing any more; what happens to runs still comes into their journals. */
  close(): Promise<void>;
}

/** Creates it at rest; `open()` takes up the runs that are open. */
export function createWorkflows(options: WorkflowsOptions): EngineWorkflows {
  return new JournaledWorkflows(options);
}

class JournaledWorkflows implements EngineWorkflows, RunHost {
  readonly journal: Journal;
  readonly values: WorkflowValues;
  readonly clock: Clock;
  readonly log: Log;
  readonly identify: () => string;
  readonly protocols: Readonly<Record<string, DeciderProtocol>>;
  readonly #options: WorkflowsOptions;
  readonly #timers: WorkflowTimers;
  /** Runs that this process is at work on, and some more, the newest last. */
  readonly #runs = new Map<string, WorkflowRun>();
  readonly #waiters = new Map<string, Set<() => void>>();
  readonly #startedAt: number;
  /** The runs that were open at the start are in `#runs`. */
  #takenUp: Promise<void> | undefined;
  /** An open run may be missing in `#runs`. */
  #evicted = false;
  closed = false;

  constructor(options: WorkflowsOptions) {
    this.#options = options;
    this.journal = options.journal;
    this.values = new WorkflowValues(options.values);
    this.clock = options.clock;
    this.log = options.log;
    this.identify = options.identify;
    this.protocols = options.protocols ?? {};
    this.#startedAt = options.clock.now();
    this.#timers = new WorkflowTimers({ ...options, fire: (due) => this.#fire(due) });
  }

  // Definitions.

  async put(namespace: string, name: string, document: unknown): Promise<Workflow> {
    checkResourceName(name, "name", "workflow");
    const definition = checkDefinition(document);
    const { records } = this.#options;
    for (;;) {
      const before = await records.get<Workflow>(workflowKey(namespace, name));
      if (before !== undefined && JSON.stringify(before.value.definition) === JSON.stringify(definition))
        return before.value;
      const now = this.clock.now();
      const { version = 0, createdAt = now } = before?.value ?? {};
      const workflow: Workflow = { namespace, name, version: version + 1, definition, createdAt, updatedAt: now };
      try {
        await records.put(workflowKey(namespace, name), workflow, { expect: before?.revision ?? 0 });
        return workflow;
      } catch (thrown) {
        if (asVirgaError(thrown).code !== "conflict") throw thrown;
      }
    }
  }

  async get(namespace: string, name: string): Promise<Workflow | undefined> {
    return (await this.#options.records.get<Workflow>(workflowKey(namespace, name)))?.value;
  }

  async list(namespace: string, { after, limit }: { after?: string; limit: number }): Promise<Workflow[]> {
    const prefix = workflowKey(namespace, "");
    const page = after === undefined ? {} : { after: prefix + after };
    const entries = await this.#options.records.list<Workflow>(prefix, { limit, ...page });
    return entries.map(({ value }) => value);
  }

  delete(namespace: string, name: string): Promise<boolean> {
    return this.#options.records.delete(workflowKey(namespace, name));
  }

  // Runs.

  async start(request: StartRun): Promise<{ id: string; duplicate: boolean }> {
    if (this.closed) throw new VirgaError("unavailable", "the server is shutting down");
    const { namespace, workflow: name, idempotencyKey, parent, depth = 0, annotations } = request;
    const found = await this.#definition(request);
    const input = await this.values.keep(request.input);
    let id = request.id ?? this.identify();
    if (idempotencyKey !== undefined) id = await this.#firstId(namespace, name, idempotencyKey, id);
    const started: StartedEvent = {
      kind: "started",
      at: this.clock.now(),
      workflow: name,
      ...found,
      input,
      generation: 0,
      depth,
      ...(parent === undefined ? {} : { parent }),
      ...(annotations === undefined ? {} : { annotations }),
    };
    return { id, duplicate: !(await this.#run(namespace, id).submit(started)) };
  }

  async run(namespace: string, id: string): Promise<RunView | undefined> {
    const state = await this.#run(namespace, id).read();
    return state === undefined ? undefined : runView(namespace, id, state);
  }

  async runs(
    namespace: string,
    filter: { workflow?: string; status?: RunSummary["status"]; after?: string; limit: number },
  ): Promise<RunSummary[]> {
    const found: RunSummary[] = [];
    const prefix = summaryPrefix(namespace);
    let after = filter.after === undefined ? undefined : prefix + mirrored(filter.after);
    for (;;) {
      const page: RecordEntry<KeptSummary>[] = await this.#options.records.list<KeptSummary>(prefix, {
        limit: listed,
        ...(after === undefined ? {} : { after }),
      });
      for (const { value } of page) {
        const { namesValues: _, ...summary } = value;
        if (filter.workflow !== undefined && value.workflow !== filter.workflow) continue;
        if (filter.status !== undefined && value.status !== filter.status) continue;
        if (found.push(summary) === filter.limit) return found;
      }
      after = page.at(-1)?.key;
      if (page.length < listed) return found;
    }
  }

  async history(
    namespace: string,
    id: string,
    { from, limit }: { from: number; limit: number },
  ): Promise<SequencedEvent[]> {
    const events = await this.journal.read(runStream(namespace, id), from, limit);
    return events.map((event) => ({ sequence: event.sequence, ...decode(event) }));
  }

  read(value: Value) {
    return this.values.read(value);
  }

  async signal(
    namespace: string,
    id: string,
    signal: { name: string; id?: string; value: Value },
  ): Promise<{ id: string; duplicate: boolean }> {
    if (!isEventName(signal.name)) {
      throw new VirgaError("invalid_field", `${JSON.stringify(signal.name)} is no name of an event`, { field: "name" });
    }
    const run = this.#run(namespace, id);
    const signalId = signal.id ?? this.identify();
    const value = await this.values.keep(signal.value);
    const event = { kind: "signalled" as const, at: this.clock.now(), name: signal.name, id: signalId, value };
    if (await run.submit(event)) return { id: signalId, duplicate: false };
    const state = await run.read();
    if (state === undefined) throw unknownRun(namespace, id);
    if (state.status !== "running") throw over(id, state);
    if (state.signalIds.has(signalId)) return { id: signalId, duplicate: true };
    throw new VirgaError("queue_full", `${workflowLimits.bufferedSignals} signals wait for run ${id} to take them`);
  }

  async cancel(namespace: string, id: string): Promise<boolean> {
    const run = this.#run(namespace, id);
    const message = "the run was cancelled";
    return run.submit({ kind: "stopped", at: this.clock.now(), status: "cancelled", message });
  }

  async ended(namespace: string, id: string, timeoutMs: number): Promise<boolean> {
    const key = runKey(namespace, id);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiters = this.#waiters.get(key) ?? new Set();
    this.#waiters.set(key, waiters.add(resolve));
    const timer = this.clock.after(timeoutMs, resolve);
    try {
      const state = await this.#run(namespace, id).read();
      if (state?.status === "running") await promise;
      else return true;
      return (await this.#run(namespace, id).read())?.status !== "running";
    } finally {
      timer.cancel();
      waiters.delete(resolve);
      if (waiters.size === 0) this.#waiters.delete(key);
    }
  }

  async open(): Promise<void> {
    try {
      await this.#timers.start();
      this.#takenUp = this.#takeUp();
      await this.#takenUp;
    } catch (thrown) {
      this.log.error("open workflow runs could not be found; trying again", { error: asVirgaError(thrown) });
      this.clock.after(troubleMs, () => {
        if (!this.closed) void this.open();
      });
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const run of this.#runs.values()) run.close();
    for (const waiters of this.#waiters.values()) for (const resolve of waiters) resolve();
    await this.#timers.stop();
  }

  // For the dispatcher.

  settled(record: Invocation): Promise<void> | undefined {
    const { cause, namespace } = record;
    if (cause.kind === "workflow" && cause.parent !== undefined)
      return this.#hear(this.#run(namespace, cause.parent), record);
    // A call that was cancelled before it ran is known by its id alone.
    return record.status === "cancelled" ? this.#hearCancelled(record) : undefined;
  }

  // For its runs.

  async mark(run: WorkflowRun, started: StartedEvent): Promise<void> {
    const { namespace, id } = run;
    const { workflow, version, at, parent } = started;
    const summary: RunSummary = {
      namespace,
      id,
      workflow,
      version,
      status: "running",
      startedAt: at,
      ...(parent === undefined ? {} : { parent: parent.run }),
    };
    await this.#options.records.batch([
      { put: openKey(namespace, id), value: at },
      { put: summaryKey(namespace, id), value: summary },
    ]);
  }

  async unmark({ namespace, id }: WorkflowRun): Promise<void> {
    const { records } = this.#options;
    const open = await records.get(openKey(namespace, id));
    // One of this process may be about to get its first event.
    if (open === undefined || (timeOf(id) ?? 0) >= this.#startedAt) return;
    try {
      await records.batch([
        { delete: openKey(namespace, id), expect: open.revision },
        { delete: summaryKey(namespace, id) },
      ]);
    } catch (thrown) {
      if (asVirgaError(thrown).code !== "conflict") throw thrown;
    }
  }

  async isOpen({ namespace, id }: WorkflowRun): Promise<boolean> {
    return (await this.#options.records.get(openKey(namespace, id))) !== undefined;
  }

  async armDeadline({ namespace, id }: WorkflowRun, { started }: RunState): Promise<void> {
    const { timeoutMs = 0 } = started.definition;
    await this.#timers.set(
      { namespace, run: id, ref: deadlineOf(id), kind: "deadline" },
      (timeOf(id) ?? started.at) + timeoutMs,
    );
  }

  async finish(run: WorkflowRun, state: RunState): Promise<void> {
    const { namespace, id } = run;
    for (const task of openTasks(state)) await this.#giveUp(namespace, task);
    await this.#options.onEnded?.(runView(namespace, id, state));
    const { started, status, output, error, endedAt = this.clock.now() } = state;
    if (started.definition.timeoutMs !== undefined) await this.#timers.cancel(deadlineOf(id));
    if (started.parent !== undefined) {
      const { run: parent, ref } = started.parent;
      const outcome: Outcome =
        status === "succeeded"
          ? { ok: true, value: output ?? { json: null } }
          : { ok: false, error: error ?? { code: status, message: `the run ${status}` } };
      await this.#run(namespace, parent).submit({ kind: "settled", at: this.clock.now(), ref, outcome });
    }
    const summary: KeptSummary = {
      namespace,
      id,
      workflow: started.workflow,
      version: started.version,
      status,
      startedAt: timeOf(id) ?? started.at,
      endedAt,
      ...(started.parent === undefined ? {} : { parent: started.parent.run }),
      ...(error === undefined ? {} : { error }),
      namesValues: run.namesValues,
    };
    await this.#options.records.batch([
      { put: summaryKey(namespace, id), value: summary, ttlMs: this.#options.retentionMs },
      { delete: openKey(namespace, id) },
    ]);
    for (const resolve of this.#waiters.get(runKey(namespace, id)) ?? []) resolve();
  }

  async #hear(run: WorkflowRun, record: Invocation): Promise<void> {
    const outcome = await this.values.outcomeOf(record);
    const at = this.clock.now();
    await run.submit({ kind: "settled", at, ref: record.id, outcome, timings: timingsOf(record) });
  }

  async #hearCancelled(record: Invocation): Promise<void> {
    await this.#takenUp;
    for (const run of this.#runs.values()) {
      if (run.namespace === record.namespace && run.knows(record.id)) return this.#hear(run, record);
    }
    if (!this.#evicted) return;
    for (const { key } of await this.#options.records.list(openKey(record.namespace, ""))) {
      const run = this.#run(record.namespace, key.slice(key.lastIndexOf("/") + 1));
      if ((await run.read())?.refs.has(record.id) === true) return this.#hear(run, record);
    }
  }

  finished(run: WorkflowRun): void {
    const key = runKey(run.namespace, run.id);
    // It may be a later one that goes by this key.
    if (this.#runs.get(key) === run) this.#runs.delete(key);
  }

  // Housekeeping.

  async forget(namespace: string): Promise<void> {
    const { records } = this.#options;
    for (const [key, run] of this.#runs) {
      if (run.namespace !== namespace) continue;
      run.close();
      this.#runs.delete(key);
    }
    for (const prefix of [
      workflowKey(namespace, ""),
      openKey(namespace, ""),
      summaryPrefix(namespace),
      `workflow-keys/${namespace}/`,
    ]) {
      for (;;) {
        const page = await records.list(prefix, { limit: listed });
        for (const { key } of page) await records.delete(key);
        if (page.length < listed) break;
      }
    }
    for await (const stream of everyStream(this.journal, `${runStreams}${namespace}/`))
      await this.journal.deleteStream(stream);
  }

  async sweep(): Promise<void> {
    const { records } = this.#options;
    const before = this.clock.now() - this.#options.retentionMs;
    for await (const stream of everyStream(this.journal, runStreams)) {
      const [namespace = "", id = ""] = stream.slice(runStreams.length).split("/");
      if ((timeOf(id) ?? 0) > before) continue;
      if ((await records.get(summaryKey(namespace, id))) !== undefined) continue;
      if ((await records.get(openKey(namespace, id))) !== undefined) continue;
      await this.journal.deleteStream(stream);
      this.#runs.delete(runKey(namespace, id));
    }
  }

  async *namedValues(): AsyncGenerator<string> {
    for await (const stream of everyStream(this.journal, runStreams)) {
      const [namespace = "", id = ""] = stream.slice(runStreams.length).split("/");
      const summary = await this.#options.records.get<KeptSummary>(summaryKey(namespace, id));
      if (summary?.value.namesValues !== false) yield* valuesNamedInStream(this.journal, stream);
    }
  }

  // Starting.

  async #definition(request: StartRun): Promise<{ version: number; definition: WorkflowDefinition }> {
    if (request.definition !== undefined) return { version: 0, definition: request.definition };
    const found = await this.get(request.namespace, request.workflow);
    if (found === undefined) {
      throw new VirgaError("not_found", `there is no workflow ${request.workflow} in namespace ${request.namespace}`, {
        fix: "list them with: virga workflow list",
      });
    }
    return { version: found.version, definition: found.definition };
  }

  /** The id that the workflow's first run with this key had within the last day; `id` where this is the first. */
  async #firstId(namespace: string, name: string, key: string, id: string): Promise<string> {
    const { records } = this.#options;
    const hash = createHash("sha256").update(key).digest("hex");
    const record = `workflow-keys/${namespace}/${name}/${hash}`;
    for (;;) {
      try {
        await records.put(record, id, { expect: 0, ttlMs: rememberKeysMs });
        return id;
      } catch (thrown) {
        if (asVirgaError(thrown).code !== "conflict") throw thrown;
      }
      const first = await records.get<string>(record);
      if (first !== undefined) return first.value;
    }
  }

  async begin(run: WorkflowRun, state: RunState, task: Task): Promise<void> {
    const { namespace, id } = run;
    const { ref, spec, scheduledAt } = task;
    switch (spec.kind) {
      case "timer":
        return this.#timers.set({ namespace, run: id, ref, kind: "timer" }, scheduledAt + spec.delayMs);
      case "event":
        if (spec.timeoutMs === undefined) return;
        return this.#timers.set({ namespace, run: id, ref, kind: "event" }, scheduledAt + spec.timeoutMs);
      case "call":
        return this.#orFail(run, ref, async () => {
          if (spec.preferWorkflow === true && (await this.#prefersRun(namespace, ref, spec.function))) {
            await this.#startWithin(run, ref, spec.function, spec.input, state.started);
          } else await this.#call(run, task, spec, state.started);
        });
      default:
        return this.#orFail(run, ref, () => this.#startWithin(run, ref, spec.workflow, spec.input, state.started));
    }
  }

  /** What was begun before a crash stays what it was, though a workflow of the name has come or gone since. */
  async #prefersRun(namespace: string, ref: string, name: string): Promise<boolean> {
    if ((await this.get(namespace, name)) === undefined) return this.#isBegun(namespace, ref);
    return (await this.#options.dispatcher.status(namespace, ref)) === undefined;
  }

  async #isBegun(namespace: string, id: string): Promise<boolean> {
    return (await this.#run(namespace, id).read()) !== undefined;
  }

  async #startWithin(
    { namespace, id }: WorkflowRun,
    ref: string,
    workflow: string,
    input: Value,
    started: StartedEvent,
  ): Promise<void> {
    const depth = started.depth + 1;
    if (depth > workflowLimits.runDepth) {
      throw new VirgaError("loop_detected", `workflows ran in each other ${workflowLimits.runDepth} deep`);
    }
    try {
      await this.start({ namespace, workflow, input, id: ref, parent: { run: id, ref }, depth });
    } catch (thrown) {
      // Its definition may have been deleted since it began, before a crash.
      if (asVirgaError(thrown).code !== "not_found" || !(await this.#isBegun(namespace, ref))) throw thrown;
    }
  }

  /** What cannot be begun for a reason of the user's has failed. */
  async #orFail(run: WorkflowRun, ref: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (thrown) {
      const outcome = failureOf(thrown);
      if (outcome === undefined) throw thrown;
      await run.submit({ kind: "settled", at: this.clock.now(), ref, outcome });
    }
  }

  async #call(
    run: WorkflowRun,
    task: Task,
    spec: Task["spec"] & { kind: "call" },
    started: StartedEvent,
  ): Promise<void> {
    const { namespace, id } = run;
    const { dispatcher } = this.#options;
    const { type, bytes } = await this.values.body(spec.input);
    const name = spec.function;
    const key = `${id}/${started.generation}/${task.id}`;
    const { duplicate } = await dispatcher.accept({
      namespace,
      name,
      ...(spec.tag === undefined ? {} : { tag: spec.tag }),
      id: task.ref,
      knownById: true,
      idempotencyKey: key,
      cause: { kind: "workflow", parent: id, root: started.parent?.run ?? id },
      method: "POST",
      target: "/",
      url: `http://${name}.${namespace}/`,
      headers: [
        "content-type",
        type,
        "idempotency-key",
        key,
        "x-virga-workflow",
        started.workflow,
        "x-virga-workflow-run",
        id,
        "x-virga-workflow-task",
        task.id,
      ],
      body: bytes,
    });
    if (!duplicate) return;
    // Begun before a restart. What has settled has told its run; this is for a record whose message was taken away.
    const status = await dispatcher.status(namespace, task.ref);
    if (status?.invocation !== undefined) await this.settled(status.invocation);
  }

  async #giveUp(namespace: string, { ref, spec }: Task): Promise<void> {
    if (spec.kind === "call") {
      const wasCall = await this.#options.dispatcher.cancel(namespace, ref);
      if (!wasCall && spec.preferWorkflow === true) await this.cancel(namespace, ref);
    } else if (spec.kind === "workflow") await this.cancel(namespace, ref);
    else await this.#timers.cancel(ref);
  }

  async #fire({ namespace, run: id, ref, kind }: Due): Promise<void> {
    const run = this.#run(namespace, id);
    const at = this.clock.now();
    if (kind === "deadline") {
      await run.submit({ kind: "stopped", at, status: "timed_out", message: "the run took longer than its timeoutMs" });
      return;
    }
    const outcome: Outcome =
      kind === "timer"
        ? { ok: true, value: { json: null } }
        : { ok: false, error: { code: "timeout", message: "the event did not come in time" } };
    await run.submit({ kind: "settled", at, ref, outcome });
  }

  /** Decides and does again whatever the open runs were at when the process before this one ended. */
  async #takeUp(): Promise<void> {
    let after: string | undefined;
    for (;;) {
      const page: RecordEntry<unknown>[] = await this.#options.records.list(openPrefix, {
        limit: takenUpAtOnce,
        ...(after === undefined ? {} : { after }),
      });
      await Promise.all(
        page.map(({ key }) => {
          const [namespace = "", id = ""] = key.slice(openPrefix.length).split("/");
          return this.#run(namespace, id).wake();
        }),
      );
      after = page.at(-1)?.key;
      if (page.length < takenUpAtOnce || this.closed) return;
    }
  }

  #run(namespace: string, id: string): WorkflowRun {
    const key = runKey(namespace, id);
    let run = this.#runs.get(key);
    if (run === undefined) {
      run = new WorkflowRun(this, namespace, id);
      this.#runs.set(key, run);
      if (this.#runs.size > keptRuns) this.#evict();
    }
    return run;
  }

  /** What a run knows can be read again. */
  #evict(): void {
    for (const [key, run] of this.#runs) {
      if (this.#runs.size <= keptRuns / 2) return;
      if (!run.idle) continue;
      this.#runs.delete(key);
      if (!run.finished) this.#evicted = true;
    }
  }
}

/** `workflow-runs/NAMESPACE/ID`. */
interface KeptSummary extends RunSummary {
  /** Of a run that is over: whether its history names kept values. Those of earlier versions do not say. */
  readonly namesValues?: boolean;
}

function unknownRun(namespace: string, id: string): VirgaError {
  return new VirgaError("not_found", `there is no workflow run ${id} in namespace ${namespace}`, {
    fix: "runs are kept for a while only; list them with: virga workflow runs",
  });
}

function over(id: string, { status }: RunState): VirgaError {
  return new VirgaError("conflict", `run ${id} is over: ${status}`);
}

function workflowKey(namespace: string, name: string): string {
  return `workflows/${namespace}/${name}`;
}

const openPrefix = "workflow-open/";

function openKey(namespace: string, id: string): string {
  return `${openPrefix}${namespace}/${id}`;
}

function summaryPrefix(namespace: string): string {
  return `workflow-runs/${namespace}/`;
}

/** Newest first in the order of keys: ids grow with time, their mirror images shrink. */
function summaryKey(namespace: string, id: string): string {
  return summaryPrefix(namespace) + mirrored(id);
}

function mirrored(id: string): string {
  return id.replaceAll(/[0-9a-f]/g, (digit) => (15 - Number.parseInt(digit, 16)).toString(16));
}

function runKey(namespace: string, id: string): string {
  return `${namespace}/${id}`;
}

function deadlineOf(id: string): string {
  return `${id}/deadline`;
}

/** As the API promises for idempotency keys. */
const rememberKeysMs = 24 * 3_600_000;
const troubleMs = 1000;
const listed = 500;
const takenUpAtOnce = 50;
const keptRuns = 1000;
