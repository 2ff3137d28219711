import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { defaultPolicySettings } from "../../src/core/defaults.ts";
import { windowAverage } from "../../src/core/scaling/averages.ts";
import { decideKpa, initialKpaState, kpaTarget, panicWindowMs } from "../../src/core/scaling/kpa.ts";
import { initialActivity, type KpaActivity, settleKpaScale } from "../../src/core/scaling/kpa-zero.ts";
import { withValue, type RecentMaximum } from "../../src/core/scaling/recent-maximum.ts";

const { kpa } = defaultPolicySettings;
const target = { total: 100, aim: 70 };
const second = 1000;

describe("kpa: windows", () => {
  test("an average is over the seconds that were heard of, and a gap between two of them counts as nothing", () => {
    const window = windowAverage("linear", 60 * second);
    window.record(0, 50);
    assert.equal(window.average(0), 50);
    window.record(1 * second, 100);
    assert.equal(window.average(1 * second), 75);
    // Seconds 2 and 3 are missing: (50 + 100 + 0 + 0 + 30) ÷ 5.
    window.record(4 * second, 30);
    assert.equal(window.average(4 * second), 36);
    // Silence since then is cut off, and does not thin the average.
    assert.equal(window.average(10 * second), 36);
  });

  test("what leaves the window is forgotten; after a silence as long as the window it begins anew", () => {
    const window = windowAverage("linear", 6 * second);
    for (let at = 0; at < 6; at++) window.record(at * second, 60);
    window.record(6 * second, 0);
    assert.equal(window.average(6 * second), 50);
    assert.equal(window.average(11 * second), 0);
    assert.equal(window.average(12 * second), 0);
    assert.equal(window.empty(12 * second), false);
    assert.equal(window.empty(13 * second), true);
    window.record(20 * second, 7);
    assert.equal(window.average(20 * second), 7);
  });

  test("records of one second add up, late ones go where they belong, and six digits are kept", () => {
    const window = windowAverage("linear", 6 * second);
    window.record(1000, 1);
    window.record(1999, 1);
    window.record(3000, 8);
    window.record(2500, 2);
    assert.equal(window.average(3000), 4);
    window.record(4000, 0);
    window.record(5000, 0);
    window.record(6000, 0);
    assert.equal(window.average(6000), 2);
    window.record(-1000, 1e9);
    assert.equal(window.average(6000), 2);
    window.record(7000, 1);
    assert.equal(window.average(7000), 1.833333);
  });

  test("weighted: the newest second counts most, by a share that depends on the window's length", () => {
    const long = windowAverage("weighted-exponential", 60 * second);
    long.record(0, 10);
    assert.equal(long.average(0), 2);
    long.record(1 * second, 10);
    assert.ok(Math.abs(long.average(1 * second) - (10 * 0.2 + 10 * 0.2 * 0.8)) < 1e-12);
    // A second of silence weighs everything down by one step more.
    assert.ok(Math.abs(long.average(2 * second) - 3.6 * 0.8) < 1e-12);
    const short = windowAverage("weighted-exponential", 4 * second);
    short.record(0, 10);
    assert.ok(Math.abs(short.average(0) - 9) < 1e-9, "1 − 0.0001 ^ (1/4)");
  });

  test("a window's average lies within what was recorded", () => {
    const records = fc.array(fc.tuple(fc.nat(90), fc.double({ min: 0, max: 1e6, noNaN: true })), { minLength: 1 });
    fc.assert(
      fc.property(records, fc.integer({ min: 1, max: 80 }), (given, seconds) => {
        const window = windowAverage("linear", seconds * second);
        const bySecond = new Map<number, number>();
        let newest = 0;
        for (const [at, value] of given) {
          window.record(at * second, value);
          bySecond.set(at, (bySecond.get(at) ?? 0) + value);
          newest = Math.max(newest, at);
        }
        const most = Math.max(...bySecond.values());
        const average = window.average(newest * second);
        assert.ok(average >= -1e-3 && average <= most + 1e-3, `${average} of at most ${most}`);
      }),
    );
  });
});

