import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { missingTools } from "../tools.ts";
import { Platform } from "./harness.ts";

let platform: Platform;
before(async () => {
  platform = await Platform.start();
});
after(() => platform.stop());

const greeting = {
  "package.json": '{"name":"greeting","version":"1.0.0","type":"module","dependencies":{"words":"file:./words"}}',
  "words/package.json": '{"name":"words","version":"1.0.0","main":"hello.js"}',
  "words/hello.js": "exports.hello = (name) => 'hello ' + name;",
  "index.ts": `import { hello } from "words";
import { readFileSync } from "node:fs";
export default (request: Request): string => {
  const name: string = new URL(request.url).searchParams.get("name") ?? "";
  if (name === "") throw new TypeError("no name");
  return hello(name) + readFileSync(new URL("end.txt", import.meta.url), "utf8");
};`,
  "end.txt": "!",
};

test("a bundled function with dependencies is built, cached, and built anew where the setting changes", async () => {
  const settings = { runtime: "node", public: true };
  const plain = await platform.deploy("greeting", greeting, settings);
  assert.equal(plain.revision.config.bundle, undefined);
  const bundled = await platform.deploy("greeting", greeting, { ...settings, bundle: true });
  assert.equal(bundled.revision.config.bundle, true);
  assert.equal(bundled.revision.build.cached, false);
  assert.notEqual(bundled.revision.artifact, plain.revision.artifact);
  assert.equal((await platform.call("greeting", { path: "/?name=rain" })).text, "hello rain!");

  const again = await platform.deploy("greeting", greeting, { ...settings, bundle: true });
  assert.deepEqual([again.changed, again.revision.number], [false, 2]);
  const other = await platform.deploy("greeting", greeting, { ...settings, bundle: true, labels: { a: "b" } });
  assert.deepEqual([other.revision.build.cached, other.revision.artifact], [true, bundled.revision.artifact]);
  const off = await platform.deploy("greeting", greeting, { ...settings, bundle: false });
  assert.deepEqual([off.revision.build.cached, off.revision.artifact], [true, plain.revision.artifact]);
  assert.equal((await platform.call("greeting", { path: "/?name=rain" })).text, "hello rain!");
});

test("an error of a bundled function is recorded with the place in its source", async () => {
  await platform.deploy("failing", greeting, { runtime: "node", public: true, bundle: true });
  const answer = await platform.call("failing");
  assert.equal(answer.status, 502, answer.text);
  const record = await platform.record(String(answer.headers["x-virga-invocation"]));
  assert.equal(record.error.message, "TypeError: no name");
  assert.match(record.error.stack, /at .*index\.ts:5:26/);
});

test("what cannot be bundled leaves the revision that serves", async () => {
  const broken = { ...greeting, "index.ts": 'import { x } from "./absent.ts";\nexport default () => x;' };
  const refused = await platform.tryDeploy("greeting", broken, { runtime: "node", public: true, bundle: true });
  assert.equal(refused.status, 422, refused.text);
  assert.equal(refused.json().error.location, "index.ts:1:19");
  assert.match(refused.json().error.message, /Could not resolve "\.\/absent\.ts"/);
  assert.equal((await platform.call("greeting", { path: "/?name=rain" })).text, "hello rain!");
});

test("functions of other runtimes, and servers, are refused with the field's name", async () => {
  const refusal = async (files: Record<string, string>, settings: Record<string, unknown>): Promise<string[]> => {
    const answer = await platform.tryDeploy("refused", files, { ...settings, bundle: true });
    const { field, message } = answer.json().error as { field: string; message: string };
    return [String(answer.status), field, message];
  };
  assert.deepEqual(await refusal({ "server.js": "" }, { runtime: "node", handler: "server.js", convention: "http" }), [
    "400",
    "settings.bundle",
    "node functions of the convention http cannot be bundled",
  ]);
  if (missingTools("python") !== false) return;
  assert.deepEqual(await refusal({ "handler.py": "def handler(request, context): ..." }, {}), [
    "400",
    "settings.bundle",
    "python functions cannot be bundled",
  ]);
});
