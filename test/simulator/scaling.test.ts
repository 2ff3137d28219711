import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { defaultLimits } from "../../src/core/defaults.ts";
import { policyOf } from "../../src/core/keep-alive/policies.ts";
import type { ScalingSettings } from "../../src/core/model.ts";
import { completeScaling } from "../../src/core/scaling/settings.ts";
import type { FleetSettings } from "../../src/simulator/fleet.ts";
import { ScalingReplay, simulateScaling } from "../../src/simulator/scaling.ts";
import { SyntheticTrace } from "../../src/simulator/synthetic.ts";
import { DayBuilder, type DayOfCalls, dayMs } from "../../src/simulator/trace.ts";

const app = { name: "a", functions: 1, memoryMb: 100, startMs: 1000 };
const minute = 60_000;

type Entry = readonly [at: number, calls: number, gapMs: number, runMs: number];

function dayOf(entries: readonly Entry[]): DayOfCalls {
  const builder = new DayBuilder(1);
  builder.begin();
  for (const entry of entries) builder.add(...entry);
  builder.next();
  return builder.day();
}

function settings(scaling: ScalingSettings, concurrency = 1): FleetSettings {
  const complete = completeScaling({ max: 1000, ...scaling });
  return {
    config: { limits: { ...defaultLimits, concurrency }, scaling: complete },
    keepAlive: complete.keepAlive?.policy === "learned" ? policyOf("learned", { keepMs: minute }) : undefined,
  };
}

function replayed(given: FleetSettings, entries: readonly Entry[], end = dayMs) {
  const replay = new ScalingReplay(given, [app]);
  replay.day(0, dayOf(entries));
  replay.finish(end);
  return replay.outcome;
}

describe("demand", () => {
  const demand = settings({ policy: "demand", keepAliveMs: minute });

  test("by hand: two calls at once start two instances, each is kept for a minute", () => {
    const outcome = replayed(demand, [
      [0, 1, 0, 500],
      [0, 1, 0, 500],
    ]);
    assert.equal(outcome.calls, 2);
    assert.equal(outcome.waited, 2);
    assert.equal(outcome.starts, 2);
    assert.equal(outcome.mostInstances, 2);
    // A second of start, half a second of work, a minute of keep-alive, of both.
    assert.equal(outcome.instanceMs, 2 * (1000 + 500 + minute));
    assert.equal(outcome.busyMb, 2 * 500 * app.memoryMb);
    assert.ok(Math.abs(outcome.waits.waitMs(0.5) - 1000) < 30);
  });

  test("a call that comes within the keep-alive waits for nothing, one after it for a start", () => {
    const outcome = replayed(demand, [
      [0, 1, 0, 500],
      [minute, 1, 0, 500],
      [10 * minute, 1, 0, 500],
    ]);
    assert.equal(outcome.waited, 2);
    assert.equal(outcome.starts, 2);
  });

  test("a line that is served sooner than a start would help starts nothing", () => {
    const outcome = replayed(demand, [
      [0, 1, 0, 100],
      [2000, 1, 0, 100],
      [2001, 1, 0, 100],
    ]);
    assert.equal(outcome.starts, 1);
    assert.equal(outcome.waited, 2);
  });

  test("the last instance goes by the keep-alive policy, which has it made again before a call is due", () => {
    const calls = Array.from({ length: 140 }, (_, index): Entry => [index * 10 * minute, 1, 0, 100]);
    const learned = replayed(settings({ policy: "demand" }), calls);
    const fixed = replayed(demand, calls);
    assert.equal(fixed.waited, 140);
    assert.ok(learned.waited <= 3, `${learned.waited}`);
    assert.ok(learned.instanceMs < dayMs / 4, `${learned.instanceMs / dayMs}`);
  });

  test("a line that is full turns calls away", () => {
    const full: FleetSettings = settings({ policy: "demand", max: 1 });
    const entries = Array.from({ length: 1500 }, (): Entry => [0, 1, 0, 10]);
    const outcome = replayed(full, entries);
    assert.equal(outcome.refused, 500);
    assert.equal(outcome.waited, 1000);
  });
});

