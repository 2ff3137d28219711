import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import type { FunctionConfig } from "../../../src/core/model.ts";
import { openSandbox } from "../../drivers/sandbox/open.ts";
import { cannotMount, SmallDisk } from "../../drivers/small-disk.ts";
import { missingTools } from "../../tools.ts";
import { Harness, invoke, settings } from "./harness.ts";
import { plainSandbox } from "./plain-sandbox.ts";

const skip = missingTools("bwrap");
const plain = new Harness(plainSandbox());
const opened = skip === false ? await openSandbox("bubblewrap") : undefined;
const harness = new Harness(opened?.sandbox ?? plainSandbox());

after(async () => {
  await plain.close();
  await harness.close();
  if (opened !== undefined) rmSync(opened.stateDirectory, { recursive: true });
});

const index = (directory: string): string => join(directory, ".virga/modules");

/** What the function answers in an instance of its own, or the error of its call. */
async function answer(directory: string, config: Partial<FunctionConfig>, by = harness): Promise<unknown> {
  const instance = await by.blank();
  await instance.specialise({
    namespace: "tests",
    name: "indexed",
    revision: 1,
    directory,
    fileCount: 1,
    environment: config.environment ?? {},
    config: settings(config),
  });
  const { text, error } = await invoke(instance);
  await instance.stop(0);
  if (error !== undefined) throw error;
  return JSON.parse(text);
}

/** With one package that says where it is. */
const small = {
  "index.mjs": 'import where from "dep"; export default () => Response.json(where);',
  "node_modules/dep/package.json": '{"name":"dep","main":"lib"}',
  "node_modules/dep/lib/index.js": "module.exports = [__filename, require('./more')];",
  "node_modules/dep/lib/more.js": "module.exports = 'more';",
};

const main = `
  import { createRequire } from "node:module";
  import dual from "dual";
  import { part } from "self";
  import linked from "linked";
  import data from "data/data.json" with { type: "json" };
  import round, { even } from "round";
  import cjs, { named } from "cjs";
  import text from "utf8";
  const require = createRequire(import.meta.url);
  const fails = (action) => { try { action(); return "no error"; } catch (error) { return error.code; } };
  const failing = async (action) => { try { await action(); return "no error"; } catch (error) { return error.code; } };
  const late = await import("./late.mjs");
  const atLoad = {
    dual: [dual, require("dual"), import.meta.resolve("dual")],
    self: part, linked, data, even: [even(10), round], cjs, named, text, late: late.default,
    place: [import.meta.url, import.meta.dirname],
    missing: [fails(() => require("constructor")), fails(() => require("missing")), await failing(() => import("toString"))],
    closed: [fails(() => require("dual/secret.cjs")), await failing(() => import("dual/secret.cjs"))],
    attributes: await failing(() => import("data/data.json")),
    same: require("cjs") === cjs,
  };
  export default async () => {
    const thrown = fails(() => { throw Object.assign(new Error(), { code: cjs.stack() }); });
    return Response.json({ ...atLoad, thrown, other: cjs.plugin("two"), lateDual: (await import("dual")).default === dual,
      unknown: (await import("./unknown.mjs")).default });
  };
`;

