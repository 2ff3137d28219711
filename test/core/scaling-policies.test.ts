import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { defaultLimits, defaultPolicySettings } from "../../src/core/defaults.ts";
import type { OpenFaasSettings } from "../../src/core/model.ts";
import { createAutoscaler } from "../../src/core/scaling/autoscaler.ts";
import { decideCpu } from "../../src/core/scaling/cpu.ts";
import { Metrics, type Sample } from "../../src/core/scaling/metrics.ts";
import { askOpenFaas, decideOpenFaas, initialOpenFaasState } from "../../src/core/scaling/openfaas.ts";
import { decideQueue } from "../../src/core/scaling/queue.ts";
import { Series } from "../../src/core/scaling/series.ts";
import { completeScaling } from "../../src/core/scaling/settings.ts";
import { decideTowards, surplus } from "../../src/core/scaling/target.ts";

const second = 1000;
const quiet: Sample = { concurrency: 0, requests: 0, completed: 0, queue: 0, cpu: 0, instances: 0 };
const nobody = { ready: 0, starting: 0, running: 0, waiting: 0 };

/** A minute of the same sample, the last one at 59 s. */
function steady(sample: Partial<Sample>): Metrics {
  const metrics = new Metrics(60 * second);
  for (let at = 0; at < 60; at++) metrics.record(at * second, { ...quiet, ...sample });
  return metrics;
}

