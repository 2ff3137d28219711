/** `npm run bench [-- NAME…]`: the benchmarks of `bench/`, side by side in one run. */
import { join } from "node:path";
import { ensureNode, ensurePackages, handOver, packageRoot } from "./host.mjs";

const node = ensureNode();
ensurePackages({ development: true });
handOver(node, [join(packageRoot, "bench", "run.ts"), ...process.argv.slice(2)], { cwd: packageRoot });
