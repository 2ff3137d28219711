import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { CodeExec } from "../../../src/dialects/openwhisk/entities.ts";
import type { Json } from "../../../src/core/workflow/definition.ts";
import { ActionBench, actionOf, zipOf } from "./action-bench.ts";

const bench = new ActionBench();
after(() => bench.close());

const start = (code: string, exec: Partial<CodeExec> = {}) => bench.start(actionOf("nodejs:20", exec), code);

/** What one call of a single file gives. */
async function result(code: string, value: Json = {}, exec: Partial<CodeExec> = {}): Promise<Json> {
  const ran = await (await start(code, exec)).run(value);
  assert.equal(ran.status, 200, JSON.stringify(ran));
  return ran.value;
}

async function zipped(files: Record<string, string>, exec: Partial<CodeExec> = {}) {
  return bench.start(actionOf("nodejs:20", { binary: true, ...exec }), await zipOf(files));
}

test("a file's main needs no export", async () => {
  const hello = "function main(params) { return { payload: 'Hello, ' + (params.name || 'World') + '!' }; }";
  const started = await start(hello);
  assert.deepEqual(await started.run(), { status: 200, value: { payload: "Hello, World!" }, error: undefined });
  assert.deepEqual((await started.run({ name: "Donald" })).value, { payload: "Hello, Donald!" });
  assert.deepEqual(await result("const main = ({ n }) => ({ n: n + 1 }) // the end", { n: 1 }), { n: 2 });
  const dynamic = "async function main() { return { ok: (await import('node:path')).basename('/a/ok') === 'ok' }; }";
  assert.deepEqual(await result(dynamic), { ok: true });
});

test("a file may export its main, in each of the ways there are", async () => {
  for (const code of [
    "exports.main = () => ({ ok: true });",
    "module.exports = () => ({ ok: true });",
    "module.exports = { main: async () => ({ ok: true }) };",
    "#!/usr/bin/env node\n\uFEFFexports.main = () => ({ ok: true });".replace("\uFEFF", ""),
    "export function main() { return { ok: true }; }",
    "import { basename } from 'node:path';\nconst ok = await Promise.resolve(basename('/x') === 'x');\nexport default () => ({ ok });",
  ]) {
    assert.deepEqual(await result(code), { ok: true }, code);
  }
});

test("the entry has the name that the action gives", async () => {
  const code = "function main() { return { other: true }; }\nfunction niam() { return { ok: true }; }";
  assert.deepEqual(await result(code, {}, { main: "niam" }), { ok: true });
  assert.deepEqual(await result("const a = { b: () => ({ ok: true }) };", {}, { main: "a.b" }), { ok: true });
  assert.deepEqual(await result("exports.niam = () => ({ ok: true })", {}, { main: "niam" }), { ok: true });
});

test("results are objects and lists; undefined is an empty object, and nothing else is a result", async () => {
  assert.deepEqual(await result("const main = () => {};"), {});
  assert.deepEqual(await result("const main = () => [1, 2];"), [1, 2]);
  assert.deepEqual(await result("const main = async (list) => list.reverse();", ["a", "b"]), ["b", "a"]);
  assert.deepEqual(await result("const main = () => ({ error: 'mine' });"), { error: "mine" });
  for (const [code, shown] of [
    ["'text'", '"text"'],
    ["5", "5"],
    ["null", "null"],
    ["() => {}", "function"],
  ]) {
    const ran = await (await start(`const main = () => (${code});`)).run();
    assert.equal(ran.status, 502, code);
    assert.deepEqual(ran.value, {
      error: `The action did not produce a valid JSON or JSON Array response: ${shown}`,
    });
  }
  const cyclic = await (await start("const main = () => { const a = {}; a.a = a; return a; };")).run();
  assert.equal(cyclic.status, 502);
});

test("what is thrown or rejected is the application's error", async () => {
  const thrown = await result("function main() { throw new TypeError('no such gate'); }");
  const { error } = thrown as { error: { name: string; message: string; stack: string } };
  assert.equal(error.name, "TypeError");
  assert.equal(error.message, "no such gate");
  assert.match(error.stack, /action\.js:1:/);
  assert.deepEqual(await result("const main = () => Promise.reject({ code: 7 });"), { error: { code: 7 } });
  assert.deepEqual(await result("const main = () => Promise.reject('words');"), { error: "words" });
  assert.deepEqual(await result("const main = () => Promise.reject();"), { error: {} });
  const own = await result(
    "const main = () => { const e = new Error('x'); e.statusCode = 404; e.self = e; return Promise.reject(e); };",
  );
  assert.equal((own as { error: { statusCode: number } }).error.statusCode, 404);
});

