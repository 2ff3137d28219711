import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { goClient, missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { buildNode, ofImage } from "./node-image.ts";
import { until } from "../../until.ts";

const skip = missingClients("faas-cli", "openfaas-connector") || missingTools("bwrap");

/** Tells at `/calls` of the calls that it has had elsewhere. */
const witness = `
const calls = [];
module.exports = async (event, context) => {
  if (event.path === "/calls") return context.headers({ "content-type": "application/json" }).succeed(calls);
  const { method, path, headers, body } = event;
  calls.push({ method, path, headers, body });
  return context.succeed("seen");
};
`;

interface Call {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

describe("events by annotation", { skip, timeout: 190_000 }, () => {
  let faas: Faas;
  before(async () => {
    faas = await Faas.start();
    await buildNode(faas, "witness", witness);
  });
  after(() => faas?.stop());

  describe("cron-function", () => {
    test("each schedule is due when it says", async () => {
      await deploy("cron", { topic: "cron-function", schedule: "*/1 * * * *; 30 6 * * 1" });
      const [minute, monday, ...more] = await dueOf("cron");
      assert.ok(minute !== undefined && monday !== undefined && more.length === 0);
      assert.ok(minute % 60_000 === 0 && minute - Date.now() <= 60_000);
      const date = new Date(monday);
      assert.deepEqual([date.getUTCDay(), date.getUTCHours(), date.getUTCMinutes()], [1, 6, 30]);
    });

    test("every minute is one call each minute", async () => {
      await deploy("minutely", { topic: "cron-function", schedule: "*/1 * * * *" });
      await until(async () => (await callsOf("minutely")).length > 0, "it was not called at the minute", 65_000);
      const calls = await callsOf("minutely");
      assert.equal(calls.length, 1);
      assert.equal(calls[0]!.method, "POST");
      assert.equal(calls[0]!.path, "/");
      // As Express has it where there is none.
      assert.deepEqual(calls[0]!.body, {});
    });

    test("@every, @daily and a time zone are understood", async () => {
      const schedule = "@every 1s; @daily; TZ=Europe/Berlin 0 12 1 1 *";
      await deploy("special", { topic: "cron-function", schedule });
      const [, daily, noon] = await dueOf("special");
      assert.equal(daily! % 86_400_000, 0);
      assert.equal(new Date(noon!).getUTCHours(), 11);
      await until(async () => (await callsOf("special")).length >= 3, "it is not called each second", 10_000);
      await deploy("special", { topic: "cron-function", schedule: "@daily" });
      assert.deepEqual(await dueOf("special"), [daily]);
    });

    test("a schedule that is wrong or missing is refused by name, and deploys nothing", async () => {
      const wrong = [
        "",
        "often",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "0 0 30 2 *",
        "@every now",
        "TZ=Mars/Base 0 0 * * *",
      ];
      for (const schedule of [...wrong, "* * * * *; never"]) {
        const answer = await send("wrong", { topic: "cron-function", schedule });
        assert.equal(answer.status, 400, schedule);
        assert.match(await answer.text(), /annotation schedule/, schedule);
      }
      assert.equal((await faas.system("/system/function/wrong")).status, 404);
      assert.deepEqual(await dueOf("wrong"), []);
    });

    test("it ends with the annotation, and with the function", async () => {
      for (const name of ["once", "gone"]) {
        await deploy(name, { topic: "cron-function", schedule: "@every 1s; 0 0 1 1 *" });
        await until(async () => (await callsOf(name)).length > 0, "it is not called");
      }
      await deploy("once", {});
      assert.equal((await faas.send("DELETE", "/system/functions", { functionName: "gone" })).status, 202);
      for (const kind of ["event-sources", "subscriptions", "topics"])
        assert.deepEqual(await namesOf(kind, "once", "gone"), [], kind);
      await pause(500);
      const made = (await callsOf("once")).length;
      await pause(2500);
      assert.equal((await callsOf("once")).length, made);
    });
  });

  describe("topics", () => {
    test("what is published on a topic of the platform comes to each function that names it", async () => {
      await deploy("orders", { topic: "order.placed, order.paid" });
      await deploy("audit", { topic: "order.paid" });
      await publish("order.placed", { number: 1 });
      await publish("order.paid", { number: 2 });
      const bodies = async (name: string) => (await callsOf(name)).map(({ body }) => body);
      await until(
        async () => (await bodies("orders")).length === 2 && (await bodies("audit")).length === 1,
        "lost events",
      );
      const byNumber = (one: any, other: any) => one.number - other.number;
      assert.deepEqual((await bodies("orders")).sort(byNumber), [{ number: 1 }, { number: 2 }]);
      assert.deepEqual(await bodies("audit"), [{ number: 2 }]);
      const [call] = await callsOf("audit");
      assert.equal(call!.method, "POST");
      assert.equal(call!.headers["content-type"], "application/json");
      assert.equal(call!.headers["ce-type"], "test");
    });

    test("a redeploy follows its new topics, and leaves the old ones", async () => {
      await deploy("moving", { topic: "left, kept" });
      await deploy("moving", { topic: "kept, joined" });
      for (const topic of ["left", "kept", "joined"]) await publish(topic, { topic });
      await until(async () => (await callsOf("moving")).length === 2, "lost events");
      await pause(500);
      const seen = (await callsOf("moving")).map(({ body }) => (body as { topic: string }).topic);
      assert.deepEqual(seen.sort(), ["joined", "kept"]);
    });

    test("topics of other systems stand in its way no more than in the peer's", async () => {
      await deploy("foreign", { topic: "sensors/+/heat, #, own" });
      assert.deepEqual(await namesOf("subscriptions", "foreign"), ["openfaas.foreign.on.own"]);
    });
  });

  describe("a connector of the peer's own kit", () => {
    let connector: ChildProcess | undefined;
    after(() => void connector?.kill("SIGKILL"));

    test("finds the functions of its topic and calls them", async () => {
      await deploy("payments", { topic: "payment.received" });
      await deploy("bystander", { topic: "payment.refused" });
      const flags = [
        "-gateway",
        faas.gateway,
        "-password",
        faas.password,
        "-topic",
        "payment.received",
        "-interval",
        "1s",
      ];
      connector = spawn(await goClient("openfaas-connector"), flags, { stdio: ["ignore", "pipe", "pipe"] });
      let printed = "";
      for (const stream of [connector.stdout!, connector.stderr!])
        stream.on("data", (chunk: Buffer) => (printed += chunk.toString()));
      await until(
        () => /result: \[200\] payment\.received => payments/.test(printed),
        `no result:\n${printed}`,
        20_000,
      );
      const [call] = await callsOf("payments");
      assert.equal(call!.headers["x-connector"], "connector-sdk, cmd/timer");
      assert.equal(call!.headers["x-topic"], "payment.received");
      assert.match(String(call!.body), /"messageId":\d/);
      assert.deepEqual(await callsOf("bystander"), []);
    });
  });

  function send(name: string, annotations: Record<string, string>): Promise<Response> {
    const labels = { "com.openfaas.scale.max": "1" };
    return faas.send("POST", "/system/functions", {
      service: name,
      envProcess: "",
      ...ofImage("witness", { annotations, labels }),
    });
  }

  async function deploy(name: string, annotations: Record<string, string>): Promise<void> {
    const answer = await send(name, annotations);
    assert.equal(answer.status, 202, await answer.text());
  }

  async function callsOf(name: string): Promise<Call[]> {
    return (await (await faas.call(`${name}/calls`)).json()) as Call[];
  }

  /** When the timers of a function are next due, in the order of their annotation. */
  async function dueOf(name: string): Promise<number[]> {
    const due: number[] = [];
    for (const source of await namesOf("event-sources", name)) {
      const answer = await faas.platform.request(`/v1/namespaces/openfaas-fn/event-sources/${source}`);
      due.push(Number(new Date(answer.json().status.nextDueAt)));
    }
    return due;
  }

  async function namesOf(kind: string, ...functions: string[]): Promise<string[]> {
    const answer = await faas.platform.request(`/v1/namespaces/openfaas-fn/${kind}`);
    const names = answer.json<{ items: { name: string }[] }>().items.map(({ name }) => name);
    return names.filter((name) => functions.some((one) => name.startsWith(`openfaas.${one}.`))).sort();
  }

  async function publish(topic: string, data: unknown): Promise<void> {
    const event = { specversion: "1.0", id: crypto.randomUUID(), source: "/test", type: "test", data };
    const answer = await faas.platform.request(`/v1/namespaces/openfaas-fn/topics/${topic}/events`, {
      headers: { "content-type": "application/cloudevents+json" },
      body: JSON.stringify(event),
    });
    assert.equal(answer.status, 202, answer.text);
  }
});
