import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { catalogue, type ErrorCode, VirgaError } from "../core/errors.ts";
import type { Credentials } from "./credentials.ts";

export interface ClientRequest {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** A stream is sent as it comes; give its `content-length` where that is known. */
  readonly body?: Uint8Array | string | Readable;
  /** Sent as JSON. */
  readonly json?: unknown;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  /** Flat, as they came. */
  readonly rawHeaders: readonly string[];
  readonly body: IncomingMessage;
}

/** Speaks the native API (`docs/api.md`). Everything that goes wrong is thrown as a VirgaError with the server's own words. */
export class Client {
  readonly url: string;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #agent: HttpAgent;

  /** `signal` ends every request of this client. */
  constructor(credentials: Credentials, signal?: AbortSignal) {
    this.url = credentials.url;
    this.#token = credentials.token;
    this.#signal = signal;
    this.#agent = this.url.startsWith("https:")
      ? new HttpsAgent({ keepAlive: true })
      : new HttpAgent({ keepAlive: true });
  }

  get hasToken(): boolean {
    return this.#token !== undefined;
  }

  /** The answer whatever its status; its body must be read or destroyed. */
  async request(method: string, path: string, options: ClientRequest = {}): Promise<Answer> {
    const url = new URL(this.url + path + queryOf(options.query));
    const headers: Record<string, string | readonly string[]> = { ...options.headers };
    if (this.#token !== undefined) headers["authorization"] ??= `Bearer ${this.#token}`;
    let body = options.body;
    if (options.json !== undefined) {
      body = JSON.stringify(options.json);
      headers["content-type"] ??= "application/json";
    }
    if (body !== undefined && !(body instanceof Readable)) headers["content-length"] = String(Buffer.byteLength(body));
    const signals = [this.#signal, options.signal].filter((signal) => signal !== undefined);
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send(url, {
        method,
        headers: headers as Record<string, string | string[]>,
        agent: this.#agent,
        ...(signals.length === 0 ? {} : { signal: AbortSignal.any(signals) }),
      });
      request.on("response", (response) => {
        const { headers, rawHeaders } = response;
        resolve({ status: response.statusCode ?? 0, headers, rawHeaders, body: response });
      });
      // An answer that came before the whole body was sent (413, 401) is what counts, not the broken pipe after it.
      request.on("error", (error) => reject(this.#explain(error)));
      request.setNoDelay(true);
      if (body instanceof Readable) pipeline(body, request).catch((error: Error) => reject(this.#explain(error)));
      else request.end(body);
    });
  }

  /** The answer where it is a success; else its error is thrown. */
  async send(method: string, path: string, options?: ClientRequest): Promise<Answer> {
    const answer = await this.request(method, path, options);
    if (answer.status < 200 || answer.status > 299) throw await this.errorOf(answer, `${method} ${path}`);
    return answer;
  }

  /** The JSON of a successful answer; undefined where it has none. */
  async json<T>(method: string, path: string, options?: ClientRequest): Promise<T> {
    const answer = await this.send(method, path, options);
    const text = await textOf(answer.body);
    if (text === "") return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw new VirgaError("internal", `${this.url}${path} answered what is no JSON: ${text.slice(0, 200)}`, {
        fix: "check that --url names a Virga server",
        cause: error,
      });
    }
  }

  get<T>(path: string, query?: ClientRequest["query"]): Promise<T> {
    return this.json("GET", path, query === undefined ? {} : { query });
  }

  /** All items of a list, page after page, up to `limit`. */
  async list<T>(path: string, query: ClientRequest["query"] = {}, limit = Number.POSITIVE_INFINITY): Promise<T[]> {
    const items: T[] = [];
    let after: string | undefined;
    do {
      const size = Math.min(1000, limit - items.length);
      const page = await this.get<{ items: T[]; next?: string }>(path, { ...query, limit: size, after });
      items.push(...page.items);
      after = page.next;
    } while (after !== undefined && items.length < limit);
    return items;
  }

  /** One value for each line of an NDJSON answer, as they come. */
  async *lines<T>(method: string, path: string, options: ClientRequest = {}): AsyncGenerator<T> {
    const answer = await this.send(method, path, {
      ...options,
      headers: { accept: "application/x-ndjson", ...options.headers },
    });
    try {
      for await (const line of linesOf(answer.body)) yield JSON.parse(line) as T;
    } catch (error) {
      throw error instanceof SyntaxError
        ? new VirgaError("internal", `${this.url}${path} answered a line that is no JSON`, { cause: error })
        : this.#explain(error as Error);
    } finally {
      answer.body.destroy();
    }
  }

  async errorOf(answer: Answer, what: string): Promise<VirgaError> {
    return errorFrom(await textOf(answer.body), answer.status, what, this.hasToken);
  }

  close(): void {
    this.#agent.destroy();
  }

  #explain(error: NodeJS.ErrnoException): Error {
    if (error instanceof VirgaError || error.name === "AbortError") return error;
    if (error.path !== undefined) return new VirgaError("bad_request", error.message, { cause: error });
    const [first = error] = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : [];
    if (broken.has(first.code ?? "")) {
      return new VirgaError("unavailable", `the connection to ${this.url} broke (${first.message})`, {
        fix: "the server's log says why; then try again",
        cause: error,
      });
    }
    return new VirgaError("unavailable", `no server answers at ${this.url} (${first.message})`, {
      fix: "start one with `virga up`, or name a running one with --url or VIRGA_URL",
      cause: error,
    });
  }
}

/** Codes of connections that were there. */
const broken: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED", "ERR_STREAM_PREMATURE_CLOSE"]);

/** The text's lines that are not blank, as they come. */
async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield line;
  }
  if (rest.trim() !== "") yield rest;
}

