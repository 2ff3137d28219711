import { defaultAsync, defaultLimits, defaultScaling } from "../../src/core/defaults.ts";
import { VirgaError } from "../../src/core/errors.ts";
import type {
  AsyncPolicy,
  FunctionConfig,
  FunctionId,
  FunctionState,
  Invocation,
  Limits,
  Revision,
  Scaling,
} from "../../src/core/model.ts";
import type { FollowedLine, InvocationRequest } from "../../src/engine/engine.ts";
import { createInvoker, type EngineInvoker, type InvokerOptions } from "../../src/engine/invoker.ts";
import { createPool, type Pool, type PoolOptions } from "../../src/engine/pool.ts";
import type { Log } from "../../src/ports/log.ts";
import type { Sandbox } from "../../src/ports/sandbox.ts";
import { FakeRuntime } from "./fake-runtime.ts";
import { ManualClock, seededChance } from "./manual-clock.ts";

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent };

export interface RevisionSettings {
  readonly namespace?: string;
  readonly name?: string;
  readonly number?: number;
  readonly limits?: Partial<Limits>;
  readonly scaling?: Partial<Scaling>;
  readonly async?: Partial<AsyncPolicy>;
  readonly config?: Partial<FunctionConfig>;
}

export function revisionOf(settings: RevisionSettings = {}): Revision {
  return {
    namespace: settings.namespace ?? "default",
    name: settings.name ?? "hello",
    number: settings.number ?? 1,
    source: "s",
    artifact: `artifact-${settings.number ?? 1}`,
    createdAt: 0,
    build: { cached: false, durationMs: 0, sizeBytes: 1, fileCount: 1 },
    config: {
      runtime: "fake",
      handler: "index.js",
      convention: "native",
      args: [],
      environment: {},
      secrets: [],
      network: "host",
      public: false,
      labels: {},
      annotations: {},
      limits: { ...defaultLimits, ...settings.limits },
      scaling: { ...defaultScaling, ...settings.scaling },
      async: { ...defaultAsync, ...settings.async },
      ...settings.config,
    },
  };
}

/** The registry as far as the call path asks it. */
export class FakeFunctions {
  readonly #revisions = new Map<string, Revision[]>();
  readonly #states = new Map<string, FunctionState>();
  readonly #listeners = new Set<(id: FunctionId, state: FunctionState | undefined) => void>();

  deploy(revision: Revision): Revision {
    const key = `${revision.namespace}/${revision.name}`;
    this.#revisions.set(key, [...(this.#revisions.get(key) ?? []), revision]);
    this.#tell(revision, {
      namespace: revision.namespace,
      name: revision.name,
      latestRevision: revision.number,
      followLatest: true,
      traffic: [{ revision: revision.number, weight: 100 }],
      createdAt: 0,
      updatedAt: 0,
    });
    return revision;
  }

  delete(id: FunctionId): void {
    this.#revisions.delete(`${id.namespace}/${id.name}`);
    this.#tell(id, undefined);
  }

  resolve(id: FunctionId, selector: { revision?: number }): Revision {
    const revisions = this.#revisions.get(`${id.namespace}/${id.name}`) ?? [];
    const found =
      selector.revision === undefined
        ? revisions.at(-1)
        : revisions.find((revision) => revision.number === selector.revision);
    if (found === undefined) throw new VirgaError("not_found", `There is no function ${id.name}`);
    return found;
  }

  revision(id: FunctionId, number: number): Promise<Revision | undefined> {
    return Promise.resolve(this.resolve(id, { revision: number }));
  }

  onChange(listener: (id: FunctionId, state: FunctionState | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get({ namespace, name }: FunctionId): Promise<FunctionState | undefined> {
    return Promise.resolve(this.#states.get(`${namespace}/${name}`));
  }

  #tell(id: FunctionId, state: FunctionState | undefined): void {
    const key = `${id.namespace}/${id.name}`;
    if (state === undefined) this.#states.delete(key);
    else this.#states.set(key, state);
    for (const listener of this.#listeners) listener(id, state);
  }
}

export interface Rig {
  readonly clock: ManualClock;
  readonly runtime: FakeRuntime;
  readonly functions: FakeFunctions;
  readonly pool: Pool;
  readonly invoker: EngineInvoker;
  readonly records: Invocation[];
  readonly lines: FollowedLine[];
  changeSecret(namespace: string, name: string): void;
  identify(): string;
  /** Starts a call and tells how it stands. */
  call(request?: Partial<InvocationRequest>): Observed;
}

/** Pool and invoker over a runtime, a clock and a registry that the test moves. */
export function rig(
  options: Partial<Pick<PoolOptions, "budget" | "prewarm"> & Pick<InvokerOptions, "adapters">> = {},
  clock: ManualClock = new ManualClock(),
): Rig {
  const runtime = new FakeRuntime(clock);
  const functions = new FakeFunctions();
  const records: Invocation[] = [];
  const lines: FollowedLine[] = [];
  const history = {
    append: (record: Invocation) => records.push(record),
    logged: (line: FollowedLine) => lines.push(line),
  };
  let counter = 0;
  const identify = (): string => `id-${++counter}`;
  let secretChanged: (namespace: string, name: string) => void = () => {};
  const pool = createPool({
    runtimes: new Map([["fake", runtime]]),
    // The fake runtime starts no program.
    sandbox: {} as Sandbox,
    artifacts: { locate: (artifact) => Promise.resolve(`/artifacts/${artifact}`) },
    secrets: {
      reveal: (_namespace, names) => Promise.resolve(Object.fromEntries(names.map((name) => [name, "secret"]))),
      onChange: (listener) => {
        secretChanged = listener;
        return () => {};
      },
    },
    functions,
    history,
    clock,
    log: silent,
    identify,
    budget: options.budget ?? { memoryMb: 100_000, instances: 1000, starts: 100 },
    prewarm: options.prewarm ?? [],
    callFunction: (parent, request) => invoker.callFunction(parent, request),
  });
  const invoker = createInvoker({
    functions,
    pool,
    history,
    clock,
    chance: seededChance(),
    identify,
    log: silent,
    ...(options.adapters === undefined ? {} : { adapters: options.adapters }),
  });
  return {
    clock,
    runtime,
    functions,
    pool,
    invoker,
    records,
    lines,
    identify,
    changeSecret: (namespace, name) => secretChanged(namespace, name),
    call: (request = {}) => new Observed(invoker, request),
  };
}

/** A call and everything that its caller heard. */
export class Observed {
  status: number | undefined;
  body = "";
  ended = 0;
  failed = 0;
  error: VirgaError | undefined;
  invocation: Invocation | undefined;
  readonly handle;

  constructor(invoker: EngineInvoker, request: Partial<InvocationRequest>) {
    this.handle = invoker.invoke(
      {
        namespace: "default",
        name: "hello",
        cause: { kind: "http" },
        method: "POST",
        target: "/",
        url: "http://test/",
        headers: [],
        body: Buffer.from("in"),
        ...request,
      },
      {
        head: (status) => {
          this.status = status;
        },
        data: (chunk) => {
          this.body += Buffer.from(chunk).toString();
          return true;
        },
        end: (invocation) => {
          this.ended++;
          this.invocation = invocation;
        },
        fail: (error, invocation) => {
          this.failed++;
          this.error = error;
          this.invocation = invocation;
        },
      },
    );
  }

  get settled(): number {
    return this.ended + this.failed;
  }
}
