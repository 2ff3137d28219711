import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import type { Invocation, InvocationStatus } from "../../src/core/model.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import type { FollowedLine } from "../../src/engine/engine.ts";
import { createHistory, recordStream } from "../../src/engine/history.ts";
import { createIdentifier } from "../../src/engine/identifier.ts";
import type { Journal } from "../../src/ports/journal.ts";
import { invocation } from "./invocations.ts";
import { recordingLog, seededChance, VirtualClock } from "./virtual-clock.ts";

const plenty = { maxPerNamespace: 1_000_000, maxAgeMs: 365 * 86_400_000 };

function setting(retention = plenty) {
  const clock = new VirtualClock();
  const chance = seededChance();
  const { journal } = createMemoryStore({ clock, chance });
  const log = recordingLog();
  const identify = createIdentifier(clock, chance);
  const open = (over: Partial<Journal> = {}) =>
    createHistory({ journal: { ...journal, ...over }, clock, log, retention });
  return { clock, journal, log, identify, open };
}

const ids = (records: readonly Invocation[]) => records.map(({ id }) => id);
/** Lets what runs behind promises and at the end of this turn happen. */
const settle = async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

test("a record is there from the moment of its append, in one write with others 100 ms later, and after a restart", async () => {
  const { clock, journal, identify, open } = setting();
  const history = open();
  const records = Array.from({ length: 20 }, () => invocation(identify()));
  for (const record of records) history.append(record);
  assert.deepEqual(await history.get("default", records[3]!.id), records[3]);
  assert.deepEqual(ids(await history.list("default", { limit: 100 })), ids(records).toReversed());
  assert.equal((await journal.bounds(recordStream("default"))).last, 0);
  clock.advance(100);
  await settle();
  assert.equal((await journal.bounds(recordStream("default"))).last, 1);
  const again = open();
  assert.deepEqual(await again.get("default", records[3]!.id), records[3]);
  assert.deepEqual(await again.list("default", { limit: 100 }), records.toReversed());
});

test("records that come while others are written wait for the next 100 ms, and are not written one by one", async () => {
  const { clock, journal, identify, open } = setting();
  let writes = 0;
  const history = open({
    async append(...given) {
      writes++;
      // As on a disk that takes a turn of the event loop, in which more calls end.
      await new Promise((resolve) => setImmediate(resolve));
      if (writes < 50) history.append(invocation(identify()));
      return await journal.append(...given);
    },
  });
  history.append(invocation(identify()));
  clock.advance(100);
  for (let turns = 0; turns < 20; turns++) await settle();
  const ofRecords = writes;
  assert.ok(ofRecords <= 2, `${ofRecords} writes`);
  clock.advance(100);
  for (let turns = 0; turns < 20; turns++) await settle();
  assert.ok(writes > ofRecords && writes <= 4, `${writes} writes`);

  const durable = history.appendDurably(invocation(identify()));
  await settle();
  const second = history.appendDurably(invocation(identify()));
  await Promise.all([durable, second]);
  await history.close();
  assert.equal((await open().list("default", { limit: 100 })).length >= 4, true);
});

test("what is appended to a namespace while it is forgotten is not written, and its writer hears so", async () => {
  const { journal, identify, open } = setting();
  let release = (): void => undefined;
  const history = open({
    async append(...given) {
      await new Promise<void>((resolve) => (release = resolve));
      return await journal.append(...given);
    },
  });
  const first = history.appendDurably(invocation(identify()));
  await settle();
  const forgetting = history.forget("default");
  const late = history.appendDurably(invocation(identify())).catch((error: VirgaError) => error.code);
  const flushed = history.flush();
  await settle();
  release();
  await flushed;
  await first;
  await forgetting;
  assert.equal(await late, "not_found");
  await settle();
  assert.equal((await journal.bounds(recordStream("default"))).last, 0);
  await history.close();
});

test("a durable record is in the journal when its promise settles, together with those of the same turn", async () => {
  const { journal, identify, open } = setting();
  const history = open();
  await Promise.all(Array.from({ length: 50 }, () => history.appendDurably(invocation(identify()))));
  assert.equal((await journal.bounds(recordStream("default"))).last, 1);
  assert.equal((await open().list("default", { limit: 100 })).length, 50);
});

test("a call that ran for an hour is found by its id, and stretches no segment", async () => {
  const { clock, journal, identify, open } = setting();
  const long = invocation(identify());
  clock.advance(3_600_000);
  const history = open();
  const short = invocation(identify());
  history.append(long);
  history.append(short);
  await history.flush();
  assert.equal((await journal.bounds(recordStream("default"))).last, 2);
  const again = open();
  assert.deepEqual(await again.get("default", long.id), long);
  assert.deepEqual(ids(await again.list("default", { limit: 9 })), [short.id, long.id]);
  assert.deepEqual(ids(await again.list("default", { limit: 9, until: clock.now() })), [long.id]);
});

