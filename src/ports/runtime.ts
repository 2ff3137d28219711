import type { Affinity } from "../core/affinity.ts";
import type { VirgaError } from "../core/errors.ts";
import type { Convention, FunctionConfig, LogLine } from "../core/model.ts";
import type { ExitReport, Mount, ProgramUsage, Sandbox } from "./sandbox.ts";

/** What turns a folder of code into a running program. One folder in `runtimes/` each. */
export interface Runtime {
  /** `node`, `python`, `binary`. */
  readonly name: string;
  /** Versions that `runtime: name:VERSION` may ask for here; the first is the default. */
  versions(): Promise<readonly string[]>;
  /** What this folder looks like to this runtime; undefined where it is none of its code. */
  detect(directory: string): Promise<Detection | undefined>;
  /**
   * Installs dependencies and checks the code, inside a sandbox, changing `directory` in place into the artifact's content.
   * Rejects with `build_failed` (file, line, last lines of the log), `build_timeout`, `runtime_unavailable`.
   */
  build(request: BuildRequest): Promise<void>;
  /**
   * Part of the build cache's key beside the source and the settings that matter: the versions of what does the building.
   * Two builds of the same source with the same fingerprint have the same result.
   */
  fingerprint(config: FunctionConfig): Promise<string>;
  /**
   * Starts a blank instance: everything loaded but the user's code. Resolves when it waits for `specialise`.
   * Runtimes that can have no blank instance (`binary`) have `prewarm: false`, and start the program in `specialise`.
   */
  start(request: StartRequest): Promise<Instance>;
  readonly prewarm: boolean;
  /** Conventions whose code it can bundle; absent: none. */
  readonly bundles?: readonly Convention[];
  /** What builds in this language need when somebody else runs them. Rejects with `runtime_unavailable`. Absent: what lies in `/usr`. */
  toolchain?(): Promise<Toolchain>;
}

/** Programs of this host for builds in a sandbox. */
export interface Toolchain {
  /** Folders inside, to stand first on the PATH. */
  readonly path: readonly string[];
  readonly mounts: readonly Mount[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface Detection {
  /** 0–1; the runtime with the highest is taken. A manifest of the language gives 0.9, an entry file alone 0.6. */
  readonly confidence: number;
  readonly handler: string;
  readonly convention: string;
}

export interface BuildRequest {
  readonly directory: string;
  readonly config: FunctionConfig;
  readonly sandbox: Sandbox;
  /** Shared by all builds of one namespace: package caches. */
  readonly cacheDirectory: string;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /** A line of the build's output, as it comes. */
  readonly onLog: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface StartRequest {
  readonly id: string;
  /** `node` or `node:22`. */
  readonly runtime: string;
  readonly sandbox: Sandbox;
  readonly limits: FunctionConfig["limits"];
  readonly network: FunctionConfig["network"];
  readonly events: InstanceEvents;
  /** Nobody waits for it: the processors are for instances that work, until it is given its code. */
  readonly background?: boolean;
}

export interface InstanceEvents {
  /** A line that user code wrote. `invocation` is undefined for output outside of any call. */
  log(invocation: string | undefined, line: LogLine): void;
  /**
   * The program has come to the end of a call that was cancelled earlier (its late `end` or `error`, or its process is gone):
   * the instance is clean again. Without this word the pool replaces a one-call-at-a-time instance 1 s after the cancel.
   */
  acknowledged?(invocation: string): void;
  /**
   * User code calls another function through its context. Resolves to the answer; rejects with a VirgaError.
   * `parent` is the calling invocation.
   */
  callFunction(parent: string, request: NestedCall): Promise<NestedAnswer>;
}

export interface NestedCall {
  /** `name` or `namespace/name`. */
  readonly function: string;
  readonly method: string;
  readonly path: string;
  /** Flat: name, value, name, value. Names in lower case. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

export interface NestedAnswer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

/** One running program, bound to at most one revision. */
export interface Instance {
  readonly id: string;
  /** Of a blank one that nobody waits for: it may go through what its first call will need. `specialise` need not wait for it. */
  rehearse?(): void;
  /** Loads the user's code. Rejects with `start_failed` (message, location and stack of the user's code) or `timeout`. At most once. */
  specialise(code: Specialisation): Promise<void>;
  /**
   * Hands one call to the program. The caller keeps to the concurrency limit.
   * Exactly one of `sink.end` and `sink.fail` is called, once, and nothing after it.
   */
  invoke(call: Call, sink: CallSink): CallHandle;
  /** A connection of its own to a `$PORT` server for what is no plain request (WebSocket); undefined where there is none. */
  upgradeAddress(): { host: string; port: number } | undefined;
  usage(): Promise<ProgramUsage>;
  /** See `SandboxedProgram.bindTo`. */
  bindTo?: ((affinity: Affinity) => void) | undefined;
  /** No new calls; running ones may finish until `graceMs`; then the program ends. */
  stop(graceMs: number): Promise<ExitReport>;
  readonly exited: Promise<ExitReport>;
}

export interface Specialisation {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly config: FunctionConfig;
  /** Host path of the artifact. */
  readonly directory: string;
  readonly fileCount: number;
  /** `config.environment` with the secrets' values. */
  readonly environment: Readonly<Record<string, string>>;
}

/** One call as an instance sees it. */
export interface Call {
  readonly id: string;
  readonly method: string;
  /** Path and query behind the function's own root, beginning with `/`. */
  readonly target: string;
  /** The URL as the client wrote it, for `request.url`. */
  readonly url: string;
  /** Flat: name, value, name, value. Names in lower case. */
  readonly headers: readonly string[];
  /** The whole body where it is already here; undefined where it follows through the handle. */
  readonly body: Uint8Array | undefined;
  /** True where a dialect put all that its own guest needs to know of the call into the body: it is told nothing else. */
  readonly bodySuffices?: boolean;
  /** When the call is killed, in milliseconds since the epoch. */
  readonly deadline: number;
  readonly attempt: number;
  readonly traceparent: string | undefined;
  readonly idempotencyKey: string | undefined;
}

export interface CallSink {
  head(status: number, headers: readonly string[]): void;
  /** False: pause the answer until `handle.resume()`. */
  data(chunk: Uint8Array): boolean;
  end(measured: CallMeasurement): void;
  /** The call failed; after `head` the answer is cut off. Codes: function_error, function_crashed, out_of_memory, timeout, cancelled, invalid_response, response_too_large. */
  fail(error: VirgaError, measured?: CallMeasurement): void;
}

export interface CallMeasurement {
  readonly cpuMicros: number;
  readonly memoryPeakBytes: number;
}

export interface CallHandle {
  /** A chunk of the request's body. False: wait for `onDrain`. */
  write(chunk: Uint8Array): boolean;
  /** The request's body is complete. */
  end(): void;
  onDrain: (() => void) | undefined;
  resume(): void;
  /** Aborts `context.signal`; the sink fails with `cancelled` or `timeout` at once, whether the program reacts or not. */
  cancel(reason: "cancelled" | "timeout"): void;
}
