// Runs in the build's sandbox, with the platform's own Node: makes one file of the function's code and its dependencies.
// Arguments: the folder, the handler's file, its format, the major version of Node it is for, the folder of esbuild. The report
// is one line of JSON on stdout.
//
// The code should not notice. So each module keeps its own `__dirname`, `import.meta` and, for names that are computed, its own
// `require` and `import` (see `adapt`); packages with native code stay where they are, and so does what dependencies name but
// nobody installed. All this is found out by bundling: it is done again until nothing new is found.
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { banner, cjsPrelude, esmPrelude } from "./bundle-text.mjs";
import { bundleFiles, bundleFolder } from "./bundled.mjs";
import { codeFrame } from "./code-frame.mjs";

const [directory, handler, format, major, esbuildFolder] = process.argv.slice(2);
// esbuild's program has ended before V8's better compiler pays: without it, 40 % of the CPU time and 190 MB instead of 340.
const flags = ["--liftoff-only", "--no-wasm-tier-up", "--no-wasm-dynamic-tiering"];
const preload = `import { setFlagsFromString } from "node:v8"; ${JSON.stringify(flags)}.forEach((flag) => setFlagsFromString(flag));`;
process.env.NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(preload)}`;
const esbuild = createRequire(import.meta.url)(esbuildFolder);
const folder = join(directory, bundleFolder);
const file = join(folder, bundleFiles[format]);
const isModule = format === "module";

/** Names of packages that are not bundled. */
const outside = new Set();
/** What dependencies import and is not there, by `missingKey`. */
const missing = new Set();
/** The files that were changed to go into a bundle, as they are now. */
const adapted = new Map();

const natives = new Map();
/** What a module has of its own file. */
const belongings = /\bimport\.meta\b|\b(?:__(?:file|dir)name|require\.resolve)\b/;
const scripts = /\.[cm]?[jt]s$/;

/** Words that stand before names which only a run knows: `require(name)`, `import(name)`, `[require]`. */
const computed = ["unsupported-require-call", "unsupported-dynamic-import", "indirect-require"];

let result;
do result = await attempt();
while (learn(result));
const { errors, outputFiles } = result;
if (errors.length === 0) {
  mkdirSync(folder, { recursive: true });
  for (const { path, text } of outputFiles) writeFileSync(path, path === file ? withChanges(text) : text);
  for (const name of outside) console.error(`${name} has native code and is left outside of the bundle`);
}
process.stdout.write(`${JSON.stringify({ problems: errors.slice(0, 20).map(describe) })}\n`, () => process.exit(0));

function attempt() {
  return esbuild
    .build({
      absWorkingDir: directory,
      entryPoints: [`./${handler}`],
      outfile: file,
      bundle: true,
      write: false,
      metafile: true,
      platform: "node",
      format: isModule ? "esm" : "cjs",
      target: "esnext",
      // As Node finds modules and takes out types.
      mainFields: ["main"],
      conditions: Number(major) >= 22 ? ["node-addons", "module-sync"] : ["node-addons"],
      resolveExtensions: [".js", ".json", ".ts", ".mts", ".cts"],
      tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
      define: { "import.meta": "__virga_meta", "require.resolve": "__virga_require.resolve" },
      banner: { js: banner(isModule) },
      keepNames: true,
      minifyWhitespace: true,
      legalComments: "none",
      // Not named in the bundle: see bundled.mjs.
      sourcemap: "external",
      sourcesContent: false,
      plugins: [{ name: "virga", setup }],
      logLevel: "silent",
      logLimit: 0,
      logOverride: Object.fromEntries(computed.map((id) => [id, "warning"])),
    })
    .catch((error) => {
      if (!Array.isArray(error.errors)) throw error;
      return { errors: error.errors, warnings: [], metafile: { inputs: {} } };
    });
}

function setup(build) {
  const asked = Symbol();
  build.onResolve({ filter: /\.node$/ }, leave);
  build.onResolve({ filter: anyOf(outside, "(?:/.*)?") }, leave);
  build.onResolve({ filter: anyOf([...missing].map((key) => key.split("\0")[1])) }, ({ path, importer }) =>
    missing.has(missingKey(relative(directory, importer), path)) ? { path, external: true } : undefined,
  );
  build.onLoad({ filter: scripts }, ({ path }) => {
    const contents = adapted.get(path) ?? sourceOf(path);
    return { contents, loader: path.endsWith("ts") ? "ts" : "js" };
  });

  async function leave({ path, kind, importer, resolveDir, pluginData }) {
    if (pluginData === asked) return undefined;
    const found = await build.resolve(path, { kind, importer, resolveDir, pluginData: asked });
    return found.errors.length > 0 ? undefined : { path: relative(folder, found.path), external: true };
  }
}

/** Whether there was something new in what esbuild said. */
function learn({ errors, warnings, metafile }) {
  const before = missing.size + outside.size + adapted.size;
  for (const { text, location } of errors) {
    const name = /^Could not resolve "(.*)"/.exec(text)?.[1];
    if (name !== undefined && isDependency(location.file)) missing.add(missingKey(location.file, name));
  }
  for (const [input, { format: inputFormat }] of Object.entries(metafile.inputs)) {
    const from = packageOf(input);
    if (from !== undefined && hasNativeCode(from)) outside.add(from.name);
    const path = join(directory, input);
    if (!scripts.test(input) || adapted.has(path)) continue;
    const source = sourceOf(path);
    const places = warnings.filter(({ location }) => location?.file === input).map(({ location }) => location);
    if (inputFormat === "cjs" || places.length > 0 || belongings.test(source)) {
      adapted.set(path, adapt(source, input, inputFormat, places));
    }
  }
  return missing.size + outside.size + adapted.size > before;
}

/** With names that are composed as computed ones: esbuild would take all files that fit, and Node's way to find them away. */
function sourceOf(path) {
  const composed = /\b((?:require|import)\s*\(\s*)(?:((["'])\.[^"'\n]*\3)(?=\s*\+)|`(?=\.[^`]*\$\{))/g;
  return readFileSync(path, "utf8").replace(composed, (_, call, literal) =>
    literal === undefined ? `${call}\`\${[]}` : `${call}[${literal}][0]`,
  );
}

