import type { CpuSettings } from "../model.ts";
import { heldBack, type RecentMaximum } from "./recent-maximum.ts";
import { figure, instances, seconds, type Standing, type Verdict } from "./verdict.ts";

/**
 * Kubernetes' rule for a utilisation (HorizontalPodAutoscaler, "Algorithm details"):
 * `ceil(ready × utilisation ÷ target)`, and no change within a tenth of the target.
 * `cores`: processors in use by all instances, averaged; `share`: what one instance may use (`limits.cpus`).
 */
export function decideCpu(
  { targetPercent, downWindowMs, windowMs }: CpuSettings,
  recommended: RecentMaximum,
  { cores, share }: { readonly cores: number; readonly share: number },
  { ready, running, waiting }: Standing,
  now: number,
): { readonly recommended: RecentMaximum; readonly verdict: Verdict } {
  const percent = ready === 0 ? 0 : (100 * cores) / (ready * share);
  const sight = `${figure(percent)} % of ${share} CPU over ${seconds(windowMs)}, ${targetPercent} % aimed at`;
  const ratio = percent / targetPercent;
  // Not `ready * ratio`: the division by `ready` and back may leave a bit more than there was.
  let raw = Math.ceil((100 * cores) / (share * targetPercent));
  const reasons: string[] = [];
  if (ready > 0 && Math.abs(ratio - 1) <= tolerance) {
    raw = ready;
    reasons.push(`${sight}: near enough, ${ready} stay`);
  } else reasons.push(`${sight}: ${instances(raw)}`);
  // A call that only waits for others uses no processor, and needs its instance all the same.
  if (raw === 0 && running + waiting > 0) {
    raw = 1;
    reasons.push("calls are there: 1 at least");
  }
  const held = heldBack(recommended, now, raw, downWindowMs);
  if (held.value > raw) reasons.push(`${held.value} were wanted within ${seconds(downWindowMs)}`);
  return { recommended: held.recent, verdict: { desired: held.value, reasons } };
}

const tolerance = 0.1;
