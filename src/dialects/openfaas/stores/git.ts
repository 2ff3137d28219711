/** The host's git, which is run without the settings of whoever runs this server. */
import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Processors } from "../../../ports/sandbox.ts";

/** Asked each time: git may be installed while the server runs. */
export function hasGit(): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => folder !== "" && isProgram(join(folder, "git")));
}

export interface Git {
  spawn(parameters: readonly string[], options: SpawnOptions): ChildProcess;
  /** To its end; what it wrote, without the last line break. */
  run(
    parameters: readonly string[],
    options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
  ): Promise<string>;
}

export function hostGit(processors: Pick<Processors, "freeing"> | undefined): Git {
  const spawnGit: Git["spawn"] = (parameters, options) => {
    const [program, ...before] = [...(processors?.freeing ?? []), "git"];
    return spawn(program, [...before, ...parameters], { ...options, env: { ...environment(), ...options.env } });
  };
  return {
    spawn: spawnGit,
    async run(parameters, options) {
      const child = spawnGit(parameters, { ...options, stdio: ["ignore", "pipe", "pipe"] });
      let output = "";
      let complaint = "";
      child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
      child.stderr?.setEncoding("utf8").on("data", (text: string) => (complaint += text));
      const code = await new Promise<number | null>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", resolve);
      });
      if (code !== 0) throw new Error(`git ${parameters[0] ?? ""} failed: ${complaint.trim()}`);
      return output.trimEnd();
    },
  };
}

/** Nothing of a user's configuration, of a repository around, or of secrets among this process's variables. */
function environment(): NodeJS.ProcessEnv {
  return {
    PATH: process.env["PATH"],
    HOME: "/nonexistent",
    LC_ALL: "C",
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_TERMINAL_PROMPT: "0",
  };
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
