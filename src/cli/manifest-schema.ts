import { z } from "zod";
import { eventFields } from "./manifest-events.ts";
import { parseDuration, parseSize } from "./units.ts";

/**
 * `virga.yaml` as a schema: what people write goes in, what the API takes comes out.
 * `docs/virga.schema.json` is generated from it.
 */

const duration = (description: string) =>
  z
    .string({
      error: ({ input }) => (typeof input === "number" ? missingUnit("duration", input, "s", "ms") : durationForm),
    })
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== undefined) return ms;
      context.addIssue({ code: "custom", message: `"${text}" is no duration; ${durationForm}` });
      return z.NEVER;
    })
    .meta({ description, examples: ["250ms", "30s", "5m", "1h30m"] });

const size = (description: string) =>
  z
    .string({ error: ({ input }) => (typeof input === "number" ? missingUnit("size", input, "MiB", "B") : sizeForm) })
    .transform((text, context) => {
      const bytes = parseSize(text);
      if (bytes !== undefined) return bytes;
      context.addIssue({ code: "custom", message: `"${text}" is no size; ${sizeForm}` });
      return z.NEVER;
    })
    .meta({ description, examples: ["64KiB", "512MiB", "2GiB"] });

const durationForm = "must be a duration such as 250ms, 30s, 5m or 1h30m";
const sizeForm = "must be a size such as 64KiB, 512MiB or 2GiB";

/** A bare number could mean anything: seconds here, milliseconds there. */
function missingUnit(kind: string, value: number, likely: string, least: string): string {
  return `a ${kind} needs its unit: ${value}${likely} or ${value}${least}`;
}

/** Sizes that the API counts in whole mebibytes. */
const mebibytes = (description: string) =>
  size(description).transform((bytes, context) => {
    if (bytes >= 2 ** 20 && bytes % 2 ** 20 === 0) return bytes / 2 ** 20;
    context.addIssue({ code: "custom", message: "must be a whole number of MiB" });
    return z.NEVER;
  });

const count = (description: string) => z.int().min(0).meta({ description });
const text = (description: string) => z.string().meta({ description });
const names = (description: string) => z.array(z.string().min(1)).meta({ description });

/** Values of environment variables are text; YAML makes numbers and booleans of some. */
const environment = z
  .record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/),
    z
      .union([z.string(), z.number(), z.boolean()], { error: "must be text, a number, true or false" })
      .transform(String),
  )
  .meta({ description: "Environment variables. For what is secret, use `secrets`." });

/** Shorthands that stand at the function itself, since nearly everybody sets them. */
const commonLimits = {
  memory: mebibytes("Memory of one instance.").optional(),
  cpus: z
    .number()
    .positive()
    .optional()
    .meta({ description: "CPU share of one instance in cores; 0.5 is half a core." }),
  timeout: duration("Longest run of one call.").optional(),
  concurrency: z.int().min(1).optional().meta({ description: "Calls that one instance serves at the same time." }),
};

const limits = z
  .strictObject({
    ...commonLimits,
    startTimeout: duration("Longest start of one instance.").optional(),
    processes: count("Processes and threads in one instance.").optional(),
    openFiles: count("Open files of one instance.").optional(),
    fileSize: mebibytes("Largest file that an instance may write.").optional(),
    tmp: mebibytes("Size of the private /tmp.").optional(),
    request: size("Largest request body.").optional(),
    response: size("Largest answer.").optional(),
    log: size("Log text kept for one call.").optional(),
    queueLength: count("Calls that may wait for an instance.").optional(),
  })
  .meta({ description: "What one instance may use, and how large one call may be." });

const amount = (description: string) => z.number().positive().meta({ description });
const percent = (description: string) => z.number().min(1).meta({ description });
const downWindow = duration("Over which the highest wish holds back a smaller one.").optional();

