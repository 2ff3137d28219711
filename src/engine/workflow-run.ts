import { asVirgaError } from "../core/errors.ts";
import type { DeciderProtocol } from "../core/workflow/decider.ts";
import { type Command, decide } from "../core/workflow/decide.ts";
import { type Json, workflowLimits } from "../core/workflow/definition.ts";
import type { BlobValue, RunEvent, StartedEvent, Value } from "../core/workflow/event.ts";
import { fold, isNews, openTasks, type RunState, type Task } from "../core/workflow/state.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Journal, JournalEvent } from "../ports/journal.ts";
import type { Log } from "../ports/log.ts";
import { namesValue } from "./named-values.ts";
import type { WorkflowValues } from "./workflow-values.ts";

/** What a run needs of the workflows. All of it may be done twice with the same `ref`. */
export interface RunHost {
  readonly journal: Journal;
  readonly values: WorkflowValues;
  readonly clock: Clock;
  readonly log: Log;
  readonly identify: () => string;
  readonly protocols: Readonly<Record<string, DeciderProtocol>>;
  readonly closed: boolean;
  /** The run is among the open ones, durably, before its first event is. */
  mark(run: WorkflowRun, started: StartedEvent): Promise<void>;
  /** Among the open ones without an event: it was never accepted. */
  unmark(run: WorkflowRun): Promise<void>;
  isOpen(run: WorkflowRun): Promise<boolean>;
  begin(run: WorkflowRun, state: RunState, task: Task): Promise<void>;
  armDeadline(run: WorkflowRun, state: RunState): Promise<void>;
  /** Nothing is to be done any more. */
  finished(run: WorkflowRun): void;
  /** Open tasks given up, its parent told, no longer among the open ones. */
  finish(run: WorkflowRun, state: RunState): Promise<void>;
}

/**
 * One run, as long as this process has something to do with it. Whatever happens to it comes in as an event; a turn takes
 * all that wait, decides what follows, and appends both in one write, which succeeds only where nobody else has written since
 * (then the turn is made again on what is there). What was decided is done behind the write and, where a crash comes
 * between, again: by `ref` it happens once. Nothing here is needed after a restart.
 */
export class WorkflowRun {
  readonly namespace: string;
  readonly id: string;
  readonly stream: string;
  /** Whether its journal names kept values. To be relied on where its state is known. */
  namesValues = false;
  readonly #host: RunHost;
  #state: RunState | undefined;
  #inbox: Submitted[] = [];
  #turning = false;
  #acting = false;
  #actAgain = false;
  #finished = false;
  #trimmed = 0;
  #begun = new Set<string>();
  /** Of blobs that a decision looks into, for one turn. */
  #contents = new Map<string, Json>();
  #retry: Timer | undefined;
  #troubles = 0;

  constructor(host: RunHost, namespace: string, id: string) {
    this.#host = host;
    this.namespace = namespace;
    this.id = id;
    this.stream = runStream(namespace, id);
  }