describe("openfaas", () => {
  const bounds = { min: 1, max: 20 };
  const decide = (settings: Partial<OpenFaasSettings>, metrics: Metrics, ready: number, running = 1) =>
    decideOpenFaas(
      { ...defaultPolicySettings.openfaas, ...settings },
      initialOpenFaasState(ready, 59 * second),
      metrics,
      { ...nobody, ready, running },
      bounds,
      59 * second,
    ).verdict;

  test("the examples of its documentation", () => {
    const capacity = { type: "capacity", target: 5, proportion: 1 } as const;
    assert.equal(decide(capacity, steady({ concurrency: 15 }), 1).desired, 3);
    assert.equal(decide(capacity, steady({ concurrency: 25 }), 3).desired, 5);
    // Nothing is there any more: the minimum.
    assert.equal(decide(capacity, steady({}), 3, 0).desired, 1);
    assert.equal(decide({ ...capacity, target: 100, proportion: 0.7 }, steady({ concurrency: 90 }), 1).desired, 2);
  });

  test("rps is what was completed in 30 s, cpu is in thousandths, and the bounds hold", () => {
    assert.equal(decide({}, steady({ completed: 100 }), 1).desired, 3);
    assert.match(
      decide({}, steady({ completed: 100 }), 2).reasons.join(),
      /100 calls per second, 50 in each, against 50 × 0.9: 3/,
    );
    assert.equal(decide({ type: "cpu", target: 500, proportion: 0.5 }, steady({ cpu: 1.2 }), 1).desired, 5);
    assert.equal(decide({}, steady({ completed: 1e6 }), 1).desired, 20);
  });

  test("the highest recommendation of its window holds back a smaller one", () => {
    const settings = {
      ...defaultPolicySettings.openfaas,
      type: "capacity" as const,
      target: 1,
      proportion: 1,
      downWindowMs: 60 * second,
    };
    const metrics = new Metrics(45 * second);
    let state = initialOpenFaasState(1, 0);
    const desired: (number | undefined)[] = [];
    for (let at = 0; at <= 180; at += 2) {
      metrics.record(at * second, { ...quiet, concurrency: at < 10 ? 8 : 2 });
      const decision = decideOpenFaas(
        settings,
        state,
        metrics,
        { ...nobody, ready: 8, running: 2 },
        bounds,
        at * second,
      );
      ({ state } = decision);
      if (at % 20 === 0) desired.push(decision.verdict.desired);
    }
    // 8 is in the load's own 45 s until 53 s, and then recommended for a minute more.
    assert.deepEqual(desired, [8, 8, 8, 8, 8, 8, 2, 2, 2, 2]);
  });

  test("to zero goes what says so, after its time without a call, and comes back with one", () => {
    const settings = { ...defaultPolicySettings.openfaas, zero: true, zeroAfterMs: 60 * second };
    const metrics = new Metrics(45 * second);
    let state = initialOpenFaasState(1, 0);
    const ask = (at: number, standing: Partial<typeof nobody>): number | undefined => {
      metrics.record(at * second, quiet);
      const decision = decideOpenFaas(
        settings,
        state,
        metrics,
        { ...nobody, ...standing },
        { min: 0, max: 20 },
        at * second,
      );
      ({ state } = decision);
      return decision.verdict.desired;
    };
    assert.deepEqual([ask(0, { ready: 1 }), ask(58, { ready: 1 }), ask(60, { ready: 1 }), ask(62, {})], [1, 1, 0, 0]);
    assert.equal(ask(64, { waiting: 1 }), 1);
    assert.equal(ask(66, { ready: 1 }), 1);
  });

  test("a number set by hand is a floor until it is set anew; zero holds until a call comes", () => {
    const settings = { ...defaultPolicySettings.openfaas, type: "capacity" as const, target: 1, proportion: 1 };
    const metrics = new Metrics(45 * second);
    let state = initialOpenFaasState(1, 0);
    let at = 0;
    const ask = (
      change: { asked?: number; max?: number; min?: number; zero?: boolean },
      busy: Partial<typeof nobody> = {},
    ) => {
      const { asked, min = 1, max = 20, zero = false } = change;
      at += 2;
      if (asked !== undefined) state = askOpenFaas(state, at * second, asked);
      metrics.record(at * second, { ...quiet, concurrency: busy.running ?? 0, requests: busy.running ?? 0 });
      const standing = { ...nobody, ...busy };
      const decision = decideOpenFaas(
        { ...settings, zero, zeroAfterMs: 60 * second },
        state,
        metrics,
        standing,
        { min, max },
        at * second,
      );
      ({ state } = decision);
      return decision.verdict.desired;
    };
    assert.deepEqual([ask({ asked: 3 }), ask({})], [3, 3]);
    // Above it load decides; below it nothing does.
    assert.equal(ask({}, { running: 5 }), 5);
    at += 60;
    assert.equal(ask({}), 3);
    assert.deepEqual([ask({ asked: 2 }), ask({})], [2, 2]);
    // It may be beyond the maximum, which bounds load alone, and where nothing scales.
    assert.equal(ask({ asked: 7, max: 5 }), 7);
    assert.equal(ask({ min: 2, max: 2 }), 7);
    assert.deepEqual([ask({ asked: 0 }, { running: 1 }), ask({})], [0, 0]);
    assert.equal(ask({}, { waiting: 1 }), 1);
    at += 60;
    assert.equal(ask({}), 1, "the zero is forgotten");
    // From zero, too, where it had long been; after its time without a call it goes there again, and the number is forgotten.
    at += 60;
    assert.equal(ask({ min: 0, zero: true }), 0);
    assert.deepEqual([ask({ asked: 3, min: 0, zero: true }), ((at += 60), ask({ min: 0, zero: true }))], [3, 0]);
    assert.equal(ask({ min: 0, zero: true }, { waiting: 1 }), 1);
  });

  test("step: a fifth of the maximum at a time while more than 5 calls per second come, then straight to the minimum", () => {
    const settings = { ...defaultPolicySettings.openfaas, type: "step" as const };
    const metrics = new Metrics(45 * second);
    let state = initialOpenFaasState(1, 0);
    const changes: [number, number | undefined][] = [];
    for (let at = 0; at <= 150; at += 2) {
      for (const half of [at, at + 1]) metrics.record(half * second, { ...quiet, completed: half < 100 ? 6 : 0 });
      const decision = decideOpenFaas(settings, state, metrics, { ...nobody, ready: 1 }, bounds, at * second);
      ({ state } = decision);
      if (changes.at(-1)?.[1] !== decision.verdict.desired) changes.push([at, decision.verdict.desired]);
    }
    // At 8 s the last ten hold more than 5 a second; 5 s later comes the first step, then one each 30 s.
    assert.deepEqual(changes, [
      [0, 1],
      [14, 5],
      [44, 9],
      [74, 13],
      [100, 1],
    ]);
    assert.equal(decide({ type: "step", factor: 0 }, steady({ completed: 50 }), 1).desired, 1);
  });
});

