import { constants } from "node:os";
import type { Duplex, Readable, Writable } from "node:stream";
import type { Affinity } from "../../core/affinity.ts";
import type { ExitReport, ProgramUsage, SandboxedProgram } from "../../ports/sandbox.ts";
import type { Cgroup } from "./cgroup.ts";

export interface ProgramParts {
  readonly id: string;
  readonly process: StartedProcess;
  readonly link?: Duplex | undefined;
  readonly stdin?: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Undefined on a host where none can be made. */
  readonly cgroup: Cgroup | undefined;
  /** Without a control group: what is left of it is looked for here. */
  readonly tree: ProcessTree;
  readonly expose: (hostDirectory: string) => Promise<string>;
  readonly pathOf: (target: string) => string;
  readonly bindTo?: ((affinity: Affinity) => void) | undefined;
  /** Without a control group: ends what is left of it behind its exit. */
  readonly emptied: () => Promise<void>;
  /** Gives back what the driver holds for it. Called once, when no process is left. */
  readonly release: () => Promise<void>;
}

/** The outermost process of a program, whoever started it. */
export interface StartedProcess {
  readonly pid: number;
  kill(): void;
  readonly ended: Promise<readonly [code: number | null, signal: string | null]>;
}

/** The processes of one program as the host sees them. */
export interface ProcessTree {
  /** The program itself, without what the driver put around it. */
  main(): number | undefined;
  kill(): void;
  usage(): ProgramUsage;
}

/** A started program: its signals, its counters, its end. The same for every driver. */
export class RunningProgram implements SandboxedProgram {
  readonly id: string;
  readonly pid: number;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly link?: Duplex;
  readonly stdin?: Writable;
  readonly exited: Promise<ExitReport>;
  readonly pathOf: (target: string) => string;
  readonly expose: (hostDirectory: string) => Promise<string>;
  readonly bindTo?: (affinity: Affinity) => void;
  readonly #parts: ProgramParts;
  #stopping = false;
  /** Over the memory limit, as the watch saw it. */
  #overMemory = false;
  #peakBytes = 0;
  #cpuMicros = 0;
  /** The last counters, once it has ended. */
  #final: ProgramUsage | undefined;

  constructor(parts: ProgramParts) {
    this.#parts = parts;
    this.id = parts.id;
    this.pid = parts.process.pid;
    this.stdout = parts.stdout;
    this.stderr = parts.stderr;
    if (parts.link !== undefined) this.link = parts.link;
    if (parts.stdin !== undefined) this.stdin = parts.stdin;
    this.pathOf = parts.pathOf;
    this.expose = parts.expose;
    if (parts.bindTo !== undefined) this.bindTo = parts.bindTo;
    this.exited = parts.process.ended.then(([code, signal]) => this.#ended(code, signal));
  }

  usage(): Promise<ProgramUsage> {
    return Promise.resolve(this.measure());
  }

  /** As `usage`, at once. */
  measure(): ProgramUsage {
    if (this.#final !== undefined) return this.#final;
    const { cgroup, tree } = this.#parts;
    const measured = cgroup?.usage() ?? tree.usage();
    this.#peakBytes = Math.max(this.#peakBytes, measured.memoryPeakBytes);
    // Processes that have ended are in no list any more; a control group's counters only grow.
    this.#cpuMicros = Math.max(this.#cpuMicros, measured.cpuMicros);
    return { ...measured, cpuMicros: this.#cpuMicros, memoryPeakBytes: this.#peakBytes };
  }

  stop(graceMs: number): Promise<ExitReport> {
    if (this.#final !== undefined) return this.exited;
    this.#stopping = true;
    const main = graceMs > 0 ? this.#parts.tree.main() : undefined;
    if (main === undefined || !signal(main, "SIGTERM")) {
      this.#kill();
      return this.exited;
    }
    const timer = setTimeout(() => this.#kill(), graceMs);
    return this.exited.finally(() => clearTimeout(timer));
  }

  /** For the watch: it has more memory than it may. */
  killOverMemory(): void {
    this.#overMemory = true;
    this.#kill();
  }

  /** For the watch: where the kernel killed one process of it for want of memory, the others go too. */
  killWhereShort(): void {
    if (this.#final === undefined && (this.#parts.cgroup?.outOfMemoryKills() ?? 0) > 0) this.killOverMemory();
  }

  /** For the watch: it broke another limit. */
  killOverLimit(): void {
    this.#kill();
  }

  #kill(): void {
    const { cgroup, process: outermost, tree } = this.#parts;
    cgroup?.kill();
    if (cgroup === undefined) tree.kill();
    outermost.kill();
  }

  async #ended(code: number | null, signal: string | null): Promise<ExitReport> {
    const { cgroup, tree, emptied, release } = this.#parts;
    if (cgroup === undefined) {
      tree.kill();
      await emptied();
    } else {
      for (let pauseMs = 1; cgroup.processes().length > 0; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
        cgroup.kill();
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
    const killed = cgroup !== undefined && !this.#stopping && cgroup.outOfMemoryKills() > 0;
    this.#final = this.measure();
    await release();
    return { ...exitOf(code, signal), outOfMemory: this.#overMemory || killed };
  }
}

/** False where there is no such process any more. */
function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Shells, and bubblewrap, give on a signal as exit code 128 + its number. */
function exitOf(code: number | null, signal: string | null): { code: number | null; signal: string | null } {
  const name = code !== null && code > 128 ? signalNames.get(code - 128) : undefined;
  return name === undefined ? { code, signal } : { code: null, signal: name };
}

/** The common name of each: aliases (SIGIOT of SIGABRT) come later in the list. */
const signalNames = new Map(
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number, name]),
);
/** Between looks whether the last process of a killed program is gone. */
const longestPauseMs = 20;
