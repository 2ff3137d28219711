/**
 * A gateway on a real socket over the real registry, access, routes and secrets in memory. In place of instances,
 * functions are scripts of the test: what is under test here is what happens on the wire.
 */
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { systemChance, systemClock } from "../../src/drivers/host/clock.ts";
import { defaultAsync, defaultLimits, defaultScaling } from "../../src/core/defaults.ts";
import { asVirgaError, VirgaError } from "../../src/core/errors.ts";
import type { FunctionConfig, Invocation, LogLine, Route } from "../../src/core/model.ts";
import { createAccess } from "../../src/engine/access.ts";
import type {
  AsyncStatus,
  DeployEvent,
  DeployRequest,
  Engine,
  FollowedLine,
  History,
  InvocationHandle,
  InvocationRequest,
  InvocationSink,
  PassThrough,
} from "../../src/engine/engine.ts";
import { createEvents } from "../../src/engine/events.ts";
import { createFunctions } from "../../src/engine/functions.ts";
import { createIdentifier } from "../../src/engine/identifier.ts";
import { createRoutes } from "../../src/engine/routes.ts";
import { createWorkflows } from "../../src/engine/workflows.ts";
import { createGateway, type Gateway, type GatewayConfig } from "../../src/gateway/gateway.ts";
import type { Listener } from "../../src/gateway/listener.ts";
import { meterHistory } from "../../src/gateway/metered-history.ts";
import type { Log } from "../../src/ports/log.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

/** A call as a scripted function has it in its hands. */
export class ScriptedCall implements InvocationHandle {
  readonly id: string;
  readonly request: InvocationRequest;
  readonly sink: InvocationSink;
  readonly received: Uint8Array[] = [];
  coldStart = false;
  bodyEnded = false;
  cancelled: string | undefined = undefined;
  resumed = 0;
  /** What `write` answers: false makes the gateway pause. */
  accepting = true;
  onDrain: (() => void) | undefined = undefined;
  onBody: (() => void) | undefined = undefined;
  onCancel: (() => void) | undefined = undefined;
  onResume: (() => void) | undefined = undefined;
  readonly #settled: (invocation: Invocation) => void;

  constructor(id: string, request: InvocationRequest, sink: InvocationSink, settled: (invocation: Invocation) => void) {
    this.id = id;
    this.request = request;
    this.sink = sink;
    this.#settled = settled;
    if (request.body !== undefined) this.bodyEnded = true;
  }

  get body(): Buffer {
    return Buffer.concat(this.request.body === undefined ? this.received : [this.request.body]);
  }

  header(name: string): string | undefined {
    const index = this.request.headers.findIndex((text, at) => at % 2 === 0 && text === name);
    return index === -1 ? undefined : this.request.headers[index + 1];
  }

  answer(status: number, headers: readonly string[], ...chunks: (string | Uint8Array)[]): void {
    this.sink.head(status, headers);
    for (const chunk of chunks) this.sink.data(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
    this.end();
  }

  end(): void {
    this.sink.end(this.#record("succeeded"));
  }

  fail(error: VirgaError): void {
    this.sink.fail(error, this.#record("failed"));
  }

  write(chunk: Uint8Array): boolean {
    this.received.push(chunk);
    this.onBody?.();
    return this.accepting;
  }

  resume(): void {
    this.resumed++;
    this.onResume?.();
  }

  cancel(reason: "cancelled" | "timeout"): void {
    this.cancelled ??= reason;
    this.onCancel?.();
  }

  #record(status: Invocation["status"]): Invocation {
    const record = recordOf(this.request, this.id, status, this.coldStart);
    this.#settled(record);
    return record;
  }
}

/** `CallHandle.end` closes the request's body; the class above has `end` for the answer. */
function handleOf(call: ScriptedCall): InvocationHandle {
  return {
    id: call.id,
    get coldStart() {
      return call.coldStart;
    },
    write: (chunk) => call.write(chunk),
    end: () => {
      call.bodyEnded = true;
      call.onBody?.();
    },
    get onDrain() {
      return call.onDrain;
    },
    set onDrain(listener) {
      call.onDrain = listener;
    },
    resume: () => call.resume(),
    cancel: (reason) => call.cancel(reason),
  };
}

export type Script = (call: ScriptedCall) => void;

export interface RigOptions {
  readonly config?: Partial<GatewayConfig>;
  readonly deploy?: (
    request: DeployRequest,
    onEvent: (event: DeployEvent) => void,
    signal: AbortSignal,
  ) => Promise<unknown>;
  readonly connect?: (request: InvocationRequest) => Promise<PassThrough>;
  readonly probe?: () => Promise<void>;
}

export interface Rig extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly engine: Engine;
  readonly gateway: Gateway;
  readonly listener: Listener;
  /** An administrator's secret. */
  readonly token: string;
  /** Calls in the order in which they came. */
  readonly calls: ScriptedCall[];
  readonly accepted: InvocationRequest[];
  readonly statuses: Map<string, AsyncStatus>;
  readonly records: Invocation[];
  readonly logged: { readonly level: string; readonly message: string; readonly error: unknown }[];
  add(name: string, script: Script, config?: Partial<FunctionConfig>): Promise<void>;
  route(route: Omit<Route, "namespace">): Promise<void>;
  write(line: FollowedLine): void;
  followers(): number;
  fetch(path: string, init?: RequestInit & { token?: string | undefined }): Promise<Response>;
}

export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const clock = systemClock;
  const { records, journal, queue, blobs } = createMemoryStore({ clock, chance: systemChance });
  const logged: Rig["logged"] = [];
  const log = recordingLog(logged);
  const identify = createIdentifier(clock, systemChance);
  const functions = createFunctions({ records, clock, log });
  const access = await createAccess({ records, clock, chance: systemChance });
  const routes = await createRoutes({ records });
  const metrics = createMetrics({ ofProcess: false });
  const scripts = new Map<string, Script>();
  const calls: ScriptedCall[] = [];
  const accepted: InvocationRequest[] = [];
  const statuses = new Map<string, AsyncStatus>();
  const settled: Invocation[] = [];
  const listeners = new Set<(line: FollowedLine) => void>();
  const secrets = new Map<string, { name: string; updatedAt: number }>();

