import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import type { FunctionConfig } from "../../../src/core/model.ts";
import { openSandbox } from "../../drivers/sandbox/open.ts";
import { missingTools } from "../../tools.ts";
import { Harness, invoke, settings } from "./harness.ts";
import { plainSandbox } from "./plain-sandbox.ts";

const skip = missingTools("bwrap");
const opened = skip === false ? await openSandbox("bubblewrap") : undefined;
const harness = new Harness(opened?.sandbox ?? plainSandbox());

after(async () => {
  await harness.close();
  if (opened !== undefined) rmSync(opened.stateDirectory, { recursive: true });
});

type Files = Readonly<Record<string, string>>;

interface Built {
  readonly directory: string;
  readonly log: readonly string[];
  readonly config: Partial<FunctionConfig>;
}

async function build(files: Files, handler: string, bundle = true): Promise<Built> {
  const directory = harness.folder(files);
  const config = { handler, ...(bundle && { bundle }) };
  return { directory, config, log: await harness.build(directory, config) };
}

/** What the function answers in an instance of its own; rejects with the error of its call. */
async function answer({ directory, config }: Built): Promise<unknown> {
  const instance = await harness.blank();
  await instance.specialise({
    namespace: "tests",
    name: "bundled",
    revision: 1,
    directory,
    fileCount: 1,
    environment: {},
    config: settings(config),
  });
  const { text, error } = await invoke(instance);
  await instance.stop(0);
  if (error !== undefined) throw error;
  return JSON.parse(text);
}

async function failureOf(files: Files, handler: string): Promise<VirgaError> {
  return build(files, handler).then(
    () => assert.fail("it was built"),
    (error: unknown) => {
      assert.ok(error instanceof VirgaError, String(error));
      return error;
    },
  );
}

async function thrownBy(built: Built): Promise<VirgaError> {
  return answer(built).then(
    () => assert.fail("it answered"),
    (error: unknown) => error as VirgaError,
  );
}

/** Says where it is, and what belongs to it. */
const place = {
  "node_modules/place/package.json": '{"name":"place","main":"lib"}',
  "node_modules/place/lib/index.js": `"use strict"
    const { readFileSync } = require("fs");
    exports.here = [__filename, __dirname, require.resolve("./more"), readFileSync(__dirname + "/data.txt", "utf8")];
    exports.plugin = (name) => require(name);
    exports.part = (name) => [require("./parts/" + name), require(\`./parts/\${name}.js\`)];
    exports.resolve = require.resolve;
    exports.more = require("./more");
    exports.late = (name) => import(name);`,
  "node_modules/place/lib/more.js": "module.exports = 'more';",
  "node_modules/place/lib/parts/one.js": "module.exports = __filename;",
  "node_modules/place/lib/parts/README.md": "# Parts",
  "node_modules/place/lib/late.mjs": "export default import.meta.url;",
  "node_modules/place/lib/data.txt": "beside",
  "node_modules/place/node_modules/plugin/index.js": "module.exports = 'own plugin';",
  "node_modules/plugin/index.js": "module.exports = 'another plugin';",
};

const module = {
  ...place,
  "node_modules/compiled/index.js": `Object.defineProperty(exports, "__esModule", { value: true }); exports.default = "d";`,
  "node_modules/esm/package.json":
    '{"name":"esm","exports":{"import":"./esm.js","require":"./main.cjs"},"type":"module"}',
  "node_modules/esm/esm.js": `import { createRequire } from "node:module";
    const require = createRequire(import.meta.url);
    export class Same {}
    export const where = [import.meta.filename, import.meta.dirname, require.resolve("./main.cjs"), require("./main.cjs").where];`,
  "node_modules/esm/main.cjs": "exports.where = 'cjs';",
};

const moduleCode = `
  import place, { more } from "place";
  import compiled from "compiled";
  import { Same, where } from "esm";
  import { Same as Other } from "./lib/other.ts";
  const waited = await Promise.resolve("top-level await");
  export const named = () => Response.json("named");
  export default async (request, context) => Response.json({
    here: place.here, plugin: [place.plugin("plugin"), place.resolve("plugin")], part: place.part("one"), more, compiled, where, waited,
    late: (await place.late("./late.mjs")).default, url: import.meta.url, resolved: import.meta.resolve("esm"),
    one: Same === Other, name: [Same.name, Other.name],
  });`;
