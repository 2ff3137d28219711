import assert from "node:assert/strict";
import { test } from "node:test";
import { once } from "../../src/core/once.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createHistory } from "../../src/engine/history.ts";
import { createIdentifier } from "../../src/engine/identifier.ts";
import { sweepValues } from "../../src/engine/value-sweep.ts";
import type { NewEvent } from "../../src/ports/journal.ts";
import { invocation } from "./invocations.ts";
import { recordingLog, seededChance, VirtualClock } from "./virtual-clock.ts";

const hourMs = 3_600_000;

function setting() {
  const clock = new VirtualClock();
  const chance = seededChance();
  const log = recordingLog();
  const { journal, blobs: values } = createMemoryStore({ clock, chance });
  const identify = createIdentifier(clock, chance);
  const put = async (text: string): Promise<string> => (await values.put(once(Buffer.from(text)))).digest;
  const sweep = (named: () => AsyncIterable<string>) => sweepValues({ values, named, clock, log });
  return { clock, journal, log, values, identify, put, sweep };
}

test("a value that nothing names stays for an hour, in which what names it may come", async () => {
  const { clock, values, put, sweep } = setting();
  const digest = await put("large");
  clock.advance(hourMs);
  await sweep(async function* () {});
  assert.equal(await values.delete(digest, { unusedSince: 0 }), false);
  clock.advance(1);
  await sweep(async function* () {});
  assert.equal(await values.delete(digest, { unusedSince: 0 }), true);
});

test("a value that comes again while the named ones are looked for stays", async () => {
  const { clock, values, put, sweep } = setting();
  const digest = await put("large");
  clock.advance(2 * hourMs);
  await sweep(async function* () {
    yield await put("another");
    await put("large");
  });
  assert.ok(await values.has(digest));
});

test("where not all that names values can be read, none is removed", async () => {
  const { clock, values, put, sweep } = setting();
  const digest = await put("large");
  clock.advance(2 * hourMs);
  const unreadable = sweep(async function* () {
    yield "0".repeat(64);
    throw new Error("the disk is broken");
  });
  await assert.rejects(unreadable, /the disk is broken/);
  assert.ok(await values.has(digest));
});

test("a value stays while the record that names it cannot be written", async () => {
  const { clock, journal, log, identify, values, put, sweep } = setting();
  let isFull = true;
  const filling = {
    ...journal,
    append: (...given: Parameters<typeof journal.append>) =>
      isFull ? Promise.reject(new Error("the disk is full")) : journal.append(...given),
  };
  const retention = { maxPerNamespace: 1_000_000, maxAgeMs: 365 * 24 * hourMs };
  const history = createHistory({ journal: filling, clock, log, retention });
  const digest = await put("large");
  history.append(invocation(identify(), { result: { status: 200, headers: [], blob: digest } }));
  await assert.rejects(history.flush(), /the disk is full/);
  clock.advance(2 * hourMs);
  await sweep(() => history.namedValues());
  assert.ok(await values.has(digest));
  isFull = false;
  await history.flush();
  await sweep(() => history.namedValues());
  assert.ok(await values.has(digest));
  await history.close();
});

test("records of earlier versions, whose segments do not say that they name values, are looked into", async () => {
  const { clock, journal, log, identify } = setting();
  const retention = { maxPerNamespace: 1_000_000, maxAgeMs: 365 * 24 * hourMs };
  const earlier = {
    ...journal,
    append: (stream: string, events: readonly NewEvent[], options?: { expect?: number }) =>
      journal.append(
        stream,
        events.map(({ at, data }) => ({
          at,
          data: Buffer.from(
            Buffer.from(data)
              .toString()
              .replaceAll(/,"values":[01]/g, ""),
          ),
        })),
        options,
      ),
  };
  const write = async (to: typeof journal, blob: string, count: number): Promise<void> => {
    const history = createHistory({ journal: to, clock, log, retention });
    await history.appendDurably(invocation(identify(), { result: { status: 200, headers: [], blob } }));
    for (let index = 0; index < count; index++) await history.appendDurably(invocation(identify()));
    await history.close();
  };
  // More than a page of the index, and some behind it.
  await write(earlier, "a".repeat(64), 300);
  await write(journal, "b".repeat(64), 1);
  const found: string[] = [];
  const history = createHistory({ journal, clock, log, retention });
  for await (const digest of history.namedValues()) found.push(digest);
  assert.deepEqual(found, ["a".repeat(64), "b".repeat(64)]);
});
