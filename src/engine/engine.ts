/**
 * What the platform can do, as the gateway, the services and the dialects see it.
 * Each member is implemented by the file of its name in this folder and put together by `compose.ts`.
 */
import type { VirgaError } from "../core/errors.ts";
import type {
  AsyncPolicy,
  Cause,
  FunctionConfig,
  FunctionId,
  FunctionState,
  Invocation,
  InvocationStatus,
  LogLine,
  Namespace,
  Revision,
  Route,
  ScalingSettings,
  Token,
  TrafficTarget,
  UsageDay,
} from "../core/model.ts";
import type { Json, Workflow, WorkflowDefinition } from "../core/workflow/definition.ts";
import type { Failure, RunEvent, RunParent, RunStatus, TaskTimings, Value } from "../core/workflow/event.ts";
import type { CallHandle } from "../ports/runtime.ts";
import type { MessageStatus } from "../ports/queue.ts";
import type { Events } from "./events.ts";

export interface Engine {
  readonly functions: Functions;
  readonly deployer: Deployer;
  readonly invoker: Invoker;
  readonly dispatcher: Dispatcher;
  readonly pool: PoolView;
  readonly history: History;
  readonly usage: UsageLedger;
  readonly secrets: Secrets;
  readonly routes: Routes;
  readonly access: Access;
  readonly events: Events;
  readonly workflows: Workflows;
}

/** The registry: functions, their revisions, where their traffic goes. */
export interface Functions {
  get(id: FunctionId): Promise<FunctionState | undefined>;
  list(namespace: string, options?: { after?: string; limit?: number }): Promise<FunctionState[]>;
  revision(id: FunctionId, number: number): Promise<Revision | undefined>;
  revisions(id: FunctionId): Promise<Revision[]>;
  /** Adds a revision (numbering it) and, where the function follows the latest, moves traffic to it. Creates the function if need be. */
  addRevision(
    id: FunctionId,
    revision: Omit<Revision, "number" | "namespace" | "name">,
    options?: { tag?: string; traffic?: "latest" | "keep" },
  ): Promise<Revision>;
  /** Rejects with `invalid_field` where the weights do not add up to 100 or a revision is unknown, with `not_found`. */
  setTraffic(id: FunctionId, targets: readonly TrafficTarget[]): Promise<FunctionState>;
  /** All traffic to `revision`, or to the one before the one that has most. */
  rollback(id: FunctionId, revision?: number): Promise<FunctionState>;
  /** Deletes the function and its revisions; its instances drain. False where there was none. */
  delete(id: FunctionId): Promise<boolean>;
  /**
   * The hot path: the revision for one call, by traffic weight, tag or number. `pick` is uniform in [0, 1).
   * Answers at once from memory where it can (a `Revision`), else with a promise. Throws/rejects with `not_found`.
   */
  resolve(id: FunctionId, selector: { tag?: string; revision?: number }, pick: number): Revision | Promise<Revision>;
  /** Called after each change of a function, with undefined after its deletion. Returns the unsubscribe. */
  onChange(listener: (id: FunctionId, state: FunctionState | undefined) => void): () => void;
}

/** Desired settings as a user writes them: what is missing is detected or defaulted. */
export type FunctionSettings = {
  readonly [K in keyof FunctionConfig]?: FunctionConfig[K] extends readonly unknown[] | string | boolean | number
    ? FunctionConfig[K]
    : K extends "scaling"
      ? ScalingSettings
      : Partial<FunctionConfig[K]>;
};

export interface DeployRequest extends FunctionId {
  /** Digest of a source archive in the blob store. Absent: the code of the newest revision stays, settings change. */
  readonly source?: string;
  /** Digests of archives in the blob store that are unpacked over the source, in this order; 16 at most. Absent: those of the newest revision, where its code stays. */
  readonly layers?: readonly string[];
  readonly settings: FunctionSettings;
  readonly tag?: string;
  /** False: no first start before traffic moves; what is wrong shows at the first call. */
  readonly trial?: false;
  /** `latest` (default): the new revision takes the traffic; `keep`: it gets none until told. */
  readonly traffic?: "latest" | "keep";
}

export type DeployEvent =
  | {
      readonly kind: "stage";
      readonly stage: "unpack" | "detect" | "build" | "seal" | "start" | "traffic";
      readonly detail?: string;
    }
  | { readonly kind: "log"; readonly line: string };

export interface DeployResult {
  readonly function: FunctionState;
  readonly revision: Revision;
  /** False: source and settings were those of the newest revision already; nothing was done. */
  readonly changed: boolean;
}

