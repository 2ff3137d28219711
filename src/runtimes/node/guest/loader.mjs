// Finds and loads the function's code.
import { existsSync, readFileSync } from "node:fs";
import * as nodeModule from "node:module";
import { isAbsolute, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { findBundle, loadBundle } from "./bundled.mjs";
import { useModules } from "./module-index.mjs";

/** Where the build leaves TypeScript with its types taken out, and the list of it. */
export const strippedFolder = ".virga/node";
export const strippedList = `${strippedFolder}/index.json`;

/** Where the build leaves the byte code of the function's modules; made for one version and one set of flags. */
export const byteCodeFolder = ".virga/byte-code";

/**
 * Loads `file` or `file#export` below the directory; gives the function to call. `attend` sees to how modules are found until
 * what it gives back is called.
 */
export async function loadHandler(directory, handler, attend = useModules) {
  const [file, exported] = splitHandler(handler);
  const path = isAbsolute(file) ? file : join(directory, file);
  if (!existsSync(path)) {
    throw new LoadError(`The handler file ${file} does not exist in the function's code`);
  }
  useStripped(directory);
  if (existsSync(join(directory, byteCodeFolder))) nodeModule.enableCompileCache?.(join(directory, byteCodeFolder));
  const bundle = findBundle(directory);
  if (bundle === undefined && /\.[cm]?ts$/.test(path) && process.features.typescript === undefined && !stripped) {
    throw new LoadError(
      `Node ${process.versions.node} cannot run TypeScript; use runtime node:24, or deploy JavaScript`,
    );
  }
  const namespace = bundle === undefined ? await loadModules(path, directory, attend) : await loadBundle(bundle);
  const found = exported === undefined ? pickDefault(namespace) : pickNamed(namespace, exported);
  if (typeof found === "function") return found;
  const names = Object.keys(namespace).filter((name) => name !== "module.exports");
  const has = names.length === 0 ? "it exports nothing" : `it exports ${names.join(", ")}`;
  throw new LoadError(
    exported === undefined
      ? `${file} has no function as its default export (${has}); write "export default async (request, context) => …"`
      : `${file} has no function that is exported as ${exported} (${has})`,
  );
}

function loadModules(path, directory, attend) {
  const leave = attend(directory);
  return import(pathToFileURL(path).href).finally(leave);
}

/** An error in how the function is set up, not in its code: shown without a stack. */
export class LoadError extends Error {}

export function splitHandler(handler) {
  const at = handler.lastIndexOf("#");
  return at === -1 ? [handler, undefined] : [handler.slice(0, at), handler.slice(at + 1) || undefined];
}

function pickDefault(namespace) {
  const value = namespace.default;
  if (typeof value === "function") return value;
  if (typeof value === "object" && value !== null) {
    for (const name of ["default", "handler", "fetch"])
      if (typeof value[name] === "function") return value[name].bind(value);
  }
  return namespace.handler;
}

function pickNamed(namespace, name) {
  if (name in namespace) return namespace[name];
  return namespace.default?.[name];
}

let stripped = false;

/** Serves TypeScript files from what the build made of them: Node's own stripping takes 35 ms to load. */
function useStripped(directory) {
  const list = join(directory, strippedList);
  if (typeof nodeModule.registerHooks !== "function" || !existsSync(list)) return;
  const formats = JSON.parse(readFileSync(list, "utf8"));
  const root = pathToFileURL(`${directory}/`).href;
  stripped = true;
  nodeModule.registerHooks({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        const other =
          error.code === "ERR_MODULE_NOT_FOUND" || error.code === "MODULE_NOT_FOUND"
            ? inTypeScript(specifier, context, formats, root)
            : undefined;
        if (other === undefined) throw error;
        return { url: other, format: undefined, shortCircuit: true };
      }
    },
    load(url, context, next) {
      if (url.startsWith(root)) {
        const file = decodeURIComponent(url.slice(root.length));
        if (Object.hasOwn(formats, file)) {
          const source = readFileSync(join(directory, strippedFolder, `${file}.js`), "utf8");
          return { format: formats[file], source, shortCircuit: true };
        }
      }
      return next(url, context);
    },
  });
}

/** `./x.js` and `./x` mean `./x.ts` where only that is there, as TypeScript itself resolves them. */
function inTypeScript(specifier, context, formats, root) {
  if (!/^(?:\.\.?\/|file:)/.test(specifier) || context.parentURL === undefined) return undefined;
  const url = new URL(specifier, context.parentURL).href;
  if (!url.startsWith(root)) return undefined;
  const file = fileURLToPath(url).slice(fileURLToPath(root).length);
  const candidates = [file.replace(/\.([cm]?)js$/, ".$1ts"), `${file}.ts`, `${file}/index.ts`];
  const found = candidates.find((candidate) => Object.hasOwn(formats, candidate));
  return found === undefined ? undefined : new URL(found.split("/").map(encodeURIComponent).join("/"), root).href;
}
