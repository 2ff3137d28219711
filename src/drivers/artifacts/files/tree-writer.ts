import { createWriteStream } from "node:fs";
import { link, mkdir, realpath, symlink } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { VirgaError } from "../../../core/errors.ts";

export interface TreeLimits {
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** The longest name of a folder's entry on Linux's file systems. */
const longestSegment = 255;
const longestPath = 4000;

/**
 * Writes an archive's entries below a folder, and nowhere else.
 * Links are checked when all entries are there (`finish`), because what they lead through may come later.
 */
export class TreeWriter {
  readonly #root: string;
  readonly #limits: TreeLimits;
  readonly #files = new Set<string>();
  readonly #folders = new Set<string>([""]);
  readonly #links = new Map<string, string>();
  #bytes = 0;
  #entries = 0;

  constructor(root: string, limits: TreeLimits) {
    this.#root = root;
    this.#limits = limits;
  }

  async folder(name: string): Promise<void> {
    this.#count(name);
    await this.#ensureFolder(this.#check(name), name);
  }

  async file(name: string, mode: number, content: AsyncIterable<Uint8Array>): Promise<void> {
    const path = await this.#claim(name);
    // 0666/0777: the build may run as another user; only the executable bit is the archive's.
    const file = createWriteStream(join(this.#root, path), { flags: "wx", mode: (mode & 0o111) === 0 ? 0o666 : 0o777 });
    await pipeline(Readable.from(this.#measured(content, name)), file);
  }

  async symbolicLink(name: string, target: string): Promise<void> {
    const path = await this.#claim(name);
    if (target === "" || target.startsWith("/") || target.includes("\0"))
      throw refuse(name, `is a link to ${JSON.stringify(target)}, which leads outside`);
    this.#files.delete(path);
    this.#links.set(path, name);
    await symlink(target, join(this.#root, path));
  }

  /** A second name of a file that came before. */
  async hardLink(name: string, target: string): Promise<void> {
    const existing = this.#check(target);
    if (!this.#files.has(existing))
      throw refuse(name, `is a link to ${JSON.stringify(target)}, which is no earlier file of the archive`);
    const path = await this.#claim(name);
    await link(join(this.#root, existing), join(this.#root, path));
  }

  /** Each link must lead to something inside, whatever it leads through. */
  async finish(): Promise<void> {
    const root = await realpath(this.#root);
    for (const [path, name] of this.#links) {
      const target = await realpath(join(this.#root, path)).catch(() => undefined);
      if (target === undefined) throw refuse(name, "is a link that leads nowhere");
      if (target !== root && !target.startsWith(root + sep)) throw refuse(name, "is a link that leads outside");
    }
  }

  async *#measured(content: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
    for await (const chunk of content) {
      this.#bytes += chunk.byteLength;
      if (this.#bytes > this.#limits.maxBytes)
        throw tooLarge(`unpacks to more than ${this.#limits.maxBytes} bytes (at ${name})`);
      yield chunk;
    }
  }

  #count(name: string): void {
    if (++this.#entries > this.#limits.maxFiles)
      throw tooLarge(`has more than ${this.#limits.maxFiles} entries (at ${name})`);
  }

  async #claim(name: string): Promise<string> {
    this.#count(name);
    const path = this.#check(name);
    if (path === "" || this.#folders.has(path) || this.#files.has(path) || this.#links.has(path))
      throw refuse(name, "is there twice");
    const parent = dirname(path);
    await this.#ensureFolder(parent === "." ? "" : parent, name);
    this.#files.add(path);
    return path;
  }

  async #ensureFolder(path: string, name: string): Promise<void> {
    if (this.#folders.has(path)) return;
    if (this.#files.has(path) || this.#links.has(path)) throw refuse(name, `goes through ${path}, which is no folder`);
    const parent = dirname(path);
    await this.#ensureFolder(parent === "." ? "" : parent, name);
    await mkdir(join(this.#root, path), { mode: 0o777 });
    this.#folders.add(path);
  }

  /** The entry's path with neither `.` nor a slash at its ends. */
  #check(name: string): string {
    if (name.includes("\0")) throw refuse(name, "has a NUL in its name");
    if (name.includes("\\")) throw refuse(name, "has a backslash in its name");
    if (name.startsWith("/")) throw refuse(name, "is an absolute path");
    if (Buffer.byteLength(name) > longestPath)
      throw refuse(`${name.slice(0, 80)}…`, `has a name over ${longestPath} bytes`);
    const segments = name.split("/").filter((segment) => segment !== "" && segment !== ".");
    if (segments.includes("..")) throw refuse(name, "climbs out of the archive");
    const long = segments.find((segment) => Buffer.byteLength(segment) > longestSegment);
    if (long !== undefined) throw refuse(`${long.slice(0, 80)}…`, `has a name over ${longestSegment} bytes`);
    return segments.join("/");
  }
}

export function refuse(name: string, why: string): VirgaError {
  return new VirgaError("invalid_archive", `the archive's entry ${JSON.stringify(name)} ${why}`, {
    field: "source",
    fix: "Pack only files, folders, and links among them, with relative names.",
  });
}

export function tooLarge(why: string): VirgaError {
  return new VirgaError("archive_too_large", `the archive ${why}`, {
    field: "source",
    fix: "Leave out what the function does not need, for example with a .virgaignore.",
  });
}
