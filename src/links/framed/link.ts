import type { Duplex } from "node:stream";
import { type ErrorCode, VirgaError, asVirgaError, catalogue } from "../../core/errors.ts";
import type { LogLine } from "../../core/model.ts";
import type { Call, CallHandle, CallMeasurement, CallSink, NestedAnswer, NestedCall } from "../../ports/runtime.ts";
import { type Carrier, FramedCall } from "./call.ts";
import {
  flagBodySuffices,
  flagEnd,
  frame,
  initialWindow,
  maxPayloadBytes,
  measurementBytes,
  protocolVersion,
} from "./protocol.ts";
import { FrameReader, type FrameReceiver, violation } from "./reader.ts";
import { Streams } from "./streams.ts";
import { FrameWriter } from "./writer.ts";

/** What the program says that belongs to no call, and how the link ended. */
export interface LinkHandlers {
  hello(program: Hello): void;
  ready(): void;
  failed(failure: LoadFailure): void;
  /** `invocation` is undefined for a line outside of any call. */
  log(invocation: string | undefined, line: LogLine): void;
  /** A call that was cancelled earlier has really come to its end in the program. */
  acknowledged(invocation: string): void;
  callFunction(parent: string, request: NestedCall): Promise<NestedAnswer>;
  /**
   * Once, when nothing more can come; `reason` where the program broke the protocol or the socket failed.
   * Calls that are open stay so: their owner fails them (`failAll`) when it knows how the program ended.
   */
  closed(reason: VirgaError | undefined): void;
}

export interface Hello {
  readonly runtime: string;
  readonly version: string;
}

export interface LoadFailure {
  readonly message: string;
  readonly stack?: string;
  readonly location?: string;
}

/** The payload of `init`. */
export interface Init {
  readonly directory: string;
  readonly handler: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly namespace: string;
  readonly function: string;
  readonly revision: number;
  readonly concurrency: number;
  readonly memoryMb: number;
}

/** The host's side of docs/link-protocol.md on one socket. */
export function createFramedLink(socket: Duplex, handlers: LinkHandlers): FramedLink {
  return new FramedLink(socket, handlers);
}

export class FramedLink implements Carrier, FrameReceiver {
  readonly writer: FrameWriter;
  readonly #socket: Duplex;
  readonly #handlers: LinkHandlers;
  readonly #reader = new FrameReader(this);
  readonly #calls = new Streams();
  /** Calls that are over for their caller and not yet for the program: their ids, by stream. */
  readonly #cancelled = new Map<number, string>();
  #nested = 0;
  #greeted = false;
  #closed = false;
  /** The newest answer's header text and what it means: most functions answer with the same headers each time. */
  #headerText = "[]";
  #headers: readonly string[] = [];

