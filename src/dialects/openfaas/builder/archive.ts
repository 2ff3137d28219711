/** Trees as tar archives, and tar archives from outside as trees. */
import { createReadStream } from "node:fs";
import type { Stats } from "node:fs";
import { lstat, readdir, realpath } from "node:fs/promises";
import { join, posix } from "node:path";
import { createGunzip } from "node:zlib";
import { VirgaError } from "../../../core/errors.ts";
import { readTar, type TarEntry, writeTar } from "../../../trees/tar.ts";
import { isHostTrouble, isMissing, StageTree } from "./stage-tree.ts";
import { type TreeLimits, TreeWriter } from "./tree-writer.ts";

/**
 * A tree as a tar of its own: sorted, no owner, no time, so equal trees give equal bytes. Links stay where they lead to something
 * inside; one to a program of the system becomes that program, others are left out and named to `onLeftOut`.
 * `prefix`: a folder that all of it is put into.
 */
export async function* packTree(
  tree: string,
  prefix = "",
  onLeftOut: (path: string) => void = () => undefined,
): AsyncGenerator<Uint8Array> {
  yield* writeTar(packed());

  async function* packed(): AsyncGenerator<TarEntry> {
    for await (const entry of entriesOf(new StageTree(tree), "/")) {
      if (entry.kind === "none") onLeftOut(entry.path);
      else yield { ...entry, path: posix.join(prefix, entry.path.slice(1)) };
    }
  }
}

/**
 * Writes a tar's files below an empty folder. Refuses (`invalid_archive`, with the entry's name) absolute paths, `..`, links that
 * lead outside, devices, and (`archive_too_large`) more than the limits. A file that comes twice is the later one.
 */
export async function unpackTar(file: string, folder: string, limits: TreeLimits): Promise<void> {
  const writer = new TreeWriter(folder, limits);
  const raw = createReadStream(file);
  const content = /\.t?gz$/.test(file) ? raw.pipe(createGunzip()).once("close", () => raw.destroy()) : raw;
  raw.once("error", (error) => content.destroy(error));
  try {
    await readTar(content as AsyncIterable<Uint8Array>, writer);
    await writer.finish();
  } catch (error) {
    if (error instanceof VirgaError || isHostTrouble(error)) throw error;
    throw new VirgaError("invalid_archive", `the archive cannot be read: ${(error as Error).message}`, {
      cause: error,
      fix: "Send a whole tar archive.",
    });
  } finally {
    raw.destroy();
  }
}

/** `none`: a link to what a tree cannot have. */
type TreeEntry = TarEntry | { readonly kind: "none"; readonly path: string };

async function* entriesOf(tree: StageTree, folder: string): AsyncGenerator<TreeEntry> {
  for (const name of (await readdir(tree.hostPath(folder))).sort()) {
    const path = posix.join(folder, name);
    const stats = await lstat(tree.hostPath(path)).catch((error: NodeJS.ErrnoException) => {
      // Bytes that are no UTF-8 were read as this character, and the name leads nowhere.
      if (error.code !== "ENOENT" || !name.includes("\uFFFD")) throw error;
      throw new VirgaError("build_failed", `the name of ${path} is no UTF-8`, {
        fix: "Rename it, or remove it at the end of the build.",
      });
    });
    if (stats.isDirectory()) {
      yield { kind: "folder", path };
      yield* entriesOf(tree, path);
    } else if (stats.isFile()) yield fileEntry(path, tree.hostPath(path), stats);
    else if (stats.isSymbolicLink()) yield await linkEntry(tree, path);
  }
}

async function linkEntry(tree: StageTree, path: string): Promise<TreeEntry> {
  const resolved = await tree.resolve(path).catch(() => undefined);
  if (resolved === undefined) return { kind: "none", path };
  if (StageTree.isSystem(resolved)) {
    const program = await systemFile(resolved);
    return program === undefined ? { kind: "none", path } : fileEntry(path, program.path, program.stats);
  }
  if ((await tree.stats(resolved)) === undefined) return { kind: "none", path };
  return { kind: "link", path, target: posix.relative(posix.dirname(path), resolved) || "." };
}

/** A Python environment's `bin/python`, say. What is not for everybody to read is not for the tree. */
async function systemFile(path: string): Promise<{ readonly path: string; readonly stats: Stats } | undefined> {
  let stats: Stats;
  let real: string;
  try {
    real = await realpath(path);
    stats = await lstat(real);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const isPublic = stats.isFile() && (stats.mode & 0o004) !== 0 && stats.size < largestProgram;
  return isPublic && real.startsWith(join("/usr", "/")) ? { path: real, stats } : undefined;
}

function fileEntry(path: string, source: string, { size, mode }: Stats): TarEntry {
  return { kind: "file", path, source, size, executable: (mode & 0o111) !== 0 };
}

const largestProgram = 64 * 2 ** 20;
