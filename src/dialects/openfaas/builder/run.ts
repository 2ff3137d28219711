/** RUN: a command with the stage's files at their places. */
import { access, readdir, rmdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import type { ExitReport, Mount } from "../../../ports/sandbox.ts";
import { type BuildLimits, runBuildProgram } from "./build-program.ts";
import { type Instruction, wrong, written } from "./dockerfile.ts";
import type { HostSettings } from "./host-settings.ts";
import { type PlacedSecrets, secretMounts } from "./secrets.ts";
import { shimsPath } from "./shims.ts";
import type { BuildStage } from "./stage.ts";
import { StageTree } from "./stage-tree.ts";
import { joined, searchPath } from "./toolchain.ts";

export interface RunSurroundings {
  readonly limits: BuildLimits;
  readonly shims: string;
  readonly settings: HostSettings;
  readonly secrets: PlacedSecrets;
  readonly cacheDirectory: string;
  /** Build arguments that need no ARG: proxies. */
  readonly proxies: Readonly<Record<string, string>>;
}

/** Rejects with `build_failed` where the command fails: line, command, exit code, and its last lines. */
export async function run(stage: BuildStage, instruction: Instruction, around: RunSurroundings): Promise<void> {
  const { line, flags, text } = instruction;
  if (around.limits.sandbox.name === "process")
    throw wrong(
      line,
      "RUN needs a sandbox that shows the image's folders at their places, and this host's does not",
      "apt-get install bubblewrap on the host of the platform.",
    );
  const given = checkMounts(line, flags.get("mount"), around.secrets);
  const home = await homeOf(stage);
  const made = await makeFolders(stage, `${home}/ ${stage.workingDirectory}/ ${text}`);
  const toolchain = joined(stage.toolchains);
  const surroundings = { ...defaults, ...around.settings.environment, ...around.proxies, ...toolchain.environment };
  const path = searchPath(stage.environment.get("PATH") ?? "", toolchain);
  const name = `Dockerfile:${line}: ${shortened(written(instruction))}`;
  const { report, log } = await runBuildProgram(
    {
      name,
      location: `Dockerfile:${line}`,
      command: instruction.json ?? [...(await shellOf(stage, text)), text],
      environment: {
        ...surroundings,
        HOME: home,
        // `ARG GOPROXY=""` asks for what is usual, which this host says.
        ...Object.fromEntries([...stage.variables].filter(([name, value]) => value !== "" || !(name in surroundings))),
        ...given.environment,
        PATH: `${shimsPath}:${path}`,
      },
      workingDirectory: stage.workingDirectory,
      mounts: [
        { source: around.cacheDirectory, target: cachePath, writable: true },
        ...(await stageMounts(stage.tree)),
        { source: around.shims, target: shimsPath, writable: false },
        ...around.settings.mounts,
        ...toolchain.mounts,
        ...given.mounts,
      ],
      network: flags.get("network") === "none" ? "none" : "host",
      directory: stage.tree.root,
    },
    around.limits,
  );
  for (const folder of made) await removeEmpty(stage.tree.hostPath(folder));
  if (report.code === 0) return;
  const fix = remedy(report, log);
  throw new VirgaError("build_failed", `${name} ended ${exitText(report)}`, {
    location: `Dockerfile:${line}`,
    log,
    ...(fix === undefined ? {} : { fix }),
  });
}

function checkMounts(
  line: number,
  mounts: string | undefined,
  secrets: PlacedSecrets,
): { mounts: Mount[]; environment: Record<string, string> } {
  const secret: string[] = [];
  for (const mount of mounts?.split("\n") ?? []) {
    // Packages are cached without being asked for; what is written there stays in the stage.
    if (/(^|,)type=(cache|tmpfs)(,|$)/.test(mount)) continue;
    if (/(^|,)type=secret(,|$)/.test(mount)) {
      secret.push(mount);
      continue;
    }
    throw wrong(
      line,
      `RUN --mount=${mount} is not supported: only type=cache, type=secret and type=tmpfs are`,
      "COPY what the command needs; hand values in by --build-arg.",
    );
  }
  return secretMounts(line, secret, secrets);
}

async function homeOf({ user, tree }: BuildStage): Promise<string> {
  if (user === "root" || user === "0") return "/root";
  const own = `/home/${user}`;
  return /^[a-z_][\w-]*$/.test(user) && (await tree.stats(own))?.isDirectory() === true ? own : "/home/app";
}

/** Folders at the root that a command may want to write into: only the platform can make them. Gives those that are new. */
async function makeFolders({ tree }: BuildStage, command: string): Promise<string[]> {
  const named = [...command.matchAll(/(?<![\w.})\]/-])\/([\w.-]+)\//g)].map((found) => found[1]!);
  const made = [...command.matchAll(/(?<![\w-])(?:cd|mkdir|pushd)\s+(?:-\S+\s+)*((?:\/[\w.-]+\s*)+)/g)].flatMap(
    (found) =>
      found[1]!
        .trim()
        .split(/\s+/)
        .map((path) => path.slice(1)),
  );
  const fresh: string[] = [];
  for (const name of new Set(["opt", "srv", ...named, ...made])) {
    const folder = `/${name}`;
    if (name === "." || name === ".." || StageTree.isSystem(folder) || (await tree.stats(folder)) !== undefined)
      continue;
    await tree.makeFolder(folder);
    fresh.push(folder);
  }
  // A command that makes a folder wants it there, empty or not.
  return fresh.filter((folder) => !made.includes(folder.slice(1)));
}

