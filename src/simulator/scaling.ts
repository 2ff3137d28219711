import { type FleetSettings, type ScalingOutcome, SimulatedFleet } from "./fleet.ts";
import { Waits } from "./replay.ts";
import { type Application, dayMs, type DayOfCalls, type Trace } from "./trace.ts";

export interface ScalingContestant extends FleetSettings {
  readonly label: string;
}

export interface ScalingReport {
  readonly policy: string;
  readonly calls: number;
  /** Share of the calls that no instance could take at once: they wait for a start, or in line. */
  readonly waitedShare: number;
  /** Calls that were turned away, the line being full. */
  readonly refused: number;
  readonly starts: number;
  /** Of all functions together on average, and the most that one of them had. */
  readonly meanInstances: number;
  readonly mostInstances: number;
  /** Memory held by instances, and while no call ran in it. */
  readonly gbSeconds: number;
  readonly wastedGbSeconds: number;
  /** A call's wait, for a start or in line. */
  readonly waitMs: Record<"p95" | "p99" | "p999", number>;
  /** Wait and run. */
  readonly latencyMs: Record<"p50" | "p95" | "p99" | "p999", number>;
}

/** Replays a trace's calls, with the times that they run, for one scaling policy. Each application is one function. */
export class ScalingReplay {
  readonly outcome = noOutcome();
  readonly #fleets: readonly SimulatedFleet[];

  constructor(settings: FleetSettings, applications: readonly Application[]) {
    this.#fleets = applications.map((application) => new SimulatedFleet(application, settings, this.outcome));
  }

  day(index: number, { from, at, calls, gapMs, runMs }: DayOfCalls): void {
    const start = index * dayMs;
    for (const [application, fleet] of this.#fleets.entries()) {
      const end = from[application + 1]!;
      for (let entry = from[application]!; entry < end; entry++)
        fleet.call(start + at[entry]!, calls[entry]!, gapMs[entry]!, runMs[entry]!);
    }
  }

  finish(end: number): void {
    for (const fleet of this.#fleets) fleet.finish(end);
  }
}

/** Replays the trace for each scaling policy; `onDay` hears of each day that is done. */
export async function simulateScaling(
  trace: Trace,
  contestants: readonly ScalingContestant[],
  onDay?: (done: number, of: number) => Promise<void> | void,
): Promise<ScalingReport[]> {
  const outcomes = await replayScaling(trace, contestants, onDay);
  return contestants.map(({ label }, index) => reportOf(label, outcomes[index]!, trace.days));
}

/** What each policy came to. */
export async function replayScaling(
  trace: Trace,
  contestants: readonly ScalingContestant[],
  onDay?: (done: number, of: number) => Promise<void> | void,
): Promise<ScalingOutcome[]> {
  const replays = contestants.map((one) => new ScalingReplay(one, trace.applications));
  for (let index = 0; index < trace.days; index++) {
    const day = trace.day(index);
    for (const replay of replays) replay.day(index, day);
    await onDay?.(index + 1, trace.days);
  }
  for (const replay of replays) replay.finish(trace.days * dayMs);
  return replays.map(({ outcome }) => outcome);
}

/** One policy's outcome over a trace whose parts were replayed each for itself. */
export function together(parts: readonly ScalingOutcome[]): ScalingOutcome {
  const sum = noOutcome();
  for (const part of parts) {
    sum.waits.include(part.waits);
    for (const name of ["calls", "waited", "refused", "starts", "heldMb", "busyMb", "instanceMs"] as const) {
      sum[name] += part[name];
    }
    sum.mostInstances = Math.max(sum.mostInstances, part.mostInstances);
  }
  return sum;
}

export function reportOf(policy: string, outcome: ScalingOutcome, days: number): ScalingReport {
  const { waits, calls, waited, refused, starts, heldMb, busyMb, instanceMs, mostInstances } = outcome;
  return {
    policy,
    calls,
    waitedShare: calls === 0 ? 0 : waited / calls,
    refused,
    starts,
    meanInstances: instanceMs / (days * dayMs),
    mostInstances,
    gbSeconds: heldMb / 1024 / 1000,
    wastedGbSeconds: (heldMb - busyMb) / 1024 / 1000,
    waitMs: { p95: waits.waitMs(0.95), p99: waits.waitMs(0.99), p999: waits.waitMs(0.999) },
    latencyMs: {
      p50: waits.latencyMs(0.5),
      p95: waits.latencyMs(0.95),
      p99: waits.latencyMs(0.99),
      p999: waits.latencyMs(0.999),
    },
  };
}

function noOutcome(): ScalingOutcome {
  return {
    waits: new Waits(),
    calls: 0,
    waited: 0,
    refused: 0,
    starts: 0,
    heldMb: 0,
    busyMb: 0,
    instanceMs: 0,
    mostInstances: 0,
  };
}
