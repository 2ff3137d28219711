import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("wsk", "wskdeploy") || missingTools("bwrap");

describe("OpenWhisk on a platform that is killed", { skip, timeout: 180_000 }, () => {
  let whisk: Whisk;
  before(async () => {
    whisk = await Whisk.start();
    await whisk.ok("action", "create", "echo", whisk.file("echo.js", "function main(args) { return args }"));
    const add = "function main({ count = 0, ...rest }) { return { ...rest, count: count + 1 } }";
    await whisk.ok("action", "create", "add", whisk.file("add.js", add));
  });
  after(() => whisk?.stop());

  test("every accepted trigger event reaches its rules, once each", async () => {
    await whisk.ok("action", "create", "both", "--sequence", "echo,add");
    await whisk.ok("trigger", "create", "event");
    await whisk.ok("rule", "create", "plain", "event", "echo");
    await whisk.ok("rule", "create", "sequence", "event", "both");
    const accepted = new Set<number>();
    let open = true;
    const firing = (async () => {
      for (let number = 0; open; number++) {
        try {
          const answer = await whisk.rest("/api/v1/namespaces/_/triggers/event", {
            method: "POST",
            body: JSON.stringify({ number }),
          });
          if (answer.status === 202) accepted.add(number);
        } catch {
          // The server is gone: this event was not accepted.
          await pause(20);
        }
      }
    })();
    for (let kill = 0; kill < 3; kill++) {
      await pause(400);
      await whisk.platform.kill();
      await whisk.up();
    }
    await pause(400);
    open = false;
    await firing;
    assert.ok(accepted.size > 20, `only ${accepted.size} events were accepted`);
    const [plain, sequence] = await Promise.all([settled("echo"), settled("both")]);
    const numbersOf = (list: any[], isDirect: (one: any) => boolean): number[] =>
      list.filter(isDirect).map(({ response }) => (response.result as { number: number }).number);
    const direct = numbersOf(plain, ({ cause }) => cause === undefined);
    const runs = numbersOf(sequence, () => true);
    for (const [name, ran] of [
      ["plain", direct],
      ["sequence", runs],
    ] as const) {
      const missing = [...accepted].filter((number) => !ran.includes(number));
      assert.deepEqual(missing, [], `${name} did not run for these`);
      assert.equal(new Set(ran).size, ran.length, `${name} has one record for each event`);
    }
  });

  test("a sequence of 50 steps ends once, with every step's work in it", async () => {
    await whisk.ok("action", "create", "fifty", "--sequence", Array.from({ length: 50 }, () => "add").join(","));
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) {
      const answer = await whisk.rest("/api/v1/namespaces/_/actions/fifty", { method: "POST", body: '{"count":0}' });
      ids.push(((await answer.json()) as { activationId: string }).activationId);
    }
    for (let kill = 0; kill < 3; kill++) {
      await pause(60);
      await whisk.platform.kill();
      await whisk.up();
    }
    for (const id of ids) {
      const activation = await until(() => whisk.json("activation", "get", id));
      assert.deepEqual(activation.response.result, { count: 50 });
      assert.equal(new Set(activation.logs).size, 50);
    }
    const records = await whisk.document("activations?name=fifty&docs=true&limit=200");
    assert.equal(records.length, ids.length, "one record for each run");
  });

  test("an alarm fires once for each due time, over kills too", async () => {
    const before = Date.now();
    await whisk.ok("trigger", "create", "tick", "--feed", "/whisk.system/alarms/alarm", "-p", "cron", "* * * * * *");
    const created = Date.now();
    await whisk.ok("rule", "create", "ticks", "tick", "echo");
    for (let kill = 0; kill < 2; kill++) {
      await pause(1300);
      await whisk.platform.kill();
      await whisk.up();
    }
    await pause(2500);
    const deleting = Date.now();
    await whisk.ok("trigger", "delete", "tick");
    const after = Date.now();
    // A kill holds fires up, and takes none: what was due meanwhile comes behind the start. A second at either end may be out of it.
    const fires = (await whisk.document("activations?name=tick&docs=true&limit=200")).length;
    const [least, most] = [(deleting - created) / 1000 - 2, (after - before) / 1000 + 1];
    assert.ok(fires >= least && fires <= most, `${fires} fires, expected ${least} to ${most}`);
  });

  /** All activations of an action, when no more come. */
  async function settled(name: string): Promise<any[]> {
    let before = -1;
    for (let tries = 0; tries < 60; tries++) {
      const { activations } = await whisk.document(`activations?name=${name}&count=true`);
      if (activations === before) break;
      before = activations;
      await pause(1000);
    }
    const all: any[] = [];
    for (let skip = 0; ; skip += 200) {
      const page = await whisk.document(`activations?name=${name}&docs=true&limit=200&skip=${skip}`);
      all.push(...page);
      if (page.length < 200) return all;
    }
  }
});

async function until<T>(look: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await look();
    } catch (thrown) {
      if (tries === 120) throw thrown;
      await pause(250);
    }
  }
}