export interface Deployer {
  /** A failing build or first start rejects (`build_failed`, `start_failed`, …) and changes nothing. Deploys of one function run one after another. */
  deploy(request: DeployRequest, onEvent: (event: DeployEvent) => void, signal: AbortSignal): Promise<DeployResult>;
  /** What `deploy` would change: `field: old → new`, without building. */
  plan(request: DeployRequest): Promise<PlannedChange[]>;
  /** The blob is code: from now on a sweep removes it once nothing names it, and an hour has passed. */
  adopt(source: string): Promise<void>;
  /** Removes artifacts, sources and build-cache entries that nothing uses: no revision, no instance, no dialect's document. */
  sweep(): Promise<void>;
}

export interface PlannedChange {
  readonly field: string;
  readonly from?: unknown;
  readonly to?: unknown;
}

/** One call, as the gateway hands it in. */
export interface InvocationRequest extends FunctionId {
  readonly tag?: string;
  readonly revision?: number;
  /** The revision itself, where the caller has resolved it already; `tag` and `revision` are then not looked up again. */
  readonly resolved?: Revision;
  readonly cause: Cause;
  readonly method: string;
  /** Path and query behind the function's root, beginning with `/`. */
  readonly target: string;
  readonly url: string;
  /** Flat: name, value, …; names in lower case; hop-by-hop headers and credentials for the platform already taken out. */
  readonly headers: readonly string[];
  /** The whole body; undefined where it follows through the handle. */
  readonly body: Uint8Array | undefined;
  /** Shorter than the function's own timeout, where the caller wants that. */
  readonly timeoutMs?: number;
  /** How long it may wait for an instance; absent: the function's `timeoutMs` and `startTimeoutMs` together. */
  readonly patienceMs?: number;
  /** 1 where absent. */
  readonly attempt?: number;
  /** Given by the dispatcher, whose invocations have their id before they run. */
  readonly id?: string;
  readonly acceptedAt?: number;
  readonly idempotencyKey?: string;
  /** For the record. */
  readonly annotations?: Readonly<Record<string, Json>>;
  /** What the dialect that makes the call has worked out, for its own adapter to find. A queue does not keep it. */
  readonly known?: object;
}

export interface InvocationSink {
  head(status: number, headers: readonly string[]): void;
  /** False: pause until `handle.resume()`. */
  data(chunk: Uint8Array): boolean;
  /** The answer is complete. */
  end(invocation: Invocation): void;
  /** It failed, before or (the answer is then cut off) after `head`. `invocation` is absent where none was made (`not_found`, `queue_full`, …). */
  fail(error: VirgaError, invocation: Invocation | undefined): void;
}

export interface InvocationHandle extends CallHandle {
  readonly id: string;
  /** True once the call has been given an instance that was started for it; read when the answer's head comes. */
  readonly coldStart?: boolean;
}

/** A function's answer, gathered. */
export interface GatheredAnswer {
  readonly invocation: Invocation;
  /** Absent where it failed before an answer; then `error` is there. */
  readonly status?: number;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  readonly error?: VirgaError;
}

export interface Invoker {
  /** Never throws; what is wrong comes through `sink.fail`. The record is written behind the reply. */
  invoke(request: InvocationRequest, sink: InvocationSink): InvocationHandle;
  /** The same with the answer gathered in memory (bounded by `limits.responseBytes`); rejects only where no invocation was made. */
  call(request: InvocationRequest, signal?: AbortSignal): Promise<GatheredAnswer>;
  /** An instance slot for a connection that is piped through byte by byte (WebSocket to a `$PORT` server). */
  connect(request: InvocationRequest): Promise<PassThrough>;
  /** Refuses new calls with `unavailable`, waits for running ones up to `graceMs`, stops the instances. */
  drain(graceMs: number): Promise<void>;
}

export interface PassThrough {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /**
   * Set by the holder: the platform ends the connection (its deadline, or the instance is gone). Close both ends, then call `close`.
   * Where `close` does not follow, the instance is replaced.
   */
  onEnd?: ((error: VirgaError) => void) | undefined;
  /** Gives the slot back and writes the record. */
  close(bytesIn: number, bytesOut: number, error?: VirgaError): void;
}

/** An asynchronous call, as it is handed in. */
export interface AcceptRequest extends InvocationRequest {
  readonly body: Uint8Array;
  /** Who repeats the call gives the same `id`: that is the key, and `idempotencyKey` is for the function to see. */
  readonly knownById?: true;
  /** Over the function's own, for this call. */
  readonly policy?: Partial<AsyncPolicy>;
  /** Calls of one function with the same key run one after another, in the order of their acceptance. */
  readonly order?: string;
}

