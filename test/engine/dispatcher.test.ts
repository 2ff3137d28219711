import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createMemoryStore, type MemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createDispatcher } from "../../src/engine/dispatcher.ts";
import type { Dispatcher, InvocationRequest } from "../../src/engine/engine.ts";
import { createHistory } from "../../src/engine/history.ts";
import { createIdentifier } from "../../src/engine/identifier.ts";
import type { Invocation } from "../../src/core/model.ts";
import { ManualClock, seededChance, settle } from "./manual-clock.ts";
import { revisionOf, type Rig, rig, type RevisionSettings, silent } from "./rig.ts";

describe("dispatcher: the usual way", () => {
  test("an accepted call runs, and its record and result can be asked for by its id", async () => {
    const { dispatcher, clock, runtime, accept, deploy } = await platform();
    deploy();
    const { id, duplicate } = await accept({ body: Buffer.from("payload") });
    assert.equal(duplicate, false);
    await clock.advance(10);
    assert.equal((await dispatcher.status("default", id))?.status, "running");
    const [running] = runtime.running;
    assert.equal(Buffer.from(running!.call.body!).toString(), "payload");
    assert.equal(running!.call.id, id);
    running!.answer(201, "done");
    await settle();
    const status = await dispatcher.status("default", id);
    assert.equal(status?.status, "succeeded");
    assert.equal(status?.invocation?.cause.kind, "async");
    assert.equal(status?.invocation?.result?.status, 201);
    assert.equal(Buffer.from(status.invocation.result.body!, "base64").toString(), "done");
    assert.equal(await dispatcher.status("other", id), undefined, "not another namespace's to see");
  });

  test("a result over 1 MiB is kept as a blob", async () => {
    const { dispatcher, clock, runtime, accept, deploy, store } = await platform();
    deploy();
    const { id } = await accept();
    await clock.advance(10);
    const large = "x".repeat(2 ** 20 + 1);
    runtime.running[0]!.answer(200, large);
    await settle();
    const { blob, body } = (await dispatcher.status("default", id))!.invocation!.result!;
    assert.equal(body, undefined);
    assert.equal((await store.blobs.get(blob!)).size, large.length);
  });

  test("an unknown function and a body that it does not take are refused before 202", async () => {
    const { accept, deploy } = await platform();
    await assert.rejects(accept({ name: "none" }), { code: "not_found" });
    deploy({ limits: { requestBytes: 3 } });
    await assert.rejects(accept({ body: Buffer.from("four") }), { code: "request_too_large" });
  });

  test("a slow function's backlog does not hold up another's calls", async () => {
    const { clock, runtime, accept, deploy } = await platform({ concurrency: 4 });
    deploy({ name: "slow" });
    deploy({ name: "quick" });
    for (let index = 0; index < 50; index++) await accept({ name: "slow" });
    await clock.advance(100);
    assert.equal(runtime.running.length, 4);
    await accept({ name: "quick" });
    await clock.advance(100);
    assert.ok(runtime.running.some(({ instance }) => instance.code?.name === "quick"));
  });

  test("no more run at once than the function's instances serve, and all of them run", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ scaling: { max: 2 }, limits: { concurrency: 3 } });
    const ids = await Promise.all(Array.from({ length: 40 }, async () => (await accept()).id));
    for (let round = 0; round < 20; round++) {
      await clock.advance(50);
      assert.ok(runtime.running.length <= 6);
      for (const running of runtime.running) running.answer();
    }
    const statuses = await Promise.all(ids.map((id) => dispatcher.status("default", id)));
    assert.ok(statuses.every((status) => status?.status === "succeeded"));
  });

  test("a long call's lease is renewed as long as it runs", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ limits: { timeoutMs: 3_600_000 } });
    const { id } = await accept();
    await clock.advance(600_000);
    assert.equal(runtime.running.length, 1);
    assert.equal(runtime.starts, 1);
    runtime.running[0]!.answer();
    await settle();
    const status = await dispatcher.status("default", id);
    assert.deepEqual([status?.status, status?.attempt], ["succeeded", 1]);
  });
});

