import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CatchUp } from "../../src/core/events/timer.ts";
import { propertyRuns } from "../drivers/property-runs.ts";
import { World } from "./event-world.ts";

type Step =
  | { kind: "publish"; count: number; shade: number; again: boolean }
  | { kind: "subscribe"; shade: number; ordered: boolean }
  | { kind: "unsubscribe" | "disable" | "enable"; which: number }
  | { kind: "pass"; ms: number }
  | { kind: "kill"; calls: number }
  | { kind: "undeploy" | "deploy" };

const which = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("publish" as const),
      count: fc.integer({ min: 1, max: 5 }),
      shade: fc.nat(2),
      again: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("subscribe" as const), shade: fc.nat(3), ordered: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("unsubscribe", "disable", "enable"), which }) as fc.Arbitrary<Step>,
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(3000) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("kill" as const), calls: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("undeploy", "deploy") }) as fc.Arbitrary<Step> },
);

/** What a subscription must have had, as far as the test knows. */
interface Expected {
  readonly name: string;
  /** 3: all. */
  readonly shade: number;
  readonly ordered: boolean;
  enabled: boolean;
  gone: boolean;
  readonly due: Set<string>;
}

test(
  "whatever is published, changed and killed: each accepted event reaches each matching subscription, in one invocation",
  { timeout: 600_000 },
  async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        await play(t, steps);
      }),
      { numRuns: propertyRuns(30) },
    );
  },
);

async function play(t: { after(action: () => void): void }, steps: readonly Step[]): Promise<void> {
  const world = new World(t);
  const subscriptions: Expected[] = [];
  const published = new Map<string, number>();
  let counter = 0;
  let last: { ids: string[]; shade: number } | undefined;
  world.deploy("note", { scaling: { max: 5 } });
  await world.topic();

  /** Does it until it is answered: a client sends again what a dying server did not answer. */
  async function sure(action: () => Promise<unknown>): Promise<void> {
    for (;;) {
      let settled = false;
      const outcome = action().then(
        () => (settled = true),
        (error: unknown) => {
          throw error;
        },
      );
      outcome.catch(() => undefined);
      for (let turn = 0; turn < 50 && !settled && !world.dead; turn++) await world.pass();
      if (settled) return void (await outcome);
      assert.ok(world.dead, "it was not answered, though the server lives");
      world.restart();
    }
  }

  const put = ({ name, shade, ordered, enabled }: Expected): Promise<unknown> =>
    world.subscribe(name, {
      enabled,
      ...(shade === 3 ? {} : { filters: [{ exact: { shade: String(shade) } }] }),
      ...(ordered ? { order: {} } : {}),
      delivery: { maxAttempts: 1000, maxAgeMs: 30 * 86_400_000, backoffMs: 10 },
    });

  for (const one of steps) {
    if (world.dead) world.restart();
    switch (one.kind) {
      case "publish": {
        const repeat = one.again && last !== undefined;
        const ids = repeat ? last!.ids : Array.from({ length: one.count }, () => `e${counter++}`);
        const shade = repeat ? last!.shade : one.shade;
        last = { ids, shade };
        await sure(() => world.publish(ids, { shade: String(shade) }));
        for (const id of ids) published.set(id, shade);
        for (const known of subscriptions) {
          if (known.shade === 3 || known.shade === shade) for (const id of ids) known.due.add(id);
        }
        break;
      }
      case "subscribe": {
        const { shade, ordered } = one;
        const wanted = { name: `s${counter++}`, shade, ordered, enabled: true, gone: false, due: new Set<string>() };
        await sure(() => put(wanted));
        subscriptions.push(wanted);
        break;
      }
      case "unsubscribe":
      case "disable":
      case "enable": {
        const known = subscriptions[one.which % Math.max(1, subscriptions.length)];
        if (known === undefined || known.gone) break;
        if (one.kind === "unsubscribe") {
          await sure(() => world.events.subscriptions.delete("default", known.name));
          known.gone = true;
        } else {
          known.enabled = one.kind === "enable";
          await sure(() => put(known));
        }
        break;
      }
      case "pass":
        await world.pass(one.ms);
        break;
      case "kill":
        world.killAfter(one.calls);
        break;
      case "undeploy":
        // What is queued for a function that is gone is given up, by the dispatcher's rule: let it end first.
        if (world.dead) break;
        world.killAfter(Infinity);
        for (let round = 0; round < 20; round++) await world.pass(100);
        world.undeploy("note");
        break;
      case "deploy":
        world.deploy("note", { scaling: { max: 5 } });
        break;
    }
  }

  world.restart();
  world.deploy("note", { scaling: { max: 5 } });
  for (const known of subscriptions) {
    if (known.gone) continue;
    known.enabled = true;
    await sure(() => put(known));
  }
  for (let round = 0; round < 30; round++) await world.pass(2000);

  for (const { name, due, shade, gone, ordered } of subscriptions) {
    const invocations = new Map<string, Set<string>>();
    const firsts: number[] = [];
    for (const delivery of world.deliveries) {
      if (delivery.subscription !== name) continue;
      const id = delivery.headers["ce-id"]!;
      assert.ok(published.has(id), `${id} was never published`);
      assert.ok(shade === 3 || published.get(id) === shade, `${name} was given ${id}, which its filter holds back`);
      if (!invocations.has(id)) firsts.push(Number(id.slice(1)));
      invocations.set(id, (invocations.get(id) ?? new Set()).add(delivery.invocation));
    }
    for (const [id, ran] of invocations) assert.equal(ran.size, 1, `${name} had ${id} in ${ran.size} invocations`);
    if (!gone) for (const id of due) assert.ok(invocations.has(id), `${name} never had ${id}`);
    if (ordered)
      assert.deepEqual(
        firsts,
        firsts.toSorted((a, b) => a - b),
        `${name} is in order`,
      );
  }
  world.kill();
}

