import { VirgaError } from "../../core/errors.ts";
import { frame, headBytes, maxPayloadBytes } from "./protocol.ts";

/** Receives what a FrameReader finds. Both may throw to end the reading. */
export interface FrameReceiver {
  /** A whole frame; its payload is `bytes[start, end)`. Never of type `body`. */
  frame(type: number, stream: number, bytes: Buffer, start: number, end: number): void;
  /** Some bytes of a `body` frame, which need not be all of it. */
  body(stream: number, bytes: Buffer): void;
}

/**
 * Finds the frames in a stream of chunks, however they are cut. Bodies are passed on as they come and never copied;
 * any other frame that lies in several chunks is joined once, when its last byte is here.
 *
 * `push` throws `function_crashed` on a frame that is over the limit, and whatever the receiver throws.
 */
export class FrameReader {
  readonly #receiver: FrameReceiver;
  /** Chunks of a frame that is not complete. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Bytes that the held frame has in all; its head alone while that is unknown. */
  #needed = headBytes;
  /** The rest of a `body` frame that is being passed on. */
  #bodyLeft = 0;
  #bodyStream = 0;

  constructor(receiver: FrameReceiver) {
    this.#receiver = receiver;
  }

  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#heldBytes > 0) {
      this.#held.push(chunk);
      this.#heldBytes += chunk.length;
      if (this.#heldBytes < this.#needed) return;
      bytes = Buffer.concat(this.#held, this.#heldBytes);
      this.#held = [];
      this.#heldBytes = 0;
    }
    const rest = this.#read(bytes);
    if (rest === bytes.length) return;
    this.#held.push(rest === 0 ? bytes : bytes.subarray(rest));
    this.#heldBytes = bytes.length - rest;
  }

  /** Reads frames from the start of `bytes`; gives the offset of the first one that is not complete. */
  #read(bytes: Buffer): number {
    const size = bytes.length;
    let at = 0;
    if (this.#bodyLeft > 0) {
      at = Math.min(this.#bodyLeft, size);
      this.#bodyLeft -= at;
      this.#receiver.body(this.#bodyStream, at === size ? bytes : bytes.subarray(0, at));
    }
    while (size - at >= headBytes) {
      const length = bytes.readUInt32BE(at);
      const type = bytes[at + 4]!;
      const stream = bytes.readUInt32BE(at + 5);
      if (length > maxPayloadBytes) {
        throw violation(`a frame of type ${type} announces ${length} bytes, ${maxPayloadBytes} are the most`);
      }
      const start = at + headBytes;
      const end = start + length;
      if (type === frame.body) {
        const here = Math.min(end, size);
        this.#bodyLeft = end - here;
        this.#bodyStream = stream;
        if (here > start) this.#receiver.body(stream, bytes.subarray(start, here));
        at = here;
      } else if (end <= size) {
        this.#receiver.frame(type, stream, bytes, start, end);
        at = end;
      } else {
        this.#needed = headBytes + length;
        return at;
      }
    }
    this.#needed = headBytes;
    return at;
  }
}

export function violation(what: string): VirgaError {
  return new VirgaError("function_crashed", `The program broke the instance link: ${what}`, {
    fix: "File descriptor 3 belongs to the platform; the function must not read from it or write to it.",
  });
}
