import type { QueueSettings } from "../model.ts";
import { heldBack, type RecentMaximum } from "./recent-maximum.ts";
import { instances, seconds, type Standing, type Verdict } from "./verdict.ts";

/**
 * Calls that run or wait, shared out. Those that run count, as in KEDA's queue scalers: without them the last calls of
 * a line would take their own instances away.
 */
export function decideQueue(
  { target, downWindowMs }: QueueSettings,
  recommended: RecentMaximum,
  { running, waiting }: Standing,
  now: number,
): { readonly recommended: RecentMaximum; readonly verdict: Verdict } {
  const raw = Math.ceil((running + waiting) / target);
  const reasons = [`${waiting} waiting and ${running} running, ${target} for each: ${instances(raw)}`];
  const held = heldBack(recommended, now, raw, downWindowMs);
  if (held.value > raw) reasons.push(`${held.value} were wanted within ${seconds(downWindowMs)}`);
  return { recommended: held.recent, verdict: { desired: held.value, reasons } };
}
