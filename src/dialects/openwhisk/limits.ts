/** What one action may ask for (contract section 3.4). The upper ends are wider than stock OpenWhisk's: long and large jobs are what this platform is for. */
import type { Json } from "../../core/workflow/definition.ts";
import type { ActionLimits } from "./entities.ts";
import { malformed } from "./errors.ts";

export const limitRanges = {
  /** Milliseconds. */
  timeout: { min: 100, default: 60_000, max: 3_600_000 },
  /** MB. */
  memory: { min: 64, default: 256, max: 16_384 },
  /** MB. */
  logs: { min: 0, default: 10, max: 10 },
  concurrency: { min: 1, default: 1, max: 500 },
} as const;

/** Bytes. */
export const sizeLimits = {
  code: 48 * 2 ** 20,
  parameters: 2 ** 20,
  payload: 2 ** 20,
  /** A document as a whole, its code as Base64 and more. */
  document: 70 * 2 ** 20,
} as const;

/** What is left out has the value of `before`, or the default. */
export function readLimits(given: Json | undefined, before: ActionLimits | undefined): ActionLimits {
  if (given !== undefined && (typeof given !== "object" || Array.isArray(given))) {
    throw malformed("limits is no object.");
  }
  const one = (name: keyof ActionLimits): number => {
    const { min, max, default: usual } = limitRanges[name];
    const value = (given as Readonly<Record<string, Json>> | null | undefined)?.[name] ?? before?.[name] ?? usual;
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    throw malformed(`requirement failed: ${name} ${JSON.stringify(value)} is not within ${min} and ${max}.`);
  };
  return { timeout: one("timeout"), memory: one("memory"), logs: one("logs"), concurrency: one("concurrency") };
}
