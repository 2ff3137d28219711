/** What all documents of a PUT have in common (contract section 1.1). */
import type { Json } from "../../core/workflow/definition.ts";
import type { KeyValues } from "./entities.ts";
import { malformed, WhiskError } from "./errors.ts";
import { readKeyValues } from "./key-values.ts";

export interface CommonFields {
  readonly version: string;
  readonly publish: boolean;
  readonly updated: number;
}

/** The next patch number, unless the body says which. */
export function commonFields(
  body: Readonly<Record<string, Json>>,
  before: { readonly version: string; readonly publish: boolean } | undefined,
  now: number,
): CommonFields {
  const { version, publish } = body;
  if (publish !== undefined && typeof publish !== "boolean") throw malformed("publish is neither true nor false.");
  return {
    version: readVersion(version) ?? (before === undefined ? "0.0.1" : nextPatch(before.version)),
    publish: publish ?? before?.publish ?? false,
    updated: now,
  };
}

export function keyValuesOr(given: Json | undefined, field: string, before: KeyValues | undefined): KeyValues {
  return readKeyValues(given, field) ?? before ?? [];
}

/** 409 where a document is there and the client did not say that it may be written over. */
export function checkOverwrite(isThere: boolean, overwrite: boolean): void {
  if (isThere && !overwrite) throw new WhiskError(409, "Resource already exists.");
}

/** `1.0.0`; what is left out at its end is 0. */
function readVersion(given: Json | undefined): string | undefined {
  if (given === undefined || given === null || given === "") return undefined;
  if (typeof given !== "string" || !/^\d{1,9}(?:\.\d{1,9}){0,2}$/.test(given)) {
    throw malformed("version is no such as 1.0.0.");
  }
  const [major, minor = "0", patch = "0"] = given.split(".");
  return `${major}.${minor}.${patch}`;
}

export function nextPatch(version: string): string {
  const [major, minor, patch = "0"] = version.split(".");
  return `${major}.${minor}.${Number(patch) + 1}`;
}
