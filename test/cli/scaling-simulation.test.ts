import assert from "node:assert/strict";
import { test } from "node:test";
import { scalingContestants, simulateInParts } from "../../src/cli/scaling-simulation.ts";
import { type ScalingReport, simulateScaling } from "../../src/simulator/scaling.ts";
import { SyntheticTrace } from "../../src/simulator/synthetic.ts";

const trace = { functions: 300, days: 2, seed: 3 };
const policies = { policies: ["demand", "kpa"], concurrency: 1, max: 1000 };

test("a trace replayed in parts, each in a thread, comes to the same as in one piece", async () => {
  const shares: number[] = [];
  const parts = await simulateInParts(trace, policies, new AbortController().signal, (share) => shares.push(share));
  const whole = await simulateScaling(new SyntheticTrace(trace), scalingContestants(policies));
  // Sums of fractions in another order.
  const rounded = (reports: ScalingReport[]): unknown =>
    JSON.parse(JSON.stringify(reports), (_, value: unknown) =>
      typeof value === "number" ? Number(value.toPrecision(9)) : value,
    );
  assert.deepEqual(rounded(parts), rounded(whole));
  assert.equal(shares.at(-1), 1);
});

test("it stops when it is told to", async () => {
  const stop = new AbortController();
  const run = simulateInParts(trace, policies, stop.signal, () => stop.abort(new Error("enough")));
  await assert.rejects(run, /enough/);
});
