import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { KeepAliveSettings } from "../../src/core/model.ts";
import { type Rig, revisionOf, rig } from "./rig.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

/** Starts take 100 ms, and each call is answered at once. */
function answering(world: Rig): Rig {
  world.runtime.startMs = 100;
  world.runtime.onCall = (running) => void world.clock.after(1, () => running.answer());
  return world;
}

function deployed(keepAlive: KeepAliveSettings, more: { min?: number } = {}): Rig {
  const world = answering(rig());
  world.functions.deploy(revisionOf({ scaling: { keepAlive, min: more.min ?? 0 } }));
  return world;
}

/** A call, seen to its end; whether it was cold. */
async function call(world: Rig): Promise<boolean> {
  const call = world.call();
  for (let step = 0; step < 200 && call.settled === 0; step++) await world.clock.advance(5);
  assert.equal(call.ended, 1, call.error?.message ?? "it did not end");
  return world.records.at(-1)!.usage.coldStart;
}

async function everyHour(world: Rig, count: number): Promise<boolean[]> {
  const cold: boolean[] = [];
  for (let index = 0; index < count; index++) {
    const at = world.clock.monotonic();
    cold.push(await call(world));
    await world.clock.advance(hour - (world.clock.monotonic() - at));
  }
  return cold;
}

const reasons = (world: Rig): string[] =>
  world.pool.decisions({ namespace: "default", name: "hello" }).map(({ reason }) => reason);

describe("keep-alive by policy", () => {
  test("learned: an hourly function is let go after seconds and has an instance again just before each call", async () => {
    const world = deployed({ policy: "learned" });
    const cold = await everyHour(world, 8);
    assert.equal(cold[0], true);
    assert.deepEqual(cold.slice(3), [false, false, false, false, false]);
    // Half an hour after a call nothing is held.
    await call(world);
    await world.clock.advance(30 * minute);
    assert.equal(world.pool.instances().length, 0);
    assert.equal(world.pool.memory().usedMb, 0);
    assert.ok(
      reasons(world).some((reason) => /^learned: kept until .* it is called every 60 min/.test(reason)),
      reasons(world).join("\n"),
    );
  });

  test("hybrid: kept for four hours while nothing is known, then up to the 99th percentile", async () => {
    const world = deployed({ policy: "hybrid" });
    await call(world);
    await world.clock.advance(3.9 * hour);
    assert.equal(world.pool.instances().length, 1);
    await world.clock.advance(0.2 * hour);
    assert.equal(world.pool.instances().length, 0);
    assert.match(reasons(world)[0]!, /^hybrid: its idle times show no pattern/);
  });

  test("greedy-dual: kept until its memory is needed", async () => {
    const world = answering(rig({ budget: { memoryMb: 300, instances: 10, starts: 2 } }));
    world.functions.deploy(revisionOf({ scaling: { keepAlive: { policy: "greedy-dual" } } }));
    world.functions.deploy(revisionOf({ name: "other" }));
    await call(world);
    await world.clock.advance(5 * hour);
    assert.equal(world.pool.instances().length, 1);
    const other = world.call({ name: "other" });
    for (let step = 0; step < 200 && other.settled === 0; step++) await world.clock.advance(20);
    assert.equal(other.ended, 1);
    assert.deepEqual(
      world.pool.instances().map(({ name }) => name),
      ["other"],
    );
  });

  test("an instance is made ahead only where there is room that nobody has", async () => {
    const world = answering(rig({ budget: { memoryMb: 256, instances: 10, starts: 2 } }));
    world.functions.deploy(revisionOf({ scaling: { keepAlive: { policy: "learned" } } }));
    world.functions.deploy(revisionOf({ name: "other", scaling: { keepAliveMs: 24 * hour } }));
    await everyHour(world, 5);
    await call(world);
    await world.clock.advance(minute);
    const other = world.call({ name: "other" });
    for (let step = 0; step < 200 && other.settled === 0; step++) await world.clock.advance(20);
    await world.clock.advance(hour);
    assert.deepEqual(
      world.pool.instances().map(({ name }) => name),
      ["other"],
    );
    assert.ok(reasons(world).some((reason) => /no room to start ahead/.test(reason)));
  });

  test("the next revision begins with what is known; the old one gets no instance any more", async () => {
    const world = deployed({ policy: "learned" });
    await everyHour(world, 6);
    world.functions.deploy(revisionOf({ number: 2, scaling: { keepAlive: { policy: "learned" } } }));
    await world.clock.advance(0);
    const first = await everyHour(world, 1);
    assert.equal(first.length, 1);
    await call(world);
    await world.clock.advance(minute);
    assert.equal(world.pool.instances().length, 0, "it knows that the next call is an hour away");
    await world.clock.advance(hour - minute);
    assert.deepEqual(
      world.pool.instances().map(({ revision }) => revision),
      [2],
    );
  });

  test("a deleted function is not started for; neither is anything once the platform drains", async () => {
    const world = deployed({ policy: "learned" });
    await everyHour(world, 5);
    await call(world);
    await world.clock.advance(10 * minute);
    world.functions.delete({ namespace: "default", name: "hello" });
    await world.clock.advance(3 * hour);
    assert.equal(world.pool.instances().length, 0);

    const other = deployed({ policy: "learned" });
    await everyHour(other, 5);
    await call(other);
    await other.clock.advance(10 * minute);
    await other.pool.drain(0);
    await other.clock.advance(3 * hour);
    assert.equal(other.pool.instances().length, 0);
  });

  test("min stays whatever the policy says", async () => {
    const world = deployed({ policy: "learned" }, { min: 1 });
    await everyHour(world, 4);
    await world.clock.advance(30 * minute);
    assert.equal(world.pool.instances().length, 1);
  });

  test("a thousand calls one after the other are one question to the policy", async () => {
    const world = deployed({ policy: "learned" });
    for (let index = 0; index < 200; index++) await call(world);
    await world.clock.advance(20 * hour);
    assert.match(
      reasons(world).find((reason) => reason.startsWith("learned"))!,
      /1 of 200 calls were cold/,
    );
  });
});
