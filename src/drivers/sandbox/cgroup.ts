import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { mkdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { ProgramUsage, SandboxLimits } from "../../ports/sandbox.ts";
import type { Hierarchies } from "./cgroup-files.ts";
import { findVersion1 } from "./cgroup-v1.ts";
import { findVersion2 } from "./cgroup-v2.ts";
import { isLeftOver } from "./server-mark.ts";

/** What the kernel can hold a group of processes to on this host. */
export interface CgroupControls {
  readonly memory: boolean;
  readonly cpu: boolean;
  readonly processes: boolean;
}

/** The control groups that one driver makes: a folder of its own in each hierarchy, one below for each program. */
export class Cgroups {
  readonly controls: CgroupControls;
  readonly #hierarchies: Hierarchies;
  readonly #mark: string;

  constructor(hierarchies: Hierarchies, mark: string) {
    this.#hierarchies = hierarchies;
    this.#mark = mark;
    this.controls = hierarchies.controls;
    sweep(hierarchies.parents);
    for (const parent of hierarchies.parents) {
      mkdirSync(join(parent, mark));
      hierarchies.prepare(join(parent, mark));
    }
  }

  /** Whether the kernel ends a whole program that is out of memory, not one process of it. */
  get killsWhole(): boolean {
    return this.#hierarchies.killsWhole;
  }

  /** Off the main thread: the kernel makes and removes groups one at a time, behind processes that are entering theirs. */
  async create(id: string, limits: SandboxLimits, background = false): Promise<Cgroup> {
    const folders = this.#hierarchies.parents.map((parent) => join(parent, this.#mark, id));
    const made: string[] = [];
    try {
      for (const folder of folders) {
        await mkdir(folder);
        made.push(folder);
      }
      this.#hierarchies.limit(folders, limits);
      if (background) this.#hierarchies.weigh(folders, "small");
    } catch (error) {
      for (const folder of made) rmdirSync(folder);
      throw error;
    }
    return new Cgroup(folders, this.#hierarchies, background);
  }

  /** Every program's group must be gone. */
  close(): void {
    for (const parent of this.#hierarchies.parents) removeTree(join(parent, this.#mark));
  }
}

/** The groups of one program. */
export class Cgroup {
  readonly #folders: readonly string[];
  readonly #hierarchies: Hierarchies;
  #isBackground: boolean;

  constructor(folders: readonly string[], hierarchies: Hierarchies, isBackground: boolean) {
    this.#folders = folders;
    this.#hierarchies = hierarchies;
    this.#isBackground = isBackground;
  }

  /** It is somebody's hurry now. Where that fails it has ended, or keeps its small share. */
  toForeground(): void {
    if (!this.#isBackground) return;
    this.#isBackground = false;
    try {
      this.#hierarchies.weigh(this.#folders, "ordinary");
    } catch {
      // Nobody who calls this could do anything about it.
    }
  }

  /**
   * Opens the files through which a process enters by writing `0`. Opened here, they carry this process's right to do
   * so to one that has given it up. The caller closes them.
   */
  openEntrances(): number[] {
    const opened: number[] = [];
    try {
      for (const folder of this.#folders) opened.push(openSync(join(folder, "cgroup.procs"), "w"));
    } catch (error) {
      for (const fd of opened) closeSync(fd);
      throw error;
    }
    return opened;
  }

  /** One in each hierarchy: for a process that opens its entrances itself. */
  get folders(): readonly string[] {
    return this.#folders;
  }

  /** The file that lists its processes. */
  get processList(): string {
    return join(this.#folders[0]!, "cgroup.procs");
  }

  get limitsProcesses(): boolean {
    return this.#hierarchies.controls.processes;
  }

  usage(): ProgramUsage {
    return this.#hierarchies.usage(this.#folders);
  }

  /** How often the kernel killed a process of it for want of memory. */
  outOfMemoryKills(): number {
    return this.#hierarchies.outOfMemoryKills(this.#folders);
  }

  processes(): number[] {
    return processesIn(this.#folders[0]!);
  }

  /** Kills what is in it, a forking program included. */
  kill(): void {
    for (const pid of this.processes()) killQuietly(pid);
  }

  /** What holds a process still is left, for the next server to sweep. */
  async remove(): Promise<void> {
    for (const folder of this.#folders) {
      try {
        await rmdir(folder);
      } catch (error) {
        if (!isGoneOrBusy(error)) throw error;
      }
    }
  }
}

/** Control groups that this process may make; undefined where it may not. */
export function findCgroups(mark: string): Cgroups | undefined {
  const hierarchies = findVersion2() ?? findVersion1();
  return hierarchies === undefined ? undefined : new Cgroups(hierarchies, mark);
}

/** Removes what servers left behind that were killed. Their programs died with them; one that did not dies now. */
function sweep(parents: readonly string[]): void {
  for (const parent of parents) {
    for (const entry of readdirSync(parent, { withFileTypes: true })) {
      if (entry.isDirectory() && isLeftOver(entry.name)) removeTree(join(parent, entry.name));
    }
  }
}

function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const child = join(folder, entry.name);
    for (const pid of processesIn(child)) killQuietly(pid);
    removeFolder(child);
  }
  removeFolder(folder);
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!isGoneOrBusy(error)) throw error;
  }
}

function isGoneOrBusy(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "EBUSY" || code === "ENOTEMPTY";
}

function processesIn(folder: string): number[] {
  try {
    return readFileSync(join(folder, "cgroup.procs"), "latin1").split("\n").filter(Boolean).map(Number);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