  constructor(socket: Duplex, handlers: LinkHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.writer = new FrameWriter(socket);
    socket.on("data", (chunk: Buffer) => {
      if (this.#closed) return;
      try {
        this.#reader.push(chunk);
      } catch (thrown) {
        this.#close(asVirgaError(thrown));
      }
    });
    socket.on("error", (error: Error) => {
      this.#close(new VirgaError("function_crashed", `The instance link failed: ${error.message}`, { cause: error }));
    });
    socket.on("end", () => this.#close(undefined));
    socket.on("close", () => this.#close(undefined));
  }

  /** Calls that are open. */
  get running(): number {
    return this.#calls.size;
  }

  /** The id of the one open call; undefined where there are none or several. */
  get onlyCall(): string | undefined {
    if (this.#calls.size !== 1) return undefined;
    for (const call of this.#calls) return call.id;
    return undefined;
  }

  /** Throws `start_failed` where settings and environment do not fit into a frame. */
  init(message: Init): void {
    const text = JSON.stringify(message);
    if (Buffer.byteLength(text) > maxPayloadBytes) {
      throw new VirgaError("start_failed", `The function's environment is larger than ${maxPayloadBytes} bytes`, {
        field: "environment",
        fix: "Move large values into a file beside the code.",
      });
    }
    this.writer.text(frame.init, 0, text);
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    const stream = this.#calls.next();
    const framed = new FramedCall(this, call.id, stream, sink);
    if (this.#closed) {
      framed.fail(new VirgaError("function_crashed", "The instance had ended before the call reached it"));
      return framed;
    }
    const body = call.body;
    if (call.bodySuffices === true && body !== undefined && body.length <= firstBodyBytes) {
      this.#calls.add(framed);
      framed.spent(body.length);
      this.writer.headed(frame.invoke, stream, flagEnd | flagBodySuffices, "", body, body.length);
      return framed;
    }
    const head = JSON.stringify([
      call.id,
      call.method,
      call.target,
      call.url,
      call.headers,
      call.deadline,
      call.attempt,
      call.traceparent ?? null,
      call.idempotencyKey ?? null,
    ]);
    if (head.length > longestHead && Buffer.byteLength(head) > maxPayloadBytes / 2) {
      framed.fail(
        new VirgaError("headers_too_large", "The head of the request is too large for the instance link", {
          fix: `Send less than ${maxPayloadBytes / 2} bytes of URL and headers.`,
        }),
      );
      return framed;
    }
    this.#calls.add(framed);
    if (body === undefined) {
      this.writer.headed(frame.invoke, stream, 0, head, nothing, 0);
    } else if (body.length <= firstBodyBytes) {
      framed.spent(body.length);
      this.writer.headed(frame.invoke, stream, flagEnd, head, body, body.length);
    } else {
      framed.spent(firstBodyBytes);
      this.writer.headed(frame.invoke, stream, 0, head, body, firstBodyBytes);
      framed.write(body.subarray(firstBodyBytes));
      framed.end();
    }
    return framed;
  }

  rehearse(): void {
    this.writer.empty(frame.rehearse, 0);
    this.writer.flush();
  }

  drain(): void {
    this.writer.empty(frame.drain, 0);
    this.writer.flush();
  }

  /** Ends every open call. */
  failAll(error: VirgaError): void {
    for (const call of this.#calls) call.fail(error);
  }

  close(): void {
    this.#close(undefined);
  }

  // For calls.

  release(call: FramedCall): void {
    this.#calls.delete(call);
  }

  cancelled(call: FramedCall, reason: "cancelled" | "timeout"): VirgaError {
    this.#cancelled.set(call.stream, call.id);
    return reason === "timeout"
      ? new VirgaError("timeout", "The function did not finish before its deadline", {
          field: "limits.timeoutMs",
          fix: "Raise limits.timeoutMs, or make the function do less.",
        })
      : new VirgaError("cancelled", "The caller left before the answer was complete");
  }

  // For the reader.

  frame(type: number, stream: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case frame.result:
        return this.#result(stream, bytes, start, end);
      case frame.log:
        return this.#log(stream, bytes, start, end);
      case frame.end:
        if (end - start !== measurementBytes) throw violation("an `end` frame without its measurement");
        return this.#end(stream, bytes, start);
      case frame.window:
        if (end - start !== 4) throw violation("a `window` frame that is not 4 bytes long");
        this.#call(stream)?.granted(bytes.readUInt32BE(start));
        return;
      case frame.error:
        return this.#error(stream, bytes, start, end);
      case frame.call:
        return this.#nestedCall(stream, bytes, start, end);
      case frame.ping:
        return this.writer.empty(frame.pong, 0);
      case frame.pong:
        return;
      case frame.hello:
        return this.#hello(bytes, start, end);
      case frame.ready:
        return this.#handlers.ready();
      case frame.failed:
        return this.#handlers.failed(readFailure(object(bytes, start, end)));
      default:
        throw violation(`a frame of the unknown type ${type}`);
    }
  }

  body(stream: number, bytes: Buffer): void {
    this.#call(stream)?.body(bytes);
  }

  #hello(bytes: Buffer, start: number, end: number): void {
    const said = object(bytes, start, end);
    if (this.#greeted) throw violation("two `hello` frames");
    if (said.protocol !== protocolVersion) {
      throw violation(`it speaks protocol ${JSON.stringify(said.protocol)}, the platform ${protocolVersion}`);
    }
    this.#greeted = true;
    this.#handlers.hello({ runtime: text(said.runtime) ?? "", version: text(said.version) ?? "" });
  }

  #end(stream: number, bytes: Buffer, start: number): void {
    const call = this.#call(stream);
    if (call === undefined) this.#acknowledge(stream);
    else call.ended(measurement(bytes, start));
  }

  #result(stream: number, bytes: Buffer, start: number, end: number): void {
    const call = this.#call(stream);
    const ends = end > start && (bytes[start]! & flagEnd) === 1;
    if (call === undefined) {
      if (ends) this.#acknowledge(stream);
      return;
    }
    const head = start + 1 + (ends ? measurementBytes : 0);
    const body = head + 6 <= end ? head + 6 + bytes.readUInt32BE(head + 2) : end + 1;
    if (body > end) throw this.#invalid(call, "its head is cut off");
    const status = bytes.readUInt16BE(head);
    if (status < 200 || status > 599) throw this.#invalid(call, `its status is ${status}`);
    const headerText = bytes.toString("utf8", head + 6, body);
    if (headerText !== this.#headerText) {
      const headers = readHeaders(headerText);
      if (headers === undefined) throw this.#invalid(call, "its headers are malformed");
      this.#headerText = headerText;
      this.#headers = headers;
    }
    call.head(status, this.#headers);
    if (body < end) call.body(bytes.subarray(body, end));
    if (ends) call.ended(measurement(bytes, start + 1));
  }

  #invalid(call: FramedCall, why: string): VirgaError {
    const error = new VirgaError("invalid_response", `The program sent a malformed answer: ${why}`);
    call.fail(error);
    return violation(`a malformed answer, ${why}`);
  }

  #error(stream: number, bytes: Buffer, start: number, end: number): void {
    const call = this.#call(stream);
    if (call === undefined) return this.#acknowledge(stream);
    const said = object(bytes, start, end);
    const failure = readFailure(said);
    call.fail(
      new VirgaError(readCode(said.code), failure.message, { stack: failure.stack, location: failure.location }),
      {
        cpuMicros: count(said.cpuMicros),
        memoryPeakBytes: count(said.memoryPeakBytes),
      },
    );
  }

  #log(stream: number, bytes: Buffer, start: number, end: number): void {
    if (end - start < 9) throw violation("a `log` frame without its head");
    const at = bytes.readDoubleBE(start + 1);
    this.#handlers.log(this.#calls.get(stream)?.id ?? this.#cancelled.get(stream), {
      at: at > 0 && at < lastInstant ? at : Date.now(),
      stream: bytes[start] === 2 ? "stderr" : "stdout",
      text: bytes.toString("utf8", start + 9, end),
    });
  }

  #nestedCall(stream: number, bytes: Buffer, start: number, end: number): void {
    if (stream === 0 || stream % 2 === 1) throw violation("a nested call on a stream of the platform's");
    const split = end - start >= 4 ? start + 4 + bytes.readUInt32BE(start) : end + 1;
    if (split > end) throw violation("a `call` frame whose head is cut off");
    const said = object(bytes, start + 4, split);
    const parent = text(said.parent) ?? "";
    const target = text(said.function) ?? "";
    const headers = said.headers === undefined ? [] : checkHeaders(said.headers);
    if (headers === undefined || target === "") throw violation("a `call` frame whose head is malformed");
    if (!this.#isOpen(parent)) {
      return this.#refuse(stream, new VirgaError("cancelled", "The call that made this one is over"));
    }
    if (this.#nested >= mostNested) {
      return this.#refuse(
        stream,
        new VirgaError("queue_full", `This instance has ${mostNested} calls to other functions open`, {
          fix: "Await some of them first.",
        }),
      );
    }
    this.#nested += 1;
    const request: NestedCall = {
      function: target,
      method: text(said.method) ?? "POST",
      path: text(said.path) ?? "/",
      headers,
      body: bytes.subarray(split, end),
    };
    this.#handlers.callFunction(parent, request).then(
      (answer) => {
        this.#nested -= 1;
        this.#answer(stream, answer);
      },
      (thrown: unknown) => {
        this.#nested -= 1;
        this.#refuse(stream, asVirgaError(thrown));
      },
    );
  }

  #answer(stream: number, answer: NestedAnswer): void {
    const head = JSON.stringify({ status: answer.status, headers: answer.headers });
    const bytes = 4 + Buffer.byteLength(head) + answer.body.length;
    if (bytes > maxPayloadBytes) {
      const error = new VirgaError(
        "response_too_large",
        `An answer to another function may have ${maxPayloadBytes} bytes, this one has ${bytes}`,
        { fix: "Hand over a reference instead, or call the function by its URL." },
      );
      this.#refuse(stream, error);
      return;
    }
    this.writer.headed(frame.answer, stream, -1, head, answer.body, answer.body.length);
  }

  #refuse(stream: number, error: VirgaError): void {
    const message = error.message.slice(0, longestHead);
    this.writer.text(frame.refused, stream, JSON.stringify({ code: error.code, message }));
  }

  #acknowledge(stream: number): void {
    const id = this.#cancelled.get(stream);
    if (id === undefined) return;
    this.#cancelled.delete(stream);
    this.#handlers.acknowledged(id);
  }

  #isOpen(id: string): boolean {
    for (const call of this.#calls) if (call.id === id) return true;
    return false;
  }

  /** The call of a stream; undefined where it is over (what still comes for it does not count). */
  #call(stream: number): FramedCall | undefined {
    const call = this.#calls.get(stream);
    if (call === undefined && stream % 2 === 0)
      throw violation(`a frame for stream ${stream}, which is none of a call's`);
    return call;
  }

  #close(reason: VirgaError | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.#handlers.closed(reason);
  }
}

