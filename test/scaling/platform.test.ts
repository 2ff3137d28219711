import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Platform } from "../platform/harness.ts";
import { missingTools } from "../tools.ts";

interface Described {
  readonly instances: readonly { readonly state: string }[];
  readonly decisions: readonly { readonly from: number; readonly to: number; readonly reason: string }[];
}

let platform: Platform;
before(async () => {
  platform = await Platform.start();
});
after(() => platform.stop());

async function described(name: string): Promise<Described> {
  return (await platform.request(`/v1/namespaces/default/functions/${name}`)).json<Described>();
}

/** Asks until the number of instances is right. */
async function until(name: string, right: (count: number) => boolean, patienceMs: number): Promise<Described> {
  const end = Date.now() + patienceMs;
  for (;;) {
    const found = await described(name);
    if (right(found.instances.filter(({ state }) => state !== "draining").length)) return found;
    assert.ok(Date.now() < end, JSON.stringify(found, null, 1));
    await pause(200);
  }
}

test(
  "kpa on a real platform: a burst gets its instances at the next ticks, and the CLI says why",
  { timeout: 60_000 },
  async () => {
    await platform.deploy(
      "sleepy",
      {
        "index.mjs": `export default async () => { await new Promise((done) => setTimeout(done, 4000)); return "ok"; };`,
      },
      {
        runtime: "node",
        public: true,
        limits: { concurrency: 4 },
        scaling: { policy: "kpa", max: 5, kpa: { windowMs: 6000, graceMs: 0 } },
      },
    );
    const answers = Promise.all(Array.from({ length: 12 }, () => platform.call("sleepy", { body: "" })));
    const burst = await until("sleepy", (count) => count === 5, 10_000);
    assert.match(burst.decisions[0]!.reason, /^kpa: .* calls in flight over 6 s, 2\.8 aimed at in each/);
    for (const { status } of await answers) assert.equal(status, 200);

    const virga = join(import.meta.dirname, "../../bin/virga.mjs");
    const shown = spawnSync(process.execPath, [virga, "describe", "sleepy", "--scaling"], {
      encoding: "utf8",
      env: { ...process.env, VIRGA_HOME: platform.home, NO_COLOR: "1" },
    });
    assert.equal(shown.status, 0, shown.stderr);
    assert.match(shown.stdout, /0 to 5 instances by kpa/);
    assert.match(shown.stdout, /windowMs: 6000/);
    assert.match(shown.stdout, /ago: \d → \d, .*calls in flight over 6 s/);

    const idle = await until("sleepy", (count) => count === 0, 30_000);
    assert.ok(idle.decisions.some(({ from, to, reason }) => to < from && reason.includes("inactive for")));
  },
);

test(
  "cpu on a real platform: a program that burns its share gets company",
  { skip: missingTools("bwrap"), timeout: 60_000 },
  async () => {
    await platform.deploy(
      "burner",
      {
        "index.mjs": `export default () => { const end = Date.now() + 9000; while (Date.now() < end); return "ok"; };`,
      },
      {
        runtime: "node",
        public: true,
        limits: { cpus: 0.2, timeoutMs: 30_000 },
        scaling: { policy: "cpu", max: 2, keepAliveMs: 500, cpu: { windowMs: 2000, downWindowMs: 0 } },
      },
    );
    const answer = platform.call("burner", { body: "" });
    const grown = await until("burner", (count) => count === 2, 9000);
    assert.match(grown.decisions[0]!.reason, /^cpu: \d+(\.\d+)? % of 0\.2 CPU over 2 s, 80 % aimed at/);
    assert.equal((await answer).status, 200);
    await until("burner", (count) => count === 0, 15_000);
  },
);
