import type { ProgramUsage, SandboxLimits } from "../../ports/sandbox.ts";
import { keyedNumber, readControl } from "./cgroup-files.ts";
import { processTree, proportionalBytes, residentBytes, ticksPerSecond, type ProcessEntry } from "./process-table.ts";
import type { RunningProgram } from "./program.ts";

/**
 * With control groups of version 1 the kernel kills one process of a program that is out of memory and leaves the rest.
 * Its count over the whole host tells when to look which program that was.
 */
export class OutOfMemoryWatch {
  readonly #programs = new Set<RunningProgram>();
  #kills = hostKills();
  #timer: NodeJS.Timeout | undefined;

  add(program: RunningProgram): void {
    this.#programs.add(program);
    this.#timer ??= setInterval(() => this.#look(), periodMs).unref();
    void program.exited.finally(() => this.#programs.delete(program));
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const kills = hostKills();
    if (kills === this.#kills) return;
    this.#kills = kills;
    for (const program of this.#programs) program.killWhereShort();
  }
}

function hostKills(): number {
  return keyedNumber(readControl("/proc", "vmstat"), "oom_kill");
}

/**
 * Looks at programs that no control group holds, and kills one that is over its limits.
 * Between two looks a program can go over; that is why the promise is called `watched`.
 */
export class Watch {
  readonly #programs = new Map<RunningProgram, Pick<SandboxLimits, "memoryMb" | "processes">>();
  #timer: NodeJS.Timeout | undefined;

  add(program: RunningProgram, limits: Pick<SandboxLimits, "memoryMb" | "processes">): void {
    this.#programs.set(program, limits);
    this.#timer ??= setInterval(() => this.#look(), periodMs).unref();
    void program.exited.finally(() => {
      this.#programs.delete(program);
      if (this.#programs.size === 0) this.close();
    });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    for (const [program, limits] of this.#programs) {
      const tree = processTree(program.pid);
      // Also keeps the counters of a program that ends before the next look.
      if (program.measure().memoryBytes > limits.memoryMb * 2 ** 20 && exactBytes(tree) > limits.memoryMb * 2 ** 20)
        program.killOverMemory();
      else if (tree.length > limits.processes) program.killOverLimit();
    }
  }
}

/** What a process and all below it use, from /proc. Memory that forked processes share is counted for each of them. */
export function treeUsage(root: number): ProgramUsage {
  const tree = processTree(root);
  const memoryBytes = tree.reduce((sum, { pid }) => sum + residentBytes(pid), 0);
  const ticks = tree.reduce((sum, { cpuTicks }) => sum + cpuTicks, 0);
  return { cpuMicros: Math.round((ticks * 1_000_000) / ticksPerSecond), memoryBytes, memoryPeakBytes: memoryBytes };
}

/** With what is shared counted once; asked for only where the quick sum is over. */
function exactBytes(tree: readonly ProcessEntry[]): number {
  return tree.reduce((sum, { pid }) => sum + (proportionalBytes(pid) ?? residentBytes(pid)), 0);
}

/** Ten times a second a program that allocates 1 GB/s is 100 MB over at most. */
const periodMs = 100;
