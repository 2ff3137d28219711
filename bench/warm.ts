import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Platform } from "../test/platform/harness.ts";
import { quantile, spread } from "./figures.ts";
import { load } from "./load.ts";
import { cpuSecondsOfTree } from "./processes.ts";
import type { Report } from "./run.ts";

export const name = "warm";

const rounds = 7;
const seconds = 2;

/** Warm calls through the whole platform against a bare server, in alternating rounds. */
export async function measure(report: Report): Promise<void> {
  const bare = spawn(process.execPath, [join(import.meta.dirname, "bare-server.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const barePort = Number(String((await once(bare.stdout, "data"))[0]));
  const platform = await Platform.start();
  try {
    await platform.deploy(
      "hello",
      { "index.mjs": `export default () => new Response("hello");` },
      { runtime: "node", limits: { concurrency: 64 }, scaling: { min: 1, max: 1 } },
    );
    const sides = {
      bare: { pid: bare.pid ?? 0, port: barePort, path: "/", headers: {} },
      virga: {
        pid: platform.pid,
        port: Number(new URL(platform.url).port),
        path: "/f/default/hello/",
        headers: { authorization: `Bearer ${platform.token}` },
      },
    };
    const perCpuSecond: Record<string, number[]> = { bare: [], virga: [] };
    const perSecond: Record<string, number[]> = { bare: [], virga: [] };
    const single: Record<string, number[]> = { bare: [], virga: [] };
    for (let round = -1; round < rounds; round++)
      for (const [side, { pid, ...target }] of Object.entries(sides)) {
        const before = cpuSecondsOfTree(pid);
        const latencies = await load({ ...target, connections: 32, seconds, expect: "hello" });
        const cpu = cpuSecondsOfTree(pid) - before;
        const alone = await load({ ...target, connections: 1, seconds: 0.5, expect: "hello" });
        // The first round warms both up.
        if (round < 0) continue;
        perCpuSecond[side]?.push(latencies.length / cpu);
        perSecond[side]?.push(latencies.length / seconds);
        single[side]?.push(...alone);
      }
    const ratios = (perCpuSecond["virga"] ?? []).map(
      (value, index) => value / (perCpuSecond["bare"]?.[index] ?? Number.NaN),
    );
    report("bare node:http, calls per CPU-second", spread(perCpuSecond["bare"] ?? []));
    report("virga, calls per CPU-second (server and instance together)", spread(perCpuSecond["virga"] ?? []));
    report("ratio, round by round", spread(ratios, 3));
    report("bare node:http, calls per second at 32 in flight", spread(perSecond["bare"] ?? []));
    report("virga, calls per second at 32 in flight", spread(perSecond["virga"] ?? []));
    for (const q of [0.5, 0.99])
      report(
        `latency at one in flight, p${q * 100}: bare, virga, added (µs)`,
        [
          quantile(single["bare"] ?? [], q),
          quantile(single["virga"] ?? [], q),
          quantile(single["virga"] ?? [], q) - quantile(single["bare"] ?? [], q),
        ]
          .map((ms) => (ms * 1000).toFixed(0))
          .join(", "),
      );
  } finally {
    bare.kill();
    await platform.stop();
  }
}
