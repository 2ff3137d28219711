import { z } from "@hono/zod-openapi";
import { VirgaError } from "../../core/errors.ts";
import { closest } from "../../core/spelling.ts";

/** Checks a document of a request; throws `invalid_field` for the first thing wrong with it, naming the field. */
export function check<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw fieldError(parsed.error.issues[0] as z.core.$ZodIssue, schema);
}

function fieldError(issue: z.core.$ZodIssue, schema: z.ZodType): VirgaError {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const known = knownKeys(schema, path);
    const guess = closest(key, known);
    const field = [...path, key].join(".");
    return new VirgaError("invalid_field", `there is no field ${field}`, {
      field,
      fix: guess === undefined ? fieldsHere(known) : `did you mean ${guess}?`,
    });
  }
  // The most telling branch of a union is not known; say what the whole is for.
  const field = path.join(".");
  const what = field === "" ? "the body" : field;
  return new VirgaError("invalid_field", `${what} ${saying(issue)}`, {
    ...(field === "" ? {} : { field }),
    fix: `see the schema at /v1/openapi.json`,
  });
}

function saying(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is missing or of the wrong type" : `must be of type ${issue.expected}`;
    case "invalid_value":
      return `is none of ${issue.values.map(String).join(", ")}`;
    case "invalid_union":
      return "has none of the forms that are allowed here";
    default:
      return lowerFirst(issue.message);
  }
}

function lowerFirst(text: string): string {
  return text.startsWith("is ") || text.startsWith("has ") ? text : `is not accepted: ${text}`;
}

function fieldsHere(known: readonly string[]): string {
  return known.length === 0 ? "take it out" : `take it out; the fields here are ${known.join(", ")}`;
}

function knownKeys(schema: z.ZodType, path: readonly string[]): string[] {
  let here: unknown = schema;
  for (const step of path) {
    here = unwrapped(here);
    if (here instanceof z.ZodObject) here = (here.shape as Record<string, unknown>)[step];
    else if (here instanceof z.ZodArray) here = here.element;
    else return [];
  }
  here = unwrapped(here);
  return here instanceof z.ZodObject ? Object.keys(here.shape) : [];
}

function unwrapped(schema: unknown): unknown {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault ? schema.unwrap() : schema;
}
