import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../../src/core/errors.ts";
import { systemChance } from "../../../src/drivers/host/clock.ts";
import { createMemoryStore } from "../../../src/drivers/store/memory/store.ts";
import { openSqliteStore, type SqliteStore } from "../../../src/drivers/store/sqlite/store.ts";
import type { Lease } from "../../../src/ports/queue.ts";
import type { RecordChange } from "../../../src/ports/records.ts";
import { watching } from "../../contracts/records.ts";
import { ManualClock, seededChance, settle } from "../../engine/manual-clock.ts";
import { propertyRuns } from "../property-runs.ts";

/** SQLite goes through whatever memory goes through, and nobody can tell them apart. */

type Store = Pick<SqliteStore, "records" | "journal" | "queue">;
/** What one side does; `receipts` are those of its own leases, in the order in which both sides gave them. */
type Step = (store: Store, receipts: readonly string[]) => Promise<unknown>;

const key = fc.constantFrom("a", "a/1", "a/2", "a/～", "a/😀", "b", "");
const prefix = fc.constantFrom("", "a", "a/", "b", "c");
const limit = fc.constantFrom(0, 1, 2, 5, Infinity);
const ttlMs = fc.option(fc.constantFrom(0, 1, 300, 700, 1500), { nil: undefined, freq: 2 });
/** Revisions and sequences that may be the current one. */
const expect = fc.option(fc.nat(8), { nil: undefined, freq: 2 });
const value = fc.oneof(
  { weight: 9, arbitrary: fc.jsonValue({ maxDepth: 1 }) },
  { weight: 1, arbitrary: fc.constant(undefined) },
);
const change: fc.Arbitrary<RecordChange> = fc.oneof(
  fc.record({ put: key, value, expect, ttlMs }).map(defined),
  fc.record({ delete: key, expect }).map(defined),
);
const stream = fc.constantFrom("s", "s/t", "u");
const time = fc.integer({ min: 0, max: 6 });
const data = fc.uint8Array({ maxLength: 3 });
const queue = fc.constantFrom("q", "q", "q", "q2");
const id = fc.constantFrom("m1", "m2", "m3", "m4", "m5");
const ms = fc.constantFrom(0, 1, 400, 1000, 3000);

const recordsWrite: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(key, value, fc.record({ expect, ttlMs }).map(defined)).map(
    ([key, value, options]): Step =>
      ({ records }) =>
        records.put(key, value, options),
  ),
  fc.tuple(key, fc.record({ expect }).map(defined)).map(
    ([key, options]): Step =>
      ({ records }) =>
        records.delete(key, options),
  ),
  fc.array(change, { maxLength: 4 }).map(
    (changes): Step =>
      ({ records }) =>
        records.batch(changes),
  ),
);

const journalWrite: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(stream, fc.array(fc.record({ at: time, data }), { maxLength: 3 }), fc.record({ expect }).map(defined)).map(
    ([stream, events, options]): Step =>
      ({ journal }) =>
        journal.append(stream, events, options),
  ),
  fc.tuple(stream, fc.record({ before: fc.nat(8), olderThan: time }, { requiredKeys: [] })).map(
    ([stream, limit]): Step =>
      ({ journal }) =>
        journal.trim(stream, limit),
  ),
  stream.map(
    (stream): Step =>
      ({ journal }) =>
        journal.deleteStream(stream),
  ),
);

const queueWrite: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(queue, id, data, fc.record({ delayMs: ms, key: fc.constantFrom("k", "k", "l") }, { requiredKeys: [] }))
      .map(
        ([queue, id, body, options]): Step =>
          (store) =>
            store.queue.enqueue(queue, { id, body, ...options }),
      ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(queue, limit, ms).map(
      ([queue, max, leaseMs]): Step =>
        (store) =>
          store.queue.lease(queue, max, leaseMs),
    ),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(queue, fc.nat(), fc.constantFrom("extend", "settle", "remember", "release", "bury"), ms)
      .map(([queue, which, what, ms]): Step => (store, receipts) => {
        const receipt = receipts.at(-1 - (which % Math.max(1, receipts.length))) ?? "none";
        if (what === "extend") return store.queue.extend(queue, receipt, ms);
        if (what === "settle") return store.queue.settle(queue, receipt);
        if (what === "remember") return store.queue.settle(queue, receipt, { rememberMs: ms });
        if (what === "release") return store.queue.release(queue, receipt, ms);
        return store.queue.bury(queue, receipt, `reason ${ms}`);
      }),
  },
  fc.tuple(queue, id, fc.constantFrom("cancel" as const, "revive" as const)).map(
    ([queue, id, what]): Step =>
      (store) =>
        store.queue[what](queue, id),
  ),
  queue.map(
    (queue): Step =>
      (store) =>
        store.queue.reclaim!(queue),
  ),
);