describe("dispatcher: failing calls", () => {
  test("a failed attempt runs again after a pause, and the record sums up what all attempts used", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy();
    const { id } = await accept();
    await clock.advance(100);
    runtime.running[0]!.answer(500);
    await settle();
    const waiting = await dispatcher.status("default", id);
    assert.equal(waiting?.status, "queued");
    assert.ok(waiting.nextAttemptAt! - clock.now() <= 500);
    await clock.advance(600);
    assert.equal(runtime.running[0]!.call.attempt, 2);
    runtime.running[0]!.answer();
    await settle();
    const { invocation } = (await dispatcher.status("default", id))!;
    assert.deepEqual([invocation?.status, invocation?.attempt, invocation?.usage.cpuMs], ["succeeded", 2, 2]);
  });

  test("after maxAttempts it is a dead letter with its last answer, and can be revived", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ async: { maxAttempts: 2, backoffMs: 10 } });
    const { id } = await accept();
    const { waiting, leased } = await dispatcher.depth();
    assert.equal(waiting + leased, 1);
    for (let attempt = 0; attempt < 2; attempt++) {
      await clock.advance(100);
      runtime.running[0]!.answer(500, "no");
    }
    await settle();
    const [letter] = await dispatcher.deadLetters("default", { limit: 10 });
    assert.equal(letter?.id, id);
    assert.match(letter?.message?.reason ?? "", /answered 500, after 2 of 2 attempts/);
    assert.equal(letter?.invocation?.status, "dead_letter");
    assert.deepEqual(await dispatcher.depth(), { waiting: 0, leased: 0, dead: 1 });
    assert.equal(letter?.invocation?.result?.status, 500);
    await clock.advance(12 * 3_600_000);
    assert.equal(await dispatcher.revive("default", id), true);
    await clock.advance(100);
    runtime.running[0]!.answer();
    await settle();
    assert.equal((await dispatcher.status("default", id))?.status, "succeeded");
    assert.deepEqual(await dispatcher.deadLetters("default", { limit: 10 }), []);
    assert.equal(await dispatcher.revive("default", id), false);
  });

  test("an answer below 500 is a success", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy();
    const { id } = await accept();
    await clock.advance(10);
    runtime.running[0]!.answer(404);
    await settle();
    assert.equal((await dispatcher.status("default", id))?.status, "succeeded");
  });

  test("a call whose function is gone is given up without another attempt", async () => {
    const { clock, runtime, accept, deploy, dispatcher, functions } = await platform();
    deploy({ scaling: { max: 1 } });
    await accept();
    await clock.advance(10);
    const { id } = await accept();
    functions.delete({ namespace: "default", name: "hello" });
    runtime.running[0]!.answer();
    await clock.advance(100);
    const status = await dispatcher.status("default", id);
    assert.deepEqual([status?.status, status?.invocation?.error?.code], ["dead_letter", "not_found"]);
  });

  test("a call too old to succeed is given up", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ async: { maxAgeMs: 1000, maxAttempts: 100, backoffMs: 400, maxBackoffMs: 400 } });
    const { id } = await accept();
    for (let round = 0; round < 40; round++) {
      await clock.advance(50);
      runtime.running[0]?.answer(500);
    }
    const status = await dispatcher.status("default", id);
    assert.equal(status?.status, "dead_letter");
    assert.ok(status.invocation!.timings.totalMs <= 1050);
  });

  test("waiting for an instance uses up no attempt", async () => {
    const { clock, runtime, accept, deploy, dispatcher, call } = await platform({ instances: 1 });
    deploy({ async: { maxAttempts: 1 }, limits: { timeoutMs: 600_000 } });
    deploy({ name: "hog", limits: { timeoutMs: 600_000 } });
    call({ name: "hog" });
    await clock.advance(10);
    const { id } = await accept();
    await clock.advance(300_000);
    assert.notEqual((await dispatcher.status("default", id))?.status, "dead_letter");
    runtime.running[0]!.answer();
    await clock.advance(1000);
    runtime.running[0]!.answer();
    await settle();
    assert.equal((await dispatcher.status("default", id))?.status, "succeeded");
  });

  test("destinations receive the settled record, once", async () => {
    const { clock, runtime, accept, deploy } = await platform();
    deploy({ async: { onSuccess: "good", onFailure: "bad", maxAttempts: 1 } });
    deploy({ name: "good" });
    deploy({ name: "bad" });
    const first = await accept();
    await clock.advance(10);
    runtime.running[0]!.answer(200, "fine");
    await clock.advance(10);
    const good = runtime.running.find(({ instance }) => instance.code?.name === "good")!;
    const record = JSON.parse(Buffer.from(good.call.body!).toString()) as Invocation;
    assert.deepEqual([record.id, record.status], [first.id, "succeeded"]);
    good.answer();
    await accept();
    await clock.advance(10);
    runtime.running[0]!.answer(500);
    await clock.advance(10);
    assert.deepEqual(
      runtime.running.map(({ instance }) => instance.code?.name),
      ["bad"],
    );
  });

  test("a chain of destinations that leads in a circle is cut", async () => {
    const { clock, runtime, accept, deploy } = await platform();
    deploy({ async: { onSuccess: "hello" } });
    await accept();
    let runs = 0;
    for (let round = 0; round < 50; round++) {
      await clock.advance(10);
      for (const running of runtime.running) {
        runs++;
        running.answer();
      }
    }
    assert.equal(runs, 33);
  });
});

