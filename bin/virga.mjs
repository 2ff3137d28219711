#!/usr/bin/env node
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as nodeModule from "node:module";
import { cacheDirectory, ensureNode, ensurePackages, handOver, isCheckout, isNewEnough, packageRoot } from "./host.mjs";

if (isNewEnough()) {
  ensurePackages({ development: false });
  // Halves the start from source: stripped types and byte code are kept between runs.
  nodeModule.enableCompileCache?.(join(cacheDirectory(), "compiled"));
  const main = isCheckout ? "src/cli/main.ts" : "dist/cli/main.js";
  const cli = await import(pathToFileURL(join(packageRoot, main)).href);
  process.exitCode = await cli.main(process.argv.slice(2));
} else {
  handOver(ensureNode(), [import.meta.filename ?? new URL(import.meta.url).pathname, ...process.argv.slice(2)]);
}
