import { VirgaError } from "../../core/errors.ts";
import type { RecordChange } from "../../ports/records.ts";
import { checkKey, encodeValue } from "./checks.ts";

/** A change that can be written as it is; a deletion has no text. */
export interface PreparedChange {
  readonly key: string;
  readonly expect: number | undefined;
  readonly text: string | undefined;
  readonly ttlMs: number | undefined;
}

export function prepareChange(change: RecordChange): PreparedChange {
  const { expect } = change;
  if ("delete" in change) return { key: checkKey(change.delete), expect, text: undefined, ttlMs: undefined };
  const key = checkKey(change.put);
  return { key, expect, text: encodeValue(key, change.value), ttlMs: change.ttlMs };
}

export function checkRevision(key: string, current: number, expect: number | undefined): void {
  if (expect !== undefined && expect !== current)
    throw new VirgaError("conflict", `${key} is at revision ${current}, not ${expect}`, {
      fix: "Read it again and repeat the change.",
    });
}
