/** Compiles `src/` into `dist/`, which is what the published package runs, and copies what is no TypeScript of ours. */
import { spawnSync } from "node:child_process";
import { cpSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { ensureNode, ensurePackages, packageRoot, say } from "./host.mjs";

const node = ensureNode();
ensurePackages({ development: true });
const source = join(packageRoot, "src");
const output = join(packageRoot, "dist");
rmSync(output, { recursive: true, force: true });

const compiler = join(packageRoot, "node_modules", "typescript", "bin", "tsc");
const compiled = spawnSync(node, [compiler, "-p", join(packageRoot, "tsconfig.build.json")], {
  stdio: ["ignore", 2, 2],
});
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

// Guests, templates and the programs of built-in images are given to functions as they are; pages to browsers; helpers are run.
const kept = new Set(["guest", "helpers", "templates", "images", "ui"]);
for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
  if (!entry.isDirectory() || !kept.has(entry.name)) continue;
  const folder = join(entry.parentPath, entry.name);
  // What stands beside a page is compiled.
  const filter = (file) => entry.name !== "ui" || !file.endsWith(".ts");
  cpSync(folder, join(output, relative(source, folder)), { recursive: true, filter });
}
say(`Built ${relative(packageRoot, output)}/.`);
