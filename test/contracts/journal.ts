import assert from "node:assert/strict";
import type { Journal, NewEvent } from "../../src/ports/journal.ts";
import { bytes, guaranteesOf, rejects, text, type OpenDriver } from "./opened.ts";

/** Every guarantee of the journal port. */
export function describeJournal(name: string, open: OpenDriver<Journal>): void {
  const guarantee = guaranteesOf(`journal of ${name}`, open);

  guarantee("a stream is numbered from 1 without gaps", async ({ port }) => {
    assert.deepEqual(await port.bounds("s"), { first: 1, last: 0 });
    assert.equal(await port.append("s", events(3)), 3);
    assert.equal(await port.append("s", events(2)), 5);
    assert.deepEqual(await sequences(port, "s"), [1, 2, 3, 4, 5]);
    assert.deepEqual(await port.bounds("s"), { first: 1, last: 5 });
    assert.equal(await port.append("other", events(1)), 1);
  });

  guarantee("appends asked for at once stand in that order, each in one piece", async ({ port }) => {
    const lasts = await Promise.all(
      Array.from({ length: 20 }, (_, index) => port.append("s", [event(index, "a"), event(index, "b")])),
    );
    assert.deepEqual(
      lasts,
      Array.from({ length: 20 }, (_, index) => 2 * index + 2),
    );
    assert.deepEqual(
      (await port.read("s", 1, 100)).map(({ at, data }) => `${at}${text(data)}`),
      Array.from({ length: 20 }, (_, index) => [`${index}a`, `${index}b`]).flat(),
    );
  });

  guarantee("appending nothing makes no stream and still checks what is expected", async ({ port }) => {
    assert.equal(await port.append("s", []), 0);
    assert.deepEqual(await port.streams(""), []);
    await rejects(port.append("s", [], { expect: 1 }), "conflict");
    await port.append("s", events(2));
    assert.equal(await port.append("s", [], { expect: 2 }), 2);
  });

  guarantee("an append at another sequence than expected is a conflict and adds nothing", async ({ port }) => {
    await rejects(port.append("s", events(1), { expect: 1 }), "conflict");
    assert.equal(await port.append("s", events(2), { expect: 0 }), 2);
    await rejects(port.append("s", events(1), { expect: 0 }), "conflict");
    await rejects(port.append("s", events(1), { expect: 1 }), "conflict");
    await rejects(port.append("s", events(1), { expect: 3 }), "conflict");
    assert.equal(await port.append("s", events(1), { expect: 2 }), 3);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => port.append("s", events(2), { expect: 3 })),
    );
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    assert.deepEqual(await port.bounds("s"), { first: 1, last: 5 });
  });

  guarantee("an append with one event too large adds none", async ({ port }) => {
    const large = { at: 1, data: new Uint8Array(16 * 2 ** 20 + 1) };
    await rejects(port.append("s", [event(1, "a"), large]), "request_too_large");
    assert.deepEqual(await port.streams(""), []);
    const largest = { at: 1, data: large.data.subarray(1) };
    assert.equal(await port.append("s", [event(1, ""), largest]), 2);
    assert.deepEqual(
      (await port.read("s", 1, 2)).map(({ data }) => data.byteLength),
      [0, 16 * 2 ** 20],
    );
  });

  guarantee("events come back as they were, and are the reader's own", async ({ port }) => {
    const data = Buffer.from([0, 1, 2, 255]);
    await port.append("s", [{ at: 1.5, data }, event(-7, "ä\0")]);
    data.fill(9);
    for (let round = 0; round < 2; round++) {
      const [first, second] = await port.read("s", 1, 10);
      assert.deepEqual([first?.at, ...(first?.data ?? [])], [1.5, 0, 1, 2, 255]);
      assert.deepEqual([second?.at, text(second?.data ?? new Uint8Array())], [-7, "ä\0"]);
      first?.data.fill(7);
      (await port.query("s", { limit: 10 })).at(-1)?.data.fill(8);
    }
  });

  guarantee("reading starts at a sequence and stops at a limit", async ({ port }) => {
    await port.append("s", events(10));
    assert.deepEqual(await sequences(port, "s", 4, 3), [4, 5, 6]);
    assert.deepEqual(await sequences(port, "s", 9, 30), [9, 10]);
    assert.deepEqual(await sequences(port, "s", 0, Infinity), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert.deepEqual(await sequences(port, "s", 11), []);
    assert.deepEqual(await sequences(port, "s", 1, 0), []);
    assert.deepEqual(await sequences(port, "none"), []);
  });

  guarantee("a query gives a time's events in time order, ties by sequence", async ({ port }) => {
    await port.append(
      "s",
      [30, 10, 20, 10, 30, 20].map((at) => event(at, "")),
    );
    const query = async (range: Partial<Parameters<Journal["query"]>[1]>) =>
      (await port.query("s", { limit: 100, ...range })).map(({ sequence }) => sequence);
    assert.deepEqual(await query({}), [2, 4, 3, 6, 1, 5]);
    assert.deepEqual(await query({ newestFirst: true }), [5, 1, 6, 3, 4, 2]);
    assert.deepEqual(await query({ fromTime: 20 }), [3, 6, 1, 5]);
    assert.deepEqual(await query({ toTime: 20 }), [2, 4]);
    assert.deepEqual(await query({ fromTime: 10, toTime: 30, newestFirst: true, limit: 3 }), [6, 3, 4]);
    assert.deepEqual(await query({ fromTime: 11, toTime: 20 }), []);
    assert.deepEqual(await query({ fromTime: -Infinity, toTime: Infinity, limit: Infinity }), [2, 4, 3, 6, 1, 5]);
    assert.deepEqual(await port.query("none", { limit: 10 }), []);
  });

  guarantee("an append is read and queried by all who ask once its promise has settled", async ({ port }) => {
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const last = await port.append("s", [event(index, "")]);
        assert.ok((await sequences(port, "s")).includes(last));
        assert.equal((await port.query("s", { fromTime: index, toTime: index + 1, limit: 2 })).length, 1);
        assert.ok((await port.bounds("s")).last >= last);
      }),
    );
  });

  guarantee("trimming removes from the old end, and numbers are never used again", async ({ port }) => {
    await port.append("s", events(5));
    assert.equal(await port.trim("s", { before: 3 }), 2);
    assert.deepEqual([await sequences(port, "s"), await port.bounds("s")], [[3, 4, 5], { first: 3, last: 5 }]);
    assert.equal(await port.trim("s", { before: 3 }), 0);
    assert.equal(await port.trim("s", { before: 100 }), 3);
    assert.deepEqual(await port.bounds("s"), { first: 6, last: 5 });
    assert.deepEqual(await port.streams(""), ["s"]);
    await rejects(port.append("s", events(1), { expect: 0 }), "conflict");
    assert.equal(await port.append("s", events(1), { expect: 5 }), 6);
    assert.deepEqual([await sequences(port, "s"), await port.bounds("s")], [[6], { first: 6, last: 6 }]);
    assert.equal(await port.trim("none", { before: 9 }), 0);
    assert.deepEqual(await port.streams(""), ["s"]);
  });

  guarantee("trimming by age stops at the first event that is young enough", async ({ port }) => {
    await port.append(
      "s",
      [10, 20, 50, 15, 60].map((at) => event(at, "")),
    );
    assert.equal(await port.trim("s", { olderThan: 20 }), 1);
    assert.equal(await port.trim("s", { olderThan: 40 }), 1);
    assert.deepEqual(await sequences(port, "s"), [3, 4, 5]);
    assert.equal(await port.trim("s", { before: 4, olderThan: 60 }), 2);
    assert.deepEqual(await sequences(port, "s"), [5]);
    assert.equal(await port.trim("s", {}), 0);
  });

  guarantee("streams are listed by prefix, in the order of their UTF-8 bytes", async ({ port }) => {
    for (const stream of ["p/😀", "p/～", "p/b", "p/a", "p", "q"]) await port.append(stream, events(1));
    assert.deepEqual(await port.streams("p/"), ["p/a", "p/b", "p/～", "p/😀"]);
    assert.deepEqual(await port.streams(""), ["p", "p/a", "p/b", "p/～", "p/😀", "q"]);
    assert.deepEqual(await port.streams("x"), []);
    assert.deepEqual(await port.streams("p/", { limit: 2 }), ["p/a", "p/b"]);
    assert.deepEqual(await port.streams("p/", { after: "p/b", limit: 1 }), ["p/～"]);
    assert.deepEqual(await port.streams("p/", { after: "p/c" }), ["p/～", "p/😀"]);
    assert.deepEqual(await port.streams("p/", { after: "a" }), ["p/a", "p/b", "p/～", "p/😀"]);
    assert.deepEqual(await port.streams("p/", { after: "q" }), []);
  });

  guarantee("a deleted stream is as if it had never been", async ({ port }) => {
    await port.append("s", events(3));
    await port.append("t", events(2));
    await port.deleteStream("s");
    await port.deleteStream("none");
    assert.deepEqual(await port.streams(""), ["t"]);
    assert.deepEqual([await sequences(port, "s"), await port.bounds("s")], [[], { first: 1, last: 0 }]);
    assert.deepEqual(await port.query("s", { limit: 10 }), []);
    assert.equal(await port.append("s", events(1), { expect: 0 }), 1);
    assert.deepEqual(await sequences(port, "t"), [1, 2]);
  });

  guarantee("stream names have 1 to 256 bytes of UTF-8 and no NUL", async ({ port }) => {
    for (const stream of ["", "a\0", "x".repeat(257), "€".repeat(86), "\ud800"]) {
      await rejects(port.append(stream, events(1)), "bad_request");
      await rejects(port.read(stream, 1, 1), "bad_request");
      await rejects(port.query(stream, { limit: 1 }), "bad_request");
      await rejects(port.bounds(stream), "bad_request");
      await rejects(port.trim(stream, {}), "bad_request");
      await rejects(port.deleteStream(stream), "bad_request");
    }
    for (const stream of ["x", "x".repeat(256), "€".repeat(85)]) assert.equal(await port.append(stream, events(1)), 1);
  });

  guarantee.afterReopening("streams, numbers and what was trimmed are as they were", async ({ port, reopen }) => {
    await port.append("s", events(4));
    await port.append("trimmed", events(4));
    await port.append("deleted", events(4));
    await port.trim("s", { before: 3 });
    await port.trim("trimmed", { before: 5 });
    await port.deleteStream("deleted");
    const again = await reopen();
    assert.deepEqual(await again.streams(""), ["s", "trimmed"]);
    assert.deepEqual(await again.read("s", 1, 10), [
      { sequence: 3, at: 3, data: bytes("3") },
      { sequence: 4, at: 4, data: bytes("4") },
    ]);
    assert.deepEqual(await again.bounds("trimmed"), { first: 5, last: 4 });
    assert.equal(await again.append("trimmed", events(1)), 5);
    assert.equal(await again.append("s", events(1), { expect: 4 }), 5);
    assert.equal(await again.append("deleted", events(1)), 1);
  });
}

const event = (at: number, data: string): NewEvent => ({ at, data: bytes(data) });
const events = (count: number): NewEvent[] =>
  Array.from({ length: count }, (_, index) => event(index + 1, String(index + 1)));

async function sequences(port: Journal, stream: string, from = 1, limit = 1000): Promise<number[]> {
  return (await port.read(stream, from, limit)).map(({ sequence }) => sequence);
}
