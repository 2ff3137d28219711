import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { requestId } from "../../src/telemetry/request-id.ts";
import { isTraceparent, newTraceparent, parseTraceparent } from "../../src/telemetry/trace-context.ts";

const trace = "0af7651916cd43dd8448eb211c80319c";
const span = "b7ad6b7169203331";

describe("trace context", () => {
  test("reads a valid header", () => {
    assert.deepEqual(parseTraceparent(`00-${trace}-${span}-01`), {
      version: 0,
      traceId: trace,
      parentId: span,
      sampled: true,
    });
    assert.equal(parseTraceparent(`00-${trace}-${span}-02`)?.sampled, false);
  });

  test("takes a later version's header by the part that is known", () => {
    assert.ok(isTraceparent(`cc-${trace}-${span}-01-what-comes-later`));
    assert.ok(isTraceparent(`cc-${trace}-${span}-01`));
    assert.ok(!isTraceparent(`cc-${trace}-${span}-01.what`));
  });

  test("takes what breaks the rules as absent", () => {
    const broken = [
      "",
      "00",
      `ff-${trace}-${span}-01`,
      `00-${"0".repeat(32)}-${span}-01`,
      `00-${trace}-${"0".repeat(16)}-01`,
      `00-${trace.toUpperCase()}-${span}-01`,
      `00-${trace}-${span}-01-more`,
      `00-${trace}-${span}-0`,
      `00_${trace}_${span}_01`,
      ` 00-${trace}-${span}-01`,
    ];
    for (const header of broken) assert.equal(parseTraceparent(header), undefined, header);
  });

  test("makes headers that are valid and differ", () => {
    const made = Array.from({ length: 1000 }, () => newTraceparent());
    assert.ok(made.every(isTraceparent));
    assert.equal(new Set(made).size, made.length);
    assert.ok(isTraceparent(newTraceparent((length) => "00".repeat(length))), "also where chance gives zeros");
  });
});

describe("request ids", () => {
  test("a caller's own is kept where it fits into a log line and a header", () => {
    assert.equal(
      requestId("req-1/a=b", () => "made"),
      "req-1/a=b",
    );
    for (const given of [undefined, "", "a b", "a\tb", "é", "x".repeat(129)]) {
      assert.equal(
        requestId(given, () => "made"),
        "made",
      );
    }
  });
});
