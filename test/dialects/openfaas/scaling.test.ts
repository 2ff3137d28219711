import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Revision } from "../../../src/core/model.ts";
import { missingClients } from "../../clients/clients.ts";
import { removeTree } from "../../removal.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { buildNode, ofImage } from "./node-image.ts";
import { Receiver } from "./receiver.ts";
import { until } from "../../until.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap");

/** Says which replica it is, and how many calls it has at this moment. */
const replica = `
const id = Math.random().toString(36).slice(2);
let running = 0;
module.exports = async (event, context) => {
  const atOnce = ++running;
  if (event.query.sleep) await new Promise((resolve) => setTimeout(resolve, Number(event.query.sleep)));
  running--;
  return context.headers({ "content-type": "application/json" }).succeed({ id, atOnce });
};
`;

interface Told {
  readonly id: string;
  readonly atOnce: number;
}

describe("replicas", { skip, timeout: 190_000, concurrency: true }, () => {
  let faas: Faas;
  let receiver: Receiver;
  before(async () => {
    [faas, receiver] = await Promise.all([Faas.start(), Receiver.open()]);
    await buildNode(faas, "replica", replica);
  });
  after(async () => {
    receiver?.close();
    await faas?.stop();
  });

  for (const [type, target] of [
    ["rps", 10],
    ["capacity", 2],
  ] as const)
    test(`${type}: one becomes several under load, and one again after it, without an error`, async () => {
      const labels = scale({ type, target, max: 3 });
      await faas.deploy(type, "", ofImage("replica", { labels }));
      const statuses = new Map<number, number>();
      let load = true;
      let probes = true;
      const call = async (): Promise<void> => {
        const { status } = await read(await faas.call(`${type}?sleep=20`));
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      };
      const working = Array.from({ length: 8 }, async () => {
        while (load) await call();
      });
      const probing = (async () => {
        for (; probes; await pause(500)) await call();
      })();
      await until(async () => (await replicas(faas, type)).available === 3, "it does not grow", 40_000);
      load = false;
      await Promise.all(working);
      // Its load is looked at over 30 and 45 s.
      await until(async () => (await replicas(faas, type)).all === 1, "it does not shrink", 90_000);
      probes = false;
      await probing;
      assert.deepEqual([...statuses.keys()], [200]);
    });

  test("to zero after its time without a call; the next call is answered", async () => {
    await faas.deploy("sleepy", "", ofImage("replica", { labels: scale({ zero: true, "zero-duration": "5s" }) }));
    for (let round = 0; round < 2; round++) {
      assert.match(await faas.invoke("sleepy"), /"id"/);
      assert.equal((await replicas(faas, "sleepy")).available, 1);
      await until(async () => (await replicas(faas, "sleepy")).all === 0, "it does not go to zero");
    }
    const answers = await Promise.all(Array.from({ length: 10 }, () => faas.call("sleepy")));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  });

  test("a number that is set by hand stays, zero until the next call", async () => {
    await faas.deploy("manual", "", ofImage("replica"));
    await until(async () => (await replicas(faas, "manual")).available === 1, "it has not one");
    assert.equal((await setReplicas(faas, "manual", 3)).status, 202);
    await until(async () => (await replicas(faas, "manual")).available === 3, "it has not three");
    const answers = await Promise.all(Array.from({ length: 12 }, () => faas.call("manual?sleep=50")));
    assert.ok(answers.every(({ status }) => status === 200));
    // Some looks of the autoscaler.
    await pause(5000);
    assert.deepEqual(await replicas(faas, "manual"), { all: 3, available: 3 });

    const running = faas.call("manual?sleep=1000");
    await pause(200);
    assert.equal((await setReplicas(faas, "manual", 0)).status, 202);
    assert.equal((await running).status, 200, "what ran has finished");
    await until(async () => (await replicas(faas, "manual")).all === 0, "it has not none");
    await pause(5000);
    assert.equal((await replicas(faas, "manual")).all, 0);
    assert.equal((await faas.call("manual")).status, 200);
    assert.equal((await replicas(faas, "manual")).available, 1);

    for (const wrong of [-1, 1.5, "2", null]) assert.equal((await setReplicas(faas, "manual", wrong)).status, 400);
    assert.equal((await setReplicas(faas, "nobody", 1)).status, 404);
  });

  test("queue: a number that is set by hand is the least, zero until the next call", async () => {
    const labels = scale({ type: "queue", target: 2, max: 4 });
    await faas.deploy("queued", "", ofImage("replica", { labels }));
    assert.equal((await setReplicas(faas, "queued", 2)).status, 202);
    await until(async () => (await replicas(faas, "queued")).available === 2, "it has not two");
    const answers = Promise.all(Array.from({ length: 8 }, () => faas.call("queued?sleep=6000")));
    await until(async () => (await replicas(faas, "queued")).available === 4, "it does not grow");
    assert.ok((await answers).every(({ status }) => status === 200));
    await until(async () => (await replicas(faas, "queued")).all === 2, "it does not shrink");
    assert.equal((await setReplicas(faas, "queued", 0)).status, 202);
    await until(async () => (await replicas(faas, "queued")).all === 0, "it has not none");
    await pause(3000);
    assert.equal((await replicas(faas, "queued")).all, 0);
    assert.equal((await faas.call("queued")).status, 200);
    assert.equal((await replicas(faas, "queued")).available, 1);
  });

  test("where the minimum is the maximum, load changes nothing", async () => {
    const labels = scale({ min: 2, max: 2, type: "capacity", target: 1 });
    await faas.deploy("fixed", "", ofImage("replica", { labels }));
    await until(async () => (await replicas(faas, "fixed")).available === 2, "it has not two");
    for (let round = 0; round < 6; round++) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => faas.call("fixed?sleep=1000")));
      assert.ok(answers.every(({ status }) => status === 200));
      assert.deepEqual(await replicas(faas, "fixed"), { all: 2, available: 2 });
    }
  });

  test("with max_inflight 1 no replica ever has two calls, and those who wait make more of them", async () => {
    const labels = scale({ type: "capacity", target: 1, max: 4 });
    await faas.deploy("single", "", ofImage("replica", { labels, envVars: { max_inflight: "1" } }));
    const seen: Told[] = [];
    const statuses = new Set<number>();
    let most = 0;
    const end = Date.now() + 15_000;
    const working = Array.from({ length: 6 }, async () => {
      while (Date.now() < end) {
        const { status, told } = await read(await faas.call("single?sleep=200"));
        statuses.add(status);
        if (told !== undefined) seen.push(told);
        else await pause(20);
      }
    });
    await until(
      async () => (most = Math.max(most, (await replicas(faas, "single")).available)) === 4,
      "not four",
      30_000,
    );
    await Promise.all(working);
    const calls = Array.from({ length: 30 }, () =>
      fetch(`${faas.gateway}/async-function/single?sleep=50`, {
        method: "POST",
        headers: { "x-callback-url": receiver.url("/single") },
      }),
    );
    assert.ok((await Promise.all(calls)).every(({ status }) => status === 202));
    await until(() => receiver.at("/single").length === 30, "callbacks are missing");
    for (const { headers, body } of receiver.at("/single")) {
      assert.equal(headers["x-function-status"], "200");
      seen.push(JSON.parse(body) as Told);
    }
    assert.deepEqual(new Set(seen.map(({ atOnce }) => atOnce)), new Set([1]));
    assert.equal(new Set(seen.map(({ id }) => id)).size, 4);
    assert.ok(
      [...statuses].every((status) => status === 200 || status === 429),
      [...statuses].join(),
    );
  });

  test("labels that make no sense are refused by name", async () => {
    const wrong = {
      min: "-1",
      max: "many",
      type: "luck",
      target: "0",
      "target-proportion": "x",
      zero: "maybe",
      factor: "-2",
    };
    for (const [name, text] of [
      ...Object.entries(wrong),
      ["zero-duration", "a while"],
      ["down.window", "x"],
      ["min", "21"],
    ]) {
      const document = { service: "wrong", envProcess: "", ...ofImage("replica"), labels: scale({ [name!]: text! }) };
      const answer = await faas.send("POST", "/system/functions", document);
      assert.equal(answer.status, 400, name);
      assert.match(await answer.text(), new RegExp(`com\\.openfaas\\.scale\\.${name}`));
    }
  });
});

