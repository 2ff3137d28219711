import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import {
  applicationRates,
  type Curve,
  functionRates,
  functionsPerApplication,
  onlyTimerShare,
  someTimerShare,
  variation,
} from "../../src/simulator/published.ts";
import { type SyntheticApplication, SyntheticTrace } from "../../src/simulator/synthetic.ts";
import { dayMs, type DayOfCalls } from "../../src/simulator/trace.ts";

/** What came of the generator, measured on its calls. */
interface Measured {
  readonly application: SyntheticApplication;
  readonly callsADay: number;
  /** Coefficient of variation of the time between calls; undefined with fewer than three calls. */
  readonly variation: number | undefined;
}

const days = 14;

describe("the synthetic trace has the published distributions", () => {
  let all: Measured[] = [];
  before(() => {
    all = measure(new SyntheticTrace({ functions: 9000, days, seed: 11 }));
  });

  test("calls a day of an application", () => {
    const rates = all.filter(({ callsADay }) => callsADay > 0).map(({ callsADay }) => callsADay);
    assert.ok(rates.length / all.length > 0.97);
    // 81 % are called once a minute or less, 45 % once an hour or less.
    near(rates, applicationRates, 0.05);
    assert.ok(
      Math.max(...rates) / Math.min(...rates) > 1e7,
      "eight orders of magnitude, as far as 3,000 applications show them",
    );
  });

  test("calls a day of a function", () => {
    const rates = all.flatMap(({ application, callsADay }) =>
      application.shares.map((share) => share * callsADay).filter((rate) => rate * days >= 1),
    );
    near(rates, functionRates, 0.07);
  });

  test("few applications make most calls", () => {
    const rates = all.map(({ callsADay }) => callsADay).sort((a, b) => b - a);
    const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
    // 18.6 % of the applications: 99.6 % of the calls.
    assert.ok(sum(rates.slice(0, Math.floor(rates.length * 0.186))) / sum(rates) > 0.985);
  });

  test("variation of the time between calls, by triggers", () => {
    const of = (wanted: (triggers: SyntheticApplication["triggers"]) => boolean): number[] =>
      all.flatMap((one) => (one.variation !== undefined && wanted(one.application.triggers) ? [one.variation] : []));
    near(
      of(() => true),
      variation.all,
      0.09,
    );
    near(
      of((triggers) => triggers === "timers"),
      variation.onlyTimers,
      0.12,
    );
    near(
      of((triggers) => triggers !== "others"),
      variation.someTimer,
      0.13,
    );
    near(
      of((triggers) => triggers === "others"),
      variation.noTimer,
      0.13,
    );
  });

  test("triggers, and functions of an application", () => {
    const share = (wanted: (one: SyntheticApplication) => boolean): number =>
      all.filter(({ application }) => wanted(application)).length / all.length;
    assert.ok(Math.abs(share(({ triggers }) => triggers === "timers") - onlyTimerShare) < 0.02);
    assert.ok(Math.abs(share(({ triggers }) => triggers !== "others") - someTimerShare) < 0.03);
    near(
      all.map(({ application }) => application.functions),
      functionsPerApplication,
      0.03,
    );
  });

  test("memory: half of the applications below 140 MB, nine of ten below 300 MB", () => {
    const memory = all.map(({ application }) => application.memoryMb);
    near(
      memory,
      [
        [140, 0.5],
        [183, 0.75],
        [262, 0.9],
      ],
      0.03,
    );
  });
});

test("run times: half of the functions run below 0.7 s on average", () => {
  const trace = new SyntheticTrace({ functions: 3000, days: 1, seed: 3 });
  const day = trace.day(0);
  const means = trace.applications.flatMap((_, index) => {
    const runs = day.runMs.slice(day.from[index], day.from[index + 1]);
    return runs.length < 5 ? [] : [runs.reduce((sum, run) => sum + run, 0) / runs.length / 1000];
  });
  near(
    means,
    [
      [Math.exp(-0.38), 0.5],
      [Math.exp(-0.38 + 2.36), 0.84],
    ],
    0.06,
  );
});

test("the same seed makes the same calls, another seed others, more functions leave the first as they are", () => {
  const digest = (functions: number, seed: number): number[] => {
    const trace = new SyntheticTrace({ functions, days: 2, seed });
    const sums: number[] = [];
    for (let index = 0; index < 2; index++) {
      const day = trace.day(index);
      for (let application = 0; application < 20; application++) {
        sums.push(day.at.slice(day.from[application], day.from[application + 1]).reduce((sum, at) => sum + at, 0));
      }
    }
    return sums;
  };
  assert.deepEqual(digest(200, 5), digest(200, 5));
  assert.notDeepEqual(digest(200, 5), digest(200, 6));
  assert.deepEqual(digest(400, 5), digest(200, 5));
});

test("calls stand in order and inside their day", () => {
  const trace = new SyntheticTrace({ functions: 500, days: 3, seed: 9 });
  for (let index = 0; index < 3; index++) {
    const day: DayOfCalls = trace.day(index);
    for (let application = 0; application < trace.applications.length; application++) {
      let last = 0;
      for (let entry = day.from[application]!; entry < day.from[application + 1]!; entry++) {
        assert.ok(day.at[entry]! >= last && day.at[entry]! < dayMs);
        assert.ok(day.calls[entry]! >= 1 && day.gapMs[entry]! <= 5000);
        last = day.at[entry]!;
      }
    }
  }
});

function measure(trace: SyntheticTrace): Measured[] {
  const size = trace.applications.length;
  const [calls, gaps, sum, squares] = [0, 1, 2, 3].map(() => new Float64Array(size)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const last = new Float64Array(size).fill(Number.NaN);
  for (let index = 0; index < trace.days; index++) {
    const day = trace.day(index);
    for (let application = 0; application < size; application++) {
      const gap = (ms: number, times: number): void => {
        gaps[application]! += times;
        sum[application]! += ms * times;
        squares[application]! += ms * ms * times;
      };
      for (let entry = day.from[application]!; entry < day.from[application + 1]!; entry++) {
        const at = index * dayMs + day.at[entry]!;
        const more = day.calls[entry]! - 1;
        if (!Number.isNaN(last[application]!)) gap(at - last[application]!, 1);
        gap(day.gapMs[entry]!, more);
        calls[application]! += more + 1;
        last[application] = at + more * day.gapMs[entry]!;
      }
    }
  }
  return trace.applications.map((application, index) => {
    const mean = sum[index]! / gaps[index]!;
    const spread = Math.sqrt(Math.max(0, squares[index]! / gaps[index]! - mean * mean));
    return {
      application,
      callsADay: calls[index]! / trace.days,
      variation: gaps[index]! < 2 ? undefined : spread / mean,
    };
  });
}

/** Every point of the curve is met within `off`. A step is looked at from just above. */
function near(values: readonly number[], curve: Curve, off: number): void {
  assert.ok(values.length > 100);
  for (const [value, share] of curve) {
    const found = values.filter((one) => one <= value * 1.03).length / values.length;
    assert.ok(Math.abs(found - share) <= off, `${found.toFixed(3)} lie below ${value}; published is ${share}`);
  }
}
