import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import { Harness, invoke, settings } from "./harness.ts";
import { plainSandbox } from "./plain-sandbox.ts";

const harness = new Harness(plainSandbox());
after(() => harness.close());

const detectIn = (files: Record<string, string>) => harness.runtime.detect(harness.folder(files));

async function failureOf(files: Record<string, string>, handler: string): Promise<VirgaError> {
  try {
    await harness.build(harness.folder(files), { handler });
  } catch (error) {
    assert.ok(error instanceof VirgaError);
    return error;
  }
  throw new Error("it was built");
}

/** Builds a folder and gives what its handler answers. */
async function answerAfterBuild(files: Record<string, string>, handler: string): Promise<string> {
  const directory = harness.folder(files);
  await harness.build(directory, { handler });
  const instance = await harness.blank();
  await instance.specialise({
    namespace: "tests",
    name: "built",
    revision: 1,
    directory,
    fileCount: 1,
    environment: {},
    config: settings({ handler }),
  });
  const { text, error } = await invoke(instance);
  if (error !== undefined) throw error;
  return text;
}

test("the handler is what the manifest names, else a file of a usual name", async () => {
  assert.deepEqual(await detectIn({ "package.json": '{"main":"lib/go"}', "lib/go.js": "" }), {
    confidence: 0.9,
    handler: "lib/go.js",
    convention: "native",
  });
  assert.equal(
    (await detectIn({ "package.json": '{"exports":{".":{"import":"./m.mjs"}}}', "m.mjs": "" }))?.handler,
    "m.mjs",
  );
  assert.deepEqual(await detectIn({ "index.ts": "" }), { confidence: 0.6, handler: "index.ts", convention: "native" });
  assert.equal((await detectIn({ "src/index.js": "", "readme.md": "" }))?.handler, "src/index.js");
  assert.deepEqual(
    await detectIn({ "package.json": '{"scripts":{"start":"node --trace-warnings server.js"}}', "server.js": "" }),
    {
      confidence: 0.9,
      handler: "server.js",
      convention: "http",
    },
  );
  assert.equal(await detectIn({ "main.py": "" }), undefined);
  assert.equal(await detectIn({ "package.json": '{"main":"../../outside.js"}' }), undefined);
});