test("code that cannot be loaded is the developer's error, and says where", async () => {
  const cases: [code: string, shown: RegExp][] = [
    ["function main( {", /SyntaxError/],
    ["throw new Error('at the top');", /at the top/],
    ["const other = 1;", /'main' is not a function/],
    ["require('nowhere');", /Cannot find module 'nowhere'/],
  ];
  for (const [code, shown] of cases) {
    const started = await start(code);
    const ran = await started.run();
    assert.equal(ran.status, 502);
    const { error } = ran.value as { error: string };
    assert.match(error, /^Initialization has failed due to: /);
    assert.match(error, shown);
    assert.match(started.lines.join("\n"), shown);
  }
});

test("each call has its variables, and the parameters for the start are among them", async () => {
  const started = await start(`
    const early = process.env.SECRET;
    function main() {
      const { __OW_API_KEY, __OW_API_HOST, __OW_NAMESPACE, __OW_ACTION_NAME, __OW_ACTION_VERSION, __OW_ACTIVATION_ID, __OW_DEADLINE } = process.env;
      return { early, __OW_API_KEY, __OW_API_HOST, __OW_NAMESPACE, __OW_ACTION_NAME, __OW_ACTION_VERSION, __OW_ACTIVATION_ID,
        left: Number(__OW_DEADLINE) > Date.now() };
    }`);
  const about = { apiKey: "uuid:key", apiHost: "http://127.0.0.1:3233", env: { SECRET: "s" } };
  assert.deepEqual((await started.run({}, about)).value, {
    early: "s",
    __OW_API_KEY: "uuid:key",
    __OW_API_HOST: "http://127.0.0.1:3233",
    __OW_NAMESPACE: "guest",
    __OW_ACTION_NAME: "/guest/subject",
    __OW_ACTION_VERSION: "0.0.1",
    __OW_ACTIVATION_ID: "0123456789abcdef0123456789abcdef",
    left: true,
  });
  const next = await started.run({}, { activation: "f".repeat(32) });
  assert.equal((next.value as { __OW_ACTIVATION_ID: string }).__OW_ACTIVATION_ID, "f".repeat(32));
  const key = `uuid:${'a,"\\,'.repeat(7)}`;
  const odd = await started.run({}, { apiKey: key, apiHost: undefined });
  assert.equal((odd.value as { __OW_API_KEY: string }).__OW_API_KEY, key);
});

test("a payload that comes in pieces has its variables, too", async () => {
  const started = await start(
    "const main = ({ text }) => ({ length: text.length, id: process.env.__OW_ACTIVATION_ID });",
  );
  const ran = await started.run({ text: "x".repeat(900_000) }, { activation: "e".repeat(32) });
  assert.deepEqual(ran.value, { length: 900_000, id: "e".repeat(32) });
});

test("what a call leaves to its own turn is done and printed before its answer; a later word is the next call's", async () => {
  const started = await start(`
    let later;
    function main({ first }) {
      if (!first) return { woken: later() ?? true };
      Promise.resolve().then(() => console.log("at once"));
      new Promise((resolve) => (later = resolve)).then(() => console.log("left over"));
      return {};
    }`);
  await started.run({ first: true });
  assert.deepEqual(started.lines, ["stdout: at once"]);
  await started.run();
  assert.deepEqual(started.lines, ["stdout: at once", "stdout: left over"]);
  const owners = started.running.logs.map(({ invocation }) => invocation);
  assert.ok(owners.every((owner) => owner !== undefined));
  assert.notEqual(owners[0], owners[1]);
});

test("an instance whose code is compiled for good early answers as before", async () => {
  const started = await start("const main = ({ n, bad }) => { if (bad) throw new Error('bad ' + n); return { n }; };");
  for (let n = 0; n < 600; n++) {
    const { value } = await started.run(n % 50 === 49 ? { n, bad: true } : { n });
    if (n % 50 !== 49) assert.deepEqual(value, { n });
    else assert.equal((value as { error: { message: string } }).error.message, `bad ${n}`);
  }
});

