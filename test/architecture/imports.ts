import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

export interface ImportEdge {
  /** Path below `src/`. */
  readonly from: string;
  /** Path below `src/`, or the name of a package or built-in module. */
  readonly to: string;
  readonly kind: "internal" | "package" | "builtin";
  /** Erased when the code runs. */
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

export const sourceRoot = resolve(import.meta.dirname, "../../src");

/** Every import of every TypeScript file below `src/`. */
export function readImports(): ImportEdge[] {
  return readdirSync(sourceRoot, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.includes("/templates/") && !path.includes("/guest/"))
    .flatMap((path) => importsOf(path, readFileSync(join(sourceRoot, path), "utf8")));
}

export function importsOf(path: string, text: string): ImportEdge[] {
  const edges: ImportEdge[] = [];
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^\s*\/\/.*$/gm, "");
  const statements = /^\s*(import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm;
  for (const [, , type, target] of code.matchAll(statements))
    edges.push(edge(path, target ?? "", type !== undefined, false));
  for (const [, target] of code.matchAll(/\bimport\(\s*["']([^"']+)["']/g))
    edges.push(edge(path, target ?? "", false, true));
  return edges;
}

/** Files that run when `roots` are loaded: what they import, not types, not on demand. */
export function reachable(edges: readonly ImportEdge[], roots: readonly string[]): Set<string> {
  const seen = new Set<string>(roots);
  const open = [...roots];
  for (let file = open.pop(); file !== undefined; file = open.pop())
    for (const { from, to, kind, typeOnly, dynamic } of edges)
      if (from === file && kind === "internal" && !typeOnly && !dynamic && !seen.has(to)) {
        seen.add(to);
        open.push(to);
      }
  return seen;
}

function edge(from: string, target: string, typeOnly: boolean, dynamic: boolean): ImportEdge {
  if (target.startsWith("."))
    return {
      from,
      to: relative(sourceRoot, resolve(sourceRoot, dirname(from), target)),
      kind: "internal",
      typeOnly,
      dynamic,
    };
  return { from, to: target, kind: target.startsWith("node:") ? "builtin" : "package", typeOnly, dynamic };
}
