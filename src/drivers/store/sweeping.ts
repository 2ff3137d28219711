import type { Clock } from "../../ports/clock.ts";

/** How late an expiry may be told to watchers. */
const sweepMs = 500;

/** Milliseconds to the next sweep. The clock alone says when: every driver sweeps at the same moments, after a restart too. */
export function untilSweep(clock: Clock): number {
  return sweepMs - (clock.now() % sweepMs);
}
