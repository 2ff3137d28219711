import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { settle } from "./manual-clock.ts";
import { revisionOf, rig } from "./rig.ts";

const id = { namespace: "default", name: "hello" };

describe("pool: starting", () => {
  test("a first call starts an instance and waits for it; the second finds it warm", async () => {
    const { runtime, functions, call, clock, records } = rig();
    runtime.startMs = 30;
    runtime.initMs = 20;
    functions.deploy(revisionOf());
    const first = call();
    await clock.advance(50);
    runtime.running[0]!.answer();
    const second = call();
    runtime.running[0]!.answer();
    assert.equal(runtime.starts, 1);
    assert.deepEqual([first.status, second.status], [200, 200]);
    const [cold, warm] = records;
    assert.equal(cold!.usage.coldStart, true);
    assert.deepEqual([cold!.timings.coldStartMs, cold!.timings.initMs, cold!.timings.queueMs], [30, 20, 0]);
    assert.equal(warm!.usage.coldStart, false);
    assert.deepEqual([warm!.timings.coldStartMs, warm!.timings.initMs, warm!.timings.queueMs], [0, 0, 0]);
  });

  test("a burst starts an instance for each call that the others cannot take, up to max", async () => {
    const { runtime, functions, call, clock, pool } = rig();
    functions.deploy(revisionOf({ limits: { concurrency: 4 }, scaling: { max: 3 } }));
    const calls = Array.from({ length: 20 }, () => call());
    await clock.advance(20);
    assert.equal(runtime.alive.length, 3);
    assert.equal(runtime.running.length, 12);
    assert.equal(pool.waiting(id), 8);
    while (runtime.running.length > 0) runtime.running[0]!.answer();
    assert.ok(calls.every(({ ended }) => ended === 1));
    assert.ok(runtime.instances.every(({ mostAtOnce }) => mostAtOnce === 4));
  });

  test("a line of short calls waits for the instances that are there rather than for new ones", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.startMs = 100;
    functions.deploy(revisionOf());
    const first = call();
    await clock.advance(105);
    runtime.running[0]!.answer();
    assert.equal(first.ended, 1);
    // Its call took 5 ms, or less: ten of them are over before a start would be.
    const calls = Array.from({ length: 10 }, () => call());
    await clock.advance(5);
    while (runtime.running.length > 0) runtime.running[0]!.answer();
    assert.ok(calls.every(({ ended }) => ended === 1));
    assert.equal(runtime.starts, 1);
  });

  test("a line that outlasts a start gets its instances, however short calls were before", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.startMs = 100;
    functions.deploy(revisionOf());
    call();
    await clock.advance(101);
    runtime.running[0]!.answer();
    Array.from({ length: 3 }, () => call());
    await clock.advance(90);
    assert.equal(runtime.starts, 1);
    await clock.advance(130);
    assert.equal(runtime.starts, 3);
    assert.equal(runtime.running.length, 3);
  });

  test("a call beyond queueLength is refused with the limit's name", async () => {
    const { functions, call, runtime, clock } = rig();
    functions.deploy(revisionOf({ limits: { queueLength: 2 }, scaling: { max: 1 } }));
    const first = call();
    await clock.advance(1);
    const waiting = [call(), call()];
    const refused = call();
    await settle();
    assert.equal(refused.error?.code, "queue_full");
    assert.equal(refused.error?.detail.field, "limits.queueLength");
    assert.equal(refused.invocation, undefined);
    while (runtime.running.length > 0) runtime.running[0]!.answer();
    assert.deepEqual(
      [first, ...waiting].map(({ ended }) => ended),
      [1, 1, 1],
    );
  });

  test("a prewarmed instance takes the code, and is replaced behind the call", async () => {
    const { runtime, functions, call, clock, pool, records } = rig({
      prewarm: [{ runtime: "fake", memoryMb: 256, cpus: 1, count: 2 }],
    });
    runtime.startMs = 40;
    await clock.advance(500);
    assert.deepEqual(pool.prewarmed(), [{ runtime: "fake", memoryMb: 256, ready: 2, starting: 0 }]);
    functions.deploy(revisionOf());
    const first = call();
    await settle();
    runtime.running[0]!.answer();
    assert.equal(first.ended, 1);
    assert.equal(records[0]!.timings.coldStartMs, 0);
    assert.equal(pool.prewarmed()[0]!.ready, 1);
    await clock.advance(500);
    assert.equal(pool.prewarmed()[0]!.ready, 2);
    assert.equal(pool.memory().usedMb, 3 * 256);
  });

  test("prewarmed instances start in the background, those that calls wait for do not", async () => {
    const { runtime, functions, call, clock } = rig({
      prewarm: [{ runtime: "fake", memoryMb: 256, cpus: 1, count: 1 }],
    });
    await clock.advance(500);
    functions.deploy(revisionOf({ limits: { memoryMb: 512 } }));
    call();
    await clock.advance(10);
    assert.deepEqual(
      runtime.instances.map(({ request }) => [request.limits.memoryMb, request.background === true]),
      [
        [256, true],
        [512, false],
      ],
    );
  });

  test("a prewarmed instance of another size is not taken", async () => {
    const { runtime, functions, call, clock, pool } = rig({
      prewarm: [{ runtime: "fake", memoryMb: 256, cpus: 1, count: 1 }],
    });
    await clock.advance(100);
    functions.deploy(revisionOf({ limits: { memoryMb: 512 } }));
    call();
    await clock.advance(10);
    assert.equal(runtime.running[0]!.instance.request.limits.memoryMb, 512);
    assert.equal(pool.prewarmed()[0]!.ready, 1);
  });
});

