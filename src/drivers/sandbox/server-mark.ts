import { isRunning, readProcess } from "./process-table.ts";

/**
 * The name of everything that one driver of one server makes on the host: `virga-PID-START-N`. It tells a later server
 * whether the maker still lives, even where its pid was given to another process since.
 */
export function newServerMark(): string {
  counter += 1;
  const start = readProcess(process.pid)?.startTicks ?? 0;
  return `virga-${process.pid}-${start}-${counter}`;
}

/** True for a name that `newServerMark` gave to a server that is no more. */
export function isLeftOver(name: string): boolean {
  const match = /^virga-(\d+)-(\d+)-\d+$/.exec(name);
  if (match === null) return false;
  const pid = Number(match[1]);
  if (pid === process.pid && Number(match[2]) === (readProcess(pid)?.startTicks ?? 0)) return false;
  return !isAlive(pid, Number(match[2]));
}

let counter = 0;

function isAlive(pid: number, start: number): boolean {
  if (start !== 0) return isRunning(pid, start);
  // No /proc (macOS): the pid alone must do.
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
