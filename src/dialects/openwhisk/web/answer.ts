/** A web action's result as an HTTP answer, by the extension of its URL (contract section 2.4). */
import type { Json } from "../../../core/workflow/definition.ts";
import type { ActivationResponse } from "../entities.ts";
import { WhiskError } from "../errors.ts";
import type { Extension } from "./address.ts";
import { isBinaryType, isJson } from "./arguments.ts";

export interface WebAnswer {
  readonly status: number;
  /** Flat: name, value, … */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

/** Throws 400 for a result that cannot be put into this form, and for code that failed. */
export function webAnswer({ statusCode, result }: ActivationResponse, extension: Extension): WebAnswer {
  if (statusCode > 1) throw new WhiskError(400, "There was an error processing your request.");
  const value = statusCode === 1 ? errorOf(result) : result;
  switch (extension) {
    case "http":
      return httpAnswer(value);
    case "json":
      if (typeof value !== "object" || value === null) throw unfit("application/json");
      return text(200, "application/json", JSON.stringify(value));
    case "html":
      return markup(value, "html", "text/html; charset=UTF-8");
    case "svg":
      return markup(value, "svg", "image/svg+xml");
    default:
      return plain(value);
  }
}

/** An error goes the way of a result: it may name its own status and body. */
function errorOf(result: Json): Json {
  const error = isObject(result) ? result["error"] : undefined;
  return error ?? result;
}

function httpAnswer(value: Json): WebAnswer {
  if (!isObject(value)) {
    if (Array.isArray(value)) return text(200, "application/json", JSON.stringify(value));
    throw unfit("message/http");
  }
  const { headers = {}, body, statusCode } = value;
  if (!isObject(headers)) throw unfit("message/http");
  const flat: string[] = [];
  for (const [name, content] of Object.entries(headers)) {
    for (const one of Array.isArray(content) ? content : [content]) flat.push(checkedName(name), checkedValue(one));
  }
  const given = typeIn(flat);
  const status = statusOf(statusCode);
  if (body === undefined || body === null || body === "") {
    return {
      status: status ?? (body === undefined || body === null ? 204 : 200),
      headers: flat,
      body: Buffer.alloc(0),
    };
  }
  const type = given ?? (typeof body === "string" ? "text/html; charset=UTF-8" : "application/json");
  if (given === undefined) flat.push("content-type", type);
  return { status: status ?? 200, headers: flat, body: bytesOf(body, type) };
}

function bytesOf(body: Json, type: string): Buffer {
  if (typeof body !== "string") return Buffer.from(JSON.stringify(body));
  if (isBinaryType(type)) {
    if (!base64.test(body)) throw unfit("message/http");
    return Buffer.from(body, "base64");
  }
  // From before actions could answer JSON as it is.
  if (isJson(type) && body.length % 4 === 0 && base64.test(body)) return Buffer.from(body, "base64");
  return Buffer.from(body);
}

function markup(value: Json, field: "html" | "svg", type: string): WebAnswer {
  const content = isObject(value) ? (value["body"] ?? value[field]) : value;
  if (typeof content !== "string") throw unfit(field === "html" ? "text/html" : "image/svg+xml");
  return text(200, type, content);
}

function plain(value: Json): WebAnswer {
  const content = isObject(value) ? (value["body"] ?? value["text"]) : value;
  if (content === undefined) throw new WhiskError(404, "The requested resource does not exist.");
  const shown = typeof content === "string" ? content : JSON.stringify(content, null, 2);
  return text(200, "text/plain; charset=UTF-8", shown);
}

function text(status: number, type: string, content: string): WebAnswer {
  return { status, headers: ["content-type", type], body: Buffer.from(content) };
}

function statusOf(given: Json | undefined): number | undefined {
  if (given === undefined) return undefined;
  const status = typeof given === "string" && /^\d{3}$/.test(given) ? Number(given) : given;
  if (typeof status !== "number" || !Number.isInteger(status) || status < 200 || status > 599)
    throw unfit("message/http");
  return status;
}

function checkedName(name: string): string {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) throw unfit("message/http");
  return name.toLowerCase();
}

function checkedValue(value: Json): string {
  if (typeof value === "object" && value !== null) throw unfit("message/http");
  const shown = String(value);
  // What would split the answer.
  if (/[^\t\x20-\x7e\x80-\xff]/.test(shown)) throw unfit("message/http");
  return shown;
}

function typeIn(flat: readonly string[]): string | undefined {
  for (let index = 0; index < flat.length; index += 2) if (flat[index] === "content-type") return flat[index + 1];
  return undefined;
}

function unfit(type: string): WhiskError {
  return new WhiskError(400, `Response is not valid '${type}'.`);
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
