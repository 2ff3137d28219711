/**
 * The words of the platform as types. Every other room speaks in these.
 *
 * Units are in the names: `Ms` is milliseconds, `Mb` is mebibytes (2^20 bytes), `Bytes` is bytes;
 * `…At` is milliseconds since the Unix epoch.
 */

/** A function's identity: its namespace (the tenant) and its name in it. */
export interface FunctionId {
  readonly namespace: string;
  readonly name: string;
}

/**
 * How user code is called.
 * - `native`: `export default (request, context)`, over the framed link.
 * - `http`: the program is an HTTP server on `$PORT`.
 * - `stdio`: a process per call; request body on stdin, response body on stdout.
 *
 * A dialect adds its own (`openwhisk`, `lambda`, …); the engine only hands the word to the runtime.
 */
export type Convention = "native" | "http" | "stdio" | (string & {});

export type Network = "host" | "none";

/** What one instance may use, and how large one call may be. Enforced, not advisory. */
export interface Limits {
  /** Memory of one instance, everything in it counted. */
  readonly memoryMb: number;
  /** CPU share of one instance in cores; 0.5 is half a core. */
  readonly cpus: number;
  /** Longest run of one call. The instance is killed when it is over. */
  readonly timeoutMs: number;
  /** Longest start of one instance up to its readiness. */
  readonly startTimeoutMs: number;
  /** Calls that one instance serves at the same time. */
  readonly concurrency: number;
  /** Processes and threads in one instance. */
  readonly processes: number;
  readonly openFiles: number;
  /** Largest single file that the instance may write. */
  readonly fileSizeMb: number;
  /** Size of the private `/tmp`. */
  readonly tmpMb: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Log text kept for one invocation; what comes after is counted and dropped. */
  readonly logBytes: number;
  /** Calls that may wait for an instance; one more is refused with 429. */
  readonly queueLength: number;
}

/** How many instances a function has. */
export interface Scaling {
  readonly min: number;
  readonly max: number;
  /** How long an idle instance above `min` is kept. */
  readonly keepAliveMs: number;
}

/** What happens to an accepted asynchronous call. */
export interface AsyncPolicy {
  /** Runs in all, the first one included. */
  readonly maxAttempts: number;
  /** Age at which a call that has not succeeded goes to the dead letters. */
  readonly maxAgeMs: number;
  /** First pause before a retry; doubles each time, with full jitter, up to `maxBackoffMs`. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
  /**
   * `at-least-once`: an attempt cut off by a crash of the platform runs again.
   * `at-most-once`: it settles as failed with `attempt_interrupted`, and never runs twice.
   */
  readonly delivery: "at-least-once" | "at-most-once";
  /** Functions of the same namespace that receive the settled record (asynchronously). */
  readonly onSuccess?: string;
  readonly onFailure?: string;
}

/** Cross-origin rules of a function URL; absent means that no CORS header is sent. */
export interface CorsPolicy {
  readonly origins: readonly string[];
  readonly methods?: readonly string[];
  readonly headers?: readonly string[];
  readonly exposeHeaders?: readonly string[];
  readonly credentials?: boolean;
  readonly maxAgeSeconds?: number;
}

