import {
  chmodSync,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
} from "node:fs";
import { copyFile, link, lstat, mkdir, readdir, readlink, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { VirgaError } from "../../../core/errors.ts";

/**
 * Empty folders for programs' code. They are used again: making and removing a folder keeps the server waiting for the
 * file system's journal, 2 ms at each start on a busy disk.
 */
export class Slots {
  readonly #folder: string;
  readonly #free: string[] = [];
  #made = 0;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder);
    // Programs' users pass through.
    chmodSync(folder, 0o711);
  }

  take(): Slot {
    const known = this.#free.pop();
    if (known !== undefined) return new Slot(known);
    const directory = join(this.#folder, String(this.#made++));
    mkdirSync(directory, { mode: 0o755 });
    return new Slot(directory);
  }

  /** Only once no process that sees it is left. */
  async giveBack(slot: Slot): Promise<void> {
    await slot.clear();
    this.#free.push(slot.directory);
  }
}

/**
 * A folder that a program sees at `/code` from its start, empty until `fill` puts an artifact's content into it.
 * Files become hard links, so that this costs no disk and little time; folders are made, symbolic links made anew.
 */
export class Slot {
  readonly directory: string;
  #filled = false;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** At most once. Rejects with `not_found` and `internal`. */
  async fill(source: string): Promise<void> {
    if (this.#filled)
      throw new VirgaError("internal", "A program can be shown only one folder", { fix: "Start another program" });
    this.#filled = true;
    try {
      // Most functions are a few files: a handful of system calls beats the round trips of the thread pool.
      const remaining = fillAtOnce(source, this.directory, directEntries);
      if (remaining.length === 0) return;
      await fillWidely(remaining);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") {
        throw new VirgaError("not_found", `The folder ${source} to show a program is not there`, { cause: error });
      }
      throw new VirgaError("internal", `Cannot show ${source} to a program: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async clear(): Promise<void> {
    if (!this.#filled) return;
    const names = await readdir(this.directory);
    await Promise.all(names.map((name) => rm(join(this.directory, name), { recursive: true, force: true })));
  }
}

/** Entries handled with direct calls before the thread pool takes over: about a millisecond's worth. */
const directEntries = 64;
/** Twice the default thread pool: it never runs dry while results are on their way. */
const parallelism = 8;

interface Entry {
  readonly from: string;
  readonly to: string;
  readonly kind: "folder" | "file" | "link";
}

/** Does `budget` entries; returns those that are left to do, folders before what is in them. */
function fillAtOnce(source: string, target: string, budget: number): Entry[] {
  const open: Entry[] = list(source, target);
  let done = 0;
  while (open.length > 0 && done < budget) {
    const { from, to, kind } = open.pop()!;
    done += 1;
    if (kind === "folder") {
      mkdirSync(to, { mode: 0o755 });
      open.push(...list(from, to));
    } else if (kind === "link") {
      symlinkSync(readlinkSync(from), to);
    } else {
      try {
        linkSync(from, to);
      } catch (error) {
        if (!mustCopy(error)) throw error;
        copyFileSync(from, to);
      }
    }
  }
  return open;
}

function list(source: string, target: string): Entry[] {
  return readdirSync(source, { withFileTypes: true }).map((entry) => {
    const from = join(source, entry.name);
    return {
      from,
      to: join(target, entry.name),
      kind: kindOf(entry.isFile() || entry.isDirectory() || entry.isSymbolicLink() ? entry : lstatSync(from), from),
    };
  });
}

async function fillWidely(entries: Entry[]): Promise<void> {
  const open = entries;
  // Workers end when nothing is open; one that opens a folder goes on with its content, so no entry is left.
  const worker = async (): Promise<void> => {
    for (let entry = open.pop(); entry !== undefined; entry = open.pop()) {
      const { from, to, kind } = entry;
      if (kind === "folder") {
        await mkdir(to, { mode: 0o755 });
        for (const child of await readdir(from, { withFileTypes: true })) {
          const path = join(from, child.name);
          const known = child.isFile() || child.isDirectory() || child.isSymbolicLink();
          open.push({ from: path, to: join(to, child.name), kind: kindOf(known ? child : await lstat(path), path) });
        }
      } else if (kind === "link") {
        await symlink(await readlink(from), to);
      } else {
        try {
          await link(from, to);
        } catch (error) {
          if (!mustCopy(error)) throw error;
          await copyFile(from, to);
        }
      }
    }
  };
  while (open.length > 0) await Promise.all(Array.from({ length: parallelism }, worker));
}

function kindOf(
  entry: { isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean },
  path: string,
): Entry["kind"] {
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "folder";
  if (entry.isSymbolicLink()) return "link";
  throw new Error(`${path} is neither a file, a folder nor a symbolic link`);
}

/** Another file system, more links than the file system allows, or one that has none. */
function mustCopy(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EXDEV" || code === "EMLINK" || code === "EPERM" || code === "ENOTSUP";
}