const kpa = z
  .strictObject({
    metric: z.enum(["concurrency", "rps"]).optional(),
    target: amount("Calls at a time, or per second, that one instance can take.").optional(),
    utilization: percent("Percent of the target that is aimed at.").optional(),
    window: duration("Stable window, in whole seconds.").optional(),
    panicWindow: percent("Panic window in percent of the stable one.").optional(),
    panicThreshold: percent(
      "Load of the panic window, in percent of what is ready, from which on it panics.",
    ).optional(),
    aggregation: z.enum(["linear", "weighted-exponential"]).optional(),
    targetBurstCapacity: z
      .number()
      .optional()
      .meta({ description: "Calls that should find room at once; -1: no limit." }),
    activationScale: count("Instances from zero, and at least, while there are any; 0: no such floor.").optional(),
    initialScale: count("Instances of a new revision.").optional(),
    scaleDownDelay: duration("How long fewer must be wanted before some go.").optional(),
    maxScaleUpRate: amount("Times as many, at most, in one tick.").optional(),
    maxScaleDownRate: amount("The part that stays, at least, in one tick: 2 is half.").optional(),
    scaleToZero: z.boolean().optional(),
    grace: duration("How long the last instance stays when none is wanted.").optional(),
    retention: duration("As `grace`, but never less.").optional(),
  })
  .meta({ description: "Policy `kpa`: as Knative's pod autoscaler." });

const openfaas = z
  .strictObject({
    type: z.enum(["rps", "capacity", "cpu", "step"]).optional(),
    target: amount("Load of one instance: calls per second, calls in flight, thousandths of a processor.").optional(),
    proportion: amount("Share of the target at which instances are added.").optional(),
    zero: z.boolean().optional().meta({ description: "Whether it scales to zero." }),
    zeroAfter: duration("Without a call for so long it goes to zero.").optional(),
    downWindow,
    factor: count("Type `step`: percent of `max` that one step adds.").optional(),
    step: duration("Type `step`: pause between two steps.").optional(),
  })
  .meta({ description: "Policy `openfaas`: as OpenFaaS's autoscaler." });

const queue = z
  .strictObject({ target: amount("Calls, running or waiting, for each instance.").optional(), downWindow })
  .meta({ description: "Policy `queue`." });

const cpu = z
  .strictObject({
    target: percent("Percent of `cpus` that is aimed at.").optional(),
    window: duration("Over which CPU time is averaged.").optional(),
    downWindow,
  })
  .meta({ description: "Policy `cpu`: as Kubernetes' HorizontalPodAutoscaler." });

const schedule = z
  .strictObject({
    timezone: text("IANA name, such as `Europe/Berlin`. Default: UTC.").optional(),
    at: z
      .array(
        z.strictObject({
          cron: text('Minute, hour, day of the month, month, day of the week: "0 8 * * mon-fri".'),
          min: count("Instances at least, from then on."),
        }),
      )
      .optional(),
  })
  .meta({ description: "Policy `schedule`: a floor by the clock." });

const expression = z
  .strictObject({ formula: text("Instances, such as `ceil(rate(requests[1m]) / 20)`.").optional(), downWindow })
  .meta({ description: "Policy `expression`: a formula over the function's own metrics." });

const keepAlive = z
  .strictObject({
    policy: z.enum(["learned", "hybrid", "greedy-dual", "fixed"]).optional().meta({
      description: "Who says how long the last instance stays, and when one is made ahead. Default: learned.",
    }),
    coldShare: z
      .number()
      .min(0.001)
      .max(0.9)
      .optional()
      .meta({ description: "`learned`: share of cold starts aimed at; 0.06." }),
    time: duration("`fixed`: how long; the others: how long instances beside the last one stay.").optional(),
  })
  .meta({ description: "Keep-alive by a policy. See docs/keep-alive.md." });

const scaling = z
  .strictObject({
    min: count("Instances that are always there.").optional(),
    max: z.int().min(1).optional().meta({ description: "Instances at most." }),
    keepAlive: z.union([duration("How long an idle instance above `min` is kept."), keepAlive]).optional(),
    weight: z
      .number()
      .min(0.01)
      .max(100)
      .optional()
      .meta({ description: "Its claim among the namespace's functions where the machine is full. Default: 1." }),
    spare: count(
      "`demand`, `schedule`: instances without a call that are kept ready while others have some.",
    ).optional(),
    policy: z
      .enum(["demand", "kpa", "openfaas", "queue", "cpu", "schedule", "expression"])
      .optional()
      .meta({ description: "Who says how many instances there are. Default: demand. See docs/scaling.md." }),
    kpa: kpa.optional(),
    openfaas: openfaas.optional(),
    queue: queue.optional(),
    cpu: cpu.optional(),
    schedule: schedule.optional(),
    expression: expression.optional(),
  })
  .meta({ description: "How many instances the function has." });

