import { z } from "zod";
import { FaasError } from "./errors.ts";
import { checkLabel, checkSecretName, defaultNamespace } from "./names.ts";

/** A FunctionDeployment (contract section 2.1), checked. What clients compare with the status is kept as they gave it. */
export interface Deployment {
  readonly service: string;
  readonly image: string;
  readonly namespace: string;
  readonly envProcess?: string;
  readonly envVars?: Readonly<Record<string, string>>;
  readonly constraints?: readonly string[];
  readonly secrets?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly limits?: Resources;
  readonly requests?: Resources;
  readonly readOnlyRootFilesystem?: boolean;
}

export interface Resources {
  readonly memory?: string;
  readonly cpu?: string;
}

/** Throws 400, naming the field. */
export function readDeployment(document: Readonly<Record<string, unknown>>, inQuery: string | null): Deployment {
  const parsed = schema.safeParse(document);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FaasError(400, `${issue!.path.join(".") || "the document"}: ${issue!.message}`);
  }
  const { service, image, namespace, ...rest } = parsed.data;
  checkLabel(service, "service");
  const inNamespace = namespace || inQuery || defaultNamespace;
  checkLabel(inNamespace, "namespace");
  if (image === "") throw new FaasError(400, "image: it is empty");
  for (const secret of rest.secrets ?? []) checkSecretName(secret, "secrets");
  for (const name of Object.keys(rest.envVars ?? {})) {
    if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name))
      throw new FaasError(400, `envVars: ${JSON.stringify(name)} is no name of an environment variable`);
  }
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined && value !== null));
  return { service, image, namespace: inNamespace, ...given };
}

const texts = z.record(z.string(), z.string()).nullish();
const resources = z.object({ memory: z.string().optional(), cpu: z.string().optional() }).nullish();

const schema = z.object({
  service: z.string(),
  image: z.string(),
  namespace: z.string().nullish(),
  envProcess: z.string().optional(),
  envVars: texts,
  constraints: z.array(z.string()).nullish(),
  secrets: z.array(z.string()).nullish(),
  labels: texts,
  annotations: texts,
  limits: resources,
  requests: resources,
  readOnlyRootFilesystem: z.boolean().optional(),
});

/** A Kubernetes quantity of memory, in MiB, rounded up. Throws 400. */
export function memoryMb(quantity: string, field: string): number {
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)([EPTGMKk]i?|m)?$/.exec(quantity.trim()) ?? [];
  if (amount === undefined)
    throw new FaasError(400, `${field}: ${JSON.stringify(quantity)} is no amount such as 128Mi or 1Gi`);
  return Math.max(1, Math.ceil((Number(amount) * factorOf(unit)) / 2 ** 20));
}

/** A Kubernetes quantity of processors: `500m` is half of one. Throws 400. */
export function processors(quantity: string, field: string): number {
  const [, amount, milli] = /^(\d+(?:\.\d+)?)(m)?$/.exec(quantity.trim()) ?? [];
  if (amount === undefined)
    throw new FaasError(400, `${field}: ${JSON.stringify(quantity)} is no amount such as 100m or 1.5`);
  return Number(amount) / (milli === undefined ? 1 : 1000);
}

function factorOf(unit: string): number {
  if (unit === "") return 1;
  if (unit === "m") return 1 / 1000;
  const power = "KMGTPE".indexOf(unit[0]!.toUpperCase()) + 1;
  return (unit.endsWith("i") ? 1024 : 1000) ** power;
}

/** A Go duration, or a whole number of seconds, in milliseconds. Throws 400. */
export function durationMs(text: string, field: string): number {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|us|µs|ns|m|s))+$/.test(text))
    throw new FaasError(400, `${field}: ${JSON.stringify(text)} is no duration such as 30s or 5m`);
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)/g))
    total += Number(amount) * units[unit!]!;
  return Math.round(total);
}

const units: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000_001,
};
