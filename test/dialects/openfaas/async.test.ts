import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { buildNode, ofImage } from "./node-image.ts";
import { Receiver } from "./receiver.ts";
import { until } from "../../until.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap");

/** Answers as it is told: `/set` with `{ answers: [{ status, headers? }, …] }`, of which the last stays; `/calls` tells of its calls. */
const chaos = `
const calls = [];
let answers = [{ status: 200 }];
module.exports = async (event, context) => {
  if (event.path === "/set") { ({ answers } = event.body); return context.succeed("set"); }
  if (event.path === "/calls") return context.succeed(calls);
  const { method, path, query, headers, body } = event;
  const call = { method, path, query, headers, body, at: Date.now() };
  calls.push(call);
  if (query.sleep) await new Promise((resolve) => setTimeout(resolve, Number(query.sleep)));
  const { status, headers: more = {} } = answers.length > 1 ? answers.shift() : answers[0];
  return context.status(status).headers({ "content-type": "application/json", "x-own": "yes", ...more }).succeed(call);
};
`;

interface ChaosCall {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly at: number;
}

describe("asynchronous calls", { skip, timeout: 180_000 }, () => {
  let faas: Faas;
  let receiver: Receiver;
  before(async () => {
    [faas, receiver] = await Promise.all([Faas.start(), Receiver.open()]);
    await buildNode(faas, "chaos", chaos);
  });
  after(async () => {
    receiver?.close();
    await faas?.stop();
  });

  test("202 comes at once, empty, with the call's id; the work is done behind it", async () => {
    await faas.deploy("sleeper", "sleep 3");
    const ids = new Set<string | null>();
    for (let number = 0; number < 10; number++) {
      const answer = await send("sleeper", { headers: { "x-callback-url": receiver.url("/slept") } });
      assert.equal(answer.status, 202);
      assert.equal(await answer.text(), "");
      assert.ok(answer.headers.get("x-start-time"));
      ids.add(answer.headers.get("x-call-id"));
    }
    assert.equal(ids.size, 10);
    assert.equal(receiver.at("/slept").length, 0, "all were accepted before one had ended");
    await until(() => receiver.at("/slept").length === 10, "they have not all ended");
    assert.deepEqual(new Set(receiver.at("/slept").map(({ headers }) => headers["x-call-id"])), ids);
  });

  test("it is sent as POST, with the client's headers, path, query and body", async () => {
    const answer = await send("chaos/some/path?x=1&y=%20", {
      method: "PUT",
      headers: { "x-callback-url": receiver.url("/sent"), "x-custom": "kept", "content-type": "text/plain" },
      body: "the body",
    });
    const { headers, ...told } = JSON.parse((await receiver.first("/sent")).body) as ChaosCall;
    const { method, path, query, body } = told;
    assert.deepEqual([method, path, query, body], ["POST", "/some/path", { x: "1", y: " " }, "the body"]);
    assert.equal(headers["x-custom"], "kept");
    assert.equal(headers["content-type"], "text/plain");
    assert.equal(headers["x-call-id"], answer.headers.get("x-call-id"));
    assert.match(headers["x-forwarded-for"] ?? "", /^127\.0\.0\.1:\d+$/);
    assert.match(headers["x-start-time"] ?? "", /^\d{19}$/);
  });

  test("a callback has the function's answer, and says of what it is", async () => {
    await setAnswers("chaos", { status: 418 });
    const answer = await send("chaos", { headers: { "x-callback-url": receiver.url("/told?by=virga") } });
    const { method, headers, body } = await receiver.first("/told?by=virga");
    await setAnswers("chaos", { status: 200 });
    assert.equal(method, "POST");
    assert.equal((JSON.parse(body) as ChaosCall).path, "/");
    assert.equal(headers["content-type"], "application/json; charset=utf-8");
    assert.equal(headers["x-own"], "yes");
    assert.equal(headers["x-call-id"], answer.headers.get("x-call-id"));
    assert.equal(headers["x-function-status"], "418");
    assert.equal(headers["x-function-name"], "chaos");
    assert.match(String(headers["x-duration-seconds"]), /^\d+\.\d{6}$/);
  });

  test("a binary body comes back as it was, large or small", async () => {
    await faas.deploy("echo", "cat");
    for (const size of [256, 3 * 2 ** 20]) {
      const body = Buffer.from(Array.from({ length: size }, (_, index) => (index * 31) >> (index % 7)));
      await send("echo", { headers: { "x-callback-url": receiver.url(`/bytes/${size}`) }, body });
      assert.ok((await receiver.first(`/bytes/${size}`)).bytes.equals(body));
    }
  });

  test("a function that cannot be reached is a callback with 503", async () => {
    await deployChaos("lost", { "com.openfaas.retry.attempts": "1" }, { envVars: { mode: "nonsense" } });
    await send("lost", { headers: { "x-callback-url": receiver.url("/lost") } });
    const { headers } = await receiver.first("/lost");
    assert.equal(headers["x-function-status"], "503");
    assert.equal(headers["x-function-name"], "lost");
  });

  test("so is one that is removed while its call waits", async () => {
    const annotations = { "com.openfaas.retry.min_wait": "1ms", "com.openfaas.retry.max_wait": "2ms" };
    await deployChaos("removed", annotations);
    await setAnswers("removed", { status: 429, headers: { "retry-after": "2" } });
    await send("removed", { headers: { "x-callback-url": receiver.url("/removed") } });
    await until(async () => (await callsOf("removed")).length === 1, "it was not called");
    assert.equal((await faas.send("DELETE", "/system/functions", { functionName: "removed" })).status, 202);
    assert.equal((await receiver.first("/removed")).headers["x-function-status"], "503");
  });

  test("an address that is none is refused, and so is a function that is not there", async () => {
    for (const url of ["nowhere", "ftp://127.0.0.1/x", "http://"]) {
      const answer = await send("chaos/refused", { headers: { "x-callback-url": url } });
      assert.equal(answer.status, 400, url);
      assert.match(await answer.text(), /x-callback-url/);
    }
    assert.equal((await callsOf("chaos")).filter(({ path }) => path === "/refused").length, 0);
    assert.equal((await send("nobody")).status, 404);
    assert.equal((await send("chaos.nowhere")).status, 404);
  });

  test("who cannot take its callback is asked again", async () => {
    let asked = 0;
    receiver.answer = ({ path }) => (path === "/busy" && ++asked < 3 ? 500 : 200);
    const answer = await send("chaos", { headers: { "x-callback-url": receiver.url("/busy") } });
    await until(() => receiver.at("/busy").length === 3, "it was not asked three times");
    const ids = receiver.at("/busy").map(({ headers }) => headers["x-call-id"]);
    assert.deepEqual(new Set(ids), new Set([answer.headers.get("x-call-id")]));
  });

  test("a callback's address may have a name and a password", async () => {
    const url = new URL(receiver.url("/private"));
    url.username = "us er";
    url.password = "pä:ss";
    await send("chaos", { headers: { "x-callback-url": url.href } });
    const { headers } = await receiver.first("/private");
    assert.equal(headers.authorization, `Basic ${Buffer.from("us er:pä:ss").toString("base64")}`);
  });

  test("a callback may go to another function of the platform", async () => {
    await deployChaos("second", {});
    const first = await send("chaos/first", {
      headers: { "x-callback-url": "http://gateway:8080/function/second/from/chaos?a=b" },
    });
    const call = await until(
      async () => (await callsOf("second")).find(({ path }) => path === "/from/chaos"),
      "the second function was not called",
    );
    assert.equal(call.headers["x-call-id"], first.headers.get("x-call-id"));
    assert.equal(call.headers["x-function-name"], "chaos");
    assert.equal(call.query["a"], "b");
    assert.equal((call.body as ChaosCall).path, "/first");
  });

  describe("retries", () => {
    const quick = { "com.openfaas.retry.min_wait": "100ms", "com.openfaas.retry.max_wait": "400ms" };

    test("a status of its list comes again until another comes; the callback comes at the end", async () => {
      const codes = { "com.openfaas.retry.attempts": "50", "com.openfaas.retry.codes": "500, 503" };
      await deployChaos("again", { ...quick, ...codes });
      await setAnswers("again", { status: 503 });
      const answer = await send("again", { headers: { "x-callback-url": receiver.url("/again") } });
      await until(async () => (await callsOf("again")).length >= 3, "it did not come again");
      assert.equal(receiver.at("/again").length, 0);
      await setAnswers("again", { status: 200 });
      const { headers } = await receiver.first("/again");
      assert.equal(headers["x-function-status"], "200");
      const made = (await callsOf("again")).length;
      await pause(1000);
      const calls = await callsOf("again");
      assert.equal(calls.length, made, "it has stopped");
      assert.equal(receiver.at("/again").length, 1);
      const ids = new Set([...calls.map((call) => call.headers["x-call-id"]), headers["x-call-id"]]);
      assert.deepEqual(ids, new Set([answer.headers.get("x-call-id")]));
    });

    test("when the attempts are used up, the last answer is the callback's", async () => {
      await deployChaos("thrice", { ...quick, "com.openfaas.retry.attempts": "3" });
      await setAnswers("thrice", { status: 502 });
      await send("thrice", { headers: { "x-callback-url": receiver.url("/thrice") } });
      assert.equal((await receiver.first("/thrice")).headers["x-function-status"], "502");
      assert.equal((await callsOf("thrice")).length, 3);
    });

    test("a status that is not in the list is final", async () => {
      await deployChaos("listed", { ...quick, "com.openfaas.retry.codes": "429" });
      await setAnswers("listed", { status: 500 });
      await send("listed", { headers: { "x-callback-url": receiver.url("/listed") } });
      assert.equal((await receiver.first("/listed")).headers["x-function-status"], "500");
      assert.equal((await callsOf("listed")).length, 1);
    });

    test("Retry-After is waited for", async () => {
      await deployChaos("later", quick);
      await setAnswers("later", { status: 429, headers: { "retry-after": "2" } }, { status: 200 });
      await send("later", { headers: { "x-callback-url": receiver.url("/later") } });
      assert.equal((await receiver.first("/later")).headers["x-function-status"], "200");
      const [first, second, ...more] = await callsOf("later");
      assert.ok(first !== undefined && second !== undefined && more.length === 0);
      assert.ok(second.at - first.at >= 1990, `${second.at - first.at} ms`);
    });

    test("without annotations 429 asks for patience, and 500 is final", async () => {
      await deployChaos("plain", {});
      await setAnswers("plain", { status: 500 });
      await send("plain", { headers: { "x-callback-url": receiver.url("/final") } });
      assert.equal((await receiver.first("/final")).headers["x-function-status"], "500");
      assert.equal((await callsOf("plain")).length, 1);
      await setAnswers("plain", { status: 429 }, { status: 200 });
      await send("plain", { headers: { "x-callback-url": receiver.url("/patience") } });
      assert.equal((await receiver.first("/patience")).headers["x-function-status"], "200");
      assert.equal((await callsOf("plain")).length, 3);
    });

    test("annotations that make no sense are refused by name", async () => {
      for (const [name, text] of [
        ["attempts", "many"],
        ["codes", "500,always"],
        ["min_wait", "soon"],
        ["max_wait", "1ms"],
      ] as const) {
        const annotation = `com.openfaas.retry.${name}`;
        const document = { service: "wrong", envProcess: "", ...ofImage("chaos"), annotations: { [annotation]: text } };
        const answer = await faas.send("POST", "/system/functions", document);
        assert.equal(answer.status, 400, annotation);
        assert.ok((await answer.text()).includes(annotation), annotation);
      }
    });
  });

  describe("cancelling", () => {
    test("a call that runs ends, by the id that its client gave it; there is no callback", async () => {
      const headers = { "x-call-id": "order-4711", "x-callback-url": receiver.url("/cancelled") };
      const answer = await send("chaos/long?sleep=60000", { headers });
      assert.equal(answer.headers.get("x-call-id"), "order-4711");
      const isRunning = async () => (await callsOf("chaos")).some(({ path }) => path === "/long");
      await until(isRunning, "it does not run");
      const refused = await cancel("order-4711", false);
      assert.equal(refused.status, 401);
      assert.equal(refused.headers.get("www-authenticate"), 'Basic realm="Restricted"');
      assert.equal(await refused.text(), "invalid credentials");
      assert.equal((await cancel("order-4711")).status, 202);
      assert.equal((await cancel("order-4711")).status, 404, "it is over");
      await pause(500);
      assert.equal(receiver.at("/cancelled").length, 0);
    });

    test("a call that waits for its next attempt, by the id that it was given", async () => {
      await deployChaos("waiting", { "com.openfaas.retry.min_wait": "60s", "com.openfaas.retry.codes": "500" });
      await setAnswers("waiting", { status: 500, headers: { "retry-after": "600" } });
      const answer = await send("waiting", { headers: { "x-callback-url": receiver.url("/waited") } });
      await until(async () => (await callsOf("waiting")).length === 1, "it was not called");
      await pause(300);
      const id = answer.headers.get("x-call-id") ?? "";
      assert.equal((await cancel(id)).status, 202);
      assert.equal((await cancel(id)).status, 404);
      assert.equal(receiver.at("/waited").length, 0);
    });

    test("what is no call of somebody's is 404", async () => {
      const ids = ["nobody", "00000000-0000-7000-8000-000000000000", "", "a/b", "%20", "x".repeat(5000)];
      for (const id of ids) assert.equal((await cancel(id)).status, 404, id.slice(0, 50));
    });
  });

  function send(target: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${faas.gateway}/async-function/${target}`, { method: "POST", ...init });
  }

  function cancel(id: string, password?: false): Promise<Response> {
    return faas.system(`/async-function/${id}`, { method: "DELETE", ...(password === false ? { password } : {}) });
  }

  function deployChaos(name: string, annotations: Record<string, string>, more: object = {}): Promise<void> {
    return faas.deploy(name, "", ofImage("chaos", { annotations, labels: { "com.openfaas.scale.max": "1" }, ...more }));
  }

  async function setAnswers(name: string, ...answers: { status: number; headers?: Record<string, string> }[]) {
    const headers = { "content-type": "application/json" };
    const answer = await faas.call(`${name}/set`, { method: "POST", headers, body: JSON.stringify({ answers }) });
    assert.equal(answer.status, 200, await answer.text());
  }

  async function callsOf(name: string): Promise<ChaosCall[]> {
    return (await (await faas.call(`${name}/calls`)).json()) as ChaosCall[];
  }
});
