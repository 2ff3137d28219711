// What loading the function asks of the file system, kept in one file: which file each `import` and `require` means, what it
// holds and what kind of module it is. The build records it; an instance answers from it while it loads, and asks Node about
// whatever is not in it.
//
// `import` goes by Node's hooks. These are not told the `paths` of `require.resolve`, and Node looks for a package.json before
// it calls them for CommonJS; so `require` goes by the functions of `Module` that Node keeps replaceable.
//
// The file: four bytes with the length of the head, the head as JSON, the sources. Paths in it begin at the code's folder,
// which may lie elsewhere in an instance.
import { mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import * as nodeModule from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

export const moduleIndex = ".virga/modules";

/** A source above this many bytes stays in its file alone: opening it is little of what it costs. */
const largestSource = 1024 * 1024;

const Module = nodeModule.default;

/** Before these, CommonJS that is imported while there are hooks gets a `require` that lacks much of what it should have. */
const [major, minor] = process.versions.node.split(".").map(Number);
const canHook = minor >= ({ 22: 23, 24: 12, 25: 2 }[major] ?? (major > 25 ? 0 : Infinity));

/** Records what is loaded until `stop`; `save` writes the index. Undefined where this version of Node is too old. */
export function recordModules(directory) {
  if (!canHook) return undefined;
  const path = realpathSync(directory);
  const url = pathToFileURL(path).href;
  const head = { node: process.version, bytes: 0, imports: {}, requires: {}, loads: {}, scripts: {} };
  const bodies = [];
  const kept = new Map();
  let foreign = false;

  const leave = intercept({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      const parent = below(url, context.parentURL);
      const file = below(url, found.url);
      if (parent === undefined || file === undefined || found.importAttributes) return found;
      if (!context.conditions.includes("import") || /^(\/|file:)/.test(specifier)) return found;
      head.importConditions ??= context.conditions.join();
      if (head.importConditions !== context.conditions.join()) return found;
      (head.imports[parent] ??= {})[specifier] = [file, found.format ?? null];
      return found;
    },
    load(address, context, next) {
      const found = next(address, context);
      const file = below(url, address);
      if (file === undefined || found.source === null || found.source === undefined) return found;
      // Some versions give imported CommonJS another `require` where its source is not their own: of that only the format is kept.
      const isOwn = found.format === "commonjs" && context.conditions.includes("import");
      const source = isOwn ? [] : keep(file, found.source);
      if (source === undefined) return found;
      const loads = (head.loads[context.conditions.join()] ??= {});
      loads[file] ??= [context.format ?? null, context.importAttributes?.type ?? null, found.format ?? null, ...source];
      return found;
    },
    resolveFilename(original, request, parent, isMain, options) {
      const found = original();
      const from = below(path, parent?.filename);
      const file = typeof found === "string" ? below(path, found) : undefined;
      if (from === undefined || file === undefined || isMain || options?.paths || request.startsWith("/")) return found;
      const conditions = options?.conditions === undefined ? "" : [...options.conditions].join();
      head.requireConditions ??= conditions;
      if (head.requireConditions !== conditions) return found;
      const entry = [file];
      if (!/^\.\.?(\/|$)/.test(request)) {
        const usual = Module._nodeModulePaths(dirname(parent.filename));
        if (usual.join("\0") !== parent.paths?.join("\0")) return found;
        entry.push(usual.length - Module._nodeModulePaths(path).length, below(path, usual[0]));
      }
      (head.requires[from] ??= {})[request] = entry;
      return found;
    },
    script(original, module, filename) {
      const file = below(path, filename);
      if (file === undefined) return original();
      const own = Object.getOwnPropertyDescriptor(module, "_compile");
      module._compile = (content, name, format) => {
        delete module._compile;
        if (own !== undefined) Object.defineProperty(module, "_compile", own);
        const source = name === filename && format !== "module" ? keep(file, content) : undefined;
        if (source !== undefined) head.scripts[file] = [format ?? null, ...source];
        return module._compile(content, name, format);
      };
      return original();
    },
    onForeign: () => (foreign = true),
  });

  /** The same text may be read by both of Node's loaders. */
  function keep(file, source) {
    const isText = typeof source === "string";
    const bytes = isText ? Buffer.from(source) : Buffer.from(new Uint8Array(source));
    if (bytes.length > largestSource) return undefined;
    const encoding = isText ? (bytes.length === source.length ? "latin1" : "utf8") : "bytes";
    const before = kept.get(file) ?? [];
    let place = before.find((other) => other.bytes.equals(bytes));
    if (place === undefined) {
      place = { bytes, at: head.bytes };
      kept.set(file, [...before, place]);
      bodies.push(bytes);
      head.bytes += bytes.length;
    }
    return [encoding, place.at, place.at + bytes.length];
  }

  function save() {
    if (foreign) throw new Error("the code has module hooks of its own");
    const text = Buffer.from(JSON.stringify(head));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    const target = join(directory, moduleIndex);
    mkdirSync(dirname(target), { recursive: true });
    const aside = `${target}.new`;
    try {
      writeFileSync(aside, Buffer.concat([length, text, ...bodies]));
      renameSync(aside, target); // a build that is stopped leaves no half of it
    } catch (error) {
      rmSync(aside, { force: true }); // what a full disk took of it would be sealed with the code
      throw error;
    }
  }

  return { stop: leave, save };
}

