import assert from "node:assert/strict";
import { test } from "node:test";
import { policyOf } from "../../src/core/keep-alive/policies.ts";
import { picture } from "../../src/simulator/picture.ts";
import { type PolicyReport, simulate } from "../../src/simulator/simulate.ts";
import { SyntheticTrace, type Variation } from "../../src/simulator/synthetic.ts";

const contestants = (["fixed", "hybrid", "greedy-dual", "learned"] as const).map((name) => ({
  label: name,
  policy: policyOf(name, { keepMs: 600_000 }),
}));

/** The parameters of `learned` were chosen on the default trace with seeds 1 and 2. These are others, made otherwise. */
const heldOut: Partial<Variation>[] = [
  {},
  { pauses: "log-normal", drifting: 0.2, timerLateMs: 1000, insideMs: 20_000, daily: 0.2 },
  { pauses: "weibull", drifting: 0.1, timerLateMs: 50, insideMs: 120_000, daily: 0.9, seldomIsClustered: 0.2 },
];

for (const [index, variation] of heldOut.entries()) {
  test(`on a trace that it was not made on, learned has fewer cold starts than hybrid for less memory (${index + 1})`, async (t) => {
    const open = () => new SyntheticTrace({ functions: 1500, days: 14, seed: 1000 + index, variation });
    const [fixed, hybrid, greedyDual, learned] = (await simulate(open, contestants)) as [
      PolicyReport,
      PolicyReport,
      PolicyReport,
      PolicyReport,
    ];
    const ratio = learned.applications.p75 / hybrid.applications.p75;
    const waste = learned.wasted / hybrid.wasted;
    t.diagnostic(`75th percentile ÷ ${ratio.toFixed(2)}, idle memory-time ÷ ${waste.toFixed(2)}`);
    assert.equal(fixed.wasted, 1);
    assert.ok(ratio < 0.85, `${ratio}`);
    assert.ok(waste < 0.95, `${waste}`);
    assert.ok(learned.applications.mean < hybrid.applications.mean);
    assert.ok(learned.applications.p90 <= hybrid.applications.p90);
    // And hybrid against the fixed time, as in the paper: far fewer for about the same memory.
    assert.ok(hybrid.applications.p75 < fixed.applications.p75 / 2);
    assert.ok(hybrid.wasted < 1.35);
    // The memory it was given, all of it and not more, but for what runs.
    assert.ok(greedyDual.wasted > 0.6 && greedyDual.wasted < 1.4, `${greedyDual.wasted}`);
    for (const report of [hybrid, greedyDual, learned]) assert.equal(report.calls, fixed.calls);
  });
}

test("the same trace gives the same report, to the last digit", async () => {
  const open = () => new SyntheticTrace({ functions: 300, days: 3, seed: 4 });
  assert.deepEqual(await simulate(open, contestants), await simulate(open, contestants));
});

test("the picture shows each policy once", async () => {
  const open = () => new SyntheticTrace({ functions: 100, days: 2, seed: 4 });
  const svg = picture(await simulate(open, contestants));
  for (const { label } of contestants) assert.equal(svg.split(`>${label}</text>`).length, 2);
  assert.equal(svg.match(/<circle/g)?.length, contestants.length);
});
