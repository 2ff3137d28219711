/**
 * The words of the platform as types. Every other room speaks in these.
 *
 * Units are in the names: `Ms` is milliseconds, `Mb` is mebibytes (2^20 bytes), `Bytes` is bytes;
 * `…At` is milliseconds since the Unix epoch.
 */

import type { Json } from "./workflow/definition.ts";

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

/** `own`: ports and loopback of its own, and a way out; `host`: those of the machine, shared; `none`: loopback alone. */
export type Network = "host" | "own" | "none";

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

/** How many instances a function has, and who says so. */
export interface Scaling {
  readonly min: number;
  readonly max: number;
  /** `demand`, `schedule`: how long an idle instance above `min` is kept; `queue`, `cpu`, `expression`: the last one. */
  readonly keepAliveMs: number;
  readonly policy: ScalingPolicy;
  /** Its claim among the functions of its namespace where the machine is full; 2 has twice that of 1. */
  readonly weight: number;
  /** `demand`, `schedule`: instances without a call that are kept ready while others have some; absent: none. */
  readonly spare?: number;
  /** `demand`, `schedule`: who says how long the last instance stays and when one is made ahead. Absent: `fixed`. */
  readonly keepAlive?: KeepAliveSettings;
  /** Settings of the policy of this name; absent where the function uses another. */
  readonly kpa?: KpaSettings;
  readonly openfaas?: OpenFaasSettings;
  readonly queue?: QueueSettings;
  readonly cpu?: CpuSettings;
  readonly schedule?: ScheduleSettings;
  readonly expression?: ExpressionSettings;
}

/** See `core/keep-alive`. */
export interface KeepAliveSettings {
  /** `fixed`: each instance is kept for `keepAliveMs`. By the others the last one is; those beside it have `keepAliveMs`. */
  readonly policy: "learned" | "hybrid" | "greedy-dual" | "fixed";
  /** `learned`: share of the calls that may be cold. */
  readonly coldShare?: number;
}

/**
 * - `demand`: an instance for every waiting call, at once.
 * - `kpa`: Knative's pod autoscaler.
 * - `openfaas`: the load in each instance against a target.
 * - `queue`: calls that run or wait, shared out.
 * - `cpu`: what the instances use of their share.
 * - `schedule`: a floor by the clock, `demand` above it.
 * - `expression`: a formula over the function's own metrics.
 */
export type ScalingPolicy = "demand" | "kpa" | "openfaas" | "queue" | "cpu" | "schedule" | "expression";

/** As in Knative Serving 1.23 (`autoscaling.knative.dev/…` and config-autoscaler). */
export interface KpaSettings {
  readonly metric: "concurrency" | "rps";
  /** Calls at a time, or per second, that one instance can take. Absent: `limits.concurrency`; 200 per second. */
  readonly target?: number;
  /** Share of the target that is aimed at. */
  readonly utilizationPercent: number;
  /** Stable window, in whole seconds. */
  readonly windowMs: number;
  /** Panic window, in percent of the stable one. */
  readonly panicWindowPercent: number;
  /** Load of the panic window, in percent of what is ready, from which on it panics. */
  readonly panicThresholdPercent: number;
  readonly aggregation: "linear" | "weighted-exponential";
  /** Calls that should find room at once; -1: no limit. */
  readonly targetBurstCapacity: number;
  /** Instances from zero, and at least, while there are any; 0: no such floor. */
  readonly activationScale: number;
  /** Instances of a new revision, until they have been there. */
  readonly initialScale: number;
  readonly scaleDownDelayMs: number;
  readonly maxScaleUpRate: number;
  readonly maxScaleDownRate: number;
  readonly scaleToZero: boolean;
  /** After the last decision for zero, how long the last instance stays. */
  readonly graceMs: number;
  /** As `graceMs`, but never less. */
  readonly retentionMs: number;
}

/** As OpenFaaS's labels `com.openfaas.scale.…`. */
export interface OpenFaasSettings {
  /** What is measured; `step`: the Community Edition's rule, a step at a time while more than 5 calls a second come. */
  readonly type: "rps" | "capacity" | "cpu" | "step";
  /** Load of one instance: calls per second, calls in flight, thousandths of a processor. */
  readonly target: number;
  /** Share of the target at which instances are added. */
  readonly proportion: number;
  readonly zero: boolean;
  readonly zeroAfterMs: number;
  /** Over which the highest recommendation holds back a smaller one; 0: off. */
  readonly downWindowMs: number;
  /** `step`: percent of `max` that one step adds; 0: none. */
  readonly factor: number;
  /** `step`: pause between two steps. */
  readonly stepMs: number;
}

export interface QueueSettings {
  /** Calls, running or waiting, for each instance. */
  readonly target: number;
  readonly downWindowMs: number;
}

/** As Kubernetes' HorizontalPodAutoscaler on a utilisation. */
export interface CpuSettings {
  /** Percent of `limits.cpus` that is aimed at. */
  readonly targetPercent: number;
  /** Over which CPU time is averaged. */
  readonly windowMs: number;
  readonly downWindowMs: number;
}

export interface ScheduleSettings {
  /** IANA name, such as `Europe/Berlin`. */
  readonly timezone: string;
  /** The floor is that of the entry that came up last. */
  readonly at: readonly ScheduledFloor[];
}

export interface ScheduledFloor {
  /** Five fields: minute, hour, day of the month, month, day of the week. */
  readonly cron: string;
  readonly min: number;
}

export interface ExpressionSettings {
  /** Instances, rounded up; such as `ceil(rate(requests[1m]) / 20)`. */
  readonly formula: string;
  readonly downWindowMs: number;
}

/** `Scaling` as a user writes it. */
export type ScalingSettings = {
  readonly [K in keyof Scaling]?: Scaling[K] extends string | number ? Scaling[K] : Partial<Scaling[K]>;
};

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
  /**
   * `failures` (the default): an attempt that failed is tried again. `interruptions`: what ran to its end has settled, however it
   * ended; only attempts that a crash cut off, or that found no instance, come again.
   */
  readonly retry?: "failures" | "interruptions";
  /** Statuses of answers that come again; absent: those from 500 on. */
  readonly retryStatuses?: readonly number[];
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
  /** The build makes one file of the code and its dependencies. Absent: false. */
  readonly bundle?: boolean;
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
  /** The dialect whose adapter puts calls to it (`engine/call-adapter.ts`); absent: they go as they came. */
  readonly dialect?: string;
}

/** An immutable, numbered snapshot of a function. Numbers start at 1 and are never used again. */
export interface Revision extends FunctionId {
  readonly number: number;
  readonly config: FunctionConfig;
  /** SHA-256 (hex) of the uploaded source archive. */
  readonly source: string;
  /** Digests of archives that were unpacked over the source, in this order; absent: none. */
  readonly layers?: readonly string[];
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
  /** 0: no function's code ran, as for an event of a topic or a run of a workflow that a dialect records. */
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
  /** Present on asynchronous calls once settled, and on those whose dialect keeps it. */
  readonly result?: AsyncResult;
  readonly idempotencyKey?: string;
  /** What a dialect keeps with its record; the engine does not read it. */
  readonly annotations?: Readonly<Record<string, Json>>;
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
