import { createReadStream } from "node:fs";
import { chmod, lchown, lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { createTarPacker } from "modern-tar";
import { VirgaError } from "../../../core/errors.ts";

export interface TreeEntry {
  /** Relative, `/` between segments. */
  readonly path: string;
  readonly kind: "file" | "folder" | "link";
  readonly executable: boolean;
  readonly size: number;
  readonly target: string;
}

/** Everything below a folder, sorted by path, links not followed. */
export async function listTree(root: string): Promise<TreeEntry[]> {
  const found: TreeEntry[] = [];
  const walk = async (folder: string): Promise<void> => {
    const names = (await readdir(join(root, folder))).sort();
    for (const name of names) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const stats = await lstat(join(root, path)).catch((error: NodeJS.ErrnoException) => {
        // Bytes that are no UTF-8 were read as this character, and the name leads nowhere.
        if (error.code !== "ENOENT" || !name.includes("\uFFFD")) throw error;
        throw new VirgaError("build_failed", `the name of ${path} is no UTF-8`, {
          fix: "Rename it, or remove it at the end of the build.",
        });
      });
      const kind = stats.isDirectory()
        ? "folder"
        : stats.isSymbolicLink()
          ? "link"
          : stats.isFile()
            ? "file"
            : undefined;
      // Sockets and pipes that a build left behind mean nothing once it is over.
      if (kind === undefined) continue;
      found.push({
        path,
        kind,
        executable: (stats.mode & 0o111) !== 0,
        size: kind === "file" ? stats.size : 0,
        target: kind === "link" ? await readlink(join(root, path)) : "",
      });
      if (kind === "folder") await walk(path);
    }
  };
  await walk("");
  return found;
}

/** The one tar archive of a tree: sorted, no owner, no time. Equal trees give equal bytes, so its SHA-256 names the tree. */
export async function* packTree(root: string, entries: readonly TreeEntry[]): AsyncGenerator<Uint8Array> {
  const { readable, controller } = createTarPacker();
  const written = writeEntries();
  written.catch((error: unknown) => controller.error(error));
  yield* readable;
  await written;

  async function writeEntries(): Promise<void> {
    const mtime = new Date(0);
    for (const { path, kind, executable, size, target } of entries) {
      if (kind === "file") {
        const body = controller
          .add({ name: path, size, mode: executable ? 0o755 : 0o644, mtime, type: "file" })
          .getWriter();
        let sent = 0;
        if (size > 0)
          for await (const chunk of createReadStream(join(root, path), {
            highWaterMark: 256 * 1024,
          }) as AsyncIterable<Uint8Array>) {
            sent += chunk.byteLength;
            await body.write(chunk);
          }
        if (sent !== size)
          throw new VirgaError("conflict", `${path} changed while it was packed`, { fix: "Deploy it again." });
        await body.close();
      } else if (kind === "folder")
        await controller.add({ name: `${path}/`, size: 0, mode: 0o755, mtime, type: "directory" }).close();
      else await controller.add({ name: path, size: 0, mode: 0o777, mtime, type: "symlink", linkname: target }).close();
    }
    controller.finalize();
  }
}

/** Files 0444 or 0555, folders 0555, all ours: any instance's user may read, nobody may write. The root folder stays writable for its owner. */
export async function makeReadOnly(root: string, entries: readonly TreeEntry[]): Promise<void> {
  const owner = process.getuid?.() === 0;
  // Deepest first: a folder that cannot be written cannot have its entries changed by an ordinary owner.
  for (const { path, kind, executable } of entries.toReversed()) {
    const full = join(root, path);
    if (owner) await lchown(full, 0, 0);
    if (kind !== "link") await chmod(full, kind === "folder" || executable ? 0o555 : 0o444);
  }
  await chmod(root, 0o755);
}
