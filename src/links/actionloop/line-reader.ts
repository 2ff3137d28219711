import type { Readable } from "node:stream";

/** Lines of a stream, each without its end; undefined for one that is longer than `most` bytes. */
export class LineReader {
  readonly #stream: Readable;
  readonly #most: number;
  readonly #listener: (line: string | undefined) => void;
  #chunks: Buffer[] = [];
  #length = 0;
  #tooLong = false;

  constructor(stream: Readable, most: number, listener: (line: string | undefined) => void) {
    this.#stream = stream;
    this.#most = most;
    this.#listener = listener;
    stream.on("data", (chunk: Buffer) => this.#read(chunk));
    // Its program's end says what there is to say.
    stream.on("error", () => undefined);
  }

  close(): void {
    this.#stream.destroy();
  }

  #read(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      this.#keep(chunk.subarray(from, at));
      from = at + 1;
      const line = this.#tooLong ? undefined : Buffer.concat(this.#chunks).toString("utf8");
      this.#chunks = [];
      this.#length = 0;
      this.#tooLong = false;
      if (line === undefined || line.trim() !== "") this.#listener(line);
    }
    this.#keep(chunk.subarray(from));
  }

  #keep(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > this.#most) {
      this.#tooLong = true;
      this.#chunks = [];
    } else if (part.length > 0) this.#chunks.push(part);
  }
}

const newline = 10;
