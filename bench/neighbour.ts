import { Platform } from "../test/platform/harness.ts";
import { quantile } from "./figures.ts";
import { load } from "./load.ts";
import type { Report } from "./run.ts";

export const name = "neighbour";

const seconds = 4;
const noises = {
  CPU: `export default () => { for (const until = Date.now() + 60_000; Date.now() < until;); };`,
  fork: `import { spawn } from "node:child_process";
    export default async () => { for (const until = Date.now() + 60_000; Date.now() < until;) {
      await new Promise((done) => spawn("/bin/true").once("close", done).once("error", done)); } };`,
  memory: `export default async () => { for (const until = Date.now() + 60_000; Date.now() < until;) {
      Buffer.alloc(64 << 20, 1); await new Promise((done) => setImmediate(done)); } };`,
  "log flood": `export default async () => { for (const until = Date.now() + 60_000; Date.now() < until;) {
      for (let n = 0; n < 100; n++) console.log("noise", n, "x".repeat(100)); await new Promise((done) => setImmediate(done)); } };`,
};

/** Latency of a quiet function beside one that takes what it can get, with half the machine each: ÷ alone. */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    const half = { limits: { cpus: 1, timeoutMs: 70_000 } };
    await platform.deploy(
      "victim",
      { "index.mjs": `export default () => "hello";` },
      { runtime: "node", public: true, ...half, scaling: { min: 1, max: 1 } },
    );
    const victim = (): Promise<number[]> =>
      load({
        port: Number(new URL(platform.url).port),
        path: "/f/default/victim/",
        connections: 1,
        seconds,
        expect: "hello",
      });
    await victim();
    for (const [kind, code] of Object.entries(noises)) {
      const noisy = kind.toLowerCase().replace(" ", "-");
      await platform.deploy(
        noisy,
        { "index.mjs": code },
        { runtime: "node", public: true, ...half, scaling: { max: 1 } },
      );
      const alone = await victim();
      const leaving = new AbortController();
      const noise = platform.call(noisy, { signal: leaving.signal }).catch(() => undefined);
      const beside = await victim();
      leaving.abort();
      await noise;
      const [a, b] = [quantile(alone, 0.99), quantile(beside, 0.99)];
      report(
        `${kind}: p99 alone / beside it (µs), ratio`,
        `${(a * 1000).toFixed(0)} / ${(b * 1000).toFixed(0)}, ${(b / a).toFixed(2)}`,
      );
    }
  } finally {
    await platform.stop();
  }
}