describe("kpa: decisions", () => {
  test("a trace worked out by hand: a burst, its decay and the way to nothing", () => {
    // 50 in flight until 30 s, 1000 until 60 s, 300 until 100 s, then none; an instance is ready 4 ticks after it was asked for.
    const settings = { ...kpa, targetBurstCapacity: 200 };
    const stable = windowAverage("linear", settings.windowMs);
    const panic = windowAverage("linear", panicWindowMs(settings));
    let state = initialKpaState(0, 0);
    const asked: number[] = [];
    const seen: Record<number, number[]> = {};
    for (let at = 0; at <= 160; at++) {
      const load = at < 30 ? 50 : at < 60 ? 1000 : at < 100 ? 300 : 0;
      stable.record(at * second, load);
      panic.record(at * second, load);
      if (at % 2 === 1) continue;
      const ready = asked.length < 4 ? 1 : Math.max(1, Math.min(...asked.slice(-4)));
      const loads = { stable: stable.average(at * second), panic: panic.average(at * second) };
      const decision = decideKpa(settings, target, state, loads, { ready, reachable: true }, at * second);
      ({ state } = decision);
      asked.push(decision.desired);
      seen[at] = [loads.stable, loads.panic, ready, decision.desired, decision.excessBurst];
    }
    assert.deepEqual(seen[28], [50, 50, 1, 1, -150]);
    // (30 × 50 + 1000) ÷ 31 and (5 × 50 + 1000) ÷ 6; 208.3 ÷ 70 is 3, which is twice what is ready and more: panic.
    assert.deepEqual(seen[30], [80.645161, 208.333333, 1, 3, -309]);
    // (30 × 50 + 3 × 1000) ÷ 33; 525 ÷ 70 is 7.5.
    assert.deepEqual(seen[32], [136.363636, 525, 1, 8, -625]);
    assert.deepEqual(seen[34], [185.714286, 841.666667, 1, 13, -942]);
    assert.deepEqual(seen[36], [229.72973, 1000, 1, 15, -1100]);
    // With what was asked for ready, 15 × 100 − 200 − 300 are to spare.
    assert.deepEqual(seen[66], [554.166667, 300, 15, 15, 1000]);
    // The stable window still has 30 × 1000 in it: 8 are enough, but panic keeps 15 for as long as it lasts.
    assert.deepEqual(seen[100]!.slice(0, 2), [516.666667, 250]);
  });

  test("panic begins at twice what is ready, is renewed while it lasts, and ends a window after", () => {
    const ready = { ready: 2, reachable: true };
    const at = (state: ReturnType<typeof initialKpaState>, panic: number, now: number) =>
      decideKpa(kpa, target, state, { stable: 70, panic }, ready, now);
    let decision = at(initialKpaState(1, 0), 210, 0);
    assert.deepEqual([decision.state.panicSince, decision.desired], [undefined, 1]);
    decision = at(decision.state, 211, 2000);
    assert.deepEqual([decision.state.panicSince, decision.desired], [2000, 4]);
    decision = at(decision.state, 70 * 5, 4000);
    assert.deepEqual([decision.state.panicSince, decision.desired], [4000, 5]);
    decision = at(decision.state, 0, 64_000);
    assert.deepEqual([decision.state.panicSince, decision.desired], [4000, 5]);
    decision = at(decision.state, 0, 64_001);
    assert.deepEqual([decision.state.panicSince, decision.state.panicMost, decision.desired], [undefined, 0, 1]);
  });

  test("rates limit what one tick may change, and not where a revision has no traffic", () => {
    const slow = { ...kpa, maxScaleUpRate: 2, maxScaleDownRate: 2 };
    const decide = (stable: number, ready: number, reachable = true) =>
      decideKpa(slow, target, initialKpaState(0, 0), { stable, panic: 0 }, { ready, reachable }, 0);
    assert.equal(decide(7000, 3).desired, 6);
    assert.match(decide(7000, 3).reasons.join("; "), /100 instances; not above 6 in one tick/);
    assert.equal(decide(0, 9).desired, 4);
    assert.match(decide(0, 9).reasons.join("; "), /not below 4 in one tick/);
    assert.equal(decide(0, 9, false).desired, 0);
    // From one it may always go to none, and from none it counts as one.
    assert.deepEqual([decide(0, 1).desired, decide(7000, 0).desired], [0, 2]);
  });

  test("activation scale is a floor where there is any load, and none without", () => {
    const settings = { ...kpa, activationScale: 5 };
    const decide = (stable: number) =>
      decideKpa(settings, target, initialKpaState(0, 0), { stable, panic: 0 }, { ready: 1, reachable: true }, 0);
    assert.deepEqual([decide(0).desired, decide(0.01).desired, decide(700).desired], [0, 5, 10]);
    assert.match(decide(1).reasons.join("; "), /activation scale: 5 at least/);
  });

  test("a scale-down delay keeps the highest wish of its time, and lets more through at once", () => {
    const settings = { ...kpa, scaleDownDelayMs: 10_000 };
    let state = initialKpaState(1, 0);
    const desired = [700, 350, 350, 350, 350, 350, 70, 490].map((stable, tick) => {
      const decision = decideKpa(
        settings,
        target,
        state,
        { stable, panic: 0 },
        { ready: 10, reachable: true },
        tick * 2000,
      );
      ({ state } = decision);
      return decision.desired;
    });
    assert.deepEqual(desired, [10, 10, 10, 10, 10, 5, 5, 7]);
  });

  test("burst capacity: what is ready, less what is there and what may come", () => {
    const decide = (targetBurstCapacity: number) =>
      decideKpa(
        { ...kpa, targetBurstCapacity },
        target,
        initialKpaState(0, 0),
        { stable: 9, panic: 9.5 },
        { ready: 3, reachable: true },
        0,
      ).excessBurst;
    assert.deepEqual([211, 0, -1].map(decide), [79, 0, -1]);
  });

  test("the target is the smaller of what is aimed at and what an instance takes; rps has its own", () => {
    assert.deepEqual(kpaTarget(kpa, 0), { total: 100, aim: 70 });
    assert.deepEqual(kpaTarget(kpa, 10), { total: 10, aim: 7 });
    assert.deepEqual(kpaTarget({ ...kpa, target: 50 }, 10), { total: 10, aim: 7 });
    assert.deepEqual(kpaTarget({ ...kpa, target: 4, utilizationPercent: 50 }, 10), { total: 4, aim: 2 });
    assert.deepEqual(kpaTarget({ ...kpa, metric: "rps" }, 10), { total: 200, aim: 140 });
    assert.deepEqual(kpaTarget({ ...kpa, target: 0.01, utilizationPercent: 1 }, 0).aim, 0.01);
    assert.deepEqual(
      [60_000, 6000, 25_000].map((windowMs) => panicWindowMs({ ...kpa, windowMs })),
      [6000, 1000, 3000],
    );
  });

  test("the maximum of a window is that of what is in it", () => {
    const steps = fc.array(fc.tuple(fc.nat(3), fc.nat(9)), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 8 }), (given, size) => {
        let recent: RecentMaximum = [];
        const all: { at: number; value: number }[] = [];
        let at = 0;
        for (const [ahead, value] of given) {
          at += ahead;
          all.push({ at, value });
          recent = withValue(recent, at, value, size);
          const expected = Math.max(...all.filter((entry) => at - entry.at < size).map((entry) => entry.value));
          assert.equal(recent[0]!.value, expected);
        }
      }),
    );
  });
});

