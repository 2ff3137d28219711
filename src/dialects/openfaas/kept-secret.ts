import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** The text in `file`; made at the first start (0600). An empty file is one that a crash left behind: as good as none. */
export function keptSecret(file: string, make: () => string): string {
  const kept = textIn(file);
  if (kept !== "") return kept;
  const made = make();
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const aside = `${file}.${process.pid}`;
  writeFileSync(aside, `${made}\n`, { mode: 0o600, flush: true });
  renameSync(aside, file);
  return made;
}

function textIn(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
