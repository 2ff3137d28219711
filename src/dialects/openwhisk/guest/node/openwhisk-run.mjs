// Runs inside the sandbox: an OpenWhisk action as a handler of this platform. `.openwhisk.json` beside it says what the
// user's code is: { entry?: "file" (of a single file), main: "main", failure?: "why it could not be built" }.
import { existsSync, readFileSync } from "node:fs";
import * as nodeModule from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as vm from "node:vm";

const root = dirname(fileURLToPath(import.meta.url));
const settings = JSON.parse(readFileSync(join(root, ".openwhisk.json"), "utf8"));
const runType = "application/vnd.openwhisk.run-list+json";

let action;
/** A variable costs a microsecond to set: those that stay are set once, those that change with each call are read from here. */
const live = {};
/** Those that stay, as they came. */
let standing;
process.env = withLive(process.env);

export default async function handle(request, context) {
  const text = await request.text();
  if (request.headers.get("content-type") === runType) return whole(await run(text));
  let value;
  try {
    value = text === "" ? {} : JSON.parse(text);
  } catch (error) {
    return failure(400, `The payload is no JSON: ${error.message}`);
  }
  live.__OW_ACTIVATION_ID = context.id.replaceAll("-", "");
  live.__OW_DEADLINE = String(context.deadline);
  return whole(await act(value));
}

/** The way of nearly all calls: nothing of the web around it. */
handle[Symbol.for("virga.text-entry")] = run;

/**
 * The body is a list, for keys cost more than values where an action has not been called for a while: ids of activation and
 * transaction, deadline, what stays, the action's value, and where there are any its variables. What stays are the names of
 * namespace and action, its version, where to call back and the key for it, with commas between; only the key may have some.
 */
function run(text) {
  const about = JSON.parse(text);
  live.__OW_ACTIVATION_ID = about[0];
  live.__OW_TRANSACTION_ID = about[1];
  live.__OW_DEADLINE = about[2];
  if (about[3] !== standing) stand(about[3]);
  if (about.length > 5) Object.assign(process.env, about[5]);
  return act(about[4]);
}

/** Gives the result as JSON, or the answer that says what is wrong; or promises it. */
function act(value) {
  if (typeof action !== "function") return loadAndAct(value);
  try {
    const result = action(value);
    return typeof result?.then === "function" ? Promise.resolve(result).then(answer, answerError) : answer(result);
  } catch (error) {
    return answerError(error);
  }
}

async function loadAndAct(value) {
  try {
    // Not before the first call: what is loaded may read its variables at once.
    action ??= load();
    if (action instanceof Promise) action = await action;
  } catch (error) {
    action = undefined;
    console.error(error);
    return failure(502, `Initialization has failed due to: ${describe(error)}`);
  }
  return act(value);
}

function stand(text) {
  standing = text;
  const [namespace, action, version, host, ...key] = text.split(",");
  Object.assign(process.env, {
    __OW_NAMESPACE: namespace,
    __OW_ACTION_NAME: action,
    __OW_ACTION_VERSION: version,
    ...(host === "" ? {} : { __OW_API_HOST: host }),
    ...(key[0] === "" ? {} : { __OW_API_KEY: key.join(",") }),
  });
}

/** The environment with `live` in it, for whoever reads, lists or hands it on. */
function withLive(environment) {
  const isLive = (key) => typeof key === "string" && Object.hasOwn(live, key);
  return new Proxy(environment, {
    get: (target, key) => (isLive(key) ? live[key] : target[key]),
    has: (target, key) => isLive(key) || key in target,
    set(target, key, value) {
      delete live[key];
      target[key] = value;
      return true;
    },
    deleteProperty(target, key) {
      delete live[key];
      return delete target[key];
    },
    ownKeys: (target) => [...new Set([...Reflect.ownKeys(target), ...Object.keys(live)])],
    getOwnPropertyDescriptor: (target, key) =>
      isLive(key)
        ? { value: live[key], writable: true, enumerable: true, configurable: true }
        : Reflect.getOwnPropertyDescriptor(target, key),
  });
}

async function load() {
  if (settings.failure !== undefined) throw settings.failure;
  bringPackages();
  return settings.entry === undefined ? loadFolder() : loadFile(join(root, settings.entry), settings.main);
}

