/** `npm test [-- FILE…]`: everything that the tests need, then the tests. */
import { ensureDebianPackages, ensureNode, ensurePackages, handOver, packageRoot, runs, say } from "./host.mjs";

const node = ensureNode();
ensurePackages({ development: true });
const missing = ensureDebianPackages([
  { name: "bubblewrap", present: () => runs("bwrap", "--version") },
  { name: "slirp4netns", present: () => runs("slirp4netns", "--version") },
  { name: "python3", present: () => runs("/usr/bin/python3", "--version") },
  { name: "python3-pip", present: () => runs("/usr/bin/python3", "-m", "pip", "--version") || runs("uv", "--version") },
]);
if (missing.length > 0)
  say(`Without ${missing.join(", ")}: the tests that need them are skipped, each with its reason.`);

const chosen = process.argv.slice(2);
const files = chosen.length > 0 ? chosen : ["test/**/*.test.ts"];
handOver(node, ["--test", "--test-reporter=spec", ...files], { cwd: packageRoot });
