import { VirgaError } from "../errors.ts";
import { quote } from "../names.ts";

/** An event in the JSON format of CloudEvents 1.0.2: attributes and extensions as members, then `data` or `data_base64`. */
export interface CloudEvent {
  readonly specversion: "1.0";
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly datacontenttype?: string;
  readonly dataschema?: string;
  readonly subject?: string;
  /** RFC 3339. */
  readonly time?: string;
  readonly data?: unknown;
  /** In place of `data`, for what is no JSON value. */
  readonly data_base64?: string;
  /** Extensions: text, whole number or boolean. */
  readonly [extension: string]: unknown;
}

/**
 * An event as it came, checked; attributes that are null are absent (JSON format, section 2.2). Throws `invalid_field`
 * with the attribute at fault.
 */
export function checkEvent(given: unknown): CloudEvent {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw wrong("event", `an event is an object, not ${quote(given)}`, "send a CloudEvent in its JSON format");
  }
  const event: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    if (name === "data") {
      event["data"] = value;
      continue;
    }
    if (value === null) continue;
    checkAttribute(name, value);
    event[name] = value;
  }
  if (event["specversion"] !== "1.0") {
    throw wrong("specversion", `specversion is ${quote(event["specversion"])}`, 'write "1.0"');
  }
  for (const name of ["id", "source", "type"]) {
    if (typeof event[name] === "string" && event[name] !== "") continue;
    throw wrong(name, `an event needs the attribute ${name}`, "give it a text that is not empty");
  }
  if (event["data"] !== undefined && event["data_base64"] !== undefined) {
    throw wrong("data_base64", "an event has data or data_base64, not both", "take one out");
  }
  return event as unknown as CloudEvent;
}

/** An attribute's value as text, as filters and headers see it; undefined where the event has none. */
export function attributeOf(event: CloudEvent, name: string): string | undefined {
  if (name === "data" || name === "data_base64") return undefined;
  const value = Object.hasOwn(event, name) ? event[name] : undefined;
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : undefined;
}

/** Names are lower-case letters and digits (section 3.1 of the specification); 20 of them are recommended, 64 accepted. */
export function isAttributeName(name: string): boolean {
  return /^[a-z0-9]{1,64}$/.test(name) && name !== "data";
}

function checkAttribute(name: string, value: unknown): void {
  if (name === "data_base64") {
    if (typeof value === "string" && value.length % 4 === 0 && base64.test(value)) return;
    throw wrong(name, "data_base64 is not Base64", "encode the bytes with the standard alphabet and padding");
  }
  if (!isAttributeName(name)) {
    throw wrong(name, `${quote(name)} is no attribute's name`, "use lower-case letters and digits");
  }
  if (texts.has(name) && typeof value !== "string") {
    throw wrong(name, `the attribute ${name} is a text, not ${quote(value)}`, "write it in quotation marks");
  }
  if (name === "time" && !(rfc3339.test(value as string) && !Number.isNaN(Date.parse(value as string)))) {
    throw wrong(name, `${quote(value)} is no time`, "write it as RFC 3339 has it, such as 2026-01-31T12:00:00Z");
  }
  const fits =
    typeof value === "boolean" ||
    (typeof value === "number" && Number.isInteger(value) && Math.abs(value) <= 2 ** 31) ||
    (typeof value === "string" && !unprintable.test(value));
  if (fits) return;
  throw wrong(name, `the attribute ${name} cannot be ${quote(value)}`, "use text, a whole number, true or false");
}

function wrong(field: string, message: string, fix: string): VirgaError {
  return new VirgaError("invalid_field", message, { field, fix });
}

const texts: ReadonlySet<string> = new Set([
  "specversion",
  "id",
  "source",
  "type",
  "datacontenttype",
  "dataschema",
  "subject",
  "time",
]);
const base64 = /^[A-Za-z0-9+/]*={0,2}$/;
const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
/** Control characters and lone surrogates (section 3.1, type String). */
// eslint-disable-next-line no-control-regex
const unprintable = /[\u0000-\u001f\u007f-\u009f]|\p{Surrogate}/u;