describe("policies that are asked at intervals", () => {
  const steady: Entry[] = [[0, 600, 500, 2000]];

  test("kpa goes to the instances that a steady load wants, at its utilisation, and to zero after it", () => {
    const outcome = replayed(settings({ policy: "kpa" }), steady, 30 * minute);
    assert.equal(outcome.calls, 600);
    // Four calls at a time, 70 % each: six.
    assert.ok(outcome.mostInstances >= 6 && outcome.mostInstances <= 20, `${outcome.mostInstances}`);
    const idleEnd = replayed(settings({ policy: "kpa" }), steady, 60 * minute);
    assert.equal(idleEnd.instanceMs, outcome.instanceMs);
  });

  test("queue shares calls out, openfaas counts requests: each by its own rule", () => {
    const queue = replayed(settings({ policy: "queue", queue: { target: 1 } }), steady);
    const lazy = replayed(settings({ policy: "queue", queue: { target: 100 } }), steady);
    assert.ok(queue.mostInstances > lazy.mostInstances);
    assert.ok(queue.waits.waitMs(0.99) < lazy.waits.waitMs(0.99));
    const openfaas = replayed(settings({ policy: "openfaas" }), steady);
    assert.ok(openfaas.mostInstances >= 1);
    assert.equal(openfaas.calls, 600);
  });

  test("an instance that takes many calls at a time needs fewer of its kind", () => {
    const one = replayed(settings({ policy: "kpa" }), steady);
    const many = replayed(settings({ policy: "kpa" }, 10), steady);
    assert.ok(many.instanceMs < one.instanceMs);
  });
});

const policies = ["demand", "kpa", "queue", "cpu", "openfaas"] as const;
const entry = fc.tuple(
  fc.integer({ min: 0, max: 20 * minute }),
  fc.integer({ min: 1, max: 40 }),
  fc.integer({ min: 10, max: 5000 }),
  fc.integer({ min: 1, max: 8000 }),
);

test("whatever comes, each call is served or refused once, and instances hold at least the work", () => {
  fc.assert(
    fc.property(
      fc.array(entry, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(...policies),
      fc.integer({ min: 1, max: 8 }),
      (entries, policy, concurrency) => {
        const outcome = replayed(settings({ policy }, concurrency), entries);
        const calls = entries.reduce((sum, [, count]) => sum + count, 0);
        assert.equal(outcome.calls, calls);
        assert.equal(outcome.refused, 0);
        const work = entries.reduce((sum, [, count, , runMs]) => sum + count * runMs, 0);
        assert.ok(Math.abs(outcome.busyMb * concurrency - work * app.memoryMb) <= 1e-6 * work * app.memoryMb + 1e-3);
        assert.ok(outcome.heldMb >= outcome.busyMb - 1e-3);
      },
    ),
    { numRuns: 200 },
  );
});

/** Settings that each have another reason to let an instance go, or to keep it. */
const kept: ScalingSettings[] = [
  { policy: "kpa" },
  { policy: "kpa", min: 1 },
  { policy: "kpa", kpa: { aggregation: "weighted-exponential", windowMs: 20_000 } },
  { policy: "kpa", kpa: { metric: "rps", target: 2, retentionMs: 5 * minute } },
  { policy: "kpa", kpa: { targetBurstCapacity: 3, graceMs: 2 * minute } },
  { policy: "kpa", kpa: { targetBurstCapacity: 0, retentionMs: minute } },
  { policy: "kpa", kpa: { targetBurstCapacity: -1, maxScaleDownRate: 1.2, panicThresholdPercent: 110 } },
  { policy: "kpa", kpa: { scaleToZero: false, activationScale: 3 } },
  { policy: "kpa", kpa: { scaleDownDelayMs: minute } },
  { policy: "queue", queue: { target: 1, downWindowMs: 2 * minute } },
  { policy: "queue", keepAliveMs: 10 * minute },
  { policy: "cpu", cpu: { targetPercent: 50 } },
  { policy: "cpu", keepAliveMs: 3 * minute, cpu: { downWindowMs: 0 } },
  { policy: "openfaas" },
  { policy: "openfaas", openfaas: { type: "capacity", target: 1, zero: true, zeroAfterMs: 4 * minute } },
  { policy: "openfaas", openfaas: { type: "step", stepMs: 10_000 } },
  { policy: "openfaas", openfaas: { type: "cpu", downWindowMs: minute, target: 300 } },
  { policy: "expression", expression: { formula: "max(rate(requests[1m]), avg(instances[30s]) - 1)" } },
  { policy: "expression", expression: { formula: "increase(completed[5m])", downWindowMs: minute } },
];
const seldom = fc.tuple(
  fc.integer({ min: 0, max: 3 * 60 * minute }),
  fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 200 })),
  fc.integer({ min: 10, max: 5000 }),
  fc.oneof(fc.integer({ min: 1, max: 8000 }), fc.integer({ min: 1, max: 3 * minute })),
);

