import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import { decideExpression, parseExpression } from "../../src/core/scaling/expression.ts";
import { Metrics, type Sample } from "../../src/core/scaling/metrics.ts";

const quiet: Sample = { concurrency: 0, requests: 0, completed: 0, queue: 0, cpu: 0, instances: 0 };

/** Two minutes: a minute with 10 calls a second, then one with 40. */
function busy(): Metrics {
  const metrics = new Metrics(3_600_000);
  for (let at = 0; at < 120; at++) {
    const late = at >= 60;
    const sample = { concurrency: late ? 8 : 2, requests: late ? 40 : 10, completed: late ? 39 : 10, queue: at % 5 };
    metrics.record(at * 1000, { ...quiet, ...sample, cpu: 0.5, instances: 3 });
  }
  return metrics;
}

test("numbers, operators and their rank", () => {
  const nothing = new Metrics(1000);
  for (const [text, value] of [
    ["1 + 2 * 3", 7],
    ["(1 + 2) * 3", 9],
    ["10 - 4 - 3", 3],
    ["2 * 3 / 4 % 1", 0.5],
    ["-2 + --3", 1],
    ["1.5e1 + .5", 15.5],
    ["3 > 2", 1],
    ["3 <= 2", 0],
    ["1 + 1 == 2", 1],
    ["5 * (2 != 2)", 0],
    ["max(1, 2, 3) - min(4, 2)", 1],
    ["ceil(1.1) + floor(1.9) + round(1.5) + abs(-1)", 6],
    ["clamp(7, 1, 5) + clamp(-1, 1, 5)", 6],
    ["queue", 0],
  ] as const) {
    assert.equal(parseExpression(text).value(nothing), value, text);
  }
});

test("metrics: the newest of a gauge, rates of counters, averages and extremes over windows", () => {
  const metrics = busy();
  for (const [text, value] of [
    ["queue", 4],
    ["rate(requests[1m])", 40],
    ["rate(requests[2m])", 25],
    ["increase(requests[1m30s])", 2700],
    ["rate(requests[1m]) - rate(completed[1m])", 1],
    ["avg(concurrency[2m])", 5],
    ["max(queue[10s]) + min(concurrency[90s])", 6],
    ["ceil(rate(requests[1m]) / 12)", 4],
    ["instances * (cpu > 0.4)", 3],
  ] as const) {
    assert.equal(parseExpression(text).value(metrics), value, text);
  }
  const parsed = parseExpression("rate(requests[1m]) + max(cpu[10m])");
  assert.deepEqual([parsed.windowMs, [...parsed.metrics]], [600_000, ["requests", "cpu"]]);
  // An hour asked for where two minutes are known: over what is known.
  assert.equal(parseExpression("rate(requests[1h])").value(metrics), 25);
});

test("what is wrong is named with its column and with what is allowed", () => {
  for (const [text, message, fix] of [
    ["", /column 1: the formula is empty/, /such as/],
    ["1 +", /column 4: the end is not expected/, /a number, a metric \(concurrency, requests/],
    ["1 2", /column 3: "2" is not expected/, /join values by/],
    ["reqests", /column 1: reqests is no metric/, /did you mean requests\?/],
    ["xyz", /column 1: xyz is no metric/, /use one of concurrency, requests, completed, queue, cpu, instances/],
    ["rat(requests[1m])", /column 1: rat is no function/, /did you mean rate\?/],
    ["foo(1)", /column 1: foo is no function/, /use one of rate, increase, avg, max, min, ceil/],
    ["2 * requests", /column 5: requests is a counter/, /rate\(requests\[1m\]\) or increase/],
    ["queue[1m]", /column 6: a window stands inside of a function/, /avg\(queue\[1m\]\)/],
    ["rate(queue[1m])", /column 1: rate is not for queue, which is a gauge/, /avg\(queue\[1m\]\)/],
    ["avg(requests[1m])", /column 1: avg is not for requests, which is a counter/, /rate/],
    ["ceil(queue[1m])", /column 1: ceil is not for queue/, /avg/],
    ["rate(1)", /column 6: rate looks back over a window/, /rate\(requests\[1m\]\)/],
    ["rate(requests[1])", /column 15: "1" is no window/, /1s to 1h/],
    ["rate(requests[2h])", /column 15: "2h" is no window/, /1s to 1h/],
    ["rate(requests[1m)", /column 17: "\)" stands where \] is missing/, /put \] there/],
    ["max(1)", /column 1: max takes 2 or more values, not 1/, /max\(1, queue\)/],
    ["clamp(1, 2)", /takes 3 values, not 2/, /clamp/],
    ["ceil", /column 1: ceil is a function/, /ceil\(…\)/],
    ["1 & 2", /column 3: "&" means nothing here/, /join values/],
    ["constructor", /constructor is no metric/, /use one of/],
    ["constructor(1)", /constructor is no function/, /use one of/],
    ["(1", /column 3: the end stands where \) is missing/, /put \) there/],
    [`${"(".repeat(60)}1`, /nested more than 50 deep/, /flatter/],
    [`${"1+".repeat(600)}1`, /too long/, /1000 characters/],
  ] as const) {
    assert.throws(
      () => parseExpression(text),
      (error) => {
        assert.ok(error instanceof VirgaError && error.code === "invalid_field", String(error));
        assert.match(error.message, message);
        assert.match(error.detail.fix!, fix);
        return true;
      },
      text,
    );
  }
});