describe("queue and cpu", () => {
  test("a number set by hand is a floor until it is set anew; zero holds until a call comes", () => {
    const config = {
      limits: defaultLimits,
      scaling: completeScaling({ policy: "queue", queue: { target: 2 }, min: 1, max: 4, keepAliveMs: 10 * second }),
    };
    const scaler = createAutoscaler(config, false, { now: 0, epochMs: 0 }, nobody)!;
    let at = 0;
    const decide = (standing: Partial<typeof nobody>, asked?: number) => {
      at += 2 * second;
      if (asked !== undefined) scaler.ask!(at, asked);
      return scaler.decide({ now: at, epochMs: at }, { ...nobody, ...standing }).desired;
    };
    assert.deepEqual([decide({}), decide({}, 3), decide({})], [1, 3, 3]);
    assert.equal(decide({ running: 8, ready: 3 }), 4);
    assert.deepEqual([decide({ ready: 4 }), decide({}, 2)], [3, 2]);
    assert.equal(decide({}, 6), 6, "over the maximum, too");
    assert.deepEqual([decide({ running: 1, ready: 6 }, 0), decide({})], [0, 0]);
    assert.deepEqual([decide({ waiting: 3 }), decide({})], [2, 1]);
  });

  test("queue: those that run and those that wait are shared out", () => {
    const decide = (running: number, waiting: number, target: number) =>
      decideQueue({ target, downWindowMs: 0 }, [], { ...nobody, running, waiting }, 0).verdict.desired;
    assert.deepEqual([decide(0, 0, 5), decide(1, 0, 5), decide(3, 8, 5), decide(0, 10, 1)], [0, 1, 3, 10]);
  });

  test("cpu: Kubernetes' formula, still within a tenth of the target, one while calls are there", () => {
    const settings = defaultPolicySettings.cpu;
    const decide = (cores: number, ready: number, share = 1, running = 0) =>
      decideCpu({ ...settings, downWindowMs: 0 }, [], { cores, share }, { ...nobody, ready, running }, 0).verdict;
    // 2 instances at 160 % of one processor: ceil(2 × 160 ÷ 80).
    assert.equal(decide(3.2, 2).desired, 4);
    assert.equal(decide(1.6, 2, 2).desired, 1);
    assert.deepEqual([decide(1.75, 2).desired, decide(1.77, 2).desired], [2, 3]);
    assert.match(decide(1.75, 2).reasons.join(), /87.5 % of 1 CPU over 15 s, 80 % aimed at: near enough, 2 stay/);
    assert.deepEqual([decide(0, 3).desired, decide(0, 3, 1, 1).desired], [0, 1]);
    assert.equal(decide(0, 0, 1, 1).desired, 1);
  });

  test("a wish is held back for its window, whatever the order of wishes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(40), { minLength: 1, maxLength: 50 }),
        fc.integer({ min: 1, max: 20 }),
        (loads, ticks) => {
          let recommended: Parameters<typeof decideQueue>[1] = [];
          for (const [tick, waiting] of loads.entries()) {
            const decision = decideQueue(
              { target: 1, downWindowMs: ticks * 2000 },
              recommended,
              { ...nobody, waiting },
              tick * 2000,
            );
            ({ recommended } = decision);
            assert.equal(decision.verdict.desired, Math.max(...loads.slice(Math.max(0, tick - ticks + 1), tick + 1)));
          }
        },
      ),
    );
  });
});

describe("series", () => {
  test("averages are over what was heard of, sums and extremes over the window", () => {
    const series = new Series(10 * second);
    assert.deepEqual([series.latest, series.average(5000), series.max(5000)], [0, 0, 0]);
    for (const [at, value] of [
      [0, 4],
      [1, 8],
      [4, 6],
    ] as const)
      series.record(at * second, value);
    assert.deepEqual([series.latest, series.sum(5000), series.average(60_000), series.max(2000)], [6, 18, 3.6, 6]);
    assert.deepEqual([series.min(60_000), series.min(1000)], [0, 6]);
    series.record(20 * second, 5);
    assert.deepEqual([series.sum(60_000), series.average(60_000)], [5, 5]);
  });

  test("it is the same as looking at all values again", () => {
    const records = fc.array(fc.tuple(fc.nat(6), fc.nat(100)), { minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(
        records,
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 30 }),
        (given, length, window) => {
          const series = new Series(length * second);
          const values = new Map<number, number>();
          let at = 0;
          for (const [ahead, value] of given) {
            at += ahead;
            series.record(at * second, value);
            values.set(at, value);
          }
          const span = Math.min(length, window);
          let sum = 0;
          for (let back = 0; back < span; back++) sum += values.get(at - back) ?? 0;
          assert.equal(series.sum(window * second), sum);
        },
      ),
    );
  });
});

describe("towards a target", () => {
  const state = { target: 5, why: "because", ready: 1, starting: 2, failures: 0, waiting: 0 };

  test("what is missing starts, and one at a time after a failure", () => {
    assert.deepEqual(decideTowards(state), { start: 2, reason: "because" });
    assert.equal(decideTowards({ ...state, ready: 3 }).start, 0);
    assert.equal(decideTowards({ ...state, ready: 9 }).start, 0);
    assert.equal(decideTowards({ ...state, failures: 1 }).start, 0);
    assert.equal(decideTowards({ ...state, failures: 1, starting: 0 }).start, 1);
    assert.match(decideTowards({ ...state, ready: 3, waiting: 4 }).reason, /4 waiting: because/);
  });

  test("of too many those go that run least, then those idle longest", () => {
    const candidates = [
      { item: "busy", running: 2, idleMs: 0 },
      { item: "fresh", running: 0, idleMs: 10 },
      { item: "stale", running: 0, idleMs: 99 },
      { item: "working", running: 1, idleMs: 0 },
    ];
    assert.deepEqual(surplus(candidates, 3), ["stale", "fresh", "working"]);
    assert.deepEqual(surplus(candidates, 0), []);
    assert.equal(surplus(candidates, 9).length, 4);
  });
});
