import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Invocation } from "../../src/core/model.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

function settled(name: string, totalMs: number, coldStart = false): Invocation {
  return {
    id: "i",
    namespace: "ns",
    name,
    revision: 1,
    cause: { kind: "http" },
    status: "succeeded",
    attempt: 1,
    timings: {
      acceptedAt: 0,
      queueMs: 0,
      coldStartMs: coldStart ? 30 : 0,
      initMs: coldStart ? 20 : 0,
      runMs: 1,
      totalMs,
    },
    usage: { coldStart, billedMs: 1, memoryMb: 1, memoryPeakBytes: 1, cpuMs: 1, bytesIn: 0, bytesOut: 0 },
    logs: [],
  };
}

function valueOf(text: string, series: string): number | undefined {
  const line = text.split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

describe("metrics", () => {
  test("durations fall into cumulative buckets", async () => {
    const metrics = createMetrics({ ofProcess: false });
    for (const ms of [0.5, 1, 3, 4000, 10_000_000]) metrics.settled(settled("f", ms));
    const text = await metrics.render();
    const bucket = (le: string) =>
      valueOf(text, `virga_invocation_duration_seconds_bucket{namespace="ns",function="f",le="${le}"}`);
    assert.deepEqual([bucket("0.001"), bucket("0.005"), bucket("5"), bucket("3600"), bucket("+Inf")], [2, 3, 4, 4, 5]);
    assert.equal(valueOf(text, 'virga_invocation_duration_seconds_count{namespace="ns",function="f"}'), 5);
  });

  test("cold starts are counted with the time they took", async () => {
    const metrics = createMetrics({ ofProcess: false });
    metrics.settled(settled("f", 60, true));
    metrics.settled(settled("f", 1));
    const text = await metrics.render();
    assert.equal(valueOf(text, 'virga_cold_starts_total{namespace="ns",function="f"}'), 1);
    assert.equal(valueOf(text, 'virga_cold_start_seconds_total{namespace="ns",function="f"}'), 0.05);
  });

  test("functions beyond the bound share one series, and a deleted one makes room", async () => {
    const metrics = createMetrics({ ofProcess: false, maxFunctions: 2 });
    for (const name of ["a", "b", "c", "d"]) metrics.settled(settled(name, 1));
    const total = (name: string) =>
      `virga_invocations_total{namespace="${name === "_other" ? name : "ns"}",function="${name}",status="succeeded"}`;
    let text = await metrics.render();
    assert.deepEqual(
      ["a", "b", "c", "_other"].map((name) => valueOf(text, total(name))),
      [1, 1, undefined, 2],
    );
    metrics.forget({ namespace: "ns", name: "a" });
    metrics.settled(settled("c", 1));
    text = await metrics.render();
    assert.deepEqual(
      ["a", "c", "_other"].map((name) => valueOf(text, total(name))),
      [undefined, 1, 2],
    );
  });

  test("a scrape looks at the pool and the queue as they are then", async () => {
    let waiting = 3;
    const metrics = createMetrics({
      ofProcess: false,
      queueDepth: async () => ({ waiting: 7, leased: 1, dead: 2 }),
    });
    const id = { namespace: "ns", name: "f" };
    const instances = [
      { ...id, state: "busy" },
      { ...id, state: "busy" },
      { ...id, state: "idle" },
    ];
    metrics.watch({
      instances: () => instances,
      waiting: () => waiting,
      prewarmed: () => [],
      memory: () => ({ usedMb: 1, budgetMb: 2 }),
    });
    metrics.settled(settled("f", 1));
    let text = await metrics.render();
    assert.equal(valueOf(text, 'virga_instances{namespace="ns",function="f",state="busy"}'), 2);
    assert.equal(valueOf(text, 'virga_calls_waiting{namespace="ns",function="f"}'), 3);
    assert.equal(valueOf(text, 'virga_queue_messages{state="waiting"}'), 7);
    instances.length = 0;
    waiting = 0;
    text = await metrics.render();
    assert.equal(valueOf(text, 'virga_instances{namespace="ns",function="f",state="busy"}'), undefined);
    assert.equal(valueOf(text, 'virga_calls_waiting{namespace="ns",function="f"}'), undefined);
  });

  test("the process itself is measured, its event loop's delay included", async () => {
    const text = await createMetrics().render();
    assert.match(text, /^nodejs_eventloop_lag_seconds /m);
    assert.match(text, /^process_resident_memory_bytes /m);
  });
});