/** A body up to this rides in the `invoke` frame. */
const firstBodyBytes = initialWindow / 4;
/** Heads and messages below this need no second look. */
const longestHead = 2 ** 16;
/** Calls to other functions that one instance may have open. */
const mostNested = 1000;
/** The last millisecond that a Date can hold. */
const lastInstant = 8.64e15;
const nothing = new Uint8Array(0);

function measurement(bytes: Buffer, at: number): CallMeasurement {
  return {
    cpuMicros: bytes.readUInt32BE(at),
    memoryPeakBytes: bytes.readUInt32BE(at + 4) * 2 ** 32 + bytes.readUInt32BE(at + 8),
  };
}

function object(bytes: Buffer, start: number, end: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8", start, end));
  } catch (error) {
    throw violation(`a payload that is no JSON (${String(error)})`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw violation("a payload that is no object");
  return value as Record<string, unknown>;
}

function readHeaders(json: string): readonly string[] | undefined {
  try {
    return checkHeaders(JSON.parse(json));
  } catch {
    return undefined; // the caller reports it
  }
}

/** Flat headers that `node:http` will take; undefined where they are not. */
function checkHeaders(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value) || value.length % 2 === 1) return undefined;
  for (let index = 0; index < value.length; index += 2) {
    const name: unknown = value[index];
    const content: unknown = value[index + 1];
    if (typeof name !== "string" || !headerName.test(name)) return undefined;
    if (typeof content !== "string" || notInHeader.test(content)) return undefined;
  }
  return value as string[];
}

/** RFC 9110, section 5.6.2 (token), in lower case. */
const headerName = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
/** RFC 9110, section 5.5: a field value is visible characters, blanks, tabs and bytes from 0x80. */
const notInHeader = /[^\t\x20-\x7e\x80-\xff]/;

function readFailure(said: Record<string, unknown>): LoadFailure {
  return {
    message: text(said.message) ?? "The program gave no reason",
    stack: text(said.stack),
    location: text(said.location),
  };
}

/** A program may blame itself, never the platform. */
function readCode(code: unknown): ErrorCode {
  if (typeof code !== "string" || !Object.hasOwn(catalogue, code)) return "function_error";
  return code === "function_crashed" ||
    code === "invalid_response" ||
    code === "out_of_memory" ||
    code === "response_too_large"
    ? code
    : "function_error";
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}
