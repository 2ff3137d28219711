import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type DemandState, decideStarts, startBackoffMs } from "../../src/core/scaling/demand.ts";

const calm: DemandState = {
  waiting: 0,
  oldestWaitMs: 0,
  ready: 0,
  starting: 0,
  concurrency: 1,
  min: 0,
  max: 100,
  idle: 0,
  spare: 0,
  failures: 0,
  typicalRunMs: undefined,
  typicalStartMs: undefined,
};

test("as many instances start as the waiting calls need, counting those on their way", () => {
  assert.equal(decideStarts({ ...calm, waiting: 10, concurrency: 4 }).start, 3);
  assert.equal(decideStarts({ ...calm, waiting: 10, concurrency: 4, starting: 2 }).start, 1);
  assert.equal(decideStarts({ ...calm, waiting: 10, concurrency: 4, starting: 3 }).start, 0);
  assert.equal(decideStarts({ ...calm, waiting: 10, max: 6, ready: 4 }).start, 2);
});

test("the floor is kept without a call", () => {
  assert.deepEqual(decideStarts({ ...calm, min: 2, ready: 1 }), { start: 1, reason: "min is 2" });
});

test("instances to spare are started beside those that have calls, as far as there are none, and up to max", () => {
  const busy = { ...calm, ready: 2, spare: 2 };
  assert.deepEqual(decideStarts(busy), { start: 2, reason: "0 of 2 to spare" });
  assert.equal(decideStarts({ ...busy, ready: 3, idle: 1 }).start, 1);
  assert.equal(decideStarts({ ...busy, ready: 4, idle: 2 }).start, 0);
  assert.equal(decideStarts({ ...busy, starting: 1 }).start, 1);
  assert.equal(decideStarts({ ...busy, max: 3 }).start, 1);
  assert.equal(decideStarts({ ...busy, failures: 1 }).start, 1);
});

test("a line that is over before a start helps starts nothing, unless it turns out longer", () => {
  const line = { ...calm, waiting: 10, ready: 1, typicalRunMs: 5, typicalStartMs: 100 };
  assert.equal(decideStarts(line).start, 0);
  assert.match(decideStarts(line).reason, /served in 50 ms, a start takes 100 ms/);
  assert.equal(decideStarts({ ...line, oldestWaitMs: 100 }).start, 10);
  assert.equal(decideStarts({ ...line, typicalRunMs: 11 }).start, 10);
});

test("after a failed start one is tried at a time, after a pause that grows to 10 s", () => {
  assert.equal(decideStarts({ ...calm, waiting: 50, failures: 1 }).start, 1);
  assert.equal(decideStarts({ ...calm, waiting: 50, failures: 1, starting: 1 }).start, 0);
  assert.deepEqual([0, 1, 2, 3, 50].map(startBackoffMs), [0, 200, 400, 800, 10_000]);
});

test("whatever the state, max is kept, and with nothing on its way somebody in line is not left alone", () => {
  const state = fc.record({
    waiting: fc.nat(2000),
    oldestWaitMs: fc.nat(1000),
    ready: fc.nat(120),
    starting: fc.nat(120),
    concurrency: fc.integer({ min: 1, max: 100 }),
    min: fc.nat(10),
    max: fc.integer({ min: 10, max: 110 }),
    idle: fc.nat(20),
    spare: fc.nat(20),
    failures: fc.nat(4),
    typicalRunMs: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: undefined }),
    typicalStartMs: fc.option(fc.double({ min: 0, max: 1e5, noNaN: true }), { nil: undefined }),
  });
  fc.assert(
    fc.property(state, (given) => {
      const { start, reason } = decideStarts(given);
      const present = given.ready + given.starting;
      assert.ok(Number.isInteger(start) && start >= 0);
      assert.ok(start === 0 || present + start <= Math.max(given.max, given.min));
      assert.notEqual(reason, "");
      if (given.waiting > 0 && present === 0) assert.ok(start > 0);
    }),
  );
});
