import assert from "node:assert/strict";
import { test } from "node:test";
import { createIdentifier, timeOf } from "../../src/engine/identifier.ts";
import { seededChance, VirtualClock } from "./virtual-clock.ts";

test("ids are UUIDs of version 7 that carry the time of their making", () => {
  const clock = new VirtualClock(Date.UTC(2031, 5, 7) + 123);
  const identify = createIdentifier(clock, seededChance());
  const id = identify();
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(timeOf(id), clock.now());
});

test("ids grow within a millisecond, across milliseconds, and over a small step back of the clock", () => {
  const clock = new VirtualClock();
  const identify = createIdentifier(clock, seededChance());
  const ids: string[] = [];
  for (let index = 0; index < 20_000; index++) {
    if (index % 7000 === 6999) clock.set(clock.now() + 1);
    if (index === 15_000) clock.set(clock.now() - 5000);
    ids.push(identify());
  }
  assert.deepEqual(ids.toSorted(), ids);
  assert.equal(new Set(ids).size, ids.length);
});

test("a clock that is set back far is followed", () => {
  const clock = new VirtualClock();
  const identify = createIdentifier(clock, seededChance());
  identify();
  clock.set(clock.now() - 3_600_000);
  assert.equal(timeOf(identify()), clock.now());
});

test("what is no such id has no time", () => {
  for (const text of ["", "x", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f", "017F22E2-79B0-7CC3-98C4-DC0C0C07398F"]) {
    assert.equal(timeOf(text), undefined, text);
  }
});
