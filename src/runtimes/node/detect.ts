import { lstat, readFile, stat } from "node:fs/promises";
import { join, normalize } from "node:path";
import type { Detection } from "../../ports/runtime.ts";

/**
 * The handler of a folder of JavaScript or TypeScript: what `package.json` names as its entry, else a file of a usual name.
 * A manifest whose only way in is `npm start` on a file is an HTTP server; its handler is that file.
 */
export async function detectNode(directory: string): Promise<Detection | undefined> {
  const manifest = await readManifest(directory);
  if (manifest !== undefined) {
    const named = [entry(manifest["exports"]), manifest["main"]].filter((value) => typeof value === "string");
    for (const value of named) {
      const file = await firstFile(directory, withExtensions(normalize(value)));
      if (file !== undefined) return { confidence: 0.9, handler: file, convention: "native" };
    }
  }
  const file = await firstFile(directory, usualNames);
  if (file !== undefined)
    return { confidence: manifest === undefined ? 0.6 : 0.9, handler: file, convention: "native" };
  const started = startedFile(manifest);
  if (started !== undefined && (await firstFile(directory, [started])) !== undefined) {
    return { confidence: 0.9, handler: started, convention: "http" };
  }
  return undefined;
}

/** `package.json` as an object; undefined where there is none. A broken one is the build's to report. */
export async function readManifest(directory: string): Promise<Record<string, unknown> | undefined> {
  const path = join(directory, "package.json");
  // A link could point at a file of the host's.
  if (!(await lstat(path).catch(() => undefined))?.isFile()) return undefined;
  const text = await readFile(path, "utf8");
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

const extensions = ["ts", "mts", "mjs", "js", "cts", "cjs"];
const usualNames = ["index", "handler", "src/index", "src/handler", "main", "function", "app"].flatMap((name) =>
  extensions.map((extension) => `${name}.${extension}`),
);

/** The entry for `import` out of the forms that `exports` may have (https://nodejs.org/api/packages.html#exports). */
function entry(exports: unknown): unknown {
  if (typeof exports !== "object" || exports === null) return exports;
  const table = exports as Record<string, unknown>;
  for (const key of [".", "import", "node", "default", "require"]) if (key in table) return entry(table[key]);
  return undefined;
}

function startedFile(manifest: Record<string, unknown> | undefined): string | undefined {
  const start = (manifest?.["scripts"] as { start?: unknown } | undefined)?.start;
  if (typeof start !== "string") return undefined;
  const file = /^node\s+(?:--?[\w-]+(?:=\S+)?\s+)*([^\s-]\S*)$/.exec(start.trim())?.[1];
  return file === undefined ? undefined : withExtensions(normalize(file))[0];
}

function withExtensions(file: string): string[] {
  if (/\.[cm]?[jt]s$/.test(file)) return [file];
  return [
    ...extensions.map((extension) => `${file}.${extension}`),
    ...extensions.map((extension) => join(file, `index.${extension}`)),
  ];
}

async function firstFile(directory: string, candidates: readonly string[]): Promise<string | undefined> {
  for (const candidate of candidates) {
    if (candidate.startsWith("..")) continue;
    const found = await stat(join(directory, candidate)).catch(() => undefined);
    if (found?.isFile()) return candidate;
  }
  return undefined;
}
