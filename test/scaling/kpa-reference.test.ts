import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { defaultPolicySettings } from "../../src/core/defaults.ts";
import type { KpaSettings } from "../../src/core/model.ts";
import { windowAverage } from "../../src/core/scaling/averages.ts";
import { decideKpa, initialKpaState, type KpaState, kpaTarget, panicWindowMs } from "../../src/core/scaling/kpa.ts";
import { missingTools } from "../tools.ts";
import { buildKpa, type Run, runKpa, type Step, type Tick, type Trace } from "./kpa-program.ts";

/** What the reference is told in words, and what our own code is told. */
interface Setup {
  readonly annotations: Record<string, string>;
  readonly config: Record<string, string>;
  readonly settings: KpaSettings;
  readonly containerConcurrency: number;
}

const prefix = "autoscaling.knative.dev/";

describe("kpa beside Knative Serving's own packages", { skip: missingTools("go") }, () => {
  let program: string;
  before(() => (program = buildKpa()));
  after(() => rmSync(program, { force: true }));

  test("the same numbers at every tick, whatever the settings, the load and the pods", (t) => {
    const cases = fc.sample(fc.record({ setup: setups(), trace: traces() }), { numRuns: 600, seed: 20_261_125 });
    const given = cases.map(({ setup, trace }) => asTrace(setup, trace));
    const runs = runKpa(program, given);
    let [ticks, panics, invalid, held] = [0, 0, 0, 0];
    for (const [index, run] of runs.entries()) {
      const { setup } = cases[index]!;
      const mine = play(setup, given[index]!, run);
      compare(mine, run, setup, `trace ${index}: ${JSON.stringify({ ...setup, settings: undefined })}`);
      ticks += run.ticks.length;
      panics += mine.panicking;
      held += mine.held;
      invalid += run.ticks.filter(({ valid }) => !valid).length;
    }
    t.diagnostic(
      `${ticks} ticks of ${runs.length} traces, ${panics} in panic, ${held} delayed, ${invalid} without data`,
    );
    // What was to be compared did come up.
    assert.ok(ticks > 30_000 && panics > 2000 && invalid > 100 && held > 100, String([ticks, panics, invalid, held]));
  });

  test("the same when pods follow the decision after a while, over bursts from nothing and back", () => {
    const loop = fc.record({
      setup: setups(),
      levels: fc.array(fc.oneof(fc.constant(0), fc.nat(3000)), { minLength: 2, maxLength: 6 }),
      secondsEach: fc.integer({ min: 5, max: 90 }),
      startTicks: fc.integer({ min: 0, max: 10 }),
    });
    const cases = fc.sample(loop, { numRuns: 200, seed: 7 });
    const given = cases.map(({ setup, levels, secondsEach, startTicks }) => {
      const steps = followed(setup, levels, secondsEach, startTicks);
      return asTrace(setup, { steps, base, ready: 0, unreachable: false });
    });
    for (const [index, run] of runKpa(program, given).entries()) {
      const { setup } = cases[index]!;
      compare(play(setup, given[index]!, run), run, setup, `loop ${index}`);
    }
  });

  test("the same after a restart with several pods ready, which begins in panic", () => {
    const restart = fc.record({ setup: setups(), trace: traces(), ready: fc.integer({ min: 2, max: 40 }) });
    const cases = fc.sample(restart, { numRuns: 100, seed: 11 });
    // The reference reads the clock itself there: base 0 lets the trace begin at that time.
    const given = cases.map(({ setup, trace, ready }) => asTrace(setup, { ...trace, base: 0, ready }));
    for (const [index, run] of runKpa(program, given).entries()) {
      const { setup } = cases[index]!;
      compare(play(setup, given[index]!, run), run, setup, `restart ${index}`);
    }
  });
});

function compare(mine: { run: Omit<Run, "base"> }, theirs: Run, { settings }: Setup, what: string): void {
  assert.deepEqual(
    [mine.run.target, mine.run.total, mine.run.panicMs],
    [theirs.target, theirs.total, theirs.panicMs],
    what,
  );
  for (const [index, tick] of theirs.ticks.entries()) {
    const own = mine.run.ticks[index]!;
    // The newest second's weight is an exponential, whose last bit hangs on the host; everything else is exact.
    const near = settings.aggregation === "linear" ? own : { ...own, ...nearly(own, tick) };
    assert.deepEqual(near, tick, `${what}, tick ${index}`);
  }
  assert.equal(mine.run.ticks.length, theirs.ticks.length);
}

