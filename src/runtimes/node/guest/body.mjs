// Bodies: of a request as it comes over the link, and of whatever a function uses as one.
import { sendWindow, window } from "./link.mjs";

const grantStep = window / 4;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The body of one request: whole at once, or in chunks under flow control. */
export class IncomingBody {
  #stream;
  #chunks = [];
  #ended = false;
  #error;
  #wake;
  #taken = 0;

  constructor(stream, first, ended) {
    this.#stream = stream;
    if (first !== undefined) this.#chunks.push(first);
    this.#ended = ended;
  }

  push(chunk) {
    this.#chunks.push(chunk);
    this.#awake();
  }

  end() {
    this.#ended = true;
    this.#awake();
  }

  fail(error) {
    if (this.#ended) return;
    this.#error = error;
    this.#chunks = [];
    this.#awake();
  }

  /** The next chunk; undefined at the end. One reader at a time. */
  async next() {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#take(chunk.length);
        return chunk;
      }
      if (this.#ended) return undefined;
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }

  /** All of it; at once where it is all here. */
  bytes() {
    if (!this.#ended) return this.#gather();
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
  }

  stream() {
    return new ReadableStream(
      {
        pull: async (controller) => {
          const chunk = await this.next();
          if (chunk === undefined) controller.close();
          else controller.enqueue(chunk);
        },
      },
      { highWaterMark: 0 },
    );
  }

  async #gather() {
    const chunks = [];
    for (let chunk = await this.next(); chunk !== undefined; chunk = await this.next()) chunks.push(chunk);
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
  }

  #take(bytes) {
    if (this.#ended) return;
    this.#taken += bytes;
    if (this.#taken < grantStep) return;
    sendWindow(this.#stream, this.#taken);
    this.#taken = 0;
  }

  #awake() {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/** A chunk of a streamed body as bytes. */
export function toBytes(chunk) {
  if (typeof chunk === "string") return encoder.encode(chunk);
  if (chunk instanceof Uint8Array) return chunk;
  if (chunk instanceof ArrayBuffer || chunk instanceof SharedArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new TypeError(`A chunk of a body is a string or bytes, not ${chunk === null ? "null" : typeof chunk}`);
}

export function isBytes(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value) || value instanceof SharedArrayBuffer;
}

/** What can be read piece by piece: ReadableStream, Node stream, async or plain generator. */
export function isStream(value) {
  return (
    typeof value === "object" &&
    value !== null &&
    (typeof value[Symbol.asyncIterator] === "function" ||
      typeof value.getReader === "function" ||
      (typeof value.next === "function" && typeof value[Symbol.iterator] === "function"))
  );
}

export async function gather(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(toBytes(chunk));
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
}

export function decode(bytes) {
  return decoder.decode(bytes);
}

export function encode(text) {
  return encoder.encode(text);
}

/** An ArrayBuffer with exactly these bytes, its own. */
export function toArrayBuffer(bytes) {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}
