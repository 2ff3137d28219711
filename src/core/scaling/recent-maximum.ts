/** The newest values of a sliding window that could still be its maximum: falling values, rising times. */
export type RecentMaximum = readonly { readonly at: number; readonly value: number }[];

/**
 * Adds a value at step `at` and drops what is `steps` steps old or older; the maximum is that of the first entry.
 * Of two values in one step the larger counts. The rule of Knative's scale-down delay (`pkg/autoscaler/aggregation/max`).
 */
export function withValue(recent: RecentMaximum, at: number, value: number, steps: number): RecentMaximum {
  const kept = recent.filter((entry) => entry.value > value && at - entry.at < steps);
  // A larger one of the same step stands for the step.
  if (kept.at(-1)?.at === at) return kept;
  return [...kept, { at, value }];
}

/** The maximum over a duration in ticks of the scaler; `value` itself where the duration is 0. */
export function heldBack(
  recent: RecentMaximum,
  now: number,
  value: number,
  windowMs: number,
): { readonly recent: RecentMaximum; readonly value: number } {
  if (windowMs === 0) return { recent: [], value };
  const next = withValue(recent, Math.floor(now / tickMs), value, Math.ceil(windowMs / tickMs));
  return { recent: next, value: next[0]!.value };
}

/** Until when the maximum is what it is, while no value is above the newest one; `Infinity` where that is the maximum. */
export function heldUntil(recent: RecentMaximum, windowMs: number): number {
  return recent.length < 2 ? Number.POSITIVE_INFINITY : (recent[0]!.at + Math.ceil(windowMs / tickMs)) * tickMs;
}

/** How often scaling is decided, in milliseconds. Knative's. */
export const tickMs = 2000;
