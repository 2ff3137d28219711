import { type Condition, type Json, type PathTest, workflowLimits } from "./definition.ts";
import type { BlobValue, Value } from "./event.ts";

/**
 * References: `$` or `$.name[0]["any text"]`, from a scope's root downwards. A value in a blob is only looked into where
 * a path goes on behind it; then `Unloaded` says which blob is wanted.
 */
export type Scope = (root: string) => Value | undefined;

/** Thrown for blobs whose content is needed and not at hand. */
export class Unloaded extends Error {
  readonly blobs: readonly BlobValue[];

  constructor(blobs: readonly BlobValue[]) {
    super(`${blobs.length} blobs are not loaded`);
    this.blobs = blobs;
  }
}

/** Thrown where a template refers to what is not there, or into what is too large to be looked into. */
export class BadReference extends Error {
  readonly code: "missing_value" | "payload_too_large";

  constructor(code: BadReference["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** Contents of blobs, by digest. */
export type Contents = ReadonlyMap<string, Json>;

/** `$.steps.a[0]` → `["steps", "a", 0]`; undefined where it is none. */
export function parsePath(text: string): readonly (string | number)[] | undefined {
  if (text[0] !== "$") return undefined;
  const parts: (string | number)[] = [];
  const part = /\.([A-Za-z_][\w-]*)|\[(\d{1,9})\]|\["((?:[^"\\]|\\["\\])*)"\]/y;
  part.lastIndex = 1;
  while (part.lastIndex < text.length) {
    const found = part.exec(text);
    if (found === null) return undefined;
    const [, name, index, quoted] = found;
    if (name !== undefined) parts.push(name);
    else if (index !== undefined) parts.push(Number(index));
    else parts.push((quoted ?? "").replaceAll(/\\(["\\])/g, "$1"));
  }
  return parts;
}

/** A string of a template that stands for a value. */
export function isReference(text: string): boolean {
  return text === "$" || text.startsWith("$.") || text.startsWith("$[");
}

/** The value at a path, or undefined where there is nothing. */
export function lookUp(path: string, scope: Scope, contents: Contents): Value | undefined {
  const parts = parsePath(path);
  if (parts === undefined) return undefined;
  let rest = parts.slice(1);
  let value: Value | undefined;
  if (parts[0] === "steps") {
    value = parts.length < 2 ? undefined : scope(`steps.${parts[1]}`);
    rest = parts.slice(2);
  } else {
    value = parts.length === 0 ? scope("") : scope(String(parts[0]));
    if (value === undefined && parts.length > 0) {
      value = scope("");
      rest = [...parts];
    }
  }
  if (value === undefined || rest.length === 0) return value;
  let json: Json | undefined = contentOf(value, contents);
  for (const part of rest) {
    if (json === null || typeof json !== "object") return undefined;
    if (Array.isArray(json)) json = typeof part === "number" ? (json as readonly Json[])[part] : undefined;
    else json = Object.hasOwn(json, part) ? (json as Readonly<Record<string, Json>>)[part] : undefined;
    if (json === undefined) return undefined;
  }
  return { json };
}

/** A template with its references filled in. One that is nothing but a reference stays a blob where it is one. */
export function fill(template: Json, scope: Scope, contents: Contents): Value {
  if (typeof template === "string" && isReference(template)) {
    const found = lookUp(template, scope, contents);
    if (found === undefined) throw new BadReference("missing_value", `there is nothing at ${template}`);
    return found;
  }
  return { json: filled(template, scope, contents) };
}

function filled(template: Json, scope: Scope, contents: Contents): Json {
  if (typeof template === "string") {
    if (isReference(template)) return contentOf(fill(template, scope, contents), contents);
    return template.startsWith("$$") ? template.slice(1) : template;
  }
  if (template === null || typeof template !== "object") return template;
  if (Array.isArray(template)) return (template as readonly Json[]).map((item) => filled(item, scope, contents));
  return Object.fromEntries(Object.entries(template).map(([key, item]) => [key, filled(item, scope, contents)]));
}

export function holds(condition: Condition, scope: Scope, contents: Contents): boolean {
  if ("all" in condition) return condition.all.every((one) => holds(one, scope, contents));
  if ("any" in condition) return condition.any.some((one) => holds(one, scope, contents));
  if ("not" in condition) return !holds(condition.not, scope, contents);
  const found = lookUp(condition.path, scope, contents);
  if (condition.exists !== undefined && condition.exists !== (found !== undefined)) return false;
  if (condition.exists === false) return true;
  return found !== undefined && passes(condition, found, contents);
}

function passes(test: PathTest, found: Value, contents: Contents): boolean {
  const { equals, in: among, above, below, atLeast, atMost } = test;
  if (equals === undefined && among === undefined && above === undefined && below === undefined) {
    if (atLeast === undefined && atMost === undefined)
      return test.exists === true || contentOf(found, contents) === true;
  }
  const json = contentOf(found, contents);
  if (equals !== undefined && !same(json, equals)) return false;
  if (among?.some((one) => same(json, one)) === false) return false;
  return (
    compares(json, above, (order) => order > 0) &&
    compares(json, below, (order) => order < 0) &&
    compares(json, atLeast, (order) => order >= 0) &&
    compares(json, atMost, (order) => order <= 0)
  );
}

function compares(json: Json, bound: number | string | undefined, fits: (order: number) => boolean): boolean {
  if (bound === undefined) return true;
  if (typeof json === "number" && typeof bound === "number") return fits(json - bound);
  if (typeof json === "string" && typeof bound === "string") return fits(json < bound ? -1 : json > bound ? 1 : 0);
  return false;
}

export function contentOf(value: Value, contents: Contents): Json {
  if ("json" in value) return value.json;
  const content = contents.get(value.blob);
  if (content !== undefined) return content;
  if (value.bytes <= workflowLimits.valueBytes) throw new Unloaded([value]);
  const message = `a value of ${value.bytes} bytes can only be handed on as a whole`;
  throw new BadReference("payload_too_large", message);
}

/** The contents of several values; throws one `Unloaded` for all that are not at hand. */
export function contentsOf(values: readonly Value[], contents: Contents): Json[] {
  const missing = values.filter((value): value is BlobValue => "blob" in value && !contents.has(value.blob));
  const fitting = missing.filter(({ bytes }) => bytes <= workflowLimits.valueBytes);
  if (fitting.length > 0) throw new Unloaded(fitting);
  return values.map((value) => contentOf(value, contents));
}

/** Equal as JSON, whatever the order of keys. */
export function same(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return (a as readonly Json[]).every((item, index) => same(item, (b as readonly Json[])[index] as Json));
  }
  const [left, right] = [a as Readonly<Record<string, Json>>, b as Readonly<Record<string, Json>>];
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => Object.hasOwn(right, key) && same(left[key] as Json, right[key] as Json));
}
