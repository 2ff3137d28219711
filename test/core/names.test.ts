import assert from "node:assert/strict";
import { test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { checkName, isName, isResourceName, isVariableName, quote } from "../../src/core/names.ts";
import { closest } from "../../src/core/spelling.ts";

test("names are short, lower-case and begin and end with a letter or digit", () => {
  for (const name of ["a", "0", "a-b_c", "x".repeat(63)]) assert.ok(isName(name), name);
  for (const name of ["", "-a", "a-", "_", "A", "a/b", "a.b", "a\n", "é", "x".repeat(64), ".."])
    assert.ok(!isName(name), name);
});

test("a wrong name is refused with its field and what is allowed", () => {
  assert.throws(
    () => checkName("No", "name", "function"),
    (error: unknown) =>
      error instanceof VirgaError && error.detail.field === "name" && /lower-case/.test(error.detail.fix ?? ""),
  );
  assert.throws(() => checkName(undefined, "name", "function"), VirgaError);
});

test("secrets are named like environment variables", () => {
  for (const name of ["A", "_x", "DB_URL2"]) assert.ok(isVariableName(name), name);
  for (const name of ["", "2A", "A-B", "A B", "A=B", "x".repeat(129)]) assert.ok(!isVariableName(name), name);
});

test("a mistyped word finds its neighbour, and a strange one none", () => {
  assert.equal(closest("memroyMb", ["memoryMb", "cpus"]), "memoryMb");
  assert.equal(closest("Handler", ["handler"]), "handler");
  assert.equal(closest("zzz", ["memoryMb", "cpus"]), undefined);
  assert.equal(closest("nod", ["node", "python"]), "node");
});

test("values in messages are short and on one line", () => {
  assert.equal(quote("a\nb"), '"a\\nb"');
  assert.equal(quote(undefined), "undefined");
  assert.ok(quote("x".repeat(1000)).length <= 80);
});

test("names inside the engine are wider than our own, so that those of peers fit", () => {
  for (const name of ["hello", "Hello", "tools.hello", "_x", "@whisk%2Esystem.utils.sort", "a".repeat(420)])
    assert.ok(isResourceName(name), name);
  for (const name of ["", "-a", ".a", "%20", "a b", "a/b", "ä", "__proto__", "a".repeat(421)])
    assert.ok(!isResourceName(name), name);
});
