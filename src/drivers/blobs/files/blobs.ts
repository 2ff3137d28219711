import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import type { Blobs } from "../../../ports/blobs.ts";
import type { Clock } from "../../../ports/clock.ts";

export interface FileBlobsOptions {
  readonly directory: string;
  readonly clock: Clock;
}

/** Contents as files: `ab/cdef…` for the digest `abcdef…`, written aside, synced, and renamed into place. */
export async function openFileBlobs({ directory, clock }: FileBlobsOptions): Promise<Blobs> {
  const staging = join(directory, "incoming");
  // What a crash left half written.
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true, mode: 0o700 });

  const place = (digest: string): string => {
    if (!/^[0-9a-f]{64}$/.test(digest))
      throw new VirgaError("bad_request", `${digest.slice(0, 80)} is no SHA-256 in lower-case hex`, {
        field: "digest",
      });
    return join(directory, digest.slice(0, 2), digest.slice(2));
  };

  const sizeOf = async (digest: string): Promise<number | undefined> => {
    try {
      return (await stat(place(digest))).size;
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
        if ((await sizeOf(digest)) === undefined) {
          const target = place(digest);
          await mkdir(dirname(target), { recursive: true, mode: 0o700 });
          await rename(aside, target);
          await syncDirectory(dirname(target));
          await syncDirectory(directory);
        }
        return { digest, size };
      } catch (error) {
        throw asStorageError(error, directory);
      } finally {
        await rm(aside, { force: true });
      }
    },
    async get(digest) {
      const size = await sizeOf(digest);
      if (size === undefined) throw new VirgaError("not_found", `there is no content ${digest}`);
      return { size, content: verified(place(digest), digest) };
    },
    async has(digest) {
      const size = await sizeOf(digest);
      const now = clock.now() / 1000;
      // Somebody builds on it being here: it counts as new for those who remove what is old and unused.
      if (size !== undefined) await utimes(place(digest), now, now);
      return size !== undefined;
    },
    async delete(digest) {
      await rm(place(digest), { force: true });
    },
    async *list() {
      for (const folder of await readdir(directory)) {
        if (!/^[0-9a-f]{2}$/.test(folder)) continue;
        for (const rest of await readdir(join(directory, folder))) {
          const digest = folder + rest;
          const found = await stat(place(digest)).catch(() => undefined);
          if (found !== undefined) yield { digest, size: found.size, storedAt: found.mtimeMs };
        }
      }
    },
  };
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
async function* verified(path: string, digest: string): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  let held: Uint8Array | undefined;
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Uint8Array>) {
    if (held !== undefined) yield held;
    hash.update(chunk);
    held = chunk;
  }
  if (hash.digest("hex") !== digest)
    throw new VirgaError("storage_corrupt", `${path} does not hold what its name says`, {
      fix: "Deploy its function again.",
    });
  if (held !== undefined) yield held;
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
