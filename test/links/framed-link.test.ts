import assert from "node:assert/strict";
import { type Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import type { Call, CallSink, NestedAnswer, NestedCall } from "../../src/ports/runtime.ts";
import { createFramedLink, type FramedLink } from "../../src/links/framed/link.ts";
import { frame } from "../../src/links/framed/protocol.ts";
import { FrameReader } from "../../src/links/framed/reader.ts";

/** A guest written by hand: what the platform sent it, and a way to send anything. */
class HandGuest {
  readonly link: FramedLink;
  readonly heard: { type: number; stream: number; payload: Buffer }[] = [];
  readonly logs: { invocation: string | undefined; text: string; stream: string }[] = [];
  readonly acknowledged: string[] = [];
  closed: { reason: VirgaError | undefined } | undefined;
  nested: (parent: string, request: NestedCall) => Promise<NestedAnswer> = () => Promise.reject(new Error("none"));
  readonly #socket: Duplex;

  constructor() {
    const [host, guest] = duplexPair();
    this.#socket = guest;
    const reader = new FrameReader({
      frame: (type, stream, bytes, start, end) => {
        this.heard.push({ type, stream, payload: Buffer.from(bytes.subarray(start, end)) });
      },
      body: (stream, bytes) => this.heard.push({ type: frame.body, stream, payload: bytes }),
    });
    guest.on("data", (chunk: Buffer) => reader.push(chunk));
    this.link = createFramedLink(host, {
      hello() {},
      ready() {},
      failed() {},
      log: (invocation, { text, stream }) => this.logs.push({ invocation, text, stream }),
      acknowledged: (invocation) => this.acknowledged.push(invocation),
      callFunction: (parent, request) => this.nested(parent, request),
      closed: (reason) => (this.closed = { reason }),
    });
  }

  async send(type: number, stream: number, payload: Uint8Array | string = ""): Promise<void> {
    const bytes = Buffer.from(payload as string);
    const head = Buffer.alloc(9);
    head.writeUInt32BE(bytes.length, 0);
    head[4] = type;
    head.writeUInt32BE(stream, 5);
    this.raw(Buffer.concat([head, bytes]));
    await turn();
  }

  raw(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  of(type: number): { stream: number; payload: Buffer }[] {
    return this.heard.filter((one) => one.type === type);
  }
}

class Sink implements CallSink {
  readonly events: unknown[] = [];
  taking = true;
  bytes = 0;

  head(status: number, headers: readonly string[]): void {
    this.events.push(["head", status, headers]);
  }

  data(chunk: Uint8Array): boolean {
    this.bytes += chunk.length;
    return this.taking;
  }

  end(measured: unknown): void {
    this.events.push(["end", measured]);
  }

  fail(error: VirgaError): void {
    this.events.push(["fail", error.code]);
  }
}

const call: Call = {
  id: "one",
  method: "POST",
  target: "/a?b",
  url: "http://h/a?b",
  headers: ["x-a", ""],
  body: undefined,
  deadline: 5,
  attempt: 1,
  traceparent: undefined,
  idempotencyKey: undefined,
};

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

function result(status: number, headers: unknown, body = "", ends = false): Buffer {
  const json = Buffer.from(JSON.stringify(headers));
  const head = Buffer.alloc(6);
  head.writeUInt16BE(status, 0);
  head.writeUInt32BE(json.length, 2);
  const measured = Buffer.alloc(12);
  measured.writeUInt32BE(77, 0);
  measured.writeUInt32BE(1, 4);
  measured.writeUInt32BE(2, 8);
  return Buffer.concat([Buffer.from([ends ? 1 : 0]), ...(ends ? [measured] : []), head, json, Buffer.from(body)]);
}

test("a call whose body suffices says so where the body ends with its frame", async () => {
  const guest = new HandGuest();
  const whole = { ...call, bodySuffices: true, body: Buffer.from("in") };
  guest.link.invoke(whole, new Sink());
  guest.link.invoke({ ...whole, body: Buffer.alloc(2 ** 20, "x") }, new Sink());
  await turn();
  assert.deepEqual(
    guest.of(frame.invoke).map(({ payload }) => payload[0]),
    [3, 0],
  );
});

test("a call and its answer go over as one frame each", async () => {
  const guest = new HandGuest();
  const sink = new Sink();
  guest.link.invoke({ ...call, body: Buffer.from("in") }, sink);
  await turn();
  const [invoke] = guest.of(frame.invoke);
  assert.equal(invoke!.stream, 1);
  assert.equal(invoke!.payload[0], 1);
  const length = invoke!.payload.readUInt32BE(1);
  assert.deepEqual(JSON.parse(invoke!.payload.toString("utf8", 5, 5 + length)), [
    "one",
    "POST",
    "/a?b",
    "http://h/a?b",
    ["x-a", ""],
    5,
    1,
    null,
    null,
  ]);
  assert.equal(invoke!.payload.toString("utf8", 5 + length), "in");
  await guest.send(frame.result, 1, result(201, ["x-b", "c"], "out", true));
  assert.equal(sink.bytes, 3);
  assert.deepEqual(sink.events, [
    ["head", 201, ["x-b", "c"]],
    ["end", { cpuMicros: 77, memoryPeakBytes: 2 ** 32 + 2 }],
  ]);
  assert.equal(guest.link.running, 0);
});

test("a request's body stops at the window and goes on when the program grants more", async () => {
  const guest = new HandGuest();
  const handle = guest.link.invoke(call, new Sink());
  let drained = 0;
  handle.onDrain = () => (drained += 1);
  assert.equal(handle.write(Buffer.alloc(1_000_000)), true);
  assert.equal(handle.write(Buffer.alloc(100_000)), false);
  handle.write(Buffer.alloc(100_000));
  await turn();
  const sent = (): number => guest.of(frame.body).reduce((sum, { payload }) => sum + payload.length, 0);
  assert.equal(sent(), 2 ** 20);
  const grant = Buffer.alloc(4);
  grant.writeUInt32BE(60_000);
  await guest.send(frame.window, 1, grant);
  assert.equal(sent(), 2 ** 20 + 60_000);
  assert.equal(drained, 0);
  grant.writeUInt32BE(500_000);
  await guest.send(frame.window, 1, grant);
  assert.equal(sent(), 1_200_000);
  assert.equal(drained, 1);
  assert.equal(guest.of(frame.end).length, 0);
  handle.end();
  await turn();
  assert.equal(guest.of(frame.end).length, 1);
});

test("a body that is larger than the window and known at once is sent to its end", async () => {
  const guest = new HandGuest();
  guest.link.invoke({ ...call, body: Buffer.alloc(3 * 2 ** 20, "z") }, new Sink());
  await turn();
  const grant = Buffer.alloc(4);
  grant.writeUInt32BE(2 ** 21);
  assert.equal(guest.of(frame.end).length, 0);
  await guest.send(frame.window, 1, grant);
  assert.equal(guest.of(frame.end).length, 1);
});

test("an answer waits while its consumer pauses, and more is granted only as it is taken", async () => {
  const guest = new HandGuest();
  const sink = new Sink();
  const handle = guest.link.invoke(call, sink);
  sink.taking = false;
  await guest.send(frame.result, 1, result(200, []));
  for (let sent = 0; sent < 4; sent++) await guest.send(frame.body, 1, Buffer.alloc(2 ** 18));
  await guest.send(frame.end, 1, Buffer.alloc(12));
  assert.ok(sink.bytes < 2 ** 20, `${sink.bytes} bytes reached a consumer that had paused`);
  assert.equal(sink.events.length, 1);
  sink.taking = true;
  handle.resume();
  assert.equal(sink.bytes, 2 ** 20);
  assert.deepEqual(sink.events.at(-1), ["end", { cpuMicros: 0, memoryPeakBytes: 0 }]);
});

test("an answer that overruns its window ends the link", async () => {
  const guest = new HandGuest();
  const sink = new Sink();
  sink.taking = false;
  guest.link.invoke(call, sink);
  await guest.send(frame.result, 1, result(200, []));
  for (let sent = 0; sent < 7; sent++) await guest.send(frame.body, 1, Buffer.alloc(2 ** 18));
  assert.match(guest.closed?.reason?.message ?? "", /overran its window/);
});

test("a cancelled call fails at once, and the program's late end is told", async () => {
  const guest = new HandGuest();
  const sink = new Sink();
  const handle = guest.link.invoke(call, sink);
  await turn();
  handle.cancel("timeout");
  handle.cancel("cancelled");
  assert.deepEqual(sink.events, [["fail", "timeout"]]);
  await turn();
  assert.deepEqual([...guest.of(frame.cancel)[0]!.payload], [1]);
  await guest.send(frame.result, 1, result(200, [], "late"));
  await guest.send(frame.body, 1, "late");
  assert.deepEqual(guest.acknowledged, []);
  await guest.send(frame.end, 1, Buffer.alloc(12));
  assert.deepEqual(guest.acknowledged, ["one"]);
  assert.equal(sink.events.length, 1);
  assert.equal(sink.bytes, 0);
  assert.equal(guest.closed, undefined);
});

test("log lines carry the id of their call", async () => {
  const guest = new HandGuest();
  guest.link.invoke(call, new Sink());
  const line = (stream: number, text: string): Buffer => {
    const head = Buffer.alloc(9);
    head[0] = stream;
    head.writeDoubleBE(Date.now(), 1);
    return Buffer.concat([head, Buffer.from(text)]);
  };
  await guest.send(frame.log, 1, line(2, "in the call"));
  await guest.send(frame.log, 0, line(1, "outside"));
  assert.deepEqual(guest.logs, [
    { invocation: "one", text: "in the call", stream: "stderr" },
    { invocation: undefined, text: "outside", stream: "stdout" },
  ]);
});

test("a nested call is answered, refused with its code, and refused when its parent is over", async () => {
  const guest = new HandGuest();
  const asked: NestedCall[] = [];
  guest.nested = (_parent, request) => {
    asked.push(request);
    return request.function === "there"
      ? Promise.resolve({ status: 200, headers: ["a", "b"], body: Buffer.from("answer") })
      : Promise.reject(new VirgaError("not_found", "no such function"));
  };
  guest.link.invoke(call, new Sink());
  const nested = (target: string, parent: string): Buffer => {
    const json = Buffer.from(
      JSON.stringify({ parent, function: target, method: "PUT", path: "/p", headers: ["x", "y"] }),
    );
    const length = Buffer.alloc(4);
    length.writeUInt32BE(json.length);
    return Buffer.concat([length, json, Buffer.from("body")]);
  };
  await guest.send(frame.call, 2, nested("there", "one"));
  await guest.send(frame.call, 4, nested("nowhere", "one"));
  await guest.send(frame.call, 6, nested("there", "two"));
  await turn();
  assert.deepEqual(
    asked.map(({ function: name, body, headers }) => [name, Buffer.from(body).toString(), headers]),
    [
      ["there", "body", ["x", "y"]],
      ["nowhere", "body", ["x", "y"]],
    ],
  );
  assert.match(guest.of(frame.answer)[0]!.payload.toString("latin1"), /"status":200.*answer$/);
  const refusals = guest.of(frame.refused).map(({ stream, payload }) => [stream, JSON.parse(payload.toString()).code]);
  assert.deepEqual(
    new Map(refusals as [number, string][]),
    new Map([
      [4, "not_found"],
      [6, "cancelled"],
    ]),
  );
});

const broken: Record<string, [number, number, Uint8Array | string]> = {
  "an unknown type": [99, 0, ""],
  "a hello that is no JSON": [frame.hello, 0, "{"],
  "a hello of another protocol": [frame.hello, 0, '{"protocol":2}'],
  "an end without a measurement": [frame.end, 1, "x"],
  "a body before its result": [frame.body, 1, "x"],
  "a body on an even stream": [frame.body, 2, "x"],
  "a window of three bytes": [frame.window, 1, "abc"],
  "a result that is cut off": [frame.result, 1, Buffer.from([0, 0, 200, 0, 0])],
  "a result whose head is longer than its frame": [frame.result, 1, Buffer.from([0, 0, 200, 255, 255, 255, 255])],
  "a result with status 99": [frame.result, 1, result(99, [])],
  "a result with an odd header list": [frame.result, 1, result(200, ["a"])],
  "a result with a line break in a header": [frame.result, 1, result(200, ["a", "b\r\nc: d"])],
  "a result with an upper-case header name": [frame.result, 1, result(200, ["A", "b"])],
  "a nested call on a stream of the platform's": [frame.call, 3, ""],
  "a nested call that is cut off": [frame.call, 2, "abc"],
  "a log line without its head": [frame.log, 1, "abc"],
};

for (const [what, [type, stream, payload]] of Object.entries(broken)) {
  test(`${what} ends the link with a clear error`, async () => {
    const guest = new HandGuest();
    guest.link.invoke(call, new Sink());
    await guest.send(type, stream, payload);
    assert.equal(guest.closed?.reason?.code, "function_crashed");
    assert.match(guest.closed.reason.message, /^The program broke the instance link: /);
  });
}

test("a malformed answer fails its call with invalid_response", async () => {
  const guest = new HandGuest();
  const sink = new Sink();
  guest.link.invoke(call, sink);
  await guest.send(frame.result, 1, result(200, "no list"));
  assert.deepEqual(sink.events, [["fail", "invalid_response"]]);
});

test("whatever bytes a program sends, each call ends at most once and nothing is thrown", async () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .record({
        type: fc.integer({ min: 0, max: 20 }),
        stream: fc.integer({ min: 0, max: 4 }),
        payload: fc.uint8Array({ maxLength: 40 }),
      })
      .map(({ type, stream, payload }) => {
        const head = Buffer.alloc(9);
        head.writeUInt32BE(payload.length, 0);
        head[4] = type;
        head.writeUInt32BE(stream, 5);
        return Buffer.concat([head, payload]);
      }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
      const guest = new HandGuest();
      const sinks = [new Sink(), new Sink()];
      for (const sink of sinks) guest.link.invoke(call, sink);
      for (const bytes of pieces) guest.raw(bytes);
      await turn();
      guest.link.failAll(new VirgaError("function_crashed", "over"));
      for (const { events } of sinks) {
        assert.equal(events.filter((event) => (event as string[])[0] !== "head").length, 1);
      }
    }),
    { numRuns: 300 },
  );
});

test("a call on a link that has ended fails at once", async () => {
  const guest = new HandGuest();
  guest.link.close();
  const sink = new Sink();
  guest.link.invoke(call, sink);
  assert.deepEqual(sink.events, [["fail", "function_crashed"]]);
});
