import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { FunctionState, Revision } from "../../../src/core/model.ts";
import { systemChance, systemClock } from "../../../src/drivers/host/clock.ts";
import { openSqliteStore } from "../../../src/drivers/store/sqlite/store.ts";
import type { Records } from "../../../src/ports/records.ts";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { buildNode, publishNode } from "./node-image.ts";
import { until } from "../../until.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap");
const answers = (said: string): string => `module.exports = async (event, context) => context.succeed("${said}");`;

const names = ["built", "program", "broken"];
const guestKey = "openfaas/guest";

describe("a platform that was upgraded", { skip, timeout: 120_000 }, () => {
  let faas: Faas;
  before(async () => {
    faas = await Faas.start();
  });
  after(() => faas?.stop());

  test("functions have the new guest, the code that they had, and the instances that were set", async () => {
    await buildNode(faas, "built", answers("as deployed"));
    for (const name of ["program", "broken"]) await faas.deploy(name, "cat");
    assert.equal((await faas.send("POST", "/system/scale-function/program", { replicas: 2 })).status, 202);
    await publishNode(faas, "built", answers("the name stands for this by now"));
    const before = await seen();
    const deployed = await stopped(async (records) => {
      const known = await Promise.all(names.map((name) => newestOf(records, name)));
      for (const revision of known) await put(records, { ...revision, layers: ["0".repeat(64)] });
      const { config } = known[2]!;
      const image = JSON.stringify({ ...JSON.parse(config.annotations["openfaas.image"]!), source: "0".repeat(64) });
      const annotations = { ...config.annotations, "openfaas.image": image };
      await put(records, { ...known[2]!, config: { ...config, annotations } });
      await records.put(guestKey, "of the release before");
      return known;
    });
    await until(async () => (await numbers()).join() === "2,2,1", "they are not deployed again");
    assert.equal(await (await faas.call("built")).text(), "as deployed");
    assert.equal(await (await faas.call("program", { method: "POST", body: "echo" })).text(), "echo");
    await until(async () => (await replicasOf("program")) === 2, "it has not the two instances that were set");
    assert.deepEqual(await seen(), before);

    await stopped(async (records) => {
      for (const [index, name] of ["built", "program"].entries())
        assert.deepEqual((await newestOf(records, name)).layers, deployed[index]!.layers);
      assert.equal((await records.get(guestKey))?.value, "of the release before", "one could not be deployed");
      await put(records, deployed[2]!);
    });
    await until(async () => /a function could not be given/.test(faas.platform.output), "that is not told");
    assert.equal(await (await faas.call("broken", { method: "POST", body: "echo" })).text(), "echo");
    // Only a platform that is down can be asked, and one that is stopped too early begins anew.
    for (let given = 1000, noted: unknown = "of the release before"; noted === "of the release before"; given *= 2) {
      assert.ok(given <= 16_000, "that all have the new guest is not noted");
      await pause(given);
      noted = await stopped(async (records) => (await records.get(guestKey))?.value);
    }
    assert.deepEqual(await numbers(), [2, 2, 1], "nothing has changed since");

    async function numbers(): Promise<number[]> {
      return Promise.all(
        names.map(async (name) => {
          const answer = await faas.platform.request(`/v1/namespaces/openfaas-fn/functions/${name}`);
          return answer.json<{ function: FunctionState }>().function.latestRevision;
        }),
      );
    }
  });

  /** What clients see, but for what changes by itself. */
  async function seen(): Promise<unknown[]> {
    const answer = await faas.system("/system/functions");
    const all = (await answer.json()) as Record<string, unknown>[];
    for (const field of ["invocationCount", "replicas", "availableReplicas"]) for (const one of all) delete one[field];
    return all;
  }

  async function replicasOf(name: string): Promise<unknown> {
    const answer = await faas.system(`/system/function/${name}`);
    return ((await answer.json()) as Record<string, unknown>)["availableReplicas"];
  }

  /** Kills the platform, changes what it has kept, and starts it. */
  async function stopped<T>(change: (records: Records) => Promise<T>): Promise<T> {
    await faas.platform.kill();
    const file = join(faas.platform.home, "data/store.sqlite");
    const store = openSqliteStore({ file, clock: systemClock, chance: systemChance });
    try {
      return await change(store.records);
    } finally {
      store.close();
      await faas.up();
    }
  }
});

async function newestOf(records: Records, name: string): Promise<Revision> {
  const entries = await records.list<Revision>(`revisions/openfaas-fn/${name}/`);
  return entries.at(-1)!.value;
}

async function put(records: Records, revision: Revision): Promise<void> {
  const key = `revisions/openfaas-fn/${revision.name}/${String(revision.number).padStart(10, "0")}`;
  assert.ok(await records.get(key));
  await records.put(key, revision);
}
