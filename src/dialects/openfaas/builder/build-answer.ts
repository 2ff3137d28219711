import type { ServerResponse } from "node:http";

/** What a client hears of its build: line by line, or all of it in one object at the end. */
export class BuildAnswer {
  readonly #response: ServerResponse;
  readonly #isStream: boolean;
  readonly #lines: string[] = [];
  #leftOut = 0;
  #isOver = false;
  /** Known when the upload was read. */
  image = "";

  constructor(response: ServerResponse, isStream: boolean) {
    this.#response = response;
    this.#isStream = isStream;
  }

  line(text: string): void {
    for (const part of parts(text)) {
      if (this.#isStream) this.#send([part]);
      else if (this.#lines.push(part) > mostLines) {
        this.#lines.shift();
        this.#leftOut++;
      }
    }
  }

  succeed(): void {
    this.#end("success", 200);
  }

  /** `status`: for clients that wait for one object; faas-cli 0.17 looks at nothing else in it. Those of a stream look at its last line. */
  fail(reason: string, status: number): void {
    this.#end("failed", status, parts(reason)[0]);
  }

  #send(log: readonly string[]): void {
    if (this.#isOver || this.#response.destroyed) return;
    // A client that does not read must not have us keep all of it.
    if (this.#response.writableLength > mostUnread) {
      this.#leftOut++;
      return;
    }
    this.#begin(200);
    const said = this.#leftOut === 0 ? log : [`… ${this.#leftOut} lines left out`, ...log];
    this.#leftOut = 0;
    this.#response.write(`${JSON.stringify({ log: said, image: this.image, status: "in_progress" })}\n`);
  }

  #end(status: "success" | "failed", code: number, error?: string): void {
    if (this.#isOver || this.#response.destroyed) return;
    this.#isOver = true;
    const leftOut = this.#leftOut === 0 ? [] : [`… ${this.#leftOut} lines left out`];
    const log = this.#isStream ? [] : [...leftOut, ...this.#lines];
    this.#begin(this.#isStream ? 200 : code);
    this.#response.end(
      `${JSON.stringify({ log, image: this.image, status, ...(error === undefined ? {} : { error }) })}\n`,
    );
  }

  #begin(code: number): void {
    if (this.#response.headersSent) return;
    this.#response.writeHead(code, { "content-type": this.#isStream ? "application/x-ndjson" : "application/json" });
  }
}

/** Clients read a line of at most 64 KiB; a character may take six bytes in JSON. */
function parts(text: string): string[] {
  const found: string[] = [];
  for (const line of text.split("\n")) {
    for (let at = 0; at === 0 || at < line.length; at += longestPart) found.push(line.slice(at, at + longestPart));
  }
  return found;
}

const longestPart = 8192;
const mostLines = 5000;
const mostUnread = 4 * 2 ** 20;
