import assert from "node:assert/strict";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import { frame, maxPayloadBytes } from "../../src/links/framed/protocol.ts";
import { FrameReader } from "../../src/links/framed/reader.ts";
import { FrameWriter } from "../../src/links/framed/writer.ts";

interface Seen {
  type: number;
  stream: number;
  payload: string;
}

/** Reads chunks; pieces of one body are joined, so that how they were cut does not show. */
function readAll(chunks: readonly Buffer[]): Seen[] {
  const seen: Seen[] = [];
  const reader = new FrameReader({
    frame(type, stream, bytes, start, end) {
      seen.push({ type, stream, payload: bytes.toString("latin1", start, end) });
    },
    body(stream, bytes) {
      const last = seen.at(-1);
      if (last?.type === frame.body && last.stream === stream) last.payload += bytes.toString("latin1");
      else seen.push({ type: frame.body, stream, payload: bytes.toString("latin1") });
    },
  });
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

function encode(type: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUInt32BE(payload.length, 0);
  head[4] = type;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const wire = Buffer.concat([
  encode(frame.hello, 0, Buffer.from('{"protocol":1}')),
  encode(frame.body, 3, Buffer.from("a body of some bytes")),
  encode(frame.ping, 0, Buffer.alloc(0)),
  encode(frame.log, 7, Buffer.from("a line")),
  encode(frame.body, 1, Buffer.from("x")),
  encode(frame.end, 1, Buffer.alloc(12)),
]);

test("frames are the same wherever the bytes are cut in two", () => {
  const whole = readAll([wire]);
  assert.equal(whole.length, 6);
  for (let at = 0; at <= wire.length; at++) {
    assert.deepEqual(readAll([wire.subarray(0, at), wire.subarray(at)]), whole, `cut at ${at}`);
  }
});

test("frames are the same when bytes come one by one", () => {
  assert.deepEqual(readAll(Array.from(wire, (_, at) => wire.subarray(at, at + 1))), readAll([wire]));
});

test("random frames cut at random places are read as they were written", () => {
  const frames = fc.array(
    fc.record({
      type: fc.integer({ min: 1, max: 18 }).filter((type) => type !== frame.body),
      stream: fc.nat({ max: 2 ** 31 - 1 }),
      payload: fc.uint8Array({ maxLength: 300 }),
    }),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(frames, fc.array(fc.nat({ max: 7000 }), { maxLength: 12 }), (list, cuts) => {
      const bytes = Buffer.concat(list.map(({ type, stream, payload }) => encode(type, stream, payload)));
      const places = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
      const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end));
      assert.deepEqual(
        readAll(chunks),
        list.map(({ type, stream, payload }) => ({ type, stream, payload: Buffer.from(payload).toString("latin1") })),
      );
    }),
    { numRuns: 200 },
  );
});

test("a frame over the limit is refused as soon as its head is there", () => {
  const head = encode(frame.log, 1, Buffer.alloc(0));
  head.writeUInt32BE(maxPayloadBytes + 1, 0);
  assert.throws(
    () => readAll([head]),
    (error) => error instanceof VirgaError && error.code === "function_crashed" && error.message.includes("1048577"),
  );
});

test("random bytes either make frames or a clear error, and nothing else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
      try {
        readAll([Buffer.from(bytes)]);
      } catch (error) {
        assert.ok(error instanceof VirgaError);
      }
    }),
    { numRuns: 500 },
  );
});

test("what the writer encodes is what the reader finds, small and large, several writers in turns", async () => {
  const [left, right] = duplexPair();
  const [left2, right2] = duplexPair();
  const writer = new FrameWriter(left);
  const other = new FrameWriter(left2);
  const large = Buffer.alloc(50_000, "b");
  for (let round = 0; round < 40; round++) {
    writer.text(frame.init, 0, `{"é":${round}}`);
    other.empty(frame.ping, round);
    other.empty(frame.ping, round);
    writer.window(5, round);
    writer.bytes(frame.log, 9, large, 0, round * 1000);
    writer.headed(frame.invoke, 11, 1, "[]", large, round * 100);
    writer.byte(frame.cancel, 13, 1);
  }
  writer.headed(frame.answer, 2, -1, JSON.stringify("h".repeat(60_000)), large, 20_000);
  await new Promise((resolve) => setImmediate(resolve));
  left.end();
  left2.end();
  const seen = readAll((await right.toArray()) as Buffer[]);
  const alternating = readAll((await right2.toArray()) as Buffer[]);
  assert.equal(alternating.length, 80);
  assert.equal(seen.length, 40 * 5 + 1);
  for (let round = 0; round < 40; round++) {
    const [init, window, log, invoke, cancel] = seen.slice(round * 5, round * 5 + 5);
    assert.equal(Buffer.from(init!.payload, "latin1").toString(), `{"é":${round}}`);
    assert.equal(Buffer.from(window!.payload, "latin1").readUInt32BE(0), round);
    assert.equal(log!.payload, "b".repeat(round * 1000));
    assert.equal(invoke!.payload, `\u0001\0\0\0\u0002[]${"b".repeat(round * 100)}`);
    assert.equal(cancel!.payload, "\u0001");
  }
  assert.equal(seen.at(-1)!.payload.length, 4 + 60_002 + 20_000);
});
