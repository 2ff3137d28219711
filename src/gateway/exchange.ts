import type { IncomingMessage, ServerResponse } from "node:http";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Invocation } from "../core/model.ts";
import type { InvocationHandle, InvocationSink } from "../engine/engine.ts";
import type { Clock } from "../ports/clock.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { type AnswerHead, answerHead, isBodiless } from "./answer-head.ts";
import { linger, refuse, withoutInternals } from "./refusal.ts";

/**
 * One request to a function and its answer on the wire.
 *
 * An answer that is complete in the turn of the event loop in which it began leaves in one write with its
 * `content-length`; another is streamed from the next tick on. An answer that fails after its head has left is cut off
 * by closing the connection: the missing end is the only way to tell an HTTP/1.1 client.
 */
export class Exchange implements InvocationSink {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  traceparent = "";
  /** Flat headers of the function's CORS policy. */
  cors: readonly string[] | undefined = undefined;
  /** The caller holds a token of the function's namespace. */
  owner = false;
  handle: InvocationHandle | undefined = undefined;
  /** Answered or given up; nothing that comes now counts. */
  done = false;
  readonly #port: { readonly clock: Clock; readonly metrics: Metrics };
  #head: AnswerHead | undefined = undefined;
  /** The head, and this first chunk, wait for the next tick. */
  #held = false;
  #first: Uint8Array | undefined = undefined;
  #bodiless = false;
  #sent = 0;
  #awaitsDrain = false;

  constructor(
    port: { readonly clock: Clock; readonly metrics: Metrics },
    request: IncomingMessage,
    response: ServerResponse,
    requestId: string,
  ) {
    this.#port = port;
    this.request = request;
    this.response = response;
    this.requestId = requestId;
    const onClose = (): void => {
      if (!this.done) this.#leave();
    };
    response.on("close", onClose);
    // Behind another answer of a pipelining client this one has no socket yet, and would not hear of its end.
    if (response.socket === null) request.socket.setMaxListeners(0).once("close", onClose);
  }

  /** The client is no longer there. */
  get gone(): boolean {
    return this.done || this.response.destroyed;
  }

  head(status: number, headers: readonly string[]): void {
    if (this.done) return;
    try {
      this.#head = answerHead(status, headers, this.cors !== undefined);
    } catch (thrown) {
      this.abandon(asVirgaError(thrown));
      return;
    }
    this.#bodiless = isBodiless(this.request.method, status);
    this.#held = true;
    process.nextTick(release, this);
  }

