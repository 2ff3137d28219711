import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import { completeScaling } from "../../src/core/scaling/settings.ts";
import type { Limits, Scaling, ScalingSettings } from "../../src/core/model.ts";
import { CallLoad } from "../../src/engine/scaler-load.ts";
import { ManualClock } from "./manual-clock.ts";
import { type Observed, type Rig, revisionOf, rig } from "./rig.ts";

const id = { namespace: "default", name: "hello" };

function deploy(world: Rig, scaling: ScalingSettings, limits: Partial<Limits> = {}): void {
  world.functions.deploy(revisionOf({ scaling: completeScaling(scaling), limits }));
}

function count({ pool }: Rig): number {
  return pool.instances(id).filter(({ state }) => state !== "draining").length;
}

/** Answers what runs. */
function answerAll({ runtime }: Rig): void {
  for (const running of runtime.running) if (running.cancelled === undefined) running.answer();
}

/** Answers until every call has ended, those too that wait for an instance on its way. */
async function finish(world: Rig, calls: readonly Observed[]): Promise<void> {
  for (let turn = 0; turn < 100 && calls.some(({ settled }) => settled === 0); turn++) {
    answerAll(world);
    await world.clock.advance(1);
  }
  assert.ok(calls.every(({ ended, failed }) => ended === 1 && failed === 0));
}

/** Keeps `level` calls in flight for `seconds`, each a second long; gives the number of instances at the end of each second. */
async function load(world: Rig, level: number, seconds: number): Promise<number[]> {
  const counts: number[] = [];
  for (let second = 0; second < seconds; second++) {
    const calls = Array.from({ length: level }, () => world.call());
    await world.clock.advance(900);
    const began = world.clock.monotonic();
    await finish(world, calls);
    await world.clock.advance(100 - (world.clock.monotonic() - began));
    counts.push(count(world));
  }
  return counts;
}

describe("scaler: kpa", () => {
  test("from nothing the first call starts one at once, and a burst is met by panic at the next ticks", async () => {
    const world = rig();
    deploy(world, { policy: "kpa" }, { concurrency: 10 });
    const calls = Array.from({ length: 100 }, () => world.call());
    await world.clock.advance(0);
    // Knative's activator reports the first request alone, and the rest at the end of the second.
    assert.equal(count(world), 1);
    assert.equal(world.runtime.running.length, 10);
    await world.clock.advance(4000);
    // (1 + 99 + 100 + 100 + 100) ÷ 5 in flight, 7 aimed at in each; later the panic window holds 100 alone.
    assert.equal(count(world), 12);
    await world.clock.advance(4000);
    assert.equal(count(world), 15);
    await finish(world, calls);
    assert.match(world.pool.decisions(id)[0]!.reason, /^kpa: .* calls in flight over 60 s, 7 aimed at in each: /);
    await world.invoker.drain(1000);
    // What was wanted is not started again while the platform goes down.
    await world.clock.advance(5000);
    assert.deepEqual([world.runtime.alive.length, world.pool.memory().usedMb, world.clock.pending], [0, 0, 0]);
  });

  test("to zero it goes a stable window and a grace period after the last call, and says why it has not yet", async () => {
    const world = rig();
    deploy(world, { policy: "kpa" }, { concurrency: 10 });
    const call = world.call();
    await world.clock.advance(500);
    await finish(world, [call]);
    await world.clock.advance(55_000);
    assert.equal(count(world), 1);
    await world.clock.advance(8000);
    assert.equal(count(world), 1);
    assert.match(world.pool.decisions(id)[0]!.reason, /active for .* 1 stays|inactive/);
    await world.clock.advance(40_000);
    assert.equal(count(world), 0);
    assert.match(world.pool.decisions(id).find(({ to, from }) => to < from)!.reason, /inactive for/);
    // Nothing is left that would tick: what is neither called nor there costs nothing.
    await world.clock.advance(120_000);
    assert.equal(world.clock.pending, 0);
    assert.deepEqual(
      world.pool.decisions(id).map(({ from, to }) => [from, to]),
      [
        [1, 0],
        [0, 1],
      ],
    );
  });

  test("min is kept without a call, and a revision without traffic has none", async () => {
    const world = rig();
    deploy(world, { policy: "kpa", min: 2 });
    await world.clock.advance(100_000);
    assert.equal(count(world), 2);
    world.runtime.alive[0]!.crash();
    await world.clock.advance(2000);
    assert.equal(count(world), 2);
    world.functions.deploy(revisionOf({ number: 2, scaling: completeScaling({ policy: "demand" }) }));
    await world.clock.advance(5000);
    assert.equal(count(world), 0);
  });

  test("a new revision has its initial scale once its trial start has succeeded", async () => {
    const world = rig();
    const revision = revisionOf({ scaling: completeScaling({ policy: "kpa", kpa: { initialScale: 3 } }) });
    const verified = world.pool.verify(revision, new AbortController().signal, () => {});
    await world.clock.advance(10);
    await verified;
    assert.equal(count(world), 1);
    world.functions.deploy(revision);
    await world.clock.advance(10);
    assert.equal(count(world), 3);
    // It was there: from now on load decides.
    await world.clock.advance(10_000);
    assert.equal(count(world), 1);
  });

  test("when a panic ends instances go, idle ones first, and those that run finish their calls", async () => {
    const world = rig();
    deploy(world, { policy: "kpa", kpa: { windowMs: 6000, maxScaleDownRate: 10, graceMs: 0 } });
    const calls = Array.from({ length: 8 }, () => world.call());
    await world.clock.advance(4000);
    assert.ok(count(world) >= 8, String(count(world)));
    // All but one end.
    for (const running of world.runtime.running.slice(1)) running.answer();
    await world.clock.advance(14_000);
    assert.equal(count(world), 2);
    assert.equal(world.runtime.running.length, 1);
    await finish(world, calls);
    await world.invoker.drain(1000);
  });
});

