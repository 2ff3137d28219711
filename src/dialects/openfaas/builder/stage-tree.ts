/** The files of a stage: a folder of the host that stands for the image's root. */
import type { Stats } from "node:fs";
import { chmod, lchown, lstat, mkdir, readlink } from "node:fs/promises";
import { join, posix } from "node:path";

/** Those of this host stand in their place, read-only; a stage has none of its own. `/tmp` is a stage's until it is built. */
const systemFolders = new Set("usr bin sbin lib lib32 lib64 libx32 etc proc dev sys run var boot virga".split(" "));

export class StageTree {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** `path` is absolute, as seen inside; what is not kept has no place. */
  static isSystem(path: string): boolean {
    return systemFolders.has(path.split("/")[1] ?? "");
  }

  static readonly kept =
    "Only files in other folders than the system's are kept, such as /home/app, /app, /opt, /srv, /root";

  /**
   * The path with every link on the way followed, as a program inside would: an absolute link begins at the stage's root again,
   * never at the host's. `last`: whether the last name is followed, too. Throws for links in a circle.
   */
  async resolve(path: string, last = true): Promise<string> {
    let pending = path.split("/").filter((name) => name !== "" && name !== ".");
    let reached = "/";
    let links = 0;
    while (pending.length > 0) {
      const name = pending.shift()!;
      if (name === "..") {
        reached = posix.dirname(reached);
        continue;
      }
      const next = posix.join(reached, name);
      const stats = await this.stats(next);
      if (stats?.isSymbolicLink() !== true || (!last && pending.length === 0)) {
        reached = next;
        continue;
      }
      if (++links > 40) throw new Error(`${path} leads in a circle`);
      const target = await readlink(this.hostPath(next));
      if (target.startsWith("/")) reached = "/";
      pending = [...target.split("/").filter((part) => part !== "" && part !== "."), ...pending];
    }
    return reached;
  }

  /** Where a resolved path lies on the host. */
  hostPath(resolved: string): string {
    return join(this.root, resolved);
  }

  /** Of the path itself, links not followed; undefined where nothing is. */
  async stats(resolved: string): Promise<Stats | undefined> {
    try {
      return await lstat(this.hostPath(resolved));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** A folder and those above it, links followed; gives its resolved path. Throws an Error for a file in the way, and for the system's folders. */
  async makeFolder(path: string): Promise<string> {
    let reached = "/";
    for (const name of posix.normalize(path).split("/")) {
      if (name === "") continue;
      reached = await this.resolve(posix.join(reached, name));
      if (StageTree.isSystem(reached)) throw new Error(`${path} is a folder of the system. ${StageTree.kept}`);
      // A link may lead to what is not there yet.
      for (const folder of above(reached)) await this.#ensure(folder, path);
    }
    return reached;
  }

  /** What the platform puts there is the programs' of the build, as is all around it. */
  async adopt(resolved: string): Promise<void> {
    if (process.getuid?.() !== 0) return;
    const { uid, gid } = await lstat(this.hostPath(`/${resolved.split("/")[1] ?? ""}`));
    if (uid !== 0) await lchown(this.hostPath(resolved), uid, gid);
  }

  async #ensure(folder: string, wanted: string): Promise<void> {
    const stats = await this.stats(folder);
    if (stats?.isDirectory() === true) return;
    if (stats !== undefined) throw new Error(`${wanted} goes through ${folder}, which is no folder`);
    await mkdir(this.hostPath(folder));
    await chmod(this.hostPath(folder), folder === "/tmp" ? 0o1777 : 0o755);
    await this.adopt(folder);
  }
}

/** Of this host, not of what is built. */
export function isHostTrouble(error: unknown): boolean {
  return troubles.has((error as NodeJS.ErrnoException).code ?? "");
}

/** Nothing there, or a file where a folder would have to be. */
export function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

function above(path: string): string[] {
  const names = path.split("/").slice(1);
  return path === "/" ? [] : names.map((_, index) => `/${names.slice(0, index + 1).join("/")}`);
}

const troubles = new Set(["ENOSPC", "EDQUOT", "EIO", "EACCES", "EROFS", "EMFILE", "ENFILE"]);
