import { setTimeout as pause } from "node:timers/promises";

/** What `look` gives once it gives something; fails with the complaint when it takes too long. */
export async function until<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  complaint: string,
  withinMs = 30_000,
): Promise<T> {
  for (const end = Date.now() + withinMs; Date.now() < end; await pause(50)) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
  }
  throw new Error(complaint);
}
