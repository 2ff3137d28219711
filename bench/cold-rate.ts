import { setTimeout as pause } from "node:timers/promises";
import { packSource, Platform } from "../test/platform/harness.ts";
import { quantile } from "./figures.ts";
import { cpuSecondsOfTree } from "./processes.ts";
import type { Report } from "./run.ts";

export const name = "cold-rate";

const functions = 400;
const secondsPerRate = 3;
const handlers = {
  python: {
    file: "handler.py",
    code: `def handler(request, context):\n    return "hello"\n`,
    rates: [10, 25, 50, 100, 150, 200, 250, 300],
  },
  node: { file: "index.mjs", code: `export default () => "hello";`, rates: [10, 25, 50, 75] },
};

/**
 * Sustained cold starts: calls come at a fixed rate, each of another function, in a circle so wide that its last instance
 * is gone. Goes up from rate to rate, and stops behind the first that cannot be kept.
 */
export async function measure(report: Report): Promise<void> {
  for (const [runtime, { file, code, rates }] of Object.entries(handlers)) {
    const platform = await Platform.start();
    try {
      const source = await platform.upload(await packSource({ [file]: `${code}\n` }));
      for (let n = 0; n < functions; n++) await deploy(platform, source, runtime, file, n);
      await pause(1500);
      let next = 0;
      for (const rate of rates) {
        const count = rate * secondsPerRate;
        const latencies: number[] = [];
        let failed = 0;
        let warm = 0;
        let firstFailure = "";
        const before = cpuSecondsOfTree(platform.pid);
        const began = performance.now();
        await Promise.all(
          Array.from({ length: count }, async (_, index) => {
            await pause(Math.max(0, began + (index * 1000) / rate - performance.now()));
            const called = performance.now();
            const answer = await platform.call(`cold-${next++ % functions}`);
            latencies.push(performance.now() - called);
            if (answer.status !== 200) {
              failed++;
              firstFailure ||= `${answer.status} ${answer.text}`;
            } else if (answer.headers["x-virga-cold-start"] !== "1") warm++;
          }),
        );
        const seconds = (performance.now() - began) / 1000;
        // Instances end a moment after they were called.
        await pause(600);
        const cpu = cpuSecondsOfTree(platform.pid) - before;
        const reached = count / seconds;
        report(
          `${runtime}, ${rate}/s: reached, p50 / p99 (ms), errors, warm, CPU (ms) each`,
          [
            `${reached.toFixed(0)}/s`,
            `${quantile(latencies, 0.5).toFixed(1)} / ${quantile(latencies, 0.99).toFixed(1)}`,
            failed,
            warm,
            ((cpu * 1000) / count).toFixed(1),
          ].join(", "),
        );
        if (firstFailure !== "") report(`${runtime}, ${rate}/s: first error`, firstFailure);
        if (reached < 0.9 * rate || failed > 0) break;
      }
    } finally {
      await platform.stop();
    }
  }
}

async function deploy(platform: Platform, source: string, runtime: string, handler: string, n: number): Promise<void> {
  const answer = await platform.request(`/v1/namespaces/default/functions/cold-${n}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      source,
      settings: { runtime, handler, public: true, environment: { NUMBER: String(n) }, scaling: { keepAliveMs: 1 } },
    }),
  });
  if (answer.status >= 300) throw new Error(`cold-${n}: ${answer.status} ${answer.text}`);
}
