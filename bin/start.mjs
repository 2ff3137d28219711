/** `npm start`: everything a bare host lacks, then `virga up` with the examples. */
import { join } from "node:path";
import { ensureDebianPackages, ensureNode, ensurePackages, handOver, packageRoot, runs, serverFlags } from "./host.mjs";

const node = ensureNode();
ensurePackages({ development: false });
ensureDebianPackages([
  { name: "bubblewrap", present: () => runs("bwrap", "--version") },
  { name: "slirp4netns", present: () => runs("slirp4netns", "--version") },
  { name: "python3", present: () => runs("/usr/bin/python3", "--version") },
  { name: "python3-pip", present: () => runs("/usr/bin/python3", "-m", "pip", "--version") || runs("uv", "--version") },
]);
handOver(node, [...serverFlags, join(packageRoot, "bin", "virga.mjs"), "up", "--examples", ...process.argv.slice(2)]);
