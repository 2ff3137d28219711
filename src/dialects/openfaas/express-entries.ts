import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/**
 * SHA-256 of the node templates' `index.js`: those that OpenFaaS has published for Node 14 to 22 and whose way with requests is that
 * of `guest/express.mjs`, and ours. One that somebody has changed is another, and runs as the server that it is.
 */
export function expressEntries(): ReadonlySet<string> {
  return (known ??= new Set([...published, own()]));
}

let known: ReadonlySet<string> | undefined;

function own(): string {
  const entry = new URL("templates/node22/index.js", import.meta.url);
  return createHash("sha256").update(readFileSync(entry)).digest("hex");
}

const published = [
  "2e3378cda36c8bfcd919e296fd4d42a8b826dae0f756c4d0198f395586a6427f",
  "bf7be201cecd8ba740dfc245a2e9b6fbb8f4df0f36c6ad3e696292c0237a622a",
  "b1ebcf581f77369bb8bad0b07c85e662a141b5bb6e1ff5405173d91d43d6d801",
  "19548a5992a7719bfe1b04e7326336d3d5b019b98f4058bf7ba01dbbaeb43acb",
  "0393b72ecb6c96a7d7f64806b287b1ac3da72b9a7775838e160da2f0174cafb0",
  "e11717783dea24232ddaa1d7fa02c52783fc9474a267c8de64e7ca6bc85cd2b6",
];
