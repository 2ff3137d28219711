// What `bundle.mjs` made of the function: where it lies, how it is loaded, and what its stacks say.
import { existsSync, readFileSync } from "node:fs";
import { createRequire, SourceMap } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { escape } from "./errors.mjs";

export const bundleFolder = ".virga/bundle";

/** Its file for each format of the handler. */
export const bundleFiles = { module: "index.mjs", commonjs: "index.cjs" };

/** The bundle of this folder; undefined where none was made. */
export function findBundle(directory) {
  return Object.values(bundleFiles)
    .map((file) => join(directory, bundleFolder, file))
    .find((file) => existsSync(file));
}

/** Gives what the handler's file exports. */
export async function loadBundle(file) {
  mapStacks(file);
  if (!file.endsWith(".cjs")) return import(pathToFileURL(file).href);
  const exports = createRequire(file)(file); // `import` would search all of it for names of exports
  return { ...exports, default: exports };
}

/**
 * Stacks name the places in the sources. Node would do that by itself, but reads a source map as soon as it loads what it
 * belongs to (13 ms for four packages); here it is read when the first stack is.
 */
function mapStacks(file) {
  const generated = new RegExp(`(?:${escape(pathToFileURL(file).href)}|${escape(file)}):(\\d+):(\\d+)`, "g");
  const format = Error.prepareStackTrace ?? ((error, frames) => [error, ...frames].join("\n    at "));
  let map;
  Error.prepareStackTrace = (error, frames) => {
    const stack = format(error, frames);
    if (typeof stack !== "string") return stack;
    return stack.replace(generated, (place, line, column) => {
      map ??= new SourceMap(JSON.parse(readFileSync(`${file}.map`, "utf8")));
      const { fileName, lineNumber, columnNumber } = map.findOrigin(Number(line), Number(column));
      return fileName === undefined ? place : `${join(dirname(file), fileName)}:${lineNumber}:${columnNumber}`;
    });
  };
}
