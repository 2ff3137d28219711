import { readFileSync, writeFileSync } from "node:fs";
import type { ProgramUsage, SandboxLimits } from "../../ports/sandbox.ts";

/** How control groups are laid out on this host; version 1 and 2 differ in everything but the idea. */
export interface Hierarchies {
  readonly controls: { readonly memory: boolean; readonly cpu: boolean; readonly processes: boolean };
  /** Whether the kernel ends a whole group that is out of memory, not one process of it. */
  readonly killsWhole: boolean;
  /** The folders below which this process may make groups, one for each hierarchy. At most four. */
  readonly parents: readonly string[];
  /** Makes the controls available below a folder that was made in a parent. */
  prepare(folder: string): void;
  limit(folders: readonly string[], limits: SandboxLimits): void;
  /** How much of the processors it has where all are wanted: the kernel's own default, or a quarter of that. */
  weigh(folders: readonly string[], weight: "small" | "ordinary"): void;
  usage(folders: readonly string[]): ProgramUsage;
  outOfMemoryKills(folders: readonly string[]): number;
}

/** The period over which a CPU quota counts, in microseconds: the kernel's own default. */
export const cpuPeriodMicros = 100_000;

export function readControl(folder: string, name: string): string {
  return readFileSync(`${folder}/${name}`, "latin1");
}

export function readNumber(folder: string, name: string): number {
  return Number.parseInt(readControl(folder, name), 10);
}

export function setControl(folder: string, name: string, value: string | number): void {
  writeFileSync(`${folder}/${name}`, String(value));
}

/** The number behind `key ` in a file of lines `key number`; 0 where it is not there. */
export function keyedNumber(text: string, key: string): number {
  const at = text.startsWith(`${key} `) ? 0 : text.indexOf(`\n${key} `) + 1;
  if (at === 0 && !text.startsWith(`${key} `)) return 0;
  return Number.parseInt(text.slice(at + key.length + 1), 10);
}

export interface CgroupMount {
  readonly type: "cgroup" | "cgroup2";
  /** The part of the hierarchy that is mounted. */
  readonly root: string;
  readonly point: string;
  readonly controllers: readonly string[];
}

/** Where the hierarchies are mounted. Empty where there is no /proc. */
export function cgroupMounts(): CgroupMount[] {
  const mounts: CgroupMount[] = [];
  for (const line of linesOf("/proc/self/mountinfo")) {
    const [before, after] = line.split(" - ");
    const type = after?.split(" ")[0];
    if (type !== "cgroup" && type !== "cgroup2") continue;
    const fields = before!.split(" ");
    mounts.push({ type, root: fields[3]!, point: fields[4]!, controllers: after!.split(" ")[2]!.split(",") });
  }
  return mounts;
}

/** This process's group in the hierarchy with this controller (`""`: version 2), as the kernel names it. */
export function ownGroup(controller: string): string | undefined {
  for (const line of linesOf("/proc/self/cgroup")) {
    const [, names, ...path] = line.split(":");
    if (names!.split(",").includes(controller)) return path.join(":");
  }
  return undefined;
}

/** A group's folder below a mount that may show only a part of the hierarchy; undefined where it does not show it. */
export function folderOf(mount: CgroupMount, group: string): string | undefined {
  if (mount.root === "/") return group === "/" ? mount.point : mount.point + group;
  if (group === mount.root) return mount.point;
  return group.startsWith(`${mount.root}/`) ? mount.point + group.slice(mount.root.length) : undefined;
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}
