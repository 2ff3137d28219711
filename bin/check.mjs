/** `npm run check`: types, lint, format and architecture; the fast half of what CI does. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ensureNode, ensurePackages, packageRoot, say } from "./host.mjs";

const node = ensureNode();
ensurePackages({ development: true });
const tool = (name, file = join("bin", name)) => join(packageRoot, "node_modules", name, file);

const checks = [
  ["types", [tool("typescript", "bin/tsc"), "-p", "tsconfig.json"]],
  ["lint", [tool("oxlint"), "--type-aware", "--deny-warnings", "src", "test", "bench", "bin"]],
  ["format", [tool("oxfmt"), "--check", "."]],
  ["architecture", ["--test", "--test-reporter=dot", "test/architecture/*.test.ts"]],
];
const failed = checks.filter(([name, parameters]) => {
  say(`· ${String(name)}`);
  return spawnSync(node, parameters, { cwd: packageRoot, stdio: "inherit" }).status !== 0;
});
if (failed.length > 0) say(`Failed: ${failed.map(([name]) => name).join(", ")}`);
process.exit(failed.length > 0 ? 1 : 0);
