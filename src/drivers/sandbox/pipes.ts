import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, constants, mkdirSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";

/** A pipe for what a program writes: our end as a stream, the program's as a descriptor that the caller closes. */
export interface PipeEnds {
  readonly ours: Socket;
  readonly theirs: number;
  readonly path: string;
}

/**
 * Real pipes for a program's output. What Node calls a pipe is a pair of sockets, and those cannot be opened by name:
 * `tool -o /dev/stdout`, in scripts and native tools everywhere, fails on them. Node has no call for a pipe, so these
 * are named ones, made some at a time and used again.
 */
export class Pipes {
  readonly #folder: string;
  readonly #free: string[] = [];
  #made = 0;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder);
    // Any user may open a pipe by `/proc/self/fd`; by its name only this server.
    chmodSync(folder, 0o700);
  }

  open(): PipeEnds {
    const path = this.#free.pop() ?? this.#make();
    // Open for both, so that neither of the two below waits for its other side.
    const both = openSync(path, constants.O_RDWR);
    let theirs: number | undefined;
    try {
      // Without O_NONBLOCK, which is no affair of a descriptor's holder but of all that share the opened file.
      theirs = openSync(path, constants.O_WRONLY);
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const ours = new Socket({ fd, readable: true, writable: false });
      ours.once("close", () => this.#free.push(path));
      return { ours, theirs, path };
    } catch (error) {
      if (theirs !== undefined) closeSync(theirs);
      throw error;
    } finally {
      closeSync(both);
    }
  }

  #make(): string {
    const paths = Array.from({ length: batch }, () => join(this.#folder, String(this.#made++)));
    execFileSync("mkfifo", ["-m", "0666", ...paths], { stdio: "ignore" });
    this.#free.push(...paths);
    return this.#free.pop()!;
  }
}

/** One start of `mkfifo` costs about a millisecond, a pipe more in it next to nothing. */
const batch = 64;
