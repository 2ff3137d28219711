import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32, createGunzip } from "node:zlib";
import { open as openZip, type Entry, type ZipFile } from "yauzl";
import { VirgaError } from "../../../core/errors.ts";
import { readTar } from "../../../trees/tar.ts";
import { refuse, shortened, type TreeWriter } from "./tree-writer.ts";

const fileTypeMask = 0o170000;
const symbolicLinkType = 0o120000;
const regularType = 0o100000;
const folderType = 0o040000;
/** A symbolic link's target in a zip is its content. */
const longestLinkTarget = 4096;

/** Writes the archive's entries through `writer`. `aside` is a path for a temporary copy, which zip needs: its table stands at the end. */
export async function unpackArchive(
  content: AsyncIterable<Uint8Array>,
  aside: string,
  writer: TreeWriter,
): Promise<void> {
  const source = content[Symbol.asyncIterator]();
  const first = await source.next();
  const start: Uint8Array = first.done === true ? new Uint8Array() : first.value;
  const whole = (async function* () {
    yield start;
    yield* { [Symbol.asyncIterator]: () => source };
  })();
  try {
    if (start[0] === 0x50 && start[1] === 0x4b) {
      await pipeline(Readable.from(whole), createWriteStream(aside, { flags: "wx", mode: 0o600 }));
      await unpackZip(aside, writer);
    } else if (start[0] === 0x1f && start[1] === 0x8b) {
      const gunzip = createGunzip();
      const fed = pipeline(Readable.from(whole), gunzip);
      // Its failure shows at the reading end too, where it is caught.
      fed.catch(() => {});
      await unpackTar(gunzip, writer);
      await fed;
    } else await unpackTar(whole, writer);
    await writer.finish();
  } catch (error) {
    if (error instanceof VirgaError) throw error;
    const full = storageFull(error, "no room to unpack the archive");
    if (full !== undefined) throw full;
    // Troubles of this machine, not of the archive.
    if (["EIO", "EACCES", "EROFS", "EMFILE", "ENFILE"].includes((error as NodeJS.ErrnoException).code ?? ""))
      throw error;
    throw new VirgaError("invalid_archive", `the archive cannot be read: ${shortened((error as Error).message)}`, {
      field: "source",
      cause: error,
      fix: "Send a whole tar, tar.gz or zip archive.",
    });
  } finally {
    // Whoever stopped reading in the middle: the blob's file is not left open.
    await source.return?.();
  }
}

export function storageFull(thrown: unknown, what: string): VirgaError | undefined {
  const { code, message } = thrown as NodeJS.ErrnoException;
  if (code !== "ENOSPC" && code !== "EDQUOT") return undefined;
  return new VirgaError("storage_full", `${what}: ${message}`, {
    cause: thrown,
    fix: "Make room on the disk of the data folder.",
  });
}

async function unpackTar(content: AsyncIterable<Uint8Array>, writer: TreeWriter): Promise<void> {
  let read = 0;
  const counted = (async function* () {
    for await (const chunk of content) {
      read += chunk.byteLength;
      yield chunk;
    }
    if (read < 1024)
      throw new VirgaError("invalid_archive", "the archive is empty or no tar, tar.gz or zip archive", {
        field: "source",
        fix: "Send a whole archive.",
      });
  })();
  await readTar(counted, writer);
}

async function unpackZip(path: string, writer: TreeWriter): Promise<void> {
  const zip = await new Promise<ZipFile>((opened, failed) =>
    openZip(
      path,
      { lazyEntries: true, autoClose: false, strictFileNames: true, validateEntrySizes: true },
      (error, file) => (error ? failed(error) : opened(file)),
    ),
  );
  try {
    for (let entry = await nextEntry(zip); entry !== undefined; entry = await nextEntry(zip)) {
      // The upper half holds the Unix mode where the archive was made on one.
      const mode = entry.externalFileAttributes >>> 16;
      const type = mode & fileTypeMask;
      if (entry.fileName.endsWith("/")) await writer.folder(entry.fileName);
      else if (type === symbolicLinkType) await writer.symbolicLink(entry.fileName, await textOf(zip, entry));
      else if (type === 0 || type === regularType) await writer.file(entry.fileName, mode, contentOf(zip, entry));
      else if (type !== folderType) throw refuse(entry.fileName, "is neither file, folder nor link");
    }
  } finally {
    zip.close();
  }
}

function nextEntry(zip: ZipFile): Promise<Entry | undefined> {
  return new Promise((found, failed) => {
    const done = (settle: () => void): void => {
      zip.removeAllListeners("entry").removeAllListeners("end").removeAllListeners("error");
      settle();
    };
    zip.once("entry", (entry: Entry) => done(() => found(entry)));
    zip.once("end", () => done(() => found(undefined)));
    zip.once("error", (error: Error) => done(() => failed(error)));
    zip.readEntry();
  });
}

/** Opened when it is first read: an entry that is refused leaves nothing open. */
async function* contentOf(zip: ZipFile, entry: Entry): AsyncGenerator<Uint8Array> {
  const stream = await new Promise<Readable>((opened, failed) =>
    zip.openReadStream(entry, (error, stream) => (error ? failed(error) : opened(stream))),
  );
  let checksum = 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    checksum = crc32(chunk, checksum);
    yield chunk;
  }
  if (checksum !== entry.crc32)
    throw refuse(entry.fileName, "is damaged: its checksum is not the one the archive gives");
}

async function textOf(zip: ZipFile, entry: Entry): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of contentOf(zip, entry)) {
    size += chunk.byteLength;
    if (size > longestLinkTarget) throw refuse(entry.fileName, `is a link over ${longestLinkTarget} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
