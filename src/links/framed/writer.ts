import type { Duplex } from "node:stream";
import { frame, headBytes } from "./protocol.ts";

/**
 * Encodes frames for one socket and hands all frames of one event-loop turn to it in a single write.
 *
 * Frames are encoded into a slab that all writers share; a writer's frames that lie side by side leave as one buffer.
 * Larger payloads are not copied, they become a segment of their own.
 */
export class FrameWriter {
  readonly #socket: Duplex;
  #segments: Uint8Array[] = [];
  /** The open run: `#runSlab[#runStart, #runEnd)`, empty where start is end. */
  #runSlab: Buffer = slab;
  #runStart = 0;
  #runEnd = 0;
  #scheduled = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
  }

  empty(type: number, stream: number): void {
    const at = this.#reserve(headBytes);
    writeHead(at, 0, type, stream);
    this.#commit(at, headBytes);
  }

  byte(type: number, stream: number, value: number): void {
    const at = this.#reserve(headBytes + 1);
    writeHead(at, 1, type, stream);
    slab[at + headBytes] = value;
    this.#commit(at, headBytes + 1);
  }

  window(stream: number, bytes: number): void {
    const at = this.#reserve(headBytes + 4);
    writeHead(at, 4, frame.window, stream);
    slab.writeUInt32BE(bytes, at + headBytes);
    this.#commit(at, headBytes + 4);
  }

  /** A JSON payload. Its size is the caller's business. */
  text(type: number, stream: number, text: string): void {
    if (text.length * 3 > slabBytes / 2) {
      const bytes = Buffer.from(text);
      this.bytes(type, stream, bytes, 0, bytes.length);
      return;
    }
    const at = this.#reserve(headBytes + text.length * 3);
    const length = slab.write(text, at + headBytes);
    writeHead(at, length, type, stream);
    this.#commit(at, headBytes + length);
  }

  bytes(type: number, stream: number, payload: Uint8Array, start: number, end: number): void {
    const length = end - start;
    const copied = length <= copyBytes;
    const at = this.#reserve(headBytes + (copied ? length : 0));
    writeHead(at, length, type, stream);
    if (copied) {
      copy(payload, start, end, at + headBytes);
      this.#commit(at, headBytes + length);
    } else {
      this.#commit(at, headBytes);
      this.#append(payload.subarray(start, end));
    }
  }

  /** The shape of `invoke` and (with no flags: -1) `answer`: flags, uint32 length, JSON, body bytes. */
  headed(type: number, stream: number, flags: number, head: string, body: Uint8Array, bodyLength: number): void {
    const flagBytes = flags < 0 ? 0 : 1;
    const fixed = headBytes + flagBytes + 4;
    const copied = bodyLength <= copyBytes;
    if (head.length * 3 > slabBytes / 2) {
      this.#largeHeaded(type, stream, flags, Buffer.from(head), body, bodyLength);
      return;
    }
    const at = this.#reserve(fixed + head.length * 3 + (copied ? bodyLength : 0));
    const headLength = slab.write(head, at + fixed);
    writeHead(at, flagBytes + 4 + headLength + bodyLength, type, stream);
    if (flagBytes === 1) slab[at + headBytes] = flags;
    slab.writeUInt32BE(headLength, at + headBytes + flagBytes);
    if (copied) {
      copy(body, 0, bodyLength, at + fixed + headLength);
      this.#commit(at, fixed + headLength + bodyLength);
    } else {
      this.#commit(at, fixed + headLength);
      this.#append(body.subarray(0, bodyLength));
    }
  }

  /** Hands what is encoded to the socket now. */
  flush(): void {
    this.#scheduled = false;
    const socket = this.#socket;
    if (socket.destroyed || !socket.writable) {
      this.#segments = [];
      this.#runStart = this.#runEnd = 0;
      return;
    }
    if (this.#segments.length === 0) {
      if (this.#runEnd > this.#runStart) socket.write(this.#takeRun());
      return;
    }
    if (this.#runEnd > this.#runStart) this.#segments.push(this.#takeRun());
    socket.cork();
    for (const segment of this.#segments) socket.write(segment);
    socket.uncork();
    this.#segments = [];
  }

  #largeHeaded(type: number, stream: number, flags: number, head: Buffer, body: Uint8Array, bodyLength: number): void {
    const flagBytes = flags < 0 ? 0 : 1;
    const fixed = headBytes + flagBytes + 4;
    const at = this.#reserve(fixed);
    writeHead(at, flagBytes + 4 + head.length + bodyLength, type, stream);
    if (flagBytes === 1) slab[at + headBytes] = flags;
    slab.writeUInt32BE(head.length, at + headBytes + flagBytes);
    this.#commit(at, fixed);
    this.#append(head);
    if (bodyLength > 0) this.#append(body.subarray(0, bodyLength));
  }

  /** Makes room for so many bytes in one piece of the slab, at the returned offset. */
  #reserve(bytes: number): number {
    if (bytes > slabBytes - slabUsed) {
      slab = Buffer.allocUnsafeSlow(slabBytes);
      slabUsed = 0;
    }
    return slabUsed;
  }

  #commit(at: number, bytes: number): void {
    slabUsed = at + bytes;
    if (this.#runSlab === slab && this.#runEnd === at && this.#runEnd > this.#runStart) {
      this.#runEnd = slabUsed;
    } else {
      if (this.#runEnd > this.#runStart) this.#segments.push(this.#takeRun());
      this.#runSlab = slab;
      this.#runStart = at;
      this.#runEnd = slabUsed;
    }
    this.#schedule();
  }

  #append(bytes: Uint8Array): void {
    if (this.#runEnd > this.#runStart) this.#segments.push(this.#takeRun());
    this.#segments.push(bytes);
    this.#schedule();
  }

  #takeRun(): Uint8Array {
    const run = this.#runSlab.subarray(this.#runStart, this.#runEnd);
    this.#runStart = this.#runEnd = 0;
    return run;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (waiting.length === 0) setImmediate(flushWaiting);
    waiting.push(this);
  }
}

/** Room for a few hundred heads of calls; a new slab is taken when it is used up, the old one goes with its last write. */
const slabBytes = 2 ** 16;
/** Above this a payload is cheaper as a segment of its own in a gathered write than as a copy. */
const copyBytes = 2 ** 13;

let slab = Buffer.allocUnsafeSlow(slabBytes);
let slabUsed = 0;

let waiting: FrameWriter[] = [];

function flushWaiting(): void {
  const writers = waiting;
  waiting = [];
  for (const writer of writers) writer.flush();
}

function writeHead(at: number, length: number, type: number, stream: number): void {
  slab.writeUInt32BE(length, at);
  slab[at + 4] = type;
  slab.writeUInt32BE(stream, at + 5);
}

function copy(source: Uint8Array, start: number, end: number, at: number): void {
  if (end > start) slab.set(start === 0 && end === source.length ? source : source.subarray(start, end), at);
}
