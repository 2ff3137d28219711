import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { release } from "node:os";
import { dirname, join } from "node:path";
import {
  cgroupMounts,
  cpuPeriodMicros,
  folderOf,
  keyedNumber,
  ownGroup,
  readControl,
  readNumber,
  setControl,
  type Hierarchies,
} from "./cgroup-files.ts";
import { descendants, readProcesses } from "./process-table.ts";

/**
 * Version 2: one hierarchy. Groups are made below the nearest group from our own upwards that already hands its
 * controllers down, or that can be made to. Undefined unless memory can be limited.
 */
export function findVersion2(): Hierarchies | undefined {
  const group = ownGroup("");
  const mount = cgroupMounts().find((one) => one.type === "cgroup2");
  const own = group === undefined || mount === undefined ? undefined : folderOf(mount, group);
  if (own === undefined) return undefined;
  for (let folder = own; folder.startsWith(mount!.point); folder = dirname(folder)) {
    if (isWritable(folder) && handsDown(folder, own)) return hierarchy(folder);
  }
  return undefined;
}

function hierarchy(parent: string): Hierarchies {
  const controllers = listed(parent, "cgroup.subtree_control");
  const cpu = controllers.includes("cpu");
  const processes = controllers.includes("pids");
  let peak: boolean | undefined;
  return {
    controls: { memory: true, cpu, processes },
    // From Linux 4.19.
    killsWhole: kernelAtLeast(4, 19),
    parents: [parent],
    prepare(folder) {
      setControl(
        folder,
        "cgroup.subtree_control",
        wanted
          .filter((name) => controllers.includes(name))
          .map((name) => `+${name}`)
          .join(" "),
      );
    },
    limit([folder], limits) {
      setControl(folder!, "memory.max", limits.memoryMb * 2 ** 20);
      if (existsSync(`${folder}/memory.swap.max`)) setControl(folder!, "memory.swap.max", 0);
      // One process over the limit takes the whole program with it: half a program is of no use to anybody.
      if (existsSync(`${folder}/memory.oom.group`)) setControl(folder!, "memory.oom.group", 1);
      if (processes) setControl(folder!, "pids.max", limits.processes);
      if (cpu) setControl(folder!, "cpu.max", `${Math.round(limits.cpus * cpuPeriodMicros)} ${cpuPeriodMicros}`);
    },
    weigh([folder], weight) {
      if (cpu) setControl(folder!, "cpu.weight", weight === "small" ? 25 : 100);
    },
    usage([folder]) {
      const memoryBytes = readNumber(folder!, "memory.current");
      // memory.peak came with Linux 5.19.
      peak ??= existsSync(`${folder}/memory.peak`);
      return {
        cpuMicros: keyedNumber(readControl(folder!, "cpu.stat"), "usage_usec"),
        memoryBytes,
        memoryPeakBytes: peak ? readNumber(folder!, "memory.peak") : memoryBytes,
      };
    },
    outOfMemoryKills: ([folder]) => keyedNumber(readControl(folder!, "memory.events"), "oom_kill"),
  };
}

const wanted = ["memory", "pids", "cpu"];

/** Makes a group hand down what it has of memory, pids and cpu, where that harms nobody. */
function handsDown(folder: string, own: string): boolean {
  const available = wanted.filter((name) => listed(folder, "cgroup.controllers").includes(name));
  if (!available.includes("memory")) return false;
  const missing = available.filter((name) => !listed(folder, "cgroup.subtree_control").includes(name));
  if (missing.length === 0) return true;
  // A group with processes of its own cannot hand down (the root may). Ours may step aside where nobody else is in it.
  if (folder === own && !stepAside(folder)) return listed(folder, "cgroup.subtree_control").includes("memory");
  try {
    setControl(folder, "cgroup.subtree_control", missing.map((name) => `+${name}`).join(" "));
    return true;
  } catch {
    return listed(folder, "cgroup.subtree_control").includes("memory");
  }
}

/** Moves this process and its family (`npm`, a shell) one group down; false where others share the group. */
function stepAside(folder: string): boolean {
  if (!existsSync(join(folder, "cgroup.type"))) return true;
  const table = readProcesses();
  const family = new Set(descendants(table, process.pid).map((entry) => entry.pid));
  for (let pid = process.pid; pid > 0; pid = table.get(pid)?.parent ?? 0) family.add(pid);
  const members = readControl(folder, "cgroup.procs").split("\n").filter(Boolean).map(Number);
  if (!members.every((pid) => family.has(pid))) return false;
  const aside = join(folder, "virga-server");
  try {
    mkdirSync(aside, { recursive: true });
    for (const pid of members) setControl(aside, "cgroup.procs", pid);
    return true;
  } catch {
    return false;
  }
}

function listed(folder: string, name: string): string[] {
  try {
    return readControl(folder, name).trim().split(" ");
  } catch {
    return [];
  }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(join(folder, "cgroup.procs"), constants.W_OK);
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function kernelAtLeast(major: number, minor: number): boolean {
  const [own = 0, ownMinor = 0] = release()
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  return own > major || (own === major && ownMinor >= minor);
}
