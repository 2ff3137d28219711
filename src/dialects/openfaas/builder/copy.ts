/** COPY and ADD of files: into a stage, from the context or another stage, by Docker's rules. */
import type { Stats } from "node:fs";
import { chmod, constants, copyFile, readdir, readlink, realpath, rm, symlink } from "node:fs/promises";
import { posix, sep } from "node:path";
import { hasWildcard, type IgnoreRules, nothingIgnored, patternOf } from "./patterns.ts";
import { isMissing, StageTree } from "./stage-tree.ts";

export interface CopyOrder {
  readonly from: CopySource;
  readonly into: StageTree;
  /** Variables replaced. */
  readonly sources: readonly string[];
  readonly destination: string;
  readonly workingDirectory: string;
  /** `--chmod`. */
  readonly mode: number | undefined;
  /** ADD: the folder with an archive's files; undefined for what is none. */
  readonly unpack?: (file: string) => Promise<string | undefined>;
}

export interface CopySource {
  readonly tree: StageTree;
  readonly ignored: IgnoreRules;
  /** For messages: `the build context`, `the stage build`. */
  readonly name: string;
  /** A link that leads out of it is refused; else it leads to the same path within, as in a container. */
  readonly confined: boolean;
}

/** Resolves to how many bytes were copied. Throws an Error that says what is wrong. */
export async function copyInto(order: CopyOrder): Promise<number> {
  const { from, into, sources, destination, workingDirectory } = order;
  const wanted = posix.resolve("/", workingDirectory, destination);
  const isFolder = /(^|\/)\.{0,2}$/.test(destination);
  const found = (await Promise.all(sources.map((source) => findSources(from, source)))).flat();
  // As Docker: a pattern may fit nothing.
  if (found.length === 0) return 0;
  const target = await into.resolve(wanted);
  if (StageTree.isSystem(target)) throw new Error(`${wanted} is in a folder of the system. ${StageTree.kept}`);
  const isThere = (await into.stats(target))?.isDirectory() === true;
  if ((sources.length > 1 || (found.length > 1 && !isThere)) && !isFolder)
    throw new Error(`more than one source needs a folder as destination: write ${destination}/`);
  const copy = new Copy(order);
  for (const source of found) {
    const unpacked = source.stats.isFile() ? await order.unpack?.(from.tree.hostPath(source.path)) : undefined;
    if (unpacked !== undefined) {
      const archive = new StageTree(unpacked);
      const files = new Copy({ ...order, from: { ...from, tree: archive, ignored: nothingIgnored } });
      await files.contents("/", target);
      copy.bytes += files.bytes;
    } else if (source.stats.isDirectory()) await copy.contents(source.path, target);
    else if (isFolder || isThere) await copy.file(source, await into.makeFolder(wanted), posix.basename(source.name));
    else await copy.file(source, await into.makeFolder(posix.dirname(wanted)), posix.basename(wanted));
  }
  return copy.bytes;
}

interface Found {
  /** Resolved. */
  readonly path: string;
  readonly stats: Stats;
  /** As it was asked for; a link's own name counts. */
  readonly name: string;
}

class Copy {
  readonly #order: CopyOrder;
  bytes = 0;

  constructor(order: CopyOrder) {
    this.#order = order;
  }

  /** All that is in a folder, into another. */
  async contents(source: string, wanted: string): Promise<void> {
    await this.#folder(source, await this.#order.into.makeFolder(wanted));
  }

  /** A file, or a link as it is, under a name in a folder that is there. */
  async file({ path, stats }: Pick<Found, "path" | "stats">, folder: string, name: string): Promise<void> {
    const { from, into, mode } = this.#order;
    const target = posix.join(folder, name);
    if (StageTree.isSystem(target)) throw new Error(`${target} is a folder of the system. ${StageTree.kept}`);
    const there = await into.stats(target);
    if (there?.isDirectory() === true) throw new Error(`${target} is a folder, and ${path} is none`);
    // Written through, a link could lead anywhere.
    if (there !== undefined) await rm(into.hostPath(target));
    if (stats.isSymbolicLink()) await symlink(await readlink(from.tree.hostPath(path)), into.hostPath(target));
    else if (stats.isFile()) {
      await copyFile(from.tree.hostPath(path), into.hostPath(target), constants.COPYFILE_FICLONE);
      await chmod(into.hostPath(target), mode ?? (stats.mode & 0o777) | 0o644);
      this.bytes += stats.size;
    } else return; // sockets and pipes
    await into.adopt(target);
  }

