import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { serialize } from "node:v8";
import fc from "fast-check";
import { forecast } from "../../src/core/keep-alive/arima.ts";
import { fixedPolicy } from "../../src/core/keep-alive/fixed.ts";
import { GreedyDualClock, priority } from "../../src/core/keep-alive/greedy-dual.ts";
import { hybridPolicy } from "../../src/core/keep-alive/hybrid.ts";
import { binOf, noIdleTimes, worthwhile } from "../../src/core/keep-alive/idle-times.ts";
import { learnedPolicy } from "../../src/core/keep-alive/learned.ts";
import { policyNames, policyOf } from "../../src/core/keep-alive/policies.ts";
import type { KeepAlivePolicy, Plan } from "../../src/core/keep-alive/policy.ts";

const minute = 60_000;
const hour = 60 * minute;
const cost = { memoryMb: 160, startMs: 100 };
const never = Number.POSITIVE_INFINITY;

/** A function called at these times, each call short; what is planned after the last, and how many were cold. */
function called<S>(policy: KeepAlivePolicy<S>, times: readonly number[]): { state: S; plan: Plan; cold: number } {
  const state = policy.begin(times[0]!);
  let plan = policy.decide(state, 0, times[0]!, cost);
  let cold = 1;
  for (const [index, at] of times.entries()) {
    if (index === 0) continue;
    const from = times[index - 1]!;
    const idle = at - from;
    while (plan.keepMs < idle && plan.prewarmMs < idle)
      plan = policy.decide(state, plan.prewarmMs, from + plan.prewarmMs, cost);
    const missed = idle > plan.keepMs;
    if (missed) cold++;
    policy.observe(state, idle, at, 1, missed);
    plan = policy.decide(state, 0, at, cost);
  }
  return { state, plan, cold };
}

const every = (period: number, count: number, start = 0): number[] =>
  Array.from({ length: count }, (_, index) => start + index * period);

describe("fixed", () => {
  test("keeps for its time, whatever comes", () => {
    const { plan, state } = called(fixedPolicy(minute), every(hour, 5));
    assert.deepEqual(plan, { keepMs: minute, prewarmMs: never });
    assert.match(fixedPolicy(minute).explain(state, plan), /60 s/);
  });
});

describe("greedy-dual", () => {
  test("often used, slow to start and small counts for more; the clock outweighs what was used long ago", () => {
    const base = priority(0, 2, cost);
    assert.ok(priority(0, 3, cost) > base);
    assert.ok(priority(0, 2, { ...cost, startMs: 200 }) > base);
    assert.ok(priority(0, 2, { ...cost, memoryMb: 320 }) < base);
    assert.ok(priority(base, 1, cost) > base);
  });
});

describe("hybrid", () => {
  test("with nothing known the instance is kept for the whole range of four hours", () => {
    assert.deepEqual(called(hybridPolicy, [0]).plan, { keepMs: 4 * hour, prewarmMs: never });
  });

  test("by hand: calls each 30 min to 31 min are expected from 27 min on, up to 34.1 min", () => {
    const { state, plan } = called(hybridPolicy, every(30.5 * minute, 20));
    assert.deepEqual(plan, { keepMs: 0, prewarmMs: 27 * minute });
    assert.equal(Math.round(hybridPolicy.decide(state, plan.prewarmMs, 0, cost).keepMs), Math.round(31 * minute * 1.1));
    assert.match(hybridPolicy.explain(state, plan), /made again after 27 min/);
  });

  test("a head in the first bin is not let go for", () => {
    const { plan } = called(hybridPolicy, every(30_000, 50));
    assert.deepEqual(plan, { keepMs: minute * 1.1, prewarmMs: never });
  });

  test("idle times all over the range are no pattern", () => {
    let at = 0;
    const times = Array.from({ length: 240 }, (_, index) => (at += ((index * 97) % 240) * minute + 1000));
    assert.equal(called(hybridPolicy, times).plan.keepMs, 4 * hour);
  });

  test("idle times beyond the range are forecast, with 15 % on either side", () => {
    const { state, plan } = called(hybridPolicy, every(10 * hour, 12));
    assert.ok(Math.abs(plan.prewarmMs - 8.5 * hour) < minute);
    assert.ok(Math.abs(hybridPolicy.decide(state, plan.prewarmMs, 0, cost).keepMs - 11.5 * hour) < minute);
  });

  test("counts that would overflow are halved and keep their percentiles", () => {
    const state = hybridPolicy.begin(0);
    for (let round = 0; round < 5; round++) hybridPolicy.observe(state, 5.5 * minute, 0, 50_000, false);
    const plan = hybridPolicy.decide(state, 0, 0, cost);
    assert.equal(plan.prewarmMs, 4.5 * minute);
  });
});