describe("dispatcher: retries of interruptions alone", () => {
  const interruptions = { async: { retry: "interruptions", maxAttempts: 5, backoffMs: 10 } } as const;

  test("an attempt that ran to its end has settled, however it ended", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ ...interruptions, limits: { timeoutMs: 1000 } });
    const endings: Record<string, () => Promise<void> | void> = {
      function_error: () => runtime.running[0]!.answer(500, "no"),
      function_crashed: () => runtime.running[0]!.instance.crash(),
      out_of_memory: () => runtime.running[0]!.instance.crash(true),
      timeout: () => clock.advance(1100),
    };
    for (const [code, end] of Object.entries(endings)) {
      const { id } = await accept();
      await clock.advance(100);
      assert.equal(runtime.running[0]!.call.id, id, code);
      await end();
      await clock.advance(60_000);
      assert.equal(runtime.running.length, 0, code);
      const status = (await dispatcher.status("default", id))!;
      assert.deepEqual([status.status, status.attempt], [code === "timeout" ? "timed_out" : "failed", 1], code);
      assert.equal(status.invocation?.error?.code ?? "function_error", code);
      if (code === "function_error") assert.equal(status.invocation?.result?.status, 500);
    }
    assert.deepEqual(await dispatcher.depth(), { waiting: 0, leased: 0, dead: 0 });
    assert.deepEqual(await dispatcher.deadLetters("default", { limit: 10 }), []);
  });

  test("an attempt that a crash of the platform cut off runs again, and then settles as any", async () => {
    const world = await platform();
    world.deploy(interruptions);
    const { id } = await world.accept();
    await world.clock.advance(10);
    world.cut.all = true;
    const after = await platform({ store: world.store, clock: world.clock });
    after.deploy(interruptions);
    await after.clock.advance(10);
    assert.deepEqual([after.runtime.running[0]!.call.id, after.runtime.running[0]!.call.attempt], [id, 2]);
    after.runtime.running[0]!.answer(500);
    await after.clock.advance(60_000);
    assert.equal(after.runtime.running.length, 0);
    const status = await after.dispatcher.status("default", id);
    assert.deepEqual([status?.status, status?.attempt], ["failed", 2]);
  });

  test("one that is cut off again and again is given up after maxAttempts", async () => {
    let world = await platform();
    world.deploy(interruptions);
    const { id } = await world.accept();
    for (let attempt = 1; attempt <= 5; attempt++) {
      await world.clock.advance(10);
      assert.equal(world.runtime.running[0]?.call.attempt, attempt);
      world.cut.all = true;
      world = await platform({ store: world.store, clock: world.clock });
      world.deploy(interruptions);
    }
    await world.clock.advance(10);
    assert.equal(world.runtime.running.length, 0);
    assert.equal((await world.dispatcher.status("default", id))?.status, "dead_letter");
  });

  test("one that found no instance comes again until there is one", async () => {
    const { clock, runtime, accept, deploy, dispatcher, call } = await platform({ instances: 1 });
    deploy({ ...interruptions, limits: { timeoutMs: 600_000 } });
    deploy({ name: "hog", limits: { timeoutMs: 600_000 } });
    call({ name: "hog" });
    await clock.advance(10);
    const { id } = await accept();
    await clock.advance(300_000);
    const waiting = await dispatcher.status("default", id);
    assert.ok(waiting?.status === "queued" || waiting?.status === "running", waiting?.status);
    runtime.running[0]!.answer();
    await clock.advance(1000);
    runtime.running[0]!.answer();
    await settle();
    assert.equal((await dispatcher.status("default", id))?.status, "succeeded");
  });

  test("a failure goes to its destination, once", async () => {
    const { clock, runtime, accept, deploy } = await platform();
    deploy({ async: { ...interruptions.async, onFailure: "bad" } });
    deploy({ name: "bad" });
    const { id } = await accept();
    await clock.advance(10);
    runtime.running[0]!.answer(500);
    await clock.advance(10);
    const [told, ...more] = runtime.running;
    const record = JSON.parse(Buffer.from(told!.call.body!).toString()) as Invocation;
    assert.deepEqual([told!.instance.code?.name, record.id, record.status, more.length], ["bad", id, "failed", 0]);
  });
});