test("the value is rounded up; what is no number changes nothing; a call has an instance", () => {
  const standing = { ready: 1, starting: 0, running: 0, waiting: 0 };
  const decide = (formula: string, running = 0) => {
    const settings = { formula, downWindowMs: 0 };
    return decideExpression(settings, parseExpression(formula), [], busy(), { ...standing, running }, 0).verdict;
  };
  assert.equal(decide("rate(requests[1m]) / 16").desired, 3);
  assert.equal(decide("0.1 + 0.2 + 2.7").desired, 3);
  assert.deepEqual([decide("0 - 5").desired, decide("0 - 5", 1).desired], [0, 1]);
  assert.equal(decide("0 / 0").desired, undefined);
  const alone = { ready: 0, starting: 0, running: 0, waiting: 1 };
  const unknown = decideExpression({ formula: "", downWindowMs: 0 }, parseExpression("0 / 0"), [], busy(), alone, 0);
  assert.equal(unknown.verdict.desired, 1);
  assert.equal(decide("1 / 0").desired, Infinity);
  assert.match(decide("rate(requests[1m]) / 16").reasons.join(), /rate\(requests\[1m\]\) \/ 16 is 2.5: 3 instances/);
});

test("a formula has the value of its parts put together", () => {
  interface Valued {
    readonly text: string;
    readonly value: number;
  }
  const joins: Record<string, (a: number, b: number) => number> = {
    "+": (a, b) => a + b,
    "-": (a, b) => a - b,
    "*": (a, b) => a * b,
    "/": (a, b) => a / b,
    "%": (a, b) => a % b,
    ">": (a, b) => (a > b ? 1 : 0),
  };
  const { formula } = fc.letrec<{ formula: Valued }>((tie) => ({
    formula: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.integer({ min: 0, max: 99 }).map((value) => ({ text: String(value), value })),
      fc
        .tuple(tie("formula"), fc.constantFrom(...Object.keys(joins)), tie("formula"))
        .map(([a, sign, b]) => ({ text: `(${a.text} ${sign} ${b.text})`, value: joins[sign]!(a.value, b.value) })),
      fc
        .tuple(tie("formula"), tie("formula"))
        .map(([a, b]) => ({ text: `max(${a.text},${b.text})`, value: Math.max(a.value, b.value) })),
      tie("formula").map(({ text, value }) => ({ text: `- ${text}`, value: -value })),
    ),
  }));
  fc.assert(
    fc.property(formula, ({ text, value }) => {
      fc.pre(text.length <= 1000);
      assert.ok(Object.is(parseExpression(text).value(new Metrics(1000)), value), text);
    }),
  );
});

test("any text is a formula or refused with a column", () => {
  const word = fc.constantFrom(
    "rate",
    "max",
    "queue",
    "requests",
    "[",
    "]",
    "(",
    ")",
    ",",
    "1m",
    "2",
    "+",
    "/",
    ">=",
    " ",
    "é",
    "\0",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word).map((words) => words.join("")),
      ),
      (text) => {
        try {
          assert.equal(typeof parseExpression(text).value(busy()), "number");
        } catch (error) {
          assert.ok(error instanceof VirgaError, String(error));
          assert.match(error.message, /^column \d+: /);
        }
      },
    ),
  );
});