describe("pool: failing starts", () => {
  test("code that does not load fails the calls whose start it was, with the user's own error", async () => {
    const { runtime, functions, call, clock, records } = rig();
    runtime.failLoad = new VirgaError("start_failed", "boom is not defined", { location: "index.js:3:1" });
    functions.deploy(revisionOf());
    const failed = call();
    await clock.advance(10);
    assert.equal(failed.error?.code, "start_failed");
    assert.equal(failed.error?.detail.location, "index.js:3:1");
    assert.equal(records[0]!.status, "failed");
    assert.equal(runtime.alive.length, 0);
  });

  test("failing starts are paused ever longer, not repeated in a loop", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.failLoad = new VirgaError("start_failed", "boom");
    functions.deploy(revisionOf());
    for (let second = 0; second < 20; second++) {
      for (let index = 0; index < 10; index++) call();
      await clock.advance(1000);
    }
    assert.ok(runtime.starts < 25, `${runtime.starts} starts`);
    runtime.failLoad = undefined;
    const later = call();
    await clock.advance(20_000);
    while (runtime.running.length > 0) runtime.running[0]!.answer();
    assert.equal(later.ended, 1);
  });

  test("a failure of the platform is tried again before a call hears of it", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.failStart = new VirgaError("unavailable", "no more processes");
    functions.deploy(revisionOf());
    const waiting = call();
    await clock.advance(50);
    assert.equal(waiting.settled, 0);
    runtime.failStart = undefined;
    await clock.advance(1000);
    runtime.running[0]!.answer();
    assert.equal(waiting.ended, 1);
  });

  test("an unknown runtime fails the call and names those that are there", async () => {
    const { functions, call, clock } = rig();
    functions.deploy(revisionOf({ config: { runtime: "cobol:85" } }));
    const failed = call();
    await clock.advance(10);
    assert.equal(failed.error?.code, "runtime_unknown");
    assert.match(failed.error?.detail.fix ?? "", /fake/);
  });
});

