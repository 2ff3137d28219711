import type { KpaSettings } from "../model.ts";
import { heldBack, type RecentMaximum } from "./recent-maximum.ts";
import { figure, instances, seconds } from "./verdict.ts";

/** The load of a function over both windows: calls at a time, or per second. */
export interface KpaLoad {
  readonly stable: number;
  readonly panic: number;
}

export interface KpaState {
  /** When the load was last over the threshold; undefined: no panic. */
  readonly panicSince: number | undefined;
  /** The most instances of this panic. */
  readonly panicMost: number;
  readonly delayed: RecentMaximum;
}

export interface KpaDecision {
  readonly desired: number;
  /** Room for calls beyond those that are there and `targetBurstCapacity`; below 0 it is missing. */
  readonly excessBurst: number;
  readonly state: KpaState;
  readonly reasons: readonly string[];
}

/** What one instance can take, and how much of it is aimed at (`ResolveMetricTarget` of the reference). */
export interface KpaTarget {
  readonly total: number;
  readonly aim: number;
}

/** `concurrency`: calls that one instance serves at the same time; 0 is no limit, which Virga itself does not have. */
export function kpaTarget(settings: KpaSettings, concurrency: number): KpaTarget {
  const { metric, target } = settings;
  let total = target ?? (metric === "rps" ? 200 : concurrency || 100);
  if (metric === "concurrency" && concurrency > 0) total = Math.min(total, concurrency);
  return { total, aim: Math.max(0.01, total * (settings.utilizationPercent / 100)) };
}

/** A tenth of the stable window by default, in whole seconds, one at least. */
export function panicWindowMs({ windowMs, panicWindowPercent }: KpaSettings): number {
  return Math.max(1000, Math.round((windowMs * panicWindowPercent) / 100 / 1000) * 1000);
}

/**
 * A scaler that finds several instances ready when it comes up knows nothing of the load that they were for:
 * it begins in panic, which keeps them for a stable window.
 */
export function initialKpaState(ready: number, now: number): KpaState {
  return { panicSince: ready > 1 ? now : undefined, panicMost: ready, delayed: [] };
}

/**
 * Knative's pod autoscaler at one tick (`pkg/autoscaler/scaling`, `Scale`): the load of the stable window decides, and
 * in panic the larger of both. Panic begins where the panic window asks for twice what is ready (not yet held to the
 * rates), and ends a stable window after the last such tick; meanwhile nothing is taken away.
 * `reachable`: the revision has traffic.
 */
export function decideKpa(
  settings: KpaSettings,
  { aim, total }: KpaTarget,
  before: KpaState,
  load: KpaLoad,
  { ready, reachable }: { readonly ready: number; readonly reachable: boolean },
  now: number,
): KpaDecision {
  const { activationScale, scaleDownDelayMs, windowMs } = settings;
  const present = Math.max(1, ready);
  const most = Math.ceil(settings.maxScaleUpRate * present);
  const least = reachable ? Math.floor(present / settings.maxScaleDownRate) : 0;
  const wanted = (raw: number): number => {
    const limited = Math.min(Math.max(raw, least), most);
    return activationScale > 1 && raw > 0 ? Math.max(limited, activationScale) : limited;
  };
  const rawStable = Math.ceil(load.stable / aim);
  const rawPanic = Math.ceil(load.panic / aim);
  const stable = wanted(rawStable);
  const panic = wanted(rawPanic);
  const over = rawPanic / present >= settings.panicThresholdPercent / 100;

  let { panicSince, panicMost } = before;
  if (over) panicSince = now;
  else if (panicSince !== undefined && panicSince + windowMs < now) {
    panicSince = undefined;
    panicMost = 0;
  }
  let desired = stable;
  if (panicSince !== undefined) {
    panicMost = Math.max(panicMost, desired, panic);
    desired = panicMost;
  }

  let { delayed } = before;
  if (reachable && scaleDownDelayMs > 0) {
    const held = heldBack(delayed, now, desired, scaleDownDelayMs);
    delayed = held.recent;
    desired = held.value;
  }
  const excessBurst = excessOf(settings.targetBurstCapacity, ready * total, load.panic);
  const same = panicSince === before.panicSince && panicMost === before.panicMost && delayed === before.delayed;
  const state = same ? before : { panicSince, panicMost, delayed };
  return new Decided(desired, excessBurst, state, () => {
    const what = settings.metric === "rps" ? "calls per second" : "calls in flight";
    const reasons = [
      `${figure(load.stable)} ${what} over ${seconds(windowMs)}, ${figure(aim)} aimed at in each: ${instances(rawStable)}`,
    ];
    if (stable !== rawStable) reasons.push(limitedBy(rawStable, stable, least, most, activationScale));
    if (panicSince !== undefined) {
      const sight = `${figure(load.panic)} over ${seconds(panicWindowMs(settings))} ask for ${rawPanic} with ${ready} ready`;
      reasons.push(
        over
          ? `panic: ${sight}, so ${panicMost}`
          : `in panic for up to ${seconds(panicSince + windowMs - now)} more: not below ${panicMost}`,
      );
    }
    if (desired !== (panicSince === undefined ? stable : panicMost))
      reasons.push(`scale-down delay of ${seconds(scaleDownDelayMs)}: ${desired} for now`);
    return reasons;
  });
}

class Decided implements KpaDecision {
  readonly desired: number;
  readonly excessBurst: number;
  readonly state: KpaState;
  readonly inWords: () => readonly string[];

  constructor(desired: number, excessBurst: number, state: KpaState, inWords: () => readonly string[]) {
    this.desired = desired;
    this.excessBurst = excessBurst;
    this.state = state;
    this.inWords = inWords;
  }

  get reasons(): readonly string[] {
    return this.inWords();
  }
}

function excessOf(targetBurst: number, capacity: number, panic: number): number {
  if (targetBurst === 0) return 0;
  return targetBurst > 0 ? Math.floor(capacity - targetBurst - panic) : -1;
}

function limitedBy(raw: number, limited: number, least: number, most: number, activationScale: number): string {
  if (limited === activationScale && raw > 0 && activationScale > 1 && limited > raw) {
    return `activation scale: ${activationScale} at least`;
  }
  return raw < limited ? `not below ${least} in one tick` : `not above ${most} in one tick`;
}
