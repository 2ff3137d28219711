import { durationMs } from "./deployment.ts";
import { FaasError } from "./errors.ts";

/** How a function's own server says that it is well, or ready (contract section 1). Durations in milliseconds. */
export interface Probe {
  readonly path: string;
  readonly initialDelayMs: number;
  readonly periodMs: number;
  readonly timeoutMs: number;
  readonly failureThreshold: number;
}

/**
 * `com.openfaas.health.http.…`: a server that fails so often in a row is started anew. `com.openfaas.ready.http.…`: no call goes to a
 * new instance before its server says so. Throws 400, naming the annotation.
 */
export function readProbes(annotations: Readonly<Record<string, string>> = {}): { health?: Probe; ready?: Probe } {
  const health = readProbe(annotations, "health");
  const ready = readProbe(annotations, "ready");
  return { ...(health === undefined ? {} : { health }), ...(ready === undefined ? {} : { ready }) };
}

function readProbe(annotations: Readonly<Record<string, string>>, kind: "health" | "ready"): Probe | undefined {
  const prefix = `com.openfaas.${kind}.http.`;
  const path = annotations[`${prefix}path`]?.trim();
  if (path === undefined || path === "") return undefined;
  if (!path.startsWith("/"))
    throw new FaasError(400, `annotation ${prefix}path: ${JSON.stringify(path)} does not begin with /`);
  const duration = (name: string, fallback: string): number => {
    const field = `${prefix}${name}Seconds`;
    return durationMs(annotations[field]?.trim() || fallback, `annotation ${field}`);
  };
  const threshold = annotations[`${prefix}failureThreshold`]?.trim() || "3";
  if (!/^[1-9]\d{0,3}$/.test(threshold))
    throw new FaasError(
      400,
      `annotation ${prefix}failureThreshold: ${JSON.stringify(threshold)} is no number from 1 on`,
    );
  return {
    path,
    initialDelayMs: duration("initialDelay", "0"),
    periodMs: Math.max(leastPeriodMs, duration("period", "10")),
    timeoutMs: Math.max(leastTimeoutMs, duration("timeout", "1")),
    failureThreshold: Number(threshold),
  };
}

const leastPeriodMs = 100;
const leastTimeoutMs = 100;