describe("replicas of a platform that is killed", { skip, timeout: 90_000 }, () => {
  let faas: Faas;
  before(async () => {
    faas = await Faas.start();
  });
  after(() => faas?.stop());

  test("there are as many again as were set, until the next deploy", async () => {
    for (const name of ["kept", "plain"]) await faas.deploy(name, "cat", { labels: scale({ max: 5 }) });
    await setReplicas(faas, "kept", 3);
    await faas.platform.kill();
    await faas.up();
    await until(async () => (await replicas(faas, "kept")).available === 3, "it has not three");
    await until(async () => (await replicas(faas, "plain")).available === 1, "it has not one");
    await pause(5000);
    assert.deepEqual(await replicas(faas, "kept"), { all: 3, available: 3 });
    await faas.deploy("kept", "cat", { labels: scale({ max: 5, min: 2 }) });
    await until(async () => (await replicas(faas, "kept")).all === 2, "it has not two");
    await faas.platform.kill();
    await faas.up();
    await until(async () => (await replicas(faas, "kept")).available === 2, "it has not two");
    await pause(3000);
    assert.deepEqual(await replicas(faas, "kept"), { all: 2, available: 2 });
  });
});

describe("replicas on a small machine", { skip, timeout: 60_000 }, () => {
  test("the operator says how many there are at most where no label does", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "virga-configuration-"));
    t.after(() => removeTree(folder));
    const file = join(folder, "virga.config.yaml");
    writeFileSync(file, "openfaas: { scaling: { max: 3 } }\n");
    const faas = await Faas.start({ arguments: ["--config", file] });
    t.after(() => faas.stop());
    await faas.deploy("plain", "cat");
    await faas.deploy("labelled", "cat", { labels: scale({ max: 7 }) });
    const most = async (name: string): Promise<number> => {
      const answer = await faas.platform.request(`/v1/namespaces/openfaas-fn/functions/${name}`);
      return answer.json<{ revision: Revision }>().revision.config.scaling.max;
    };
    assert.deepEqual([await most("plain"), await most("labelled")], [3, 7]);
    const document = {
      service: "many",
      image: "ghcr.io/openfaas/alpine",
      envProcess: "cat",
      labels: scale({ min: 4 }),
    };
    const refused = await faas.send("POST", "/system/functions", document);
    assert.equal(refused.status, 400);
    assert.match(
      await refused.text(),
      /com\.openfaas\.scale\.min: "4" is not at most com\.openfaas\.scale\.max, which is 3/,
    );
  });
});

function scale(settings: Readonly<Record<string, string | number | boolean>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [`com.openfaas.scale.${name}`, String(value)]),
  );
}

async function replicas(faas: Faas, name: string): Promise<{ all: number; available: number }> {
  const answer = await faas.system(`/system/function/${name}`);
  const { replicas: all, availableReplicas: available } = (await answer.json()) as Record<string, number>;
  return { all: all!, available: available! };
}

function setReplicas(faas: Faas, name: string, number: unknown): Promise<Response> {
  return faas.send("POST", `/system/scale-function/${name}`, { serviceName: name, replicas: number });
}

async function read(answer: Response): Promise<{ status: number; told?: Told }> {
  const text = await answer.text();
  return answer.status === 200 ? { status: 200, told: JSON.parse(text) as Told } : { status: answer.status };
}
