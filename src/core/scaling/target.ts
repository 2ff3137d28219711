import type { ScaleDecision } from "./demand.ts";
import { instances } from "./verdict.ts";

/** A fleet whose number of instances a policy has set. */
export interface TargetState {
  /** Instances that there should be, and why. */
  readonly target: number;
  readonly why: string;
  readonly ready: number;
  readonly starting: number;
  /** Failed starts in a row. */
  readonly failures: number;
  readonly waiting: number;
}

/** The starts that are missing. After a failed one, one at a time, as `decideStarts` has it. */
export function decideTowards({ target, why, ready, starting, failures, waiting }: TargetState): ScaleDecision {
  const missing = target - ready - starting;
  if (missing <= 0) {
    const line = waiting === 0 ? "" : `, ${waiting} waiting`;
    return { start: 0, reason: `${instances(target)} wanted and on the way or there${line}: ${why}` };
  }
  if (failures === 0) return { start: missing, reason: why };
  if (starting > 0) return { start: 0, reason: "the last start failed: one at a time until one succeeds" };
  return { start: 1, reason: why };
}

export interface Retirable<T> {
  readonly item: T;
  readonly running: number;
  /** Counts where it runs nothing. */
  readonly idleMs: number;
}

/** Which `count` go: those that run least, and of the idle ones those that have been idle longest. */
export function surplus<T>(candidates: readonly Retirable<T>[], count: number): T[] {
  return candidates
    .toSorted((a, b) => a.running - b.running || b.idleMs - a.idleMs)
    .slice(0, Math.max(0, count))
    .map(({ item }) => item);
}