/** Asynchronous calls: durable before they are answered with 202. */
export interface Dispatcher {
  /**
   * Resolves when the call is on disk. With an idempotency key that the function already saw within 24 h,
   * gives the id of that first call and `duplicate: true`.
   */
  accept(request: AcceptRequest): Promise<{ id: string; duplicate: boolean }>;
  /** Where an accepted call stands; undefined where it is not known (or its record has been retired). */
  status(namespace: string, id: string): Promise<AsyncStatus | undefined>;
  /** False where it was already settled. A running attempt is cut off. */
  cancel(namespace: string, id: string): Promise<boolean>;
  deadLetters(namespace: string, options: { after?: string; limit: number }): Promise<AsyncStatus[]>;
  revive(namespace: string, id: string): Promise<boolean>;
  /** Messages of all functions, by state. */
  depth(): Promise<{ waiting: number; leased: number; dead: number }>;
  start(): void;
  /** Takes no new leases, waits for running attempts up to `graceMs`, releases the rest. */
  stop(graceMs: number): Promise<void>;
}

export interface AsyncStatus extends FunctionId {
  readonly id: string;
  readonly status: InvocationStatus;
  readonly attempt: number;
  readonly acceptedAt: number;
  readonly nextAttemptAt?: number;
  readonly message?: MessageStatus;
  /** Once settled. */
  readonly invocation?: Invocation;
}

export interface InstanceView extends FunctionId {
  readonly id: string;
  readonly revision: number;
  readonly state: "starting" | "idle" | "busy" | "draining";
  readonly running: number;
  readonly startedAt: number;
  readonly idleSince?: number;
  readonly pid?: number;
}

export interface PoolView {
  instances(filter?: { namespace?: string; name?: string }): InstanceView[];
  waiting(id: FunctionId): number;
  prewarmed(): { runtime: string; memoryMb: number; ready: number; starting: number }[];
  /** The newest scaling decisions of a function with their reasons, newest first. */
  decisions(id: FunctionId): { at: number; from: number; to: number; reason: string }[];
  memory(): { usedMb: number; budgetMb: number };
  /** Processors in use, measured over a fifth of a second, and memory, of all instances of a function. */
  usage(id: FunctionId): Promise<{ cpu: number; memoryBytes: number }>;
  /** Instances that there should be without a call. */
  wanted(id: FunctionId): number;
  /** Sets the number by hand, where the function's policy is `openfaas`, `queue`, `cpu` or `expression`; else, and where there is no such function, false. */
  scale(id: FunctionId, instances: number): Promise<boolean>;
}

/** Invocation records. */
export interface History {
  /** Takes a settled invocation; written in a batch behind the reply. */
  append(invocation: Invocation): void;
  /** As `append`, durable when the promise settles. */
  appendDurably(invocation: Invocation): Promise<void>;
  /** Live view: an invocation that runs; `settle` follows by `append`. */
  get(namespace: string, id: string): Promise<Invocation | undefined>;
  list(namespace: string, filter: HistoryFilter): Promise<Invocation[]>;
  /** Log lines as they are written, of running calls too. */
  follow(
    filter: { namespace: string; name?: string; invocation?: string },
    listener: (line: FollowedLine) => void,
  ): () => void;
  /** For the invoker: a line of a running call, or of an instance outside of any (then only followers see it). */
  logged(line: FollowedLine): void;
  flush(): Promise<void>;
}

export interface HistoryFilter {
  readonly name?: string;
  readonly status?: InvocationStatus;
  readonly since?: number;
  readonly until?: number;
  /** Newest first; the id of the last one of the page before. */
  readonly before?: string;
  readonly limit: number;
}

export interface FollowedLine extends FunctionId, LogLine {
  readonly revision: number;
  readonly instance: string;
  readonly invocation?: string;
}

export interface UsageLedger {
  /** Sums per function and day, `from` and `to` inclusive (`YYYY-MM-DD`, UTC). */
  days(namespace: string, range: { from?: string; to?: string; name?: string }): Promise<UsageDay[]>;
}

/** Named values of a namespace, encrypted at rest; never listed with their values. */
export interface Secrets {
  put(namespace: string, name: string, value: string): Promise<void>;
  delete(namespace: string, name: string): Promise<boolean>;
  list(namespace: string): Promise<{ name: string; updatedAt: number }[]>;
  /** For the pool alone. Rejects with `not_found`, naming the secret. */
  reveal(namespace: string, names: readonly string[]): Promise<Record<string, string>>;
  onChange(listener: (namespace: string, name: string) => void): () => void;
}

export interface Routes {
  put(route: Route): Promise<void>;
  delete(namespace: string, id: string): Promise<boolean>;
  list(namespace: string): Promise<Route[]>;
  /** From memory: literal segments before parameters, longer before shorter, a host before none. */
  match(host: string, method: string, path: string): { route: Route; parameters: Record<string, string> } | undefined;
  readonly size: number;
}