  /** Nothing is under way: it can be forgotten. */
  get idle(): boolean {
    return !this.#turning && !this.#acting && this.#retry === undefined && this.#inbox.length === 0;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** Resolves when it is in the journal; to false where it changed nothing there (known already, too late, no such run). */
  submit(event: RunEvent): Promise<boolean> {
    // A run that is over is not changed by anything, and giving up its tasks must not wait for itself.
    if (this.#state !== undefined && this.#state.status !== "running") return Promise.resolve(false);
    return this.#enqueue(event);
  }

  /** Decides and does what is open, as after a restart. Resolves when it was decided; where that fails, it is tried again. */
  async wake(): Promise<void> {
    try {
      await this.#enqueue(undefined);
    } catch (thrown) {
      this.#later(thrown);
    }
  }

  /** The newest state; undefined where there is no such run. */
  read(): Promise<RunState | undefined> {
    return this.#readFrom(this.#state);
  }

  /** Whether a task is called so, as far as this process has seen. */
  knows(ref: string): boolean {
    return this.#state?.refs.has(ref) === true;
  }

  close(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  #enqueue(event: RunEvent | undefined): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    this.#inbox.push({ event, resolve, reject });
    if (!this.#turning) void this.#turns();
    return promise;
  }

  async #turns(): Promise<void> {
    this.#turning = true;
    while (this.#inbox.length > 0) {
      const batch = this.#inbox;
      this.#inbox = [];
      try {
        const changed = await this.#turn(batch);
        for (const [index, { resolve }] of batch.entries()) resolve(changed[index] ?? false);
      } catch (thrown) {
        this.#state = undefined;
        for (const { reject } of batch) reject(thrown);
      }
      void this.#act();
    }
    this.#turning = false;
  }

  /** Which events of the batch changed something. */
  async #turn(batch: readonly Submitted[]): Promise<boolean[]> {
    for (;;) {
      let state = this.#state ?? (await this.#readFrom(undefined));
      const expect = state?.sequence ?? 0;
      const events: RunEvent[] = [];
      const changed: boolean[] = [];
      const told = new Set<string>();
      for (const { event } of batch) {
        const news = event !== undefined && !told.has(identityOf(event)) && isNewsTo(state, event);
        changed.push(news);
        if (!news) continue;
        told.add(identityOf(event));
        if (event.kind === "started") {
          await this.#host.mark(this, event);
          this.#finished = false;
          state = fold(undefined, [event]);
        }
        events.push(event);
      }
      // All at once: each fold copies the state.
      if (state !== undefined) state = fold(state, events[0]?.kind === "started" ? events.slice(1) : events);
      if (state === undefined) {
        await this.#host.unmark(this);
        this.#finished = true;
        return changed;
      }
      state = await this.#decided(state, events);
      if (events.length > 0) {
        try {
          const encoded = events.map((event) => encode(event));
          this.#noteValues(encoded);
          await this.#host.journal.append(this.stream, encoded, { expect });
        } catch (thrown) {
          if (asVirgaError(thrown).code !== "conflict") throw thrown;
          // Another owner was faster, or this one did not hear that its own write had succeeded.
          this.#state = undefined;
          continue;
        }
      }
      this.#state = state;
      return changed;
    }
  }

  /** The state with all that is decided on it, which is added to `events`. */
  async #decided(given: RunState, events: RunEvent[]): Promise<RunState> {
    let state = given;
    for (;;) {
      const decision = decide(state, this.#contents, this.#host.protocols);
      if (decision.kind === "load") {
        await this.#load(decision.blobs);
        continue;
      }
      if (decision.commands.length === 0) break;
      const more: RunEvent[] = [];
      for (const command of decision.commands) more.push(...(await this.#eventsOf(command, state)));
      state = fold(state, more);
      events.push(...more);
    }
    this.#contents.clear();
    return state;
  }

  async #load(blobs: readonly BlobValue[]): Promise<void> {
    for (const value of blobs) this.#contents.set(value.blob, await this.#host.values.read(value));
  }

  async #eventsOf(command: Command, state: RunState): Promise<RunEvent[]> {
    const at = this.#host.clock.now();
    const { started } = state;
    switch (command.kind) {
      case "schedule": {
        const { task, spec, reason } = command;
        const ref = this.#host.identify();
        if (spec.kind !== "call" && spec.kind !== "workflow")
          return [{ kind: "scheduled", at, task, ref, spec, reason }];
        const input = await this.#keep(spec.input);
        if (input !== undefined) return [{ kind: "scheduled", at, task, ref, spec: { ...spec, input }, reason }];
        const error = tooLarge;
        return [
          { kind: "scheduled", at, task, ref, spec: { ...spec, input: { json: null } }, reason },
          { kind: "settled", at, ref, outcome: { ok: false, error } },
        ];
      }
      case "end": {
        const { status, error, reason } = command;
        const output = command.output === undefined ? undefined : await this.#keep(command.output);
        const fits = command.output === undefined || output !== undefined;
        if (!fits && status === "succeeded")
          return [{ kind: "ended", at, status: "failed", error: tooLarge, reason: tooLarge.message }];
        return [{ kind: "ended", at, status, reason, ...(output && { output }), ...(error && { error }) }];
      }
      default: {
        const input = await this.#keep(command.input);
        if (input === undefined)
          return [{ kind: "ended", at, status: "failed", error: tooLarge, reason: tooLarge.message }];
        return [{ ...started, at, input, generation: started.generation + 1 }];
      }
    }
  }

  #noteValues(events: readonly { readonly data: Uint8Array }[]): void {
    this.namesValues ||= events.some(({ data }) => namesValue(data));
  }

