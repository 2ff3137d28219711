import { z } from "zod";
import { defaultAsync, defaultLimits, widestLimits } from "../core/defaults.ts";
import { VirgaError } from "../core/errors.ts";
import type { AsyncPolicy, CorsPolicy, FunctionConfig, Limits } from "../core/model.ts";
import { isName, isVariableName, quote } from "../core/names.ts";
import { completeScaling } from "../core/scaling/settings.ts";
import { closest } from "../core/spelling.ts";
import type { FunctionSettings } from "./engine.ts";
import { scalingSettings } from "./scaler-settings.ts";

/** What detection found, for settings that do not say it themselves. */
export interface Detected {
  readonly runtime: string;
  readonly handler: string;
  readonly convention: string;
}

/** Checks settings as a user wrote them. Throws `invalid_field` for the first thing wrong: the field's path, and the way out. */
export function checkSettings(settings: unknown): FunctionSettings {
  const parsed = functionSettings.safeParse(settings);
  if (!parsed.success) throw fieldError(parsed.error.issues[0]!);
  return parsed.data;
}

/** Checked settings with every default filled in. Keys stand in one fixed order, and none is undefined. */
export function completeSettings(settings: FunctionSettings, detected: Detected): FunctionConfig {
  const config: FunctionConfig = {
    runtime: settings.runtime ?? detected.runtime,
    handler: settings.handler ?? detected.handler,
    convention: settings.convention ?? detected.convention,
    ...(settings.bundle === true ? { bundle: true } : {}),
    args: settings.args ?? [],
    environment: sorted(settings.environment),
    secrets: [...(settings.secrets ?? [])].sort(),
    limits: over(defaultLimits, settings.limits),
    scaling: completeScaling(settings.scaling),
    async: over<AsyncPolicy>(defaultAsync, settings.async),
    network: settings.network ?? "host",
    public: settings.public ?? false,
    ...(settings.cors === undefined ? {} : { cors: over<CorsPolicy>({ origins: ["*"] }, settings.cors) }),
    ...(settings.description === undefined ? {} : { description: settings.description }),
    labels: sorted(settings.labels),
    annotations: sorted(settings.annotations),
    ...(settings.dialect === undefined ? {} : { dialect: settings.dialect }),
  };
  if (config.async.backoffMs > config.async.maxBackoffMs) {
    throw new VirgaError(
      "invalid_field",
      `a first pause of ${config.async.backoffMs} ms is above the longest of ${config.async.maxBackoffMs} ms`,
      {
        field: "settings.async.backoffMs",
        fix: "lower async.backoffMs or raise async.maxBackoffMs",
      },
    );
  }
  return config;
}

const oneDayMs = 24 * 3_600_000;
/** All of `environment`; Linux refuses to start a program with more than about 2 MiB of it, arguments included. */
const environmentBytes = 256 * 1024;
/** Annotations are a dialect's notebook, kept in each revision's record (which holds 1 MiB in all). */
const annotationBytes = 256 * 1024;

const text = (longest: number) =>
  z
    .string()
    .max(longest, `is longer than ${longest} characters`)
    .refine((value) => !value.includes("\0"), "has a NUL byte");
const whole = (least: number, most: number) =>
  z.number().int("is no whole number").min(least, `is below ${least}`).max(most, `is above ${most}`);
const name = z.string().refine(isName, "is no name: 1 to 63 lower-case letters, digits, '-' and '_'");
const variable = z.string().refine(isVariableName, "is no name of an environment variable: letters, digits and '_'");

const relativePath = text(512)
  .min(1, "is empty")
  .refine((path) => !path.split(/[/\\]/).includes(".."), "leads outside of the code: it has a '..'");

const limits: Record<keyof Limits, z.ZodType<number>> = {
  // Less than 16 MB starts no runtime there is.
  memoryMb: whole(16, widestLimits.memoryMb),
  cpus: z.number().min(0.01, "is below 0.01").max(widestLimits.cpus, `is above ${widestLimits.cpus}`),
  timeoutMs: whole(1, widestLimits.timeoutMs),
  startTimeoutMs: whole(1, widestLimits.startTimeoutMs),
  concurrency: whole(1, widestLimits.concurrency),
  processes: whole(1, widestLimits.processes),
  openFiles: whole(16, widestLimits.openFiles),
  fileSizeMb: whole(1, widestLimits.fileSizeMb),
  tmpMb: whole(1, widestLimits.tmpMb),
  requestBytes: whole(0, widestLimits.requestBytes),
  responseBytes: whole(0, widestLimits.responseBytes),
  logBytes: whole(0, widestLimits.logBytes),
  queueLength: whole(0, widestLimits.queueLength),
};

