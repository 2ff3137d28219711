/** Trees as tar archives, and tar archives from outside as trees. */
import { createReadStream } from "node:fs";
import type { Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { join, posix } from "node:path";
import { createGunzip } from "node:zlib";
import { createTarDecoder, createTarPacker } from "modern-tar";
import { VirgaError } from "../../../core/errors.ts";
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
  const { readable, controller } = createTarPacker();
  const written = writeEntries();
  written.catch((error: unknown) => controller.error(error));
  yield* readable;
  await written;

  async function writeEntries(): Promise<void> {
    const mtime = new Date(0);
    for await (const entry of entriesOf(new StageTree(tree), "/")) {
      const name = posix.join(prefix, entry.path.slice(1));
      if (entry.kind === "folder")
        await controller.add({ name: `${name}/`, size: 0, mode: 0o755, mtime, type: "directory" }).close();
      else if (entry.kind === "link")
        await controller.add({ name, size: 0, mode: 0o777, mtime, type: "symlink", linkname: entry.target }).close();
      else if (entry.kind === "file") await writeFile(name, entry.source, mtime);
      else onLeftOut(entry.path);
    }
    controller.finalize();
  }

  async function writeFile(name: string, source: string, mtime: Date): Promise<void> {
    const { size, mode } = await stat(source);
    const body = controller
      .add({ name, size, mode: (mode & 0o111) === 0 ? 0o644 : 0o755, mtime, type: "file" })
      .getWriter();
    if (size > 0)
      for await (const chunk of createReadStream(source, { highWaterMark: 256 * 1024 }) as AsyncIterable<Uint8Array>)
        await body.write(chunk);
    await body.close();
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
  // Heads and padding are bounded, too.
  const most = limits.maxBytes + limits.maxFiles * headBytes;
  let read = 0;
  const bounded = (async function* () {
    for await (const chunk of content as AsyncIterable<Uint8Array>) {
      read += chunk.byteLength;
      if (read > most) throw writer.tooLarge();
      yield chunk;
    }
  })();
  const decoder = createTarDecoder({ strict: true });
  const fed = ReadableStream.from(bounded).pipeTo(decoder.writable);
  fed.catch(() => undefined);
  try {
    for await (const { header, body } of decoder.readable) {
      const { name, type = "file", mode = 0o644, linkname = "" } = header;
      if (type === "file") {
        await writer.file(name, mode, body);
        continue;
      }
      await body.cancel();
      if (type === "directory") await writer.folder(name);
      else if (type === "symlink") await writer.symbolicLink(name, linkname);
      else if (type === "link") await writer.hardLink(name, linkname);
      else if (type !== "pax-global-header") throw writer.refusal(name, `is a ${type}`);
    }
    await fed;
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

type TreeEntry =
  | { readonly kind: "folder" | "none"; readonly path: string }
  | { readonly kind: "file"; readonly path: string; readonly source: string }
  | { readonly kind: "link"; readonly path: string; readonly target: string };

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
    } else if (stats.isFile()) yield { kind: "file", path, source: tree.hostPath(path) };
    else if (stats.isSymbolicLink()) yield await linkEntry(tree, path);
  }
}

async function linkEntry(tree: StageTree, path: string): Promise<TreeEntry> {
  const resolved = await tree.resolve(path).catch(() => undefined);
  if (resolved === undefined) return { kind: "none", path };
  if (StageTree.isSystem(resolved)) {
    const program = await systemFile(resolved);
    return program === undefined ? { kind: "none", path } : { kind: "file", path, source: program };
  }
  if ((await tree.stats(resolved)) === undefined) return { kind: "none", path };
  return { kind: "link", path, target: posix.relative(posix.dirname(path), resolved) || "." };
}

/** A Python environment's `bin/python`, say. What is not for everybody to read is not for the tree. */
async function systemFile(path: string): Promise<string | undefined> {
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
  return isPublic && real.startsWith(join("/usr", "/")) ? real : undefined;
}

const headBytes = 10_240;
const largestProgram = 64 * 2 ** 20;
