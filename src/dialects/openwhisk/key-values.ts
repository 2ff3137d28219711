import type { Json } from "../../core/workflow/definition.ts";
import type { KeyValue, KeyValues } from "./entities.ts";
import { malformed, WhiskError } from "./errors.ts";
import { sizeLimits } from "./limits.ts";

/** A document's `parameters` or `annotations`; undefined where it has none. Rejects with 400 and 413. */
export function readKeyValues(given: Json | undefined, field: string): KeyValues | undefined {
  if (given === undefined || given === null) return undefined;
  if (!Array.isArray(given)) throw malformed(`${field} is no list of key and value.`);
  const read = (given as readonly Json[]).map((one): KeyValue => {
    if (typeof one !== "object" || one === null || Array.isArray(one))
      throw malformed(`${field} has an entry that is no object.`);
    const { key, value = null, init } = one as Readonly<Record<string, Json>>;
    if (typeof key !== "string" || key === "") throw malformed(`${field} has an entry without a key.`);
    return { key, value, ...(init === true ? { init } : {}) };
  });
  const bytes = Buffer.byteLength(JSON.stringify(read));
  if (bytes > sizeLimits.parameters) {
    throw new WhiskError(
      413,
      `The ${field} are too large: ${bytes} bytes, and at most ${sizeLimits.parameters} are taken.`,
    );
  }
  // The last of a name counts.
  return [...new Map(read.map((one) => [one.key, one])).values()];
}

/** Those of `over` win. */
export function mergedKeyValues(...layers: readonly KeyValues[]): KeyValues {
  return [...new Map(layers.flat().map((one) => [one.key, one])).values()];
}

export function withKeyValue(list: KeyValues, key: string, value: Json): KeyValues {
  return mergedKeyValues(list, [{ key, value }]);
}
