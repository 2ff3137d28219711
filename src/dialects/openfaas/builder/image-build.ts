/** An image built from its Dockerfile by this host's own programs, without containers. */
import { chmod, mkdir, rename, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import type { Sandbox } from "../../../ports/sandbox.ts";
import { sizeOfTree } from "../../../trees/size.ts";
import { baseEnvironment, type BaseImage } from "./base-image.ts";
import { cancelled } from "./build-program.ts";
import { copyInto } from "./copy.ts";
import { wrong, written } from "./dockerfile.ts";
import { gatherHostSettings } from "./host-settings.ts";
import { Instructions } from "./instructions.ts";
import { nothingIgnored } from "./patterns.ts";
import { type PlannedStage, readPlan } from "./plan.ts";
import { placeSecrets } from "./secrets.ts";
import { placeShims } from "./shims.ts";
import { BuildStage } from "./stage.ts";
import { isHostTrouble, isMissing } from "./stage-tree.ts";
import type { Toolchain } from "./toolchain.ts";

export { buildKey } from "./build-key.ts";
export type { BaseImage } from "./base-image.ts";
export type { Toolchain } from "./toolchain.ts";

export interface ImageBuildRequest {
  /** Folder of the build context: Dockerfile and what it copies. */
  readonly context: string;
  readonly buildArguments: Readonly<Record<string, string>>;
  /** For `RUN --mount=type=secret`, by id; none where absent. */
  readonly secrets?: ReadonlyMap<string, Uint8Array>;
  /** An empty folder of this build's own, for its stages; programs' users must be able to pass through it. */
  readonly workDirectory: string;
  /** Shared package caches. */
  readonly cacheDirectory: string;
  readonly sandbox: Sandbox;
  /** Programs of a base image as this host has them. */
  readonly toolchain: (base: BaseImage) => Promise<Toolchain>;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly onLog: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface BuiltImage {
  /** Folder with the final stage's files by their path inside: `home/app/…`, `app/…`. */
  readonly tree: string;
  /**
   * ENV of the final stage, inherited ones included. PATH is there only where it names more than the system's folders; see
   * `searchPath` for where a toolchain's belong in it.
   */
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** ENTRYPOINT and CMD. */
  readonly command: readonly string[];
  /** Which watchdog image the stage got its fwatchdog from. */
  readonly watchdog: "classic" | "of" | undefined;
  readonly base: BaseImage;
}

/** Rejects with `build_failed` (line of the Dockerfile, what went wrong, last lines), `build_timeout`, `cancelled`. */
export async function buildImage(request: ImageBuildRequest): Promise<BuiltImage> {
  const { workDirectory, onLog, signal, timeoutMs, maxBytes, sandbox } = request;
  const deadline = performance.now() + timeoutMs;
  const plan = await readPlan(request.context, request.buildArguments);
  const around = {
    limits: { sandbox, deadline, timeoutMs, maxBytes, onLog, signal },
    shims: await placeShims(workDirectory),
    settings: await gatherHostSettings(workDirectory),
    secrets: await placeSecrets(request.secrets ?? new Map(), workDirectory),
    cacheDirectory: request.cacheDirectory,
  };
  const built = new Map<number, BuildStage>();
  const instructions = new Instructions(request, plan, around, built);
  const count = plan.stages.reduce((sum, { stage }) => sum + stage.instructions.length + 1, 0);
  let step = 0;
  for (const planned of plan.stages) {
    const { from, index } = planned.stage;
    onLog(`Step ${++step}/${count} : ${written(from)}`);
    const stage = await begin(request, planned, built);
    built.set(index, stage);
    for (const instruction of planned.stage.instructions) {
      if (signal.aborted) throw cancelled();
      onLog(`Step ${++step}/${count} : ${written(instruction)}`);
      await instructions.follow(stage, instruction, index).catch((error: unknown) => {
        if (error instanceof VirgaError || isHostTrouble(error)) throw error;
        throw wrong(instruction.line, `${written(instruction)}: ${(error as Error).message}`);
      });
      if (instructions.copiedBytes > maxBytes * copiesMost)
        throw wrong(instruction.line, `the Dockerfile copies more than ${maxBytes * copiesMost} bytes`, "Copy less.");
    }
  }
  if (signal.aborted) throw cancelled();
  instructions.sayUnused();
  return finish(built.get(plan.stages.at(-1)!.stage.index)!, request);
}

async function begin(
  { workDirectory, toolchain, onLog }: ImageBuildRequest,
  { stage, parent, base }: PlannedStage,
  built: ReadonlyMap<number, BuildStage>,
): Promise<BuildStage> {
  const root = join(workDirectory, `stage-${stage.index}`);
  const make = async (): Promise<void> => {
    await mkdir(root);
    await chmod(root, 0o755);
  };
  if (parent === undefined) {
    if (!base.known) onLog(`${base.image} is not known here: its programs are those of the host`);
    await make();
    const fresh = new BuildStage(root, base, base.watchdog === undefined ? [await toolchain(base)] : []);
    await fresh.furnish();
    return fresh;
  }
  const from = built.get(parent.stage.index)!;
  const next = new BuildStage(root, base, []);
  next.inherit(from);
  if (parent.uses === 1) {
    // Nobody else will look at it.
    await rename(from.tree.root, root);
    return next;
  }
  await make();
  const all = { tree: from.tree, ignored: nothingIgnored, name: "the stage", confined: false };
  await copyInto({
    from: all,
    into: next.tree,
    sources: ["/"],
    destination: "/",
    workingDirectory: "/",
    mode: undefined,
  });
  await next.furnish();
  return next;
}

async function finish(stage: BuildStage, { maxBytes }: ImageBuildRequest): Promise<BuiltImage> {
  const { tree, base, entrypoint, command } = stage;
  await rm(tree.hostPath("/tmp"), { recursive: true, force: true });
  const link = await tree.stats("/root/.local");
  if (link?.isSymbolicLink() === true) await rm(tree.hostPath("/root/.local"));
  await rmdir(tree.hostPath("/root")).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && !isMissing(error)) throw error;
  });
  if ((await sizeOfTree(tree.root, maxBytes)).bytes > maxBytes)
    throw new VirgaError("build_failed", `the image is larger than ${Math.floor(maxBytes / 2 ** 20)} MiB`, {
      fix: "Copy and install less, or keep large files outside of the function.",
    });
  const environment = await environmentOf(stage);
  const byMode = environment["mode"] === undefined ? "classic" : "of";
  return {
    tree: tree.root,
    environment,
    workingDirectory: stage.workingDirectory,
    command: [...(entrypoint ?? []), ...(command ?? [])],
    watchdog: stage.watchdog === "unnamed" ? byMode : stage.watchdog,
    base,
  };
}

/** What an image has by itself says nothing where the folder it names was not made. */
async function environmentOf({ base, environment, tree }: BuildStage): Promise<Record<string, string>> {
  const own = baseEnvironment(base);
  const kept: Record<string, string> = {};
  for (const [name, value] of environment) {
    const folders = value.split(":").filter((folder) => folder.startsWith("/"));
    const isThere = async (): Promise<boolean> => {
      for (const folder of folders) if ((await tree.stats(folder))?.isDirectory() === true) return true;
      return false;
    };
    if (own[name] !== value || folders.length === 0 || (await isThere())) kept[name] = value;
  }
  return kept;
}

/** Times the size that an image may have. */
const copiesMost = 8;
