import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { VirgaError } from "../core/errors.ts";
import type { LogLine } from "../core/model.ts";
import type { ExitReport, SandboxedProgram } from "../ports/sandbox.ts";

/**
 * What a program prints, as log lines, and the last of them for the error that tells of its end.
 * The http and the exec link use it; a stream that carries the answer is left out by naming only the others.
 */
export class ProgramOutput {
  readonly #listener: (line: LogLine) => void;
  readonly #tail: string[] = [];
  #tailLength = 0;
  #open = 0;
  #whenEnded: (() => void) | undefined;
  /** Resolves when every stream has ended: all lines have been given. */
  readonly ended: Promise<void>;

  constructor(program: SandboxedProgram, streams: readonly ("stdout" | "stderr")[], listener: (line: LogLine) => void) {
    this.#listener = listener;
    this.ended = new Promise((resolve) => (this.#whenEnded = resolve));
    for (const name of streams) this.#follow(program[name], name);
  }

  /** The newest lines, as one text. */
  tail(): string {
    return this.#tail.join("\n");
  }

  #follow(stream: Readable, name: "stdout" | "stderr"): void {
    const decoder = new StringDecoder("utf8");
    let rest = "";
    this.#open++;
    stream.on("data", (chunk: Buffer) => {
      const text = rest + decoder.write(chunk);
      let from = 0;
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", from)) {
        this.#line(name, text.slice(from, at));
        from = at + 1;
      }
      while (text.length - from > longestLine) {
        this.#line(name, text.slice(from, from + longestLine));
        from += longestLine;
      }
      rest = text.slice(from);
    });
    let over = false;
    const finish = () => {
      if (over) return;
      over = true;
      rest += decoder.end();
      if (rest !== "") this.#line(name, rest);
      if (--this.#open === 0) this.#whenEnded?.();
    };
    stream.once("end", finish);
    stream.once("close", finish);
    // A broken pipe is the end of the output; the program's exit says why.
    stream.once("error", finish);
  }

  #line(stream: "stdout" | "stderr", text: string): void {
    const line = text.endsWith("\r") ? text.slice(0, -1) : text;
    this.#tail.push(line);
    this.#tailLength += line.length;
    while (this.#tail.length > tailLines || (this.#tailLength > tailChars && this.#tail.length > 1)) {
      this.#tailLength -= this.#tail.shift()!.length;
    }
    this.#listener({ at: Date.now(), stream, text: line });
  }
}

/** Why a program that has ended can serve no call: `out_of_memory` or `function_crashed`. */
export function exitError(report: ExitReport, memoryMb: number, log: string): VirgaError {
  const detail = log === "" ? {} : { log };
  if (report.outOfMemory) {
    return new VirgaError("out_of_memory", `The program used more than its ${memoryMb} MiB of memory and was killed`, {
      ...detail,
      field: "limits.memoryMb",
      fix: "Raise limits.memoryMb, or hold less in memory at a time.",
    });
  }
  return new VirgaError("function_crashed", `The program ended ${exitText(report)}`, {
    ...detail,
    fix: "Look at the last lines of its log; the program must keep running until the platform stops it.",
  });
}

export function exitText(report: ExitReport): string {
  return report.signal === null ? `with exit code ${report.code ?? "unknown"}` : `by signal ${report.signal}`;
}

/** A line without an end must not grow in the platform's memory. */
const longestLine = 16_384;
const tailLines = 20;
const tailChars = 4096;