describe("ARIMA", () => {
  test("a constant goes on", () => assert.equal(Math.round(forecast([7, 7, 7, 7, 7, 7])), 7));
  test("an alternation is seen", () => {
    const next = forecast([10, 2, 10, 2, 10, 2, 10, 2, 10, 2, 10, 2]);
    assert.ok(next > 8, `${next}`);
  });
  test("a rise is followed up to its last value at least", () => {
    assert.ok(forecast([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) >= 9.9);
  });
  test("it is never below zero and never not a number", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { maxLength: 32 }), (series) => {
        const next = forecast(series);
        return next >= 0 && Number.isFinite(next);
      }),
    );
  });
});

describe("the parts of an idle time that are worth memory", () => {
  const need = { share: 1, mayMiss: 0.05, cycleMs: 10 * minute, cost: { memoryMb: 160, startMs: 10 } };

  test("where calls come after two typical times, they are those two, and not what lies between", () => {
    const bins = noIdleTimes();
    bins[binOf(10_000)] = 500;
    bins[binOf(20 * minute)] = 500;
    const parts = worthwhile(bins, need);
    assert.equal(parts.length, 4);
    assert.ok(parts[0]! <= 10_000 && parts[1]! > 10_000 && parts[1]! < minute);
    assert.ok(parts[2]! <= 20 * minute && parts[2]! > 10 * minute && parts[3]! > 20 * minute);
  });

  test("what may be missed is missed where it is dearest", () => {
    const bins = noIdleTimes();
    bins[binOf(10_000)] = 970;
    bins[binOf(6 * hour)] = 30;
    assert.ok(worthwhile(bins, need).at(-1)! < hour);
    assert.ok(worthwhile(bins, { ...need, mayMiss: 0.001, cycleMs: hour }).at(-1)! > 6 * hour);
  });

  test("memory makes it dearer, a slow start makes it worth more", () => {
    const bins = noIdleTimes();
    bins[binOf(10_000)] = 97;
    bins[binOf(2 * minute)] = 3;
    const longest = (memoryMb: number, startMs: number): number =>
      worthwhile(bins, { ...need, cost: { memoryMb, startMs } }).at(-1)!;
    assert.ok(longest(160, 30_000) > 2 * minute);
    assert.ok(longest(160, 10) < 2 * minute);
    assert.ok(longest(160 * 3000, 30_000) < 2 * minute);
  });
});