/** Namespaces and credentials. */
export interface Access {
  /** From memory and constant in time; undefined where the token is unknown or has expired. */
  authenticate(secret: string): Token | undefined;
  /** Whether the token opens the namespace for this. */
  allows(token: Token, namespace: string, action: "read" | "change" | "invoke"): boolean;
  createToken(
    token: Pick<Token, "description" | "namespaces" | "role" | "expiresAt">,
  ): Promise<{ token: Token; secret: string }>;
  revokeToken(id: string): Promise<boolean>;
  tokens(): Promise<Token[]>;
  namespaces(): Promise<Namespace[]>;
  hasNamespace(name: string): boolean;
  createNamespace(name: string): Promise<Namespace>;
  /** Rejects with `conflict` where functions are left in it. */
  deleteNamespace(name: string): Promise<boolean>;
}

/** Durable programs of invocations: their definitions, and their runs. */
export interface Workflows {
  /** Rejects with `invalid_field`, naming the place in the definition. The same definition again changes nothing. */
  put(namespace: string, name: string, definition: unknown): Promise<Workflow>;
  get(namespace: string, name: string): Promise<Workflow | undefined>;
  /** By name. */
  list(namespace: string, options: { after?: string; limit: number }): Promise<Workflow[]>;
  /** Runs of it go on. False where there was none. */
  delete(namespace: string, name: string): Promise<boolean>;
  /** Resolves when the run is on disk. With an idempotency key that the workflow saw within 24 h: that first run's id. */
  start(request: StartRun): Promise<{ id: string; duplicate: boolean }>;
  /** Where a run stands, with its tasks; undefined where it is not known (any more). */
  run(namespace: string, id: string): Promise<RunView | undefined>;
  /** Newest first; `after` is the id of the last one of the page before. */
  runs(
    namespace: string,
    filter: { workflow?: string; status?: RunStatus; after?: string; limit: number },
  ): Promise<RunSummary[]>;
  /** What happened, from a sequence number on. */
  history(namespace: string, id: string, range: { from: number; limit: number }): Promise<SequencedEvent[]>;
  /** The content of an input or output. */
  read(value: Value): Promise<Json>;
  /**
   * An event from outside, for the task that waits for it or will. Durable when it resolves; the same `id` again is the same
   * signal. Rejects with `not_found`, with `conflict` where the run is over.
   */
  signal(
    namespace: string,
    id: string,
    signal: { name: string; id?: string; value: Value },
  ): Promise<{ id: string; duplicate: boolean }>;
  /** False where there is no such run, or it is over. Its open calls are cut off. */
  cancel(namespace: string, id: string): Promise<boolean>;
  /** Resolves when the run is over, to false when it is not after `timeoutMs`. */
  ended(namespace: string, id: string, timeoutMs: number): Promise<boolean>;
}

export interface StartRun {
  readonly namespace: string;
  readonly workflow: string;
  /** In place of the one that is stored under the name: for adapters, whose own documents are the definitions. Checked by them. */
  readonly definition?: WorkflowDefinition;
  readonly input: Value;
  /** A UUID of version 7 that the caller will give again should it have to ask again. */
  readonly id?: string;
  readonly idempotencyKey?: string;
  readonly parent?: RunParent;
  /** How many runs it lies in. */
  readonly depth?: number;
  /** What a dialect keeps with the run; the engine does not read it. */
  readonly annotations?: Readonly<Record<string, Json>>;
}

export interface RunSummary {
  readonly namespace: string;
  readonly id: string;
  readonly workflow: string;
  /** Of the definition; 0 where it came with the start. */
  readonly version: number;
  readonly status: RunStatus;
  readonly startedAt: number;
  readonly endedAt?: number;
  /** The run that this one is a task of. */
  readonly parent?: string;
  readonly error?: Failure;
}

export interface RunView extends RunSummary {
  readonly generation: number;
  readonly input: Value;
  readonly output?: Value;
  readonly annotations?: Readonly<Record<string, Json>>;
  readonly tasks: readonly TaskView[];
  /** Names of signals that no task has taken. */
  readonly signals: readonly string[];
}

export interface TaskView {
  readonly id: string;
  readonly kind: "call" | "workflow" | "timer" | "event";
  /** The function, workflow or event. */
  readonly target?: string;
  readonly status: "open" | "succeeded" | "failed";
  readonly reason: string;
  readonly scheduledAt: number;
  readonly settledAt?: number;
  /** Of a call; its record has the rest. */
  readonly invocation?: string;
  readonly run?: string;
  readonly timings?: TaskTimings;
  readonly output?: Value;
  readonly error?: Failure;
}

export type SequencedEvent = RunEvent & { readonly sequence: number };
