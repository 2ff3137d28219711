import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";

export interface TreeSize {
  readonly bytes: number;
  /** As unpacking counts them: folders and links, too. */
  readonly files: number;
}

export async function sizeOfTree(directory: string): Promise<TreeSize> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => (await lstat(join(parentPath, name))).size),
  );
  return { bytes: sizes.reduce((sum, size) => sum + size, 0), files: entries.length };
}
