import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { VirgaError } from "../core/errors.ts";

/** The first program of one of these names on PATH or at the usual places. */
export async function findProgram(...names: readonly string[]): Promise<string | undefined> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/bin", "/usr/bin", "/usr/local/go/bin"];
  for (const name of names) {
    for (const folder of folders) {
      const path = join(folder, name);
      try {
        await access(path, constants.X_OK);
        return path;
      } catch {
        // Not in this folder.
      }
    }
  }
  return undefined;
}

/** What a program of the host prints; undefined where it cannot be run. */
export async function printed(program: string, ...parameters: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, parameters, { timeout: 20_000 });
    return stdout.trim() === "" ? stderr.trim() : stdout.trim();
  } catch {
    return undefined;
  }
}

/** `versions` of a toolchain that is not on this host. */
export function notInstalled(language: string, packages: string): VirgaError {
  return new VirgaError("runtime_unavailable", `There is no ${language} on this host`, {
    field: "runtime",
    fix: `apt-get install ${packages}`,
  });
}