  const history = meterHistory(
    {
      append: (invocation) => void settled.push(invocation),
      appendDurably: async (invocation) => void settled.push(invocation),
      get: async (namespace, id) => settled.find((one) => one.namespace === namespace && one.id === id),
      list: async (namespace, filter) =>
        settled
          .filter((one) => one.namespace === namespace && (filter.name === undefined || one.name === filter.name))
          .toReversed()
          .slice(0, filter.limit),
      follow: (_filter, listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      logged: (line) => listeners.forEach((listener) => listener(line)),
      flush: () => Promise.resolve(),
    } satisfies History,
    metrics,
  );

  const dispatcher: Engine["dispatcher"] = {
    async accept(request) {
      const first = accepted.findIndex(
        (one) => one.idempotencyKey !== undefined && one.idempotencyKey === request.idempotencyKey,
      );
      if (first !== -1) return { id: accepted[first]?.id ?? "", duplicate: true };
      const id = identify();
      accepted.push({ ...request, id });
      return { id, duplicate: false };
    },
    status: async (_namespace, id) => statuses.get(id),
    cancel: async (_namespace, id) => statuses.get(id)?.status === "queued",
    depth: async () => ({ waiting: 0, leased: 0, dead: 0 }),
    deadLetters: async () => [...statuses.values()].filter(({ status }) => status === "dead_letter"),
    revive: async (_namespace, id) => statuses.get(id)?.status === "dead_letter",
    start: () => undefined,
    stop: () => Promise.resolve(),
  };
  const workflows = createWorkflows({
    journal,
    records,
    queue,
    values: blobs,
    // What a run calls is accepted and answered by nobody.
    dispatcher: {
      accept: async ({ id = identify() }) => ({ id, duplicate: false }),
      cancel: async () => true,
      status: async () => undefined,
    },
    clock,
    identify,
    log,
    retentionMs: 86_400_000,
  });
  const events = createEvents({ records, journal, dispatcher, functions, workflows, clock, identify, log });

  const engine: Engine = {
    functions,
    events,
    workflows,
    access,
    routes,
    history,
    invoker: {
      invoke(request, sink) {
        const call = new ScriptedCall(request.id ?? identify(), request, sink, (record) => history.append(record));
        calls.push(call);
        const script = scripts.get(`${request.namespace}/${request.name}`);
        // As instances do: never before the handle is in the caller's hands.
        setImmediate(() => {
          if (script === undefined) call.fail(new VirgaError("not_found", "no script"));
          else script(call);
        });
        return handleOf(call);
      },
      call: () => Promise.reject(new VirgaError("unavailable", "not in this rig")),
      connect: options.connect ?? (() => Promise.reject(new VirgaError("bad_request", "no server to upgrade to"))),
      drain: () => Promise.resolve(),
    },
    dispatcher,
    deployer: {
      async deploy(request, onEvent, signal) {
        await options.deploy?.(request, onEvent, signal);
        const revision = await functions.addRevision(request, revisionOf({}));
        const state = await functions.get(request);
        if (state === undefined) throw new VirgaError("internal", "the registry lost a function");
        return { function: state, revision, changed: true };
      },
      plan: async () => [{ field: "limits.memoryMb", from: 128, to: 256 }],
      adopt: () => Promise.resolve(),
      sweep: () => Promise.resolve(),
    },
    pool: {
      instances: () => [],
      waiting: () => 0,
      prewarmed: () => [{ runtime: "node", memoryMb: 256, ready: 2, starting: 0 }],
      decisions: () => [{ at: 1, from: 0, to: 1, reason: "a call waits" }],
      memory: () => ({ usedMb: 512, budgetMb: 4096 }),
      usage: () => Promise.resolve({ cpu: 0, memoryBytes: 0 }),
      wanted: () => 0,
      scale: () => Promise.resolve(false),
    },
    usage: { days: async () => [] },
    secrets: {
      async put(_namespace, name) {
        secrets.set(name, { name, updatedAt: clock.now() });
      },
      delete: async (_namespace, name) => secrets.delete(name),
      list: async () => [...secrets.values()],
      reveal: () => Promise.reject(new VirgaError("forbidden", "not in this rig")),
      onChange: () => () => undefined,
    },
  };

  const gateway = createGateway({
    engine,
    blobs,
    values: blobs,
    log,
    clock,
    identify,
    metrics,
    ...(options.probe === undefined ? {} : { probe: options.probe }),
    config: {
      domain: "localhost",
      rates: { currency: "EUR", perMillionRequests: 0.2, perGbSecond: 0.00001667, perCpuSecond: 0 },
      maxHeaderBytes: 16_384,
      requestTimeoutMs: 5000,
      info: { name: "virga", version: "0.0.0", node: process.version, sandbox: "none", startedAt: clock.now() },
      ...options.config,
    },
  });
  const listener = await gateway.listen({ host: "127.0.0.1", port: 0 });
  const { secret: token } = await access.createToken({ description: "test", namespaces: "*", role: "admin" });
  const url = `http://127.0.0.1:${listener.port}`;

  return {
    port: listener.port,
    url,
    engine,
    gateway,
    listener,
    token,
    calls,
    accepted,
    statuses,
    records: settled,
    logged,
    async add(name, script, config = {}) {
      const id = name.includes("/") ? name : `default/${name}`;
      const [namespace = "", own = ""] = id.split("/");
      if (!access.hasNamespace(namespace)) await access.createNamespace(namespace);
      scripts.set(id, script);
      await functions.addRevision({ namespace, name: own }, revisionOf(config));
    },
    route: (route) => routes.put({ ...route, namespace: "default" }),
    write: (line) => history.logged(line),
    followers: () => listeners.size,
    fetch: (path, { token: given = token, ...init } = {}) => {
      const headers = new Headers(init.headers);
      if (given !== "" && !headers.has("authorization")) headers.set("authorization", `Bearer ${given}`);
      return fetch(url + path, { ...init, headers, redirect: "manual" });
    },
    async [Symbol.asyncDispose]() {
      await listener.close(0);
    },
  };
}

/** A function that answers with what it was called with. */
export const echo: Script = (call) => {
  const answer = (): void => {
    if (!call.bodyEnded) return;
    const { method, target, url, headers } = call.request;
    const body = call.body.toString("base64");
    call.answer(200, ["content-type", "application/json"], JSON.stringify({ method, target, url, headers, body }));
  };
  call.onBody = answer;
  answer();
};

export function configOf(config: Partial<FunctionConfig>): FunctionConfig {
  return {
    runtime: "node",
    handler: "index.js",
    convention: "native",
    args: [],
    environment: {},
    secrets: [],
    limits: defaultLimits,
    scaling: defaultScaling,
    async: defaultAsync,
    network: "host",
    public: true,
    labels: {},
    annotations: {},
    ...config,
  };
}

export function recordOf(
  request: Pick<InvocationRequest, "namespace" | "name" | "cause">,
  id: string,
  status: Invocation["status"],
  coldStart = false,
  logs: readonly LogLine[] = [],
): Invocation {
  return {
    id,
    namespace: request.namespace,
    name: request.name,
    revision: 1,
    cause: request.cause,
    status,
    attempt: 1,
    timings: { acceptedAt: 1, queueMs: 0, coldStartMs: coldStart ? 12 : 0, initMs: 0, runMs: 1, totalMs: 1 },
    usage: { coldStart, billedMs: 1, memoryMb: 256, memoryPeakBytes: 0, cpuMs: 0, bytesIn: 0, bytesOut: 0 },
    logs,
  };
}

function revisionOf(config: Partial<FunctionConfig>) {
  return {
    config: configOf(config),
    source: "0".repeat(64),
    artifact: "0".repeat(64),
    createdAt: 1,
    build: { cached: false, durationMs: 1, sizeBytes: 1, fileCount: 1 },
  };
}

function recordingLog(lines: Rig["logged"]): Log {
  const write =
    (level: string) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      const { error } = fields;
      lines.push({ level, message, error: error === undefined ? undefined : asVirgaError(error).message });
    };
  const log: Log = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    with: () => log,
  };
  return log;
}