const recordsRead: fc.Arbitrary<Step> = fc.tuple(prefix, fc.record({ after: key, limit }, { requiredKeys: [] })).map(
  ([prefix, options]): Step =>
    ({ records }) =>
      records.list(prefix, options),
);

const journalRead: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(stream, fc.nat(8), limit).map(
    ([stream, from, limit]): Step =>
      ({ journal }) =>
        journal.read(stream, from, limit),
  ),
  fc
    .tuple(
      stream,
      fc.record({ fromTime: time, toTime: time, newestFirst: fc.boolean(), limit }, { requiredKeys: ["limit"] }),
    )
    .map(
      ([stream, range]): Step =>
        ({ journal }) =>
          journal.query(stream, range),
    ),
);

const queueRead: fc.Arbitrary<Step> = fc.tuple(queue, fc.record({ after: id, limit }, { requiredKeys: ["limit"] })).map(
  ([queue, options]): Step =>
    (store) =>
      store.queue.dead(queue, options),
);

type Event =
  | { readonly do: "write"; readonly steps: readonly Step[] }
  | { readonly do: "read"; readonly step: Step }
  | { readonly do: "pass"; readonly ms: number }
  | { readonly do: "watch"; readonly prefix: string; readonly back: number }
  | { readonly do: "reopen" };

