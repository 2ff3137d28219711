import type { KeepAlivePolicy } from "../core/keep-alive/policy.ts";
import { type Application, dayMs, type DayOfCalls } from "./trace.ts";

/** What one policy did with each application. */
export interface Outcome {
  readonly calls: Float64Array;
  readonly cold: Float64Array;
  /** Milliseconds in which an instance was held and no call ran. */
  readonly idleMs: Float64Array;
  /** Milliseconds in which calls ran. */
  readonly busyMs: Float64Array;
  /** Instances that were made ahead of a call. */
  prewarmed: number;
}

/**
 * Drives a policy over a trace, application by application: where memory is not short they do not know of each other.
 * An application is warm or cold as a whole. A call that comes while another one runs is warm.
 * One that comes while an instance is being made ahead of it is cold, and waits for the rest of the start.
 */
export class Replay {
  readonly outcome: Outcome;
  readonly waits: Waits;
  readonly #policy: KeepAlivePolicy;
  readonly #applications: readonly Application[];
  readonly #states: unknown[];
  /** When the last call ends; -1: never called. */
  readonly #busyUntil: Float64Array;

  constructor(policy: KeepAlivePolicy, applications: readonly Application[]) {
    this.#policy = policy;
    this.#applications = applications;
    this.#states = applications.map(() => undefined);
    this.#busyUntil = new Float64Array(applications.length).fill(-1);
    this.outcome = emptyOutcome(applications.length);
    this.waits = new Waits();
  }

  day(index: number, day: DayOfCalls): void {
    const { from, at, calls, gapMs, runMs } = day;
    const start = index * dayMs;
    for (let application = 0; application < this.#applications.length; application++) {
      const end = from[application + 1]!;
      for (let entry = from[application]!; entry < end; entry++) {
        this.#entry(application, start + at[entry]!, calls[entry]!, gapMs[entry]!, runMs[entry]!);
      }
    }
  }

  /** The trace is over: what is still held is idle up to `end`. */
  finish(end: number): void {
    for (let application = 0; application < this.#applications.length; application++) {
      const idleFrom = this.#busyUntil[application]!;
      if (idleFrom >= 0 && idleFrom < end) this.#idle(application, idleFrom, end);
    }
  }

  #entry(application: number, at: number, calls: number, gapMs: number, runMs: number): void {
    const { outcome } = this;
    const policy = this.#policy;
    const idleFrom = this.#busyUntil[application]!;
    let begins = at;
    let wait = 0;
    if (idleFrom < 0) {
      this.#states[application] = policy.begin(at);
      wait = this.#applications[application]!.startMs;
    } else if (at > idleFrom) {
      wait = this.#idle(application, idleFrom, at);
      policy.observe(this.#states[application], at - idleFrom, at, 1, wait > 0);
    }
    if (wait > 0) outcome.cold[application]!++;
    this.waits.add(wait, runMs, 1);
    begins += wait;
    let until = Math.max(idleFrom, begins + runMs);
    if (calls > 1) {
      const more = calls - 1;
      this.waits.add(0, runMs, more);
      const last = at + more * gapMs;
      const idle = gapMs - runMs;
      if (idle > 0) {
        outcome.idleMs[application]! += idle * more;
        policy.observe(this.#states[application], idle, last, more, false);
      }
      outcome.busyMs[application]! += Math.min(gapMs, runMs) * more;
      until = Math.max(until, last + runMs);
    }
    outcome.busyMs[application]! += runMs;
    outcome.calls[application]! += calls;
    this.#busyUntil[application] = until;
  }

  /** Follows the plan from the last call's end to `at`; what a call that comes then waits for a start. */
  #idle(application: number, idleFrom: number, at: number): number {
    const { outcome } = this;
    const cost = this.#applications[application]!;
    const state = this.#states[application];
    const idle = at - idleFrom;
    let plan = this.#policy.decide(state, 0, idleFrom, cost);
    if (idle <= plan.keepMs) {
      outcome.idleMs[application]! += idle;
      return 0;
    }
    outcome.idleMs[application]! += plan.keepMs;
    while (plan.prewarmMs < idle) {
      const made = plan.prewarmMs;
      outcome.prewarmed++;
      plan = this.#policy.decide(state, made, idleFrom + made, cost);
      const held = Math.min(idle, plan.keepMs) - made;
      if (!(held > 0)) throw new Error(`${this.#policy.name} made an instance ahead and did not keep it`);
      outcome.idleMs[application]! += held;
      if (idle <= plan.keepMs) return Math.max(0, made + cost.startMs - idle);
    }
    return cost.startMs;
  }
}

export function emptyOutcome(applications: number): Outcome {
  return {
    calls: new Float64Array(applications),
    cold: new Float64Array(applications),
    idleMs: new Float64Array(applications),
    busyMs: new Float64Array(applications),
    prewarmed: 0,
  };
}

/** Waiting for a start, and waiting and running together, in bins of a twelfth of an octave: exact to 3 %. */
export class Waits {
  readonly wait = new Float64Array(binCount);
  readonly latency = new Float64Array(binCount);

  add(waitMs: number, runMs: number, times: number): void {
    this.wait[binOf(waitMs)]! += times;
    this.latency[binOf(waitMs + runMs)]! += times;
  }

  /** Those that others counted. */
  include(others: Pick<Waits, "wait" | "latency">): void {
    for (let bin = 0; bin < binCount; bin++) {
      this.wait[bin]! += others.wait[bin]!;
      this.latency[bin]! += others.latency[bin]!;
    }
  }

  waitMs(share: number): number {
    return percentile(this.wait, share);
  }

  latencyMs(share: number): number {
    return percentile(this.latency, share);
  }
}

function percentile(bins: Float64Array, share: number): number {
  const wanted = bins.reduce((sum, count) => sum + count, 0) * share;
  let sum = 0;
  for (let bin = 0; bin < binCount; bin++) {
    sum += bins[bin]!;
    if (sum >= wanted && sum > 0) return bin === 0 ? 0 : 2 ** ((bin - 0.5) / 12) / 10;
  }
  return 0;
}

/** 0 is below a tenth of a millisecond. */
function binOf(ms: number): number {
  return ms <= 0.1 ? 0 : Math.min(binCount - 1, 1 + Math.floor(12 * Math.log2(ms * 10)));
}

const binCount = 400;