describe("pool: ending", () => {
  test("idle instances are stopped after keepAliveMs, down to min", async () => {
    const { runtime, functions, call, clock, pool } = rig();
    functions.deploy(revisionOf({ scaling: { min: 1, keepAliveMs: 5000 } }));
    await clock.advance(10);
    assert.equal(runtime.alive.length, 1, "min is kept warm without a call");
    Array.from({ length: 4 }, () => call());
    await clock.advance(10);
    while (runtime.running.length > 0) runtime.running[0]!.answer();
    assert.equal(runtime.alive.length, 4);
    await clock.advance(4900);
    assert.equal(runtime.alive.length, 4);
    await clock.advance(600);
    assert.equal(runtime.alive.length, 1);
    assert.match(pool.decisions(id)[0]!.reason, /idle for 5000 ms/);
  });

  test("the instance used last is used next, so that the others idle out", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ scaling: { keepAliveMs: 2000 } }));
    call();
    call();
    await clock.advance(10);
    const [one, two] = runtime.running;
    one!.answer();
    two!.answer();
    for (let round = 0; round < 30; round++) {
      call();
      assert.equal(runtime.running[0]!.instance, two!.instance);
      runtime.running[0]!.answer();
      await clock.advance(100);
    }
    assert.deepEqual(runtime.alive, [two!.instance]);
  });

  test("instances to spare are kept while others have calls, and go when nothing is left to do", async () => {
    const { runtime, functions, call, clock, pool } = rig();
    functions.deploy(revisionOf({ scaling: { keepAliveMs: 2000, spare: 2, max: 4 } }));
    await clock.advance(100);
    assert.equal(runtime.alive.length, 0, "without a call there are none");
    call();
    await clock.advance(100);
    assert.equal(runtime.alive.length, 3);
    assert.match(pool.decisions(id)[0]!.reason, /1 of 2 to spare/);
    call();
    await clock.advance(100);
    assert.equal(runtime.alive.length, 4, "a spare one took the call, and another came up to max");
    assert.equal(runtime.running.length, 2);
    await clock.advance(10_000);
    assert.equal(runtime.alive.length, 4, "idle for long, but to spare");
    while (runtime.running.length > 0) runtime.running[0]!.answer();
    await clock.advance(3000);
    assert.equal(runtime.alive.length, 0);
  });

  test("with nothing left to do the pool keeps no timer", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ scaling: { keepAliveMs: 1000 } }));
    call();
    await clock.advance(10);
    runtime.running[0]!.answer();
    await clock.advance(120_000);
    assert.equal(runtime.alive.length, 0);
    assert.equal(clock.pending, 0);
  });

  test("where memory is short, idle instances of others make room; running ones are waited for", async () => {
    const { runtime, functions, call, clock, pool } = rig({ budget: { memoryMb: 512, instances: 10, starts: 4 } });
    functions.deploy(revisionOf());
    functions.deploy(revisionOf({ name: "other" }));
    const [one, two] = [call(), call()];
    await clock.advance(10);
    const waits = call({ name: "other" });
    await clock.advance(100);
    assert.equal(waits.settled, 0);
    runtime.running[0]!.answer();
    await clock.advance(100);
    assert.equal(one.ended, 1);
    assert.equal(pool.memory().usedMb, 512);
    const other = runtime.running.find(({ instance }) => instance.code?.name === "other");
    other!.answer();
    assert.equal(waits.ended, 1);
    assert.equal(two.settled, 0);
    assert.match(pool.decisions(id)[0]!.reason, /memory was needed for other/);
  });

  test("a function with an instance takes none that was at work a moment ago; its line waits, and takes it later", async () => {
    const { runtime, functions, call, clock } = rig({ budget: { memoryMb: 512, instances: 10, starts: 4 } });
    functions.deploy(revisionOf());
    functions.deploy(revisionOf({ name: "other" }));
    const [kept, long] = [call(), call({ name: "other" })];
    await clock.advance(10);
    runtime.running.find(({ instance }) => instance.code?.name === "hello")!.answer();
    assert.equal(kept.ended, 1);
    const second = call({ name: "other" });
    await clock.advance(900);
    assert.deepEqual([long.settled, second.settled], [0, 0]);
    assert.equal(runtime.alive.length, 2, "one of each is there still");
    await clock.advance(200);
    const others = runtime.running.filter(({ instance }) => instance.code?.name === "other");
    assert.equal(others.length, 2, "the idle one has gone for it");
  });

  test("on a full machine a namespace that waits gets its share, though the other's line never ends", async () => {
    const { runtime, functions, call, clock, pool } = rig({
      budget: { memoryMb: 8 * 256, instances: 100, starts: 16, weights: { small: 1, large: 3 } },
    });
    functions.deploy(revisionOf({ namespace: "large" }));
    functions.deploy(revisionOf({ namespace: "small" }));
    const served: Record<string, number> = { large: 0, small: 0 };
    runtime.onCall = (running) => {
      clock.after(10, () => {
        const namespace = running.instance.code!.namespace;
        served[namespace]!++;
        running.answer();
        call({ namespace });
      });
    };
    for (let n = 0; n < 40; n++) call({ namespace: "large" });
    await clock.advance(200);
    const held = (namespace: string): number => pool.instances({ namespace }).length;
    assert.equal(held("large"), 8);
    for (let n = 0; n < 40; n++) call({ namespace: "small" });
    await clock.advance(2000);
    assert.deepEqual([held("large"), held("small")], [6, 2]);
    const before = { ...served };
    await clock.advance(2000);
    assert.deepEqual([held("large"), held("small")], [6, 2], "it has come to rest");
    const [large, small] = [served["large"]! - before["large"]!, served["small"]! - before["small"]!];
    assert.ok(large > 2.5 * small && large < 3.5 * small, `${large} and ${small} calls were served`);
    const reasons = pool.decisions({ namespace: "large", name: "hello" }).map(({ reason }) => reason);
    assert.ok(reasons.some((reason) => /namespace small has less than its share/.test(reason)));
  });

  test("a function larger than the machine is refused at once", async () => {
    const { functions, call, clock } = rig({ budget: { memoryMb: 512, instances: 10 } });
    functions.deploy(revisionOf({ limits: { memoryMb: 1024 } }));
    const refused = call();
    await clock.advance(1);
    assert.equal(refused.error?.code, "no_instance");
    assert.match(refused.error?.message ?? "", /1024 MB.*512 MB/);
  });

  test("instances of a replaced revision finish their calls and go", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf());
    const old = [call(), call()];
    await clock.advance(10);
    const [busy, idle] = runtime.running;
    idle!.answer();
    functions.deploy(revisionOf({ number: 2 }));
    await clock.advance(10);
    assert.notEqual(idle!.instance.exit, undefined);
    assert.equal(busy!.instance.exit, undefined);
    const fresh = call();
    await clock.advance(10);
    const onNew = runtime.running.find(({ instance }) => instance.code?.revision === 2);
    onNew!.answer();
    busy!.answer();
    await clock.advance(10);
    assert.notEqual(busy!.instance.exit, undefined);
    assert.deepEqual(
      [...old, fresh].map(({ ended }) => ended),
      [1, 1, 1],
    );
  });

  test("an instance whose revision is replaced while it starts goes, unless a call waits for it", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.startMs = 100;
    functions.deploy(revisionOf({ scaling: { min: 2 } }));
    await clock.advance(50);
    const old = call();
    functions.deploy(revisionOf({ number: 2 }));
    await clock.advance(60);
    assert.equal(runtime.starts, 2);
    assert.deepEqual(
      runtime.alive.map(({ code, calls }) => [code?.revision, calls.size]),
      [[1, 1]],
    );
    runtime.running[0]!.answer();
    assert.equal(old.ended, 1);
  });

  test("a changed secret replaces the instances that have it", async () => {
    const { runtime, functions, call, clock, changeSecret } = rig();
    functions.deploy(revisionOf({ config: { secrets: ["KEY"] } }));
    call();
    await clock.advance(10);
    const [before] = runtime.running;
    assert.equal(before!.instance.code?.environment["KEY"], "secret");
    before!.answer();
    changeSecret("default", "OTHER");
    assert.equal(before!.instance.exit, undefined);
    changeSecret("default", "KEY");
    assert.notEqual(before!.instance.exit, undefined);
  });

  test("a secret that is changed while an instance starts replaces that one, too", async () => {
    const { runtime, functions, clock, changeSecret } = rig();
    runtime.startMs = 100;
    functions.deploy(revisionOf({ scaling: { min: 1 }, config: { secrets: ["KEY"] } }));
    await clock.advance(50);
    changeSecret("default", "KEY");
    await clock.advance(60);
    assert.deepEqual([runtime.starts, runtime.alive.length], [2, 0]);
    await clock.advance(100);
    assert.deepEqual([runtime.starts, runtime.alive.length], [2, 1]);
  });

  test("deleting a function refuses its waiting calls and ends its instances", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ scaling: { max: 1 } }));
    const runs = call();
    await clock.advance(10);
    const waits = call();
    functions.delete(id);
    await clock.advance(1);
    assert.equal(waits.error?.code, "not_found");
    runtime.running[0]!.answer();
    await clock.advance(1000);
    assert.equal(runs.ended, 1);
    assert.equal(runtime.alive.length, 0);
  });

  test("drain refuses new calls, lets running ones finish, and stops everything", async () => {
    const { runtime, functions, call, clock, invoker } = rig({
      prewarm: [{ runtime: "fake", memoryMb: 256, cpus: 1, count: 1 }],
    });
    functions.deploy(revisionOf());
    const runs = call();
    await clock.advance(100);
    let drained = false;
    void invoker.drain(5000).then(() => {
      drained = true;
    });
    const late = call();
    await clock.advance(100);
    assert.equal(late.error?.code, "unavailable");
    assert.equal(drained, false);
    runtime.running[0]!.answer();
    await clock.advance(100);
    assert.equal(runs.ended, 1);
    assert.equal(drained, true);
    assert.equal(runtime.alive.length, 0);
  });
});

