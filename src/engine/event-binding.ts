/** CloudEvents over HTTP (HTTP Protocol Binding 1.0.2): how a request carries events, and how an event becomes a request. */
import { VirgaError } from "../core/errors.ts";
import { attributeOf, type CloudEvent } from "../core/events/event.ts";

/**
 * What a request carries, not yet checked as events: one in binary mode (section 3.1), one as JSON (3.2), or a batch (3.3).
 * `header` gives a header's value by its lower-case name. Throws `bad_request` where it is none of these.
 */
export function eventsOf(headers: Readonly<Record<string, string | undefined>>, body: Uint8Array): unknown[] {
  const type = headers["content-type"] ?? "";
  const kind = type.split(";")[0]!.trim().toLowerCase();
  if (kind === "application/cloudevents-batch+json") {
    const batch = parse(body);
    if (Array.isArray(batch)) return batch;
    throw new VirgaError("bad_request", "a batch is a list of events", { fix: "send a JSON list" });
  }
  if (kind === "application/cloudevents+json") return [parse(body)];
  if (kind.startsWith("application/cloudevents")) {
    throw new VirgaError("bad_request", `events as ${kind} are not understood`, { fix: "use the JSON format" });
  }
  if (headers["ce-specversion"] === undefined) {
    throw new VirgaError("bad_request", "the request carries no CloudEvent", {
      fix: "send it as application/cloudevents+json, or its attributes as ce- headers (ce-specversion: 1.0, ce-id, ce-source, ce-type)",
    });
  }
  return [binaryEvent(headers, type, body)];
}

/** The headers (flat: name, value, …) and the body of an event in binary mode. */
export function binaryRequest(event: CloudEvent): { headers: string[]; body: Uint8Array } {
  const headers: string[] = [];
  for (const name of Object.keys(event)) {
    const value = name === "datacontenttype" ? undefined : attributeOf(event, name);
    if (value !== undefined) headers.push(`ce-${name}`, escaped(value));
  }
  const { data, data_base64: bytes, datacontenttype } = event;
  if (bytes !== undefined) {
    headers.push("content-type", datacontenttype ?? "application/octet-stream");
    return { headers, body: Buffer.from(bytes, "base64") };
  }
  if (data === undefined) {
    if (datacontenttype !== undefined) headers.push("content-type", datacontenttype);
    return { headers, body: Buffer.alloc(0) };
  }
  headers.push("content-type", datacontenttype ?? "application/json");
  // A text of another type than JSON stands for itself (JSON format, section 3.1.1).
  const isText = typeof data === "string" && datacontenttype !== undefined && !isJson(datacontenttype);
  return { headers, body: Buffer.from(isText ? data : JSON.stringify(data)) };
}

/** Its data alone. */
export function dataRequest(event: CloudEvent): { headers: string[]; body: Uint8Array } {
  const { headers, body } = binaryRequest(event);
  const type = headers.indexOf("content-type");
  return { headers: type < 0 ? [] : headers.slice(type, type + 2), body };
}

/** The same as one JSON document. */
export function structuredRequest(event: CloudEvent): { headers: string[]; body: Uint8Array } {
  return { headers: ["content-type", "application/cloudevents+json"], body: Buffer.from(JSON.stringify(event)) };
}

function binaryEvent(
  headers: Readonly<Record<string, string | undefined>>,
  type: string,
  body: Uint8Array,
): Record<string, unknown> {
  const event: Record<string, unknown> = {};
  for (const [header, value] of Object.entries(headers)) {
    if (!header.startsWith("ce-") || value === undefined) continue;
    const name = header.slice(3);
    if (name === "data" || name === "data_base64" || name === "datacontenttype") {
      throw new VirgaError("bad_request", `there is no header ${header} in binary mode`, {
        field: header,
        fix: "data is the body, and its type the content-type",
      });
    }
    event[name] = unescaped(header, value);
  }
  if (type !== "") event["datacontenttype"] = type;
  if (body.length === 0) return event;
  if (isJson(type)) return { ...event, data: parse(body) };
  const text = type === "" || !/^text\//i.test(type) ? undefined : utf8(body);
  return text === undefined
    ? { ...event, data_base64: Buffer.from(body).toString("base64") }
    : { ...event, data: text };
}

function isJson(type: string): boolean {
  return /^[^;]*[/+]json\s*(;|$)/i.test(type);
}

function parse(body: Uint8Array): unknown {
  const text = utf8(body);
  try {
    if (text !== undefined) return JSON.parse(text);
  } catch (thrown) {
    throw new VirgaError("bad_request", `the body is not JSON: ${(thrown as Error).message}`, { cause: thrown });
  }
  throw new VirgaError("bad_request", "the body is not UTF-8");
}

function utf8(body: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    // Then they are bytes.
    return undefined;
  }
}

/** Section 3.1.3.2: space, quotation mark, percent sign and all that is no printable ASCII are percent-encoded. */
function escaped(value: string): string {
  return value.replaceAll(/[^!#$&-~]/gu, (character) =>
    Buffer.from(character).reduce((text, byte) => `${text}%${byte.toString(16).toUpperCase().padStart(2, "0")}`, ""),
  );
}

function unescaped(header: string, value: string): string {
  // Quoted strings are from before that section was written.
  const bare = /^".*"$/.test(value) ? value.slice(1, -1).replaceAll(/\\(.)/g, "$1") : value;
  try {
    return decodeURIComponent(bare);
  } catch (thrown) {
    throw new VirgaError("bad_request", `the header ${header} is not percent-encoded UTF-8`, {
      field: header,
      fix: "write a percent sign as %25",
      cause: thrown,
    });
  }
}
