/** The documents of the native API, for checking what comes in and for describing what goes out. */
import { z } from "@hono/zod-openapi";
import { isName, isResourceName, isVariableName } from "../../core/names.ts";

const time = z.number().describe("Milliseconds since the Unix epoch.");
const text = z.string();
const flat = z.array(text).describe("Flat: name, value, name, value.");
const whole = z.number().int();

export const name = z
  .string()
  .refine(isName, "is no name: 1 to 63 lower-case letters, digits, '-' and '_'")
  .openapi({ pattern: "^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$" });
/** Of functions, topics, subscriptions, sources and workflows: dialects name theirs after the peer's. */
export const resourceName = z
  .string()
  .refine(isResourceName, "is no name: up to 420 letters, digits and _ - . @ %, not beginning with - . or %")
  .openapi({ pattern: "^[A-Za-z0-9@_][A-Za-z0-9_.@%-]{0,419}$" });
export const variable = z
  .string()
  .refine(isVariableName, "is no name of an environment variable: letters, digits and '_'")
  .openapi({ pattern: "^[A-Za-z_][A-Za-z0-9_]{0,127}$" });
export const digest = z.string().regex(/^[0-9a-f]{64}$/, "is no SHA-256 in lower-case hexadecimal digits");
export const identifier = z.string().regex(/^[\w.:-]{1,128}$/, "is no identifier");
export const day = z.string().regex(/^\d{4}-\d\d-\d\d$/, "is no day as YYYY-MM-DD");

export const error = z
  .object({
    error: z.object({
      code: text,
      message: text,
      fix: text.optional(),
      field: text.optional(),
      location: text.optional(),
      stack: text.optional(),
      log: text.optional(),
    }),
  })
  .openapi("Error");

export const limits = z
  .object({
    memoryMb: whole,
    cpus: z.number(),
    timeoutMs: whole,
    startTimeoutMs: whole,
    concurrency: whole,
    processes: whole,
    openFiles: whole,
    fileSizeMb: whole,
    tmpMb: whole,
    requestBytes: whole,
    responseBytes: whole,
    logBytes: whole,
    queueLength: whole,
  })
  .openapi("Limits");

const number = z.number();

const kpa = z
  .object({
    metric: z.enum(["concurrency", "rps"]),
    target: number.optional(),
    utilizationPercent: number,
    windowMs: whole,
    panicWindowPercent: number,
    panicThresholdPercent: number,
    aggregation: z.enum(["linear", "weighted-exponential"]),
    targetBurstCapacity: number,
    activationScale: whole,
    initialScale: whole,
    scaleDownDelayMs: whole,
    maxScaleUpRate: number,
    maxScaleDownRate: number,
    scaleToZero: z.boolean(),
    graceMs: whole,
    retentionMs: whole,
  })
  .openapi("KpaScaling");

const openfaas = z
  .object({
    type: z.enum(["rps", "capacity", "cpu", "step"]),
    target: number,
    proportion: number,
    zero: z.boolean(),
    zeroAfterMs: whole,
    downWindowMs: whole,
    factor: whole,
    stepMs: whole,
  })
  .openapi("OpenFaasScaling");

const queue = z.object({ target: number, downWindowMs: whole }).openapi("QueueScaling");

const cpu = z.object({ targetPercent: number, windowMs: whole, downWindowMs: whole }).openapi("CpuScaling");

const schedule = z
  .object({ timezone: text, at: z.array(z.object({ cron: text, min: whole })) })
  .openapi("ScheduleScaling");

const expression = z.object({ formula: text, downWindowMs: whole }).openapi("ExpressionScaling");

const keepAlive = z
  .object({ policy: z.enum(["learned", "hybrid", "greedy-dual", "fixed"]), coldShare: number.optional() })
  .openapi("KeepAlive");

const scalingBase = z.object({
  min: whole,
  max: whole,
  keepAliveMs: whole,
  weight: number,
  spare: whole.optional().describe("Instances without a call that are kept ready while others have some."),
  policy: z.enum(["demand", "kpa", "openfaas", "queue", "cpu", "schedule", "expression"]),
});

export const scaling = scalingBase
  .extend({ keepAlive, kpa, openfaas, queue, cpu, schedule, expression })
  .partial({ keepAlive: true, kpa: true, openfaas: true, queue: true, cpu: true, schedule: true, expression: true })
  .openapi("Scaling", { description: "Beside `policy`, the settings of the policy of that name." });

const scalingSettings = scalingBase
  .extend({
    keepAlive: keepAlive.partial(),
    kpa: kpa.partial(),
    openfaas: openfaas.partial(),
    queue: queue.partial(),
    cpu: cpu.partial(),
    schedule: schedule.partial(),
    expression: expression.partial(),
  })
  .partial();