describe("scaler: the other policies", () => {
  test("queue: instances for the calls that are there, and the last one for keepAliveMs more", async () => {
    const world = rig();
    deploy(world, { policy: "queue", queue: { target: 2 }, keepAliveMs: 10_000 });
    const calls = Array.from({ length: 10 }, () => world.call());
    await world.clock.advance(2000);
    assert.equal(count(world), 5);
    assert.match(world.pool.decisions(id)[0]!.reason, /queue: 5 waiting and 5 running, 2 for each: 5 instances/);
    await finish(world, calls);
    await world.clock.advance(2000);
    assert.equal(count(world), 1);
    await world.clock.advance(6000);
    assert.equal(count(world), 1);
    await world.clock.advance(4000);
    assert.equal(count(world), 0);
  });

  test("openfaas: requests per second over 30 s against the target, and one from the start", async () => {
    const world = rig();
    deploy(world, { policy: "openfaas", max: 20, openfaas: { target: 5, proportion: 1 } }, { concurrency: 50 });
    await world.clock.advance(0);
    assert.equal(count(world), 1);
    assert.equal((await load(world, 20, 35)).at(-1), 4);
    await world.clock.advance(120_000);
    assert.equal(count(world), 1);
  });

  test("cpu: instances for what the others use, read from their counters", async () => {
    const world = rig();
    deploy(world, { policy: "cpu", cpu: { downWindowMs: 0, windowMs: 4000 }, keepAliveMs: 1000 });
    const call = world.call();
    await world.clock.advance(0);
    const burn = async (seconds: number): Promise<void> => {
      for (let second = 0; second < seconds; second++) {
        for (const instance of world.runtime.alive) instance.cpuMicros += 1_000_000;
        await world.clock.advance(1000);
      }
    };
    await burn(10);
    // A whole processor where 80 % are aimed at, in each: more and more.
    assert.ok(count(world) > 1, String(count(world)));
    assert.match(world.pool.decisions(id)[0]!.reason, /% of 1 CPU over 4 s, 80 % aimed at/);
    await finish(world, [call]);
    await world.clock.advance(20_000);
    assert.equal(count(world), 0);
  });

  test("expression: a formula over the function's own metrics", async () => {
    const world = rig();
    const formula = "clamp(ceil(rate(requests[10s]) / 4), 0, 6)";
    deploy(world, { policy: "expression", expression: { formula }, keepAliveMs: 0 }, { concurrency: 50 });
    await world.clock.advance(5000);
    assert.equal(count(world), 0);
    assert.equal((await load(world, 12, 14)).at(-1), 3);
    assert.match(world.pool.decisions(id)[0]!.reason, /expression: clamp\(.*\) is 3: 3 instances/);
    await world.clock.advance(30_000);
    assert.equal(count(world), 0);
  });

  test("expression: what is no number holds no call up", async () => {
    const world = rig();
    deploy(world, { policy: "expression", expression: { formula: "0 / 0" }, keepAliveMs: 0 });
    const call = world.call();
    await world.clock.advance(10);
    await finish(world, [call]);
  });

  test("expression: a constant holds without a call", async () => {
    const world = rig();
    deploy(world, { policy: "expression", expression: { formula: "2" } });
    await world.clock.advance(300_000);
    assert.equal(count(world), 2);
  });

  test("schedule: a floor by the clock, demand above it", async () => {
    const world = rig({}, new ManualClock());
    // The clock stands at 2023-11-14 22:13:20 UTC.
    const at = [
      { cron: "15 * * * *", min: 3 },
      { cron: "20 * * * *", min: 0 },
    ];
    deploy(world, { policy: "schedule", keepAliveMs: 1000, schedule: { at } });
    await world.clock.advance(98_000);
    assert.equal(count(world), 0);
    await world.clock.advance(4000);
    assert.equal(count(world), 3);
    assert.match(world.pool.decisions(id)[0]!.reason, /schedule: .*3 at least since 2023-11-14 22:15 UTC/);
    const calls = Array.from({ length: 5 }, () => world.call());
    await world.clock.advance(200);
    assert.equal(count(world), 5);
    await finish(world, calls);
    await world.clock.advance(3000);
    assert.equal(count(world), 3);
    await world.clock.advance(300_000);
    assert.equal(count(world), 0);
    // And again an hour later, though nobody called.
    await world.clock.advance(3_600_000 - 300_000);
    assert.equal(count(world), 3);
  });
});

