import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Platform } from "../test/platform/harness.ts";
import type { Report } from "./run.ts";

export const name = "metering";

/** What calls were billed of CPU time against the control group's own counter of their one instance. */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    const subjects = {
      "node, 2,000 short calls": {
        file: "index.mjs",
        runtime: "node",
        calls: 2000,
        code: `export default () => "hello";`,
      },
      "node, 30 calls of 50 ms": {
        file: "index.mjs",
        runtime: "node",
        calls: 30,
        code: `export default () => { for (const until = performance.now() + 50; performance.now() < until;); };`,
      },
      "python, 30 calls of 50 ms": {
        file: "handler.py",
        runtime: "python",
        calls: 30,
        code: "import time\ndef handler(request, context):\n    until = time.perf_counter() + 0.05\n    while time.perf_counter() < until: pass\n",
      },
    };
    for (const [what, { file, runtime, calls, code }] of Object.entries(subjects)) {
      const subject = what.replaceAll(/[^a-z0-9]+/g, "-");
      await platform.deploy(subject, { [file]: code }, { runtime, public: true, scaling: { min: 1, max: 1 } });
      for (let n = 0; n < 20; n++) await platform.call(subject);
      const { instances } = (await platform.request(`/v1/namespaces/default/functions/${subject}`)).json<{
        instances: { id: string }[];
      }>();
      const group = groupOf(instances[0]!.id);
      if (group === undefined) {
        report(what, "this server may make no control groups");
        continue;
      }
      const before = await billed(subject);
      const counted = cpuMicros(group);
      for (let n = 0; n < calls; n++) await platform.call(subject);
      const counter = cpuMicros(group) - counted;
      const sum = (await billed(subject)) - before;
      report(
        `${what}: billed / counted CPU (ms), ratio`,
        `${sum.toFixed(1)} / ${(counter / 1000).toFixed(1)}, ${(sum / (counter / 1000)).toFixed(4)}`,
      );
    }
  } finally {
    await platform.stop();
  }

  async function billed(subject: string): Promise<number> {
    const { items } = (await platform.request(`/v1/namespaces/default/usage?function=${subject}`)).json<{
      items: { cpuSeconds: number }[];
    }>();
    return items.reduce((sum, { cpuSeconds }) => sum + cpuSeconds * 1000, 0);
  }
}

/** The instance's folder that has the CPU counter, in either version's layout. */
function groupOf(instance: string): string | undefined {
  const look = (folder: string, depth: number): string | undefined => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const path = join(folder, entry.name);
      if (entry.name === instance && (existsSync(join(path, "cpuacct.usage")) || existsSync(join(path, "cpu.stat")))) {
        if (
          existsSync(join(path, "cpuacct.usage")) ||
          readFileSync(join(path, "cpu.stat"), "utf8").includes("usage_usec")
        )
          return path;
      }
      const found = depth > 0 ? look(path, depth - 1) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return existsSync("/sys/fs/cgroup") ? look("/sys/fs/cgroup", 5) : undefined;
}

function cpuMicros(group: string): number {
  const version1 = join(group, "cpuacct.usage");
  if (existsSync(version1)) return Number(readFileSync(version1, "utf8")) / 1000;
  return Number(/usage_usec (\d+)/.exec(readFileSync(join(group, "cpu.stat"), "utf8"))![1]);
}
