import { createHash, randomBytes } from "node:crypto";
import type { Stats } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, utimes, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import { createTurns } from "../../../core/turns.ts";
import type { Blobs } from "../../../ports/blobs.ts";
import type { Clock } from "../../../ports/clock.ts";

export interface FileBlobsOptions {
  readonly directory: string;
  readonly clock: Clock;
}

/**
 * Contents as files: `ab/cdef…` for the digest `abcdef…`, written aside, synced, and renamed into place.
 * What no longer fits its name is moved to `damaged/`, so that it is not there any more and can be put again.
 */
export async function openFileBlobs({ directory, clock }: FileBlobsOptions): Promise<Blobs> {
  const staging = join(directory, "incoming");
  // What a crash left half written.
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true, mode: 0o700 });

  /** Whoever relies on a content, and whoever removes it, do so one after another. */
  const turn = createTurns();
  const place = (digest: string): string => join(directory, digest.slice(0, 2), digest.slice(2));

  /** `action` on a content's file; undefined where it is not there. What is no digest names nothing, and no path is made of it. */
  const ifThere = async <T>(digest: string, action: (path: string) => Promise<T>): Promise<T | undefined> => {
    if (!isDigest(digest)) return undefined;
    try {
      return await action(place(digest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  };

  return {
    async put(content, { expect, maxBytes = Infinity } = {}) {
      const aside = join(staging, randomBytes(12).toString("hex"));
      try {
        const { digest, size } = await write(aside, content, maxBytes);
        if (expect !== undefined && expect !== digest)
          throw new VirgaError("bad_request", `the content's SHA-256 is ${digest}, not ${expect}`, {
            fix: "Send it again; it changed or broke off on the way.",
          });
        const now = clock.now() / 1000;
        await utimes(aside, now, now);
        const target = place(digest);
        await mkdir(dirname(target), { recursive: true, mode: 0o700 });
        // Over what may be there: equal where that is whole, and better where it is not.
        await turn(digest, () => rename(aside, target));
        await syncDirectory(dirname(target));
        await syncDirectory(directory);
        return { digest, size };
      } catch (error) {
        throw asStorageError(error, directory);
      } finally {
        await rm(aside, { force: true });
      }
    },
    async get(digest) {
      const found = await ifThere(digest, (path) => stat(path));
      if (found === undefined) throw new VirgaError("not_found", `there is no content ${digest.slice(0, 80)}`);
      return { size: found.size, content: verified(directory, place(digest), digest) };
    },
    async has(digest) {
      const now = clock.now() / 1000;
      // Somebody builds on it being here: it counts as new for those who remove what is old and unused.
      return turn(
        digest,
        async () => (await ifThere(digest, (path) => utimes(path, now, now).then(() => true))) ?? false,
      );
    },
    async delete(digest, { unusedSince = Infinity } = {}) {
      const remove = async (path: string): Promise<boolean> => {
        if (unusedSince !== Infinity && storedAt(await stat(path)) >= unusedSince) return false;
        await rm(path);
        return true;
      };
      return turn(digest, async () => (await ifThere(digest, remove)) ?? true);
    },
    async *list() {
      for (const folder of await readdir(directory)) {
        if (!/^[0-9a-f]{2}$/.test(folder)) continue;
        for (const rest of await readdir(join(directory, folder))) {
          const digest = folder + rest;
          // Undefined: deleted since, or not ours.
          const found = await ifThere(digest, (path) => stat(path));
          if (found !== undefined) yield { digest, size: found.size, storedAt: storedAt(found) };
        }
      }
    },
  };
}

function storedAt({ mtimeMs }: Stats): number {
  return Math.round(mtimeMs);
}

function isDigest(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text);
}

async function write(
  path: string,
  content: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ digest: string; size: number }> {
  const hash = createHash("sha256");
  let size = 0;
  const file = await open(path, "wx", 0o600);
  try {
    for await (const chunk of content) {
      size += chunk.byteLength;
      if (size > maxBytes) throw new VirgaError("request_too_large", `the content is over ${maxBytes} bytes`);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { digest: hash.digest("hex"), size };
}

/** Holds one chunk back, so that damaged content never ends as if it were whole. */
async function* verified(directory: string, path: string, digest: string): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  const file = await openToRead(path, digest);
  try {
    let held: Uint8Array | undefined;
    const chunks = file.createReadStream({ autoClose: false, highWaterMark: 256 * 1024 });
    for await (const chunk of chunks as AsyncIterable<Uint8Array>) {
      if (held !== undefined) yield held;
      hash.update(chunk);
      held = chunk;
    }
    if (hash.digest("hex") !== digest) {
      await moveAway(file, path, join(directory, "damaged"), digest);
      throw new VirgaError("storage_corrupt", `${path} did not hold what its name says`, {
        fix: `Deploy its function again. The damaged file is in ${join(directory, "damaged")}.`,
      });
    }
    if (held !== undefined) yield held;
  } finally {
    await file.close();
  }
}

async function openToRead(path: string, digest: string): Promise<FileHandle> {
  try {
    return await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new VirgaError("not_found", `the content ${digest} was deleted meanwhile`);
  }
}

/** Unless a whole one was put in its place while the damaged one was read. */
async function moveAway(file: FileHandle, path: string, damaged: string, digest: string): Promise<void> {
  const read = await file.stat();
  await mkdir(damaged, { recursive: true, mode: 0o700 });
  try {
    if ((await stat(path)).ino === read.ino) await rename(path, join(damaged, digest));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function asStorageError(thrown: unknown, directory: string): unknown {
  const code = (thrown as NodeJS.ErrnoException).code;
  if (code !== "ENOSPC" && code !== "EDQUOT" && code !== "EROFS" && code !== "EIO") return thrown;
  return new VirgaError("storage_full", `${directory} cannot be written: ${(thrown as Error).message}`, {
    cause: thrown,
    fix: "Make room on its disk, and see that it is writable.",
  });
}