/** A path whose inserted parts are percent-encoded: path`/v1/namespaces/${namespace}/functions`. */
export function path(literals: TemplateStringsArray, ...parts: readonly (string | number)[]): string {
  return literals.reduce((text, literal, index) => text + encodeURIComponent(parts[index - 1] ?? "") + literal);
}

export async function textOf(body: Readable): Promise<string> {
  return Buffer.concat(await body.toArray()).toString("utf8");
}

/** The platform's error that this text is the body of; undefined where it is something else. */
export function platformError(text: string, status?: number): VirgaError | undefined {
  let error: Record<string, unknown> | undefined;
  try {
    error = (JSON.parse(text) as { error?: Record<string, unknown> } | null)?.error;
  } catch {
    return undefined;
  }
  const code = error?.["code"];
  if (error === undefined || typeof code !== "string" || typeof error["message"] !== "string") return undefined;
  if (!Object.hasOwn(catalogue, code)) return undefined;
  if (status !== undefined && catalogue[code as ErrorCode].status !== status) return undefined;
  const detail: Record<string, string> = {};
  for (const key of ["fix", "field", "location", "stack", "log"]) {
    if (typeof error[key] === "string") detail[key] = error[key];
  }
  return new VirgaError(code as ErrorCode, error["message"], detail);
}

function errorFrom(text: string, status: number, what: string, hasToken: boolean): VirgaError {
  const error = platformError(text) ?? new VirgaError(codeOf(status), `${what}: HTTP ${status} ${text.slice(0, 200)}`);
  if (error.code !== "unauthenticated") return error;
  // The server speaks of headers; whoever types commands has options.
  return new VirgaError(error.code, error.message, {
    ...error.detail,
    fix: hasToken
      ? "the token is not one of this server; give another with --token or VIRGA_TOKEN"
      : "give a token with --token or VIRGA_TOKEN; `virga up` writes one for its own user",
  });
}

function codeOf(status: number): ErrorCode {
  const known: Partial<Record<number, ErrorCode>> = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    413: "request_too_large",
    429: "queue_full",
    503: "unavailable",
  };
  return known[status] ?? (status < 500 ? "bad_request" : "internal");
}

function queryOf(query: ClientRequest["query"]): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) search.set(name, String(value));
  }
  return search.size === 0 ? "" : `?${search.toString()}`;
}