/** A function's settings, complete: every default filled in. What a revision freezes. */
export interface FunctionConfig {
  /** `node`, `python`, `binary`, or with a version: `node:22`, `python:3.11`. */
  readonly runtime: string;
  /** The file to load, relative to the code's root, optionally `#export`. For `binary`: the program. */
  readonly handler: string;
  readonly convention: Convention;
  /** Arguments of a `binary` program. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Names of the namespace's secrets; each becomes an environment variable of its name. */
  readonly secrets: readonly string[];
  readonly limits: Limits;
  readonly scaling: Scaling;
  readonly async: AsyncPolicy;
  readonly network: Network;
  /** True: its URL needs no token. */
  readonly public: boolean;
  readonly cors?: CorsPolicy;
  readonly description?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Free for dialects; the engine does not read them. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** An immutable, numbered snapshot of a function. Numbers start at 1 and are never used again. */
export interface Revision extends FunctionId {
  readonly number: number;
  readonly config: FunctionConfig;
  /** SHA-256 (hex) of the uploaded source archive. */
  readonly source: string;
  /** SHA-256 (hex) of the built code. */
  readonly artifact: string;
  readonly createdAt: number;
  readonly build: BuildSummary;
}

export interface BuildSummary {
  /** True: an earlier build of the same input was used. */
  readonly cached: boolean;
  readonly durationMs: number;
  /** Size of the artifact, unpacked. */
  readonly sizeBytes: number;
  readonly fileCount: number;
}

/** A share of a function's calls. The weights of a function's targets add up to 100. */
export interface TrafficTarget {
  readonly revision: number;
  /** 0–100. A tagged target may have 0: it is reached by its tag alone. */
  readonly weight: number;
  readonly tag?: string;
}

/** A function as it stands: where its calls go. */
export interface FunctionState extends FunctionId {
  /** The highest revision number ever given. */
  readonly latestRevision: number;
  /**
   * True (the default): a new revision takes all untagged traffic.
   * Setting traffic by hand turns it off; rolling back too; a deploy with `traffic: latest` turns it on.
   */
  readonly followLatest: boolean;
  readonly traffic: readonly TrafficTarget[];
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A custom route: requests of this host, path and method go to a function of the same namespace. */
export interface Route {
  readonly id: string;
  readonly namespace: string;
  /** Exact host name, or undefined for any. */
  readonly host?: string;
  /** `/users/{id}` or `/files/{path...}`; parameters arrive as `x-virga-param-NAME` headers and in the context. */
  readonly path: string;
  /** Upper case; undefined for any. */
  readonly method?: string;
  readonly function: string;
  readonly tag?: string;
}

export type InvocationStatus =
  | "queued"
  | "running"
  | "succeeded"
  | "failed"
  | "timed_out"
  | "cancelled"
  | "dead_letter";

/** What made a call happen. */
export interface Cause {
  readonly kind: "http" | "api" | "async" | "function" | "event" | "workflow" | "warm-up";
  /** The invocation that called this one. */
  readonly parent?: string;
  /** The first invocation of the chain. */
  readonly root?: string;
  /** `x-request-id` of the request, given or made. */
  readonly requestId?: string;
  /** W3C trace context of the call. */
  readonly traceparent?: string;
}

/** Where the time of one call went. A phase that did not happen is 0. */
export interface Timings {
  readonly acceptedAt: number;
  /** Waiting for an instance, cold start not counted. */
  readonly queueMs: number;
  /** Starting and specialising an instance for this very call, init not counted. */
  readonly coldStartMs: number;
  /** Loading the user's code. */
  readonly initMs: number;
  /** From handing the call to the instance to its last byte. */
  readonly runMs: number;
  /** From acceptance to the last byte. */
  readonly totalMs: number;
}

/** What one call used. */
export interface CallUsage {
  readonly coldStart: boolean;
  /** `runMs` rounded up to whole milliseconds; what is paid for. */
  readonly billedMs: number;
  /** The configured memory, which is what GB-seconds are computed from. */
  readonly memoryMb: number;
  readonly memoryPeakBytes: number;
  readonly cpuMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface InvocationError {
  readonly code: string;
  readonly message: string;
  /** The user's stack, mapped to source. */
  readonly stack?: string;
}

/** The record of one call. OpenWhisk calls it an activation. */
export interface Invocation extends FunctionId {
  /** UUID version 7: its first 48 bits are `acceptedAt`. */
  readonly id: string;
  readonly revision: number;
  readonly instance?: string;
  readonly cause: Cause;
  readonly status: InvocationStatus;
  /** 1 for the first run. */
  readonly attempt: number;
  /** HTTP status of the answer, where there was one. */
  readonly responseStatus?: number;
  readonly timings: Timings;
  readonly usage: CallUsage;
  readonly error?: InvocationError;
  readonly logs: readonly LogLine[];
  /** Lines dropped because `limits.logBytes` was reached. */
  readonly logsDropped?: number;
  /** Present on asynchronous calls once settled. */
  readonly result?: AsyncResult;
  readonly idempotencyKey?: string;
}

/** The kept answer of an asynchronous call. */
export interface AsyncResult {
  readonly status: number;
  readonly headers: readonly string[];
  /** Base64. Larger answers than 1 MiB are kept as a blob and named by `blob`. */
  readonly body?: string;
  readonly blob?: string;
}

export interface LogLine {
  readonly at: number;
  readonly stream: "stdout" | "stderr";
  readonly text: string;
}

/** Sums of one function and day (UTC, `YYYY-MM-DD`). */
export interface UsageDay extends FunctionId {
  readonly day: string;
  readonly requests: number;
  readonly errors: number;
  readonly coldStarts: number;
  readonly billedMs: number;
  readonly gbSeconds: number;
  readonly cpuSeconds: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Prices; the currency is the operator's. */
export interface RateCard {
  readonly currency: string;
  readonly perMillionRequests: number;
  readonly perGbSecond: number;
  readonly perCpuSecond: number;
}

/** A tenant. */
export interface Namespace {
  readonly name: string;
  readonly createdAt: number;
}

/** A credential; the secret itself is shown once and kept only as a SHA-256. */
export interface Token {
  readonly id: string;
  readonly description: string;
  /** `*` is every namespace and the administration; otherwise the namespaces that it opens. */
  readonly namespaces: "*" | readonly string[];
  /** `admin` may change, `invoke` may only call functions. */
  readonly role: "admin" | "invoke";
  readonly createdAt: number;
  readonly expiresAt?: number;
}
