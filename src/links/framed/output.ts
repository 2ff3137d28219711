import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/**
 * Cuts what a program writes to a pipe into lines. A line longer than 64 KiB comes in pieces, so that a program that never
 * ends one takes no memory here. The newest lines are kept: they tell why a program died.
 */
export class OutputLines {
  readonly #decoder = new StringDecoder("utf8");
  readonly #onLine: (text: string) => void;
  #partial = "";
  #newest: string[] = [];
  readonly ended: Promise<void>;

  constructor(source: Readable, onLine: (text: string) => void) {
    this.#onLine = onLine;
    this.ended = new Promise((resolve) => {
      source.on("data", (chunk: Buffer) => this.#take(this.#decoder.write(chunk)));
      const finish = (): void => {
        if (this.#partial !== "") this.#emit(this.#partial);
        this.#partial = "";
        resolve();
      };
      source.once("end", finish);
      source.once("close", finish);
      source.once("error", finish);
    });
  }

  /** The newest lines, at most 20 and 8,000 characters. */
  tail(): string {
    return this.#newest.join("\n").slice(-8000);
  }

  #take(text: string): void {
    let from = 0;
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", from)) {
      const line = this.#partial + text.slice(from, at);
      this.#partial = "";
      this.#emit(line.endsWith("\r") ? line.slice(0, -1) : line);
      from = at + 1;
    }
    this.#partial += text.slice(from);
    while (this.#partial.length >= longestLine) {
      this.#emit(this.#partial.slice(0, longestLine));
      this.#partial = this.#partial.slice(longestLine);
    }
  }

  #emit(line: string): void {
    this.#newest.push(line);
    if (this.#newest.length > 20) this.#newest.shift();
    this.#onLine(line);
  }
}

const longestLine = 2 ** 16;