const moduleFiles = { ...module, "lib/other.ts": 'export { Same } from "esm";' };

test("a bundled ES module answers as it does unbundled, and with none of its modules", { skip }, async () => {
  const files = { ...moduleFiles, "index.mjs": moduleCode };
  const unbundled = await answer(await build(files, "index.mjs", false));
  const bundled = await build(files, "index.mjs");
  assert.deepEqual(await answer(bundled), unbundled);
  for (const gone of ["esm/esm.js", "compiled", "place/lib/index.js"])
    rmSync(join(bundled.directory, "node_modules", gone), { recursive: true });
  assert.deepEqual(await answer({ ...bundled, config: { ...bundled.config, handler: "index.mjs#named" } }), "named");
});

test("so do TypeScript, with its byte code kept", { skip }, async () => {
  const types = "\nenum Side { Left = 3 }\nexport const left: number = Side.Left;";
  const files = { ...moduleFiles, "index.ts": moduleCode.replace("request, context", "request: Request") + types };
  const unbundled = await answer(await build(files, "index.ts", false));
  const bundled = await build(files, "index.ts");
  assert.deepEqual(await answer(bundled), unbundled);
  assert.deepEqual(bundled.log, []);
  assert.ok(existsSync(join(bundled.directory, ".virga/byte-code")));
});

test("TypeScript of the function's own that is imported by a computed name is found as ever", { skip }, async () => {
  const files = {
    "index.ts": `const load = (name: string) => import("./steps/" + name);
      export default async () => Response.json([(await load("a.ts")).default, (await load("a.js")).default]);`,
    "steps/a.ts": "export default import.meta.url as string;",
  };
  assert.deepEqual(await answer(await build(files, "index.ts")), Array(2).fill("file:///code/steps/a.ts"));
});

test("and CommonJS, which stays sloppy where it is", { skip }, async () => {
  const files = {
    ...moduleFiles,
    "index.js": `
      const place = require("place");
      function sloppy() { return this === globalThis; }
      exports.named = () => Response.json("named");
      exports.default = async () => Response.json([place.here, place.plugin("plugin"), place.part("one"), place.more, sloppy(), __filename, module.id, module.paths,
        require("esm").where, (await import("esm")).where, require.main === module]);`,
  };
  const unbundled = await answer(await build(files, "index.js", false));
  const bundled = await build(files, "index.js");
  assert.deepEqual(await answer(bundled), unbundled);
  assert.equal(await answer({ ...bundled, config: { ...bundled.config, handler: "index.js#named" } }), "named");
});

test("an error names the function's own file and line, whoever threw it", { skip }, async () => {
  const files = {
    "node_modules/thrower/index.js": "exports.fail = () => {\n  null.x;\n};",
    "index.ts": `import { fail } from "thrower";\nimport { deep } from "./lib/deep.ts";\n
      interface Padding { a: string }
      export const own = (): never => { throw new Error("own"); };
      export const theirs = () => fail();
      export const logged = (): string => { console.error(new Error("logged")); return JSON.stringify("ok"); };
      export default (): void => deep();`,
    "lib/deep.ts": `type A = string;\n\nexport function deep(): void {\n  throw new RangeError("deep" satisfies A);\n}`,
  };
  const built = await build(files, "index.ts");
  const by = (name: string): Built => ({ ...built, config: { ...built.config, handler: `index.ts#${name}` } });
  const deep = await thrownBy(built);
  assert.equal(deep.detail.location, "lib/deep.ts:4:9");
  assert.match(deep.detail.stack!, /^RangeError: deep\n +at deep \(lib\/deep\.ts:4:9\)\n +at .*index\.ts:8:34/);
  assert.equal((await thrownBy(by("own"))).detail.location, "index.ts:5:47");
  const theirs = await thrownBy(by("theirs"));
  assert.match(theirs.detail.stack!, /at .*node_modules\/thrower\/index\.js:2:8\)\n +at .*index\.ts:6:/);
  assert.match(theirs.detail.location!, /^index\.ts:6:/);
  await answer(by("logged"));
  assert.match(harness.logs.map(({ text }) => text).join("\n"), /Error: logged\n? +at .*index\.ts:7:59/);
});