/**
 * Gives a module what belongs to its own file, without a new line: stacks keep theirs. `places` are the words `require` and
 * `import` that stand before names which only a run knows.
 */
function adapt(source, input, inputFormat, places) {
  const lines = [0, ...[...source.matchAll(/\r\n|[\n\r\u2028\u2029]/g)].map(({ index, 0: end }) => index + end.length)];
  const starts = places.map(({ line, column, lineText }) => {
    const before = Buffer.from(lineText).subarray(0, column).toString(); // esbuild counts bytes
    return lines[line - 1] + before.length;
  });
  let text = source;
  for (const start of starts.sort((a, b) => b - a)) text = `${text.slice(0, start)}__virga_${text.slice(start)}`;
  const head = /^(?:#!.*)?(?:\s|\/\/.*|\/\*[^]*?\*\/|(["'])use strict\1\s*;?)*/.exec(text)[0];
  const before = inputFormat === "esm" ? esmPrelude : cjsPrelude;
  return head + before(input, places.length > 0 || belongings.test(source)) + text.slice(head.length);
}

/** Add-ons are found by where their package lies. */
function hasNativeCode({ root }) {
  if (!natives.has(root)) {
    const found = globSync(["**/*.node", "**/binding.gyp"], {
      cwd: join(directory, root),
      exclude: ["**/node_modules/**"],
    });
    natives.set(root, found.length > 0);
  }
  return natives.get(root);
}

/** Of an installed file, or of one in a folder that a dependency links to; undefined for the function's own. */
function packageOf(input) {
  const installed = /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (installed !== null) return { root: installed[0], name: installed[1] };
  for (let root = dirname(input); root !== "."; root = dirname(root)) {
    const manifest = join(directory, root, "package.json");
    const { name } = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")) : {};
    if (name !== undefined) return { root, name };
  }
  return undefined;
}

function missingKey(importer, specifier) {
  return `${importer}\0${specifier}`;
}

function isDependency(path) {
  return /(^|\/)node_modules\//.test(path);
}

function anyOf(texts, rest = "") {
  return new RegExp(`^(?:${[...texts].map((text) => RegExp.escape(text)).join("|")})${rest}$`);
}

/** esbuild's own functions with changes; none grows, so that places in the source map hold. */
function withChanges(text) {
  const changes = [
    // CommonJS has one default import in Node, `module.exports`; by the custom of bundlers it is what `__esModule` says.
    ["isNodeMode||", "true||"],
    // Most functions have their names already.
    [
      '(target,value)=>__defProp(target,"name",{value,configurable:true})',
      '(t,v)=>t.name===v?t:__defProp(t,"name",{value:v,configurable:!0})',
    ],
  ];
  return changes.reduce((changed, [from, to]) => changed.replace(from, to.padEnd(from.length)), text);
}

function describe({ text, location }) {
  if (location === null) return { message: text, location: handler };
  const { file: input, line, column, lineText } = location;
  const place = `${input}:${line}:${column + 1}`;
  const frame = codeFrame(readFileSync(join(directory, input), "utf8"), line, column + 1);
  if (!isDependency(input)) {
    const fix =
      "Correct the code, or take bundle out of the settings, and deploy again; the revision that serves now stays.";
    return { message: text, location: place, frame, fix };
  }
  return {
    message: `${packageOf(input).name} cannot be bundled: ${text}`,
    location: place,
    frame: lineText.length > 200 ? undefined : frame,
    fix: "Take bundle out of the function's settings (bundle: false); its packages are then loaded as they are.",
  };
}