export const asyncPolicy = z
  .object({
    maxAttempts: whole,
    maxAgeMs: whole,
    backoffMs: whole,
    maxBackoffMs: whole,
    delivery: z.enum(["at-least-once", "at-most-once"]),
    retry: z
      .enum(["failures", "interruptions"])
      .optional()
      .describe("interruptions: only attempts that a crash cut off, or that found no instance, come again."),
    retryStatuses: z
      .array(whole)
      .optional()
      .describe("Statuses of answers that come again; absent: those from 500 on."),
    onSuccess: text.optional(),
    onFailure: text.optional(),
  })
  .openapi("AsyncPolicy");

export const cors = z
  .object({
    origins: z.array(text),
    methods: z.array(text).optional(),
    headers: z.array(text).optional(),
    exposeHeaders: z.array(text).optional(),
    credentials: z.boolean().optional(),
    maxAgeSeconds: whole.optional(),
  })
  .openapi("CorsPolicy");

const map = z.record(text, text);

export const functionConfig = z
  .object({
    runtime: text,
    handler: text,
    convention: text,
    bundle: z.boolean().optional(),
    args: z.array(text),
    environment: map,
    secrets: z.array(text),
    limits,
    scaling,
    async: asyncPolicy,
    network: z.enum(["host", "own", "none"]),
    public: z.boolean(),
    cors: cors.optional(),
    description: text.optional(),
    labels: map,
    annotations: map,
  })
  .openapi("FunctionConfig");

export const functionSettings = functionConfig
  .extend({
    limits: limits.partial(),
    scaling: scalingSettings,
    async: asyncPolicy.partial(),
    cors: cors.partial(),
  })
  .partial()
  .strict()
  .openapi("FunctionSettings", { description: "What is missing is detected or has its default." });

export const trafficTarget = z
  .strictObject({ revision: whole.min(1), weight: whole.min(0).max(100), tag: name.optional() })
  .openapi("TrafficTarget");

export const functionState = z
  .object({
    namespace: text,
    name: text,
    latestRevision: whole,
    followLatest: z.boolean(),
    traffic: z.array(trafficTarget),
    createdAt: time,
    updatedAt: time,
  })
  .openapi("FunctionState");

export const listedFunction = functionState.extend({ config: functionConfig.optional() }).openapi("ListedFunction");

export const revision = z
  .object({
    namespace: text,
    name: text,
    number: whole,
    config: functionConfig,
    source: digest,
    artifact: digest,
    createdAt: time,
    build: z.object({ cached: z.boolean(), durationMs: z.number(), sizeBytes: whole, fileCount: whole }),
  })
  .openapi("Revision");

export const instance = z
  .object({
    namespace: text,
    name: text,
    id: text,
    revision: whole,
    state: z.enum(["starting", "idle", "busy", "draining"]),
    running: whole,
    startedAt: time,
    idleSince: time.optional(),
    pid: whole.optional(),
  })
  .openapi("Instance");

export const functionDescription = z
  .object({
    function: functionState,
    revision,
    instances: z.array(instance),
    waiting: whole,
    decisions: z.array(z.object({ at: time, from: whole, to: whole, reason: text })),
    url: text,
  })
  .openapi("FunctionDescription");

const traffic = z.enum(["latest", "keep"]);

export const deployment = z
  .strictObject({
    source: digest.optional(),
    settings: functionSettings,
    tag: name.optional(),
    traffic: traffic.optional(),
  })
  .openapi("Deployment");

/** As `deployment`; the settings themselves are the engine's to check, which knows their bounds. */
export const checkedDeployment = z.strictObject({
  source: digest.optional(),
  settings: z.unknown(),
  tag: name.optional(),
  traffic: traffic.optional(),
});

export const deployResult = z
  .object({ function: functionState, revision, changed: z.boolean() })
  .openapi("DeployResult");

export const plannedChange = z
  .object({ field: text, from: z.unknown().optional(), to: z.unknown().optional() })
  .openapi("PlannedChange");

export const rollback = z.strictObject({ revision: whole.min(1).optional() }).openapi("Rollback");
export const trafficSplit = z
  .strictObject({ targets: z.array(trafficTarget).min(1, "is empty").max(100, "has more than 100 entries") })
  .openapi("TrafficSplit");

export const invocationStatus = z.enum([
  "queued",
  "running",
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "dead_letter",
]);

export const logLine = z.object({ at: time, stream: z.enum(["stdout", "stderr"]), text }).openapi("LogLine");

