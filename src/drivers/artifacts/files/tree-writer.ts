import { createWriteStream } from "node:fs";
import { link, mkdir, realpath, symlink } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { VirgaError } from "../../../core/errors.ts";
import type { TarSink } from "../../../trees/tar.ts";

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
 * A trusted archive is one of our own making: its links may lead where a build wanted them to, and its names are as they were.
 */
export class TreeWriter implements TarSink {
  readonly limits: TreeLimits;
  readonly refusal = refuse;
  readonly #root: string;
  /** Sizes by path. */
  readonly #files = new Map<string, number>();
  readonly #folders = new Set<string>([""]);
  readonly #links = new Map<string, string>();
  readonly #trusted: boolean;
  #bytes = 0;
  #entries = 0;

  constructor(root: string, limits: TreeLimits, trusted = false) {
    this.#root = root;
    this.limits = limits;
    this.#trusted = trusted;
  }

  async folder(name: string): Promise<void> {
    const path = this.#check(name);
    if (this.#folders.has(path)) this.#count(name);
    await this.#ensureFolder(path, name);
  }

  async file(name: string, mode: number, content: AsyncIterable<Uint8Array>): Promise<void> {
    const path = await this.#claim(name);
    // 0666/0777: the build may run as another user; only the executable bit is the archive's.
    const file = createWriteStream(join(this.#root, path), { flags: "wx", mode: (mode & 0o111) === 0 ? 0o666 : 0o777 });
    const before = this.#bytes;
    await pipeline(Readable.from(this.#measured(content, name)), file);
    this.#files.set(path, this.#bytes - before);
  }

  async symbolicLink(name: string, target: string): Promise<void> {
    const path = await this.#claim(name);
    if (target === "" || target.includes("\0") || (target.startsWith("/") && !this.#trusted))
      throw refuse(name, `is a link to ${JSON.stringify(target)}, which leads outside`);
    this.#links.set(path, name);
    await symlink(target, join(this.#root, path));
  }

  /** A second name of a file that came before. */
  async hardLink(name: string, target: string): Promise<void> {
    const existing = this.#check(target, name);
    const size = this.#files.get(existing);
    if (size === undefined)
      throw refuse(name, `is a link to ${JSON.stringify(target)}, which is no earlier file of the archive`);
    const path = await this.#claim(name);
    // Free on this disk, but once sealed it is a file of its own.
    this.#take(size, name);
    this.#files.set(path, size);
    await link(join(this.#root, existing), join(this.#root, path));
  }

  /** Each link must lead to something inside, whatever it leads through. */
  async finish(): Promise<void> {
    if (this.#trusted) return;
    const root = await realpath(this.#root);
    for (const [path, name] of this.#links) {
      const target = await realpath(join(this.#root, path)).catch(() => undefined);
      if (target === undefined) throw refuse(name, "is a link that leads nowhere");
      if (target !== root && !target.startsWith(root + sep)) throw refuse(name, "is a link that leads outside");
    }
  }

  tooLarge(): VirgaError {
    return tooLarge(`unpacks to more than ${this.limits.maxBytes} bytes`);
  }

  async *#measured(content: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
    for await (const chunk of content) {
      this.#take(chunk.byteLength, name);
      yield chunk;
    }
  }

  #take(bytes: number, name: string): void {
    this.#bytes += bytes;
    if (this.#bytes > this.limits.maxBytes)
      throw tooLarge(`unpacks to more than ${this.limits.maxBytes} bytes (at ${shortened(name)})`);
  }

  #count(name: string): void {
    if (++this.#entries > this.limits.maxFiles)
      throw tooLarge(`has more than ${this.limits.maxFiles} files and folders (at ${shortened(name)})`);
  }

  async #claim(name: string): Promise<string> {
    this.#count(name);
    const path = this.#check(name);
    if (path === "" || this.#folders.has(path) || this.#files.has(path) || this.#links.has(path))
      throw refuse(name, "is there twice");
    const parent = dirname(path);
    await this.#ensureFolder(parent === "." ? "" : parent, name);
    return path;
  }

  async #ensureFolder(path: string, name: string): Promise<void> {
    if (this.#folders.has(path)) return;
    if (this.#files.has(path) || this.#links.has(path)) throw refuse(name, `goes through ${path}, which is no folder`);
    const parent = dirname(path);
    await this.#ensureFolder(parent === "." ? "" : parent, name);
    // Folders that no entry names count, too: one name can ask for thousands.
    this.#count(name);
    await mkdir(join(this.#root, path), { mode: 0o777 });
    this.#folders.add(path);
  }

  /** The entry's path with neither `.` nor a slash at its ends; a hard link's target is checked like a name, and refused by `entry`'s. */
  #check(name: string, entry = name): string {
    const what = entry === name ? "" : `is a link to ${JSON.stringify(shortened(name))}, which `;
    if (name.includes("\0")) throw refuse(entry, `${what}has a NUL in its name`);
    if (name.includes("\\") && !this.#trusted) throw refuse(entry, `${what}has a backslash in its name`);
    if (name.startsWith("/")) throw refuse(entry, `${what}is an absolute path`);
    if (Buffer.byteLength(name) > longestPath) throw refuse(entry, `${what}has a name over ${longestPath} bytes`);
    const segments = name.split("/").filter((segment) => segment !== "" && segment !== ".");
    if (segments.includes("..")) throw refuse(entry, `${what}climbs out of the archive`);
    if (segments.some((segment) => Buffer.byteLength(segment) > longestSegment))
      throw refuse(entry, `${what}has a name over ${longestSegment} bytes`);
    return segments.join("/");
  }
}

export function refuse(name: string, why: string): VirgaError {
  return new VirgaError("invalid_archive", `the archive's entry ${JSON.stringify(shortened(name))} ${why}`, {
    field: "source",
    fix: "Pack only files, folders, and links among them, with relative names.",
  });
}

function tooLarge(why: string): VirgaError {
  return new VirgaError("archive_too_large", `the archive ${why}`, {
    field: "source",
    fix: "Leave out what the function does not need, for example with a .virgaignore.",
  });
}

/** For messages: an archive's names may be of any length. */
export function shortened(name: string): string {
  return name.length > 200 ? `${name.slice(0, 80)}…${name.slice(-80)}` : name;
}
