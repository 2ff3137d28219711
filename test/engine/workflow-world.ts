import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Json, WorkflowDefinition } from "../../src/core/workflow/definition.ts";
import { createMemoryBlobs } from "../../src/drivers/store/memory/blobs.ts";
import { openSqliteStore, type SqliteStore } from "../../src/drivers/store/sqlite/store.ts";
import { createDispatcher } from "../../src/engine/dispatcher.ts";
import type { Dispatcher, GatheredAnswer, InvocationRequest, RunView } from "../../src/engine/engine.ts";
import { createHistory } from "../../src/engine/history.ts";
import { createIdentifier } from "../../src/engine/identifier.ts";
import { createWorkflows, type EngineWorkflows, type WorkflowsOptions } from "../../src/engine/workflows.ts";
import { ManualClock, seededChance, settle } from "./manual-clock.ts";
import { FakeFunctions, revisionOf, silent } from "./rig.ts";

/** What a function answers; a number is a status, a promise lets it run on. */
export type Script = (
  input: Json,
  call: { task: string; key: string; attempt: number },
) => Json | { status: number; body: Json } | Promise<Json>;

/** One process of a platform: it may be dead, and then hears nothing any more. */
export interface Life {
  readonly workflows: EngineWorkflows;
  readonly dispatcher: Dispatcher;
  /** Another owner of the same runs. */
  twin(): EngineWorkflows;
  /** Writes so far. */
  readonly writes: () => number;
  readonly dead: () => boolean;
  kill(): void;
}

/** Disk, clock and functions, which outlive processes. */
export class WorkflowWorld implements Disposable {
  readonly clock = new ManualClock();
  readonly functions = new FakeFunctions();
  readonly scripts = new Map<string, Script>();
  /** Idempotency keys that functions were called with, in order. */
  readonly effects: string[] = [];
  readonly #values = createMemoryBlobs(this.clock);
  readonly #folder = mkdtempSync(join(tmpdir(), "virga-workflows-"));
  readonly #chance = seededChance(7);
  #store: SqliteStore | undefined;
  #life: Life | undefined;

  /** The functions of an object, deployed. An attempt that a dead process cut off counts, too. */
  constructor(scripts: Record<string, Script>, maxAttempts = 2) {
    for (const [name, script] of Object.entries(scripts)) {
      this.scripts.set(name, script);
      this.functions.deploy(revisionOf({ name, async: { backoffMs: 10, maxAttempts } }));
    }
  }

  get life(): Life {
    return this.#life!;
  }

  get workflows(): EngineWorkflows {
    return this.life.workflows;
  }

