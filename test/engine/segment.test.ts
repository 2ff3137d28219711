import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Invocation, InvocationStatus } from "../../src/core/model.ts";
import { findInSegment, readSegment, readSummary, toSegments } from "../../src/engine/segment.ts";

const optional = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(values, { nil: undefined });
/** Whole microseconds, as calls are measured, and what is finer. */
const duration = fc.oneof(
  fc.integer({ min: 0, max: 10 ** 9 }).map((micros) => micros / 1000),
  fc.double({ min: 0, max: 1e6, noNaN: true }).map((ms) => ms || 0),
);
const count = fc.nat({ max: 10 ** 9 });
const id = fc.oneof(fc.uuid({ version: 7 }), fc.stringMatching(/^[0-9a-f]{32}$/));

const plainRecords: fc.Arbitrary<Invocation> = fc
  .record({
    id,
    namespace: fc.constantFrom("default", "team"),
    name: fc.constantFrom("hello", "netlist", "größe \"'\n"),
    revision: fc.integer({ min: 1, max: 3 }),
    instance: optional(id),
    cause: fc.record({
      kind: fc.constantFrom("http", "async", "function"),
      parent: optional(id),
      root: optional(id),
      requestId: optional(fc.oneof(id, fc.string())),
      traceparent: optional(fc.string()),
    }),
    status: fc.constantFrom<InvocationStatus>("succeeded", "failed", "timed_out", "cancelled"),
    attempt: fc.integer({ min: 1, max: 3 }),
    responseStatus: optional(fc.constantFrom(200, 404, 500)),
    timings: fc.record({
      acceptedAt: fc.integer({ min: 1.7e12, max: 1.9e12 }),
      queueMs: duration,
      coldStartMs: duration,
      initMs: duration,
      runMs: duration,
      totalMs: duration,
    }),
    usage: fc.record({
      coldStart: fc.boolean(),
      billedMs: count,
      memoryMb: fc.constantFrom(128, 256),
      memoryPeakBytes: count,
      cpuMs: duration,
      bytesIn: count,
      bytesOut: count,
    }),
    error: optional(fc.record({ code: fc.string(), message: fc.string() })),
    logs: fc.array(fc.record({ at: count, stream: fc.constantFrom("stdout", "stderr"), text: fc.string() }), {
      maxLength: 3,
    }),
    logsDropped: optional(fc.integer({ min: 1, max: 9 })),
    result: optional(
      fc.record({
        status: fc.constantFrom(200, 404),
        headers: fc.oneof(fc.constant(["content-type", "text/plain"]), fc.array(fc.string())),
        body: optional(fc.base64String()),
        blob: optional(id),
      }),
    ),
    idempotencyKey: optional(fc.string()),
  })
  .map((record) => JSON.parse(JSON.stringify(record)) as Invocation);

/** One object for many calls, as dialects have it, and each call its own. */
const annotations = fc.oneof(
  fc.constantFrom(undefined, { note: { path: "guest/hello" } }, { note: { path: "guest/others" } }),
  fc.string().map((note) => ({ note })),
);
/** Calls of one instance, which may differ in nothing that a frame has. */
const alike = plainRecords.map((record): Invocation => ({
  ...record,
  namespace: "default",
  name: "hello",
  revision: 1,
  instance: "01a214f4-c6fc-7374-8c69-623e9238dd85",
  cause: { ...record.cause, kind: "http" },
  status: "succeeded",
  attempt: 1,
  responseStatus: 200,
  timings: { acceptedAt: 1.8e12, queueMs: 0.031, coldStartMs: 0, initMs: 0, runMs: 0.65, totalMs: 0.67 },
  usage: { ...record.usage, memoryMb: 128, coldStart: false, cpuMs: 0.5 },
}));
const records = fc
  .tuple(fc.oneof(plainRecords, alike), annotations)
  .map(([record, found]): Invocation => (found === undefined ? record : { ...record, annotations: found }));

test("what is written into segments is read from them, whole and exactly", () => {
  fc.assert(
    fc.property(fc.uniqueArray(records, { selector: (record) => record.id, maxLength: 40 }), (given) => {
      const segments = toSegments(given);
      const read = segments.flatMap(({ data }) => readSegment(data));
      const byId = (a: Invocation, b: Invocation): number => (a.id < b.id ? -1 : 1);
      assert.deepEqual(read.toSorted(byId), given.toSorted(byId));
      for (const { data, summary, invocations } of segments) {
        assert.deepEqual(readSummary(data), summary);
        assert.equal(summary.count, invocations.length);
        for (const record of invocations) assert.deepEqual(findInSegment(data, record.id), record);
      }
    }),
  );
});

test("an ordinary call's record takes less than 200 bytes", () => {
  const record = (n: number): Invocation => ({
    id: `01a214f4-d3a3-7119-b851-${String(n).padStart(12, "0")}`,
    namespace: "default",
    name: "hello",
    revision: 7,
    instance: "01a214f4-c6fc-7374-8c69-623e9238dd85",
    cause: {
      kind: "http",
      requestId: `01a214f4-d3a3-7119-b851-${String(n).padStart(12, "0")}`,
      traceparent: "00-72a1d5b720e497f1274e20c01dd5d904-1adaafd07288f1c9-00",
    },
    status: "succeeded",
    attempt: 1,
    responseStatus: 200,
    timings: { acceptedAt: 1_795_647_919_011, queueMs: 0.031, coldStartMs: 0, initMs: 0, runMs: 0.65, totalMs: 0.67 },
    usage: {
      coldStart: false,
      billedMs: 1,
      memoryMb: 256,
      memoryPeakBytes: 53_071_872,
      cpuMs: 0.49,
      bytesIn: 0,
      bytesOut: 5,
    },
    logs: [],
  });
  const [segment, ...more] = toSegments(Array.from({ length: 200 }, (_, n) => record(n)));
  assert.equal(more.length, 0);
  assert.ok(segment!.data.length / 200 < 200, `${segment!.data.length / 200} bytes each`);
});

test("a segment of an earlier version, whose results stand with their heads, is read as well", () => {
  const data = Buffer.from(
    [
      '{"min":1795647919011,"max":1795647919011,"count":1,"names":64,"statuses":4,"untimed":0,"values":0,' +
        '"frames":[["guest","hello",1,"i1","api","succeeded",1,200,256,false,{"whisk":{"path":"guest/hello"}}]]}',
      '["01a214f4-d3a3-7119-b851-000000000001",0,1795647919011,31,0,0,650,670,1,5,490,2,2,"trace",null,' +
        '{"result":{"status":200,"headers":["content-type","application/json"],"body":"e30="}}]',
    ].join("\n"),
  );
  const [record] = readSegment(data);
  assert.deepEqual(record?.result, { status: 200, headers: ["content-type", "application/json"], body: "e30=" });
  assert.deepEqual(record?.annotations, { whisk: { path: "guest/hello" } });
  assert.deepEqual(findInSegment(data, "01a214f4-d3a3-7119-b851-000000000001"), record);
});

test("records are whole where each answers with long headers of its own", () => {
  const [plain] = fc.sample(alike, 1);
  const given = Array.from({ length: 600 }, (_, n): Invocation => {
    const headers = ["content-type", "text/plain", "x-own", `${n % 300} ${"x".repeat(20_000)}`];
    return {
      ...plain!,
      id: `01a214f4-d3a3-7119-b851-${String(n).padStart(12, "0")}`,
      result: { status: 200, headers, body: "e30=" },
    };
  });
  const read = toSegments(given).flatMap(({ data }) => readSegment(data));
  assert.deepEqual(read, given);
});