describe("learned", () => {
  const policy = learnedPolicy();

  test("a timer is met from its third call on, and memory is held for seconds", () => {
    for (const period of [minute, 5 * minute, hour, 24 * hour]) {
      const { plan, state, cold } = called(policy, every(period, 12, 12_345));
      assert.ok(cold <= 3, `${cold} cold starts each ${period} ms`);
      assert.equal(plan.keepMs, 5000);
      assert.ok(plan.prewarmMs < period - cost.startMs && plan.prewarmMs > period * 0.95, `${plan.prewarmMs}`);
      const ahead = policy.decide(state, plan.prewarmMs, 12_345 + period * 11 + plan.prewarmMs, cost);
      assert.ok(ahead.keepMs > period && ahead.keepMs < period * 1.05);
      assert.match(policy.explain(state, plan), /it is called every/);
    }
  });

  test("two timers of one function are told apart", () => {
    const times = [...every(5 * minute, 300), ...every(hour, 25, 2 * minute)].sort((a, b) => a - b);
    const { cold } = called(policy, times);
    assert.ok(cold <= times.length * 0.08, `${cold} of ${times.length}`);
  });

  test("a timer that is no more is forgotten after some misses", () => {
    const { state } = called(policy, every(10 * minute, 30));
    const last = 29 * 10 * minute;
    let plan = policy.decide(state, 0, last, cost);
    let made = 0;
    while (plan.prewarmMs < 7 * 24 * hour && made < 100) {
      made++;
      plan = policy.decide(state, plan.prewarmMs, last + plan.prewarmMs, cost);
    }
    assert.ok(made > 0 && made < 20, `${made} instances made for nobody`);
  });

  test("with chance calls it comes near its budget, whichever it is", () => {
    for (const share of [0.03, 0.1, 0.25]) {
      let seed = 7;
      const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
      let at = 0;
      const times = Array.from({ length: 4000 }, () => (at += -20 * minute * Math.log(1 - random())));
      const { cold } = called(learnedPolicy(share), times);
      assert.ok(Math.abs(cold / 4000 - share) < share * 0.35, `${cold / 4000} for ${share}`);
    }
  });

  test("asked at the time that it said itself, it keeps what was made", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 3 * 24 * hour }), { minLength: 1, maxLength: 60 }),
        fc.boolean(),
        (gaps, regular) => {
          const times = [0];
          for (const gap of gaps) times.push(times.at(-1)! + (regular ? Math.ceil(gap / hour) * hour : gap));
          const { state } = called(policy, times);
          const last = times.at(-1)!;
          let plan = policy.decide(state, 0, last, cost);
          for (let made = 0; made < 50 && plan.prewarmMs < never; made++) {
            const at = plan.prewarmMs;
            assert.ok(at >= plan.keepMs);
            plan = policy.decide(state, at, last + at, cost);
            assert.ok(plan.keepMs > at, `made at ${at}, kept until ${plan.keepMs}`);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

test("every policy's state is data of bounded size, and goes on as before when it was stored", () => {
  for (const name of policyNames) {
    const policy = policyOf(name, { keepMs: minute });
    const state = policy.begin(0);
    let now = 0;
    for (let call = 0; call < 3000; call++) {
      const idle = 1000 * 1.5 ** (call % 30);
      now += idle;
      policy.observe(state, idle, now, 1 + (call % 3), call % 7 === 0);
      policy.decide(state, 0, now, cost);
    }
    assert.ok(serialize(state).length < 1500, `${name}: ${serialize(state).length} bytes`);
    const copy = structuredClone(state);
    policy.observe(state, hour, now + hour, 1, true);
    policy.observe(copy, hour, now + hour, 1, true);
    const plan = policy.decide(state, 0, now + hour, cost);
    assert.deepEqual(policy.decide(copy, 0, now + hour, cost), plan);
    assert.ok(policy.explain(state, plan).length > 10);
  }
});

describe("the clock of greedy-dual", () => {
  test("is the priority of what went last, never goes back, and says what it was", () => {
    const clock = new GreedyDualClock();
    assert.equal(clock.at(5), 0);
    clock.gone(2, 10);
    clock.gone(1, 20);
    clock.gone(7, 30);
    assert.deepEqual(
      [9, 10, 25, 30, 99].map((time) => clock.at(time)),
      [0, 2, 2, 7, 7],
    );
    assert.equal(priority(clock.at(25), 3, { memoryMb: 128, startMs: 256 }), 2 + 6);
  });

  test("forgets what was long ago, and still counts forward", () => {
    const clock = new GreedyDualClock();
    for (let turn = 1; turn <= 20_000; turn++) clock.gone(turn, turn);
    assert.equal(clock.at(20_000), 20_000);
    assert.equal(clock.at(19_000), 19_000);
    assert.ok(clock.at(1) > 1 && clock.at(1) <= 20_000 - 4096);
  });
});
