// The global Request: what a handler gets, with nothing made before it is asked for, and what a function makes itself.
import { flatten, headersOver } from "./headers.mjs";
import { extract, Message, setContent, shareContent, takeContent, withType } from "./message.mjs";
import { fetchByNode } from "./web.mjs";

const noOptions = {};
const fromCall = Symbol("from a call");

/** The request of a call: `flat` are its headers, `body` an IncomingBody. */
export let incoming;

export class Request extends Message {
  #method = "GET";
  #url = "";
  #flat = [];
  #headers;
  #signal;
  /** The call whose request this is, for its signal. */
  #call;
  /** How it wants to be fetched: redirect, cache, credentials and the like, as given. */
  #options = noOptions;

  constructor(input, init) {
    super();
    if (input === fromCall) return;
    const other = typeof input === "object" && input !== null && #method in input ? input : undefined;
    this.#url = other === undefined ? parseUrl(input) : other.#url;
    this.#method = other === undefined ? "GET" : other.#method;
    this.#options = { ...other?.#options };
    for (const name of optionNames) if (init?.[name] !== undefined) this.#options[name] = init[name];
    if (init?.method !== undefined) this.#method = checkMethod(`${init.method}`);
    const headers = init?.headers ?? other?.headers;
    this.#flat = headers === undefined ? [] : [...flatten(headers)];
    this.#signal = init?.signal ?? other?.signal;
    const body = init?.body ?? null;
    const bodyless = this.#method === "GET" || this.#method === "HEAD";
    if (bodyless && (body !== null || (other !== undefined && other.body !== null))) {
      throw new TypeError(`Request: ${this.#method} has no body`);
    }
    if (body !== null) {
      const [content, type] = extract(body);
      setContent(this, content);
      withType(this.#flat, type);
    } else if (other !== undefined && other.body !== null) {
      setContent(this, takeContent(other));
    }
  }

  static {
    incoming = (call, method, url, flat, body) => {
      const request = new Request(fromCall);
      request.#call = call;
      request.#method = method;
      request.#url = url;
      request.#flat = flat;
      if (method !== "GET" && method !== "HEAD") setContent(request, body);
      return request;
    };
  }

  get method() {
    return this.#method;
  }

  get url() {
    return this.#url;
  }

  get headers() {
    return (this.#headers ??= headersOver(this.#flat));
  }

  get signal() {
    return (this.#signal ??= this.#call === undefined ? new AbortController().signal : this.#call.signal);
  }

  get cache() {
    return this.#options.cache ?? "default";
  }

  get credentials() {
    return this.#options.credentials ?? "same-origin";
  }

  get destination() {
    return "";
  }

  get duplex() {
    return "half";
  }

  get integrity() {
    return this.#options.integrity ?? "";
  }

  get keepalive() {
    return this.#options.keepalive ?? false;
  }

  get mode() {
    return this.#options.mode ?? "cors";
  }

  get redirect() {
    return this.#options.redirect ?? "follow";
  }

  get referrer() {
    return this.#options.referrer ?? "about:client";
  }

  get referrerPolicy() {
    return this.#options.referrerPolicy ?? "";
  }

  clone() {
    const other = new Request(fromCall);
    other.#method = this.#method;
    other.#url = this.#url;
    other.#flat = [...flatten(this.headers)];
    other.#signal = this.signal;
    other.#options = this.#options;
    shareContent(this, other);
    return other;
  }

  get [Symbol.toStringTag]() {
    return "Request";
  }

  /** The global `fetch`: Node's, for requests of ours too. */
  static fetch(input, init) {
    if (typeof input !== "object" || input === null || !(#method in input)) return fetchByNode(input, init);
    const request = init === undefined ? input : new Request(input, init);
    const given = {
      ...request.#options,
      method: request.#method,
      headers: [...request.headers],
      signal: request.signal,
    };
    const body = request.body;
    return fetchByNode(request.#url, body === null ? given : { ...given, body, duplex: "half" });
  }
}

/** The global `fetch`. */
export const fetch = Request.fetch;
delete Request.fetch;

const optionNames = [
  "cache",
  "credentials",
  "integrity",
  "keepalive",
  "mode",
  "redirect",
  "referrer",
  "referrerPolicy",
  "dispatcher",
];

function parseUrl(input) {
  const url = new URL(input);
  if (url.username !== "" || url.password !== "") throw new TypeError("Request: the URL must not carry credentials");
  return url.href;
}

function checkMethod(method) {
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(method))
    throw new TypeError(`Request: ${JSON.stringify(method)} is no method`);
  const upper = method.toUpperCase();
  if (upper === "CONNECT" || upper === "TRACE" || upper === "TRACK")
    throw new TypeError(`Request: ${method} is forbidden`);
  return ["DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"].includes(upper) ? upper : method;
}