describe("dispatcher: keys and cancelling", () => {
  test("a second call with the same key gets the first one's id and runs nothing", async () => {
    const { clock, runtime, accept, deploy } = await platform();
    deploy();
    deploy({ name: "other" });
    const [first, second] = await Promise.all([accept({ idempotencyKey: "k" }), accept({ idempotencyKey: "k" })]);
    assert.equal(first.id, second.id);
    assert.notEqual(first.duplicate, second.duplicate);
    await clock.advance(10);
    assert.equal(runtime.running.length, 1);
    runtime.running[0]!.answer();
    await clock.advance(23 * 3_600_000);
    assert.deepEqual(await accept({ idempotencyKey: "k" }), { id: first.id, duplicate: true });
    assert.equal((await accept({ idempotencyKey: "k", name: "other" })).duplicate, false);
    await clock.advance(2 * 3_600_000);
    assert.equal((await accept({ idempotencyKey: "k" })).duplicate, false);
  });

  test("a key whose call never reached the queue queues it the next time", async () => {
    const world = await platform();
    world.deploy();
    world.cut.before = "enqueue";
    void world.accept({ idempotencyKey: "k" });
    await settle();
    const after = await platform({ store: world.store, clock: world.clock });
    after.deploy();
    const { id, duplicate } = await after.accept({ idempotencyKey: "k" });
    assert.equal(duplicate, false);
    await after.clock.advance(10);
    assert.equal(after.runtime.running[0]!.call.id, id);
  });

  test("a waiting call is cancelled without running, a running one is cut off, a settled one stays", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ scaling: { max: 1 } });
    const runs = await accept();
    await clock.advance(10);
    const waits = await accept();
    await clock.advance(10);
    assert.equal(await dispatcher.cancel("other", waits.id), false);
    assert.equal(await dispatcher.cancel("default", waits.id), true);
    assert.equal(await dispatcher.cancel("default", runs.id), true);
    assert.equal(runtime.instances[0]!.served, 1);
    await clock.advance(5000);
    assert.equal(runtime.running.length, 0);
    for (const { id } of [runs, waits]) {
      assert.equal((await dispatcher.status("default", id))?.status, "cancelled");
      assert.equal(await dispatcher.cancel("default", id), false);
    }
    const done = await accept();
    await clock.advance(10);
    runtime.running[0]!.answer();
    await settle();
    assert.equal(await dispatcher.cancel("default", done.id), false);
    assert.equal((await dispatcher.status("default", done.id))?.status, "succeeded");
  });

  test("a call between two attempts is cancelled", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ async: { backoffMs: 60_000 } });
    const { id } = await accept();
    await clock.advance(10);
    runtime.running[0]!.answer(500);
    await settle();
    assert.equal(await dispatcher.cancel("default", id), true);
    await clock.advance(120_000);
    assert.equal(runtime.running.length, 0);
    assert.equal((await dispatcher.status("default", id))?.status, "cancelled");
  });
});

