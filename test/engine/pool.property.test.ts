import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import { revisionOf, rig, type Observed } from "./rig.ts";

/** What happens to the platform, in any order. Numbers choose among what is there. */
const event = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("call"), at: fc.nat(2) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("answer"), at: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel"), at: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("crash"), at: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("acknowledge"), at: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("deploy"), at: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("breakStarts"), at: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("secret"), at: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("pass"), at: fc.integer({ min: 1, max: 700 }) }) },
);

const names = ["a", "b", "c"];

test("whatever happens, limits hold, every call settles exactly once and no slot or memory is lost", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { minLength: 5, maxLength: 60 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 3 }),
      fc.boolean(),
      async (events, concurrency, max, acknowledges) => {
        const budget = { memoryMb: 256 * 5, instances: 5, starts: 2 };
        const world = rig({ budget, prewarm: [{ runtime: "fake", memoryMb: 256, cpus: 1, count: 1 }] });
        const { runtime, functions, clock, pool } = world;
        runtime.startMs = 40;
        runtime.acknowledges = acknowledges;
        const numbers = new Map<string, number>();
        const deploy = (name: string): void => {
          const number = (numbers.get(name) ?? 0) + 1;
          numbers.set(name, number);
          functions.deploy(
            revisionOf({
              name,
              number,
              limits: { concurrency, timeoutMs: 400, startTimeoutMs: 300, queueLength: 9 },
              scaling: { max, keepAliveMs: 300, min: name === "c" ? 1 : 0 },
              config: { secrets: ["KEY"] },
            }),
          );
        };
        for (const name of names) deploy(name);
        const calls: Observed[] = [];
        const broken: string[] = [];
        runtime.onCall = ({ instance }) => {
          const { name, limits } = { name: instance.code!.name, limits: instance.code!.config.limits };
          // A program that has not acknowledged shares its slots only where it has several.
          if (concurrency === 1 || acknowledges) {
            if (instance.calls.size > limits.concurrency) broken.push(`${name} runs ${instance.calls.size} at a time`);
          }
        };
        const check = (): void => {
          assert.deepEqual(broken, []);
          assert.ok(pool.memory().usedMb <= budget.memoryMb, `${pool.memory().usedMb} MB in use`);
          assert.ok(runtime.alive.length <= budget.instances, `${runtime.alive.length} instances`);
          for (const call of calls) assert.ok(call.settled <= 1, "a call settled twice");
          for (const name of names) {
            const serving = pool
              .instances({ name })
              .filter(({ state, revision }) => state !== "draining" && revision === numbers.get(name));
            assert.ok(serving.length <= max, `${serving.length} instances of ${name}`);
          }
        };
        for (const { do: what, at } of events) {
          const running = runtime.running.filter(({ cancelled }) => cancelled === undefined);
          const chosen = running[at % Math.max(1, running.length)];
          if (what === "call") calls.push(world.call({ name: names[at]! }));
          else if (what === "answer") chosen?.answer();
          else if (what === "cancel") calls[at % Math.max(1, calls.length)]?.handle.cancel("cancelled");
          else if (what === "crash") runtime.alive[at % Math.max(1, runtime.alive.length)]?.crash();
          else if (what === "acknowledge")
            runtime.running.find(({ cancelled }) => cancelled === "cancelled")?.acknowledge();
          else if (what === "deploy") deploy(names[at]!);
          else if (what === "breakStarts")
            runtime.failLoad = at === 0 ? new VirgaError("start_failed", "broken") : undefined;
          else if (what === "secret") world.changeSecret("default", "KEY");
          else await clock.advance(at);
          check();
        }
        runtime.failLoad = undefined;
        // Longer than any call may wait and run.
        await clock.advance(20_000);
        check();
        for (const call of calls) assert.equal(call.settled, 1, "a call did not settle");
        for (const name of names) assert.equal(pool.waiting({ namespace: "default", name }), 0);
        // Everything but the floor of `c` and the prewarmed one is gone, and its memory with it.
        await clock.advance(60_000);
        assert.deepEqual(
          pool.instances().map(({ name, state }) => [name, state]),
          [["c", "idle"]],
        );
        assert.deepEqual([pool.memory().usedMb, runtime.alive.length], [512, 2]);
        // No slot was lost: as many calls as ever fit run at the same time.
        const after = Array.from({ length: max * concurrency }, () => world.call({ name: "a" }));
        await clock.advance(350);
        for (const running of runtime.running) if (running.cancelled === undefined) running.answer();
        assert.ok(after.every(({ ended }) => ended === 1));
        await world.invoker.drain(1000);
        assert.deepEqual([runtime.alive.length, pool.memory().usedMb], [0, 0]);
      },
    ),
    { numRuns: 60 },
  );
});