test("a package with native code is left outside, with what it loads by the place of its files", { skip }, async () => {
  const files = {
    "index.mjs": `import addon from "@scope/addon"; import { user } from "user"; export default () => Response.json([addon, user]);`,
    "node_modules/@scope/addon/package.json": '{"name":"@scope/addon","main":"lib/main.js"}',
    "node_modules/@scope/addon/binding.gyp": "{}",
    "node_modules/@scope/addon/lib/main.js": `const fails = (f) => { try { return f(); } catch (error) { return error.code; } };
      module.exports = [new Error().stack.match(/at .*?(\\/code[^:]*)/)[1], fails(() => require("../build/Release/addon"))];`,
    "node_modules/user/index.js": "exports.user = require('@scope/addon')[0];",
  };
  const built = await build(files, "index.mjs");
  assert.match(built.log.join("\n"), /@scope\/addon has native code and is left outside/);
  const file = "/code/node_modules/@scope/addon/lib/main.js";
  assert.deepEqual(await answer(built), [[file, "MODULE_NOT_FOUND"], file]);
});

test("a CommonJS module is there once, whether the bundle loads it first or Node", { skip }, async () => {
  const files = {
    "index.mjs": `import addon from "addon"; import clock from "clock"; import early from "early"; import late from "late";
      export default () => Response.json([clock.locale("de"), addon.early === early, addon.late() === late, late.count]);`,
    "node_modules/addon/binding.gyp": "{}",
    "node_modules/addon/index.js": "exports.early = require('early'); exports.late = () => require('late');",
    "node_modules/early/index.js": "module.exports = { is: __filename };",
    "node_modules/late/index.js": `module.exports = { count: globalThis.count = (globalThis.count ?? 0) + 1 };`,
    "node_modules/clock/index.js": `const load = require; exports.names = [];
      exports.locale = (name) => { load("./locale/" + name); return exports.names; };`,
    "node_modules/clock/locale/de.js": "require('../index').names.push('de', module.parent === undefined);",
  };
  const built = await build(files, "index.mjs");
  assert.deepEqual(await answer(built), await answer(await build(files, "index.mjs", false)));
});

test("what a dependency names and nobody installed fails when it is asked for, as ever", { skip }, async () => {
  const files = {
    "index.mjs": `import { driver, optional } from "query";
      const code = (f) => { try { return f(); } catch (error) { return error.code; } };
      export default () => Response.json([code(() => driver()), optional]);`,
    "node_modules/query/index.js": `exports.driver = () => require("absent-driver");
      try { require("absent-extra"); } catch { exports.optional = "none"; }`,
  };
  assert.deepEqual(await answer(await build(files, "index.mjs")), ["MODULE_NOT_FOUND", "none"]);
});

test("a module that the function's own code names in vain stops the build with file, line and a frame", async () => {
  const error = await failureOf(
    { "index.ts": `const a: number = 1;\nimport b from "absent";\nexport default () => b;` },
    "index.ts",
  );
  assert.equal(error.code, "build_failed");
  assert.equal(error.detail.location, "index.ts:2:15");
  assert.match(
    error.message,
    /^index\.ts:2:15: Could not resolve "absent"\n1 \| const a: number = 1;\n2 \| import b from "absent";\n {2}\| {15}\^$/,
  );
});

test("a package that cannot be bundled is named, with the way out", async () => {
  const error = await failureOf(
    {
      "index.mjs": `import "page"; export default () => 1;`,
      "node_modules/page/index.js": `require("./page.html");`,
      "node_modules/page/page.html": "<p>",
    },
    "index.mjs",
  );
  assert.match(error.message, /^node_modules\/page\/index\.js:1:9: page cannot be bundled: No loader/);
  assert.match(error.detail.fix!, /bundle: false/);
});

test("a bundle that came with the code, or that is no longer wanted, is not used", { skip }, async () => {
  const files = { ...place, "index.mjs": 'import place from "place"; export default () => Response.json(place.more);' };
  const { directory } = await build(files, "index.mjs");
  const config = { handler: "index.mjs" };
  await harness.build(directory, config);
  assert.ok(!existsSync(join(directory, ".virga/bundle")));
  assert.equal(await answer({ directory, config, log: [] }), "more");
});

test("the fingerprint of a bundled function names the bundler", async () => {
  const version = (JSON.parse(readFileSync("node_modules/esbuild-wasm/package.json", "utf8")) as { version: string })
    .version;
  assert.ok((await harness.runtime.fingerprint(settings({ bundle: true }))).includes(`esbuild ${version}`));
  assert.ok(!(await harness.runtime.fingerprint(settings({}))).includes("esbuild"));
});
