import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream, type Stats } from "node:fs";
import { lstat, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { packTar, type TarSource } from "modern-tar/fs";
import { VirgaError } from "../core/errors.ts";
import { IgnoreRules } from "./ignore.ts";

/** A source archive, ready for upload. The same files give the same bytes, wherever and whenever they are packed. */
export interface SourceArchive {
  /** SHA-256 (hex) of the archive. */
  readonly digest: string;
  readonly size: number;
  readonly fileCount: number;
  open(): Readable;
  discard(): Promise<void>;
}

export interface SourceFile {
  /** Relative to the folder, with `/`. */
  readonly path: string;
  readonly kind: "file" | "link";
  readonly size: number;
  readonly executable: boolean;
}

/** Up to this size an archive is kept in memory; a larger one goes to a temporary file. */
const memoryBytes = 32 * 2 ** 20;

/** Packs a folder, or a single file, as tar.gz. */
export async function packSource(source: string): Promise<SourceArchive> {
  const files = await listSource(source);
  if (files.length === 0) {
    throw new VirgaError("bad_request", `${source} has no files to deploy`, {
      fix: "check the folder and its .virgaignore",
    });
  }
  const single = (await stat(source)).isDirectory() ? undefined : source;
  const entries = files.map((file) => tarSource(file, single ?? join(source, file.path)));
  const tar = packTar(entries, {
    map: (header) => ({ ...header, mtime: new Date(0), uid: 0, gid: 0, uname: "", gname: "" }),
    concurrency: 4,
  });
  const total = files.reduce((sum, file) => sum + file.size, 0);
  const gzip = createGzip({ level: total > memoryBytes ? 6 : 4 });
  return total > memoryBytes ? toFile(tar, gzip, files.length) : toMemory(tar, gzip, files.length);
}

/** The files that would be packed, in the archive's order. */
export async function listSource(source: string): Promise<SourceFile[]> {
  const root = await statOf(source);
  if (root.isFile()) {
    const path = basename(source);
    return [{ path, kind: "file", size: root.size, executable: (root.mode & 0o111) !== 0 }];
  }
  if (!root.isDirectory()) {
    throw new VirgaError("bad_request", `${source} is neither a folder nor a file`, { field: "source" });
  }
  const files: SourceFile[] = [];
  await walk(source, "", await ignoreRulesOf(source), files);
  return files.sort((left, right) => Buffer.compare(Buffer.from(left.path), Buffer.from(right.path)));
}

export async function ignoreRulesOf(folder: string): Promise<IgnoreRules> {
  try {
    return new IgnoreRules(await readFile(join(folder, ".virgaignore"), "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new IgnoreRules();
    throw error;
  }
}

async function walk(root: string, folder: string, rules: IgnoreRules, files: SourceFile[]): Promise<void> {
  const entries = await readdir(join(root, folder), { withFileTypes: true });
  // Where npm can install them again, on the machine that runs them, the packages stay behind.
  const installable = entries.some(({ name }) => name === "package.json" || name === "package-lock.json");
  for (const entry of entries) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (rules.ignores(path, entry.isDirectory())) continue;
    if (entry.name === "node_modules" && installable) continue;
    if (entry.isDirectory()) await walk(root, path, rules, files);
    else if (entry.isSymbolicLink()) files.push({ path, kind: "link", size: 0, executable: true });
    else if (entry.isFile()) {
      const { size, mode } = await lstat(join(root, path));
      files.push({ path, kind: "file", size, executable: (mode & 0o111) !== 0 });
    }
    // Sockets, pipes and devices are no code.
  }
}

function tarSource(file: SourceFile, onDisk: string): TarSource {
  if (file.kind === "link") return { type: "file", source: onDisk, target: file.path, mode: 0o777 };
  const mode = file.executable ? 0o755 : 0o644;
  if (file.size === 0) return { type: "content", content: "", target: file.path, mode };
  return { type: "stream", content: Readable.from(contentOf(onDisk)), size: file.size, target: file.path, mode };
}

/** Opened when its turn comes, so that a large tree does not hold thousands of files open. */
async function* contentOf(file: string): AsyncGenerator<Buffer> {
  for await (const chunk of createReadStream(file)) yield chunk as Buffer;
}

async function toMemory(tar: Readable, gzip: Transform, fileCount: number): Promise<SourceArchive> {
  const chunks: Buffer[] = [];
  const hash = createHash("sha256");
  await pipeline(tar, gzip, neutralHeader(), async (content: AsyncIterable<Buffer>) => {
    for await (const chunk of content) {
      hash.update(chunk);
      chunks.push(chunk);
    }
  });
  const bytes = Buffer.concat(chunks);
  return {
    digest: hash.digest("hex"),
    size: bytes.length,
    fileCount,
    open: () => Readable.from([bytes]),
    discard: () => Promise.resolve(),
  };
}

async function toFile(tar: Readable, gzip: Transform, fileCount: number): Promise<SourceArchive> {
  const file = join(tmpdir(), `virga-source-${randomBytes(8).toString("hex")}.tar.gz`);
  const discard = (): Promise<void> => rm(file, { force: true });
  const hash = createHash("sha256");
  let size = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  try {
    await pipeline(tar, gzip, neutralHeader(), measure, createWriteStream(file, { flags: "wx", mode: 0o600 }));
  } catch (error) {
    await discard();
    throw error;
  }
  return { digest: hash.digest("hex"), size, fileCount, open: () => createReadStream(file), discard };
}

/** Byte 9 of a gzip file names the operating system (RFC 1952, section 2.3); 255 is "unknown". */
function neutralHeader(): Transform {
  let position = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const at = 9 - position;
      if (at >= 0 && at < chunk.length) chunk[at] = 255;
      position += chunk.length;
      done(null, chunk);
    },
  });
}

async function statOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new VirgaError("bad_request", `${path} does not exist`, { field: "source", cause: error });
  }
}