test("what is printed is the call's log", async () => {
  const started = await start("function main() { console.log('out'); console.error('err'); return {}; }");
  await started.run();
  await started.running.printed(2);
  assert.deepEqual(started.lines, ["stdout: out", "stderr: err"]);
});

test("several calls run in one instance where the action allows it", async () => {
  const action = actionOf("nodejs:20", {}, { limits: { timeout: 20_000, memory: 256, logs: 10, concurrency: 4 } });
  const started = await bench.start(
    action,
    `let open; const both = new Promise((done) => { let count = 0; open = () => { if (++count === 2) done(); }; });
     async function main() { open(); await both; return { ok: true }; }`,
  );
  const [first, second] = await Promise.all([started.run(), started.run()]);
  assert.deepEqual([first.value, second.value], [{ ok: true }, { ok: true }]);
});

test("a zip has its entry in package.json or index.js, and its own modules and files", async () => {
  const brought = {
    "node_modules/gate/package.json": '{"name":"gate","main":"gate.js"}',
    "node_modules/gate/gate.js": "module.exports = () => 'nand';",
    "data.txt": "of the zip",
  };
  const code = "const fs = require('fs'); const gate = require('gate');";
  const main = "exports.main = () => ({ gate: gate(), data: fs.readFileSync('data.txt', 'utf8') });";
  const expected = { gate: "nand", data: "of the zip" };
  const named = await zipped({ ...brought, "package.json": '{"main":"lib/start"}', "lib/start.js": code + main });
  assert.deepEqual((await named.run()).value, expected);
  const usual = await zipped({ ...brought, "index.js": code + main });
  assert.deepEqual((await usual.run()).value, expected);
  const own = await zipped({ ...brought, "index.js": code + main.replace("main", "niam") }, { main: "niam" });
  assert.deepEqual((await own.run()).value, expected);
});

test("a zip may be a module, and its entry a function of a file", async () => {
  const asModule = await zipped({
    "package.json": '{"type":"module","main":"main.js"}',
    "main.js": "import { gate } from './gate.js';\nexport const main = () => ({ gate });",
    "gate.js": "export const gate = 'nor';",
  });
  assert.deepEqual((await asModule.run()).value, { gate: "nor" });
  const files = {
    "index.js": "exports.main = () => ({ no: true });",
    "other.js": "exports.go = () => ({ ok: true });",
  };
  assert.deepEqual((await (await zipped(files, { main: "other.go" })).run()).value, { ok: true });
});

test("a zip without an entry is the developer's error", async () => {
  const ran = await (await zipped({ "readme.md": "nothing" })).run();
  assert.equal(ran.status, 502);
  assert.match((ran.value as { error: string }).error, /must contain either package\.json or index\.js at the root/);
});

test("packages that are laid beside the code are found where it brings none of that name", async () => {
  const beside = {
    ".virga/packages/package.json": '{"private":true,"dependencies":{"gates":"file:./gates"}}',
    ".virga/packages/gates/package.json": '{"name":"gates","version":"1.0.0","main":"gates.js"}',
    ".virga/packages/gates/gates.js": "exports.name = 'beside';",
    "node_modules/own/package.json": '{"name":"own","main":"own.js"}',
    "node_modules/own/own.js": "exports.name = 'own';",
  };
  const script = await zipped({
    ...beside,
    "index.js": "exports.main = () => ({ gates: require('gates').name, own: require('own').name });",
  });
  assert.deepEqual((await script.run()).value, { gates: "beside", own: "own" });
  const asModule = await zipped({
    ...beside,
    "index.mjs":
      "import gates from 'gates'; import own from 'own'; export const main = () => ({ gates: gates.name, own: own.name });",
  });
  assert.deepEqual((await asModule.run()).value, { gates: "beside", own: "own" });
  const without = await (await zipped({ ...beside, "index.js": "require('nowhere');" })).run();
  assert.match((without.value as { error: string }).error, /Cannot find module 'nowhere'/);
});

test("an action that ends its process has no answer", async () => {
  assert.equal((await (await start("const main = () => process.exit(1);")).run()).error, "function_crashed");
});