const asynchronous = z
  .strictObject({
    maxAttempts: z.int().min(1).optional().meta({ description: "Runs in all, the first one included." }),
    maxAge: duration("Age at which a call that has not succeeded is given up.").optional(),
    backoff: duration("First pause before a retry; doubles each time.").optional(),
    maxBackoff: duration("Longest pause before a retry.").optional(),
    delivery: z.enum(["at-least-once", "at-most-once"]).optional(),
    retry: z.enum(["failures", "interruptions"]).optional(),
    onSuccess: text("The function that receives the record of a call that succeeded.").optional(),
    onFailure: text("The function that receives the record of a call that was given up.").optional(),
  })
  .meta({ description: "What happens to asynchronous calls." });

const cors = z
  .strictObject({
    origins: names("Allowed origins; `*` is any."),
    methods: names("Allowed methods.").optional(),
    headers: names("Allowed request headers.").optional(),
    exposeHeaders: names("Answer headers that scripts may read.").optional(),
    credentials: z.boolean().optional(),
    maxAge: duration("How long browsers may keep the answer to a preflight.").optional(),
  })
  .meta({ description: "Cross-origin rules of the function's URL." });

export const functionSchema = z
  .strictObject({
    source: text("Folder or file of the code, relative to this file. Default: this file's folder.").optional(),
    description: z.string().optional(),
    runtime: text("`node`, `python`, `binary`, or with a version: `node:22`. Default: detected.").optional(),
    handler: text("The file to load, optionally `#export`. Default: detected.").optional(),
    convention: text("How the code is called: `native`, `http`, `stdio`. Default: detected.").optional(),
    bundle: z
      .boolean()
      .optional()
      .meta({ description: "`node`: the build makes one file of the code and its dependencies. Default: false." }),
    args: z.array(z.string()).optional().meta({ description: "Arguments of a `binary` program." }),
    ...commonLimits,
    limits: limits.optional(),
    scaling: scaling.optional(),
    async: asynchronous.optional(),
    ...eventFields,
    environment: environment.optional(),
    secrets: names("Secrets of the namespace that become environment variables.").optional(),
    network: z.enum(["host", "own", "none"]).optional(),
    public: z.boolean().optional().meta({ description: "True: the function's URL needs no token." }),
    cors: cors.optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  })
  .meta({ description: "One function." });

const route = z
  .strictObject({
    id: text("The route's name. Default: made of method, host and path.").optional(),
    host: text("Exact host name. Default: any.").optional(),
    path: z.string().startsWith("/").meta({ description: "`/users/{id}` or `/files/{path...}`." }),
    method: z
      .string()
      .regex(/^[A-Z]+$/, "must be in upper case, such as GET")
      .optional()
      .meta({ description: "Default: any." }),
    function: text("The function that answers."),
    tag: text("A traffic tag of the function.").optional(),
  })
  .meta({ description: "Requests of this host, path and method go to a function." });

export const manifestSchema = z
  .strictObject({
    $schema: z.string().optional().meta({ description: "For editors; not read." }),
    namespace: text("Where the functions are deployed. `--namespace` wins.").optional(),
    functions: z.record(
      z.string().regex(/^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$/, {
        error: "a function's name is 1 to 63 of a-z, 0-9, - and _, and begins and ends with a letter or digit",
      }),
      functionSchema,
    ),
    routes: z.array(route).optional(),
    secrets: names("Secrets that must be there before anything is deployed.").optional(),
  })
  .meta({ title: "virga.yaml", description: "Functions, routes and secrets of one folder." });

export type ManifestScaling = z.output<typeof scaling>;
export type ManifestFunction = z.output<typeof functionSchema>;
export type ManifestRoute = z.output<typeof route>;
export type Manifest = z.output<typeof manifestSchema>;

/** JSON Schema (draft 2020-12) of what people write. */
export function manifestJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(manifestSchema, { io: "input" }) as Record<string, unknown>;
}
