import assert from "node:assert/strict";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingClients, npmClients, run } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { fixture, until } from "./fixtures.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("serverless", "wsk") || missingTools("bwrap");

describe("the Serverless Framework with its plugin for OpenWhisk", { skip, timeout: 180_000 }, () => {
  let whisk: Whisk;
  let packages: string;
  let folder: string;
  before(async () => {
    packages = join(await npmClients("serverless"), "node_modules");
    whisk = await Whisk.start();
    folder = fixture(whisk, "serverless");
    symlinkSync(packages, join(folder, "node_modules"));
  });
  after(() => whisk?.stop());

  test("a service is deployed, shown, invoked, called by HTTP and by its trigger, and removed", async () => {
    const deployed = await serverless("deploy");
    assert.match(deployed, /total/);
    const [, endpoint] = /GET (http:\S+) --> orders-dev-total/.exec(await serverless("info")) ?? [];
    const answer = await fetch(endpoint!);
    assert.deepEqual(await answer.json(), { total: 0, currency: "NOK" });
    // Version 0.18.4 of the plugin names the schedule's feed on its trigger, and never calls it.
    const { annotations } = await whisk.document("triggers/orders_nightly_schedule_trigger");
    assert.deepEqual(annotations, [{ key: "feed", value: "/whisk.system/alarms/alarm" }]);
    assert.equal((await whisk.document("rules/orders_nightly_schedule_rule")).status, "active");
    const data = JSON.stringify({ prices: [1, 2.5] });
    assert.match(await serverless("invoke", "--function", "total", "--data", data), /"total": 3\.5/);
    assert.deepEqual(await whisk.invoke("orders-dev-total", { prices: [2] }), { total: 2, currency: "NOK" });
    assert.deepEqual(await whisk.invoke("orders-dev-chain", { prices: [2] }), { greeting: "That makes 2 NOK" });
    assert.match(await serverless("logs", "--function", "total"), /adding up/);

    await whisk.ok("trigger", "fire", "ordered", "-P", whisk.file("order.json", data));
    await until(async () => {
      const list = await whisk.document("activations?name=orders-dev-total&docs=true");
      assert.equal(list.filter(({ response }: any) => response.result.total === 3.5).length, 2);
    });

    await serverless("remove");
    for (const collection of ["actions", "triggers", "rules"])
      assert.deepEqual(await whisk.document(collection), [], collection);
    assert.deepEqual(await (await whisk.rest(apis)).json(), { apis: [] });
  });

  const apis = "/api/v1/web/whisk.system/apimgmt/getApi.http";

  async function serverless(...parameters: string[]): Promise<string> {
    const ran = await run(process.execPath, [join(packages, "serverless/bin/serverless.js"), ...parameters], {
      home: whisk.home,
      cwd: folder,
      environment: {
        OW_APIHOST: whisk.apihost,
        OW_AUTH: whisk.auth,
        OW_APIGW_ACCESS_TOKEN: "none",
        SLS_TELEMETRY_DISABLED: "1",
        SLS_NOTIFICATIONS_MODE: "off",
      },
    });
    assert.equal(ran.code, 0, `serverless ${parameters.join(" ")}\n${ran.stdout}${ran.stderr}`);
    return ran.stdout + ran.stderr;
  }
});