describe("scaler: beside the pool's other rules", () => {
  test("demand, the default, is not looked at by the scaler", async () => {
    const world = rig();
    deploy(world, { keepAliveMs: 60_000 });
    world.call();
    await world.clock.advance(100);
    answerAll(world);
    await world.clock.advance(200_000);
    assert.equal(count(world), 0);
    assert.equal(world.clock.pending, 0);
  });

  test("failed starts are tried one at a time, and the callers hear of them", async () => {
    const world = rig();
    world.runtime.failLoad = new VirgaError("start_failed", "broken");
    deploy(world, { policy: "kpa", min: 3 });
    await world.clock.advance(10_000);
    assert.equal(count(world), 0);
    assert.ok(world.runtime.starts < 15, `${world.runtime.starts} starts`);
    const call = world.call();
    await world.clock.advance(20_000);
    assert.equal(call.error?.code, "start_failed");
    world.runtime.failLoad = undefined;
    await world.clock.advance(20_000);
    assert.equal(count(world), 3);
  });

  test("a wish for more than the machine has neither spins nor takes from others", async () => {
    const world = rig({ budget: { memoryMb: 256 * 4, instances: 4, starts: 4 } });
    world.functions.deploy(revisionOf({ name: "other", scaling: { min: 1, keepAliveMs: 600_000 } }));
    await world.clock.advance(10);
    await finish(world, [world.call({ name: "other" }), world.call({ name: "other" })]);
    assert.equal(world.pool.instances({ name: "other" }).length, 2);
    deploy(world, { policy: "expression", expression: { formula: "9" } });
    await world.clock.advance(20_000);
    assert.equal(count(world), 2);
    assert.equal(world.pool.instances({ name: "other" }).length, 2);
    // A call of another function may take an idle one of those that a policy merely wants.
    const calls = Array.from({ length: 3 }, () => world.call({ name: "other" }));
    await world.clock.advance(300);
    assert.equal(world.runtime.running.length, 3);
    await finish(world, calls);
  });
});

