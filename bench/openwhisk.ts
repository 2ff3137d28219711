import { spread } from "./figures.ts";
import { load } from "./load.ts";
import { cpuSecondsOfTree } from "./processes.ts";
import type { Report } from "./run.ts";
import { Platform } from "../test/platform/harness.ts";

export const name = "openwhisk";

const rounds = 7;
const seconds = 2;
const warmUpSeconds = 40;
const many = 100;
const connections = 32;

const action = `function main({ name }) { return { payload: "Hello, " + name }; }`;
const native = `export default async (request) => { const { name } = await request.json(); return { payload: "Hello, " + name }; }`;

/** Blocking invocations as `wsk` makes them against the native API, and a hundred actions at once against one. */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    const [, apihost = "", auth = ""] = await printed(platform, /wsk property set --apihost (\S+) --auth (\S+)\n/);
    const authorization = `Basic ${Buffer.from(auth).toString("base64")}`;
    await platform.deploy(
      "hello",
      { "index.mjs": native },
      { runtime: "node", limits: { concurrency: 64 }, scaling: { min: 1, max: 1 } },
    );
    const actions = Array.from({ length: many }, (_, index) => `action${index}`);
    // OpenWhisk's own limit is one call at a time in a container; the comparison with our own API needs one that both can have.
    for (const one of ["shared", "alone", ...actions]) {
      const limits = { concurrency: one === "shared" ? 64 : 1, memory: 128 };
      const answer = await fetch(`${apihost}/api/v1/namespaces/_/actions/${one}?overwrite=true`, {
        method: "PUT",
        headers: { authorization },
        body: JSON.stringify({ exec: { kind: "nodejs:default", code: action }, limits }),
      });
      if (answer.status !== 200) throw new Error(await answer.text());
    }
    const body = JSON.stringify({ name: "Ada" });
    // What is measured is throughput, not a hundred cold starts.
    for (const one of actions) {
      const url = `${apihost}/api/v1/namespaces/_/actions/${one}?blocking=true`;
      await fetch(url, { method: "POST", headers: { authorization }, body });
    }
    const post = { method: "POST", body, connections, seconds, expect: "Hello, Ada" };
    const invoke = (one: string): string => `/api/v1/namespaces/_/actions/${one}?blocking=true`;
    const sides = {
      native: {
        ...post,
        port: portOf(platform.url),
        path: "/f/default/hello/",
        headers: { authorization: `Bearer ${platform.token}` },
      },
      one: { ...post, port: portOf(apihost), path: invoke("alone"), headers: { authorization } },
      openwhisk: { ...post, port: portOf(apihost), path: invoke("shared"), headers: { authorization } },
      hundred: { ...post, port: portOf(apihost), path: actions.map(invoke), headers: { authorization } },
    };
    // An instance of one of the hundred sees a hundredth of the calls: its code is compiled for good as much later.
    await load({ ...sides.hundred, seconds: warmUpSeconds });
    const perCpuSecond: Record<string, number[]> = { native: [], openwhisk: [], one: [], hundred: [] };
    const perSecond: Record<string, number[]> = { native: [], openwhisk: [], one: [], hundred: [] };
    for (let round = -1; round < rounds; round++)
      for (const [side, target] of Object.entries(sides)) {
        const before = cpuSecondsOfTree(platform.pid);
        const latencies = await load(target);
        const cpu = cpuSecondsOfTree(platform.pid) - before;
        // The first round warms all up.
        if (round < 0) continue;
        perCpuSecond[side]?.push(latencies.length / cpu);
        perSecond[side]?.push(latencies.length / seconds);
      }
    const ratio = (of: Record<string, number[]>, a: string, b: string): number[] =>
      (of[a] ?? []).map((value, index) => value / (of[b]?.[index] ?? Number.NaN));
    report("native API, calls per CPU-second", spread(perCpuSecond["native"] ?? []));
    report("blocking invocations, calls per CPU-second", spread(perCpuSecond["openwhisk"] ?? []));
    report("ratio, round by round", spread(ratio(perCpuSecond, "openwhisk", "native"), 3));
    report("one action, invocations per second", spread(perSecond["one"] ?? []));
    report(`${many} actions at once, invocations per second`, spread(perSecond["hundred"] ?? []));
    report("ratio, round by round", spread(ratio(perSecond, "hundred", "one"), 3));
  } finally {
    await platform.stop();
  }
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

/** The platform says it a moment after it answers. */
async function printed(platform: Platform, pattern: RegExp): Promise<RegExpExecArray> {
  for (let tries = 0; tries < 200; tries++) {
    const found = pattern.exec(platform.output);
    if (found !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not printed:\n${platform.output}`);
}
