// Runs inside the sandbox: an OpenWhisk action as a handler of this platform. `.openwhisk.json` beside it says what the
// user's code is: { entry?: "file" (of a single file), main: "main", failure?: "why it could not be built" }.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileFunction } from "node:vm";

const root = dirname(fileURLToPath(import.meta.url));
const settings = JSON.parse(readFileSync(join(root, ".openwhisk.json"), "utf8"));
const runType = "application/vnd.openwhisk.run+json";

let action;

export default async function (request, context) {
  let text = await request.text();
  if (text === "") text = "{}";
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return failure(400, `The payload is no JSON: ${error.message}`);
  }
  if (request.headers.get("content-type") === runType) {
    const { value: args, env, ...about } = value;
    Object.assign(process.env, env);
    for (const key in about) process.env[`__OW_${key.toUpperCase()}`] = about[key];
    value = args;
  } else {
    process.env.__OW_ACTIVATION_ID = context.id.replaceAll("-", "");
    process.env.__OW_DEADLINE = String(context.deadline);
  }
  if (action === undefined) {
    try {
      action = await load();
    } catch (error) {
      console.error(error);
      return failure(502, `Initialization has failed due to: ${describe(error)}`);
    }
  }
  let result;
  try {
    result = await action(value);
  } catch (error) {
    console.error(error);
    return json(200, { error: serialised(error) });
  }
  if (result === undefined || result === null) result = {};
  if (typeof result !== "object") return failure(502, "The action did not return a dictionary or array.");
  return json(200, result);
}

async function load() {
  if (settings.failure !== undefined) throw new Error(settings.failure);
  process.chdir(root);
  return settings.entry === undefined ? loadFolder() : loadFile(join(root, settings.entry), settings.main);
}

/** One file: its `main` may be a plain function that nobody exports. */
async function loadFile(file, main) {
  if (file.endsWith(".mjs")) return pick(await import(pathToFileURL(file).href), main);
  const source = readFileSync(file, "utf8");
  const module = { exports: {} };
  const require = createRequire(file);
  const ending = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(main)
    ? `\n;return typeof ${main} === "undefined" ? undefined : ${main};`
    : "";
  const parameters = ["exports", "require", "module", "__filename", "__dirname"];
  const run = compileFunction(source + ending, parameters, { filename: file });
  const found = run.call(module.exports, module.exports, require, module, file, root);
  return typeof found === "function" ? found : pick(module.exports, main);
}

/** A folder, as npm has them; `main` may be `file.function`. */
async function loadFolder() {
  let main = settings.main;
  let entry = entryOf(root);
  const dot = main.lastIndexOf(".");
  if (dot > 0) {
    const named = [".js", ".cjs", ".mjs", ""]
      .map((end) => join(root, main.slice(0, dot) + end))
      .find((path) => existsSync(path));
    if (named !== undefined) [entry, main] = [named, main.slice(dot + 1)];
  }
  if (entry === undefined) throw new Error("Zipped actions must contain either package.json or index.js at the root.");
  const loaded = isModule(entry)
    ? await import(pathToFileURL(entry).href)
    : createRequire(join(root, "index.js"))(entry);
  return pick(loaded, main);
}

function entryOf(folder) {
  const manifest = join(folder, "package.json");
  const named = existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).main : undefined;
  const candidates = [
    named,
    named && `${named}.js`,
    named && join(named, "index.js"),
    "index.js",
    "index.cjs",
    "index.mjs",
  ];
  return candidates
    .filter((one) => typeof one === "string")
    .map((one) => resolve(folder, one))
    .find((path) => existsSync(path) && /\.[cm]?js$/.test(path));
}

function isModule(file) {
  if (file.endsWith(".mjs")) return true;
  const manifest = join(root, "package.json");
  return !file.endsWith(".cjs") && existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).type === "module";
}

function pick(exported, main) {
  for (const candidate of [exported?.[main], exported?.default?.[main], exported?.default, exported]) {
    if (typeof candidate === "function") return candidate;
  }
  throw new Error(`There is no function '${main}' in the code.`);
}

function serialised(error) {
  if (!(error instanceof Error)) return error === undefined ? {} : error;
  const { name, message, stack } = error;
  return { name, message, stack, ...error };
}

function describe(error) {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function json(status, value) {
  let text;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    return failure(502, `The result cannot be written as JSON: ${error.message}`);
  }
  return new Response(text, { status, headers: { "content-type": "application/json" } });
}

function failure(status, message) {
  return json(status, { error: message });
}