export const invocation = z
  .object({
    id: text,
    namespace: text,
    name: text,
    revision: whole,
    instance: text.optional(),
    cause: z.object({
      kind: z.enum(["http", "api", "async", "function", "event", "workflow", "warm-up"]),
      parent: text.optional(),
      root: text.optional(),
      requestId: text.optional(),
      traceparent: text.optional(),
    }),
    status: invocationStatus,
    attempt: whole,
    responseStatus: whole.optional(),
    timings: z.object({
      acceptedAt: time,
      queueMs: z.number(),
      coldStartMs: z.number(),
      initMs: z.number(),
      runMs: z.number(),
      totalMs: z.number(),
    }),
    usage: z.object({
      coldStart: z.boolean(),
      billedMs: whole,
      memoryMb: whole,
      memoryPeakBytes: whole,
      cpuMs: z.number(),
      bytesIn: whole,
      bytesOut: whole,
    }),
    error: z.object({ code: text, message: text, stack: text.optional() }).optional(),
    logs: z.array(logLine),
    logsDropped: whole.optional(),
    annotations: z.record(text, z.unknown()).optional().describe("What a dialect keeps with it."),
    result: z.object({ status: whole, headers: flat, body: text.optional(), blob: text.optional() }).optional(),
    idempotencyKey: text.optional(),
  })
  .openapi("Invocation");

export const asyncStatus = z
  .object({
    id: text,
    namespace: text,
    name: text,
    status: invocationStatus,
    attempt: whole,
    acceptedAt: time,
    nextAttemptAt: time.optional(),
    message: z
      .object({
        id: text,
        state: z.enum(["waiting", "leased", "dead", "settled"]),
        attempt: whole,
        enqueuedAt: time,
        dueAt: time,
        reason: text.optional(),
      })
      .optional(),
    invocation: invocation.optional(),
  })
  .openapi("AsyncStatus");

export const accepted = z
  .object({ id: text, duplicate: z.boolean(), status: text.describe("Path of the call's status.") })
  .openapi("Accepted");

export const followedLine = logLine
  .extend({ namespace: text, name: text, revision: whole, instance: text, invocation: text.optional() })
  .openapi("FollowedLine");

export const namespace = z.object({ name: text, createdAt: time }).openapi("Namespace");

const namespaces = z.union([z.literal("*"), z.array(name).min(1, "is empty").max(1000, "has more than 1000 entries")]);
const role = z.enum(["admin", "invoke"]);

export const token = z
  .object({
    id: text,
    description: text,
    namespaces,
    role,
    createdAt: time,
    expiresAt: time.optional(),
  })
  .openapi("Token");

export const newToken = z
  .strictObject({
    description: text.max(256, "is longer than 256 characters"),
    namespaces,
    role,
    expiresAt: time.optional(),
  })
  .openapi("NewToken");

export const createdToken = z.object({ token, secret: text.describe("Shown this once.") }).openapi("CreatedToken");

/** 64 KiB: what still fits into an environment beside others. */
const longestSecret = 64 * 2 ** 10;

export const secret = z.object({ name: text, updatedAt: time }).openapi("Secret");
export const secretValue = z
  .strictObject({ value: text.max(longestSecret, `is longer than ${longestSecret} characters`) })
  .openapi("SecretValue");

export const routeBody = z
  .strictObject({ host: text.optional(), path: text, method: text.optional(), function: name, tag: name.optional() })
  .openapi("RouteBody");
export const route = z
  .object({
    id: text,
    namespace: text,
    host: text.optional(),
    path: text,
    method: text.optional(),
    function: text,
    tag: text.optional(),
  })
  .openapi("Route");

export const usageDay = z
  .object({
    namespace: text,
    name: text,
    day,
    requests: whole,
    errors: whole,
    coldStarts: whole,
    billedMs: whole,
    gbSeconds: z.number(),
    cpuSeconds: z.number(),
    bytesIn: whole,
    bytesOut: whole,
  })
  .openapi("UsageDay");

export const rateCard = z
  .object({
    currency: text,
    perMillionRequests: z.number(),
    perGbSecond: z.number(),
    perCpuSecond: z.number(),
  })
  .openapi("RateCard");

export const usage = z.object({ items: z.array(usageDay), rates: rateCard }).openapi("Usage");

export const serverInfo = z
  .object({ name: text, version: text, node: text, sandbox: text, startedAt: time })
  .openapi("ServerInfo");

/** A page of a list. */
export const listOf = (item: z.ZodType) =>
  z.object({ items: z.array(item), next: text.optional().describe("Cursor for `after`; absent on the last page.") });

/** Query parameters are text. */
export const limit = z.coerce
  .number()
  .int("is no whole number")
  .min(1, "is below 1")
  .max(1000, "is above 1000")
  .default(100);
export const page = { limit, after: z.string().max(512, "is longer than 512 characters").optional() };
export const moment = z.coerce.number("is no time in milliseconds since the epoch").min(0, "is below 0");