/** The reference's averages where ours are within 1e-12 of them. */
function nearly(own: Tick, { stable, panic }: Tick): Partial<Tick> {
  const same = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-12 * Math.abs(b);
  return same(own.stable, stable) && same(own.panic, panic) ? { stable, panic } : {};
}

/** Our own code over the same trace. */
function play(
  { settings, containerConcurrency }: Setup,
  trace: Trace,
  { base: from }: Pick<Run, "base">,
): { run: Omit<Run, "base">; panicking: number; held: number } {
  const target = kpaTarget(settings, containerConcurrency);
  const stable = windowAverage(settings.aggregation, settings.windowMs);
  const panic = windowAverage(settings.aggregation, panicWindowMs(settings));
  let state: KpaState = initialKpaState(trace.ready, from);
  const ticks: Tick[] = [];
  let [panicking, held] = [0, 0];
  for (const { at, record, value, tick, ready } of trace.steps) {
    const now = from + at;
    if (record) {
      stable.record(now, value);
      panic.record(now, value);
    }
    if (!tick) continue;
    if (stable.empty(now)) {
      ticks.push({ valid: false, stable: 0, panic: 0, desired: 0, excess: 0 });
      continue;
    }
    const load = { stable: stable.average(now), panic: panic.average(now) };
    const decision = decideKpa(settings, target, state, load, { ready, reachable: !trace.unreachable }, now);
    state = decision.state;
    if (state.panicSince !== undefined) panicking++;
    if (decision.reasons.some((reason) => reason.startsWith("scale-down delay"))) held++;
    // -0 has no place in a count.
    ticks.push({ valid: true, ...load, desired: decision.desired, excess: decision.excessBurst + 0 });
  }
  const { aim, total } = target;
  return { run: { target: aim, total, panicMs: panicWindowMs(settings), ticks }, panicking, held };
}

function asTrace(setup: Setup, rest: Pick<Trace, "steps" | "base" | "ready" | "unreachable">): Trace {
  const { annotations, config, containerConcurrency } = setup;
  return { annotations, config, containerConcurrency, ...rest };
}

/** Any combination of annotations and of config-autoscaler, and the same as our own settings. */
function setups(): fc.Arbitrary<Setup> {
  const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    fc.option(arbitrary, { nil: undefined });
  const hundredths = (least: number, most: number): fc.Arbitrary<number> =>
    fc.integer({ min: least * 100, max: most * 100 }).map((value) => value / 100);
  return fc
    .record({
      metric: maybe(fc.constantFrom("concurrency" as const, "rps" as const)),
      target: maybe(fc.oneof(fc.integer({ min: 1, max: 200 }), hundredths(0.01, 5))),
      utilizationPercent: maybe(fc.integer({ min: 1, max: 100 })),
      windowSeconds: maybe(fc.integer({ min: 6, max: 120 })),
      panicWindowPercent: maybe(hundredths(1, 100)),
      panicThresholdPercent: maybe(hundredths(110, 1000)),
      aggregation: maybe(fc.constantFrom("linear" as const, "weighted-exponential" as const)),
      targetBurstCapacity: maybe(fc.oneof(fc.constantFrom(-1, 0, 211), fc.integer({ min: 0, max: 500 }))),
      activationScale: maybe(fc.integer({ min: 2, max: 20 })),
      delaySeconds: maybe(fc.integer({ min: 0, max: 90 })),
      maxScaleUpRate: maybe(fc.constantFrom(1.1, 1.5, 2, 10)),
      maxScaleDownRate: maybe(fc.constantFrom(1.1, 1.5, 3, 10)),
      containerConcurrency: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 150 })),
    })
    .map((chosen) => {
      const annotations: Record<string, string> = {};
      const note = (key: string, value: string | number | undefined, unit = ""): void => {
        if (value !== undefined) annotations[`${prefix}${key}`] = `${value}${unit}`;
      };
      note("metric", chosen.metric);
      note("target", chosen.target);
      note("target-utilization-percentage", chosen.utilizationPercent);
      note("window", chosen.windowSeconds, "s");
      note("panic-window-percentage", chosen.panicWindowPercent);
      note("panic-threshold-percentage", chosen.panicThresholdPercent);
      note("metric-aggregation-algorithm", chosen.aggregation);
      note("target-burst-capacity", chosen.targetBurstCapacity);
      note("activation-scale", chosen.activationScale);
      note("scale-down-delay", chosen.delaySeconds, "s");
      const config: Record<string, string> = {};
      if (chosen.maxScaleUpRate !== undefined) config["max-scale-up-rate"] = String(chosen.maxScaleUpRate);
      if (chosen.maxScaleDownRate !== undefined) config["max-scale-down-rate"] = String(chosen.maxScaleDownRate);
      const { windowSeconds, delaySeconds, containerConcurrency, ...same } = chosen;
      const own = {
        ...same,
        ...(windowSeconds !== undefined && { windowMs: windowSeconds * 1000 }),
        ...(delaySeconds !== undefined && { scaleDownDelayMs: delaySeconds * 1000 }),
      };
      const given = Object.entries(own).filter(([, value]) => value !== undefined);
      const settings = { ...defaultPolicySettings.kpa, ...Object.fromEntries(given) } as KpaSettings;
      return { annotations, config, settings, containerConcurrency };
    });
}

