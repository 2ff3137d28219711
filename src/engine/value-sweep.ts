import type { Blobs } from "../ports/blobs.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";

export interface ValueSweepOptions {
  readonly values: Pick<Blobs, "list" | "delete">;
  /** Digests of the values that somebody relies on. */
  readonly named: () => AsyncIterable<string>;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Removes the large results and values of workflows that nothing names any more. Messages of queues name none: they name
 * calls, whose records do. A value is put, or renewed, before what names it is written, so the newest are spared.
 */
export async function sweepValues({ values, named, clock, log }: ValueSweepOptions): Promise<void> {
  const oldest = clock.now() - spareMs;
  const unnamed = new Set<string>();
  for await (const { digest, storedAt } of values.list()) if (storedAt < oldest) unnamed.add(digest);
  if (unnamed.size === 0) return;
  for await (const digest of named()) unnamed.delete(digest);
  let removed = 0;
  for (const digest of unnamed) if (await values.delete(digest, { unusedSince: oldest })) removed++;
  if (removed > 0) log.info("removed values that nothing names", { values: removed });
}

/** Far more than there is between a value and what names it. */
const spareMs = 3_600_000;
