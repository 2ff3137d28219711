import { setTimeout as pause } from "node:timers/promises";
import { Platform } from "../test/platform/harness.ts";
import { quantile } from "./figures.ts";
import type { Report } from "./run.ts";

export const name = "burst";

const calls = 200;
const workMs = 50;
const policies = {
  demand: {},
  "KPA (Knative's rules and defaults)": { policy: "kpa" },
};

/** 200 calls at once of a function that has no instance, each 50 ms of waiting, one at a time in an instance. */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    const code = `export default () => new Promise((done) => setTimeout(done, ${workMs}, "done"));`;
    for (const [policy, scaling] of Object.entries(policies)) {
      const subject = policy.split(" ")[0]!.toLowerCase();
      await platform.deploy(
        subject,
        { "index.mjs": code },
        {
          runtime: "node",
          public: true,
          limits: { memoryMb: 64, concurrency: 1 },
          scaling: { keepAliveMs: 1, max: 64, ...scaling },
        },
      );
      await untilNone(subject);
      const latencies: number[] = [];
      let failed = 0;
      let most = 0;
      const watching = setInterval(() => {
        void instances(subject).then((count) => (most = Math.max(most, count)));
      }, 50);
      await Promise.all(
        Array.from({ length: calls }, async () => {
          const began = performance.now();
          const answer = await platform.call(subject);
          if (answer.status === 200) latencies.push(performance.now() - began);
          else failed++;
        }),
      );
      clearInterval(watching);
      report(
        `${policy}: failed, most instances, p50 / p99 (ms)`,
        `${failed}, ${most}, ${quantile(latencies, 0.5).toFixed(0)} / ${quantile(latencies, 0.99).toFixed(0)}`,
      );
    }
  } finally {
    await platform.stop();
  }

  async function instances(subject: string): Promise<number> {
    const answer = await platform.request(`/v1/namespaces/default/functions/${subject}`);
    return answer.json<{ instances: unknown[] }>().instances.length;
  }

  async function untilNone(subject: string): Promise<void> {
    // KPA holds its last instance for its windows: a minute, then the grace.
    const until = performance.now() + 150_000;
    while ((await instances(subject)) > 0 && performance.now() < until) await pause(100);
  }
}
