import { VirgaError } from "./errors.ts";

/** What namespaces, functions, tags and routes may be called: fit for a path segment and a host label. */
const namePattern = /^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/;
/** With their namespace they have to fit into a key of the records, which are of up to 512 bytes. */
const resourcePattern = /^[A-Za-z0-9@_][A-Za-z0-9_.@%-]{0,419}$/;
/** What a secret may be called: it becomes an environment variable of that name. */
const variablePattern = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

export function isName(text: string): boolean {
  return namePattern.test(text);
}

export function isVariableName(text: string): boolean {
  return variablePattern.test(text);
}

/** Throws `invalid_field`, naming the field, where `text` is no name. `what` is "function", "namespace", … */
export function checkName(text: unknown, field: string, what: string): asserts text is string {
  if (typeof text === "string" && namePattern.test(text)) return;
  throw new VirgaError("invalid_field", `${quote(text)} cannot be the name of a ${what}`, {
    field,
    fix: "use 1 to 63 lower-case letters, digits, '-' and '_', beginning and ending with a letter or digit",
  });
}

export function checkVariableName(text: unknown, field: string, what: string): asserts text is string {
  if (typeof text === "string" && variablePattern.test(text)) return;
  throw new VirgaError("invalid_field", `${quote(text)} cannot be the name of ${what}`, {
    field,
    fix: "use up to 128 letters, digits and '_', not beginning with a digit",
  });
}

/**
 * What functions, workflows, topics, subscriptions and sources may be called inside the engine: beside our own names those
 * that stand for a peer's, which dialects make (`tools.Hello`, `@whisk%2Esystem.utils.sort`).
 */
export function isResourceName(text: string): boolean {
  return resourcePattern.test(text) && text !== "__proto__";
}

/** As `checkName`, for what `isResourceName` allows. */
export function checkResourceName(text: unknown, field: string, what: string): asserts text is string {
  if (typeof text === "string" && isResourceName(text)) return;
  checkName(text, field, what);
}

/** A value as it may stand in an error message: short, on one line. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
