import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync } from "node:fs";
import { chmod, lstat, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import { createTurns } from "../../../core/turns.ts";
import type { ArtifactInfo, Artifacts } from "../../../ports/artifacts.ts";
import type { Blobs } from "../../../ports/blobs.ts";
import type { Clock } from "../../../ports/clock.ts";
import { listTree, makeReadOnly, packTree, type TreeEntry } from "./pack.ts";
import { TreeWriter } from "./tree-writer.ts";
import { storageFull, unpackArchive } from "./unpack.ts";

export interface FileArtifactsOptions {
  readonly directory: string;
  readonly blobs: Blobs;
  readonly clock: Clock;
}

/** What stands beside a sealed folder. Written last: without it the folder does not count. */
interface Seal extends ArtifactInfo {
  /** The boot of the machine in which the folder was last seen whole. Unsynced files do not outlive a power failure. */
  readonly boot: string;
  readonly sealedAt: number;
}

const noLimits = { maxBytes: Infinity, maxFiles: Infinity };

/**
 * `sealed/DIGEST/` with `sealed/DIGEST.json`; `work/NAME/` while it is made.
 * The blob of the same digest is the folder's canonical tar, from which it is rebuilt where it is missing.
 */
export async function openFileArtifacts({ directory, blobs, clock }: FileArtifactsOptions): Promise<Artifacts> {
  const sealed = join(directory, "sealed");
  const work = join(directory, "work");
  await removeTree(work);
  for (const folder of [directory, sealed, work]) {
    await mkdir(folder, { recursive: true });
    // Instances' users pass through; they cannot look around.
    chmodSync(folder, 0o711);
  }
  // What a crash left half written.
  for (const name of await readdir(sealed)) if (name.includes(".json.")) await rm(join(sealed, name), { force: true });
  const boot = bootId();
  /** One change at a time to what is sealed under a digest. */
  const turn = createTurns();
  const rebuilding = new Map<string, Promise<string>>();
  /** Digests whose seal this process has seen: a start need not read it again. */
  const whole = new Set<string>();

  const folderOf = (digest: string): string => {
    if (!isDigest(digest)) throw new VirgaError("not_found", `${digest.slice(0, 80)} names no artifact`);
    return join(sealed, digest);
  };
  const readSeal = async (digest: string): Promise<Seal | undefined> => {
    try {
      return JSON.parse(await readFile(`${folderOf(digest)}.json`, "utf8")) as Seal;
    } catch (error) {
      // Torn by a power failure: as good as none.
      if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  };
  const writeSeal = async (seal: Seal): Promise<void> => {
    const file = `${folderOf(seal.digest)}.json`;
    const aside = `${file}.${randomBytes(6).toString("hex")}`;
    try {
      await writeFile(aside, JSON.stringify(seal));
      await rename(aside, file);
    } finally {
      await rm(aside, { force: true });
    }
  };
  const freshFolder = async (): Promise<string> => {
    const folder = join(work, randomBytes(16).toString("hex"));
    await mkdir(folder);
    // A build runs as a user of its own; the folder's name is what keeps others out.
    await chmod(folder, 0o777);
    return folder;
  };
  const digestOf = async (folder: string, entries: readonly TreeEntry[]): Promise<string> =>
    (await blobs.put(packTree(folder, entries))).digest;

  const settle = async (folder: string, digest: string, entries: readonly TreeEntry[]): Promise<Seal> => {
    const sizeBytes = entries.reduce((sum, { size }) => sum + size, 0);
    const seal: Seal = {
      digest,
      sizeBytes,
      fileCount: entries.filter(({ kind }) => kind !== "folder").length,
      boot,
      sealedAt: clock.now(),
    };
    const known = await readSeal(digest);
    if (known !== undefined && known.boot === boot && (await isThere(folderOf(digest)))) {
      await writeSeal({ ...known, sealedAt: clock.now() });
      whole.add(digest);
      await removeTree(folder);
      return known;
    }
    await makeReadOnly(folder, entries);
    await removeTree(folderOf(digest));
    await rename(folder, folderOf(digest));
    await chmod(folderOf(digest), 0o555);
    await writeSeal(seal);
    whole.add(digest);
    return seal;
  };

  const rebuild = async (digest: string): Promise<string> => {
    if (!(await blobs.has(digest)))
      throw new VirgaError("not_found", `there is no artifact ${digest}`, { fix: "Deploy its function again." });
    const folder = await freshFolder();
    try {
      const { content } = await blobs.get(digest);
      // Its own tar, verified by its digest: what links a build made is the build's affair.
      await unpackTrusted(content, folder);
      const entries = await listTree(folder);
      await turn(digest, () => settle(folder, digest, entries));
      return folderOf(digest);
    } finally {
      await removeTree(folder);
    }
  };

  const locate = async (digest: string): Promise<string> => {
    const folder = folderOf(digest);
    if (whole.has(digest) && existsSync(folder)) return folder;
    const seal = await readSeal(digest);
    if (seal?.boot === boot && (await isThere(folder))) {
      whole.add(digest);
      return folder;
    }
    const running =
      rebuilding.get(digest) ??
      rebuild(digest)
        .catch(explainFull)
        .finally(() => rebuilding.delete(digest));
    rebuilding.set(digest, running);
    return await running;
  };

  const unpack: Artifacts["unpack"] = async (source, limits) => {
    const { content } = await blobs.get(source);
    const folder = await freshFolder().catch(explainFull);
    const aside = `${folder}.archive`;
    try {
      await unpackArchive(content, aside, new TreeWriter(folder, limits));
      // The process's umask took the group's and the others' write permission.
      for (const { path, kind, executable } of await listTree(folder))
        if (kind !== "link") await chmod(join(folder, path), kind === "folder" || executable ? 0o777 : 0o666);
      return folder;
    } catch (error) {
      await removeTree(folder);
      throw error;
    } finally {
      await rm(aside, { force: true });
    }
  };

  return {
    unpack,
    async lay(source, directory, limits) {
      const layer = await unpack(source, limits);
      try {
        await layOver(layer, directory).catch(explainFull);
      } finally {
        await removeTree(layer);
      }
    },
    workspace: freshFolder,
    discard: removeTree,
    async seal(folder) {
      const entries = await listTree(folder);
      const digest = await digestOf(folder, entries);
      const { sizeBytes, fileCount } = await turn(digest, async () => {
        // A sweep may have come between.
        if (!(await blobs.has(digest))) await digestOf(folder, entries);
        return await settle(folder, digest, entries);
      }).catch(explainFull);
      return { digest, sizeBytes, fileCount };
    },
    locate,
    async info(digest) {
      // Not in the middle of its removal.
      let seal = isDigest(digest) ? await turn(digest, () => readSeal(digest)) : undefined;
      if (seal === undefined) {
        whole.delete(digest);
        await locate(digest);
        seal = await readSeal(digest);
      }
      if (seal === undefined) throw new VirgaError("not_found", `there is no artifact ${digest}`);
      return { digest: seal.digest, sizeBytes: seal.sizeBytes, fileCount: seal.fileCount };
    },
    async sweep(used, olderThanMs) {
      let removed = 0;
      const digests = new Set((await readdir(sealed)).map((name) => name.slice(0, 64)));
      for (const digest of digests) {
        if (used.has(digest) || !isDigest(digest)) continue;
        await turn(digest, async () => {
          const age = clock.now() - ((await readSeal(digest))?.sealedAt ?? 0);
          // Somebody may have come to rely on it meanwhile.
          if (age < olderThanMs || used.has(digest)) return;
          whole.delete(digest);
          // The seal first: a folder without one does not count.
          await rm(`${folderOf(digest)}.json`, { force: true });
          await removeTree(folderOf(digest));
          await blobs.delete(digest);
          removed++;
        });
      }
      return removed;
    },
  };
}

/** Moves what is in `layer` into `folder`. A link is never followed: what was unpacked before may have put it there. */
async function layOver(layer: string, folder: string): Promise<void> {
  for (const entry of await readdir(layer, { withFileTypes: true })) {
    const from = join(layer, entry.name);
    const to = join(folder, entry.name);
    const there = await lstat(to).catch(() => undefined);
    if (entry.isDirectory() && there?.isDirectory() === true) {
      await layOver(from, to);
      continue;
    }
    if (there !== undefined) await rm(to, { recursive: true, force: true });
    await rename(from, to);
  }
}

function explainFull(thrown: unknown): never {
  throw storageFull(thrown, "no room for the artifact") ?? thrown;
}

async function unpackTrusted(content: AsyncIterable<Uint8Array>, folder: string): Promise<void> {
  await unpackArchive(content, `${folder}.archive`, new TreeWriter(folder, noLimits, true));
}

function isDigest(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

async function isThere(folder: string): Promise<boolean> {
  return await stat(folder).then(
    () => true,
    () => false,
  );
}

/** Removes a tree with folders that even its owner may not write. */
async function removeTree(folder: string): Promise<void> {
  if (process.getuid?.() !== 0 && (await isThere(folder))) {
    await chmod(folder, 0o700);
    for (const { path, kind } of await listTreeOpening(folder))
      if (kind === "folder") await chmod(join(folder, path), 0o700);
  }
  await rm(folder, { recursive: true, force: true });
}

/** As `listTree`, making each folder writable before it is read. */
async function listTreeOpening(folder: string): Promise<{ path: string; kind: "folder" }[]> {
  const found: { path: string; kind: "folder" }[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    await chmod(join(folder, entry.name), 0o700);
    found.push({ path: entry.name, kind: "folder" });
    for (const below of await listTreeOpening(join(folder, entry.name)))
      found.push({ path: `${entry.name}/${below.path}`, kind: "folder" });
  }
  return found;
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    // No Linux: a folder is looked at anew after each start of this process.
    return `process ${process.pid} ${process.hrtime.bigint()}`;
  }
}
