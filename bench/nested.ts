import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Platform } from "../test/platform/harness.ts";
import { median, quantile, spread } from "./figures.ts";
import type { Report } from "./run.ts";

export const name = "nested";

const rounds = 7;
const calls = 1000;
const chain = 50;
const chains = 60;

/** Times calls of the other function from inside of one, by the clock of its own program. */
const caller = `
const micros = (since) => Number(process.hrtime.bigint() - since) / 1000;
export default async (request, context) => {
  const { times, path, each } = await request.json();
  const took = [];
  for (let n = 0; n < times; n++) {
    const began = process.hrtime.bigint();
    for (let of = 0; of < each; of++) {
      const answer = await context.call("callee", { path });
      if ((await answer.text()) !== "done") throw new Error("status " + answer.status);
    }
    took.push(micros(began));
  }
  return took;
};`;

/** Answers, or calls the function beside it with a link less to go. */
const link = (next: string): string => `
export default async (request, context) => {
  const left = Number(request.url.slice(request.url.lastIndexOf("/") + 1));
  return left > 1 ? await context.call("${next}", { path: "/" + (left - 1) }) : "done";
};`;

/** From function to function on one node, against a bare `node:http` hop between two processes. */
export async function measure(report: Report): Promise<void> {
  const bare = spawn(process.execPath, [join(import.meta.dirname, "bare-server.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const port = String((await once(bare.stdout, "data"))[0]).trim();
  const hopper = spawn(process.execPath, [join(import.meta.dirname, "bare-hops.ts"), port], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: hopper.stdout })[Symbol.asyncIterator]();
  const platform = await Platform.start();
  try {
    const settings = { runtime: "node", limits: { concurrency: 64 }, scaling: { min: 1, max: 1 } };
    await platform.deploy("caller", { "index.mjs": caller }, settings);
    await platform.deploy("callee", { "index.mjs": link("beside") }, settings);
    await platform.deploy("beside", { "index.mjs": link("callee") }, settings);
    const timed = async (times: number, each: number, links: number): Promise<number[]> => {
      const body = JSON.stringify({ times, each, path: `/${links}` });
      const answer = await platform.call("caller", { body });
      if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
      return answer.json<number[]>();
    };
    const sides: Record<string, () => Promise<number[]>> = {
      "bare node:http hop": async () => {
        hopper.stdin.write(`${calls}\n`);
        return JSON.parse(String((await lines.next()).value)) as number[];
      },
      "one nested call": () => timed(calls, 1, 1),
      [`${chain} calls in sequence`]: () => timed(chains, chain, 1),
      [`a chain of ${chain}, each calls the next`]: () => timed(chains, 1, chain),
    };
    const p50: Record<string, number[]> = {};
    const p99: Record<string, number[]> = {};
    for (let round = -1; round < rounds; round++)
      for (const [side, run] of Object.entries(sides)) {
        const took = await run();
        // The first round warms up.
        if (round < 0) continue;
        (p50[side] ??= []).push(quantile(took, 0.5));
        (p99[side] ??= []).push(quantile(took, 0.99));
      }
    for (const side of Object.keys(sides)) {
      report(`${side}, p50 (µs)`, spread(p50[side] ?? []));
      report(`${side}, p99 (µs)`, spread(p99[side] ?? []));
    }
    const hops = p50["bare node:http hop"] ?? [];
    const ratios = (p50["one nested call"] ?? []).map((value, round) => value / (hops[round] ?? Number.NaN));
    report("one nested call ÷ bare hop, p50, round by round", spread(ratios, 2));
    report(
      `a link of the chain (µs)`,
      (median(p50[`a chain of ${chain}, each calls the next`] ?? []) / chain).toFixed(0),
    );
  } finally {
    hopper.kill();
    bare.kill();
    await platform.stop();
  }
}
