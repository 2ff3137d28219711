import { lchown, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "../../ports/sandbox.ts";
import type { HostUsers } from "./host-users.ts";

/**
 * The host user for a program with these mounts; undefined where the server cannot give one. What the program may write
 * becomes that user's; a folder that has such an owner already keeps it, so that builds share their cache.
 */
export async function givenUser(users: HostUsers | undefined, mounts: readonly Mount[]): Promise<number | undefined> {
  if (users === undefined) return undefined;
  const writable = mounts.filter((mount) => mount.writable).map(({ source }) => source);
  if (writable.length === 0) return users.take();
  const owners = await Promise.all(writable.map(async (folder) => (await stat(folder)).uid));
  const known = owners.find((uid) => users.isOwner(uid));
  const user = known ?? users.takeOwner();
  if (known !== undefined) users.share(known);
  try {
    for (const [index, folder] of writable.entries()) if (owners[index] !== user) await give(folder, user);
    return user;
  } catch (error) {
    users.giveBack(user);
    throw error;
  }
}

/** Only where no program may write yet: one that runs could put a link in the way of the walk. */
async function give(path: string, user: number): Promise<void> {
  await lchown(path, user, user);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) await give(below, user);
    else await lchown(below, user, user);
  }
}
