import { request } from "node:http";
import type { Agent, ClientRequest, IncomingMessage } from "node:http";
import { asVirgaError, VirgaError } from "../../core/errors.ts";
import type { Call, CallHandle, CallMeasurement, CallSink } from "../../ports/runtime.ts";

/** What a call asks of its instance. */
export interface Server {
  release(call: HttpCall): void;
  measure(): Promise<CallMeasurement>;
  crashBehind(): Promise<VirgaError | undefined>;
}

/** One call proxied to a server on `$PORT`. */
export class HttpCall implements CallHandle {
  onDrain: (() => void) | undefined = undefined;
  readonly #server: Server;
  readonly #call: Call;
  readonly #sink: CallSink;
  #request: ClientRequest | undefined;
  #response: IncomingMessage | undefined;
  #over = false;

  constructor(server: Server, call: Call, sink: CallSink) {
    this.#server = server;
    this.#call = call;
    this.#sink = sink;
  }

  get id(): string {
    return this.#call.id;
  }

  start(host: string, port: number, agent: Agent): void {
    const call = this.#call;
    let sent: ClientRequest;
    try {
      sent = request({
        host,
        port,
        agent,
        method: call.method,
        path: call.target,
        headers: requestHeaders(call, host, port),
        // An answer's headers may be as large as the platform's own listener allows.
        maxHeaderSize: 65_536,
      });
    } catch (error) {
      queueMicrotask(() => this.#fail(malformed(error)));
      return;
    }
    this.#request = sent;
    sent.on("response", (response) => this.#answer(response));
    sent.on("drain", () => this.onDrain?.());
    sent.on("error", (error: NodeJS.ErrnoException) => {
      if (this.#over || this.#response !== undefined) return;
      if (sent.reusedSocket && call.body !== undefined && idempotent.has(call.method) && connectionLost(error)) {
        this.start(host, port, agent);
      } else {
        void this.#broken(error);
      }
    });
    // Refused on purpose: `upgrade` needs a connection of its own (`upgradeAddress`).
    sent.on("upgrade", (_response, socket) => {
      socket.destroy();
      this.#fail(new VirgaError("invalid_response", "The server switched protocols on a plain request"));
    });
    if (call.body !== undefined) sent.end(call.body.length > 0 ? call.body : undefined);
  }

  write(chunk: Uint8Array): boolean {
    if (this.#over || this.#request === undefined || this.#request.destroyed) return true;
    return this.#request.write(chunk);
  }

  end(): void {
    if (!this.#over) this.#request?.end();
  }

  resume(): void {
    if (!this.#over) this.#response?.resume();
  }

  cancel(reason: "cancelled" | "timeout"): void {
    if (this.#over) return;
    this.#fail(cancellation(reason));
  }

  /** The program is gone. What it sent before may still be on the way: its closed connection is the end of that. */
  crash(error: VirgaError): void {
    setTimeout(() => this.#fail(error), this.#request === undefined ? 0 : lastBytesMs);
  }

  #answer(response: IncomingMessage): void {
    if (this.#over) {
      response.destroy();
      return;
    }
    this.#response = response;
    this.#sink.head(response.statusCode ?? 0, answerHeaders(response.rawHeaders));
    response.on("data", (chunk: Buffer) => {
      if (!this.#over && !this.#sink.data(chunk)) response.pause();
    });
    response.once("end", () => void this.#finish());
    response.once("error", (error) => void this.#broken(error));
    response.once("close", () => {
      if (!response.complete) void this.#broken(new Error("the connection closed before the answer was complete"));
    });
  }

  async #finish(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    let measured = unmeasured;
    try {
      measured = await this.#server.measure();
    } catch {
      // The answer is whole; the counters of a program that ended right behind it are gone with it.
    }
    this.#server.release(this);
    this.#sink.end(measured);
  }

  async #broken(error: Error): Promise<void> {
    if (this.#over) return;
    const crash = await this.#server.crashBehind();
    if (this.#over) return;
    if (crash !== undefined) {
      this.#fail(crash);
    } else if ((error as NodeJS.ErrnoException).code?.startsWith("HPE_") === true) {
      this.#fail(malformedAnswer(error));
    } else {
      this.#fail(
        new VirgaError("function_error", `The server broke off the call: ${error.message}`, {
          cause: error,
          fix: "Answer each request completely before closing its connection.",
        }),
      );
    }
  }

  #fail(error: VirgaError): void {
    if (this.#over) return;
    this.#over = true;
    this.#request?.destroy();
    this.#server.release(this);
    this.#sink.fail(error);
  }
}

/** Why a call was ended before its answer was complete. */
export function cancellation(reason: "cancelled" | "timeout"): VirgaError {
  return reason === "timeout"
    ? new VirgaError("timeout", "The function ran past its deadline", {
        field: "limits.timeoutMs",
        fix: "Raise limits.timeoutMs, or do less in one call.",
      })
    : new VirgaError("cancelled", "The caller left before the answer was complete");
}

function requestHeaders(call: Call, host: string, port: number): string[] {
  const headers: string[] = [];
  let hasHost = false;
  let hasLength = false;
  const given = call.headers;
  for (let index = 0; index + 1 < given.length; index += 2) {
    const name = given[index]!;
    if (ownHeaders.has(name) || connectionHeaders.has(name)) continue;
    if (name === "host") hasHost = true;
    else if (name === "content-length") hasLength = true;
    else if (name === "traceparent" && call.traceparent !== undefined) continue;
    headers.push(name, given[index + 1]!);
  }
  if (!hasHost) headers.push("host", host === "::1" ? `[::1]:${port}` : `${host}:${port}`);
  headers.push("x-virga-invocation", call.id, "x-virga-deadline", String(call.deadline));
  headers.push("x-virga-attempt", String(call.attempt));
  if (call.traceparent !== undefined) headers.push("traceparent", call.traceparent);
  if (!hasLength) {
    if (call.body === undefined) headers.push("transfer-encoding", "chunked");
    else if (call.body.length > 0 || bodied.has(call.method)) headers.push("content-length", String(call.body.length));
  }
  headers.push("connection", "keep-alive");
  return headers;
}

function answerHeaders(raw: readonly string[]): string[] {
  const headers: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index]!.toLowerCase();
    if (!connectionHeaders.has(name)) headers.push(name, raw[index + 1]!);
  }
  return headers;
}

function connectionLost(error: NodeJS.ErrnoException): boolean {
  return error.code === "ECONNRESET" || error.code === "EPIPE";
}

function malformed(error: unknown): VirgaError {
  return new VirgaError("bad_request", `The request cannot be passed on: ${asVirgaError(error).message}`, {
    cause: error,
  });
}

function malformedAnswer(error: Error): VirgaError {
  return new VirgaError("invalid_response", `The server's answer is not HTTP: ${error.message}`, {
    cause: error,
    fix: "Answer with HTTP/1.1, by a server library rather than by hand.",
  });
}

/** For the last bytes of a program that has ended, where its connection does not close with it. */
const lastBytesMs = 100;
const unmeasured: CallMeasurement = { cpuMicros: 0, memoryPeakBytes: 0 };
/** RFC 9110 section 9.2.2: what may be sent again where a kept-alive connection closed under it. */
const idempotent = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);
const bodied = new Set(["POST", "PUT", "PATCH"]);
/** Set by the platform; a caller's own are dropped. */
const ownHeaders = new Set(["x-virga-invocation", "x-virga-deadline", "x-virga-attempt"]);
/** RFC 9110 section 7.6.1: they speak of one connection, not of the call. */
const connectionHeaders = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
