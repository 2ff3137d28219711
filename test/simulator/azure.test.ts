import assert from "node:assert/strict";
import { test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { AzureTrace, type ReadLines } from "../../src/simulator/azure.ts";

const minuteColumns = Array.from({ length: 1440 }, (_, index) => index + 1);

function invocations(id: string, trigger: string, calls: Record<number, number>): string {
  return [id, trigger, ...minuteColumns.map((minute) => calls[minute] ?? 0)].join(",");
}

const files: Record<string, string[]> = {
  "invocations_per_function 0": [
    `HashOwner,HashApp,HashFunction,Trigger,${minuteColumns.join(",")}`,
    invocations("o,a,f", "timer", { 1: 1, 61: 2 }),
    invocations("o,b,g", "http", { 10: 600 }),
    invocations("o,a,h", "http", { 30: 1 }),
  ],
  "invocations_per_function 1": [
    `HashOwner,HashApp,HashFunction,Trigger,${minuteColumns.join(",")}`,
    invocations("o,b,g", "http", { 1440: 3 }),
  ],
  "function_durations_percentiles 0": [
    `HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum,${[0, 1, 25, 50, 75, 99, 100].map((p) => `percentile_Average_${p}`).join(",")}`,
    "o,b,g,10,600,10,10,10,10,10,10,10,10,10",
  ],
  "app_memory_percentiles 0": ["HashOwner,HashApp,SampleCount,AverageAllocatedMb", "o,b,5,100"],
  "app_memory_percentiles 1": ["HashOwner,HashApp,SampleCount,AverageAllocatedMb", "o,b,5,200"],
};
const read: ReadLines = (file, day) => files[`${file} ${day}`];

test("the three kinds of files are joined by application and function", () => {
  const trace = new AzureTrace(read, 2, 1);
  assert.deepEqual(
    trace.applications.map(({ name, functions, memoryMb }) => [name, functions, memoryMb]),
    [
      ["o/a", 2, 170],
      ["o/b", 1, 150],
    ],
  );
  const first = trace.day(0);
  assert.deepEqual([...first.from], [0, 4, 5]);
  const at = [...first.at.slice(0, 5)];
  // The timer at the minute's start and in its middle; the request somewhere in its minute; 600 calls in one entry.
  assert.equal(at[0], 0);
  assert.ok(at[1]! >= 29 * 60_000 && at[1]! < 30 * 60_000);
  assert.deepEqual(at.slice(2), [60 * 60_000, 60.5 * 60_000, 9 * 60_000]);
  assert.deepEqual([first.calls[4], first.gapMs[4], first.runMs[4]], [600, 100, 10]);
  const second = trace.day(1);
  assert.deepEqual([...second.from], [0, 0, 3]);
});

test("what is missing and what is no number is named", () => {
  assert.throws(
    () => new AzureTrace(read, 3, 1),
    (error) => error instanceof VirgaError && error.code === "not_found" && /day 3/.test(error.message),
  );
  const broken: ReadLines = (file, day) =>
    file === "invocations_per_function" && day === 0
      ? [files["invocations_per_function 0"]![0]!, invocations("o,a,f", "timer", {}).replace(/0$/, "many")]
      : undefined;
  const trace = new AzureTrace(broken, 1, 1);
  assert.throws(
    () => trace.day(0),
    (error) => error instanceof VirgaError && /Line 2 .* column 1440/.test(error.message),
  );
});