describe("scaler: what it counts", () => {
  test("concurrency is weighted by time, and each look begins anew", () => {
    const counted = new CallLoad(1, 0);
    counted.arrive(250);
    counted.leave(750);
    assert.deepEqual(counted.take(1000), { concurrency: 1.5, requests: 1, completed: 1 });
    assert.deepEqual(counted.take(2000), { concurrency: 1, requests: 0, completed: 0 });
    counted.leave(2000);
    assert.deepEqual(counted.take(2000), { concurrency: 0, requests: 0, completed: 1 });
  });

  test("whatever happens to calls, those in flight are those that run or wait", async () => {
    const event = fc.oneof(
      { weight: 5, arbitrary: fc.constant("call" as const) },
      { weight: 4, arbitrary: fc.constant("answer" as const) },
      { weight: 2, arbitrary: fc.constant("cancel" as const) },
      { weight: 1, arbitrary: fc.constant("crash" as const) },
      { weight: 1, arbitrary: fc.constant("break" as const) },
      { weight: 3, arbitrary: fc.constant("pass" as const) },
    );
    const policies: ScalingSettings[] = [
      { policy: "kpa", max: 4, kpa: { windowMs: 6000, graceMs: 1000 } },
      { policy: "queue", max: 3, queue: { target: 1 }, keepAliveMs: 500 },
      { policy: "openfaas", max: 3, openfaas: { type: "capacity", target: 1, zero: true, zeroAfterMs: 3000 } },
      { policy: "expression", max: 5, expression: { formula: "ceil(concurrency) + (queue > 2)" }, keepAliveMs: 500 },
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(event, fc.nat(3000)), { minLength: 5, maxLength: 50 }),
        fc.constantFrom(...policies),
        fc.integer({ min: 1, max: 3 }),
        async (events, scaling, concurrency) => {
          const world = rig();
          world.runtime.startMs = 40;
          const complete: Scaling = completeScaling(scaling);
          const revision = revisionOf({
            scaling: complete,
            limits: { concurrency, timeoutMs: 2000, startTimeoutMs: 1000, queueLength: 20 },
          });
          world.functions.deploy(revision);
          const calls: Observed[] = [];
          const check = (): void => {
            const fleet = world.pool.fleetOf(revision);
            if (fleet.load !== undefined) assert.equal(fleet.load.inFlight, fleet.running + fleet.line.size);
            assert.ok(count(world) <= complete.max, `${count(world)} instances`);
          };
          for (const [what, number] of events) {
            const running = world.runtime.running.filter(({ cancelled }) => cancelled === undefined);
            if (what === "call") calls.push(world.call());
            else if (what === "answer") running[number % Math.max(1, running.length)]?.answer();
            else if (what === "cancel") calls[number % Math.max(1, calls.length)]?.handle.cancel("cancelled");
            else if (what === "crash") world.runtime.alive[number % Math.max(1, world.runtime.alive.length)]?.crash();
            else if (what === "break") {
              world.runtime.failLoad = number % 2 === 0 ? new VirgaError("start_failed", "broken") : undefined;
            } else await world.clock.advance(number);
            check();
          }
          world.runtime.failLoad = undefined;
          await world.clock.advance(20_000);
          check();
          for (const call of calls) assert.equal(call.settled, 1, "every call settles");
          // Nobody calls: nothing is left, and nothing ticks.
          await world.clock.advance(300_000);
          assert.equal(count(world), 0);
          assert.equal(world.pool.memory().usedMb, 0);
          assert.equal(world.clock.pending, 0);
        },
      ),
      { numRuns: 80 },
    );
  });
});
