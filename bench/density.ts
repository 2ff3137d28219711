import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Platform } from "../test/platform/harness.ts";
import type { Report } from "./run.ts";

export const name = "density";

const wanted = Number(process.env["VIRGA_BENCH_INSTANCES"] ?? 200);
const nodeMb = 20 * 1024;

/** What one warm, idle node instance costs, everything around it counted, and how many of them 20 GiB hold. */
export async function measure(report: Report): Promise<void> {
  const config = join(tmpdir(), `virga-density-${process.pid}.yaml`);
  // The budget counts limits; idle instances use a part of theirs, and that is what is measured here.
  writeFileSync(config, `budget: { memoryMb: ${wanted * 128}, instances: ${wanted + 10} }\nprewarm: []\n`);
  const platform = await Platform.start({ arguments: ["--config", config] });
  try {
    const before = availableBytes();
    await platform.deploy(
      "idle",
      { "index.mjs": `export default () => "hello";` },
      { runtime: "node", public: true, limits: { memoryMb: 64 }, scaling: { min: wanted, max: wanted } },
    );
    for (let ready = 0; ready < wanted;) {
      await pause(500);
      const { instances } = (await platform.request("/v1/namespaces/default/functions/idle")).json<{
        instances: { state: string }[];
      }>();
      ready = instances.filter(({ state }) => state === "idle").length;
    }
    await pause(2000);
    const each = (before - availableBytes()) / wanted / 2 ** 20;
    report(`${wanted} idle instances: memory of the machine for each (MiB)`, each.toFixed(1));
    report("of it proportional set size: node / what encloses it (MiB)", proportions(wanted));
    report("so many in 20 GiB", Math.floor(nodeMb / each).toString());
    if ((await platform.call("idle")).text !== "hello") throw new Error("an idle instance does not answer");
  } finally {
    await platform.stop();
  }
}

/** MemAvailable: what page tables, slabs and the kernel's own part of a process take is missing from it, too. */
function availableBytes(): number {
  return Number(/MemAvailable:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))![1]) * 1024;
}

function proportions(instances: number): string {
  const sums: Record<string, number> = { node: 0, enclosing: 0 };
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      const kind =
        command.startsWith("bwrap") || command.includes("zygote/guest/start.py")
          ? "enclosing"
          : command.includes("/virga/guest/main.mjs")
            ? "node"
            : undefined;
      if (kind === undefined) continue;
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
      sums[kind]! += Number(/^Pss:\s+(\d+)/m.exec(rollup)![1]) * 1024;
    } catch {
      // It ended while we looked.
    }
  }
  return `${(sums["node"]! / instances / 2 ** 20).toFixed(1)} / ${(sums["enclosing"]! / instances / 2 ** 20).toFixed(1)}`;
}
