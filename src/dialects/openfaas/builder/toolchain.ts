import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "../../../ports/sandbox.ts";
import { systemPath } from "./base-image.ts";

/** The programs of an image as this host has them. */
export interface Toolchain {
  /** Folders inside, for the front of PATH. */
  readonly path: readonly string[];
  /** Best below `/virga`: a place in a folder of the image would leave a folder there. */
  readonly mounts: readonly Mount[];
  readonly environment: Readonly<Record<string, string>>;
}

/** Several at once; of what two say the later holds. */
export function joined(toolchains: readonly Toolchain[]): Toolchain {
  const mounts = new Map(toolchains.flatMap((one) => one.mounts).map((mount) => [mount.target, mount]));
  return {
    path: [...new Set(toolchains.flatMap(({ path }) => path))],
    mounts: [...mounts.values()],
    environment: Object.assign({}, ...toolchains.map(({ environment }) => environment)) as Record<string, string>,
  };
}

/**
 * The stage's PATH with a toolchain's folders where an image has its programs: in front of the system's own, behind what the
 * Dockerfile has put there (an environment's `bin`).
 */
export function searchPath(path: string, toolchain: Toolchain): string {
  const folders = path.split(":").filter((folder) => folder !== "");
  const system = systemPath.split(":");
  const first = folders.findIndex((folder) => system.includes(folder));
  const at = first < 0 ? folders.length : first;
  return [...folders.slice(0, at), ...toolchain.path, ...folders.slice(at)].join(":");
}

/** Where a program by this name is found inside; undefined where the host has none. */
export async function findProgram(name: string, toolchain: Toolchain): Promise<string | undefined> {
  for (const folder of [...toolchain.path, ...systemPath.split(":")]) {
    try {
      await access(join(hostPath(folder, toolchain.mounts), name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

function hostPath(path: string, mounts: readonly Mount[]): string {
  const mount = mounts
    .filter(({ target }) => path === target || path.startsWith(`${target}/`))
    .toSorted((one, other) => other.target.length - one.target.length)[0];
  return mount === undefined ? path : join(mount.source, path.slice(mount.target.length));
}
