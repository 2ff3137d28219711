import { spread } from "./figures.ts";
import { load } from "./load.ts";
import { cpuSecondsOfTree } from "./processes.ts";
import type { Report } from "./run.ts";
import { Platform } from "../test/platform/harness.ts";

export const name = "openwhisk";

const rounds = 11;
const seconds = 2;
/** V8 compiles a function for good from its 3,000th call on: by default, and where its types have settled. */
const warmUpCalls = 3500;
const mostWarmUpSeconds = 180;
const many = 100;
const connections = 32;

const action = `function main({ name }) { return { payload: "Hello, " + name }; }`;
const native = `export default async (request) => { const { name } = await request.json(); return { payload: "Hello, " + name }; }`;

/**
 * Blocking invocations as `wsk` makes them against the native API, and a hundred actions at once against one. One pair after the
 * other: a side that idled through the rounds of the others would begin its own with cold starts, which are not measured here.
 */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    const [, apihost = "", auth = ""] = await printed(platform, /wsk property set --apihost (\S+) --auth (\S+)\n/);
    const authorization = `Basic ${Buffer.from(auth).toString("base64")}`;
    const post = { method: "POST", body: JSON.stringify({ name: "Ada" }), connections, seconds, expect: "Hello, Ada" };
    const invoke = (one: string): string => `/api/v1/namespaces/_/actions/${one}?blocking=true`;
    const create = async (one: string, concurrency: number): Promise<void> => {
      const answer = await fetch(`${apihost}/api/v1/namespaces/_/actions/${one}`, {
        method: "PUT",
        headers: { authorization },
        body: JSON.stringify({ exec: { kind: "nodejs:default", code: action }, limits: { concurrency, memory: 128 } }),
      });
      if (answer.status !== 200) throw new Error(await answer.text());
    };
    const actions = (path: string | string[]): Load => ({
      ...post,
      port: portOf(apihost),
      path,
      headers: { authorization },
    });

    await platform.deploy(
      "hello",
      { "index.mjs": native },
      { runtime: "node", limits: { concurrency: 64 }, scaling: { min: 1, max: 1 } },
    );
    // OpenWhisk's own limit is one call at a time in a container; the comparison with our own API needs one that both can have.
    await create("shared", 64);
    const authorized = { authorization: `Bearer ${platform.token}` };
    const api = { ...post, port: portOf(platform.url), path: "/f/default/hello/", headers: authorized };
    const [ours, openwhisk] = await alternate(platform, api, actions(invoke("shared")));
    report("native API, calls per CPU-second", spread(ours.map(perCpuSecond)));
    report("blocking invocations, calls per CPU-second", spread(openwhisk.map(perCpuSecond)));
    report("ratio, round by round", spread(ratios(openwhisk.map(perCpuSecond), ours.map(perCpuSecond)), 3));

    await create("alone", 1);
    const names = Array.from({ length: many }, (_, index) => `action${index}`);
    for (const one of names) await create(one, 1);
    const all = actions(names.map(invoke));
    // An instance of one of the hundred sees a hundredth of the calls: its code is compiled for good as much later.
    const stepSeconds = 10;
    for (let [calls, passed] = [0, 0]; calls < many * warmUpCalls && passed < mostWarmUpSeconds; passed += stepSeconds)
      calls += (await load({ ...all, seconds: stepSeconds })).length;
    const [one, hundred] = await alternate(platform, actions(invoke("alone")), all);
    report("one action, invocations per second", spread(one.map(perSecond)));
    report(`${many} actions at once, invocations per second`, spread(hundred.map(perSecond)));
    report("ratio, round by round", spread(ratios(hundred.map(perSecond), one.map(perSecond)), 3));
  } finally {
    await platform.stop();
  }
}

type Load = Parameters<typeof load>[0];

interface Round {
  readonly calls: number;
  readonly cpuSeconds: number;
}

/** Both in turns; the first turn of each warms it up and does not count. */
async function alternate(platform: Platform, first: Load, second: Load): Promise<[Round[], Round[]]> {
  const measured: [Round[], Round[]] = [[], []];
  for (let round = 0; round <= rounds; round++)
    for (const side of [0, 1] as const) {
      const before = cpuSecondsOfTree(platform.pid);
      const latencies = await load(side === 0 ? first : second);
      const cpuSeconds = cpuSecondsOfTree(platform.pid) - before;
      if (round > 0) measured[side].push({ calls: latencies.length, cpuSeconds });
    }
  return measured;
}

const perCpuSecond = ({ calls, cpuSeconds }: Round): number => calls / cpuSeconds;
const perSecond = ({ calls }: Round): number => calls / seconds;
const ratios = (of: readonly number[], to: readonly number[]): number[] =>
  of.map((value, index) => value / (to[index] ?? Number.NaN));

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