describe("dispatcher: restarts", () => {
  test("calls that were queued or running when the platform died run at once after its restart", async () => {
    const world = await platform();
    world.deploy({ scaling: { max: 1 } });
    const ids = [await world.accept(), await world.accept()].map(({ id }) => id);
    await world.clock.advance(10);
    assert.equal(world.runtime.running.length, 1);
    world.cut.all = true;
    const after = await platform({ store: world.store, clock: world.clock });
    after.deploy({ scaling: { max: 2 } });
    await after.clock.advance(10);
    const running = after.runtime.running.map(({ call }) => `${call.id} ${call.attempt}`);
    assert.deepEqual(running.sort(), [`${ids[0]} 2`, `${ids[1]} 1`]);
    for (const call of after.runtime.running) call.answer();
    await settle();
    const statuses = await Promise.all(ids.map((id) => after.dispatcher.status("default", id)));
    assert.deepEqual(
      statuses.map((status) => status?.status),
      ["succeeded", "succeeded"],
    );
  });

  test("a crash between the record and the settlement settles, and runs nothing again", async () => {
    const world = await platform();
    world.deploy();
    const { id } = await world.accept();
    await world.clock.advance(10);
    world.cut.before = "settle";
    world.runtime.running[0]!.answer();
    await world.clock.advance(10);
    const after = await platform({ store: world.store, clock: world.clock });
    after.deploy();
    await after.clock.advance(1000);
    assert.equal(after.runtime.starts, 0);
    assert.equal(await after.store.queue.find("async/default/hello", id), undefined);
    assert.equal((await after.dispatcher.status("default", id))?.status, "succeeded");
  });

  test("at-most-once: an attempt that a crash cut off is not run again", async () => {
    const world = await platform();
    const once = { async: { delivery: "at-most-once" }, scaling: { max: 2 } } as const;
    world.deploy(once);
    const { id } = await world.accept();
    await world.clock.advance(10);
    assert.equal(world.runtime.running.length, 1);
    world.cut.all = true;
    const after = await platform({ store: world.store, clock: world.clock });
    after.deploy(once);
    await after.clock.advance(1000);
    assert.equal(after.runtime.starts, 0);
    const { invocation } = (await after.dispatcher.status("default", id))!;
    assert.deepEqual([invocation?.status, invocation?.error?.code], ["failed", "attempt_interrupted"]);
  });

  test("at-most-once: a failed call is not tried again either", async () => {
    const { clock, runtime, accept, deploy, dispatcher } = await platform();
    deploy({ async: { delivery: "at-most-once" } });
    const { id } = await accept();
    await clock.advance(10);
    runtime.running[0]!.answer(500);
    await clock.advance(60_000);
    assert.equal(runtime.running.length, 0);
    assert.equal((await dispatcher.status("default", id))?.status, "failed");
  });

  test("a call that kills the platform each time is given up in the end", async () => {
    let { store, clock } = await platform();
    let id = "";
    for (let restart = 0; restart < 6; restart++) {
      const world = await platform({ store, clock });
      ({ store, clock } = world);
      world.deploy({ async: { maxAttempts: 3 } });
      if (restart === 0) ({ id } = await world.accept());
      await clock.advance(20);
      if (restart < 3) assert.equal(world.runtime.running.length, 1);
      else assert.equal((await world.dispatcher.status("default", id))?.status, "dead_letter");
      world.cut.all = true;
    }
  });

  test("stop waits for running attempts, then puts what is left back for the next start", async () => {
    const world = await platform();
    world.deploy();
    const [quick, slow] = [await world.accept(), await world.accept()];
    await world.clock.advance(10);
    let stopped = false;
    const stopping = world.dispatcher.stop(1000).then(() => {
      stopped = true;
    });
    world.runtime.running.find(({ call }) => call.id === quick.id)!.answer();
    await world.clock.advance(900);
    assert.equal(stopped, false);
    await world.clock.advance(200);
    await stopping;
    await assert.rejects(world.accept(), { code: "unavailable" });
    const after = await platform({ store: world.store, clock: world.clock });
    after.deploy();
    await after.clock.advance(10);
    assert.deepEqual(
      after.runtime.running.map(({ call }) => call.id),
      [slow.id],
    );
  });
});

