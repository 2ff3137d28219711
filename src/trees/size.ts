import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

export interface TreeSize {
  /** Of its files; what has several names counts with each. */
  readonly bytes: number;
  /** Files, folders and links. */
  readonly entries: number;
}

/**
 * Of all that is below a folder; links are not followed. What goes away meanwhile counts nothing. Once there are more than `maxBytes`
 * it stops, with what it has counted so far. Rejects where the folder itself is not there.
 */
export async function sizeOfTree(root: string, maxBytes = Infinity): Promise<TreeSize> {
  const folders = [root];
  let bytes = 0;
  let count = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const listing = readdir(folder, { withFileTypes: true });
    const entries = folder === root ? await listing : ((await present(listing)) ?? []);
    count += entries.length;
    for (let at = 0; at < entries.length; at += atOnce) {
      const sizes = entries.slice(at, at + atOnce).map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        if (entry.isDirectory()) folders.push(path);
        return entry.isFile() ? ((await present(lstat(path)))?.size ?? 0) : 0;
      });
      for (const size of await Promise.all(sizes)) bytes += size;
      if (bytes > maxBytes) return { bytes, entries: count };
    }
  }
  return { bytes, entries: count };
}

/** Undefined for what has gone, or became something else. */
async function present<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

const atOnce = 64;
