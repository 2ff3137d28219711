import { createWriteStream } from "node:fs";
import { link, mkdir, realpath, rm, symlink } from "node:fs/promises";
import { join, posix, sep } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { VirgaError } from "../../../core/errors.ts";
import type { TarSink } from "../../../trees/tar.ts";

export interface TreeLimits {
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** Writes an archive's entries below a folder, and nowhere else. */
export class TreeWriter implements TarSink {
  readonly limits: TreeLimits;
  readonly #root: string;
  readonly #kinds = new Map<string, "folder" | "file" | "link">([["", "folder"]]);
  readonly #sizes = new Map<string, number>();
  #bytes = 0;
  #entries = 0;

  constructor(root: string, limits: TreeLimits) {
    this.#root = root;
    this.limits = limits;
  }

  async folder(name: string): Promise<void> {
    this.#count();
    await this.#ensureFolder(this.#check(name), name);
  }

  async file(name: string, mode: number, content: AsyncIterable<Uint8Array>): Promise<void> {
    const path = await this.#claim(name, "file");
    const before = this.#bytes;
    const counted = async function* (this: TreeWriter): AsyncGenerator<Uint8Array> {
      for await (const chunk of content) {
        this.#take(chunk.byteLength);
        yield chunk;
      }
    };
    const file = createWriteStream(join(this.#root, path), { flags: "wx", mode: (mode & 0o111) === 0 ? 0o644 : 0o755 });
    await pipeline(Readable.from(counted.call(this)), file);
    this.#sizes.set(path, this.#bytes - before);
  }

  async symbolicLink(name: string, target: string): Promise<void> {
    const path = await this.#claim(name, "link");
    if (
      target === "" ||
      target.includes("\0") ||
      target.startsWith("/") ||
      climbs(posix.join(posix.dirname(path), target))
    )
      throw this.refusal(name, `is a link to ${shortened(target)}, which leads outside`);
    await symlink(target, join(this.#root, path));
  }

  /** A second name of a file that came before. */
  async hardLink(name: string, target: string): Promise<void> {
    const existing = this.#check(target);
    if (this.#kinds.get(existing) !== "file")
      throw this.refusal(name, `is a link to ${shortened(target)}, which is no earlier file of the archive`);
    if (this.#check(name) === existing) throw this.refusal(name, "is a link to itself");
    const path = await this.#claim(name, "file");
    const size = this.#sizes.get(existing) ?? 0;
    this.#take(size);
    this.#sizes.set(path, size);
    await link(join(this.#root, existing), join(this.#root, path));
  }

  /** A link may lead out through another one; one that leads nowhere yet can harm nobody. */
  async finish(): Promise<void> {
    const root = await realpath(this.#root);
    for (const [path, kind] of this.#kinds) {
      if (kind !== "link") continue;
      const target = await realpath(join(root, path)).catch(() => root);
      if (target !== root && !target.startsWith(root + sep)) throw this.refusal(path, "is a link that leads outside");
    }
  }

  refusal(name: string, why: string): VirgaError {
    return new VirgaError("invalid_archive", `the archive's entry ${shortened(name)} ${why}`, {
      fix: "Pack only files, folders, and links among them, with relative names.",
    });
  }

  tooLarge(): VirgaError {
    const { maxBytes, maxFiles } = this.limits;
    return new VirgaError("archive_too_large", `the archive has more than ${maxBytes} bytes or ${maxFiles} files`, {
      fix: "Leave out what the function does not need.",
    });
  }

  /** The path for a file or link of its own; a file that was there by that name goes. */
  async #claim(name: string, kind: "file" | "link"): Promise<string> {
    this.#count();
    const path = this.#check(name);
    const before = this.#kinds.get(path);
    if (before === "folder") throw this.refusal(name, "is a folder, too");
    await this.#ensureFolder(path.includes("/") ? posix.dirname(path) : "", name);
    if (before !== undefined) await rm(join(this.#root, path));
    this.#kinds.set(path, kind);
    return path;
  }

  async #ensureFolder(path: string, name: string): Promise<void> {
    const kind = this.#kinds.get(path);
    if (kind === "folder") return;
    if (kind !== undefined) throw this.refusal(name, `goes through ${shortened(path)}, which is no folder`);
    await this.#ensureFolder(path.includes("/") ? posix.dirname(path) : "", name);
    this.#count();
    await mkdir(join(this.#root, path), { mode: 0o755 });
    this.#kinds.set(path, "folder");
  }

  #check(name: string): string {
    if (name.includes("\0")) throw this.refusal(name, "has a NUL in its name");
    if (name.startsWith("/")) throw this.refusal(name, "is an absolute path");
    const segments = name.split("/").filter((segment) => segment !== "" && segment !== ".");
    if (segments.includes("..")) throw this.refusal(name, "climbs out of the archive");
    if (segments.length > 64 || segments.some((segment) => Buffer.byteLength(segment) > 255))
      throw this.refusal(name, "has a name that is too long");
    return segments.join("/");
  }

  #count(): void {
    if (++this.#entries > this.limits.maxFiles) throw this.tooLarge();
  }

  #take(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.limits.maxBytes) throw this.tooLarge();
  }
}

function climbs(path: string): boolean {
  return path === ".." || path.startsWith("../");
}

function shortened(name: string): string {
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 80)}…${name.slice(-80)}` : name);
}
