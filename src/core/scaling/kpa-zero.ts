import type { KpaSettings } from "../model.ts";
import { bounded, seconds } from "./verdict.ts";

/** Whether a revision serves, as its autoscaler sees it: Knative's condition `Active` (True, False, Unknown). */
export interface KpaActivity {
  readonly active: "yes" | "no" | "activating";
  /** Since when it is so. */
  readonly since: number;
  /** Its initial scale has been reached once. */
  readonly initialized: boolean;
  /** Since when there has been no room for a burst, so that in Knative the activator stands before it; undefined: there is. */
  readonly proxyingSince: number | undefined;
}

export interface KpaScale {
  /** Undefined: what is there stays, and so does what was wanted before. */
  readonly desired: number | undefined;
  readonly activity: KpaActivity;
  readonly reasons: readonly string[];
}

export interface KpaZeroInput {
  /** What `decideKpa` came to; undefined: it had no data yet. */
  readonly desired: number | undefined;
  readonly excessBurst: number;
  readonly ready: number;
  readonly min: number;
  readonly max: number;
  readonly reachable: boolean;
  /** How long a start may take before it is given up. */
  readonly startTimeoutMs: number;
}

/** A revision as it is deployed: on its way, and behind the activator. `initialized`: it has been there before. */
export function initialActivity(initialized: boolean, now: number): KpaActivity {
  return { active: initialized ? "no" : "activating", since: now, initialized, proxyingSince: now };
}

/**
 * What becomes of the decision (`pkg/reconciler/autoscaling/kpa`): held to minimum and maximum, to the initial scale
 * until that was reached, and on the way to zero in three steps. A revision that has been active for a stable window
 * becomes inactive; it keeps its last instance for the grace period of inactivity and for the retention, whichever is
 * longer, but no longer than the retention where it has been behind the activator for the grace period already.
 *
 * The reference asks the activator by a probe whether it is in the path; here the platform itself always is.
 */
export function settleKpaScale(settings: KpaSettings, before: KpaActivity, input: KpaZeroInput, now: number): KpaScale {
  const { initialScale } = settings;
  const floor = input.reachable ? input.min : 0;
  let min = floor;
  if (initialScale > 1 && !before.initialized && input.reachable && initialScale > min) {
    min = initialScale;
  }
  // No data: the bounds alone apply, and only while it is activating.
  const unknown = input.desired === undefined && before.active !== "activating";
  const within = unknown ? -1 : bounded(input.desired ?? -1, min, input.max);
  const zero = within === 0 ? towardsZero(settings, before, input, now) : undefined;
  const desired = zero?.desired ?? within;
  const activity = nextActivity(before, input, { floor, initialScale, desired }, now);
  const applied = (zero?.apply ?? !unknown) ? desired : undefined;
  return new Settled(applied, activity, () => {
    const reasons: string[] = [];
    if (!unknown && input.desired !== undefined && within !== input.desired) {
      reasons.push(within === min ? `${min} at least${min > floor ? " at first" : ""}` : `max of ${input.max}`);
    }
    if (zero !== undefined) reasons.push(zero.reason());
    return reasons;
  });
}

class Settled implements KpaScale {
  readonly desired: number | undefined;
  readonly activity: KpaActivity;
  readonly inWords: () => readonly string[];

  constructor(desired: number | undefined, activity: KpaActivity, inWords: () => readonly string[]) {
    this.desired = desired;
    this.activity = activity;
    this.inWords = inWords;
  }

  get reasons(): readonly string[] {
    return this.inWords();
  }
}

interface ZeroStep {
  readonly desired: number;
  /** False: what is there stays for now. */
  readonly apply: boolean;
  readonly reason: () => string;
}

function towardsZero(settings: KpaSettings, before: KpaActivity, input: KpaZeroInput, now: number): ZeroStep {
  if (!settings.scaleToZero) return { desired: 1, apply: true, reason: () => "scale to zero is off: 1 stays" };
  const forMs = now - before.since;
  if (before.active === "activating") {
    // Thirty seconds on top, as in the reference.
    const patienceMs = input.startTimeoutMs + 30_000;
    if (forMs > patienceMs)
      return { desired: 0, apply: true, reason: () => `it did not come up in ${seconds(patienceMs)}` };
    return { desired: -1, apply: false, reason: () => "it is coming up" };
  }
  if (before.active === "yes") {
    const { windowMs } = settings;
    if (forMs >= windowMs) return { desired: 0, apply: false, reason: () => "idle: inactive from now on" };
    return { desired: 1, apply: true, reason: () => `active for ${seconds(forMs)} of ${seconds(windowMs)}: 1 stays` };
  }
  const retentionMs = input.reachable ? settings.retentionMs : 0;
  const idle = (): string => `inactive for ${seconds(forMs)}`;
  if (forMs >= Math.max(settings.graceMs, retentionMs)) return { desired: 0, apply: true, reason: idle };
  if (forMs < retentionMs) {
    return { desired: 0, apply: false, reason: () => `${idle()}; the last ones are kept for ${seconds(retentionMs)}` };
  }
  const proxiedMs = before.proxyingSince === undefined ? 0 : now - before.proxyingSince;
  if (proxiedMs >= settings.graceMs) {
    return { desired: 0, apply: true, reason: () => `${idle()}, without room for a burst for ${seconds(proxiedMs)}` };
  }
  return { desired: 0, apply: false, reason: () => `${idle()}; the grace period is ${seconds(settings.graceMs)}` };
}

/** When `towardsZero` comes to something else, while nothing is wanted and nothing changes but the time. */
export function zeroStepAt(settings: KpaSettings, { active, since, proxyingSince }: KpaActivity): number {
  const { graceMs, retentionMs, scaleToZero, windowMs } = settings;
  if (!scaleToZero) return Number.POSITIVE_INFINITY;
  if (active === "activating") return since;
  if (active === "yes") return since + windowMs;
  const patienceMs = Math.max(graceMs, retentionMs);
  const proxiedMs = (proxyingSince ?? Number.POSITIVE_INFINITY) + graceMs;
  return Math.min(since + patienceMs, Math.max(since + retentionMs, proxiedMs));
}

/** `desired` -1: unknown. `before` itself where nothing changes. */
function nextActivity(
  before: KpaActivity,
  { ready, excessBurst }: KpaZeroInput,
  { floor, initialScale, desired }: { readonly floor: number; readonly initialScale: number; readonly desired: number },
  now: number,
): KpaActivity {
  const threshold = before.initialized ? Math.max(floor, 1) : Math.max(floor, initialScale);
  const initialized = before.initialized || ready >= threshold;
  let { active } = before;
  if (desired === 0 || threshold === 0) active = "no";
  else if (desired > 0 || active !== "no") active = ready < threshold ? "activating" : "yes";
  const serving = desired > 0 && excessBurst >= 0;
  const proxyingSince = serving ? undefined : (before.proxyingSince ?? now);
  const { since } = before;
  if (active !== before.active) return { active, since: now, initialized, proxyingSince };
  if (initialized === before.initialized && proxyingSince === before.proxyingSince) return before;
  return { active, since, initialized, proxyingSince };
}
