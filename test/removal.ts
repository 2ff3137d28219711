import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";

/** Removes a folder with what is sealed below it: an ordinary user cannot remove from folders that are read-only. */
export function removeTree(path: string): void {
  makeWritable(path);
  rmSync(path, { recursive: true, force: true });
}

export function makeWritable(path: string): void {
  if (process.getuid?.() !== 0) spawnSync("chmod", ["-R", "u+w", path]);
}
