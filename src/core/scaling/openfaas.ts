import type { OpenFaasSettings } from "../model.ts";
import type { Metrics } from "./metrics.ts";
import { heldBack, type RecentMaximum } from "./recent-maximum.ts";
import { bounded, figure, seconds, type Standing, type Verdict } from "./verdict.ts";

export interface OpenFaasState {
  readonly recommended: RecentMaximum;
  /** What the last tick came to. */
  readonly desired: number;
  /** When a call was last there. */
  readonly usedAt: number;
  /** `step`: since when the rate has been too high, and when the last step was. */
  readonly highSince: number | undefined;
  readonly steppedAt: number | undefined;
  /** Set by hand; a floor until it is set anew, zero until the next call. */
  readonly asked: number | undefined;
}

export interface OpenFaasBounds {
  readonly min: number;
  readonly max: number;
}

export function initialOpenFaasState(ready: number, now: number): OpenFaasState {
  return { recommended: [], desired: ready, usedAt: now, highSince: undefined, steppedAt: undefined, asked: undefined };
}

/** Somebody sets the number by hand, which counts as a use: it does not go to zero for what was before. */
export function askOpenFaas(state: OpenFaasState, now: number, instances: number): OpenFaasState {
  return { ...state, asked: instances, usedAt: now };
}

/**
 * OpenFaaS's autoscaler (docs.openfaas.com, architecture/autoscaling):
 * `desired = ceil(ready × mean load per instance ÷ (target × proportion))`, where `ready` cancels out. The load is
 * - `rps`: calls per second over 30 s;
 * - `capacity`: the most calls in flight at the same time of the last 45 s;
 * - `cpu`: thousandths of a processor.
 *
 * `step` is the older rule of its Community Edition: while more than 5 calls per second have come for 5 s, `factor`
 * percent of the maximum are added at a time; when it is over, everything above the minimum goes at once.
 *
 * To zero goes a function that says so, after `zeroAfterMs` without a call; otherwise one instance stays.
 */
export function decideOpenFaas(
  settings: OpenFaasSettings,
  before: OpenFaasState,
  metrics: Metrics,
  standing: Standing,
  bounds: OpenFaasBounds,
  now: number,
): { readonly state: OpenFaasState; readonly verdict: Verdict } {
  const { zero, zeroAfterMs } = settings;
  const busy = standing.running > 0 || standing.waiting > 0 || metrics.of("requests").latest > 0;
  const usedAt = busy ? now : before.usedAt;
  const idleMs = now - usedAt;
  // What runs finishes where it is; what waits came since.
  const asked = before.asked === 0 && standing.waiting > 0 ? undefined : before.asked;
  const state = { ...before, usedAt, asked };
  if (asked === 0) return settled(state, 0, ["it was set to 0"]);
  if (zero && bounds.min === 0 && idleMs >= zeroAfterMs) {
    return settled(state, 0, [`no call for ${seconds(idleMs)}`], {
      highSince: undefined,
      steppedAt: undefined,
      asked: undefined,
    });
  }
  // Under load it has one at least; before the first call a function that may be at zero stays there.
  const rested = before.desired === 0 && zero && !busy;
  const min = asked ?? (rested ? bounds.min : Math.max(1, bounds.min));
  const max = Math.max(bounds.max, min);
  if (bounds.min === bounds.max) return settled(state, asked ?? max, ["min equals max: it does not scale"]);
  const { type } = settings;
  return type === "step"
    ? step(settings, state, metrics, { min, max }, now)
    : proportional({ ...settings, type }, state, metrics, standing, { min, max }, now);
}

function proportional(
  settings: OpenFaasSettings & { readonly type: Load },
  state: OpenFaasState,
  metrics: Metrics,
  standing: Standing,
  { min, max }: OpenFaasBounds,
  now: number,
): { readonly state: OpenFaasState; readonly verdict: Verdict } {
  const { target, proportion, type, downWindowMs } = settings;
  const load = loadOf(type, metrics);
  const ready = Math.max(1, standing.ready);
  // Not `ready * (load / ready)`: a rounding error would ask for one instance too many.
  const raw = Math.ceil(load / (target * proportion));
  const reasons = [
    `${figure(load)} ${loadNames[type]}, ${figure(load / ready)} in each, against ${target} × ${proportion}: ${raw}`,
  ];
  let desired = bounded(raw, min, max);
  if (desired !== raw) reasons.push(desired === min ? `min is ${min}` : `max is ${max}`);
  const held = heldBack(state.recommended, now, desired, downWindowMs);
  if (held.value > desired) {
    reasons.push(`${held.value} were recommended within ${seconds(downWindowMs)}`);
    desired = held.value;
  }
  return settled(state, desired, reasons, { recommended: held.recent });
}

function step(
  { factor, stepMs }: OpenFaasSettings,
  state: OpenFaasState,
  metrics: Metrics,
  { min, max }: OpenFaasBounds,
  now: number,
): { readonly state: OpenFaasState; readonly verdict: Verdict } {
  const rate = metrics.of("completed").sum(10_000) / 10;
  const size = Math.ceil((max * factor) / 100);
  const sight = `${figure(rate)} calls per second over 10 s`;
  if (rate <= 5 || size === 0) {
    const why = size === 0 ? "factor is 0" : `${sight}, not above 5`;
    return settled(state, min, [`${why}: min of ${min}`], { highSince: undefined, steppedAt: undefined });
  }
  const highSince = state.highSince ?? now;
  const current = Math.max(state.desired, min);
  if (now - highSince < 5000) return settled(state, current, [`${sight}, for less than 5 s`], { highSince });
  if (state.steppedAt !== undefined && now - state.steppedAt < stepMs) {
    return settled(state, current, [`${sight}; a step every ${seconds(stepMs)}`], { highSince });
  }
  const desired = Math.min(current + size, max);
  const reason = desired === current ? `max is ${max}` : `a step of ${size}, ${factor} % of max`;
  return settled(state, desired, [`${sight}: ${reason}`], { highSince, steppedAt: now });
}

function settled(
  state: OpenFaasState,
  desired: number,
  reasons: readonly string[],
  change: Partial<OpenFaasState> = {},
): { readonly state: OpenFaasState; readonly verdict: Verdict } {
  return { state: { ...state, ...change, desired }, verdict: { desired, reasons } };
}

type Load = Exclude<OpenFaasSettings["type"], "step">;

function loadOf(type: Load, metrics: Metrics): number {
  if (type === "rps") return metrics.of("completed").average(30_000);
  if (type === "capacity") return metrics.of("concurrency").max(45_000);
  return metrics.of("cpu").latest * 1000;
}

const loadNames = { rps: "calls per second", capacity: "calls in flight", cpu: "mCPU" };