  async #folder(source: string, folder: string): Promise<void> {
    const { from, into } = this.#order;
    for (const name of (await readdir(from.tree.hostPath(source))).sort()) {
      const path = posix.join(source, name);
      const stats = await from.tree.stats(path);
      if (stats === undefined) continue;
      const isIgnored = from.ignored.ignores(path.slice(1));
      if (!stats.isDirectory()) {
        if (!isIgnored) await this.file({ path, stats }, folder, name);
      } else if (!isIgnored || (from.ignored.hasExceptions && (await this.#holdsWanted(path))))
        await this.#folder(path, await into.makeFolder(posix.join(folder, name)));
    }
  }

  async #holdsWanted(source: string): Promise<boolean> {
    const { from } = this.#order;
    for (const entry of await readdir(from.tree.hostPath(source), { withFileTypes: true })) {
      const path = posix.join(source, entry.name);
      if (!from.ignored.ignores(path.slice(1)) || (entry.isDirectory() && (await this.#holdsWanted(path)))) return true;
    }
    return false;
  }
}

async function findSources(from: CopySource, source: string): Promise<Found[]> {
  if (posix.normalize(`./${source}`).startsWith("..")) throw new Error(`${source} leads outside of ${from.name}`);
  const path = posix.resolve("/", source);
  if (!hasWildcard(path)) return [await findSource(from, path, source)];
  let reached = ["/"];
  for (const name of path.split("/").slice(1)) {
    const matcher = hasWildcard(name) ? patternOf(name) : undefined;
    const next: string[] = [];
    for (const folder of reached) {
      if (matcher === undefined) next.push(posix.join(folder, name));
      else
        for (const entry of await namesIn(from, folder)) if (matcher.test(entry)) next.push(posix.join(folder, entry));
    }
    reached = next;
  }
  const found: Found[] = [];
  for (const one of reached.sort()) {
    const resolved = await resolveSource(from, one);
    const stats = resolved === undefined ? undefined : await from.tree.stats(resolved);
    if (stats !== undefined && !leavesOut(from, one, stats)) found.push({ path: resolved!, stats, name: one });
  }
  return found;
}

async function findSource(from: CopySource, path: string, source: string): Promise<Found> {
  const resolved = await resolveSource(from, path);
  const stats = resolved === undefined ? undefined : await from.tree.stats(resolved);
  if (stats === undefined) throw new Error(`${source} is not in ${from.name}`);
  if (leavesOut(from, path, stats)) throw new Error(`${source} is left out of ${from.name} by .dockerignore`);
  return { path: resolved!, stats, name: path };
}

function leavesOut({ ignored }: CopySource, path: string, stats: Stats): boolean {
  if (path === "/" || (stats.isDirectory() && ignored.hasExceptions)) return false;
  return ignored.ignores(path.slice(1));
}

/** Undefined where nothing is there. */
async function resolveSource({ tree, confined, name }: CopySource, path: string): Promise<string | undefined> {
  if (!confined) return tree.resolve(path);
  try {
    const root = await realpath(tree.root);
    const real = await realpath(tree.hostPath(path));
    if (real !== root && !real.startsWith(root + sep))
      throw new Error(`${path.slice(1)} is a link that leads outside of ${name}`);
    return real.slice(root.length) || "/";
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function namesIn(from: CopySource, folder: string): Promise<string[]> {
  const resolved = await resolveSource(from, folder);
  try {
    return resolved === undefined ? [] : await readdir(from.tree.hostPath(resolved));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