test("a source fires once for each due time, whenever the server is killed", { timeout: 600_000 }, async (t) => {
  const life = fc.record({
    // Alive for a while, then killed at a call of the store, then down.
    alive: fc.integer({ min: 0, max: 40_000 }),
    calls: fc.oneof(fc.nat(40), fc.constant(1_000_000)),
    down: fc.oneof(fc.nat(5000), fc.nat(300_000)),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 1, maxLength: 12 }),
      fc.constantFrom<CatchUp>("all", "latest", "none"),
      fc.integer({ min: 1000, max: 20_000 }),
      fc.boolean(),
      async (lives, catchUp, everyMs, busy) => {
        const world = new World(t);
        await world.topic("orders", { maxEvents: 1_000_000 });
        const source = {
          namespace: "default",
          name: "tick",
          topic: "orders",
          timer: { kind: "interval" as const, everyMs },
          catchUp,
        };
        const { timer } = await world.events.sources.put(source);
        const start = timer.kind === "interval" ? timer.startAt : 0;
        for (const { alive, calls, down } of lives) {
          world.killAfter(calls);
          if (busy) void world.publish(["other"]);
          await world.pass(alive);
          world.kill();
          await world.clock.advance(down);
          world.open();
        }
        for (let round = 0; round < 30; round++) await world.pass(100);
        // A catch-up may be under way; it is over when nothing that is due is left.
        for (let next = -Infinity; next <= world.clock.now();) {
          await world.pass();
          next = (await world.events.sources.get("default", "tick"))!.status.nextDueAt!;
        }
        const fired: number[] = [];
        for (let from = 1; ;) {
          const page = await world.events.topics.read("default", "orders", from, 1000);
          for (const { event } of page) if (event.id !== "other") fired.push(Date.parse(event.id));
          if (page.length === 0) break;
          from = page.at(-1)!.sequence + 1;
        }
        const due = Math.floor((world.clock.now() - start) / everyMs) + 1;
        const { status } = (await world.events.sources.get("default", "tick"))!;
        assert.deepEqual(
          fired,
          [...new Set(fired)].sort((a, b) => a - b),
          "in order, and none twice",
        );
        assert.ok(fired.every((at) => (at - start) % everyMs === 0));
        assert.equal(fired.length + status.skipped, Math.max(0, due), "each due time fired or was skipped");
        assert.equal(status.fired, fired.length);
        if (catchUp === "all") assert.equal(status.skipped, 0);
        world.kill();
      },
    ),
    { numRuns: propertyRuns(20) },
  );
});
