#!/usr/bin/env node
import * as nodeModule from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import {
  cacheDirectory,
  ensureNode,
  ensurePackages,
  handOver,
  isCheckout,
  isNewEnough,
  packageRoot,
  serverFlags,
} from "./host.mjs";

const self = fileURLToPath(import.meta.url);
const parameters = process.argv.slice(2);
const startsServer = parameters.some((parameter) => parameter === "up" || parameter === "dev");
const flags = startsServer ? serverFlags : [];

if (!isNewEnough()) handOver(ensureNode(), [...flags, self, ...parameters]);
else if (flags.some((flag) => !process.execArgv.includes(flag)) && process.execve)
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...flags, self, ...parameters], process.env);
else {
  ensurePackages({ development: false });
  // Halves the start from source: stripped types and byte code are kept between runs.
  nodeModule.enableCompileCache?.(join(cacheDirectory(), "compiled"));
  const main = isCheckout ? "src/cli/main.ts" : "dist/cli/main.js";
  const cli = await import(pathToFileURL(join(packageRoot, main)).href);
  process.exitCode = await cli.main(parameters);
}
