import { fixedPolicy } from "../core/keep-alive/fixed.ts";
import type { KeepAlivePolicy } from "../core/keep-alive/policy.ts";
import { CacheReplay } from "./cache-replay.ts";
import { type Outcome, Replay, type Waits } from "./replay.ts";
import { type Application, dayMs, type Trace } from "./trace.ts";

export interface Contestant {
  readonly label: string;
  readonly policy: KeepAlivePolicy;
}

export interface PolicyReport {
  readonly policy: string;
  readonly calls: number;
  readonly coldStarts: number;
  /** Of all calls. */
  readonly coldShare: number;
  /** Cold starts among the calls of an application: of the median application, of the 75th percentile and so on, and the mean. */
  readonly applications: Record<"p50" | "p75" | "p90" | "p99" | "mean", number>;
  /** Memory held while no call ran. */
  readonly wastedGbSeconds: number;
  /** The same ÷ that of a fixed keep-alive of ten minutes. */
  readonly wasted: number;
  /** Instances made ahead of a call. */
  readonly prewarmed: number;
  /** A call's wait for a start. */
  readonly waitMs: Record<"p99" | "p999" | "p9999", number>;
  /** Wait and run. */
  readonly latencyMs: Record<"p50" | "p95" | "p99", number>;
}

/**
 * Replays the trace for each policy. Greedy-Dual needs to know its memory first: `cacheMb`, or where absent what the fixed
 * keep-alive of ten minutes held on average, which takes a second trace of the same calls.
 * `onDay` hears of each day that is done.
 */
export async function simulate(
  open: () => Trace,
  contestants: readonly Contestant[],
  options: {
    readonly cacheMb?: number | undefined;
    readonly onDay?: (done: number, of: number) => Promise<void> | void;
  } = {},
): Promise<PolicyReport[]> {
  const trace = open();
  const { applications, days } = trace;
  const base = new Replay(fixedPolicy(tenMinutesMs), applications);
  const caches = contestants.filter(({ policy }) => policy.name === "greedy-dual");
  const passes = caches.length > 0 ? 2 : 1;
  const replays = new Map<Contestant, Replay | CacheReplay>();
  for (const one of contestants) if (!caches.includes(one)) replays.set(one, new Replay(one.policy, applications));
  await pass(trace, [base, ...replays.values()], (day) => options.onDay?.(day, days * passes));
  if (caches.length > 0) {
    const cacheMb = options.cacheMb ?? heldMb(base.outcome, applications) / (days * dayMs);
    const later = caches.map(() => new CacheReplay(applications, cacheMb));
    caches.forEach((one, index) => replays.set(one, later[index]!));
    await pass(open(), later, (day) => options.onDay?.(days + day, days * passes));
  }
  const baseline = wasteMb(base.outcome, applications);
  return contestants.map((one) => {
    const { outcome, waits } = replays.get(one)!;
    return reportOf(one.label, outcome, waits, applications, baseline);
  });
}

/** Percentile by nearest rank of sorted values. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted.length === 0 ? 0 : sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

async function pass(
  trace: Trace,
  replays: readonly (Replay | CacheReplay)[],
  onDay: (done: number) => Promise<void> | void,
): Promise<void> {
  for (let index = 0; index < trace.days; index++) {
    const day = trace.day(index);
    for (const replay of replays) replay.day(index, day);
    await onDay(index + 1);
  }
  for (const replay of replays) replay.finish(trace.days * dayMs);
}

function reportOf(
  label: string,
  outcome: Outcome,
  waits: Waits,
  applications: readonly Application[],
  baseline: number,
): PolicyReport {
  const shares = [...outcome.cold]
    .map((cold, index) => cold / outcome.calls[index]!)
    .filter((share) => !Number.isNaN(share));
  shares.sort((left, right) => left - right);
  const calls = sum(outcome.calls);
  const coldStarts = sum(outcome.cold);
  const waste = wasteMb(outcome, applications);
  return {
    policy: label,
    calls,
    coldStarts,
    coldShare: calls === 0 ? 0 : coldStarts / calls,
    applications: {
      p50: percentile(shares, 0.5),
      p75: percentile(shares, 0.75),
      p90: percentile(shares, 0.9),
      p99: percentile(shares, 0.99),
      mean: shares.length === 0 ? 0 : sum(shares) / shares.length,
    },
    wastedGbSeconds: waste / 1024 / 1000,
    wasted: baseline === 0 ? 0 : waste / baseline,
    prewarmed: outcome.prewarmed,
    waitMs: { p99: waits.waitMs(0.99), p999: waits.waitMs(0.999), p9999: waits.waitMs(0.9999) },
    latencyMs: { p50: waits.latencyMs(0.5), p95: waits.latencyMs(0.95), p99: waits.latencyMs(0.99) },
  };
}

/** Memory × milliseconds. */
function wasteMb(outcome: Outcome, applications: readonly Application[]): number {
  return applications.reduce((total, { memoryMb }, index) => total + memoryMb * outcome.idleMs[index]!, 0);
}

function heldMb(outcome: Outcome, applications: readonly Application[]): number {
  return applications.reduce(
    (total, { memoryMb }, index) => total + memoryMb * (outcome.idleMs[index]! + outcome.busyMs[index]!),
    0,
  );
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < values.length; index++) total += values[index]!;
  return total;
}

const tenMinutesMs = 600_000;