  data(chunk: Uint8Array): boolean {
    if (this.done) return true;
    this.#sent += chunk.length;
    if (this.#bodiless) return true;
    if (this.#held) {
      if (this.#first === undefined) {
        this.#first = chunk;
        return true;
      }
      this.release();
      if (this.done) return true;
    }
    const declared = (this.#head as AnswerHead).declaredLength;
    if (declared >= 0 && this.#sent > declared) {
      // One byte more would be read as the beginning of the next answer on this connection.
      this.abandon(lengthMismatch(declared));
      return true;
    }
    if (this.response.write(chunk)) return true;
    if (!this.#awaitsDrain) {
      this.#awaitsDrain = true;
      this.response.on("drain", () => this.handle?.resume());
    }
    return false;
  }

  end(invocation: Invocation): void {
    if (this.done) return;
    const head = this.#head as AnswerHead;
    if (!this.#bodiless && head.declaredLength >= 0 && head.declaredLength !== this.#sent) {
      this.fail(lengthMismatch(head.declaredLength), invocation);
      return;
    }
    if (this.#held) {
      const length = this.#bodiless && head.declaredLength >= 0 ? head.declaredLength : this.#sent;
      if (!this.#writeHead(length, invocation.id, invocation.usage.coldStart)) return;
      this.#settle(head.status);
      if (this.#first === undefined || this.#bodiless) this.response.end();
      else if (this.#first.length <= joinedBytes) this.response.end(asLatin1(this.#first), "latin1");
      else this.response.end(this.#first);
    } else {
      this.#settle(head.status);
      this.response.end();
    }
    if (!this.request.complete) linger(this.request, this.#port.clock);
  }

  fail(error: VirgaError, invocation: Invocation | undefined): void {
    if (this.done) return;
    if (this.response.headersSent) {
      this.#settle(error.status);
      this.response.destroy();
      return;
    }
    this.refuse(error, invocation?.id);
  }

  /** Answers with an error of ours. Nothing runs, or what runs is of no interest any more. */
  refuse(error: VirgaError, invocation?: string): void {
    if (this.done) return;
    const headers = this.#platformHeaders(invocation);
    this.#settle(error.status);
    this.refuseWith(error, headers);
    if (!this.request.complete) linger(this.request, this.#port.clock);
  }

  /** Ends the call from this side: what the function sends, or what the client does, breaks a rule. */
  abandon(error: VirgaError): void {
    if (this.done) return;
    const { handle } = this;
    this.fail(error, undefined);
    handle?.cancel("cancelled");
  }

  answerEmpty(status: number, headers: readonly string[]): void {
    this.#settle(status);
    this.response.writeHead(status, [...headers, "x-request-id", this.requestId]);
    this.response.end();
    if (!this.request.complete) linger(this.request, this.#port.clock);
  }

  answerAccepted(namespace: string, id: string, duplicate: boolean): void {
    if (this.gone) return;
    const status = `/v1/namespaces/${namespace}/invocations/${id}`;
    const body = JSON.stringify({ id, duplicate, status });
    const headers = this.#platformHeaders(id);
    headers.push("location", status, "preference-applied", "respond-async");
    headers.push("content-type", "application/json", "content-length", String(Buffer.byteLength(body)));
    this.#settle(202);
    this.response.writeHead(202, headers);
    this.response.end(body);
  }

  /** Lets the head go without waiting for the end. Called in the tick after it came. */
  release(): void {
    if (!this.#held || this.done) return;
    // The answer to HEAD has nothing to stream; at its end its length may be known.
    if (this.#bodiless) return;
    const head = this.#head as AnswerHead;
    if (head.declaredLength >= 0 && this.#sent > head.declaredLength) {
      this.abandon(lengthMismatch(head.declaredLength));
      return;
    }
    if (!this.#writeHead(head.declaredLength, this.handle?.id, this.handle?.coldStart === true)) return;
    this.#held = false;
    if (this.#first === undefined) this.response.flushHeaders();
    else this.response.write(this.#first);
    this.#first = undefined;
  }

  /** False where the function's headers were none: the error has then been answered. */
  #writeHead(length: number, invocation: string | undefined, coldStart: boolean): boolean {
    const { status, headers } = this.#head as AnswerHead;
    this.sign(headers, invocation, coldStart);
    // A 204 has no length at all; that of a 304, or of an answer to HEAD, is only known from the function.
    if (length >= 0 && status !== 204 && (length > 0 || !this.#bodiless))
      headers.push("content-length", String(length));
    try {
      this.response.writeHead(status, headers);
      return true;
    } catch (thrown) {
      this.#held = false;
      this.abandon(
        new VirgaError("invalid_response", `the function's answer has a header that HTTP does not allow`, {
          fix: "use visible ASCII in names, no line breaks and nothing outside of Latin-1 in values",
          log: thrown instanceof Error ? thrown.message : String(thrown),
        }),
      );
      return false;
    }
  }

  /** The platform's own headers. A dialect has others. */
  protected sign(headers: string[], invocation: string | undefined, coldStart: boolean): void {
    headers.push("x-request-id", this.requestId);
    if (this.traceparent !== "") headers.push("traceparent", this.traceparent);
    if (invocation !== undefined) headers.push("x-virga-invocation", invocation);
    if (coldStart) headers.push("x-virga-cold-start", "1");
    if (this.cors !== undefined) headers.push(...this.cors);
  }

  /** An error's answer. A dialect has other texts. */
  protected refuseWith(error: VirgaError, headers: string[]): void {
    refuse(this.response, this.owner ? error : withoutInternals(error), headers);
  }

  /** It is answered, or its client has left (499). */
  protected settled(status: number): void {
    this.#port.metrics.request("function", status);
  }

  #platformHeaders(invocation: string | undefined): string[] {
    const headers: string[] = [];
    this.sign(headers, invocation ?? this.handle?.id, false);
    return headers;
  }

  /** The client closed the connection. */
  #leave(): void {
    // As nginx counts a client that closed the request.
    this.#settle(499);
    this.handle?.cancel("cancelled");
  }

  #settle(status: number): void {
    this.done = true;
    this.#held = false;
    this.settled(status);
  }
}

/** Up to here a copy into the head's string is cheaper than a second buffer in the system call. */
const joinedBytes = 16 * 1024;

/** Each byte as the character of its number: Node joins strings with the head, and writes both as one. */
function asLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

function release(exchange: Exchange): void {
  exchange.release();
}

function lengthMismatch(declared: number): VirgaError {
  return new VirgaError(
    "invalid_response",
    `the function's answer is not as long as its content-length says (${declared} bytes)`,
    { fix: "leave content-length out; it is computed" },
  );
}