const packages = {
  "late.mjs": 'export default "late";',
  "unknown.mjs": 'import dual from "dual"; export default ["unknown", dual];',
  "node_modules/dual/package.json": JSON.stringify({
    name: "dual",
    exports: { ".": { import: "./esm.js", require: "./main.cjs" }, "./package.json": "./package.json" },
    type: "module",
  }),
  "node_modules/dual/esm.js": 'import hidden from "#hidden"; export default ["esm", import.meta.filename, hidden];',
  "node_modules/dual/main.cjs": 'module.exports = ["cjs", __filename, module.id];',
  "node_modules/dual/secret.cjs": "",
  "node_modules/self/package.json": JSON.stringify({
    name: "self",
    exports: { ".": "./index.mjs", "./part": { import: "./part.mjs", default: "./part.cjs" } },
  }),
  "node_modules/self/index.mjs": `import part from "self/part"; import { createRequire } from "node:module";
    const both = [part, createRequire(import.meta.url)("self/part")]; export { both as part };`,
  "node_modules/self/part.mjs": 'export default "esm part";',
  "node_modules/self/part.cjs": 'module.exports = "cjs part";',
  "node_modules/data/data.json": '{"a":[1,"ü"]}',
  "node_modules/round/package.json": '{"name":"round","type":"module","exports":"./a.js"}',
  "node_modules/round/a.js":
    'import { odd } from "./b.js"; export const even = (n) => n === 0 || odd(n - 1); export default import.meta.url;',
  "node_modules/round/b.js": 'import { even } from "./a.js"; export const odd = (n) => n !== 0 && even(n - 1);',
  "node_modules/utf8/index.js": 'module.exports = "grüß 𝒳";',
  "node_modules/cjs/package.json": '{"name":"cjs","imports":{"#inner":"./lib/inner.js"}}',
  "node_modules/cjs/index.js": `
    exports.named = "named";
    exports.circle = require("./lib/a").done;
    exports.inner = require("#inner");
    exports.json = require("data/data.json");
    exports.one = require("./lib/plugins/" + ["one"]);
    exports.plugin = (name) => require("./lib/plugins/" + name);
    exports.resolved = [require.resolve("dual"), require.resolve("twice"), require("twice"),
      require.resolve("twice", { paths: [__dirname + "/lib"] }), require.resolve("./lib/a", { paths: [__dirname] })];
    module.paths.unshift(__dirname + "/lib/node_modules");
    exports.moved = [require.resolve("twice"), module.children.length];
    exports.stack = () => new Error().stack.split("\\n")[1];
  `,
  "node_modules/cjs/lib/inner.js": "module.exports = [__filename, __dirname, module.paths];",
  "node_modules/cjs/lib/a.js": 'exports.done = false; exports.b = require("./b.js").done; exports.done = true;',
  "node_modules/cjs/lib/b.js": 'const a = require("./a"); exports.done = !a.done;',
  "node_modules/cjs/lib/plugins/one.js": 'module.exports = "plugin one";',
  "node_modules/cjs/lib/plugins/two.js": 'module.exports = require("../inner").length;',
  "node_modules/cjs/lib/node_modules/twice/index.js": 'module.exports = "deep twice";',
  "node_modules/twice/index.js": 'module.exports = "twice";',
  "node_modules/.store/linked@1/node_modules/linked/index.js": 'module.exports = [__filename, require("beside")];',
  "node_modules/.store/linked@1/node_modules/beside/package.json": '{"main":"./dist/beside.js"}',
  "node_modules/.store/linked@1/node_modules/beside/dist/beside.js": "module.exports = __filename;",
};

function folderOf(files: Readonly<Record<string, string>>, by = harness): string {
  const directory = by.folder({ ...packages, ...files });
  // "#hidden" is the package's own.
  const manifest = join(directory, "node_modules/dual/package.json");
  const dual = JSON.parse(readFileSync(manifest, "utf8")) as object;
  writeFileSync(manifest, JSON.stringify({ ...dual, imports: { "#hidden": "./hidden.js" } }));
  writeFileSync(join(directory, "node_modules/dual/hidden.js"), "export default 'hidden';");
  symlinkSync(".store/linked@1/node_modules/linked", join(directory, "node_modules/linked"));
  return directory;
}

