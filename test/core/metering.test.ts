import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { billedMs, gbSeconds, price } from "../../src/core/metering.ts";
import { addInvocation, addSums, dayOf, isDay, noUsage, usageDay } from "../../src/core/usage-days.ts";
import { invocation } from "../engine/invocations.ts";

test("a run is paid in whole milliseconds, rounded up, and nothing where nothing ran", () => {
  assert.equal(billedMs(0), 0);
  assert.equal(billedMs(0.01), 1);
  assert.equal(billedMs(12), 12);
  assert.equal(billedMs(12.001), 13);
});

test("a GB-second is 1024 MB for 1000 ms", () => {
  assert.equal(gbSeconds(1024, 1000), 1);
  assert.equal(gbSeconds(128, 1), 0.000125);
});

test("a rate card prices requests, memory and CPU", () => {
  const rates = { currency: "EUR", perMillionRequests: 0.2, perGbSecond: 0.00002, perCpuSecond: 0.00001 };
  assert.deepEqual(price({ requests: 2_000_000, gbSeconds: 100_000, cpuSeconds: 50_000 }, rates), {
    currency: "EUR",
    requests: 0.4,
    memory: 2,
    cpu: 0.5,
    total: 2.9,
  });
});

test("sums are the same in whatever order and grouping calls are added", () => {
  const calls = fc.array(
    fc.record({
      billedMs: fc.nat(100_000),
      memoryMb: fc.integer({ min: 1, max: 8192 }),
      cpuMs: fc.double({ min: 0, max: 1e5, noNaN: true }),
      cut: fc.boolean(),
    }),
  );
  fc.assert(
    fc.property(calls, (list) => {
      const straight = noUsage();
      const grouped = noUsage();
      let group = noUsage();
      for (const { cut: _, ...usage } of list) addInvocation(straight, invocation("x", { acceptedAt: 0, usage }));
      for (const { cut, ...usage } of list.toReversed()) {
        addInvocation(group, invocation("x", { acceptedAt: 0, usage }));
        if (!cut) continue;
        addSums(grouped, group);
        group = noUsage();
      }
      addSums(grouped, group);
      assert.deepEqual(grouped, straight);
      assert.equal(usageDay({ namespace: "n", name: "f" }, "2030-01-01", straight).requests, list.length);
    }),
  );
});

test("days are UTC days, and only real ones", () => {
  assert.equal(dayOf(Date.UTC(2030, 1, 28, 23, 59, 59, 999)), "2030-02-28");
  assert.equal(dayOf(Date.UTC(2030, 2, 1)), "2030-03-01");
  assert.ok(isDay("2028-02-29"));
  for (const text of ["2030-02-29", "2030-13-01", "2030-1-1", "today", ""]) assert.ok(!isDay(text), text);
});
