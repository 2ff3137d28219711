import assert from "node:assert/strict";
import type { Lease, NewMessage, Queue } from "../../src/ports/queue.ts";
import { bytes, guaranteesOf, rejects, text, type OpenDriver } from "./opened.ts";

const day = 24 * 3_600_000;

/** Every guarantee of the queue port. */
export function describeQueue(name: string, open: OpenDriver<Queue>): void {
  const guarantee = guaranteesOf(`queue of ${name}`, open);

  guarantee("a message is delivered with its body, and is gone once it is settled", async ({ port, clock }) => {
    const enqueuedAt = clock.now();
    assert.deepEqual(await port.enqueue("q", { id: "a", body: bytes("ä\0") }), { id: "a", accepted: true });
    await clock.advance(10);
    const [lease] = await port.lease("q", 10, 1000);
    assert.ok(lease);
    assert.deepEqual(
      { ...lease, receipt: "", body: text(lease.body) },
      { id: "a", receipt: "", body: "ä\0", attempt: 1, enqueuedAt },
    );
    assert.deepEqual(await port.lease("q", 10, 1000), []);
    assert.equal(await port.settle("q", lease.receipt), true);
    await clock.advance(10_000);
    assert.deepEqual(await port.lease("q", 10, 1000), []);
    assert.equal((await port.find("q", "a"))?.state, "settled");
    assert.deepEqual(await port.depth("q"), { waiting: 0, leased: 0, dead: 0 });
  });

  guarantee("bodies can be changed by those who have them without changing the queue", async ({ port, clock }) => {
    const body = Buffer.from("abc");
    await port.enqueue("q", { id: "a", body });
    body.fill(0);
    for (let attempt = 1; attempt <= 2; attempt++) {
      const [lease] = await port.lease("q", 1, 10);
      assert.deepEqual([lease?.attempt, lease && text(lease.body)], [attempt, "abc"]);
      lease?.body.fill(1);
      await clock.advance(10);
    }
    const [lease] = await port.lease("q", 1, 10);
    await port.bury("q", lease!.receipt, "");
    (await port.dead("q", { limit: 1 }))[0]?.body.fill(2);
    assert.equal(text((await port.dead("q", { limit: 1 }))[0]!.body), "abc");
  });

  guarantee("queues know nothing of each other", async ({ port }) => {
    await send(port, { id: "a" });
    await port.enqueue("other", { id: "a", body: bytes("other") });
    const [lease] = await port.lease("other", 10, 1000);
    assert.equal(text(lease!.body), "other");
    assert.equal(await port.settle("q", lease!.receipt), false);
    assert.equal(await port.settle("other", lease!.receipt), true);
    assert.deepEqual(await leased(port), ["a"]);
  });

  guarantee("a message is leased to one holder at a time", async ({ port }) => {
    for (let index = 0; index < 50; index++) await send(port, { id: `m${index}` });
    const leases = (await Promise.all(Array.from({ length: 20 }, () => port.lease("q", 4, 1000)))).flat();
    assert.equal(leases.length, 50);
    assert.equal(new Set(leases.map(({ id }) => id)).size, 50);
    assert.equal(new Set(leases.map(({ receipt }) => receipt)).size, 50);
  });

  guarantee("changes take effect in the order in which they are asked for", async ({ port }) => {
    const enqueued = ["a", "b", "c"].map((id) => send(port, { id }));
    const first = port.lease("q", 2, 1000);
    const last = send(port, { id: "d" });
    const second = port.lease("q", 10, 1000);
    assert.deepEqual(
      [ids(await first), ids(await second)],
      [
        ["a", "b"],
        ["c", "d"],
      ],
    );
    assert.deepEqual(await Promise.all([...enqueued, last]), [true, true, true, true]);
    const settled = port.settle("q", receiptOf(await first, "a"), { rememberMs: 0 });
    const again = send(port, { id: "a" });
    assert.deepEqual([await settled, await again, await leased(port)], [true, true, ["a"]]);
  });

  guarantee("as many as asked for are leased, at most", async ({ port }) => {
    for (let index = 0; index < 5; index++) await send(port, { id: `m${index}` });
    assert.deepEqual(await leased(port, 0), []);
    assert.deepEqual(await leased(port, 2), ["m0", "m1"]);
    assert.deepEqual(await leased(port, Infinity), ["m2", "m3", "m4"]);
  });

  guarantee(
    "a lease that runs out makes the message deliverable again, with a new receipt",
    async ({ port, clock }) => {
      await send(port, { id: "a" });
      const [first] = await port.lease("q", 1, 1000);
      await clock.advance(999);
      assert.deepEqual(await port.lease("q", 1, 1000), []);
      assert.deepEqual(await port.depth("q"), { waiting: 0, leased: 1, dead: 0 });
      await clock.advance(1);
      assert.equal((await port.find("q", "a"))?.state, "waiting");
      assert.deepEqual(await port.depth("q"), { waiting: 1, leased: 0, dead: 0 });
      const [second] = await port.lease("q", 1, 1000);
      assert.deepEqual([first?.attempt, second?.attempt], [1, 2]);
      assert.notEqual(first?.receipt, second?.receipt);
    },
  );

  guarantee("an old receipt is worthless, and so is one that never was", async ({ port, clock }) => {
    await send(port, { id: "a" });
    const [old] = await port.lease("q", 1, 1000);
    await clock.advance(1000);
    const isWorthless = async (receipt: string): Promise<void> => {
      assert.equal(await port.extend("q", receipt, 50_000), false);
      assert.equal(await port.settle("q", receipt), false);
      assert.equal(await port.release("q", receipt, 0), false);
      assert.equal(await port.bury("q", receipt, "no"), false);
    };
    // Run out and not yet given to another.
    await isWorthless(old!.receipt);
    const [held] = await port.lease("q", 1, 1000);
    const before = await port.find("q", "a");
    await isWorthless(old!.receipt);
    await isWorthless("");
    await isWorthless("never was");
    assert.deepEqual(await port.find("q", "a"), before);
    assert.equal(await port.settle("q", held!.receipt), true);
    await isWorthless(held!.receipt);
  });

  guarantee("a lease can be extended while it runs", async ({ port, clock }) => {
    await send(port, { id: "a" });
    const [lease] = await port.lease("q", 1, 1000);
    for (let round = 0; round < 3; round++) {
      await clock.advance(900);
      assert.equal(await port.extend("q", lease!.receipt, 1000), true);
    }
    assert.equal(await port.nextDueAt("q"), clock.now() + 1000);
    await clock.advance(999);
    assert.deepEqual(await leased(port), []);
    await clock.advance(1);
    assert.equal(await port.extend("q", lease!.receipt, 1000), false);
    assert.deepEqual(await leased(port), ["a"]);
  });

  guarantee("a released message comes again after its delay", async ({ port, clock }) => {
    await send(port, { id: "a" });
    const [first] = await port.lease("q", 1, 1000);
    assert.equal(await port.release("q", first!.receipt, 500), true);
    assert.deepEqual(await port.find("q", "a"), {
      id: "a",
      state: "waiting",
      attempt: 1,
      enqueuedAt: clock.now(),
      dueAt: clock.now() + 500,
    });
    await clock.advance(499);
    assert.deepEqual(await port.lease("q", 1, 1000), []);
    await clock.advance(1);
    const [second] = await port.lease("q", 1, 1000);
    assert.equal(second?.attempt, 2);
    assert.equal(await port.release("q", second.receipt, 0), true);
    assert.equal((await port.lease("q", 1, 1000))[0]?.attempt, 3);
  });

  guarantee("messages come in the order of their due time, then of acceptance", async ({ port, clock }) => {
    await send(port, { id: "late", delayMs: 300 });
    await send(port, { id: "soon-1", delayMs: 100 });
    await send(port, { id: "soon-2", delayMs: 100 });
    await send(port, { id: "now" });
    assert.deepEqual(await leased(port, 10, 150), ["now"]);
    await clock.advance(99);
    assert.deepEqual(await leased(port), []);
    await clock.advance(201);
    await send(port, { id: "last" });
    // The lease on `now` ended between `soon` and `late`.
    assert.deepEqual(await leased(port), ["soon-1", "soon-2", "now", "late", "last"]);
  });

  guarantee("of a key one message is leased at a time, in order of acceptance", async ({ port, clock }) => {
    for (const id of ["a1", "b1", "a2", "b2", "a3"]) await send(port, { id, key: id[0]! });
    await send(port, { id: "free" });
    const first = await port.lease("q", 10, 1000);
    assert.deepEqual(ids(first), ["a1", "b1", "free"]);
    assert.deepEqual(await leased(port), []);
    await port.settle("q", receiptOf(first, "a1"));
    assert.deepEqual(await leased(port, 10, 5000), ["a2"]);
    // b1's lease runs out: it comes again, before b2.
    await clock.advance(1000);
    const second = await port.lease("q", 10, 5000);
    assert.deepEqual(ids(second), ["b1", "free"]);
    await port.bury("q", receiptOf(second, "b1"), "given up");
    assert.deepEqual(await leased(port), ["b2"]);
  });

  guarantee("a delayed message holds back those behind it with its key", async ({ port, clock }) => {
    await send(port, { id: "a1", key: "a", delayMs: 1000 });
    await send(port, { id: "a2", key: "a" });
    assert.deepEqual(await leased(port), []);
    await clock.advance(1000);
    const leases = await port.lease("q", 10, 5000);
    assert.deepEqual(ids(leases), ["a1"]);
    await port.release("q", leases[0]!.receipt, 700);
    assert.deepEqual(await leased(port), []);
    assert.equal(await port.cancel("q", "a1"), "waiting");
    assert.deepEqual(await leased(port), ["a2"]);
  });

  guarantee("an id that the queue knows is not taken again", async ({ port, clock }) => {
    const again = async (): Promise<boolean> =>
      (await port.enqueue("q", { id: "a", body: bytes("again"), delayMs: 7, key: "other" })).accepted;
    await send(port, { id: "a" });
    assert.equal(await again(), false);
    const [lease] = await port.lease("q", 1, 1000);
    assert.equal(text(lease!.body), "a");
    assert.equal(await again(), false);
    await port.bury("q", lease!.receipt, "bad");
    assert.equal(await again(), false);
    await port.revive("q", "a");
    const [next] = await port.lease("q", 1, 1000);
    await port.settle("q", next!.receipt, { rememberMs: 5000 });
    assert.equal(await again(), false);
    await clock.advance(4999);
    assert.equal(await again(), false);
    await clock.advance(1);
    assert.equal(await again(), true);
    const both = await Promise.all([
      port.enqueue("q", { id: "b", body: bytes("") }),
      port.enqueue("q", { id: "b", body: bytes("") }),
    ]);
    assert.deepEqual(
      both.map(({ accepted }) => accepted),
      [true, false],
    );
  });

  guarantee("a settled id is remembered for a day, or as long as asked", async ({ port, clock }) => {
    for (const id of ["default", "not"]) await send(port, { id });
    const leases = await port.lease("q", 2, 1000);
    await port.settle("q", receiptOf(leases, "default"));
    await port.settle("q", receiptOf(leases, "not"), { rememberMs: 0 });
    assert.equal(await port.find("q", "not"), undefined);
    assert.equal(await send(port, { id: "not" }), true);
    await clock.advance(day - 1);
    assert.equal((await port.find("q", "default"))?.state, "settled");
    assert.equal(await send(port, { id: "default" }), false);
    await clock.advance(1);
    assert.equal(await port.find("q", "default"), undefined);
    assert.equal(await send(port, { id: "default" }), true);
  });

  guarantee("what was given up is kept with its reason, the one buried first first", async ({ port, clock }) => {
    for (const id of ["a", "b", "c", "d"]) await send(port, { id });
    const leases = await port.lease("q", 3, 10_000);
    const enqueuedAt = clock.now();
    for (const id of ["b", "a", "c"]) {
      await clock.advance(id === "c" ? 0 : 10);
      assert.equal(await port.bury("q", receiptOf(leases, id), `${id} is bad\0\n`), true);
    }
    const letters = await port.dead("q", { limit: 10 });
    assert.deepEqual(
      letters.map((letter) => ({ ...letter, body: text(letter.body) })),
      ["b", "a", "c"].map((id) => ({
        id,
        body: id,
        attempt: 1,
        enqueuedAt,
        buriedAt: enqueuedAt + (id === "b" ? 10 : 20),
        reason: `${id} is bad\0\n`,
      })),
    );
    const page = async (after: string | undefined, limit: number) =>
      (await port.dead("q", { limit, ...(after !== undefined && { after }) })).map(({ id }) => id);
    assert.deepEqual(await page(undefined, 2), ["b", "a"]);
    assert.deepEqual(await page("a", 2), ["c"]);
    assert.deepEqual(await page("c", 2), []);
    assert.deepEqual(await page("d", Infinity), ["b", "a", "c"]);
    assert.deepEqual(await port.depth("q"), { waiting: 1, leased: 0, dead: 3 });
    assert.equal((await port.find("q", "a"))?.reason, "a is bad\0\n");
    await clock.advance(1000 * day);
    assert.deepEqual(await leased(port), ["d"]);
    assert.equal((await port.dead("q", { limit: 10 })).length, 3);
  });

  guarantee("a revived letter is deliverable at once, its attempts counted anew", async ({ port, clock }) => {
    await send(port, { id: "a" });
    assert.equal(await port.revive("q", "a"), false);
    assert.equal(await port.revive("q", "none"), false);
    const [lease] = await port.lease("q", 1, 1000);
    await port.bury("q", lease!.receipt, "bad");
    await clock.advance(100);
    assert.equal(await port.revive("q", "a"), true);
    assert.equal(await port.revive("q", "a"), false);
    assert.deepEqual(await port.find("q", "a"), {
      id: "a",
      state: "waiting",
      attempt: 0,
      enqueuedAt: lease!.enqueuedAt,
      dueAt: clock.now(),
    });
    assert.deepEqual(await port.dead("q", { limit: 1 }), []);
    assert.equal((await port.lease("q", 1, 1000))[0]?.attempt, 1);
  });

  guarantee("a revived letter waits for the one of its key that was leased meanwhile", async ({ port }) => {
    await send(port, { id: "a1", key: "a" });
    await send(port, { id: "a2", key: "a" });
    await send(port, { id: "a3", key: "a" });
    const [first] = await port.lease("q", 1, 1000);
    await port.bury("q", first!.receipt, "bad");
    const [second] = await port.lease("q", 1, 1000);
    assert.equal(second?.id, "a2");
    await port.revive("q", "a1");
    assert.deepEqual(await leased(port), []);
    await port.settle("q", second.receipt);
    const [third] = await port.lease("q", 10, 1000);
    assert.equal(third?.id, "a1");
    await port.settle("q", third.receipt);
    assert.deepEqual(await leased(port), ["a3"]);
  });

  guarantee("cancelling removes a message in any state but settled, and its lease", async ({ port }) => {
    for (const id of ["waiting", "leased", "dead", "settled"]) await send(port, { id });
    await port.cancel("q", "waiting");
    const leases = await port.lease("q", 3, 1000);
    await port.bury("q", receiptOf(leases, "dead"), "bad");
    await port.settle("q", receiptOf(leases, "settled"));
    await send(port, { id: "waiting" });
    for (const id of ["waiting", "leased", "dead", "settled"]) assert.equal(await port.cancel("q", id), id);
    assert.equal(await port.cancel("q", "none"), undefined);
    assert.equal(await port.cancel("q", "leased"), undefined);
    assert.equal(await port.settle("q", receiptOf(leases, "leased")), false);
    assert.equal(await port.extend("q", receiptOf(leases, "leased"), 10), false);
    assert.deepEqual(await port.depth("q"), { waiting: 0, leased: 0, dead: 0 });
    for (const id of ["waiting", "leased", "dead"]) assert.equal(await send(port, { id }), true);
    assert.equal(await send(port, { id: "settled" }), false);
  });

  guarantee("the next due time is that of the first message that could be leased", async ({ port, clock }) => {
    const start = clock.now();
    assert.equal(await port.nextDueAt("q"), undefined);
    await send(port, { id: "later", delayMs: 900 });
    assert.equal(await port.nextDueAt("q"), start + 900);
    await send(port, { id: "now" });
    assert.equal(await port.nextDueAt("q"), start);
    const [lease] = await port.lease("q", 1, 500);
    assert.equal(await port.nextDueAt("q"), start + 500);
    await port.settle("q", lease!.receipt);
    assert.equal(await port.nextDueAt("q"), start + 900);
    await clock.advance(2000);
    assert.equal(await port.nextDueAt("q"), start + 900);
    const [last] = await port.lease("q", 1, 500);
    await port.bury("q", last!.receipt, "bad");
    assert.equal(await port.nextDueAt("q"), undefined);
  });

  guarantee("the next due time leaves out what its key holds back", async ({ port, clock }) => {
    const start = clock.now();
    await send(port, { id: "a1", key: "a" });
    await send(port, { id: "a2", key: "a" });
    const [lease] = await port.lease("q", 1, 700);
    assert.equal(await port.nextDueAt("q"), start + 700);
    await port.release("q", lease!.receipt, 300);
    assert.equal(await port.nextDueAt("q"), start + 300);
    await clock.advance(300);
    assert.deepEqual(await leased(port, 10, 700), ["a1"]);
    await clock.advance(800);
    // The lease has run out, and nobody has looked since.
    assert.equal(await port.nextDueAt("q"), start + 1000);
  });

  guarantee("a server that starts alone takes back the leases of its dead predecessor", async ({ port, clock }) => {
    if (port.reclaim === undefined) return;
    await send(port, { id: "out" });
    await port.lease("q", 1, 100);
    await clock.advance(200);
    for (const id of ["a", "b"]) await send(port, { id });
    await send(port, { id: "later", delayMs: 50 });
    const [, held] = await port.lease("q", 2, 10_000);
    assert.equal(held?.id, "a");
    await clock.advance(10);
    assert.equal(await port.reclaim("q"), 2);
    assert.equal(await port.settle("q", held.receipt), false);
    assert.deepEqual(
      (await port.lease("q", 10, 100)).map(({ id, attempt }) => [id, attempt]),
      [
        ["b", 1],
        ["out", 3],
        ["a", 2],
      ],
    );
    assert.equal(await port.reclaim("none"), 0);
  });

  guarantee("names have 1 to 256 bytes of UTF-8 and no NUL, bodies up to 64 MiB", async ({ port }) => {
    for (const bad of ["", "a\0", "x".repeat(257), "€".repeat(86), "\udfff"]) {
      await rejects(port.enqueue(bad, { id: "a", body: bytes("") }), "bad_request");
      await rejects(port.enqueue("q", { id: bad, body: bytes("") }), "bad_request");
      await rejects(port.enqueue("q", { id: "a", body: bytes(""), key: bad }), "bad_request");
    }
    const largest = new Uint8Array(64 * 2 ** 20);
    await rejects(port.enqueue("q", { id: "a", body: new Uint8Array(largest.byteLength + 1) }), "request_too_large");
    assert.deepEqual(await port.depth("q"), { waiting: 0, leased: 0, dead: 0 });
    for (const good of ["x".repeat(256), "€".repeat(85)])
      assert.deepEqual(await port.enqueue(good, { id: good, body: bytes(""), key: good }), {
        id: good,
        accepted: true,
      });
    await port.enqueue("q", { id: "a", body: largest });
    assert.equal((await port.lease("q", 1, 10))[0]?.body.byteLength, largest.byteLength);
  });

  guarantee.afterReopening("messages, leases, letters and remembered ids are as they were", async (opened) => {
    const { port, clock, reopen } = opened;
    await send(port, { id: "waiting", delayMs: 100, key: "k" });
    for (const id of ["leased", "dead", "settled", "gone"]) await send(port, { id });
    await send(port, { id: "behind", key: "k" });
    const leases = await port.lease("q", 4, 1000);
    assert.equal(leases.length, 4);
    await port.bury("q", receiptOf(leases, "dead"), "bad");
    await port.settle("q", receiptOf(leases, "settled"));
    await port.cancel("q", "gone");
    const before = await Promise.all(["waiting", "leased", "dead", "settled", "gone"].map((id) => port.find("q", id)));

    const again = await reopen();
    assert.deepEqual(
      await Promise.all(["waiting", "leased", "dead", "settled", "gone"].map((id) => again.find("q", id))),
      before,
    );
    assert.deepEqual(await again.depth("q"), { waiting: 2, leased: 1, dead: 1 });
    assert.equal(await send(again, { id: "settled" }), false);
    assert.deepEqual(await leased(again), []);
    // A lease outlives its server: whoever has the receipt can settle.
    assert.equal(await again.extend("q", receiptOf(leases, "leased"), 2000), true);
    await clock.advance(100);
    assert.deepEqual(await leased(again), ["waiting"]);
    await clock.advance(1900);
    assert.equal(await again.settle("q", receiptOf(leases, "leased")), false);
    const [lease] = await again.lease("q", 1, 1000);
    assert.deepEqual([lease?.id, lease?.attempt, lease && text(lease.body)], ["leased", 2, "leased"]);
  });

  guarantee.afterReopening("no receipt is given twice", async ({ port, reopen, clock }) => {
    await send(port, { id: "a" });
    const receipts = new Set<string>();
    let queue = port;
    for (let round = 0; round < 5; round++) {
      const [lease] = await queue.lease("q", 1, 10);
      receipts.add(lease!.receipt);
      await clock.advance(10);
      queue = await reopen();
    }
    assert.equal(receipts.size, 5);
  });
}

const ids = (leases: readonly Lease[]): string[] => leases.map(({ id }) => id);
const receiptOf = (leases: readonly Lease[], id: string): string =>
  leases.find((lease) => lease.id === id)?.receipt ?? assert.fail(`${id} was not leased`);

async function send(port: Queue, message: Omit<NewMessage, "body">): Promise<boolean> {
  return (await port.enqueue("q", { ...message, body: bytes(message.id) })).accepted;
}

async function leased(port: Queue, max = 10, leaseMs = 10_000): Promise<string[]> {
  return ids(await port.lease("q", max, leaseMs));
}