test("packages of all kinds are the same with the index and without", { skip }, async () => {
  const directory = folderOf({ "index.mjs": main });
  const config = { handler: "index.mjs" };
  assert.deepEqual(await harness.build(directory, config), []);
  const indexed = (await answer(directory, config)) as Record<string, unknown>;
  rmSync(index(directory));
  assert.deepEqual(indexed, await answer(directory, config));
  const { dual, cjs, thrown, missing, closed, attributes, linked } = indexed as Record<string, string[]>;
  assert.deepEqual(dual![0], ["esm", "/code/node_modules/dual/esm.js", "hidden"]);
  assert.deepEqual(dual![1], ["cjs", "/code/node_modules/dual/main.cjs", "/code/node_modules/dual/main.cjs"]);
  assert.deepEqual(linked, [
    "/code/node_modules/.store/linked@1/node_modules/linked/index.js",
    "/code/node_modules/.store/linked@1/node_modules/beside/dist/beside.js",
  ]);
  assert.match(String(thrown), /exports\.stack .*\/code\/node_modules\/cjs\/index\.js:12:/);
  assert.deepEqual(missing, ["MODULE_NOT_FOUND", "MODULE_NOT_FOUND", "ERR_MODULE_NOT_FOUND"]);
  assert.deepEqual(closed, ["ERR_PACKAGE_PATH_NOT_EXPORTED", "ERR_PACKAGE_PATH_NOT_EXPORTED"]);
  assert.equal(attributes, "ERR_IMPORT_ATTRIBUTE_MISSING");
  const resolved = (cjs as unknown as { resolved: string[]; moved: unknown[] }).resolved;
  assert.equal(resolved[1], "/code/node_modules/twice/index.js");
  assert.equal(resolved[3], "/code/node_modules/cjs/lib/node_modules/twice/index.js");
  assert.equal((cjs as unknown as { moved: unknown[] }).moved[0], resolved[3]);
});

test("an instance loads from the index: files that it does not import itself may be gone", { skip }, async () => {
  const directory = harness.folder(small);
  await harness.build(directory, { handler: "index.mjs" });
  for (const gone of ["package.json", "lib/more.js"]) rmSync(join(directory, "node_modules/dep", gone));
  const expected = ["/code/node_modules/dep/lib/index.js", "more"];
  assert.deepEqual(await answer(directory, { handler: "index.mjs" }), expected);
});

test("TypeScript and its packages come from the index, too", { skip }, async () => {
  const files = {
    ...small,
    "index.ts": `import where from "dep"; import { half } from "./half.js";
      export default (): Response => Response.json([where[1], half(4 as number)]);`,
    "half.ts": "enum By { Two = 2 } export const half = (n: number): number => n / By.Two;",
  };
  const directory = harness.folder(files);
  await harness.build(directory, { handler: "index.ts" });
  for (const gone of ["node_modules/dep/lib/more.js", "half.ts", ".virga/node/half.ts.js"])
    rmSync(join(directory, gone), { recursive: true });
  assert.deepEqual(await answer(directory, { handler: "index.ts" }), ["more", 2]);
});

test("the index holds in another folder than that of the build", async () => {
  const directory = folderOf({ "index.mjs": main }, plain);
  const config = { handler: "index.mjs" };
  await plain.build(directory, config);
  const moved = join(plain.root, "deep/er/elsewhere");
  mkdirSync(dirname(moved), { recursive: true });
  renameSync(directory, moved);
  const indexed = (await answer(moved, config, plain)) as Record<string, unknown>;
  assert.match(JSON.stringify(indexed["linked"]), /deep\/er\/elsewhere\/node_modules\/\.store/);
  const bytes = readFileSync(index(moved));
  rmSync(index(moved));
  assert.deepEqual(indexed, await answer(moved, config, plain));
  writeFileSync(index(moved), bytes);
  for (const gone of ["round", "self", "cjs/lib/b.js"]) {
    rmSync(join(moved, "node_modules", gone), { recursive: true });
  }
  assert.deepEqual(indexed, await answer(moved, config, plain));
});

