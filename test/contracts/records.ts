import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { RecordEvent, Records } from "../../src/ports/records.ts";
import { settle } from "../engine/manual-clock.ts";
import { guaranteesOf, rejects, type OpenDriver } from "./opened.ts";

/** Every guarantee of the records port. */
export function describeRecords(name: string, open: OpenDriver<Records>): void {
  const guarantee = guaranteesOf(`records of ${name}`, open);

  guarantee("a key that was never put is not there", async ({ port }) => {
    assert.equal(await port.get("a"), undefined);
    assert.equal(await port.delete("a"), false);
    assert.equal(await port.revision(), 0);
  });

  guarantee("every change gets the store's next revision number, and nothing else does", async ({ port }) => {
    assert.equal(await port.put("a", 1), 1);
    assert.equal(await port.put("b", 1), 2);
    assert.equal(await port.put("a", 1), 3);
    assert.equal(await port.delete("b"), true);
    assert.equal(await port.revision(), 4);
    assert.equal(await port.delete("b"), false);
    await rejects(port.put("a", 2, { expect: 1 }), "conflict");
    await port.get("a");
    await port.list("");
    assert.equal(await port.batch([]), 4);
    assert.equal(await port.revision(), 4);
    assert.equal(
      await port.batch([
        { put: "c", value: 1 },
        { put: "d", value: 1 },
      ]),
      6,
    );
  });

  guarantee("any JSON value comes back as it was put", async ({ port }) => {
    const values = [null, true, 0, -1.5, "", "ä€😀\0\ud800", [], {}, { a: [{ b: null }] }];
    for (const [index, value] of values.entries()) await port.put(`v/${index}`, value);
    assert.deepEqual(
      (await port.list("v/")).map(({ value }) => value),
      values,
    );
  });

  guarantee("what is put or read can be changed without changing the store", async ({ port }) => {
    const value = { list: [1] };
    const put = port.put("a", value);
    value.list.push(2);
    await put;
    const read = await port.get<typeof value>("a");
    assert.deepEqual(read?.value, { list: [1] });
    read.value.list.push(3);
    (await port.list<typeof value>(""))[0]?.value.list.push(4);
    assert.deepEqual((await port.get<typeof value>("a"))?.value, { list: [1] });
  });

  guarantee("every watcher gets a value of its own", async ({ port }) => {
    const watches = [watching(port, "", 0), watching(port, "", 0)];
    await port.put("a", { list: [1] });
    for (const { events } of watches) {
      await settle();
      const [event] = events as unknown as [{ value: { list: number[] } }];
      assert.deepEqual(event.value, { list: [1] });
      event.value.list.push(2);
    }
    for (const { stop } of watches) await stop();
  });

  guarantee("a change with the key's revision is made, with another it is a conflict", async ({ port }) => {
    const first = await port.put("a", 1, { expect: 0 });
    await rejects(port.put("a", 2, { expect: 0 }), "conflict");
    await rejects(port.delete("a", { expect: first + 1 }), "conflict");
    assert.deepEqual(await port.get("a"), { key: "a", value: 1, revision: first });
    const second = await port.put("a", 2, { expect: first });
    await rejects(port.put("a", 3, { expect: first }), "conflict");
    assert.equal(await port.delete("a", { expect: second }), true);
    await rejects(port.put("a", 3, { expect: second }), "conflict");
    assert.equal(await port.delete("a", { expect: 0 }), false);
    await port.put("a", 4, { expect: 0 });
  });

  guarantee("of many who change a key from the same revision, one does", async ({ port }) => {
    const from = await port.put("a", "start");
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => port.put("a", index, { expect: from })),
    );
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") await rejects(Promise.reject(outcome.reason as Error), "conflict");
    assert.equal(await port.revision(), from + 1);
  });

  guarantee("a batch is made as a whole", async ({ port }) => {
    const old = await port.put("old", 1);
    const last = await port.batch([
      { put: "a", value: 1, expect: 0 },
      { delete: "old", expect: old },
      { put: "b", value: 2 },
    ]);
    assert.equal(last, old + 3);
    assert.deepEqual(
      (await port.list("")).map(({ key, revision }) => [key, revision]),
      [
        ["a", old + 1],
        ["b", old + 3],
      ],
    );
  });

  guarantee("a batch with one condition that does not hold changes nothing", async ({ port }) => {
    await port.put("a", 1);
    for (const change of [
      { put: "a", value: 2, expect: 0 },
      { delete: "a", expect: 7 },
      { put: "z", value: 2, expect: 3 },
    ] as const) {
      const batch = port.batch([{ put: "b", value: 1 }, { delete: "a" }, { put: "c", value: 1 }, change]);
      // The condition speaks of the changes before it, too: `a` is gone by then.
      if ("put" in change && change.put === "a") {
        await batch;
        await port.batch([{ delete: "b" }, { delete: "c" }, { put: "a", value: 1 }]);
      } else await rejects(batch, "conflict");
    }
    assert.deepEqual(
      (await port.list("")).map(({ key, value }) => [key, value]),
      [["a", 1]],
    );
  });

  guarantee("a batch with one bad change changes nothing", async ({ port }) => {
    await rejects(
      port.batch([
        { put: "a", value: 1 },
        { put: "", value: 1 },
      ]),
      "bad_request",
    );
    await rejects(
      port.batch([
        { put: "a", value: 1 },
        { put: "b", value: undefined },
      ]),
      "bad_request",
    );
    assert.deepEqual([await port.list(""), await port.revision()], [[], 0]);
  });

  guarantee("changes asked for at once are made in that order", async ({ port }) => {
    const revisions = await Promise.all(Array.from({ length: 10 }, (_, index) => port.put(`k${index}`, index)));
    assert.deepEqual(
      revisions,
      Array.from({ length: 10 }, (_, index) => index + 1),
    );
  });

  guarantee("a change is read by all who ask once its promise has settled", async ({ port }) => {
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const revision = await port.put(`k/${index}`, index);
        assert.deepEqual(await port.get(`k/${index}`), { key: `k/${index}`, value: index, revision });
        assert.ok((await port.revision()) >= revision);
        assert.ok((await port.list("k/")).some(({ key }) => key === `k/${index}`));
      }),
    );
  });

  guarantee("a list has the keys of a prefix, in the order of their UTF-8 bytes", async ({ port }) => {
    // U+FF5E sorts before U+1F600 as UTF-8, after it as UTF-16.
    const keys = [
      "p",
      "p/",
      "p/a",
      "p/a/b",
      "p/B",
      "p/~",
      "p/ä",
      "p/～",
      "p/😀",
      "p/\u{10ffff}",
      "p0",
      "q",
      "o\u{10ffff}",
      "\u{10ffff}",
      "\u{10ffff}/a",
    ];
    for (const key of keys) await port.put(key, key);
    const under = async (prefix: string) => (await port.list(prefix)).map(({ key }) => key);
    const sorted = (list: string[]) => list.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    assert.deepEqual(await under(""), sorted(keys));
    for (const prefix of ["p/", "p", "p/a", "p/😀", "p/\u{10ffff}", "o\u{10ffff}", "\u{10ffff}", "nothing", "P"])
      assert.deepEqual(await under(prefix), sorted(keys.filter((key) => key.startsWith(prefix))), prefix);
  });

  guarantee("a list is read in pages", async ({ port }) => {
    for (const key of ["a", "p/1", "p/2", "p/3", "p/4", "q"]) await port.put(key, key);
    const page = async (options: { after?: string; limit?: number }) =>
      (await port.list("p/", options)).map(({ key }) => key);
    assert.deepEqual(await page({ limit: 2 }), ["p/1", "p/2"]);
    assert.deepEqual(await page({ after: "p/2", limit: 2 }), ["p/3", "p/4"]);
    assert.deepEqual(await page({ after: "p/25" }), ["p/3", "p/4"]);
    for (const after of ["p/4", "q", "z"]) assert.deepEqual(await page({ after }), []);
    assert.deepEqual(await page({ after: "a" }), ["p/1", "p/2", "p/3", "p/4"]);
    assert.deepEqual(await page({ limit: 0 }), []);
    assert.deepEqual(await page({ limit: Infinity }), ["p/1", "p/2", "p/3", "p/4"]);
  });

  guarantee("keys have 1 to 512 bytes of UTF-8 and no NUL", async ({ port }) => {
    const bad = ["", "a\0", "x".repeat(513), "€".repeat(171), "\ud800", "a\udc00b"];
    for (const key of bad) {
      await rejects(port.put(key, 1), "bad_request");
      await rejects(port.get(key), "bad_request");
      await rejects(port.delete(key), "bad_request");
    }
    const good = ["x", "x".repeat(512), "€".repeat(170), " ", "%_*?[", "😀"];
    for (const key of good) await port.put(key, key);
    for (const key of good) assert.equal((await port.get(key))?.value, key);
    assert.equal(await port.revision(), good.length);
  });

  guarantee("a value is JSON of up to a mebibyte", async ({ port }) => {
    const largest = "x".repeat(2 ** 20 - 2);
    await port.put("a", largest);
    await rejects(port.put("a", `${largest}x`), "request_too_large");
    await rejects(port.put("a", "ä".repeat(2 ** 19)), "request_too_large");
    await rejects(port.put("a", undefined), "bad_request");
    await rejects(
      port.put("a", () => {}),
      "bad_request",
    );
    assert.equal((await port.get<string>("a"))?.value.length, largest.length);
  });

  guarantee("a key with a time to live is gone after it, for every reader", async ({ port, clock }) => {
    const revision = await port.put("a", 1, { ttlMs: 1000 });
    await clock.advance(999);
    assert.equal((await port.get("a"))?.revision, revision);
    await clock.advance(1);
    assert.equal(await port.get("a"), undefined);
    assert.deepEqual(await port.list(""), []);
    assert.equal(await port.delete("a"), false);
    await port.put("b", 1, { ttlMs: 0 });
    assert.equal(await port.get("b"), undefined);
    await port.put("c", 1, { ttlMs: 500 });
    await clock.advance(500);
    // No longer there is "must not exist".
    await port.put("c", 2, { expect: 0 });
    assert.equal((await port.get("c"))?.value, 2);
  });

  guarantee("a put without a time to live takes away the one before", async ({ port, clock }) => {
    await port.put("a", 1, { ttlMs: 1000 });
    await port.put("a", 2);
    await port.put("b", 1, { ttlMs: 1000 });
    await port.put("b", 2, { ttlMs: 10_000 });
    await clock.advance(5000);
    assert.equal((await port.get("a"))?.value, 2);
    assert.equal((await port.get("b"))?.value, 2);
    await clock.advance(5000);
    assert.equal(await port.get("b"), undefined);
  });

  guarantee("watchers are told of an expiry within a second, as a deletion", async ({ port, clock }) => {
    const watch = watching(port, "", 0);
    await port.batch([
      { put: "later", value: 1, ttlMs: 300 },
      { put: "b", value: 1, ttlMs: 200 },
      { put: "a", value: 1, ttlMs: 200 },
      { put: "stays", value: 1 },
    ]);
    await clock.advance(1300);
    await port.put("end", 1);
    assert.deepEqual(await watch.stop(), [
      put("later", 1, 1),
      put("b", 1, 2),
      put("a", 1, 3),
      put("stays", 1, 4),
      gone("a", 5),
      gone("b", 6),
      gone("later", 7),
      put("end", 1, 8),
    ]);
  });

  guarantee(
    "a watcher sees each change of its prefix once, in order, from the past into what comes",
    async ({ port }) => {
      await port.put("p/1", "a");
      await port.put("q", "not told");
      await port.put("p/2", "b");
      const watch = watching(port, "p/", 0);
      await port.put("p/1", "c");
      await port.put("p/1", "d");
      await port.delete("p/2");
      await port.delete("q");
      await port.delete("p/never");
      await port.batch([
        { put: "p/3", value: 1 },
        { put: "p/3", value: 2 },
      ]);
      assert.deepEqual(await watch.stop(), [
        put("p/1", "a", 1),
        put("p/2", "b", 3),
        put("p/1", "c", 4),
        put("p/1", "d", 5),
        gone("p/2", 6),
        put("p/3", 1, 8),
        put("p/3", 2, 9),
      ]);
    },
  );

  guarantee("a watcher that starts in the past gets at least the newest change of each key since", async ({ port }) => {
    const from = await port.put("before", 1);
    await port.put("a", 1);
    await port.put("b", 1);
    await port.put("a", 2);
    await port.delete("b");
    await port.delete("before");
    await port.put("b", 2);
    const newest = new Map<string, RecordEvent<unknown>>();
    for (const event of await watching(port, "", from).stop()) {
      assert.ok(event.revision > from);
      assert.ok(event.revision > (newest.get(event.key)?.revision ?? 0));
      newest.set(event.key, event);
    }
    assert.deepEqual(
      [...newest.values()].toSorted((a, b) => a.revision - b.revision),
      [put("a", 2, 4), gone("before", 6), put("b", 2, 7)],
    );
    assert.deepEqual(await watching(port, "", 7).stop(), []);
    assert.deepEqual(await watching(port, "c", 0).stop(), []);
  });

  guarantee("no change falls between the past and the live part of a watch", async ({ port }) => {
    for (let round = 0; round < 20; round++) {
      const from = await port.revision();
      const pending = [port.put("a", round), port.put("b", round)];
      const watch = watching(port, "", from);
      pending.push(port.put("c", round));
      await Promise.all(pending);
      assert.deepEqual(
        (await watch.stop()).map(({ revision }) => revision),
        [from + 1, from + 2, from + 3],
      );
    }
  });

  guarantee("what does not happen is not told", async ({ port }) => {
    const watch = watching(port, "", 0);
    await rejects(port.put("a", 1, { expect: 9 }), "conflict");
    await rejects(
      port.batch([
        { put: "b", value: 1 },
        { put: "c", value: 1, expect: 9 },
      ]),
      "conflict",
    );
    await port.delete("d");
    await port.put("e", 1);
    assert.deepEqual(await watch.stop(), [put("e", 1, 1)]);
  });

  guarantee("a watch ends with its signal, or with its reader", async ({ port }) => {
    await port.put("a", 1);
    for await (const event of port.watch("", 0, AbortSignal.abort())) assert.fail(`told of ${event.key}`);
    for await (const event of port.watch("", 0, new AbortController().signal)) {
      assert.equal(event.key, "a");
      break;
    }
    const controller = new AbortController();
    const ended = (async () => {
      for await (const event of port.watch("", 1, controller.signal)) assert.fail(`told of ${event.key}`);
    })();
    await settle();
    controller.abort();
    await Promise.race([ended, pause(5000).then(() => assert.fail("the watch did not end"))]);
    await port.put("b", 1);
  });

  guarantee.afterReopening("everything is there again, and revisions go on", async ({ port, reopen, clock }) => {
    await port.put("a", { x: 1 });
    await port.put("b", 1);
    await port.delete("b");
    await port.put("short", 1, { ttlMs: 1000 });
    await port.put("long", 1, { ttlMs: 10_000 });
    const again = await reopen();
    assert.equal(await again.revision(), 5);
    assert.deepEqual(await again.get("a"), { key: "a", value: { x: 1 }, revision: 1 });
    await rejects(again.put("a", 2, { expect: 0 }), "conflict");
    assert.equal(await again.put("b", 2, { expect: 0 }), 6);
    const watch = watching(again, "", 4);
    await clock.advance(2000);
    assert.deepEqual(await watch.stop(), [put("long", 1, 5), put("b", 2, 6), gone("short", 7)]);
    assert.deepEqual(
      (await again.list("")).map(({ key }) => key),
      ["a", "b", "long"],
    );
  });

  guarantee.afterReopening(
    "a key that expired while the store was closed is told as gone",
    async ({ port, reopen, clock }) => {
      await port.put("a", 1, { ttlMs: 100 });
      await clock.advance(10);
      const again = await reopen();
      await clock.advance(95);
      assert.equal(await again.get("a"), undefined);
      const watch = watching(again, "", 1);
      await clock.advance(1000);
      assert.deepEqual(await watch.stop(), [gone("a", 2)]);
    },
  );

  guarantee.afterReopening("a watcher goes on from the last revision it saw", async ({ port, reopen }) => {
    await port.put("a", 1);
    await port.put("b", 1);
    await port.delete("a");
    await port.put("b", 2);
    const watch = watching(await reopen(), "", 2);
    assert.deepEqual(await watch.stop(), [gone("a", 3), put("b", 2, 4)]);
  });
}

const put = (key: string, value: unknown, revision: number): RecordEvent<unknown> => ({
  kind: "put",
  key,
  value,
  revision,
});
const gone = (key: string, revision: number): RecordEvent<unknown> => ({ kind: "delete", key, revision });

/** Collects what a watcher is told; `stop` waits until it has been told of everything, and gives it. */
export function watching(
  records: Records,
  prefix: string,
  from: number,
): { events: RecordEvent<unknown>[]; stop(): Promise<RecordEvent<unknown>[]> } {
  const controller = new AbortController();
  const events: RecordEvent<unknown>[] = [];
  const ended = (async () => {
    for await (const event of records.watch(prefix, from, controller.signal)) events.push(event);
  })();
  return {
    events,
    async stop() {
      await settle();
      controller.abort();
      await ended;
      return events;
    },
  };
}