const functionSettings = z
  .strictObject({
    runtime: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,31}(:[A-Za-z0-9][A-Za-z0-9._-]{0,31})?$/, "is neither NAME nor NAME:VERSION")
      .optional(),
    handler: relativePath.optional(),
    convention: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,31}$/, "is no convention: lower-case letters, digits and '-'")
      .optional(),
    bundle: z.boolean().optional(),
    args: z.array(text(8192)).max(256, "has more than 256 entries").optional(),
    environment: z
      .record(variable, text(128 * 1024))
      .refine((map) => byteLength(map) <= environmentBytes, `is larger than ${environmentBytes} bytes in all`)
      .optional(),
    secrets: z
      .array(variable)
      .max(256, "has more than 256 entries")
      .refine((names) => new Set(names).size === names.length, "names a secret twice")
      .optional(),
    limits: z.strictObject(limits).partial().optional(),
    scaling: scalingSettings.optional(),
    async: z
      .strictObject({
        maxAttempts: whole(1, 1000),
        maxAgeMs: whole(1, 30 * oneDayMs),
        backoffMs: whole(0, oneDayMs),
        maxBackoffMs: whole(0, oneDayMs),
        delivery: z.enum(["at-least-once", "at-most-once"]),
        retry: z.enum(["failures", "interruptions"]),
        retryStatuses: z.array(whole(100, 599)).max(64, "has more than 64 entries"),
        onSuccess: name,
        onFailure: name,
      })
      .partial()
      .optional(),
    network: z.enum(["host", "own", "none"]).optional(),
    public: z.boolean().optional(),
    cors: z
      .strictObject({
        origins: z.array(text(512)).min(1, "is empty"),
        methods: z.array(z.string().regex(/^[A-Z]{1,16}$/, "is no method in upper case")),
        headers: z.array(headerName()),
        exposeHeaders: z.array(headerName()),
        credentials: z.boolean(),
        maxAgeSeconds: whole(0, 86_400),
      })
      .partial()
      .optional(),
    description: text(1024).optional(),
    labels: z
      .record(
        z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/, "is no label: letters, digits and ._/-"),
        text(256),
      )
      .refine((map) => Object.keys(map).length <= 64, "has more than 64 entries")
      .optional(),
    annotations: z
      .record(text(256).min(1, "is empty"), text(annotationBytes))
      .refine((map) => byteLength(map) <= annotationBytes, `is larger than ${annotationBytes} bytes in all`)
      .optional(),
    dialect: z
      .string()
      .regex(/^[a-z][a-z0-9-]{0,31}$/, "is no dialect")
      .optional(),
  })
  .superRefine((settings, context) => {
    for (const [index, secret] of (settings.secrets ?? []).entries()) {
      if (settings.environment === undefined || !Object.hasOwn(settings.environment, secret)) continue;
      context.addIssue({ code: "custom", path: ["secrets", index], message: "is set in environment, too" });
    }
    if (settings.handler?.startsWith("/") && settings.runtime?.split(":")[0] !== "binary") {
      context.addIssue({ code: "custom", path: ["handler"], message: "is not relative to the code's root" });
    }
  });

function fieldError(issue: z.core.$ZodIssue): VirgaError {
  const path = ["settings", ...issue.path.map(String)];
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0]!;
    const guess = closest(key, knownKeys(issue.path));
    return new VirgaError("invalid_field", `${[...path, key].join(".")} is no setting`, {
      field: [...path, key].join("."),
      fix:
        guess === undefined
          ? `take it out; settings here are ${knownKeys(issue.path).join(", ")}`
          : `did you mean ${guess}?`,
    });
  }
  const field = path.join(".");
  return new VirgaError("invalid_field", `${field} ${saying(issue)}`, { field, fix: fixFor(issue, field) });
}

function saying(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return `must be ${withArticle(issue.expected)}`;
    case "invalid_value":
      return `is none of ${issue.values.map(String).join(", ")}`;
    case "invalid_key":
      return issue.issues[0]?.message ?? issue.message;
    default:
      return issue.message;
  }
}

function fixFor(issue: z.core.$ZodIssue, field: string): string {
  switch (issue.code) {
    case "too_big":
      return `use ${issue.maximum} or less`;
    case "too_small":
      return `use ${issue.minimum} or more`;
    case "invalid_value":
      return `use ${issue.values.map(quote).join(" or ")}`;
    case "invalid_type":
      return `write ${withArticle(issue.expected)} here`;
    default:
      return `change ${field}, or leave it out for its default`;
  }
}

function withArticle(type: string): string {
  if (type === "record" || type === "object") return "an object";
  if (type === "int") return "a whole number";
  return `${/^[aeiou]/.test(type) ? "an" : "a"} ${type}`;
}

/** The settings that exist at a path: of the function, of one of its groups, or of an entry in one. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let at: z.core.$ZodType | undefined = functionSettings;
  for (const key of path) {
    at = unwrapped(at);
    if (at instanceof z.ZodObject) at = (at.shape as Record<string, z.ZodType>)[String(key)];
    else at = at instanceof z.ZodArray ? at.element : undefined;
  }
  at = unwrapped(at);
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrapped(type: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  return type instanceof z.ZodOptional ? type.unwrap() : type;
}

function headerName() {
  return z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, "is no header name");
}

function byteLength(map: Record<string, string>): number {
  let sum = 0;
  for (const [key, value] of Object.entries(map)) sum += Buffer.byteLength(key) + Buffer.byteLength(value) + 2;
  return sum;
}

/** A member that is there but undefined is as good as absent: a caller in this process may write one. */
function over<T extends object>(defaults: T, given: Partial<T> | undefined): T {
  const result = { ...defaults };
  for (const key in given) {
    if (given[key] !== undefined) result[key] = given[key];
  }
  return result;
}

function sorted(map: Readonly<Partial<Record<string, string>>> | undefined): Record<string, string> {
  const entries = Object.entries(map ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
