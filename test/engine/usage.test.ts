import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import type { Invocation } from "../../src/core/model.ts";
import { addInvocation, dayOf, noUsage, usageDay } from "../../src/core/usage-days.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createHistory } from "../../src/engine/history.ts";
import { createIdentifier } from "../../src/engine/identifier.ts";
import { createUsage } from "../../src/engine/usage.ts";
import type { Records } from "../../src/ports/records.ts";
import { invocation } from "./invocations.ts";
import { recordingLog, seededChance, VirtualClock } from "./virtual-clock.ts";

function setting(maxPerNamespace = 1_000_000) {
  const clock = new VirtualClock(Date.UTC(2030, 0, 15, 23, 59));
  const chance = seededChance();
  const { journal, records } = createMemoryStore({ clock, chance });
  const log = recordingLog();
  const identify = createIdentifier(clock, chance);
  const open = async (over: Partial<Records> = {}, keepDays?: number) => {
    const history = createHistory({ journal, clock, log, retention: { maxPerNamespace, maxAgeMs: 1e12 } });
    const usage = await createUsage({
      records: { ...records, ...over },
      journal,
      history,
      clock,
      log,
      ...(keepDays === undefined ? {} : { keepDays }),
    });
    return { history, usage };
  };
  return { clock, journal, records, log, identify, open };
}

/** The sums straight from the calls. */
function expected(calls: readonly Invocation[]) {
  const sums = new Map<string, ReturnType<typeof noUsage>>();
  for (const call of calls) {
    const key = `${dayOf(call.timings.acceptedAt)}/${call.name}`;
    if (!sums.has(key)) sums.set(key, noUsage());
    addInvocation(sums.get(key)!, call);
  }
  return [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]) => {
      const [day, name] = key.split("/") as [string, string];
      return usageDay({ namespace: "default", name }, day, each);
    });
}

const settle = async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

test("sums are split by function and by the day of acceptance", async () => {
  const { clock, identify, open } = setting();
  const { history, usage } = await open();
  const calls: Invocation[] = [];
  for (let index = 0; index < 10; index++) {
    clock.advance(20_000);
    const call = invocation(identify(), {
      name: index % 3 ? "a" : "b",
      status: index % 4 ? "succeeded" : "failed",
      usage: { billedMs: 100 + index, coldStart: index === 0 },
    });
    calls.push(call);
    history.append(call);
  }
  assert.deepEqual(await usage.days("default", {}), expected(calls));
  assert.equal(expected(calls).length, 4);
  const onlyA = await usage.days("default", { name: "a", from: "2030-01-16", to: "2030-01-16" });
  assert.deepEqual(
    onlyA.map(({ name, day }) => `${name} ${day}`),
    ["a 2030-01-16"],
  );
  assert.deepEqual(await usage.days("other", {}), []);
});

test("usage and records add up exactly through crashes at any point", async () => {
  const step = fc.constantFrom("call", "call", "call", "flush", "save", "crash", "read");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
      const { clock, identify, open } = setting();
      let { history, usage } = await open();
      let count = 0;
      for (const step of steps) {
        if (step === "call")
          history.append(
            invocation(identify(), { name: `f${count++ % 3}`, usage: { billedMs: count, cpuMs: count / 3 } }),
          );
        else if (step === "flush") await history.flush();
        else if (step === "save") {
          clock.advance(5000);
          await settle();
        } else if (step === "read") await usage.days("default", {});
        else {
          clock.forgetTimers();
          ({ history, usage } = await open());
        }
      }
      await history.flush();
      const records = await history.list("default", { limit: 10_000 });
      assert.deepEqual(await usage.days("default", {}), expected(records));
    }),
    { numRuns: 80 },
  );
});

test("a save that fails loses nothing and counts nothing twice", async () => {
  const { clock, records, log, identify, open } = setting();
  let fails = true;
  const { history, usage } = await open({
    batch: async (changes) => {
      if (fails) throw new VirgaError("storage_full", "the disk is full");
      return records.batch(changes);
    },
  });
  const calls = Array.from({ length: 7 }, () => invocation(identify()));
  await Promise.all(calls.slice(0, 4).map((call) => history.appendDurably(call)));
  clock.advance(5000);
  await settle();
  assert.ok(log.lines.some(({ level, message }) => level === "error" && message.includes("usage")));
  await assert.rejects(usage.days("default", {}), VirgaError);
  await Promise.all(calls.slice(4).map((call) => history.appendDurably(call)));
  fails = false;
  clock.advance(5000);
  await settle();
  assert.deepEqual(await usage.days("default", {}), expected(calls));
});

test("usage outlives the records that retention removes", async () => {
  const { identify, open } = setting(10);
  const { history, usage } = await open();
  const calls: Invocation[] = [];
  for (let index = 0; index < 60; index++) {
    const call = invocation(identify());
    calls.push(call);
    await history.appendDurably(call);
    if (index % 20 === 19) await usage.days("default", {});
  }
  await history.sweep();
  assert.ok((await history.list("default", { limit: 100 })).length < 60);
  assert.deepEqual(await (await open()).usage.days("default", {}), expected(calls));
});

test("days beyond their time are removed", async () => {
  const { clock, identify, open } = setting();
  const { history, usage } = await open({}, 2);
  for (let day = 0; day < 5; day++) {
    await history.appendDurably(invocation(identify()));
    clock.advance(86_400_000);
    await settle();
  }
  assert.deepEqual(
    (await usage.days("default", {})).map(({ day }) => day),
    ["2030-01-18", "2030-01-19"],
  );
});

test("a wrong day is refused with its field; a deleted namespace begins anew", async () => {
  const { identify, open } = setting();
  const { history, usage } = await open();
  await assert.rejects(
    usage.days("default", { from: "yesterday" }),
    (error: unknown) => error instanceof VirgaError && error.detail.field === "from",
  );
  await history.appendDurably(invocation(identify()));
  await usage.days("default", {});
  await history.forget("default");
  await usage.forget("default");
  assert.deepEqual(await usage.days("default", {}), []);
  const call = invocation(identify());
  await history.appendDurably(call);
  assert.deepEqual(await usage.days("default", {}), expected([call]));
});