describe("pool: trial starts", () => {
  test("a verified revision is warm for its first call", async () => {
    const { runtime, functions, call, clock, pool, records } = rig();
    runtime.startMs = 50;
    const revision = revisionOf();
    const verified = pool.verify(revision, AbortSignal.timeout(60_000), () => {});
    await clock.advance(60);
    await verified;
    functions.deploy(revision);
    call();
    runtime.running[0]!.answer();
    assert.equal(records[0]!.usage.coldStart, false);
    assert.equal(runtime.starts, 1);
  });

  test("a revision that does not start rejects, and leaves nothing running", async () => {
    const { runtime, clock, pool } = rig();
    runtime.failLoad = new VirgaError("start_failed", "boom");
    const verified = assert.rejects(
      pool.verify(revisionOf(), AbortSignal.timeout(60_000), () => {}),
      /boom/,
    );
    await clock.advance(10);
    await verified;
    assert.equal(runtime.alive.length, 0);
    assert.equal(pool.memory().usedMb, 0);
  });

  test("what it prints goes to the deploy", async () => {
    const { runtime, clock, pool } = rig();
    runtime.initMs = 50;
    const printed: string[] = [];
    const verified = pool.verify(revisionOf(), AbortSignal.timeout(60_000), (line) => printed.push(line));
    await clock.advance(10);
    runtime.instances[0]!.request.events.log(undefined, { at: 0, stream: "stderr", text: "loading" });
    await clock.advance(100);
    await verified;
    assert.deepEqual(printed, ["loading"]);
  });

  test("a cancelled deploy stops waiting", async () => {
    const { runtime, clock, pool } = rig();
    runtime.startMs = 1000;
    const abort = new AbortController();
    const verified = assert.rejects(
      pool.verify(revisionOf(), abort.signal, () => {}),
      /cancelled/,
    );
    await clock.advance(10);
    abort.abort();
    await verified;
  });
});