interface World extends Rig {
  readonly store: MemoryStore;
  readonly dispatcher: Dispatcher;
  /** Makes the platform's own store deaf: all of it, or before the first call of that name. */
  readonly cut: { all: boolean; before: string | undefined };
  deploy(settings?: RevisionSettings): void;
  accept(request?: Partial<InvocationRequest & { body: Uint8Array }>): Promise<{ id: string; duplicate: boolean }>;
}

/** A platform over a store that outlives it. */
async function platform(
  options: { store?: MemoryStore | undefined; clock?: ManualClock; concurrency?: number; instances?: number } = {},
): Promise<World> {
  const chance = seededChance();
  const clock = options.clock ?? new ManualClock();
  const store = options.store ?? createMemoryStore({ clock, chance });
  const budget = { memoryMb: 100_000, instances: options.instances ?? 1000, starts: 100 };
  const base = rig({ budget }, clock);
  const cut = { all: false, before: undefined as string | undefined };
  const history = createHistory({
    journal: severed(store.journal, cut),
    clock,
    log: silent,
    retention: { maxPerNamespace: 10_000, maxAgeMs: 30 * 24 * 3_600_000 },
  });
  const dispatcher = createDispatcher({
    queue: severed(store.queue, cut),
    records: severed(store.records, cut),
    values: store.blobs,
    invoker: base.invoker,
    functions: base.functions,
    history,
    clock,
    chance,
    identify: createIdentifier(clock, chance),
    log: silent,
    concurrency: options.concurrency ?? 100,
  });
  // Later than what is in the store.
  await clock.advance(1);
  return {
    ...base,
    store,
    dispatcher,
    cut,
    deploy: (settings = {}) => {
      base.functions.deploy(revisionOf(settings));
      // Not before there is a function: what is queued for none is given up.
      dispatcher.start();
    },
    accept: (request = {}) =>
      dispatcher.accept({
        namespace: "default",
        name: "hello",
        cause: { kind: "http" },
        method: "POST",
        target: "/",
        url: "http://test/",
        headers: [],
        body: Buffer.from("in"),
        ...request,
      }),
  };
}

/** What a process that was killed sees of its store: nothing any more. */
function severed<T extends object>(port: T, cut: { all: boolean; before: string | undefined }): T {
  return new Proxy(port, {
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver);
      if (typeof member !== "function") return member;
      return (...parameters: unknown[]): unknown => {
        if (name === cut.before) cut.all = true;
        if (cut.all) return new Promise(() => {});
        return Reflect.apply(member, target, parameters);
      };
    },
  });
}
