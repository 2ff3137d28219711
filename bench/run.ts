/** Runs the measurements named on the command line, or all. */
import { cpus, totalmem } from "node:os";
import * as async from "./async.ts";
import * as burst from "./burst.ts";
import * as cold from "./cold.ts";
import * as coldRate from "./cold-rate.ts";
import * as density from "./density.ts";
import * as idle from "./idle.ts";
import * as metering from "./metering.ts";
import * as meteringCost from "./metering-cost.ts";
import * as neighbour from "./neighbour.ts";
import * as nested from "./nested.ts";
import * as openfaas from "./openfaas.ts";
import * as openwhisk from "./openwhisk.ts";
import * as sweep from "./sweep.ts";
import * as warm from "./warm.ts";

export type Report = (what: string, value: string) => void;

const measurements = [
  warm,
  nested,
  async,
  cold,
  coldRate,
  burst,
  neighbour,
  metering,
  meteringCost,
  density,
  idle,
  sweep,
  openwhisk,
  openfaas,
];
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !measurements.some((measurement) => measurement.name === name));
if (unknown.length > 0) {
  console.error(
    `No measurement named ${unknown.join(", ")}. There are: ${measurements.map(({ name }) => name).join(", ")}`,
  );
  process.exit(2);
}

console.log(
  `Node.js ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${new Date().toISOString().slice(0, 10)}`,
);
for (const { name, measure } of measurements) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n${name}`);
  await measure((what, value) => console.log(`  ${what.padEnd(64)} ${value}`));
}