describe("pool: greedy-dual", () => {
  test("who is used often stays before others, and grows old against them all the same", async () => {
    const { runtime, functions, call, clock } = rig({ budget: { memoryMb: 512, instances: 10, starts: 4 } });
    runtime.startMs = 100;
    const use = async (name: string): Promise<void> => {
      const one = call({ name });
      await clock.advance(150);
      runtime.running[0]?.answer();
      await clock.advance(1);
      assert.equal(one.ended, 1, name);
    };
    const isThere = (name: string): boolean => runtime.alive.some(({ code }) => code?.name === name);
    const scaling = { keepAlive: { policy: "greedy-dual" as const } };
    const names = ["often", ...Array.from({ length: 8 }, (_, index) => `once-${index}`)];
    for (const name of names) functions.deploy(revisionOf({ name, scaling }));

    // In uses × start time ÷ memory, which is the same for all: 5 for it, 1, 2, 3 … for those that come and go.
    for (let times = 0; times < 5; times++) await use("often");
    for (let index = 0; index < 5; index++) {
      await use(`once-${index}`);
      await clock.advance(60_000);
      assert.ok(isThere("often"), `behind ${index + 1} others`);
    }
    for (let index = 5; index < 8; index++) await use(`once-${index}`);
    assert.ok(!isThere("often"));
    // From nothing it begins with one use, at the clock of today.
    await use("often");
    await use("once-0");
    await use("once-1");
    assert.ok(!isThere("often"));
  });
});
