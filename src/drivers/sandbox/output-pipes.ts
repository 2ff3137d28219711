import { closeSync } from "node:fs";
import type { Readable } from "node:stream";
import type { PipeEnds, Pipes } from "./pipes.ts";

/** Standard output and error of one program. */
export class OutputPipes {
  readonly #stdout: PipeEnds;
  readonly #stderr: PipeEnds;
  #theirsAreOpen = true;

  constructor(pipes: Pipes) {
    this.#stdout = pipes.open();
    this.#stderr = pipes.open();
  }

  /** The program's ends. */
  get descriptors(): [stdout: number, stderr: number] {
    return [this.#stdout.theirs, this.#stderr.theirs];
  }

  /** Where a process that may open them finds them. */
  get paths(): [stdout: string, stderr: string] {
    return [this.#stdout.path, this.#stderr.path];
  }

  get stdout(): Readable {
    return this.#stdout.ours;
  }

  get stderr(): Readable {
    return this.#stderr.ours;
  }

  /** Once the program has them: its last process to close one then ends ours. */
  closeTheirs(): void {
    if (!this.#theirsAreOpen) return;
    this.#theirsAreOpen = false;
    for (const fd of this.descriptors) closeSync(fd);
  }

  /** Where the program did not start. */
  destroy(): void {
    this.#stdout.ours.destroy();
    this.#stderr.ours.destroy();
  }
}