  /** Undefined where it is too large. */
  async #keep(value: Value): Promise<Value | undefined> {
    try {
      return await this.#host.values.keep(value);
    } catch (thrown) {
      if (asVirgaError(thrown).code === "request_too_large") return undefined;
      throw thrown;
    }
  }

  /** Does what the journal says is to be done. One at a time; asked again meanwhile, it looks again. */
  async #act(): Promise<void> {
    if (this.#acting) {
      this.#actAgain = true;
      return;
    }
    this.#acting = true;
    try {
      do {
        this.#actAgain = false;
        await this.#actOn(this.#state);
        this.#troubles = 0;
      } while (this.#actAgain);
    } catch (thrown) {
      this.#later(thrown);
    } finally {
      this.#acting = false;
    }
  }

  async #actOn(state: RunState | undefined): Promise<void> {
    if (state === undefined || this.#finished || this.#host.closed) return;
    if (state.status !== "running") {
      if (await this.#host.isOpen(this)) await this.#host.finish(this, state);
      this.#finished = true;
      this.#host.finished(this);
      return;
    }
    const { generation, definition } = state.started;
    const deadline = "deadline";
    if (definition.timeoutMs !== undefined && !this.#begun.has(deadline)) {
      await this.#host.armDeadline(this, state);
      this.#begun.add(deadline);
    }
    const wanted = openTasks(state).filter(({ ref }) => !this.#begun.has(ref));
    const failures: unknown[] = [];
    await Promise.all(
      wanted.map(async (task) => {
        try {
          await this.#host.begin(this, state, task);
          this.#begun.add(task.ref);
        } catch (thrown) {
          failures.push(thrown);
        }
      }),
    );
    if (failures.length > 0) throw asVirgaError(failures[0]);
    if (generation <= this.#trimmed) return;
    await this.#forgetGenerations();
    this.#trimmed = generation;
  }

  /** What stands before the newest beginning is not read any more. */
  async #forgetGenerations(): Promise<void> {
    const { first, last } = await this.#host.journal.bounds(this.stream);
    for (let from = last; from > first; from--) {
      const [event] = await this.#host.journal.read(this.stream, from, 1);
      if (event === undefined || decode(event).kind !== "started") continue;
      await this.#host.journal.trim(this.stream, { before: from });
      return;
    }
  }

  #later(thrown: unknown): void {
    if (this.#host.closed) return;
    this.#host.log.warn("a workflow run could not go on; trying again", {
      namespace: this.namespace,
      run: this.id,
      error: asVirgaError(thrown),
    });
    if (this.#retry !== undefined) return;
    const delayMs = Math.min(longestTroubleMs, troubleMs * 2 ** this.#troubles++);
    this.#retry = this.#host.clock.after(delayMs, () => {
      this.#retry = undefined;
      void this.wake();
    });
  }

  async #readFrom(known: RunState | undefined): Promise<RunState | undefined> {
    let state = known;
    let next = known === undefined ? (await this.#host.journal.bounds(this.stream)).first : known.sequence + 1;
    for (;;) {
      const page = await this.#host.journal.read(this.stream, next, readEvents);
      if (page.length === 0) return state;
      this.#noteValues(page);
      state = fold(
        state,
        page.map((event) => decode(event)),
        next - 1,
      );
      next += page.length;
      if (page.length < readEvents) return state;
    }
  }
}

function isNewsTo(state: RunState | undefined, event: RunEvent): boolean {
  if (event.kind === "started") return state === undefined;
  return state !== undefined && isNews(state, event);
}

/** Two events of the same identity are the same event told twice. */
function identityOf(event: RunEvent): string {
  if (event.kind === "settled") return `settled ${event.ref}`;
  return event.kind === "signalled" ? `signalled ${event.id}` : event.kind;
}

/** An event, or undefined to look only. */
interface Submitted {
  readonly event: RunEvent | undefined;
  readonly resolve: (changed: boolean) => void;
  readonly reject: (thrown: unknown) => void;
}

export const runStreams = "workflow-runs/";

export function runStream(namespace: string, id: string): string {
  return `${runStreams}${namespace}/${id}`;
}

export function decode(event: JournalEvent): RunEvent {
  return JSON.parse(Buffer.from(event.data).toString("utf8")) as RunEvent;
}

function encode(event: RunEvent): { at: number; data: Uint8Array } {
  return { at: event.at, data: Buffer.from(JSON.stringify(event)) };
}

const tooLarge = { code: "payload_too_large", message: `a value is larger than ${workflowLimits.valueBytes} bytes` };
const troubleMs = 1000;
const longestTroubleMs = 60_000;
const readEvents = 1000;