describe("kpa: to zero and back", () => {
  const input = {
    desired: 0,
    excessBurst: -1,
    ready: 1,
    min: 0,
    max: 10,
    reachable: true,
    startTimeoutMs: 600_000,
  };
  const active = (since: number): KpaActivity => ({
    active: "yes",
    since,
    initialized: true,
    proxyingSince: undefined,
  });
  const inactive = (since: number, proxyingSince: number | undefined): KpaActivity => ({
    active: "no",
    since,
    initialized: true,
    proxyingSince,
  });

  test("active for less than a stable window it keeps one; then it becomes inactive, with what is there", () => {
    const early = settleKpaScale(kpa, active(0), input, 59_999);
    assert.deepEqual([early.desired, early.activity.active], [1, "yes"]);
    const due = settleKpaScale(kpa, active(0), input, 60_000);
    assert.deepEqual([due.desired, due.activity.active, due.activity.since], [undefined, "no", 60_000]);
  });

  test("inactive it goes after the grace period, or the retention where that is longer", () => {
    const at = (settings: typeof kpa, now: number): number | undefined =>
      settleKpaScale(settings, inactive(0, 0), input, now).desired;
    assert.deepEqual([at(kpa, 29_999), at(kpa, 30_000)], [undefined, 0]);
    const kept = { ...kpa, retentionMs: 45_000 };
    assert.deepEqual([at(kept, 44_999), at(kept, 45_000)], [undefined, 0]);
    assert.equal(at({ ...kpa, scaleToZero: false }, 1e9), 1);
  });

  test("behind the activator for the grace period already, it goes at once, but never before the retention", () => {
    const at = (settings: typeof kpa, now: number): number | undefined =>
      settleKpaScale(settings, inactive(100_000, 60_000), input, now).desired;
    assert.equal(at(kpa, 100_000), 0);
    const grace = (proxyingSince: number): number | undefined =>
      settleKpaScale(kpa, inactive(100_000, proxyingSince), input, 100_000).desired;
    assert.deepEqual([grace(70_001), grace(70_000)], [undefined, 0]);
    assert.deepEqual(
      [at({ ...kpa, retentionMs: 5000 }, 104_999), at({ ...kpa, retentionMs: 5000 }, 105_000)],
      [undefined, 0],
    );
  });

  test("a call on the way to zero makes it active again", () => {
    const back = settleKpaScale(kpa, inactive(0, 0), { ...input, desired: 1 }, 10_000);
    assert.deepEqual([back.desired, back.activity.active], [1, "yes"]);
    const starting = settleKpaScale(kpa, inactive(0, 0), { ...input, desired: 1, ready: 0 }, 10_000);
    assert.deepEqual([starting.desired, starting.activity.active], [1, "activating"]);
  });

  test("without data nothing changes, and a revision that does not come up is given up", () => {
    const unknown = { ...input, desired: undefined };
    assert.equal(settleKpaScale(kpa, active(0), unknown, 5000).desired, undefined);
    const waiting = settleKpaScale(kpa, initialActivity(false, 0), { ...unknown, ready: 0 }, 600_000);
    assert.deepEqual([waiting.desired, waiting.activity.active], [undefined, "activating"]);
    const given = settleKpaScale(kpa, initialActivity(false, 0), { ...unknown, ready: 0 }, 630_001);
    assert.deepEqual([given.desired, given.activity.active], [0, "no"]);
  });

  test("a new revision has its initial scale until it was there once", () => {
    const settings = { ...kpa, initialScale: 3 };
    const first = settleKpaScale(settings, initialActivity(false, 0), { ...input, desired: 1 }, 0);
    assert.deepEqual([first.desired, first.activity.initialized], [3, false]);
    const there = settleKpaScale(settings, first.activity, { ...input, desired: 1, ready: 3 }, 2000);
    assert.deepEqual([there.desired, there.activity.initialized, there.activity.active], [3, true, "yes"]);
    assert.equal(settleKpaScale(settings, there.activity, { ...input, desired: 1, ready: 3 }, 4000).desired, 1);
    const unreachable = { ...input, desired: 1, reachable: false };
    assert.equal(settleKpaScale(settings, initialActivity(false, 0), unreachable, 0).desired, 1);
  });

  test("with room for a burst it is out of the activator's path, and back in it without", () => {
    const roomy = settleKpaScale(kpa, active(0), { ...input, desired: 3, excessBurst: 0 }, 1000);
    assert.equal(roomy.activity.proxyingSince, undefined);
    const tight = settleKpaScale(kpa, roomy.activity, { ...input, desired: 3 }, 3000);
    assert.equal(tight.activity.proxyingSince, 3000);
    assert.equal(settleKpaScale(kpa, tight.activity, { ...input, desired: 3 }, 5000).activity.proxyingSince, 3000);
  });

  test("whatever comes, what is applied is within the bounds", () => {
    const step = fc.record({
      desired: fc.option(fc.nat(50), { nil: undefined }),
      ready: fc.nat(20),
      excessBurst: fc.integer({ min: -5, max: 5 }),
      ahead: fc.nat(100_000),
    });
    const bounds = fc.tuple(fc.nat(5), fc.integer({ min: 5, max: 30 }), fc.nat(5));
    fc.assert(
      fc.property(fc.array(step), bounds, fc.boolean(), (steps, [min, max, initialScale], fresh) => {
        let activity = initialActivity(!fresh, 0);
        let now = 0;
        for (const { ahead, ...seen } of steps) {
          now += ahead;
          const scale = settleKpaScale({ ...kpa, initialScale }, activity, { ...input, ...seen, min, max }, now);
          ({ activity } = scale);
          if (scale.desired !== undefined) assert.ok(scale.desired >= min && scale.desired <= max);
          assert.ok(activity.since <= now);
        }
      }),
    );
  });
});
