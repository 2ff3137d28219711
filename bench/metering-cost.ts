import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packSource } from "../test/platform/harness.ts";
import { removeTree } from "../test/removal.ts";
import { spread } from "./figures.ts";
import { load } from "./load.ts";
// @ts-expect-error: code of the guest, without types
import { measure as measureProcess } from "../src/runtimes/node/guest/call.mjs";
import { cpuSecondsOfTree } from "./processes.ts";
import type { Report } from "./run.ts";
import { sampledShare } from "./sampled-share.ts";

export const name = "metering-cost";

const rounds = 50;
// Short and many: neighbours on the machine come and go.
const seconds = 0.6;
const warmUpSeconds = 3;
const sampledSeconds = 10;
const measurements = 200_000;
/** What would not be there without metering. */
const meteringFiles = new Set(["metrics.ts", "function-series.ts", "usage.ts", "usage-days.ts", "metering.ts"]);

/** The same warm load with all of the metering, without counters and ledger, and without records too, in turn. */
export async function measure(report: Report): Promise<void> {
  const sides = {
    all: await Side.start("all"),
    uncounted: await Side.start("uncounted"),
    unrecorded: await Side.start("unrecorded"),
  };
  try {
    const perCpuSecond: Record<string, number[]> = { all: [], uncounted: [], unrecorded: [] };
    const perSecond: Record<string, number[]> = { all: [], uncounted: [], unrecorded: [] };
    for (let round = -2; round < rounds; round++) {
      const entries = Object.entries(sides);
      // Whoever goes first or after whom is not always the same.
      for (let turn = 0; turn < entries.length; turn++) {
        const [kind, side] = entries[(turn + round + entries.length) % entries.length]!;
        const before = cpuSecondsOfTree(side.pid);
        const calls = await load({ ...side.target, connections: 32, seconds, expect: "hello" });
        const cpu = cpuSecondsOfTree(side.pid) - before;
        // The first rounds warm all of them up.
        if (round < 0) continue;
        perCpuSecond[kind]!.push(calls.length / cpu);
        perSecond[kind]!.push(calls.length / seconds);
      }
    }
    for (const [kind, what] of [
      ["all", "metered"],
      ["uncounted", "no counters, no usage ledger"],
      ["unrecorded", "nor records of calls"],
    ] as const) {
      report(`${what}: calls per CPU-second`, spread(perCpuSecond[kind]!));
      report(`${what}: calls per second at 32 in flight`, spread(perSecond[kind]!));
      if (kind === "all") continue;
      const ratios = perCpuSecond["all"]!.map((value, round) => value / perCpuSecond[kind]![round]!);
      report(`metered ÷ ${what}, calls per CPU-second, round by round`, spread(ratios, 3));
      const through = perSecond["all"]!.map((value, round) => value / perSecond[kind]![round]!);
      report(`metered ÷ ${what}, calls per second, round by round`, spread(through, 3));
    }
  } finally {
    for (const side of Object.values(sides)) await side.stop();
  }
  await measureShare(report);
}

/** What the rounds cannot tell apart, by samples of where the server is. */
async function measureShare(report: Report): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "virga-profile-"));
  try {
    const side = await Side.start("all", ["--cpu-prof", "--cpu-prof-interval=150", `--cpu-prof-dir=${folder}`]);
    const target = { ...side.target, connections: 32, expect: "hello" };
    for (const length of [warmUpSeconds, sampledSeconds]) await load({ ...target, seconds: length });
    await side.stop();
    const share = sampledShare(folder, meteringFiles, sampledSeconds, 1);
    report("counters and ledger: share of the server's processor time, %", (share * 100).toFixed(2));
  } finally {
    removeTree(folder);
  }
  const before = process.cpuUsage();
  for (let count = 0; count < measurements; count++) measureProcess();
  const { user, system } = process.cpuUsage(before);
  report("one measurement in an instance, ns", (((user + system) * 1000) / measurements).toFixed(0));
}

/** One platform with one warm function. */
class Side {
  readonly pid: number;
  readonly target: { port: number; path: string; headers: Record<string, string> };
  readonly #process: ChildProcess;
  readonly #home: string;

  private constructor(process: ChildProcess, home: string, pid: number, url: string, token: string) {
    this.#process = process;
    this.#home = home;
    this.pid = pid;
    const headers = { authorization: `Bearer ${token}` };
    this.target = { port: Number(new URL(url).port), path: "/f/default/hello/", headers };
  }

  static async start(metering: string, flags: readonly string[] = []): Promise<Side> {
    const home = await mkdtemp(join(tmpdir(), "virga-bench-"));
    // Instances run as users of their own and must be able to pass through.
    await chmod(home, 0o711);
    const child = spawn(process.execPath, [...flags, join(import.meta.dirname, "metering-server.ts"), home, metering], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const { url, token, pid } = JSON.parse(String((await once(child.stdout, "data"))[0])) as {
      url: string;
      token: string;
      pid: number;
    };
    const archive = await packSource({ "index.mjs": `export default () => new Response("hello");` });
    const source = createHash("sha256").update(archive).digest("hex");
    const settings = { runtime: "node", limits: { concurrency: 64 }, scaling: { min: 1, max: 1 } };
    await put(`sources/${source}`, archive);
    await put("functions/hello", JSON.stringify({ source, settings }));
    return new Side(child, home, pid, url, token);

    async function put(path: string, body: Uint8Array | string): Promise<void> {
      const headers = {
        authorization: `Bearer ${token}`,
        "content-type": typeof body === "string" ? "application/json" : "application/octet-stream",
      };
      const answer = await fetch(`${url}/v1/namespaces/default/${path}`, {
        method: "PUT",
        headers,
        body: typeof body === "string" ? body : new Uint8Array(body),
      });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    }
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.stdin?.end();
    await ended;
    removeTree(this.#home);
  }
}