/**
 * Answers from the index of this folder, where it has one that fits, until what it gives back is called or the code sets up
 * module hooks of its own. Entries are lists: what all objects have by nature, under names like `constructor`, never passes
 * for one.
 */
export function useModules(directory) {
  const index = canHook ? read(directory) : undefined;
  if (index === undefined) return () => undefined;
  const { imports, requires, loads, scripts, body, importConditions, requireConditions } = index;
  const path = realpathSync(directory);
  const url = pathToFileURL(path).href;
  const outer = Module._nodeModulePaths(path).length;
  const isImport = sameAs(importConditions);
  const isRequire = sameAs(requireConditions);
  let conditions;
  let loadsOfThese;

  return intercept({
    resolve(specifier, context, next) {
      const parent = below(url, context.parentURL);
      const found = parent === undefined ? undefined : imports[parent]?.[specifier];
      if (!Array.isArray(found) || !isImport(context.conditions)) return next(specifier, context);
      return { url: url + found[0], format: found[1] ?? undefined, shortCircuit: true };
    },
    load(address, context, next) {
      const file = below(url, address);
      if (file === undefined) return next(address, context);
      if (context.conditions !== conditions) {
        conditions = context.conditions;
        loadsOfThese = loads[conditions.join()];
      }
      const found = loadsOfThese?.[file];
      if (found === undefined) return next(address, context);
      const [before, type, format, encoding, from, to] = found;
      if (before !== (context.format ?? null) || type !== (context.importAttributes?.type ?? null)) {
        return next(address, context);
      }
      if (encoding === undefined) return next(address, { ...context, format });
      const source = encoding === "bytes" ? body.subarray(from, to) : body.toString(encoding, from, to);
      return { format: format ?? undefined, source, shortCircuit: true };
    },
    resolveFilename(original, request, parent, isMain, options) {
      const from = below(path, parent?.filename);
      const found = from === undefined ? undefined : requires[from]?.[request];
      if (!Array.isArray(found) || isMain || options?.paths || !isRequire(options?.conditions)) return original();
      if (found.length === 1) return path + found[0];
      // Code may have changed where its own `require` searches.
      const { paths } = parent;
      if (paths?.length !== outer + found[1] || below(path, paths[0]) !== found[2]) return original();
      return path + found[0];
    },
    script(original, module, filename) {
      const file = below(path, filename);
      const found = file === undefined ? undefined : scripts[file];
      if (found === undefined) return original();
      const [format, encoding, from, to] = found;
      const source = body.toString(encoding === "bytes" ? "utf8" : encoding, from, to);
      return module._compile(source, filename, format ?? undefined);
    },
  });
}

function read(directory) {
  let bytes;
  try {
    bytes = readFileSync(join(directory, moduleIndex));
  } catch (error) {
    return error.code === "ENOENT" ? undefined : refuse(error.message);
  }
  try {
    const start = 4 + bytes.readUInt32LE(0);
    const head = JSON.parse(bytes.toString("utf8", 4, start));
    if (head.node !== process.version) return refuse(`it was made by Node ${head.node}`);
    if (bytes.length !== start + head.bytes) return refuse("it is not whole");
    return { ...head, body: bytes.subarray(start) };
  } catch {
    return refuse("it is broken");
  }
}

function refuse(why) {
  console.warn(`The index of modules (${moduleIndex}) is not used: ${why}. Modules are read from their own files.`);
  return undefined;
}

/** The rest of a path or URL below the folder, with its slash. */
function below(folder, path) {
  if (path === undefined || path === null || path[folder.length] !== "/" || !path.startsWith(folder)) return undefined;
  return path.slice(folder.length);
}

/** Node passes the same list or set each time. */
function sameAs(expected) {
  let last = {};
  let is = false;
  return (conditions) => {
    if (conditions !== last) {
      last = conditions;
      is = (conditions === undefined ? "" : [...conditions].join()) === expected;
    }
    return is;
  };
}

/** Puts itself before Node's loaders; gives what takes it away, as the code's own hooks do. */
function intercept({ resolve, load, resolveFilename, script, onForeign }) {
  const hooks = nodeModule.registerHooks({ resolve, load });
  const undo = [];
  let over = false;
  const replace = (owner, name, by) => {
    const before = owner[name];
    const replacement = function (...parameters) {
      const original = () => Reflect.apply(before, this, parameters);
      return over ? original() : by(original, ...parameters);
    };
    owner[name] = replacement;
    undo.push(() => {
      if (owner[name] === replacement) owner[name] = before; // else the code has wrapped it
    });
  };
  const leave = () => {
    if (over) return;
    over = true;
    hooks.deregister();
    for (const step of undo) step();
    nodeModule.syncBuiltinESMExports();
  };
  replace(Module, "_resolveFilename", resolveFilename);
  replace(Module._extensions, ".js", script);
  for (const name of ["register", "registerHooks"]) {
    if (typeof Module[name] !== "function") continue;
    replace(Module, name, (original) => {
      onForeign?.();
      leave();
      return original();
    });
  }
  nodeModule.syncBuiltinESMExports();
  return leave;
}
