import { isDeepStrictEqual } from "node:util";
import type { FunctionConfig } from "../core/model.ts";
import type { PlannedChange } from "./engine.ts";

/** The fields in which two settings differ, as paths: `limits.memoryMb`. Groups are looked into, lists compared whole. */
export function differences(before: Partial<FunctionConfig>, after: Partial<FunctionConfig>): PlannedChange[] {
  const from = flattened(before);
  const to = flattened(after);
  const changes: PlannedChange[] = [];
  for (const field of new Set([...from.keys(), ...to.keys()])) {
    const change: PlannedChange = {
      field,
      ...(from.has(field) ? { from: from.get(field) } : {}),
      ...(to.has(field) ? { to: to.get(field) } : {}),
    };
    if (!isDeepStrictEqual(change.from, change.to)) changes.push(change);
  }
  return changes;
}

function flattened(config: Partial<FunctionConfig>): Map<string, unknown> {
  const fields = new Map<string, unknown>();
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      fields.set(path, value);
      return;
    }
    for (const [key, inner] of Object.entries(value)) walk(inner, path === "" ? key : `${path}.${key}`);
  };
  walk(config, "");
  return fields;
}
