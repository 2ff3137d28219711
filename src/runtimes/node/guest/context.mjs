// The second argument of a handler.
import { format } from "node:util";
import { encode, isBytes, toBytes } from "./body.mjs";
import { flatten } from "./headers.mjs";
import { writeLine } from "./output.mjs";
import { Response } from "./response.mjs";

/** What is the same for all calls of the instance: `{ namespace, function, revision }`. */
let bound = { namespace: "", function: "", revision: 0 };

export function bind(settings) {
  bound = settings;
}

export class Context {
  #call;
  #log;

  constructor(call, id, deadline, attempt, traceparent, idempotencyKey) {
    this.#call = call;
    this.id = id;
    /** Milliseconds since the epoch. */
    this.deadline = deadline;
    this.attempt = attempt;
    this.traceparent = traceparent;
    this.idempotencyKey = idempotencyKey;
  }

  get namespace() {
    return bound.namespace;
  }

  get function() {
    return bound.function;
  }

  get revision() {
    return bound.revision;
  }

  /** Aborted when the caller leaves or the deadline passes. */
  get signal() {
    return this.#call.signal;
  }

  get log() {
    return (this.#log ??= new Log(this.#call));
  }

  remainingMs() {
    return Math.max(0, this.deadline - Date.now());
  }

  /** Work that goes on after the answer; a draining instance waits for it. */
  waitUntil(promise) {
    this.#call.waitUntil(promise);
  }

  /** Calls another function, `name` or `namespace/name`, without leaving the platform. Rejects where it fails; `code` says how. */
  async call(name, { method, path = "/", headers, body, json } = {}) {
    if (typeof name !== "string" || name === "") throw new TypeError("context.call: the function's name is missing");
    const flat = headers === undefined ? [] : [...flatten(headers)];
    let bytes = empty;
    if (json !== undefined) {
      bytes = encode(JSON.stringify(json));
      if (!flat.includes("content-type")) flat.push("content-type", "application/json");
    } else if (body !== undefined && body !== null) {
      if (typeof body === "string") bytes = encode(body);
      else if (isBytes(body)) bytes = toBytes(body);
      else bytes = await new Response(body).bytes();
    }
    const head = {
      parent: this.id,
      function: name,
      method: method ?? (bytes.length > 0 ? "POST" : "GET"),
      path: path.startsWith("/") ? path : `/${path}`,
      headers: flat,
    };
    let answer;
    try {
      answer = await this.#call.nested(head, bytes);
    } catch (error) {
      // The refusal came from the link; the stack that helps is that of the code which waits for it.
      Error.captureStackTrace(error);
      throw error;
    }
    const hasBody = answer.status !== 204 && answer.status !== 205 && answer.status !== 304;
    return new Response(hasBody ? answer.body : null, { status: answer.status, headers: pairs(answer.headers) });
  }
}

class Log {
  #call;

  constructor(call) {
    this.#call = call;
  }

  debug(...values) {
    writeLine(this.#call, false, format(...values));
  }

  info(...values) {
    writeLine(this.#call, false, format(...values));
  }

  warn(...values) {
    writeLine(this.#call, true, format(...values));
  }

  error(...values) {
    writeLine(this.#call, true, format(...values));
  }
}

const empty = new Uint8Array(0);

function pairs(flat) {
  const list = [];
  for (let index = 0; index + 1 < flat.length; index += 2) list.push([flat[index], flat[index + 1]]);
  return list;
}
