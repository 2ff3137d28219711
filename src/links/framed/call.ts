import type { VirgaError } from "../../core/errors.ts";
import type { CallHandle, CallMeasurement, CallSink } from "../../ports/runtime.ts";
import { violation } from "./reader.ts";
import type { FrameWriter } from "./writer.ts";
import { frame, grantStep, initialWindow, maxPayloadBytes } from "./protocol.ts";

/** What a call asks of the link that carries it. */
export interface Carrier {
  readonly writer: FrameWriter;
  /** The call is over: its stream is forgotten. */
  release(call: FramedCall): void;
  cancelled(call: FramedCall, reason: "cancelled" | "timeout"): VirgaError;
}

/** One call on a link: its stream in both directions, with their windows. The handle that the invoker holds. */
export class FramedCall implements CallHandle {
  readonly id: string;
  readonly stream: number;
  readonly #carrier: Carrier;
  readonly #sink: CallSink;
  onDrain: (() => void) | undefined = undefined;
  #over = false;

  /** Request: bytes that may be sent, and what waits for that. */
  #credit = initialWindow;
  #waiting: Uint8Array[] | undefined = undefined;
  #inputEnds = false;

  /** Answer: bytes that the program may send, bytes taken but not granted yet, what came while the consumer paused. */
  #allowed = initialWindow;
  #taken = 0;
  #answered = false;
  #paused = false;
  #held: Uint8Array[] | undefined = undefined;
  #measured: CallMeasurement | undefined = undefined;

  constructor(carrier: Carrier, id: string, stream: number, sink: CallSink) {
    this.#carrier = carrier;
    this.id = id;
    this.stream = stream;
    this.#sink = sink;
  }

  // The invoker's side.

  write(chunk: Uint8Array): boolean {
    if (this.#over || chunk.length === 0) return true;
    if (this.#waiting !== undefined) {
      this.#waiting.push(chunk);
      return false;
    }
    const rest = this.#send(chunk);
    if (rest === undefined) return true;
    this.#waiting = [rest];
    return false;
  }

  end(): void {
    if (this.#over || this.#inputEnds) return;
    this.#inputEnds = true;
    if (this.#waiting === undefined) this.#carrier.writer.empty(frame.end, this.stream);
  }

  resume(): void {
    if (this.#over || !this.#paused) return;
    this.#paused = false;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) {
      for (let index = 0; index < held.length; index++) {
        if (this.#deliver(held[index]!)) continue;
        this.#held = index + 1 < held.length ? held.slice(index + 1) : undefined;
        return;
      }
    }
    if (this.#measured !== undefined) this.#finish(this.#measured);
  }

  cancel(reason: "cancelled" | "timeout"): void {
    if (this.#over) return;
    this.#carrier.writer.byte(frame.cancel, this.stream, reason === "timeout" ? 1 : 0);
    this.fail(this.#carrier.cancelled(this, reason));
  }

  // The link's side.

  /** The part of a body that went out with the `invoke` frame. */
  spent(bytes: number): void {
    this.#credit -= bytes;
  }

  granted(bytes: number): void {
    this.#credit += bytes;
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    let index = 0;
    for (; index < waiting.length; index++) {
      const rest = this.#send(waiting[index]!);
      if (rest === undefined) continue;
      waiting[index] = rest;
      break;
    }
    if (index < waiting.length) {
      if (index > 0) this.#waiting = waiting.slice(index);
      return;
    }
    this.#waiting = undefined;
    if (this.#inputEnds) this.#carrier.writer.empty(frame.end, this.stream);
    else this.onDrain?.();
  }

  head(status: number, headers: readonly string[]): void {
    if (this.#answered) throw violation("two `result` frames for one call");
    this.#answered = true;
    this.#sink.head(status, headers);
  }

  body(bytes: Uint8Array): void {
    if (this.#over) return;
    if (!this.#answered || this.#measured !== undefined) throw violation("a `body` frame outside of an answer");
    this.#allowed -= bytes.length;
    if (this.#allowed < 0) throw violation("an answer overran its window");
    if (this.#paused) (this.#held ??= []).push(bytes);
    else this.#deliver(bytes);
  }

  ended(measured: CallMeasurement): void {
    if (this.#over) return;
    if (!this.#answered || this.#measured !== undefined) throw violation("an `end` frame outside of an answer");
    if (this.#paused) this.#measured = measured;
    else this.#finish(measured);
  }

  fail(error: VirgaError, measured?: CallMeasurement): void {
    if (this.#over) return;
    this.#close();
    this.#sink.fail(error, measured);
  }

  #finish(measured: CallMeasurement): void {
    this.#close();
    this.#sink.end(measured);
  }

  #close(): void {
    this.#over = true;
    this.#waiting = undefined;
    this.#held = undefined;
    this.#carrier.release(this);
  }

  /** False: the consumer wants a pause. */
  #deliver(bytes: Uint8Array): boolean {
    const more = this.#sink.data(bytes);
    if (this.#over) return false;
    this.#taken += bytes.length;
    if (this.#taken >= grantStep) {
      this.#carrier.writer.window(this.stream, this.#taken);
      this.#allowed += this.#taken;
      this.#taken = 0;
    }
    if (!more) this.#paused = true;
    return more;
  }

  /** Sends what the window allows; gives what it does not. */
  #send(chunk: Uint8Array): Uint8Array | undefined {
    let at = 0;
    while (at < chunk.length && this.#credit > 0) {
      const end = at + Math.min(chunk.length - at, this.#credit, maxPayloadBytes);
      this.#carrier.writer.bytes(frame.body, this.stream, chunk, at, end);
      this.#credit -= end - at;
      at = end;
    }
    return at === chunk.length ? undefined : chunk.subarray(at);
  }
}
