/** Builds the peers' clients that tests drive, ahead of them. */
import { join } from "node:path";
import { ensureNode, ensurePackages, handOver, packageRoot } from "./host.mjs";

const node = ensureNode();
ensurePackages({ development: true });
handOver(node, [join(packageRoot, "test", "clients", "warm.ts")], { cwd: packageRoot });
