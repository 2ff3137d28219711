import { existsSync, readdirSync, readFileSync } from "node:fs";

/** One line of /proc/PID/stat, as far as the drivers need it. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** `Z` is a zombie: dead, not yet waited for. */
  readonly state: string;
  /** Its own and its waited-for children's, user and system. */
  readonly cpuTicks: number;
  /** Since boot; with the pid it names a process for ever. */
  readonly startTicks: number;
}

/** USER_HZ: 100 on every architecture that Linux builds for with a modern C library. */
export const ticksPerSecond = 100;

/** Every process of the host; empty where there is no /proc. */
export function readProcesses(): Map<number, ProcessEntry> {
  const processes = new Map<number, ProcessEntry>();
  for (const name of processNames()) {
    const entry = readProcess(Number(name));
    if (entry !== undefined) processes.set(entry.pid, entry);
  }
  return processes;
}

/** Undefined where there is no such process (any more). */
export function readProcess(pid: number): ProcessEntry | undefined {
  const stat = readProcFile(pid, "stat");
  if (stat === undefined) return undefined;
  // The name in the second field may hold blanks and parentheses; the last ")" ends it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    pid,
    state: fields[0]!,
    parent: Number(fields[1]),
    group: Number(fields[2]),
    cpuTicks: Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]),
    startTicks: Number(fields[19]),
  };
}

/** `root` and all below it, by parent; what a double fork took out of the tree is not in it. */
export function descendants(processes: ReadonlyMap<number, ProcessEntry>, root: number): ProcessEntry[] {
  const children = new Map<number, ProcessEntry[]>();
  for (const entry of processes.values()) {
    const siblings = children.get(entry.parent);
    if (siblings === undefined) children.set(entry.parent, [entry]);
    else siblings.push(entry);
  }
  const first = processes.get(root);
  const found: ProcessEntry[] = first === undefined ? [] : [first];
  for (let index = 0; index < found.length; index += 1) {
    const below = children.get(found[index]!.pid);
    if (below !== undefined) found.push(...below);
  }
  return found;
}

/** As `descendants` of the present moment, from the kernel's lists of children: the cost is the tree's, not the host's. */
export function processTree(root: number): ProcessEntry[] {
  const found: ProcessEntry[] = [];
  const open = [root];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    const entry = readProcess(pid);
    if (entry === undefined) continue;
    found.push(entry);
    open.push(...childrenOf(pid));
  }
  return found;
}

/** Memory that a process alone is the reason for: anonymous and shared-memory pages, not mapped files. */
export function residentBytes(pid: number): number {
  const status = readProcFile(pid, "status");
  if (status === undefined) return 0;
  return (kilobytes(status, "RssAnon:") + kilobytes(status, "RssShmem:")) * 1024;
}

/**
 * The same with every page that forked processes share counted once in all; slower.
 * Undefined where the kernel does not let this user look.
 */
export function proportionalBytes(pid: number): number | undefined {
  const rollup = readProcFile(pid, "smaps_rollup");
  if (rollup === undefined) return undefined;
  return (kilobytes(rollup, "Pss_Anon:") + kilobytes(rollup, "Pss_Shmem:")) * 1024;
}

/** Whether the process that had this pid and start time still runs. */
export function isRunning(pid: number, startTicks: number): boolean {
  const entry = readProcess(pid);
  return entry !== undefined && entry.state !== "Z" && entry.startTicks === startTicks;
}

/** The direct children of a process, from the kernel's own list where it keeps one. */
export function childrenOf(pid: number): number[] {
  if (keepsChildren) {
    // Each thread has its own.
    const threads = readFolder(`/proc/${pid}/task`);
    return threads.flatMap((thread) =>
      (readProcFile(pid, `task/${thread}/children`) ?? "").split(" ").filter(Boolean).map(Number),
    );
  }
  return [...readProcesses().values()].filter((entry) => entry.parent === pid).map((entry) => entry.pid);
}

/** The text of /proc/PID/NAME; undefined where the process is gone or not ours to look at. */
export function readProcFile(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    return undefined;
  }
}

/** Whether the kernel was built to keep those lists. */
const keepsChildren = existsSync(`/proc/self/task/${process.pid}/children`);

function processNames(): string[] {
  return readFolder("/proc").filter((name) => name.charCodeAt(0) <= 57 && name.charCodeAt(0) >= 48);
}

/** Empty where there is no such folder (any more). */
function readFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function kilobytes(text: string, field: string): number {
  const at = text.indexOf(field);
  return at < 0 ? 0 : Number.parseInt(text.slice(at + field.length), 10);
}
