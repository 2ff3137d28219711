import { chmod, lchown, lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import { writeTar } from "../../../trees/tar.ts";

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

/** The one tar archive of a tree: sorted, so its SHA-256 names the tree. */
export function packTree(root: string, entries: readonly TreeEntry[]): AsyncGenerator<Uint8Array> {
  return writeTar(entries.map((entry) => ({ ...entry, source: join(root, entry.path) })));
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
