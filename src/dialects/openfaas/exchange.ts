import type { IncomingMessage, ServerResponse } from "node:http";
import type { Token } from "../../core/model.ts";
import type { Clock } from "../../ports/clock.ts";
import { linger } from "../../gateway/refusal.ts";
import { gather } from "../../gateway/request-body.ts";
import { asFaasError, FaasError } from "./errors.ts";
import { defaultNamespace } from "./names.ts";

/** One request of the control plane and its answer. */
export class Exchange {
  readonly method: string;
  /** Decoded nowhere: names have no need for it. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Of the caller; set where the path needs one. */
  token: Token | undefined;
  readonly #options: { readonly clock: Clock; readonly requestTimeoutMs: number };

  constructor(
    options: { readonly clock: Clock; readonly requestTimeoutMs: number },
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    this.#options = options;
    this.request = request;
    this.response = response;
    this.method = request.method ?? "GET";
    const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
    this.path = path;
    this.query = new URLSearchParams(query);
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  /** The namespace that the query names, or else the default. `inBody` goes before it, where it is a text. */
  namespace(inBody?: unknown): string {
    const given = typeof inBody === "string" ? inBody : "";
    return given || this.query.get("namespace") || defaultNamespace;
  }

  /** `http://host:port`, as the client reached us. */
  get origin(): string {
    return `http://${this.header("host") ?? "localhost"}`;
  }

  /** Rejects with 413 for more than `limit` bytes. */
  async body(limit: number): Promise<Uint8Array> {
    const declared = Number(this.header("content-length") ?? "-1");
    if (declared > limit) throw tooLarge(limit);
    const isChunked = this.header("transfer-encoding") !== undefined;
    if (!isChunked && declared <= 0) return nothing;
    if (this.header("expect") !== undefined) this.response.writeContinue();
    return new Promise((resolve, reject) => {
      gather(
        this.#options,
        this.request,
        isChunked ? -1 : declared,
        (bytes, error) => (error === undefined ? resolve(bytes) : reject(error)),
        limit,
      );
    });
  }

  /** A JSON object; an empty body is one without members. Rejects with 400. */
  async json(): Promise<Readonly<Record<string, unknown>>> {
    const bytes = await this.body(longestDocument);
    if (bytes.length === 0) return {};
    let parsed: unknown;
    try {
      parsed = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
    } catch (thrown) {
      throw new FaasError(400, `the request's body is no JSON: ${(thrown as Error).message}`);
    }
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>;
    throw new FaasError(400, "the request's body is no JSON object");
  }

  answer(status: number, document: unknown): void {
    this.send(status, JSON.stringify(document), "application/json");
  }

  text(status: number, text: string, headers: readonly string[] = []): void {
    this.send(status, text, "text/plain; charset=utf-8", headers);
  }

  empty(status: number): void {
    this.send(status, "", undefined);
  }

  send(status: number, body: string | Uint8Array, type: string | undefined, headers: readonly string[] = []): void {
    const { response } = this;
    if (response.headersSent || response.destroyed) return;
    const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
    const typed = type === undefined ? [] : ["content-type", type];
    response.writeHead(status, [...headers, ...typed, "content-length", String(length)]);
    response.end(this.method === "HEAD" ? undefined : body);
    linger(this.request, this.#options.clock);
  }

  refuse(thrown: unknown): void {
    const error = asFaasError(thrown);
    const challenge = error.status === 401 ? ["www-authenticate", 'Basic realm="Restricted"'] : [];
    if (this.response.headersSent) this.response.destroy();
    else this.text(error.status, error.message, challenge);
  }
}

function tooLarge(limit: number): FaasError {
  return new FaasError(413, `the request's body is larger than ${limit} bytes`);
}

const longestDocument = 2 ** 20;
const nothing = new Uint8Array(0);