function eventOf({ write, read }: Focus): fc.Arbitrary<Event> {
  return fc.oneof(
    // Asked for in one turn: SQLite makes one transaction of them.
    {
      weight: 12,
      arbitrary: fc.record({
        do: fc.constant("write" as const),
        steps: fc.array(write, { minLength: 1, maxLength: 4 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("read" as const), step: read }) },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("pass" as const),
        ms: fc.constantFrom(1, 250, 300, 700, 1000, 90_000_000),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("watch" as const), prefix, back: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
  );
}

interface Focus {
  readonly write: fc.Arbitrary<Step>;
  readonly read: fc.Arbitrary<Step>;
  /** Looked at after each event. */
  readonly state: readonly Step[];
  readonly runs: number;
}

const records: Focus = {
  write: recordsWrite,
  read: recordsRead,
  state: [
    ({ records }) => records.list(""),
    ({ records }) => records.revision(),
    ...["a", "a/1", "a/2", "a/～", "a/😀", "b"].map(
      (key): Step =>
        ({ records }) =>
          records.get(key),
    ),
  ],
  runs: 120,
};

const journal: Focus = {
  write: journalWrite,
  read: journalRead,
  state: [
    ({ journal }) => journal.streams(""),
    ...["s", "s/t", "u"].flatMap((stream): Step[] => [
      ({ journal }) => journal.read(stream, 1, 100),
      ({ journal }) => journal.query(stream, { limit: 100 }),
      ({ journal }) => journal.query(stream, { limit: 100, newestFirst: true }),
      ({ journal }) => journal.bounds(stream),
    ]),
  ],
  runs: 60,
};

const queues: Focus = {
  write: queueWrite,
  read: queueRead,
  state: ["q", "q2"].flatMap((name): Step[] => [
    ({ queue }) => queue.depth(name),
    ({ queue }) => queue.nextDueAt(name),
    ({ queue }) => queue.dead(name, { limit: 100 }),
    ({ queue }) => Promise.all(["m1", "m2", "m3", "m4", "m5"].map((id) => queue.find(name, id))),
  ]),
  runs: 200,
};

const all = [records, journal, queues];
const together: Focus = {
  write: fc.oneof(...all.map(({ write }) => write)),
  read: fc.oneof(...all.map(({ read }) => read)),
  state: all.flatMap(({ state }) => state),
  runs: 30,
};

// What is compared here does not depend on the disk, and this one needs no fsync.
const folder = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

for (const [name, focus] of Object.entries({ records, journal, queues, together }))
  test(`whatever is done, in whatever order, SQLite and memory answer alike (${name})`, () => answerAlike(focus));

async function answerAlike(focus: Focus): Promise<void> {
  const everything = focus.state;
  await fc.assert(
    fc.asyncProperty(fc.array(eventOf(focus), { minLength: 5, maxLength: 60, size: "max" }), async (events) => {
      const home = mkdtempSync(join(folder, "virga-interleaving-"));
      const clock = new ManualClock();
      const memory: Store = createMemoryStore({ clock, chance: seededChance() });
      const open = (): SqliteStore => openSqliteStore({ file: join(home, "store"), clock, chance: systemChance });
      let sqlite = open();
      const receipts: { memory: string[]; sqlite: string[] } = { memory: [], sqlite: [] };
      let watches: { prefix: string; memory: Watch; sqlite: Watch }[] = [];
      const watch = (prefix: string, from: number): void => {
        watches.push({
          prefix,
          memory: watching(memory.records, prefix, from),
          sqlite: watching(sqlite.records, prefix, from),
        });
      };
      const endWatches = async (): Promise<void> => {
        for (const { memory, sqlite } of watches) assert.deepEqual(await sqlite.stop(), await memory.stop());
        watches = [];
      };
      const compare = async (steps: readonly Step[]): Promise<void> => {
        const [expected, actual] = await Promise.all([
          Promise.all(steps.map((step) => outcomeOf(step(memory, receipts.memory)))),
          Promise.all(steps.map((step) => outcomeOf(step(sqlite, receipts.sqlite)))),
        ]);
        assert.deepEqual(takeReceipts(actual, receipts.sqlite), takeReceipts(expected, receipts.memory));
      };
      try {
        watch("", 0);
        for (const event of events) {
          if (event.do === "write") await compare(event.steps);
          else if (event.do === "read") await compare([event.step]);
          else if (event.do === "pass") await clock.advance(event.ms);
          else if (event.do === "watch") watch(event.prefix, (await memory.records.revision()) - event.back);
          else {
            const prefixes = watches.map(({ prefix }) => prefix);
            await endWatches();
            sqlite.close();
            sqlite = open();
            const revision = await memory.records.revision();
            for (const prefix of prefixes) watch(prefix, revision);
          }
          await settle();
          await compare(everything);
        }
        await clock.advance(1000);
        await compare(everything);
        await endWatches();
      } finally {
        sqlite.close();
        rmSync(home, { recursive: true });
      }
    }),
    { numRuns: propertyRuns(focus.runs) },
  );
}

type Watch = ReturnType<typeof watching>;

interface Outcome {
  readonly value?: unknown;
  readonly code?: string;
  readonly message?: string;
}

async function outcomeOf(step: Promise<unknown>): Promise<Outcome> {
  try {
    return { value: plain(await step) };
  } catch (error) {
    if (!(error instanceof VirgaError)) throw error;
    return { code: error.code, message: error.message };
  }
}

/** Bytes of one class: Buffers and Uint8Arrays are the same to a reader. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

/** Receipts are each driver's own: kept, and taken out of what is compared. */
function takeReceipts(outcomes: readonly Outcome[], receipts: string[]): unknown {
  return outcomes.map(({ value, ...failure }) => {
    if (!Array.isArray(value) || (value as Partial<Lease>[])[0]?.receipt === undefined) return { value, ...failure };
    return (value as Lease[]).map(({ receipt, ...lease }) => {
      receipts.push(receipt);
      return lease;
    });
  });
}

/** Without the options that are not given: `exactOptionalPropertyTypes`. */
function defined<T extends object>(options: T): { [Name in keyof T]: Exclude<T[Name], undefined> } {
  return Object.fromEntries(
    Object.entries(options).filter(([name, value]) => value !== undefined || name === "value"),
  ) as {
    [Name in keyof T]: Exclude<T[Name], undefined>;
  };
}
