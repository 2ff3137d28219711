import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Blobs } from "../../src/ports/blobs.ts";
import { bytes, gather, guaranteesOf, rejects, type OpenDriver } from "./opened.ts";

/** Every guarantee of the blobs port that can be seen without damaging the driver's disk. */
export function describeBlobs(name: string, open: OpenDriver<Blobs>): void {
  const guarantee = guaranteesOf(`blobs of ${name}`, open);

  guarantee("a content is named by its SHA-256 and comes back byte by byte", async ({ port }) => {
    const contents = [
      [],
      [new Uint8Array()],
      [bytes("a")],
      [bytes("a"), new Uint8Array(), bytes("b")],
      Array.from({ length: 9 }, (_, index) => new Uint8Array(100_003).fill(index)),
    ];
    for (const chunks of contents) {
      const whole = Buffer.concat(chunks);
      const put = await port.put(stream(chunks));
      assert.deepEqual(put, { digest: sha256(whole), size: whole.byteLength });
      assert.equal(await port.has(put.digest), true);
      const { size, content } = await port.get(put.digest);
      assert.equal(size, whole.byteLength);
      assert.ok(whole.equals(await collect(content)));
    }
  });

  guarantee("a content can be read by many at once, and given up in the middle", async ({ port }) => {
    const whole = Buffer.alloc(1_000_000, "virga");
    const { digest } = await port.put(stream([whole]));
    const readers = await Promise.all(Array.from({ length: 5 }, () => port.get(digest)));
    for await (const chunk of readers[0]!.content) {
      assert.ok(chunk.byteLength > 0);
      break;
    }
    for (const read of await Promise.all(readers.slice(1).map(({ content }) => collect(content))))
      assert.ok(whole.equals(read));
  });

  guarantee("what the writer and the readers do to their bytes changes nothing", async ({ port }) => {
    const chunk = Buffer.from("abc");
    const { digest } = await port.put(
      (async function* () {
        yield chunk;
        chunk.fill(0);
        yield Buffer.from("d");
      })(),
    );
    assert.equal(digest, sha256(Buffer.from("abcd")));
    for await (const read of (await port.get(digest)).content) read.fill(1);
    assert.equal(String(await collect((await port.get(digest)).content)), "abcd");
  });

  guarantee("equal contents are kept once", async ({ port }) => {
    const puts = await Promise.all(Array.from({ length: 8 }, () => port.put(stream([bytes("same")]))));
    assert.equal(new Set(puts.map(({ digest }) => digest)).size, 1);
    assert.equal((await all(port)).length, 1);
  });

  guarantee("a content that is not the expected one is refused, and nothing of it is kept", async ({ port }) => {
    const digest = sha256(bytes("right"));
    await rejects(port.put(stream([bytes("wrong")]), { expect: digest }), "bad_request", new RegExp(digest));
    assert.deepEqual(await all(port), []);
    assert.equal((await port.put(stream([bytes("right")]), { expect: digest })).digest, digest);
  });

  guarantee("a content over the limit is refused, at the limit it is not", async ({ port }) => {
    let asked = 0;
    const endless = (async function* () {
      for (; ; asked++) yield new Uint8Array(10);
    })();
    await rejects(port.put(endless, { maxBytes: 100 }), "request_too_large");
    assert.ok(asked <= 11, `${asked} chunks were asked for`);
    assert.deepEqual(await all(port), []);
    assert.equal((await port.put(stream([new Uint8Array(100)]), { maxBytes: 100 })).size, 100);
    assert.equal((await port.put(stream([]), { maxBytes: 0 })).size, 0);
  });

  guarantee("a stream that breaks leaves nothing behind, and its error is passed on", async ({ port }) => {
    const broken = (async function* () {
      yield bytes("half");
      throw new Error("the line went dead");
    })();
    await assert.rejects(port.put(broken), /the line went dead/);
    assert.deepEqual(await all(port), []);
    assert.equal(await port.has(sha256(bytes("half"))), false);
  });

  guarantee("what is not there is not found", async ({ port }) => {
    const absent = sha256(bytes("absent"));
    await port.put(stream([bytes("there")]));
    for (const digest of [absent, "", "x", "../../etc/passwd", sha256(bytes("there")).toUpperCase(), `${absent}0`]) {
      await rejects(port.get(digest), "not_found");
      assert.equal(await port.has(digest), false, digest);
      await port.delete(digest);
    }
    assert.equal((await all(port)).length, 1);
  });

  guarantee("a deleted content is gone, and can be put again", async ({ port }) => {
    const { digest } = await port.put(stream([bytes("a")]));
    await port.put(stream([bytes("b")]));
    await port.delete(digest);
    assert.equal(await port.has(digest), false);
    await rejects(port.get(digest), "not_found");
    assert.equal((await all(port)).length, 1);
    await port.put(stream([bytes("a")]));
    assert.equal(String(await collect((await port.get(digest)).content)), "a");
  });

  guarantee("what was put or asked for since is not deleted as unused", async ({ port, clock }) => {
    const digests: string[] = [];
    for (const content of ["old", "put again", "asked for"])
      digests.push((await port.put(stream([bytes(content)]))).digest);
    await clock.advance(5000);
    const unusedSince = clock.now();
    await port.put(stream([bytes("put again")]));
    assert.equal(await port.has(digests[2]!), true);
    const gone = await Promise.all(digests.map((digest) => port.delete(digest, { unusedSince })));
    assert.deepEqual(gone, [true, false, false]);
    assert.deepEqual(await Promise.all(digests.map((digest) => port.has(digest))), [false, true, true]);
    assert.equal(await port.delete(digests[0]!, { unusedSince }), true, "it is not there");
    assert.equal(await port.delete(digests[1]!), true);
  });

  guarantee(
    "who is told that a content is there can rely on it, whoever deletes what is unused",
    async ({ port, clock }) => {
      for (let round = 0; round < 20; round++) {
        const { digest } = await port.put(stream([bytes(String(round))]));
        await clock.advance(5000);
        const unusedSince = clock.now();
        const deleting = Array.from({ length: 4 }, () => port.delete(digest, { unusedSince }));
        const [isThere] = await Promise.all([port.has(digest), ...deleting]);
        assert.equal(await port.has(digest), isThere);
        const put = port.put(stream([bytes(String(round))]));
        await Promise.all([put, ...Array.from({ length: 4 }, () => port.delete(digest, { unusedSince }))]);
        assert.equal(await port.has(digest), true);
      }
    },
  );

  guarantee("the list has each content, with the time it was last put or asked for", async ({ port, clock }) => {
    const contents = ["a", "b", "c", ""];
    const start = clock.now();
    const digests: string[] = [];
    for (const content of contents) digests.push((await port.put(stream([bytes(content)]))).digest);
    await clock.advance(5000);
    await port.put(stream([bytes("a")]));
    await clock.advance(5000);
    await port.has(digests[1]!);
    await collect((await port.get(digests[2]!)).content);
    assert.deepEqual(
      (await all(port)).toSorted((a, b) => digests.indexOf(a.digest) - digests.indexOf(b.digest)),
      [
        { digest: digests[0], size: 1, storedAt: start + 5000 },
        { digest: digests[1], size: 1, storedAt: start + 10_000 },
        { digest: digests[2], size: 1, storedAt: start },
        { digest: digests[3], size: 0, storedAt: start },
      ],
    );
  });

  guarantee.afterReopening("contents are as they were", async ({ port, reopen }) => {
    const whole = Buffer.alloc(700_000, "virga");
    const { digest } = await port.put(stream([whole]));
    const before = await all(port);
    const again = await reopen();
    assert.deepEqual(await all(again), before);
    assert.ok(whole.equals(await collect((await again.get(digest)).content)));
  });
}

export async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

export async function collect(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await gather(content));
}

export function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

async function all(port: Blobs): Promise<{ digest: string; size: number; storedAt: number }[]> {
  return await gather(port.list());
}
