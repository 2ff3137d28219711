import assert from "node:assert/strict";
import { test } from "node:test";
import { WhiskError } from "../../../src/dialects/openwhisk/errors.ts";
import { isNativeImage, needsMain, readKind, runtimesDocument } from "../../../src/dialects/openwhisk/kinds.ts";

test("names of kinds are resolved, old ones among them", () => {
  for (const [given, kind] of [
    ["nodejs:default", "nodejs:20"],
    ["nodejs", "nodejs:20"],
    [" NodeJS:6 ", "nodejs:6"],
    ["nodejs:24", "nodejs:24"],
    ["python", "python:3.11"],
    ["python:3", "python:3"],
    ["python:3.14", "python:3.14"],
    ["php", "php:8.1"],
    ["php:7.2", "php:7.2"],
    ["go:1.11", "go:1.11"],
    ["java", "java:8"],
    ["ruby:default", "ruby:2.5"],
    ["rust:1.34", "rust:1.34"],
  ] as const) {
    assert.equal(readKind(given).kind, kind);
  }
});

test("what is not there is refused, and the reason given", () => {
  const refused = (kind: string, reason: RegExp) =>
    assert.throws(
      () => readKind(kind),
      (thrown) => thrown instanceof WhiskError && thrown.status === 400 && reason.test(thrown.message),
    );
  refused("python:2", /security fixes.*python:3/);
  refused("swift:5.7", /Swift/);
  refused("dotnet:default", /\.NET/);
  refused("cobol:85", /one of the kinds here: .*nodejs:20.*rust:1\.34/);
  refused("nodejs:99", /one of the kinds here/);
  refused("constructor", /one of the kinds here/);
  refused("", /one of the kinds here/);
});

test("java alone needs the name of a class", () => {
  assert.equal(needsMain("java"), true);
  assert.equal(needsMain("nodejs"), false);
});

test("native programs come with an image that is none", () => {
  assert.equal(isNativeImage("openwhisk/dockerskeleton"), true);
  assert.equal(isNativeImage("docker.io/openwhisk/dockerskeleton:nightly"), true);
  assert.equal(isNativeImage("library/nginx"), false);
});

test("the list of runtimes has one default of each family, and names manifests may have", () => {
  const document = runtimesDocument() as Record<string, { kind: string; default: boolean; deprecated: boolean }[]>;
  for (const [family, kinds] of Object.entries(document)) {
    assert.equal(kinds.filter((kind) => kind.default).length, 1, family);
    assert.equal(readKind(`${family}:default`).kind, kinds.find((kind) => kind.default)?.kind);
    for (const { kind } of kinds) assert.equal(readKind(kind).family, family);
  }
  const names = document["nodejs"]?.map(({ kind }) => kind) ?? [];
  for (const name of ["nodejs", "nodejs:6", "nodejs:20"]) assert.ok(names.includes(name));
});
