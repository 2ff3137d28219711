import type { Readable, Writable } from "node:stream";
import { styleText } from "node:util";
import type { Environment } from "./locations.ts";

type Style = Parameters<typeof styleText>[0];
type Screen = Writable & { isTTY?: boolean; columns?: number };

export interface TerminalParts {
  readonly stdin: Readable & { isTTY?: boolean };
  readonly stdout: Screen;
  readonly stderr: Screen;
  readonly environment: Environment;
  /** The folder that relative paths on the command line are taken from. */
  readonly directory: string;
  /** Aborted when the user wants the command to end. */
  readonly signal: AbortSignal;
}

/** What a command reads and writes. Results go to stdout; everything said about them goes to stderr. */
export class Terminal {
  readonly stdin: TerminalParts["stdin"];
  readonly stdout: Screen;
  readonly stderr: Screen;
  readonly environment: Environment;
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Aborted when nobody reads stdout any more (`virga logs -f | head`). */
  readonly hangup: AbortSignal;

  constructor(parts: TerminalParts) {
    this.stdin = parts.stdin;
    this.stdout = parts.stdout;
    this.stderr = parts.stderr;
    this.environment = parts.environment;
    this.directory = parts.directory;
    this.signal = parts.signal;
    const hangup = new AbortController();
    this.hangup = hangup.signal;
    for (const screen of [parts.stdout, parts.stderr]) {
      screen.on("error", (error: NodeJS.ErrnoException) => {
        if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") throw error;
        if (screen === parts.stdout) hangup.abort();
      });
    }
  }

  /** A line of the result. */
  print(line: string): void {
    this.#write(this.stdout, `${line}\n`);
  }

  /** A line about what happens. */
  note(line: string): void {
    this.#write(this.stderr, `${line}\n`);
  }

  /** Bytes of the result; resolves when more may be written. */
  write(chunk: Uint8Array | string): Promise<void> {
    if (this.hangup.aborted || this.stdout.write(chunk)) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.stdout.off("drain", done);
        this.hangup.removeEventListener("abort", done);
        resolve();
      };
      this.stdout.on("drain", done);
      this.hangup.addEventListener("abort", done);
    });
  }

  /** Replaces the last line on a terminal; says nothing elsewhere. An empty text clears it. */
  status(text: string): void {
    if (!this.showsProgress) return;
    const width = (this.stderr.columns ?? 80) - 1;
    this.#write(this.stderr, `\r\u001B[2K${text.slice(0, width)}`);
  }

  get showsProgress(): boolean {
    return this.stderr.isTTY === true && this.environment["TERM"] !== "dumb";
  }

  /** Whether a question can be asked and answered. */
  get interactive(): boolean {
    return this.stdin.isTTY === true && this.stderr.isTTY === true;
  }

  /** Text styled for stdout, where that is a terminal that wants colour. */
  style(style: Style, text: string): string {
    return this.#paint(this.stdout, style, text);
  }

  /** The same for stderr. */
  styleNote(style: Style, text: string): string {
    return this.#paint(this.stderr, style, text);
  }

  /** https://no-color.org: any non-empty value turns colour off. */
  #paint(screen: Screen, style: Style, text: string): string {
    const { NO_COLOR, FORCE_COLOR, TERM } = this.environment;
    const forced = FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0";
    const wanted = forced || (screen.isTTY === true && !NO_COLOR && FORCE_COLOR !== "0" && TERM !== "dumb");
    return wanted ? styleText(style, text, { validateStream: false }) : text;
  }

  #write(screen: Screen, text: string): void {
    if (screen === this.stdout && this.hangup.aborted) return;
    screen.write(text);
  }
}

/** The terminal of this process. The first SIGINT or SIGTERM asks the command to end, the second ends it. */
export function processTerminal(): Terminal {
  const interrupt = new AbortController();
  for (const [name, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
  ] as const) {
    process.on(name, () => {
      if (interrupt.signal.aborted) process.exit(128 + number);
      interrupt.abort();
    });
  }
  return new Terminal({
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    environment: process.env,
    directory: process.cwd(),
    signal: interrupt.signal,
  });
}
