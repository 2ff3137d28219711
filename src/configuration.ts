import { readFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { parseDocument } from "yaml";
import { z } from "zod";
import { defaultLimits } from "./core/defaults.ts";
import { VirgaError } from "./core/errors.ts";

const count = z.number().int().min(0);

/** The operator's configuration. Everything has a default; a file names what differs. */
const schema = z
  .strictObject({
    /** `{function}.{namespace}.{domain}` reaches a function. */
    domain: z.string().default("localhost"),
    /** Believe `x-forwarded-…` headers: for a platform behind a proxy that sets them. */
    trustForwarded: z.boolean().default(false),
    /** Prices for `virga usage`. The defaults are of the order of the public clouds' list prices. */
    rates: z
      .strictObject({
        currency: z.string().min(1).default("USD"),
        perMillionRequests: z.number().min(0).default(0.2),
        perGbSecond: z.number().min(0).default(0.0000166667),
        perCpuSecond: z.number().min(0).default(0),
      })
      .prefault({}),
    /** Invocation records kept of each namespace. */
    retention: z
      .strictObject({ maxPerNamespace: count.default(1_000_000), maxAgeDays: z.number().min(0).default(30) })
      .prefault({}),
    /** What all instances together may use. */
    budget: z
      .strictObject({
        memoryMb: count.default(Math.floor((totalmem() / 2 ** 20) * 0.8)),
        instances: count.default(4000),
        /** Processors that busy instances share; by default those of the machine. */
        cpus: z.number().positive().default(availableParallelism()),
        /** The server and the instances of brief calls are held to processors; false: they run where the kernel wants them. */
        affinity: z.boolean().default(true),
        /** Claims of namespaces where the machine is full; 1 for one that is not named. */
        weights: z.record(z.string(), z.number().positive()).default({}),
      })
      .prefault({}),
    /** Blank instances kept ready; each waits for a function of its runtime and size. */
    prewarm: z
      .array(
        z.strictObject({
          runtime: z.string(),
          memoryMb: count.default(defaultLimits.memoryMb),
          cpus: z.number().positive().default(defaultLimits.cpus),
          count: count.default(2),
          network: z.enum(["host", "own", "none"]).default("host"),
        }),
      )
      .default([
        { runtime: "node", memoryMb: defaultLimits.memoryMb, cpus: defaultLimits.cpus, count: 2, network: "host" },
        { runtime: "node", memoryMb: defaultLimits.memoryMb, cpus: defaultLimits.cpus, count: 1, network: "own" },
        { runtime: "python", memoryMb: defaultLimits.memoryMb, cpus: defaultLimits.cpus, count: 1, network: "host" },
      ]),
    /** Folders of the host that functions see beside `/usr`, read-only and at the same path: tools that lie elsewhere. */
    toolFolders: z.array(z.string().startsWith("/")).default([]),
    builds: z
      .strictObject({
        timeoutSeconds: z.number().positive().default(600),
        maxMb: count.default(2048),
        maxFiles: count.default(200_000),
      })
      .prefault({}),
    /** OpenWhisk's REST API, for `wsk` and whatever else speaks it. */
    openwhisk: z
      .strictObject({
        enabled: z.boolean().default(true),
        port: count.max(65_535).default(3233),
        /** The user, and namespace, that is made at the first start. */
        user: z.string().default("guest"),
        /** Of each namespace; `virga openwhisk user create` sets others for one. */
        limits: z
          .strictObject({
            invocationsPerMinute: count.default(6_000_000),
            concurrentInvocations: count.default(10_000),
            firesPerMinute: count.default(6_000_000),
          })
          .prefault({}),
      })
      .prefault({}),
    /** OpenFaaS's gateway, for `faas-cli` and whatever else speaks to one. */
    openfaas: z
      .strictObject({
        enabled: z.boolean().default(true),
        port: count.max(65_535).default(8080),
        /** Replicas of a function whose labels name no maximum. */
        scaling: z.strictObject({ max: count.min(1).default(20) }).prefault({}),
      })
      .prefault({}),
    /** Asynchronous calls that run at the same time. */
    asyncConcurrency: count.default(64 * availableParallelism()),
  })
  .prefault({});

export type Configuration = z.infer<typeof schema>;

/** Reads a YAML file; without one, the defaults. Rejects what is unknown, by file and line. */
export function readConfiguration(file: string | undefined): Configuration {
  if (file === undefined) return schema.parse({});
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new VirgaError("bad_request", `the configuration ${file} cannot be read: ${(error as Error).message}`, {
      cause: error,
      fix: "Give the path of a YAML file.",
    });
  }
  const document = parseDocument(text);
  const [syntax] = document.errors;
  if (syntax !== undefined)
    throw new VirgaError("bad_request", `${file}:${syntax.linePos?.[0].line ?? 1}: ${syntax.message}`, {
      location: file,
    });
  const parsed = schema.safeParse(document.toJS() ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path ?? [];
  const key = issue?.code === "unrecognized_keys" ? [...path, issue.keys[0] ?? ""] : path;
  const node = document.getIn(key, true) ?? document.getIn(path, true);
  const offset =
    node !== null && typeof node === "object" && "range" in node && Array.isArray(node.range)
      ? Number(node.range[0])
      : 0;
  const line = text.slice(0, offset).split("\n").length;
  throw new VirgaError("invalid_field", `${file}:${line}: ${key.join(".")}: ${issue?.message ?? "is not valid"}`, {
    field: key.join("."),
    location: `${file}:${line}`,
    fix: "See docs/operations.md for every setting.",
  });
}