async function stageMounts(tree: StageTree): Promise<Mount[]> {
  const mounts: Mount[] = [];
  for (const entry of await readdir(tree.root, { withFileTypes: true })) {
    if (entry.isDirectory() || entry.isFile())
      mounts.push({ source: join(tree.root, entry.name), target: `/${entry.name}`, writable: entry.isDirectory() });
  }
  return mounts;
}

async function shellOf({ shell, base }: BuildStage, text: string): Promise<readonly string[]> {
  const hasBash = await access("/bin/bash").then(
    () => true,
    () => false,
  );
  if (shell !== undefined) return basename(shell[0]!) === "ash" && hasBash ? ["/bin/bash", ...shell.slice(1)] : shell;
  // busybox's shell knows `[[` and `echo -e`, which dash does not.
  return [hasBash && (base.busybox || text.includes("[[")) ? "/bin/bash" : "/bin/sh", "-c"];
}

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "ENOENT") throw error;
  });
}

function remedy({ code }: ExitReport, log: string): string | undefined {
  const isReadOnly = /read-only file system|\/(usr|etc|var|bin|lib)\/\S*['’]?: permission denied/i.test(log);
  if (isReadOnly) return `The system is this host's, and read-only. ${StageTree.kept}.`;
  const missing = /(?:^|[\s:])([\w.+-]+): (?:command )?not found/m.exec(log)?.[1];
  if (code === 127 && missing !== undefined)
    return `Programs come from the host of the platform, and it has no ${missing}: install it there, or COPY one into the image.`;
  return undefined;
}

function exitText({ code, signal }: ExitReport): string {
  return signal === null ? `with exit code ${code ?? "unknown"}` : `by signal ${signal}`;
}

function shortened(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

const cachePath = "/virga/cache";
const defaults: Readonly<Record<string, string>> = {
  LANG: "C.UTF-8",
  npm_config_cache: `${cachePath}/npm`,
  YARN_CACHE_FOLDER: `${cachePath}/yarn`,
  PIP_CACHE_DIR: `${cachePath}/pip`,
  // The system's Python is the host's; what is installed goes into the image's home.
  PIP_BREAK_SYSTEM_PACKAGES: "1",
  UV_CACHE_DIR: `${cachePath}/uv`,
  GOCACHE: `${cachePath}/go-build`,
  GOMODCACHE: `${cachePath}/go-mod`,
  // Read-only folders could not be removed.
  GOFLAGS: "-modcacherw",
  CARGO_HOME: `${cachePath}/cargo`,
  CARGO_INSTALL_ROOT: "/home/app/.cargo",
  MAVEN_OPTS: `-Dmaven.repo.local=${cachePath}/maven`,
  GRADLE_USER_HOME: `${cachePath}/gradle`,
  COMPOSER_CACHE_DIR: `${cachePath}/composer`,
  BUN_INSTALL_CACHE_DIR: `${cachePath}/bun`,
};
