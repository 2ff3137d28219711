import assert from "node:assert/strict";
import { after, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import { Harness, invoke } from "./harness.ts";
import { plainSandbox } from "./plain-sandbox.ts";

const harness = new Harness(plainSandbox());
after(() => harness.close());

type Files = Readonly<Record<string, string>>;
type Options = Parameters<Harness["serve"]>[1];

async function answerOf(files: Files, options?: Options): Promise<string> {
  const instance = await harness.serve(files, options);
  const { text, error } = await invoke(instance);
  await instance.stop(0);
  if (error !== undefined) throw error;
  return text;
}

async function refusalOf(files: Files, options?: Options): Promise<VirgaError> {
  try {
    await harness.serve(files, options);
  } catch (error) {
    assert.ok(error instanceof VirgaError);
    return error;
  }
  throw new Error("it was served");
}

const forms: Record<string, [Files, Options?]> = {
  "an ES module's default export": [{ "index.mjs": 'export default () => "hello";' }],
  "a named export": [{ "index.mjs": 'export const greet = () => "hello";' }, { handler: "index.mjs#greet" }],
  "an export called handler": [{ "index.mjs": 'export function handler() { return "hello"; }' }],
  "CommonJS whose module.exports is a function": [{ "index.cjs": 'module.exports = () => "hello";' }],
  "CommonJS with exports.handler": [{ "index.js": 'exports.handler = () => "hello";' }],
  "a named export of CommonJS": [{ "a.cjs": 'module.exports = { greet: () => "hello" };' }, { handler: "a.cjs#greet" }],
  "an object with fetch, as Workers have": [
    { "index.mjs": 'export default { greeting: "hello", fetch() { return new Response(this.greeting); } };' },
  ],
  "an ES module in a .js file without a manifest": [{ "index.js": 'export default () => "hello";' }],
  "an ES module by its manifest": [
    { "index.js": 'export default () => import.meta.dirname && "hello";', "package.json": '{"type":"module"}' },
  ],
  "modules that import each other": [
    { "src/a.mjs": 'import { b } from "./b.cjs"; export default () => b;', "src/b.cjs": 'exports.b = "hello";' },
  ],
  "top-level await": [{ "index.mjs": 'const text = await Promise.resolve("hello"); export default () => text;' }],
  TypeScript: [{ "index.ts": 'const text: string = "hello"; export default (): string => text;' }],
  "TypeScript in CommonJS": [{ "index.cts": 'const text: string = "hello"; module.exports = () => text;' }],
};

for (const [what, [files, options]] of Object.entries(forms)) {
  test(`${what} is loaded`, async () => assert.equal(await answerOf(files, options), "hello"));
}

test("a handler file that is not there is named", async () => {
  const error = await refusalOf({ "index.mjs": "" }, { handler: "other.mjs" });
  assert.equal(error.code, "start_failed");
  assert.match(error.message, /other\.mjs does not exist/);
});

test("a module without a handler is told with what it exports", async () => {
  const error = await refusalOf({ "index.mjs": "export const a = 1, b = 2;" });
  assert.match(error.message, /no function as its default export \(it exports a, b\)/);
  const named = await refusalOf({ "index.mjs": "export const a = 1;" }, { handler: "index.mjs#missing" });
  assert.match(named.message, /exported as missing \(it exports a\)/);
});

test("code that throws while it loads is refused with its place and stack", async () => {
  const error = await refusalOf({
    "index.mjs": 'import "./deep.mjs"; export default 1;',
    "deep.mjs": "\n  nowhere();",
  });
  assert.equal(error.code, "start_failed");
  assert.equal(error.message, "ReferenceError: nowhere is not defined");
  assert.equal(error.detail.location, "deep.mjs:2:3");
});

test("a syntax error is refused as one", async () => {
  const error = await refusalOf({ "index.mjs": "export default () => {\n  const = 1;\n};" });
  assert.equal(error.code, "start_failed");
  assert.match(error.message, /^SyntaxError: /);
});

test("an import of nothing is refused by its name", async () => {
  const error = await refusalOf({ "index.mjs": 'import "left-out"; export default () => 1;' });
  assert.match(error.message, /Cannot find package 'left-out' imported from index\.mjs/);
});

test("code that exits while it loads is refused", async () => {
  const error = await refusalOf({ "index.mjs": "process.exit(4);" });
  assert.equal(error.code, "start_failed");
  assert.match(error.message, /process\.exit\(4\)/);
  const killed = await refusalOf({ "index.mjs": 'process.kill(process.pid, "SIGKILL"); await new Promise(() => {});' });
  assert.equal(killed.code, "start_failed");
  assert.match(killed.message, /SIGKILL/);
});

test("code that never finishes loading is ended at the start's time limit", async () => {
  const error = await refusalOf(
    { "index.mjs": "for (;;);" },
    { config: { limits: { ...(await import("../../../src/core/defaults.ts")).defaultLimits, startTimeoutMs: 200 } } },
  );
  assert.equal(error.code, "timeout");
  assert.equal(error.detail.field, "limits.startTimeoutMs");
});

test("what is printed while loading is logged outside of any call", async () => {
  harness.logs.length = 0;
  await answerOf({ "index.mjs": 'console.log("loading"); export default () => "x";' });
  assert.deepEqual(
    harness.logs.map(({ invocation, text }) => [invocation, text]),
    [[undefined, "loading"]],
  );
});

test("an HTTP server in JavaScript serves under the http convention", async () => {
  const instance = await harness.serve(
    {
      "server.mjs": `import { createServer } from "node:http";
        createServer((request, response) => response.end(request.url + process.env.OWN)).listen(process.env.PORT);`,
    },
    { config: { convention: "http" }, environment: { OWN: "!" } },
  );
  assert.equal((await invoke(instance, { target: "/path" })).text, "/path!");
  assert.ok(instance.upgradeAddress()!.port > 0);
});