  /** A new process on the same disk. It dies once it has made `diesAfter` writes: the last is done, and not heard of. */
  async begin(diesAfter = Number.POSITIVE_INFINITY, options: Partial<WorkflowsOptions> = {}): Promise<Life> {
    this.#life?.kill();
    this.#store?.close();
    const { clock } = this;
    const chance = this.#chance;
    const store = openSqliteStore({ file: join(this.#folder, "store.sqlite"), clock, chance });
    this.#store = store;
    let writes = 0;
    let dead = false;
    const mortal = <T extends object>(port: T): T =>
      new Proxy(port, {
        get(target, name, receiver) {
          const member: unknown = Reflect.get(target, name, receiver);
          if (typeof member !== "function") return member;
          return (...parameters: unknown[]): unknown => {
            if (dead) return new Promise(() => {});
            if (!writing.has(String(name))) return Reflect.apply(member, target, parameters);
            writes++;
            if (writes < diesAfter) return Reflect.apply(member, target, parameters);
            dead = true;
            // Done, as far as it can be, by a process that does not live to hear of it.
            void Promise.resolve(Reflect.apply(member, target, parameters)).catch(() => undefined);
            return new Promise(() => {});
          };
        },
      });
    const ports = {
      journal: mortal(store.journal),
      records: mortal(store.records),
      queue: mortal(store.queue),
      values: mortal(this.#values),
    };
    const identify = createIdentifier(clock, chance);
    const history = createHistory({
      journal: ports.journal,
      clock,
      log: silent,
      retention: { maxPerNamespace: 100_000, maxAgeMs: 30 * 86_400_000 },
    });
    const dispatcher = createDispatcher({
      ...ports,
      invoker: { attempt: (request, onStart) => this.#attempt(request, onStart) },
      functions: this.functions,
      history,
      clock,
      chance,
      identify,
      log: silent,
      concurrency: 1000,
      onSettled: (record) => workflows.settled(record),
    });
    const own = { ...ports, dispatcher, clock, identify, log: silent, retentionMs: 7 * 86_400_000, ...options };
    const workflows = createWorkflows(own);
    await this.clock.advance(1);
    const life = {
      workflows,
      dispatcher,
      twin: () => createWorkflows(own),
      writes: () => writes,
      dead: () => dead,
      kill: () => void (dead = true),
    };
    this.#life = life;
    void workflows.open();
    dispatcher.start();
    await settle();
    return life;
  }

  /** Definitions on the disk, for changes between two processes. */
  definitions(): Pick<EngineWorkflows, "put" | "delete"> {
    const { journal, records, queue } = this.#store!;
    const { clock } = this;
    const identify = createIdentifier(clock, this.#chance);
    const { dispatcher } = this.life;
    const ports = { journal, records, queue, values: this.#values, dispatcher };
    return createWorkflows({ ...ports, clock, identify, log: silent, retentionMs: 7 * 86_400_000 });
  }

  /** Lets time pass until the run is over; its last view. */
  async untilOver(id: string, steps = 400): Promise<RunView> {
    for (let step = 0; step < steps; step++) {
      const view = await this.workflows.run("default", id);
      if (view !== undefined && view.status !== "running") {
        await this.clock.advance(1);
        return view;
      }
      await this.clock.advance(25);
    }
    throw new Error(`run ${id} is not over: ${JSON.stringify(await this.workflows.run("default", id))}`);
  }

  /** Puts what is no event into a stream. */
  async damage(stream: string): Promise<void> {
    await this.#store!.journal.append(stream, [{ at: this.clock.now(), data: Buffer.from("{") }]);
  }

  async run(definition: WorkflowDefinition, input: Json): Promise<RunView> {
    const { id } = await this.start(definition, input);
    return this.untilOver(id);
  }

  async start(definition: WorkflowDefinition, input: Json): Promise<{ id: string; duplicate: boolean }> {
    await this.workflows.put("default", "w", definition);
    return this.workflows.start({ namespace: "default", workflow: "w", input: { json: input } });
  }

  [Symbol.dispose](): void {
    this.#life?.kill();
    this.#store?.close();
    rmSync(this.#folder, { recursive: true });
  }

  async #attempt(request: InvocationRequest, onStart: (handle: never) => void): Promise<GatheredAnswer> {
    const header = (name: string): string => request.headers[request.headers.indexOf(name) + 1] ?? "";
    const { name, attempt = 1 } = request;
    const key = header("idempotency-key");
    this.effects.push(key);
    let cut: (error: Error) => void = () => {};
    const cancelled = new Promise<never>((_, reject) => (cut = reject));
    cancelled.catch(() => undefined);
    onStart({ id: request.id, cancel: () => cut(new Error("cut off")) } as never);
    const input = JSON.parse(Buffer.from(request.body ?? []).toString("utf8")) as Json;
    const task = header("x-virga-workflow-task");
    const given = await Promise.race([this.scripts.get(name)!(input, { task, key, attempt }), cancelled]);
    const { status, body } = isAnswer(given) ? given : { status: 200, body: given };
    return {
      status,
      headers: ["content-type", "application/json"],
      body: Buffer.from(JSON.stringify(body)),
      invocation: {
        namespace: request.namespace,
        name,
        id: request.id ?? "",
        revision: 1,
        instance: "i",
        cause: request.cause,
        status: status < 500 ? "succeeded" : "failed",
        attempt,
        responseStatus: status,
        timings: { acceptedAt: this.clock.now(), queueMs: 1, coldStartMs: 0, initMs: 0, runMs: 2, totalMs: 3 },
        usage: { coldStart: false, billedMs: 2, memoryMb: 1, memoryPeakBytes: 0, cpuMs: 1, bytesIn: 0, bytesOut: 0 },
        logs: [],
      },
    };
  }
}

function isAnswer(given: unknown): given is { status: number; body: Json } {
  return typeof given === "object" && given !== null && "status" in given && "body" in given;
}

const writing = new Set([
  ...["append", "trim", "deleteStream", "put", "delete", "batch", "enqueue", "lease", "extend"],
  ...["settle", "release", "bury", "cancel", "revive", "reclaim"],
]);
