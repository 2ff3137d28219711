import type { IncomingMessage, ServerResponse } from "node:http";
import type { VirgaError } from "../../core/errors.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { Clock } from "../../ports/clock.ts";
import { gather } from "../../gateway/request-body.ts";
import { linger } from "../../gateway/refusal.ts";
import { activationIdOf } from "./activation.ts";
import { asWhiskError, malformed, WhiskError } from "./errors.ts";

export interface ExchangeOptions {
  readonly clock: Clock;
  /** How long a body may take to arrive. */
  readonly requestTimeoutMs: number;
  /** Makes invocation ids. */
  readonly identify: () => string;
}

/** One request and its answer. */
export class Exchange {
  readonly method: string;
  /** Without the query, still percent-encoded. */
  readonly path: string;
  /** Behind the question mark. */
  readonly queryText: string;
  readonly request: IncomingMessage;
  readonly transactionId: string;
  readonly #response: ServerResponse;
  readonly #options: ExchangeOptions;
  /** Of the call that this request makes, where the client gave no id of its own: both are known by it. */
  readonly #ownId: string | undefined;
  #query: Pick<URLSearchParams, "get"> | undefined;

  /** A client's own `x-request-id` is kept where it is fit for a log line. */
  constructor(options: ExchangeOptions, request: IncomingMessage, response: ServerResponse) {
    this.#options = options;
    this.request = request;
    this.#response = response;
    const given = this.header("x-request-id");
    this.#ownId = given !== undefined && /^[\w.:-]{1,128}$/.test(given) ? undefined : options.identify();
    this.transactionId = this.#ownId === undefined ? given! : activationIdOf(this.#ownId);
    this.method = request.method ?? "GET";
    const url = request.url ?? "/";
    const mark = url.indexOf("?");
    this.path = mark < 0 ? url : url.slice(0, mark);
    this.queryText = mark < 0 ? "" : url.slice(mark + 1);
  }

  /** The ids of the one call that this request makes. */
  callIds(): { readonly id: string; readonly activationId: string } {
    if (this.#ownId !== undefined) return { id: this.#ownId, activationId: this.transactionId };
    const id = this.#options.identify();
    return { id, activationId: activationIdOf(id) };
  }

  get query(): Pick<URLSearchParams, "get"> {
    this.#query ??= plainQuery.get(this.queryText) ?? new URLSearchParams(this.queryText);
    return this.#query;
  }

  /** By its name in lower case. Node's own object of headers would be built for every request. */
  header(name: string): string | undefined {
    const raw = this.request.rawHeaders;
    let found: string | undefined;
    for (let index = 0; index + 1 < raw.length; index += 2) {
      const given = raw[index]!;
      if (given.length !== name.length || (given !== name && given.toLowerCase() !== name)) continue;
      found = found === undefined ? raw[index + 1]! : `${found}, ${raw[index + 1]}`;
    }
    return found;
  }

  /** `http://host:port`, as the client reached us. */
  get origin(): string {
    return `${"encrypted" in this.request.socket ? "https" : "http"}://${this.header("host") ?? "localhost"}`;
  }

  /** A query parameter that is a switch. Rejects with 400 what is neither `true` nor `false`. */
  flag(name: string): boolean {
    if (!this.queryText.includes(name)) return false;
    const value = this.query.get(name);
    if (value === null || value === "" || value === "false") return value === "";
    if (value === "true") return true;
    throw malformed(`The query parameter '${name}' is neither true nor false.`);
  }

  /** Rejects with 413 for more than `limit` bytes. */
  body(limit: number): Promise<Uint8Array> {
    const length = Number(this.header("content-length") ?? "-1");
    if (length > limit) {
      return Promise.reject(
        new WhiskError(413, `The entity is too large: ${length} bytes, and at most ${limit} are taken.`),
      );
    }
    const chunked = this.header("transfer-encoding") !== undefined;
    if (!chunked && length <= 0) return Promise.resolve(nothing);
    if (this.header("expect") !== undefined) this.#response.writeContinue();
    return new Promise((resolve, reject) => {
      const done = (bytes: Uint8Array, error?: VirgaError): void => {
        if (error === undefined) resolve(bytes);
        else reject(error);
      };
      gather(this.#options, this.request, chunked ? -1 : length, done, limit);
    });
  }

  /** A JSON object; an empty body is one without members. */
  async json(limit: number): Promise<Record<string, Json>> {
    const bytes = await this.body(limit);
    const parsed = bytes.length === 0 ? {} : parseJson(bytes);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed as Record<string, Json>;
    throw malformed("A JSON object was expected.");
  }

  answer(status: number, document: unknown, headers: readonly string[] = []): void {
    this.answerText(status, JSON.stringify(document), headers);
  }

  /** JSON text of `length` bytes. */
  answerText(status: number, text: string, headers: readonly string[] = [], length = Buffer.byteLength(text)): void {
    const response = this.#response;
    if (response.headersSent || response.destroyed) return;
    const all = [...jsonHeaders, "x-request-id", this.transactionId, "content-length", String(length), ...headers];
    response.writeHead(status, all);
    if (this.method === "HEAD") response.end();
    // With its head in one write; what is ASCII alone is written a third faster as such.
    else response.end(text, length === text.length ? "latin1" : "utf8");
    linger(this.request, this.#options.clock);
  }

  answerEmpty(status: number, headers: readonly string[] = []): void {
    this.send(status, undefined, headers);
  }

  send(status: number, body: Uint8Array | undefined, headers: readonly string[]): void {
    const response = this.#response;
    if (response.headersSent || response.destroyed) return;
    const length =
      body === undefined ? (status === 204 ? [] : ["content-length", "0"]) : ["content-length", String(body.length)];
    response.writeHead(status, [...corsHeaders, "x-request-id", this.transactionId, ...headers, ...length]);
    if (body === undefined || this.method === "HEAD") response.end();
    else response.end(body);
    linger(this.request, this.#options.clock);
  }

  /** Without the API's own CORS headers: an action's answer has its own. */
  sendBare(status: number, body: Uint8Array, headers: readonly string[]): void {
    const response = this.#response;
    if (response.headersSent || response.destroyed) return;
    const length = status === 204 || status === 304 ? [] : ["content-length", String(body.length)];
    response.writeHead(status, ["x-request-id", this.transactionId, ...headers, ...length]);
    if (this.method === "HEAD" || length.length === 0) response.end();
    else response.end(body);
    linger(this.request, this.#options.clock);
  }

  refuse(thrown: unknown): void {
    const error = asWhiskError(thrown);
    const challenge =
      error.status === 401 ? ["www-authenticate", 'Basic realm="OpenWhisk secure realm", charset="UTF-8"'] : [];
    this.answer(error.status, { error: error.message, code: this.transactionId }, challenge);
  }
}

export function parseJson(bytes: Uint8Array): Json {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")) as Json;
  } catch (thrown) {
    throw malformed((thrown as Error).message);
  }
}

/** Section 2.3: the API may be used from any page; what protects it is the credential. */
const corsHeaders = [
  "access-control-allow-origin",
  "*",
  "access-control-allow-headers",
  "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
  "access-control-allow-methods",
  "GET, DELETE, POST, PUT, HEAD",
] as const;

const jsonHeaders = [...corsHeaders, "content-type", "application/json"] as const;
/** What clients send with nearly every call. */
const plainQuery: ReadonlyMap<string, URLSearchParams> = new Map(
  ["blocking=true", "blocking=true&result=true", "blocking=true&result=false", "blocking=false&result=false"].map(
    (text) => [text, new URLSearchParams(text)],
  ),
);
const nothing = new Uint8Array(0);
