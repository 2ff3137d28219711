import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { FunctionState, Revision } from "../src/core/model.ts";
import { systemChance, systemClock } from "../src/drivers/host/clock.ts";
import { openSqliteStore } from "../src/drivers/store/sqlite/store.ts";
import { Platform } from "../test/platform/harness.ts";
import { quantile } from "./figures.ts";
import { load } from "./load.ts";
import { residentBytes } from "./processes.ts";
import type { Report } from "./run.ts";

export const name = "idle";

const few = 100;
const many = 100_000;

/**
 * Memory and latency of a server with 100 and with 100,000 deployed, idle functions. One is deployed; the others are
 * copies of what it left in the store, under names of their own, since 100,000 trial starts would take an hour.
 */
export async function measure(report: Report): Promise<void> {
  const platform = await Platform.start();
  try {
    await platform.deploy("hello", { "index.mjs": `export default () => "hello";` }, { runtime: "node" });
    const measured: { fresh: number; known: number; latencies: number[] }[] = [];
    for (const functions of [few, many]) {
      await platform.kill();
      await copy(join(platform.home, "data", "store.sqlite"), functions);
      await platform.up();
      const fresh = await settled();
      // Refused for want of a token, and by then the function is known.
      await touch(functions);
      const known = await settled();
      const latencies = await load({
        port: Number(new URL(platform.url).port),
        path: "/f/default/hello/",
        headers: { authorization: `Bearer ${platform.token}` },
        connections: 1,
        seconds: 2,
        expect: "hello",
      });
      measured.push({ fresh, known, latencies });
      report(
        `${functions} functions: resident memory at the start / each looked up (MiB)`,
        `${mib(fresh)} / ${mib(known)}`,
      );
    }
    const [small, large] = measured as [(typeof measured)[0], (typeof measured)[0]];
    const each = (after: number, before: number): string => ((after - before) / (many - few) / 1000).toFixed(2);
    report(
      "for each function at the start / once looked up (KB)",
      `${each(large.fresh, small.fresh)} / ${each(large.known, small.known)}`,
    );
    for (const q of [0.5, 0.99]) {
      const [a, b] = [quantile(small.latencies, q), quantile(large.latencies, q)];
      report(
        `warm call with ${few} / ${many} functions, p${q * 100} (µs), ratio`,
        `${us(a)} / ${us(b)}, ${(b / a).toFixed(2)}`,
      );
    }
  } finally {
    await platform.stop();
  }

  async function settled(): Promise<number> {
    await pause(2000);
    return residentBytes(platform.pid);
  }

  async function touch(functions: number): Promise<void> {
    let next = 0;
    await Promise.all(
      Array.from({ length: 32 }, async () => {
        for (let n = next++; n < functions - 1; n = next++) {
          const { status } = await platform.call(`idle-${n}`, { token: false });
          if (status !== 401) throw new Error(`idle-${n}: ${status}`);
        }
      }),
    );
  }
}

async function copy(file: string, functions: number): Promise<void> {
  const store = openSqliteStore({ file, clock: systemClock, chance: systemChance });
  const state = (await store.records.get<FunctionState>("functions/default/hello"))!.value;
  const [revision] = await store.records.list<Revision>("revisions/default/hello/");
  for (let n = 0; n < functions - 1; n++) {
    const name = `idle-${n}`;
    const key = revision!.key.replace("hello", name);
    const written = store.records.batch([
      { put: `functions/default/${name}`, value: { ...state, name } },
      {
        put: key,
        value: { ...revision!.value, name, config: { ...revision!.value.config, environment: { NUMBER: String(n) } } },
      },
    ]);
    if (n % 1000 === 0) await written;
  }
  await store.records.put("probe", {});
  store.close();
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

function us(ms: number): string {
  return (ms * 1000).toFixed(0);
}