/** Loads in stretches, with gaps, late records, several in one second, and pods that come and go as they like. */
function traces(): fc.Arbitrary<Pick<Trace, "steps" | "base" | "ready" | "unreachable">> {
  const stretch = fc.record({
    seconds: fc.integer({ min: 1, max: 40 }),
    level: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20 }), fc.double({ min: 0, max: 2000, noNaN: true })),
    slope: fc.oneof(fc.constant(0), fc.double({ min: -20, max: 20, noNaN: true })),
    kind: fc.constantFrom("steady", "steady", "steady", "twice", "every third", "late", "silent"),
    ready: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 60 })),
  });
  return fc
    .record({
      stretches: fc.array(stretch, { minLength: 1, maxLength: 10 }),
      offset: fc.nat(1999),
      ready: fc.nat(1),
      unreachable: fc.constantFrom(false, false, false, true),
    })
    .map(({ stretches, offset, ready, unreachable }) => {
      const steps: Step[] = [];
      let second = 0;
      for (const { seconds, level, slope, kind, ready: pods } of stretches) {
        for (let index = 0; index < seconds; index++, second++) {
          const at = second * 1000;
          const value = Math.max(0, level + slope * index);
          const step = (when: number, record: boolean, tick: boolean): void =>
            void steps.push({ at: when, record, value, tick, ready: pods });
          if (kind === "twice") step(at, true, false);
          if (kind === "late") step(Math.max(0, at - 1000 * (index % 5)), true, false);
          const recorded = kind !== "silent" && (kind !== "every third" || index % 3 === 0);
          step(at + (index % 7) * 100, recorded, second % 2 === 0);
        }
      }
      return { steps, base: base + offset, ready, unreachable };
    });
}

/** A load in levels; a pod is there some ticks after it was asked for, and gone at once. */
function followed(setup: Setup, levels: readonly number[], secondsEach: number, startTicks: number): Step[] {
  const steps: Step[] = [];
  const asked: number[] = [];
  let ready = 0;
  for (let second = 0; second < levels.length * secondsEach; second++) {
    const tick = second % 2 === 0;
    const value = levels[Math.floor(second / secondsEach)]!;
    steps.push({ at: second * 1000, record: value > 0 || ready > 0, value, tick, ready });
    if (!tick) continue;
    const trace = asTrace(setup, { steps, base, ready: 0, unreachable: false });
    const last = play(setup, trace, { base }).run.ticks.at(-1)!;
    asked.push(last.valid ? last.desired : ready);
    ready = Math.min(...asked.slice(-1 - startTicks));
  }
  return steps;
}

/** 2026-11-25 00:00 UTC. */
const base = 1_795_564_800_000;
