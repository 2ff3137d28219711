import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { attributeOf, checkEvent } from "../../src/core/events/event.ts";
import { checkFilters, type Filter, passes } from "../../src/core/events/filter.ts";

const event = checkEvent({
  specversion: "1.0",
  id: "1",
  source: "/shop",
  type: "order.placed",
  priority: 5,
  urgent: true,
  data: { type: "data is not looked at" },
});

const verdict = (...filters: Filter[]) => passes(filters, event);

describe("filters", () => {
  test("without any, everything passes", () => {
    assert.equal(verdict().passes, true);
  });

  test("exact, prefix and suffix ask for every attribute that they name", () => {
    assert.equal(verdict({ exact: { type: "order.placed", source: "/shop" } }).passes, true);
    assert.equal(verdict({ exact: { type: "order.placed", source: "/other" } }).passes, false);
    assert.equal(verdict({ prefix: { type: "order." } }).passes, true);
    assert.equal(verdict({ suffix: { type: ".paid" } }).passes, false);
  });

  test("numbers and booleans are compared as text; an empty prefix asks that the attribute is there", () => {
    assert.equal(verdict({ exact: { priority: "5", urgent: "true" } }).passes, true);
    assert.equal(verdict({ prefix: { priority: "" } }).passes, true);
    assert.equal(verdict({ prefix: { subject: "" } }).passes, false);
  });

  test("all, any and not combine", () => {
    assert.equal(verdict({ any: [{ exact: { type: "x" } }, { prefix: { source: "/" } }] }).passes, true);
    assert.equal(verdict({ any: [{ exact: { type: "x" } }, { exact: { source: "x" } }] }).passes, false);
    assert.equal(verdict({ all: [{ prefix: { type: "o" } }, { not: { exact: { subject: "s" } } }] }).passes, true);
    assert.equal(verdict({ not: { prefix: { type: "order." } } }).passes, false);
    assert.equal(
      verdict({ exact: { type: "order.placed" } }, { exact: { source: "x" } }).passes,
      false,
      "a list is an and",
    );
  });

  test("the reason names the attribute, what it is and what was wanted", () => {
    assert.match(verdict({ exact: { type: "order.paid" } }).reason, /type is "order.placed"; wanted: is "order.paid"/);
    assert.match(verdict({ exact: { subject: "a" } }).reason, /it has no subject/);
    assert.match(verdict({ not: { exact: { urgent: "true" } } }).reason, /not: urgent is "true"/);
  });

  test("data and what every object has are no attributes", () => {
    assert.equal(attributeOf(event, "data"), undefined);
    assert.equal(attributeOf(event, "constructor"), undefined);
  });

  const nested = Array.from({ length: 40 }).reduce<unknown>((inner) => ({ not: inner }), { exact: { type: "x" } });
  const refused: [string, unknown][] = [
    ["no list", {}],
    ["an unknown kind", [{ equals: { type: "x" } }]],
    ["two kinds at once", [{ exact: { type: "x" }, prefix: { type: "x" } }]],
    ["no attribute", [{ exact: {} }]],
    ["a name in upper case", [{ exact: { Type: "x" } }]],
    ["a value that is no text", [{ exact: { priority: 5 } }]],
    ["an empty any", [{ any: [] }]],
    ["a nest without end", [nested]],
  ];
  for (const [what, filters] of refused) {
    test(`${what} is refused, with the field's path`, () => {
      assert.throws(() => checkFilters(filters), { code: "invalid_field", message: /^filters/ });
    });
  }
});

describe("events", () => {
  const good = { specversion: "1.0", id: "1", source: "/s", type: "t" };

  test("attributes that are null are absent; data that is null is data", () => {
    assert.deepEqual(checkEvent({ ...good, subject: null, data: null }), { ...good, data: null });
  });

  const refused: [string, object, string][] = [
    ["another version", { specversion: "0.3" }, "specversion"],
    ["no id", { id: "" }, "id"],
    ["a type that is no text", { type: 5 }, "type"],
    ["an attribute in upper case", { comExample: "x" }, "comExample"],
    ["an object as an extension", { nested: {} }, "nested"],
    ["a fraction", { ratio: 0.5 }, "ratio"],
    ["a line break in an attribute", { subject: "a\nb" }, "subject"],
    ["a lone surrogate", { subject: "\ud800" }, "subject"],
    ["a time that is none", { time: "yesterday" }, "time"],
    ["data twice", { data: 1, data_base64: "AA==" }, "data_base64"],
    ["bytes that are no Base64", { data_base64: "a" }, "data_base64"],
  ];
  for (const [what, change, field] of refused) {
    test(`${what} is refused, and the attribute is named`, () => {
      assert.throws(
        () => checkEvent({ ...good, ...change }),
        (error: { code?: string; detail?: { field?: string } }) => {
          assert.deepEqual([error.code, error.detail?.field], ["invalid_field", field]);
          return true;
        },
      );
    });
  }
});