/** One file: its `main` may be a plain function that nobody exports. */
async function loadFile(file, main) {
  const source = readFileSync(file, "utf8")
    .replace(/^\uFEFF/, "")
    .replace(/^#!/, "//");
  const name = "[\\p{ID_Start}$_][\\p{ID_Continue}$]*";
  const [, head] = new RegExp(`^(${name})(?:\\.${name})*$`, "u").exec(main) ?? [];
  const ending = head === undefined ? "" : `\n;return typeof ${head} === "undefined" ? undefined : ${main};`;
  let run;
  try {
    run = vm.compileFunction(source + ending, ["exports", "require", "module", "__filename", "__dirname"], {
      filename: file,
      importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // A module; for what is none either, Node says where it is wrong.
    return pick(await import(pathToFileURL(file).href), main);
  }
  const module = { exports: {} };
  const found = run.call(module.exports, module.exports, nodeModule.createRequire(file), module, file, root);
  return typeof found === "function" ? found : pick(module.exports, main);
}

/** A folder, as npm has them; `main` may be `file.function`. */
async function loadFolder() {
  let main = settings.main;
  let entry = entryOf(root);
  const dot = main.lastIndexOf(".");
  if (dot > 0) {
    const named = ["", ".js", ".cjs", ".mjs"].map((end) => join(root, main.slice(0, dot) + end)).find(isFile);
    if (named !== undefined) [entry, main] = [named, main.slice(dot + 1)];
  }
  if (entry === undefined) {
    throw new Error("Zipped actions must contain either package.json or index.js at the root.");
  }
  const loaded = isModule(entry)
    ? await import(pathToFileURL(entry).href)
    : nodeModule.createRequire(join(root, "index.js"))(entry);
  return pick(loaded, main);
}

function entryOf(folder) {
  const named = manifestOf(folder).main;
  const byName = typeof named === "string" ? [named, `${named}.js`, join(named, "index.js")] : [];
  return [...byName, "index.js", "index.cjs", "index.mjs"].map((one) => resolve(folder, one)).find(isFile);
}

function isFile(path) {
  return /\.[cm]?js$/.test(path) && existsSync(path);
}

function isModule(file) {
  return file.endsWith(".mjs") || (!file.endsWith(".cjs") && manifestOf(root).type === "module");
}

function manifestOf(folder) {
  const path = join(folder, "package.json");
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
}

function pick(exported, main) {
  for (const candidate of [exported?.[main], exported?.default?.[main], exported?.default, exported]) {
    if (typeof candidate === "function") return candidate;
  }
  throw new Error(`Action entrypoint '${main}' is not a function.`);
}

/** Packages that OpenWhisk's image has are found where the code brings none of that name. */
function bringPackages() {
  const folder = join(root, ".virga/packages");
  if (!existsSync(join(folder, "node_modules"))) return;
  const bundled = nodeModule.createRequire(join(folder, "index.js"));
  let isSearching = false;
  nodeModule.registerHooks?.({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        if (isSearching || !String(error.code).endsWith("MODULE_NOT_FOUND") || /^(?:[./#]|\w+:)/.test(specifier))
          throw error;
        isSearching = true;
        try {
          return { url: pathToFileURL(bundled.resolve(specifier)).href, shortCircuit: true };
        } catch {
          throw error;
        } finally {
          isSearching = false;
        }
      }
    },
  });
}

/** An error's own properties go with it, but those that cannot: errors of clients hold whole requests. */
function serialised(thrown) {
  if (thrown === undefined || thrown === null) return {};
  if (!(thrown instanceof Error)) return thrown;
  const { name, message, stack } = thrown;
  const own = Object.entries(thrown).filter(([, value]) => isJson(value));
  return { name, message, stack, ...Object.fromEntries(own) };
}

function isJson(value) {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
}

function describe(thrown) {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}

function answerError(thrown) {
  return answer({ error: serialised(thrown) });
}

/** What is no object or list is no result. */
function answer(result) {
  let text;
  try {
    text = JSON.stringify(result === undefined ? {} : result);
  } catch (error) {
    return failure(502, `The action did not produce a valid JSON or JSON Array response: ${describe(error)}`);
  }
  if (text?.[0] === "{" || text?.[0] === "[") return text;
  return failure(502, `The action did not produce a valid JSON or JSON Array response: ${text ?? typeof result}`);
}

function failure(status, message) {
  return Response.json({ error: message }, { status });
}

function whole(answered) {
  if (typeof answered !== "string") return answered;
  return new Response(answered, { headers: { "content-type": "application/json" } });
}