test("seconds that are left out come to the same as all of them one by one, to the last digit", () => {
  fc.assert(
    fc.property(
      fc.array(seldom, { minLength: 1, maxLength: 12 }),
      fc.constantFrom(...kept),
      fc.constantFrom(1, 2, 10),
      (entries, scaling, concurrency) => {
        const given = settings(scaling, concurrency);
        const end = 4 * 60 * minute;
        assert.deepEqual(replayed(given, entries, end), replayed({ ...given, everySecond: true }, entries, end));
      },
    ),
    { numRuns: 1500 },
  );
});

for (const policy of policies) {
  test(`${policy}: stretches told as one come to the same as their calls told one by one`, () => {
    // Demand counts how long each instance is idle: of several stretches another instance may serve each.
    const stretches = { minLength: 1, maxLength: policy === "demand" ? 1 : 3 };
    fc.assert(
      fc.property(fc.array(entry, stretches), fc.integer({ min: 1, max: 3 }), (few, concurrency) => {
        const entries = few.map(([at, calls, gapMs, runMs]): Entry => [at, 100 + calls * 10, gapMs, runMs]);
        const single = entries.flatMap(([at, calls, gapMs, runMs]) =>
          Array.from({ length: calls }, (_, index): Entry => [at + index * gapMs, 1, 0, runMs]),
        );
        const given = settings({ policy, keepAliveMs: minute }, concurrency);
        const [together, apart] = [replayed(given, entries), replayed(given, single)];
        assert.equal(together.calls, apart.calls);
        // What comes and ends at the same instant may do so in another order, and lines follow from that.
        assert.ok(Math.abs(together.waited - apart.waited) <= 0.2 * apart.calls, `${together.waited} ${apart.waited}`);
        const held = together.instanceMs / apart.instanceMs;
        assert.ok(Math.abs(held - 1) < (policy === "demand" ? 0.25 : 0.02), `${held}`);
        assert.ok(Math.abs(together.busyMb / apart.busyMb - 1) < 1e-9);
      }),
      { numRuns: 100 },
    );
  });
}

test("two policies over one synthetic trace: the same calls, all of them told", async () => {
  const trace = new SyntheticTrace({ functions: 60, days: 1, seed: 3 });
  const contestants = (["demand", "kpa"] as const).map((policy) => ({ label: policy, ...settings({ policy }) }));
  const [demand, kpa] = await simulateScaling(trace, contestants);
  assert.equal(demand!.calls, kpa!.calls);
  assert.ok(demand!.calls > 1000);
  for (const report of [demand!, kpa!]) {
    assert.ok(report.gbSeconds > report.wastedGbSeconds && report.wastedGbSeconds > 0);
    assert.ok(report.latencyMs.p50 <= report.latencyMs.p99 && report.waitMs.p99 <= report.latencyMs.p99);
    assert.ok(report.starts > 0 && report.meanInstances > 0);
  }
});
