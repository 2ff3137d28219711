import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSettings } from "../../../src/engine/settings.ts";
import { archiveOf, failingProjection, projectionOf } from "../../../src/dialects/openwhisk/projection.ts";
import { actionOf, zipOf } from "./action-bench.ts";

const packages = ".virga/packages/package.json";

async function layerOf(kind: string, code: string | Record<string, string>) {
  const binary = typeof code !== "string";
  const bytes = binary ? await zipOf(code) : Buffer.from(code);
  const { layer } = await projectionOf(actionOf(kind, { binary }), bytes);
  return Object.fromEntries(
    Object.entries(layer).map(([path, { content }]) => [path, Buffer.from(content).toString()]),
  );
}

async function nodePackages(code: string | Record<string, string>): Promise<string[]> {
  const text = (await layerOf("nodejs:20", code))[packages];
  return text === undefined ? [] : Object.keys((JSON.parse(text) as { dependencies: object }).dependencies);
}

test("limits, names and words of an action become a function's settings", async () => {
  const action = actionOf(
    "nodejs:20",
    {},
    {
      namespace: "guest/tools",
      limits: { timeout: 3000, memory: 128, logs: 0, concurrency: 5 },
      annotations: [{ key: "description", value: "What it does" }],
    },
  );
  const { settings, source } = await projectionOf(action, Buffer.from("code"));
  assert.deepEqual(checkSettings(settings), settings);
  assert.deepEqual(settings.limits, {
    timeoutMs: 3000,
    memoryMb: 128,
    concurrency: 5,
    logBytes: 0,
    requestBytes: 8 * 2 ** 20,
    responseBytes: 8 * 2 ** 20,
  });
  assert.equal(settings.dialect, "openwhisk");
  assert.equal(settings.public, false);
  assert.equal(settings.async?.retry, "interruptions");
  assert.equal(settings.description, "What it does");
  assert.deepEqual(settings.labels, { "openwhisk.action": "guest/tools/subject" });
  assert.deepEqual(source, { files: { "action.js": { content: Buffer.from("code") } } });
});

test("a zip is the source as it is", async () => {
  const zip = await zipOf({ "index.js": "" });
  const { source } = await projectionOf(actionOf("nodejs:20", { binary: true }), zip);
  assert.deepEqual(source, { archive: zip });
});

test("the same action is the same archive", async () => {
  const once = await projectionOf(actionOf("python:3"), Buffer.from("def main(args): return {}"));
  const again = await projectionOf(actionOf("python:3"), Buffer.from("def main(args): return {}"));
  assert.deepEqual(await archiveOf(once.layer), await archiveOf(again.layer));
});

test("what the code names of OpenWhisk's own packages is laid beside it", async () => {
  assert.deepEqual(await nodePackages("const main = () => {}; // about openwhisk"), []);
  assert.deepEqual(await nodePackages("const ow = require('openwhisk')();"), ["openwhisk"]);
  assert.deepEqual(await nodePackages('import openwhisk from "openwhisk";\nconst { v4 } = await import("uuid");'), [
    "openwhisk",
    "uuid",
  ]);
  assert.deepEqual(await nodePackages({ "lib/a.js": "require ( 'lodash/fp' )", "index.js": "" }), ["lodash"]);
});

test("but not what a zip brings itself, installed or by its manifest", async () => {
  const index = "require('openwhisk'); require('request');";
  assert.deepEqual(await nodePackages({ "index.js": index, "node_modules/request/index.js": "" }), ["openwhisk"]);
  assert.deepEqual(await nodePackages({ "index.js": index, "package.json": '{"dependencies":{"openwhisk":"3"}}' }), [
    "request",
  ]);
  const listed = { "index.js": index, "package.json": '{"dependencies":{"openwhisk":"3"}}' };
  assert.deepEqual(await nodePackages({ ...listed, "node_modules/other/index.js": "" }), ["openwhisk", "request"]);
  assert.deepEqual(await nodePackages({ "index.js": "", "node_modules/a/index.js": "require('lodash')" }), []);
});

test("python's are requirements", async () => {
  const requirements = async (code: string | Record<string, string>) =>
    (await layerOf("python:3", code))["requirements.txt"];
  assert.equal(await requirements("import json, sys\n"), undefined);
  assert.equal(
    await requirements("import json, requests\nfrom bs4 import BeautifulSoup\n"),
    "beautifulsoup4\nrequests\n",
  );
  assert.equal(await requirements("def main(args):\n    import requests.auth\n"), "requests\n");
  const main = { "__main__.py": "import requests, lxml\n" };
  assert.equal(await requirements({ ...main, "requirements.txt": "requests==2.0\n" }), "requests==2.0\nlxml\n");
  const environment = "virtualenv/lib/python3.7/site-packages";
  assert.equal(
    await requirements({ ...main, [`${environment}/requests/__init__.py`]: "", "lxml/__init__.py": "" }),
    undefined,
  );
});

test("a kind that nothing here can run is refused by name", async () => {
  await assert.rejects(projectionOf(actionOf("swift:5.7"), Buffer.from("")), /no Swift toolchain/);
});

test("code that cannot be built has something in its place", async () => {
  const action = actionOf("python:3");
  const { source, settings } = failingProjection(action, "requirements.txt:1: no such package");
  assert.equal(settings.runtime, "node");
  assert.ok("files" in source);
  assert.match(String(source.files[".openwhisk.json"]?.content), /no such package/);
});

test("a damaged zip is the unpacking's to refuse", async () => {
  const zip = Buffer.from(await zipOf({ "index.js": "require('openwhisk')" })).subarray(0, 30);
  const { layer } = await projectionOf(actionOf("nodejs:20", { binary: true }), zip);
  assert.equal(layer[packages], undefined);
});