test("a syntax error stops the build with file, line, column and a frame", async () => {
  const script = await failureOf({ "index.mjs": "export default () => {\n  const = 1;\n};" }, "index.mjs");
  assert.equal(script.code, "build_failed");
  assert.equal(script.detail.location, "index.mjs:2:9");
  assert.match(
    script.message,
    /^index\.mjs:2:9: SyntaxError: .*\n1 \| export default \(\) => \{\n2 \| {3}const = 1;\n {2}\| {9}\^$/,
  );
  const typed = await failureOf(
    { "index.ts": 'import "./b.ts"; export default 1;', "b.ts": "let a: = 1;" },
    "index.ts",
  );
  assert.equal(typed.detail.location?.startsWith("b.ts:1:"), true);
});

test("a manifest that is no JSON stops the build with its place", async () => {
  const error = await failureOf({ "index.js": "", "package.json": '{\n  "a": 1,\n}' }, "index.js");
  assert.equal(error.code, "build_failed");
  assert.match(error.detail.location!, /^package\.json:3/);
});

test("a handler that is not there stops the build", async () => {
  assert.match((await failureOf({ "a.js": "" }, "b.js")).message, /b\.js does not exist/);
});

test("TypeScript is served from what the build made of it, lines kept", async () => {
  const files = {
    "index.ts":
      'import { shout } from "./lib/shout.js";\nimport type { X } from "./types.ts";\nexport default (): string => shout("a" satisfies X);',
    "lib/shout.ts":
      "export function shout(text: string): string {\n  return text.toUpperCase() + new Error().stack!.split('\\n')[1]!.match(/shout.ts:\\d+/)![0];\n}",
    "types.ts": "export type X = string;",
    "types.d.ts": "declare const nothing: unknown;",
  };
  assert.equal(await answerAfterBuild(files, "index.ts"), "Ashout.ts:2");
});

test("enums and parameter properties work in TypeScript, and errors are placed in the source", async () => {
  const files = {
    "index.ts": [
      "enum Colour { Red = 3, Blue }",
      "class Point { constructor(readonly x: number) {} }",
      "export default () => {",
      "  interface Local { a: string }",
      "  if (new Point(Colour.Blue).x !== 4) return 'wrong';",
      "  throw new Error('here' as string);",
      "};",
    ].join("\n"),
  };
  await assert.rejects(answerAfterBuild(files, "index.ts"), (error: VirgaError) => {
    assert.equal(error.message, "here");
    assert.match(error.detail.location!, /index\.ts:6:9$/);
    return true;
  });
});

test("TypeScript that is CommonJS by its code or its manifest is served as such", async () => {
  assert.equal(
    await answerAfterBuild(
      { "index.ts": "const t: string = 'c'; module.exports = () => t + typeof require;" },
      "index.ts",
    ),
    "cfunction",
  );
  assert.equal(
    await answerAfterBuild(
      { "index.ts": "exports.default = (): string => 'd';", "package.json": '{"type":"commonjs"}' },
      "index.ts",
    ),
    "d",
  );
});

test("dependencies are installed in the build, without running their scripts", async () => {
  const files = {
    "package.json": '{"name":"f","version":"1.0.0","type":"module","dependencies":{"near":"file:./near"}}',
    "near/package.json": '{"name":"near","version":"1.2.3","main":"n.js","scripts":{"install":"touch ran"}}',
    "near/n.js": "module.exports = 'near';",
    "index.js": "import near from 'near'; export default () => near;",
  };
  const directory = harness.folder(files);
  const lines = await harness.build(directory, { handler: "index.js" });
  assert.ok(lines.includes("npm install --omit=dev"));
  assert.ok(
    lines.some((line) => /added \d+ package/.test(line)),
    lines.join("\n"),
  );
  assert.equal(readFileSync(join(directory, "node_modules/near/n.js"), "utf8"), files["near/n.js"]);
  assert.equal(existsSync(join(directory, "near/ran")), false);
  assert.deepEqual(readdirSync(join(harness.root, "cache")), ["npm"], "the host's npm settings stayed behind");
});

test("a lock file is obeyed, and one that does not fit stops the build with npm's own words", async () => {
  const error = await failureOf(
    {
      "package.json": '{"name":"f","version":"1.0.0","dependencies":{"near":"file:./near"}}',
      "package-lock.json":
        '{"name":"f","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"f","version":"1.0.0"}}}',
      "near/package.json": '{"name":"near","version":"1.2.3"}',
      "index.js": "",
    },
    "index.js",
  );
  assert.equal(error.code, "build_failed");
  assert.match(error.message, /npm ci/);
  assert.match(error.detail.log!, /in sync/);
});

test("a build that takes too long is ended", async () => {
  const directory = harness.folder({ "index.js": "1" });
  await assert.rejects(
    harness.build(directory, { handler: "index.js" }, 1),
    (error: VirgaError) => error.code === "build_timeout",
  );
});

test("a version that is not there is refused by name", async () => {
  await assert.rejects(harness.blank({}, "node:7"), (error: VirgaError) => {
    assert.equal(error.code, "runtime_unknown");
    assert.match(error.message, /no Node 7 here/);
    return true;
  });
});

test("the fingerprint names what does the building", async () => {
  const fingerprint = await harness.runtime.fingerprint(settings({}));
  assert.ok(fingerprint.includes(process.versions.node));
  assert.equal(await harness.runtime.fingerprint(settings({})), fingerprint);
  assert.notEqual(await harness.runtime.fingerprint(settings({ runtime: "node:22" })), fingerprint);
});

test("code that is too large with its dependencies stops the build", async () => {
  const directory = harness.folder({
    "package.json": '{"name":"f","version":"1.0.0","dependencies":{"near":"file:./near"}}',
    "near/package.json": '{"name":"near","version":"1.2.3"}',
    "near/large": "x".repeat(5000),
    "index.js": "",
  });
  await assert.rejects(harness.build(directory, { handler: "index.js" }, 60_000, 5000), (error: VirgaError) => {
    assert.equal(error.code, "build_failed");
    assert.match(error.message, /larger than 5000 bytes/);
    return true;
  });
});

test("code with dependencies is loaded once at build, and its byte code kept for instances with the same flags", async () => {
  const files = {
    "node_modules/dep/package.json": '{"name":"dep","version":"1.0.0","main":"main.js"}',
    "node_modules/dep/main.js": "module.exports = (a) => a + 1;",
    "index.mjs": `import { getCompileCacheDir } from "node:module";
      import add from "dep";
      export default () => add(1) + " " + (getCompileCacheDir() !== undefined);`,
  };
  const directory = harness.folder(files);
  await harness.build(directory, { handler: "index.mjs" });
  const kept = readdirSync(join(directory, ".virga/byte-code"), { recursive: true });
  assert.ok(kept.length > 2, `${kept.length} files of byte code`);
  assert.equal(await answerAfterBuild(files, "index.mjs"), "2 true");
  const more = { limits: { ...settings({}).limits, memoryMb: 512 } };
  assert.notEqual(await harness.runtime.fingerprint(settings(more)), await harness.runtime.fingerprint(settings({})));
});

test("code that cannot be loaded at build is built without its byte code and index, and says why", async () => {
  const directory = harness.folder({
    "node_modules/dep/main.js": "",
    "index.mjs": `if (process.env.KEY === undefined) throw new Error("no key");\nexport default () => "x";`,
  });
  const log = await harness.build(directory, { handler: "index.mjs" });
  assert.match(log.join("\n"), /byte code and index of modules are not kept: .*no key/);
});
