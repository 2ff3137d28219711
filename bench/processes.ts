import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks per second of /proc's CPU times; 100 on every Linux that Node.js runs on. */
const ticksPerSecond = 100;

/** CPU seconds, user and system, that a process and everything below it have used; children already reaped count. */
export function cpuSecondsOfTree(pid: number): number {
  return tree(pid).reduce((sum, process) => sum + process.ticks, 0) / ticksPerSecond;
}

/** Resident bytes of one process. */
export function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return pages * 4096;
}

function tree(root: number): { pid: number; ticks: number }[] {
  const processes = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        // The name in brackets may hold blanks; the fields begin behind it.
        const fields = stat
          .slice(stat.lastIndexOf(")") + 2)
          .split(" ")
          .map(Number);
        const ticks = (fields[11] ?? 0) + (fields[12] ?? 0) + (fields[13] ?? 0) + (fields[14] ?? 0);
        return [{ pid: Number(name), parent: fields[1] ?? 0, ticks }];
      } catch {
        return [];
      }
    });
  const found: { pid: number; ticks: number }[] = [];
  const open = [root];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    found.push(...processes.filter((process) => process.pid === pid));
    open.push(...processes.filter((process) => process.parent === pid).map((process) => process.pid));
  }
  return found;
}