test("of several attempts the last one tells how a call stands", async () => {
  const { identify, open } = setting();
  const history = open();
  const id = identify();
  await history.appendDurably(invocation(id, { status: "failed", attempt: 1 }));
  await history.appendDurably(invocation(id, { status: "succeeded", attempt: 2 }));
  assert.equal((await history.get("default", id))?.attempt, 2);
  assert.deepEqual(
    (await history.list("default", { limit: 9 })).map(({ attempt }) => attempt),
    [2],
  );
});

test("an id that stands in other records as their parent is still found, and an unknown one is not", async () => {
  const { identify, open } = setting();
  const history = open();
  const parent = identify();
  history.append(invocation(parent));
  for (let index = 0; index < 5; index++)
    history.append(invocation(identify(), { cause: { kind: "function", parent } }));
  await history.flush();
  assert.equal((await history.get("default", parent))?.id, parent);
  for (const unknown of [identify(), "", "x", "x".repeat(10_000), '"', "default"]) {
    assert.equal(await history.get("default", unknown), undefined);
  }
  assert.equal(await history.get("other", parent), undefined);
});

test("ids that carry no time are found as well", async () => {
  const { identify, open } = setting();
  const history = open();
  history.append(invocation(identify()));
  history.append(invocation("order-17", { acceptedAt: 5 }));
  await history.flush();
  assert.equal((await open().get("default", "order-17"))?.id, "order-17");
});

test("lists agree with a plain model under any records, filters, pages and restarts", async () => {
  const names = ["a", "b", "c"];
  const statuses: InvocationStatus[] = ["succeeded", "failed", "timed_out"];
  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        kind: fc.constant("call" as const),
        name: fc.constantFrom(...names),
        status: fc.constantFrom(...statuses),
        ago: fc.constantFrom(0, 0, 5, 900, 20_000),
        durable: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("pause" as const), ms: fc.constantFrom(1, 50, 200, 5000) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
  );
  const filters = fc.record(
    {
      name: fc.constantFrom(...names),
      status: fc.constantFrom(...statuses),
      since: fc.nat(30_000),
      until: fc.nat(30_000),
    },
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      filters,
      fc.integer({ min: 1, max: 10 }),
      async (steps, filter, limit) => {
        const { clock, open } = setting();
        const start = clock.now();
        const earlier = new VirtualClock(0);
        const chance = seededChance(7);
        let history = open();
        const model: Invocation[] = [];
        for (const step of steps) {
          if (step.kind === "pause") {
            clock.advance(step.ms);
            await settle();
          } else if (step.kind === "reopen") {
            await history.flush();
            history = open();
          } else {
            earlier.set(clock.now() - step.ago);
            const record = invocation(createIdentifier(earlier, chance)(), { name: step.name, status: step.status });
            model.push(record);
            if (step.durable) await history.appendDurably(record);
            else history.append(record);
          }
        }
        const shifted = {
          ...filter,
          ...(filter.since === undefined ? {} : { since: start - 10_000 + filter.since }),
          ...(filter.until === undefined ? {} : { until: start - 10_000 + filter.until }),
        };
        const expected = model
          .filter(({ name, status, timings }) => {
            if (shifted.name !== undefined && name !== shifted.name) return false;
            if (shifted.status !== undefined && status !== shifted.status) return false;
            if (shifted.since !== undefined && timings.acceptedAt < shifted.since) return false;
            return shifted.until === undefined || timings.acceptedAt < shifted.until;
          })
          .sort((a, b) => b.timings.acceptedAt - a.timings.acceptedAt || (a.id < b.id ? 1 : -1));
        const got: Invocation[] = [];
        for (;;) {
          const before = got.at(-1)?.id;
          const page = await history.list("default", {
            ...shifted,
            limit,
            ...(before === undefined ? {} : { before }),
          });
          got.push(...page);
          if (page.length < limit) break;
        }
        assert.deepEqual(ids(got), ids(expected));
        for (const record of model) assert.deepEqual(await history.get("default", record.id), record);
      },
    ),
    { numRuns: 60 },
  );
});

test("the index comes back from its pages, from segments where pages are missing, and after trimming", async () => {
  const { clock, journal, identify, open } = setting();
  const history = open();
  const records: Invocation[] = [];
  for (let index = 0; index < 600; index++) {
    clock.advance(1);
    const record = invocation(identify());
    records.push(record);
    await history.appendDurably(record);
  }
  await history.flush();
  assert.equal((await journal.bounds("invocation-pages/default")).last, 2);
  await journal.trim(recordStream("default"), { before: 301 });
  const check = async () => {
    const again = open();
    assert.deepEqual(ids(await again.list("default", { limit: 1000 })), ids(records.slice(300)).toReversed());
    assert.equal((await again.get("default", records[599]!.id))?.id, records[599]!.id);
    assert.equal(await again.get("default", records[10]!.id), undefined);
    return again;
  };
  const again = await check();
  await journal.deleteStream("invocation-pages/default");
  await check();
  // A page that a crash left out is written with the next records.
  await again.appendDurably(invocation(identify()));
  const fresh = open();
  await fresh.appendDurably(invocation(identify()));
  await fresh.flush();
  assert.equal((await journal.bounds("invocation-pages/default")).last, 2);
  assert.equal((await open().list("default", { limit: 1000 })).length, 302);
});

