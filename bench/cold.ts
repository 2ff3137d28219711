import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { Platform } from "../test/platform/harness.ts";
import { quantile } from "./figures.ts";
import type { Report } from "./run.ts";

export const name = "cold";

const functions = 60;
const handlers = {
  node: { file: "index.mjs", code: `export default () => "hello";` },
  python: { file: "handler.py", code: `def handler(request, context):\n    return "hello"\n` },
};

/** First calls of functions that have no instance, one after another, each another function; the pool refills in between. */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    for (const [runtime, { file, code }] of Object.entries(handlers)) {
      for (let n = 0; n < functions; n++)
        await platform.deploy(
          `${runtime}-${n}`,
          { [file]: `${code}\n` },
          { runtime, public: true, scaling: { keepAliveMs: 1 } },
        );
      // The instance of each function's trial start has to be gone.
      while ((await instances()) > 0) await pause(50);

      const bare: number[] = [];
      const whole: number[] = [];
      const cold: number[] = [];
      for (let n = 0; n < functions; n++) {
        await pause(150);
        const started = performance.now();
        const answer = await platform.call(`${runtime}-${n}`);
        whole.push(performance.now() - started);
        if (answer.text !== "hello") throw new Error(`${runtime}-${n}: ${answer.status} ${answer.text}`);
        if (answer.headers["x-virga-cold-start"] === "1") cold.push(n);
        if (n % 6 === 0) bare.push(bareStart(runtime));
      }
      report(
        `${runtime}: first call of a function at zero, p50 / p99 (ms)`,
        `${quantile(whole, 0.5).toFixed(2)} / ${quantile(whole, 0.99).toFixed(2)}`,
      );
      report(`${runtime}: of ${functions} calls, cold`, String(cold.length));
      report(`${runtime}: bare start of the interpreter, p50 (ms)`, quantile(bare, 0.5).toFixed(2));
    }
  } finally {
    await platform.stop();
  }

  async function instances(): Promise<number> {
    const { items } = (await platform.request("/v1/namespaces/default/functions?limit=1000")).json();
    let count = 0;
    for (const item of items)
      count += (await platform.request(`/v1/namespaces/default/functions/${item.name}`)).json().instances.length;
    return count;
  }
}

function bareStart(runtime: string): number {
  const started = performance.now();
  if (runtime === "node") spawnSync(process.execPath, ["-e", "0"]);
  else spawnSync("/usr/bin/python3", ["-c", "0"]);
  return performance.now() - started;
}