for (const [what, damage] of [
  ["cut off", (bytes: Buffer) => bytes.subarray(0, bytes.length - 5)],
  ["empty", () => Buffer.alloc(0)],
  ["garbage", () => Buffer.from("not an index at all")],
  ["of another Node", (bytes: Buffer) => Buffer.from(bytes.toString("latin1").replace(/"v\d/, '"v0'), "latin1")],
] as const) {
  test(`an index that is ${what} is not used, and the log says so`, async () => {
    const directory = plain.folder(small);
    await plain.build(directory, { handler: "index.mjs" });
    writeFileSync(index(directory), damage(readFileSync(index(directory))));
    plain.logs.length = 0;
    const expected = [join(directory, "node_modules/dep/lib/index.js"), "more"];
    assert.deepEqual(await answer(directory, { handler: "index.mjs" }, plain), expected);
    assert.match(
      plain.logs.map((line) => line.text).join("\n"),
      /index of modules \(\.virga\/modules\) is not used: it /,
    );
  });
}

for (const [what, freeBytes] of [
  ["full", 0],
  ["full but for the byte code", 200_000],
] as const) {
  test(
    `on a disk that is ${what} a build goes on without the index, and leaves nothing of it`,
    { skip: cannotMount() },
    async (t) => {
      const disk = new SmallDisk(4 * 2 ** 20);
      t.after(() => disk.remove());
      const directory = disk.folder("code");
      const large = { "node_modules/dep/lib/more.js": `module.exports = 'more'; // ${"-".repeat(300_000)}` };
      cpSync(plain.folder({ ...small, ...large }), directory, { recursive: true });
      disk.fill(freeBytes);
      const log = await plain.build(directory, { handler: "index.mjs" });
      assert.match(log.join("\n"), /^the index of modules is not kept: .*ENOSPC/);
      const left = existsSync(dirname(index(directory))) ? readdirSync(dirname(index(directory))) : [];
      assert.deepEqual(
        left.filter((name) => name !== "byte-code"),
        [],
      );
      const expected = [join(directory, "node_modules/dep/lib/index.js"), "more"];
      assert.deepEqual(await answer(directory, { handler: "index.mjs" }, plain), expected);
    },
  );
}

const hooks = `import { registerHooks } from "node:module";
  if (process.env.WATCH) registerHooks({ load: (url, context, next) => {
    const found = next(url, context);
    return url.endsWith("more.js") ? { ...found, source: "module.exports = 'replaced';" } : found;
  } });`;

test("module hooks of the code see everything, where they come and go with the environment", async () => {
  const directory = plain.folder({
    ...small,
    "index.mjs": `import "./hooks.mjs"; export { default } from "./main.mjs";`,
    "hooks.mjs": hooks,
    "main.mjs": 'const { default: where } = await import("dep"); export default () => Response.json(where[1]);',
  });
  assert.deepEqual(await plain.build(directory, { handler: "index.mjs" }), []);
  assert.equal(await answer(directory, { handler: "index.mjs" }, plain), "more");
  assert.equal(await answer(directory, { handler: "index.mjs", environment: { WATCH: "1" } }, plain), "replaced");
  const log = await plain.build(directory, { handler: "index.mjs", environment: { WATCH: "1" } });
  assert.match(log.join("\n"), /index of modules is not kept: .*module hooks of its own/);
  assert.ok(!existsSync(index(directory)));
});

test("loading leaves Node's loaders as they were", async () => {
  const directory = plain.folder({
    ...small,
    "index.mjs": `import "dep"; import Module from "node:module";
      const during = Module._resolveFilename;
      export default () => Response.json([during === Module._resolveFilename, Module._resolveFilename.name, Module.register.name,
        Module._extensions[".js"].length]);`,
  });
  await plain.build(directory, { handler: "index.mjs" });
  const indexed = (await answer(directory, { handler: "index.mjs" }, plain)) as unknown[];
  rmSync(index(directory));
  const without = (await answer(directory, { handler: "index.mjs" }, plain)) as unknown[];
  assert.equal(indexed[0], false);
  assert.deepEqual(indexed.slice(1), without.slice(1));
});

test("an index that came with the code is not taken for one of these files", async () => {
  const directory = plain.folder(small);
  await plain.build(directory, { handler: "index.mjs" });
  const code = 'if (!process.env.KEY) throw new Error("no key"); export { default } from "./other.mjs";';
  writeFileSync(join(directory, "index.mjs"), code);
  await plain.build(directory, { handler: "index.mjs" });
  assert.ok(!existsSync(index(directory)));
});

test("the environment of the build is that of instances", async () => {
  const directory = plain.folder({
    ...small,
    "index.mjs": `import { createRequire } from "node:module";
      const where = createRequire(import.meta.url)(process.env.NODE_ENV + process.env.KIND); export default () => Response.json(where);`,
    "node_modules/productionlight/index.js": "module.exports = 'light';",
  });
  const config = { handler: "index.mjs", environment: { KIND: "light", NODE_OPTIONS: "--require=/none.js" } };
  assert.deepEqual(await plain.build(directory, config), []);
  rmSync(join(directory, "node_modules"), { recursive: true });
  assert.equal(await answer(directory, config, plain), "light");
});
