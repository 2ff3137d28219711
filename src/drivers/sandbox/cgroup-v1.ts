import { accessSync, constants, existsSync } from "node:fs";
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

/**
 * Version 1: a hierarchy for each controller, some of them mounted together (`cpu,cpuacct`). Groups are made below this
 * process's own, so that what holds it (a container's limit) holds them too. Undefined unless memory can be limited.
 */
export function findVersion1(): Hierarchies | undefined {
  const parents: string[] = [];
  const place: Record<string, number> = {};
  for (const controller of ["memory", "pids", "cpu", "cpuacct"]) {
    const folder = writableFolder(controller);
    if (folder === undefined) continue;
    const known = parents.indexOf(folder);
    place[controller] = known >= 0 ? known : parents.push(folder) - 1;
  }
  const { memory, pids, cpu, cpuacct } = place;
  if (memory === undefined || cpuacct === undefined) return undefined;
  const swap = existsSync(`${parents[memory]}/memory.memsw.limit_in_bytes`);

  return {
    controls: { memory: true, cpu: cpu !== undefined, processes: pids !== undefined },
    killsWhole: false,
    parents,
    prepare() {},
    limit(folders, limits) {
      const bytes = limits.memoryMb * 2 ** 20;
      setControl(folders[memory]!, "memory.limit_in_bytes", bytes);
      // Memory and swap together: what does not fit is killed, not paged.
      if (swap) setControl(folders[memory]!, "memory.memsw.limit_in_bytes", bytes);
      if (pids !== undefined) setControl(folders[pids]!, "pids.max", limits.processes);
      if (cpu !== undefined) setControl(folders[cpu]!, "cpu.cfs_quota_us", Math.round(limits.cpus * cpuPeriodMicros));
    },
    weigh(folders, weight) {
      if (cpu !== undefined) setControl(folders[cpu]!, "cpu.shares", weight === "small" ? 256 : 1024);
    },
    usage(folders) {
      return {
        cpuMicros: Math.round(readNumber(folders[cpuacct]!, "cpuacct.usage") / 1000),
        memoryBytes: readNumber(folders[memory]!, "memory.usage_in_bytes"),
        memoryPeakBytes: readNumber(folders[memory]!, "memory.max_usage_in_bytes"),
      };
    },
    outOfMemoryKills: (folders) => keyedNumber(readControl(folders[memory]!, "memory.oom_control"), "oom_kill"),
  };
}

function writableFolder(controller: string): string | undefined {
  const group = ownGroup(controller);
  const mount = cgroupMounts().find((one) => one.type === "cgroup" && one.controllers.includes(controller));
  const folder = group === undefined || mount === undefined ? undefined : folderOf(mount, group);
  if (folder === undefined) return undefined;
  try {
    accessSync(folder, constants.W_OK);
    return folder;
  } catch {
    return undefined;
  }
}