test("the oldest records go by count and by age, but not before usage has counted them", async () => {
  const { clock, identify, open } = setting({ maxPerNamespace: 100, maxAgeMs: 60_000 });
  const history = open();
  let folded = 0;
  history.holdBack(() => folded);
  for (let index = 0; index < 150; index++) {
    clock.advance(10);
    await history.appendDurably(invocation(identify()));
  }
  await history.flush();
  assert.equal((await history.list("default", { limit: 1000 })).length, 150);
  folded = Number.POSITIVE_INFINITY;
  await history.appendDurably(invocation(identify()));
  await history.flush();
  assert.equal((await history.list("default", { limit: 1000 })).length, 100);
  clock.advance(59_500);
  await history.sweep();
  const left = await history.list("default", { limit: 1000 });
  assert.ok(left.length > 0 && left.length < 100, `${left.length} left`);
  assert.ok(left.every(({ timings }) => timings.acceptedAt >= clock.now() - 60_000));
  clock.advance(60_000);
  await history.sweep();
  assert.deepEqual(await history.list("default", { limit: 1000 }), []);
});

test("while the disk is full records wait, who asked for durability hears of it, and nothing comes twice", async () => {
  const { clock, journal, identify, log, open } = setting();
  let full = true;
  const history = open({
    append: async (...parameters) => {
      if (full) throw new VirgaError("storage_full", "the disk is full");
      return journal.append(...parameters);
    },
  });
  const waits = invocation(identify());
  history.append(waits);
  await assert.rejects(
    history.appendDurably(invocation(identify())),
    (error: unknown) => error instanceof VirgaError && error.code === "storage_full",
  );
  assert.equal((await history.get("default", waits.id))?.id, waits.id);
  assert.ok(log.lines.some(({ level }) => level === "error"));
  await assert.rejects(history.flush());
  full = false;
  clock.advance(1000);
  await settle();
  assert.deepEqual(ids(await open().list("default", { limit: 9 })), [waits.id]);
});

test("a record that is too large for an event keeps the beginning of its log", async () => {
  const { identify, open } = setting();
  const history = open();
  const logs = Array.from({ length: 200 }, (_, at) => ({
    at,
    stream: "stdout" as const,
    text: "\u0001".repeat(100_000),
  }));
  const record = invocation(identify(), {
    logs,
    logsDropped: 5,
    error: { code: "function_error", message: "x".repeat(1e6) },
  });
  await history.appendDurably(record);
  const kept = await open().get("default", record.id);
  assert.ok(kept!.logs.length > 0 && kept!.logs.length < 200);
  assert.equal(kept!.logs.length + kept!.logsDropped!, 205);
});

test("every segment is told once, in order, before who waits for it goes on", async () => {
  const { identify, open } = setting();
  const history = open();
  const told: [number, number][] = [];
  history.onSegment((_, sequence, invocations) => told.push([sequence, invocations.length]));
  for (let round = 0; round < 3; round++) {
    for (let index = 0; index < 300; index++) history.append(invocation(identify()));
    await history.appendDurably(invocation(identify()));
    assert.equal(
      told.reduce((sum, [, count]) => sum + count, 0),
      (round + 1) * 301,
    );
  }
  assert.deepEqual(
    told.map(([sequence]) => sequence),
    told.map((_, index) => index + 1),
  );
});

test("followers hear the lines that they asked for, until they leave", () => {
  const { open } = setting();
  const history = open();
  const heard: string[] = [];
  const line = (text: string, more: Partial<FollowedLine> = {}): FollowedLine => ({
    namespace: "default",
    name: "a",
    revision: 1,
    instance: "i",
    at: 1,
    stream: "stdout",
    text,
    ...more,
  });
  const stops = [
    history.follow({ namespace: "default" }, ({ text }) => heard.push(`all ${text}`)),
    history.follow({ namespace: "default", name: "a" }, ({ text }) => heard.push(`a ${text}`)),
    history.follow({ namespace: "default", invocation: "7" }, ({ text }) => heard.push(`7 ${text}`)),
    history.follow({ namespace: "default", name: "none" }, () => {
      throw new Error("never");
    }),
  ];
  history.logged(line("1"));
  history.logged(line("2", { name: "b", invocation: "7" }));
  history.logged(line("3", { namespace: "other" }));
  for (const stop of stops) stop();
  history.logged(line("4"));
  assert.deepEqual(heard, ["all 1", "a 1", "all 2", "7 2"]);
});

test("a deleted namespace's records are gone, on disk and in memory", async () => {
  const { journal, identify, open } = setting();
  const history = open();
  const record = invocation(identify());
  await history.appendDurably(record);
  history.append(invocation(identify()));
  await history.forget("default");
  assert.deepEqual(await history.list("default", { limit: 9 }), []);
  assert.deepEqual(await journal.streams(""), []);
});
