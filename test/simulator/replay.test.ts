import assert from "node:assert/strict";
import { test } from "node:test";
import { fixedPolicy } from "../../src/core/keep-alive/fixed.ts";
import type { KeepAlivePolicy } from "../../src/core/keep-alive/policy.ts";
import { CacheReplay } from "../../src/simulator/cache-replay.ts";
import { Replay } from "../../src/simulator/replay.ts";
import { percentile } from "../../src/simulator/simulate.ts";
import { DayBuilder, type DayOfCalls, dayMs } from "../../src/simulator/trace.ts";

const minute = 60_000;
const app = { name: "a", functions: 1, memoryMb: 100, startMs: 1000 };

/** [at, calls, gapMs, runMs] of each application. */
function dayOf(...applications: (readonly [number, number, number, number])[][]): DayOfCalls {
  const builder = new DayBuilder(applications.length);
  builder.begin();
  for (const entries of applications) {
    for (const entry of entries) builder.add(...entry);
    builder.next();
  }
  return builder.day();
}

test("by hand: ten minutes fixed, four calls", () => {
  const replay = new Replay(fixedPolicy(10 * minute), [app]);
  // Out of order on purpose: the day puts them in order.
  replay.day(
    0,
    dayOf([
      [15 * minute, 1, 0, 2000],
      [0, 1, 0, 2000],
      [5 * minute, 1, 0, 2000],
      [5 * minute + 1000, 1, 0, 500],
    ]),
  );
  replay.finish(dayMs);
  const { calls, cold, idleMs, busyMs } = replay.outcome;
  assert.equal(calls[0], 4);
  // The first, and none else: 15 min is 9 min 58 s after the end of the second.
  assert.equal(cold[0], 1);
  const idle = 5 * minute - 3000 + (10 * minute - 2000) + 10 * minute;
  assert.equal(idleMs[0], idle);
  assert.equal(busyMs[0], 6500);
  assert.equal(replay.waits.waitMs(0.5), 0);
  assert.ok(Math.abs(replay.waits.waitMs(1) - 1000) < 30);
});

test("a run of many calls counts as many, idle between them", () => {
  const replay = new Replay(fixedPolicy(minute), [app]);
  replay.day(0, dayOf([[0, 10, 1000, 200]]));
  replay.finish(minute);
  assert.equal(replay.outcome.calls[0], 10);
  assert.equal(replay.outcome.cold[0], 1);
  assert.equal(replay.outcome.idleMs[0], 9 * 800 + (minute - 9200));
});

test("an instance made ahead serves; a call during its start waits for the rest and is cold; one that nobody calls is wasted", () => {
  const asked: number[] = [];
  const policy: KeepAlivePolicy = {
    name: "learned",
    begin: () => ({}),
    observe: (_state, _idle, _now, _times, cold) => void asked.push(cold ? 1 : 0),
    decide: (_state, idleMs) =>
      idleMs === 0 ? { keepMs: minute, prewarmMs: 5 * minute } : { keepMs: 7 * minute, prewarmMs: Infinity },
    explain: () => "",
  };
  const replay = new Replay(policy, [app]);
  const gaps = [6 * minute, 5 * minute + 400, 8 * minute, 30_000];
  let at = 0;
  replay.day(0, dayOf([[0, 1, 0, 0] as const, ...gaps.map((gap) => [(at += gap), 1, 0, 0] as const)]));
  const { cold, idleMs, prewarmed } = replay.outcome;
  assert.deepEqual(asked, [0, 1, 1, 0]);
  assert.equal(cold[0], 3);
  assert.equal(prewarmed, 3);
  // The first call ended after its start of 1 s, the second one of the cold after 600 ms, the third after 1 s.
  const afterFirst = minute + (6 * minute - 1000 - 5 * minute);
  const afterSecond = minute + 400;
  const afterThird = minute + 2 * minute;
  assert.equal(idleMs[0], afterFirst + afterSecond + afterThird + (30_000 - 1000));
});

test("by hand: Greedy-Dual gives up the least often used, and its clock lets the newcomer in", () => {
  const replay = new CacheReplay([app, app, app], 200);
  replay.day(
    0,
    dayOf(
      [
        [0, 1, 0, 0],
        [minute, 1, 0, 0],
        [10 * minute, 1, 0, 0],
      ],
      [
        [2 * minute, 1, 0, 0],
        [20 * minute, 1, 0, 0],
      ],
      [[5 * minute, 1, 0, 0]],
    ),
  );
  replay.finish(30 * minute);
  // The third needs the second's place; the second, back again, then finds the third the least.
  assert.deepEqual([...replay.outcome.cold], [1, 2, 1]);
  assert.equal(replay.outcome.idleMs[2], 15 * minute - 1000);
});

test("percentiles are by nearest rank", () => {
  assert.equal(percentile([1, 2, 3, 4], 0.5), 2);
  assert.equal(percentile([1, 2, 3, 4], 0.75), 3);
  assert.equal(percentile([1, 2, 3, 4], 0.76), 4);
});
