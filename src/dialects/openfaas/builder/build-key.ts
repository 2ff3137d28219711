import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import type { ImageBuildRequest } from "./image-build.ts";
import { readPlan } from "./plan.ts";
import type { IgnoreRules } from "./patterns.ts";

/** The same for two builds that would make the same of it: context, build arguments, and the programs that build. */
export async function buildKey(
  request: Pick<ImageBuildRequest, "context" | "buildArguments" | "toolchain">,
): Promise<string> {
  const plan = await readPlan(request.context, request.buildArguments);
  const hash = createHash("sha256");
  const say = (...parts: readonly string[]): void => {
    for (const part of parts) hash.update(`${Buffer.byteLength(part)}:${part}`);
  };
  say(format, process.arch);
  for (const name of Object.keys(request.buildArguments).sort()) say("argument", name, request.buildArguments[name]!);
  for (const { base, parent } of plan.stages) {
    if (parent !== undefined || base.watchdog !== undefined) continue;
    const { path, mounts, environment } = await request.toolchain(base);
    say("base", base.image, ...path);
    for (const { source, target } of mounts) say("mount", source, target);
    for (const name of Object.keys(environment).sort()) say("variable", name, environment[name]!);
  }
  await addFolder(hash, say, request.context, "", plan.ignored);
  return hash.digest("hex");
}

async function addFolder(
  hash: Hash,
  say: (...parts: readonly string[]) => void,
  context: string,
  folder: string,
  ignored: IgnoreRules,
): Promise<void> {
  for (const name of (await readdir(join(context, folder))).sort()) {
    const path = folder === "" ? name : `${folder}/${name}`;
    const stats = await lstat(join(context, path));
    const isIgnored = ignored.ignores(path) && path !== "Dockerfile";
    if (stats.isDirectory()) {
      if (isIgnored && !ignored.hasExceptions) continue;
      say("folder", path);
      await addFolder(hash, say, context, path, ignored);
    } else if (isIgnored) continue;
    else if (stats.isSymbolicLink()) say("link", path, await readlink(join(context, path)));
    else if (stats.isFile()) {
      say("file", path, (stats.mode & 0o111) === 0 ? "" : "x", String(stats.size));
      for await (const chunk of createReadStream(join(context, path)) as AsyncIterable<Uint8Array>) hash.update(chunk);
    }
  }
}

/** Of what is made from the same; another number builds all anew. */
const format = "1";
