// Runs in the build's sandbox, with the platform's own Node: finds syntax errors in the function's own files, and takes the
// types out of its TypeScript, so that an instance need not (loading Node's stripper takes 35 ms and 15 MB).
// Arguments: the folder, the handler's file. The report is one line of JSON on stdout.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, extname, join } from "node:path";
import vm from "node:vm";
import { bundleFolder } from "./bundled.mjs";
import { codeFrame } from "./code-frame.mjs";
import { strippedFolder, strippedList } from "./loader.mjs";
import { moduleIndex } from "./module-index.mjs";

const [directory, handler] = process.argv.slice(2);
const formats = {};
const problems = [];
let format;

// Code that was deployed before may bring what belongs to its files of then.
for (const made of [strippedFolder, moduleIndex, bundleFolder])
  rmSync(join(directory, made), { recursive: true, force: true });
if (!existsSync(join(directory, handler))) {
  problems.push({ message: `The handler file ${handler} does not exist`, location: handler });
}
for (const file of sources(directory)) {
  try {
    const found = check(file);
    if (file === handler) format = found;
  } catch (error) {
    problems.push(describe(file, error));
  }
}
if (Object.keys(formats).length > 0) {
  mkdirSync(dirname(join(directory, strippedList)), { recursive: true });
  writeFileSync(join(directory, strippedList), JSON.stringify(formats));
}
process.stdout.write(`${JSON.stringify({ problems: problems.slice(0, 20), format })}\n`);

/** Gives the file's format. */
function check(file) {
  const source = readFileSync(join(directory, file), "utf8").replace(/^\uFEFF/, "");
  const extension = extname(file);
  if (!extension.endsWith("ts")) {
    return compile(file, source.replace(/^#!/, "//"), formatOf(file, extension));
  }
  const stripped = strip(source, file);
  const format = compile(file, stripped.replace(/^#!/, "//"), formatOf(file, extension));
  const target = join(directory, strippedFolder, `${file}.js`);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, stripped);
  formats[file] = format;
  return format;
}

function strip(source, file) {
  try {
    return stripTypeScriptTypes(source);
  } catch (error) {
    if (error.code !== "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") throw error;
    // Enums, namespaces, parameter properties: these need new code, and a source map for the lines.
    return stripTypeScriptTypes(source, { mode: "transform", sourceMap: true, sourceUrl: file.split("/").at(-1) });
  }
}

/** Compiles without running. Gives the format that it turned out to have. */
function compile(file, source, format) {
  if (format !== "module") {
    try {
      vm.compileFunction(source, ["exports", "require", "module", "__filename", "__dirname"], {
        filename: file,
        importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      });
      return "commonjs";
    } catch (error) {
      if (format === "commonjs") throw error;
    }
  }
  parseModule(source, file);
  return "module";
}

function parseModule(source, file) {
  return new vm.SourceTextModule(source, { identifier: file });
}

/** Undefined where only the code itself can tell, as with Node. */
function formatOf(file, extension) {
  if (extension.startsWith(".m")) return "module";
  if (extension.startsWith(".c")) return "commonjs";
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const manifest = join(directory, folder, "package.json");
    if (existsSync(manifest)) {
      const { type } = JSON.parse(readFileSync(manifest, "utf8"));
      return type === "module" || type === "commonjs" ? type : undefined;
    }
    if (folder === ".") return undefined;
  }
}

/** The function's own files: not its dependencies, not declarations. Of JavaScript only the handler; TypeScript all. */
function sources(root) {
  const found = [];
  const visit = (folder) => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (entry.name !== "node_modules" && !entry.name.startsWith(".")) visit(path);
      } else if (entry.isFile() && isSource(path)) {
        found.push(path);
      }
    }
  };
  visit("");
  return found;
}

function isSource(path) {
  if (path === handler) return /\.[cm]?[jt]s$/.test(path);
  return /\.[cm]?ts$/.test(path) && !/\.d\.[cm]?ts$/.test(path) && /\.[cm]?ts$/.test(handler);
}

function describe(file, error) {
  const message = error.code === "ERR_INVALID_TYPESCRIPT_SYNTAX" ? error.message : `${error.name}: ${error.message}`;
  const place = placeOf(error) ?? placeByStripper(file);
  if (place === undefined) return { message, location: file };
  const { line, column } = place;
  return {
    message,
    location: `${file}:${line}:${column}`,
    frame: codeFrame(readFileSync(join(directory, file), "utf8"), line, column),
  };
}

/** Node and the stripper put the place of a syntax error above its stack: `file:line`, the code, a line with carets. */
function placeOf(error) {
  if (typeof error.startLine === "number") return { line: error.startLine, column: (error.startColumn ?? 0) + 1 };
  const line = Number(/^[^\n]*:(\d+)\n/.exec(error.stack)?.[1]);
  if (!line) return undefined;
  const marker = error.stack.split("\n").find((text) => /^\s*\^+\s*$/.test(text));
  return { line, column: marker === undefined ? 1 : marker.indexOf("^") + 1 };
}

/** Node says nowhere where a module's syntax error is; the stripper's parser finds most of them, too. */
function placeByStripper(file) {
  try {
    stripTypeScriptTypes(readFileSync(join(directory, file), "utf8"));
  } catch (error) {
    return placeOf(error);
  }
  return undefined;
}
