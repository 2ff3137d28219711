import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A disk of its own that is soon full: a tmpfs, which only root can mount. */
export class SmallDisk {
  readonly path: string;

  constructor(bytes: number) {
    this.path = mkdtempSync(join(tmpdir(), "virga-small-disk-"));
    const { status, stderr } = mount("-t", "tmpfs", "-o", `size=${bytes}`, "virga-test", this.path);
    if (status !== 0) {
      rmSync(this.path, { recursive: true });
      throw new Error(stderr);
    }
  }

  folder(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path);
    return path;
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  /** Takes all room but so many bytes. */
  fill(but = 0): void {
    appendFileSync(join(this.path, "ballast"), new Uint8Array(Math.max(0, this.freeBytes - but)));
  }

  free(): void {
    rmSync(join(this.path, "ballast"), { force: true });
  }

  files(folder: string): string[] {
    return readdirSync(join(this.path, folder), { recursive: true, encoding: "utf8" }).toSorted();
  }

  remove(): void {
    // Lazily: a test that failed may have files open.
    spawnSync("umount", ["--lazy", this.path]);
    rmSync(this.path, { recursive: true });
  }
}

/** For the `skip` option: false where this user can mount, else the reason. */
export function cannotMount(): string | false {
  try {
    new SmallDisk(65_536).remove();
    return false;
  } catch (error) {
    return `a full disk is played with a tmpfs, which this user cannot mount: ${(error as Error).message.trim()}`;
  }
}

function mount(...parameters: string[]): { status: number | null; stderr: string } {
  const { status, stderr, error } = spawnSync("mount", parameters, { encoding: "utf8" });
  return { status, stderr: error?.message ?? stderr };
}
