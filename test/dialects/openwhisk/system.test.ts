import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocketServer } from "ws";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("wsk") || missingTools("bwrap");

describe("the packages of whisk.system", { skip }, () => {
  let whisk: Whisk;
  const servers: Server[] = [];
  before(async () => {
    whisk = await Whisk.start();
  });
  after(async () => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    await whisk?.stop();
  });

  /** Its root, as `http://127.0.0.1:PORT`. */
  async function listen(listener: (...exchange: Parameters<RequestListener>) => void | Promise<void>): Promise<string> {
    const server = createServer((request, response) => void listener(request, response));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const utils = (name: string, parameters: Record<string, unknown> = {}): Promise<any> =>
    whisk.invoke(`/whisk.system/utils/${name}`, parameters);

  test("utils work on lines, texts and names", async () => {
    assert.deepEqual(await utils("cat", { lines: ["b", "a"] }), { payload: "b\na\n" });
    assert.deepEqual(await utils("echo", { a: [1, { b: null }], c: "d" }), { a: [1, { b: null }], c: "d" });
    assert.deepEqual(await utils("head", { lines: ["x", "y", "z"], num: 2 }), { lines: ["x", "y"], num: 2 });
    assert.deepEqual(await utils("head", { lines: ["x", "y"] }), { lines: ["x"], num: 1 });
    assert.deepEqual(await utils("sort", { lines: ["b", "c", "a"] }), { lines: ["a", "b", "c"], length: 3 });
    assert.deepEqual(await utils("split", { payload: "one\r\ntwo\nthree" }), {
      lines: ["one", "two", "three"],
      payload: "one\r\ntwo\nthree",
    });
    assert.deepEqual((await utils("split", { payload: "1,2", separator: "," })).lines, ["1", "2"]);
    assert.deepEqual(await utils("smash", { a: 1, b: "two" }), { smashed: [1, "two"] });
    const { date } = await utils("date");
    assert.ok(Math.abs(Date.parse(date) - Date.now()) < 60_000, date);
  });

  test("utils/namespace and utils/hosturl are about the caller", async () => {
    assert.deepEqual(await utils("namespace"), { namespace: "guest" });
    const root = `${whisk.apihost}/api/v1`;
    const url = async (parameters: Record<string, unknown>): Promise<unknown> =>
      (await utils("hosturl", parameters)).url;
    assert.equal(await url({ trigger: "news" }), `${root}/namespaces/guest/triggers/news`);
    assert.equal(await url({ action: "box/hello" }), `${root}/namespaces/guest/actions/box/hello`);
    assert.equal(
      await url({ action: "hello", web: true, ext: ".json", path: "/a" }),
      `${root}/web/guest/default/hello.json/a`,
    );
    assert.equal(await url({ action: "/whisk.system/utils/echo", web: true }), `${root}/web/whisk.system/utils/echo`);
    assert.equal(await url({}), `${root}/namespaces/whisk.system/actions/utils/hosturl`);
  });

  test("samples greet, count and fetch", async () => {
    const sample = (name: string, parameters: Record<string, unknown> = {}): Promise<any> =>
      whisk.invoke(`/whisk.system/samples/${name}`, parameters);
    assert.deepEqual(await sample("greeting", { name: "Ada", place: "London" }), {
      payload: "Hello, Ada from London!",
    });
    assert.deepEqual(await sample("wordCount", { payload: " four  words\nare here " }), { count: 4 });
    const { activationId } = await whisk.json(
      "action",
      "invoke",
      "/whisk.system/samples/helloWorld",
      "--blocking",
      "-p",
      "payload",
      "moon",
    );
    const logs = async (): Promise<string> => whisk.ok("activation", "logs", activationId, "--strip");
    assert.equal((await eventually(logs, (text) => text !== "")).trim(), "hello moon!");
    const root = await listen((request, response) => {
      response.statusCode = 203;
      response.end(`you asked for ${request.url}`);
    });
    assert.deepEqual(await sample("curl", { payload: `${root}/page?x=1` }), {
      statusCode: 203,
      msg: "you asked for /page?x=1",
    });
  });

  test("websocket/send delivers a text, or an object as JSON", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    try {
      await once(server, "listening");
      const received: string[] = [];
      server.on("connection", (socket) => socket.on("message", (data) => received.push((data as Buffer).toString())));
      const uri = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      const send = "/whisk.system/websocket/send";
      assert.deepEqual(await whisk.invoke(send, { uri, payload: "hi" }), { payload: "hi" });
      await whisk.invoke(send, { uri, payload: { a: 1 } });
      await eventually(
        async () => received,
        (all) => all.length === 2,
      );
      assert.deepEqual(received, ["hi", '{"a":1}']);
    } finally {
      server.close();
    }
    const failed = await whisk.wsk(
      "action",
      "invoke",
      "/whisk.system/websocket/send",
      "--blocking",
      "-p",
      "payload",
      "x",
    );
    assert.equal(failed.code, 502 - 256);
    assert.match(failed.stdout + failed.stderr, /uri is missing/);
  });

  test("slack/post posts to the webhook it is given, and fails where Slack refuses", async () => {
    const posted: unknown[] = [];
    const root = await listen(async (request, response) => {
      posted.push(JSON.parse(await textOf(request)));
      response.statusCode = request.url === "/services/T/refused" ? 403 : 200;
      response.end(request.url === "/services/T/refused" ? "invalid_token" : "ok");
    });
    const message = { channel: "#news", username: "bot", text: "hello" };
    const post = "/whisk.system/slack/post";
    assert.deepEqual(await whisk.invoke(post, { url: `${root}/services/T/B`, ...message }), message);
    assert.deepEqual(posted, [message]);
    const failed = await whisk.wsk(
      "action",
      "invoke",
      post,
      "--blocking",
      "-p",
      "url",
      `${root}/services/T/refused`,
      "-p",
      "text",
      "x",
    );
    assert.equal(failed.code, 502 - 256);
    assert.match(failed.stdout + failed.stderr, /Slack answered 403: invalid_token/);
  });

  test("github/webhook makes a hook that fires the trigger, and deletes it with the trigger", async () => {
    const hooks = new Map<number, any>();
    const seen: IncomingHttpHeaders[] = [];
    const root = await listen(async (request, response) => {
      seen.push(request.headers);
      const [, one] = /^\/repos\/ada\/engine\/hooks(?:\/(\d+))?$/.exec(request.url ?? "") ?? assert.fail(request.url);
      if (request.method === "POST") {
        const hook = { id: 7, ...JSON.parse(await textOf(request)) };
        hooks.set(hook.id, hook);
        response.writeHead(201).end(JSON.stringify(hook));
      } else if (request.method === "DELETE") {
        response.writeHead(hooks.delete(Number(one)) ? 204 : 404).end();
      } else response.end(JSON.stringify([...hooks.values()]));
    });
    const bound = { username: "ada", repository: "engine", accessToken: "secret", endpoint: root };
    const parameters = Object.entries(bound).flatMap(([key, value]) => ["-p", key, value]);
    await whisk.ok("package", "bind", "/whisk.system/github", "myGit", ...parameters);
    await whisk.ok("trigger", "create", "pushed", "--feed", "myGit/webhook", "-p", "events", "push, issues");
    assert.equal(seen[0]?.authorization, "token secret");
    const hook = hooks.get(7);
    assert.deepEqual(hook.events, ["push", "issues"]);
    await whisk.ok("rule", "create", "onPush", "pushed", "/whisk.system/utils/echo");
    // As GitHub calls it: with the key that the hook's URL holds.
    const url = new URL(hook.config.url);
    const authorization = `Basic ${Buffer.from(`${url.username}:${url.password}`).toString("base64")}`;
    url.username = url.password = "";
    const fired = await fetch(url, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify({ ref: "refs/heads/main" }),
    });
    assert.equal(fired.status, 202);
    const activations = await eventually(
      () => whisk.document<any[]>("activations?docs=true"),
      (all) => all.some(({ name, response }) => name === "echo" && response.result.ref !== undefined),
    );
    const echoed = activations.find(({ name, response }) => name === "echo" && response.result.ref !== undefined);
    assert.equal(echoed.response.result.ref, "refs/heads/main");
    await whisk.ok("trigger", "delete", "pushed");
    assert.equal(hooks.size, 0);
    assert.equal((await whisk.wsk("trigger", "get", "pushed")).code, 404 - 256);
  });

  const fires = async (trigger: string): Promise<any[]> =>
    whisk.document<any[]>(`activations?name=${trigger}&docs=true&limit=0`);
  const alarm = (kind: string, ...parameters: string[]): string[] => [
    "--feed",
    `/whisk.system/alarms/${kind}`,
    ...parameters,
  ];
  test("an interval fires every fraction of a minute, until it is changed, and is gone with its trigger", async () => {
    await whisk.ok(
      "trigger",
      "create",
      "often",
      ...alarm("interval", "-p", "minutes", "0.02", "-p", "trigger_payload", '{"n":1}'),
    );
    await whisk.ok("rule", "create", "oftenRule", "often", "/whisk.system/utils/echo");
    const [first] = await eventually(
      () => fires("often"),
      (all) => all.length >= 2,
    );
    assert.deepEqual(first.response.result, { n: 1 });
    const shown = await whisk.json("trigger", "get", "often");
    assert.equal(shown.response.result.config.minutes, 0.02);
    assert.deepEqual(shown.response.result.config.trigger_payload, { n: 1 });
    assert.equal(shown.response.result.status.active, true);
    await whisk.ok("trigger", "update", "often", "-p", "minutes", "600");
    const count = (await fires("often")).length;
    await pause(3000);
    assert.ok((await fires("often")).length <= count + 1);
    const changed = await whisk.json("trigger", "get", "often");
    assert.equal(changed.response.result.config.minutes, 600);
    await whisk.ok("trigger", "delete", "often");
    assert.equal((await whisk.rest("/api/v1/alarms/often")).status, 404);
  });

  test("a trigger that fires once stays, goes, or goes with its rules", async () => {
    for (const [name, after] of Object.entries({ stays: "false", goes: "true", goesWithRules: "rules" })) {
      const date = new Date(Date.now() + 4000).toISOString();
      await whisk.ok("trigger", "create", name, ...alarm("once", "-p", "date", date, "-p", "deleteAfterFire", after));
      await whisk.ok("rule", "create", `${name}Rule`, name, "/whisk.system/utils/echo");
      await eventually(
        () => fires(name),
        (all) => all.length === 1,
      );
      const status = async (path: string): Promise<number> => (await whisk.rest(`/api/v1/namespaces/_/${path}`)).status;
      const there = async (): Promise<number[]> => [
        await status(`triggers/${name}`),
        await status(`rules/${name}Rule`),
      ];
      const wanted = { false: [200, 200], true: [404, 200], rules: [404, 404] }[after];
      await eventually(there, (seen) => String(seen) === String(wanted));
    }
  });

  test("an alarm heeds its start, its end, its time zone and its number of fires", async () => {
    const cron = ["-p", "cron", "* * * * * *"];
    const [start, stop] = [Date.now() + 3000, Date.now() + 5500];
    const bounds = ["-p", "startDate", new Date(start).toISOString(), "-p", "stopDate", new Date(stop).toISOString()];
    await whisk.ok("trigger", "create", "bounded", ...alarm("alarm", ...cron, ...bounds));
    await whisk.ok("trigger", "create", "thrice", ...alarm("alarm", ...cron, "-p", "maxTriggers", "3"));
    for (const name of ["bounded", "thrice"]) {
      await whisk.ok("rule", "create", `${name}Rule`, name, "/whisk.system/utils/echo");
    }
    await whisk.ok(
      "trigger",
      "create",
      "zoned",
      ...alarm("alarm", "-p", "cron", "0 8 * * *", "-p", "timezone", "Asia/Tokyo"),
    );
    const zoned = await whisk.json("trigger", "get", "zoned");
    assert.equal(zoned.response.result.config.timezone, "Asia/Tokyo");
    assert.match(zoned.response.result.status.nextDue, /T23:00:00\.000Z$/);
    await pause(stop + 2000 - Date.now());
    const bounded = await fires("bounded");
    assert.ok(bounded.length >= 2 && bounded.length <= 3, `${bounded.length} fires`);
    for (const fire of bounded) assert.ok(fire.start >= start && fire.start < stop + 1000, String(fire.start));
    // The first may have been due before the rule was there.
    const thrice = (await fires("thrice")).length;
    assert.ok(thrice >= 1 && thrice <= 3, `${thrice} fires`);
    const over = await whisk.json("trigger", "get", "thrice");
    assert.equal(over.response.result.status.active, false);
  });

  const life = (kind: string, trigger: string, lifecycleEvent: string, more: object = {}): Promise<any> =>
    whisk.invoke(`/whisk.system/alarms/${kind}`, {
      lifecycleEvent,
      triggerName: `/_/${trigger}`,
      authKey: whisk.auth,
      ...more,
    });

  test("a paused feed is silent and keeps its settings; resumed, it fires again as before", async () => {
    const settings = ["-p", "minutes", "0.02", "-p", "trigger_payload", '{"n":1}'];
    await whisk.ok("trigger", "create", "paused", ...alarm("interval", ...settings));
    await whisk.ok("rule", "create", "pausedRule", "paused", "/whisk.system/utils/echo");
    await eventually(
      () => fires("paused"),
      (all) => all.length > 0,
    );
    const { config } = await life("interval", "paused", "PAUSE");
    // One may have been on its way.
    await pause(700);
    const count = (await fires("paused")).length;
    const read = await life("interval", "paused", "READ");
    assert.deepEqual(read.config, config);
    assert.deepEqual([read.config.minutes, read.config.trigger_payload], [0.02, { n: 1 }]);
    assert.deepEqual([read.status.active, read.status.nextDue], [false, undefined]);
    await pause(2500);
    assert.equal((await fires("paused")).length, count);
    const resumed = Date.now();
    assert.deepEqual((await life("interval", "paused", "UNPAUSE")).config, config);
    const all = await eventually(
      () => fires("paused"),
      (seen) => seen.length > count,
    );
    assert.deepEqual(all[0].response.result, { n: 1 });
    assert.ok(all[all.length - count - 1].start >= resumed, "nothing of the pause is made up for");
    assert.equal((await life("interval", "paused", "READ")).status.active, true);
    await whisk.ok("trigger", "delete", "paused");
  });

  test("feeds of each kind keep what they were made with through a pause, and may be resumed with other settings", async () => {
    const date = "2099-01-01T00:00:00.000Z";
    const made = {
      alarm: { cron: "0 8 * * *", timezone: "Asia/Tokyo", stopDate: date, strict: true },
      interval: { minutes: 90, startDate: date },
      once: { date, deleteAfterFire: "rules" },
    };
    for (const [kind, settings] of Object.entries(made)) {
      const name = `kept-${kind}`;
      const parameters = Object.entries(settings).flatMap(([key, value]) => ["-p", key, String(value)]);
      await whisk.ok("trigger", "create", name, ...alarm(kind, ...parameters));
      for (const event of ["PAUSE", "pause", "UNPAUSE", "READ"]) {
        const { config } = await life(kind, name, event);
        assert.deepEqual({ ...config, ...settings }, config, `${kind} ${event}`);
      }
      assert.equal((await life(kind, name, "READ")).status.active, true);
    }
    await life("interval", "kept-interval", "PAUSE");
    assert.equal((await life("interval", "kept-interval", "UNPAUSE", { minutes: 30 })).config.minutes, 30);
    const { config, status } = await life("interval", "kept-interval", "READ");
    assert.deepEqual([config.minutes, config.startDate === date, status.active], [30, false, true]);
  });

  test("what has no feed, or is over, cannot be paused, resumed or read", async () => {
    const refused = async (error: RegExp, trigger: string, event: string): Promise<void> => {
      const parameters = { lifecycleEvent: event, triggerName: `/_/${trigger}`, authKey: whisk.auth };
      const file = whisk.file("life.json", JSON.stringify(parameters));
      const ran = await whisk.wsk("action", "invoke", "/whisk.system/alarms/once", "--result", "--param-file", file);
      assert.equal(ran.code, 502 - 256, event);
      assert.match(ran.stdout + ran.stderr, error);
    };
    await whisk.ok("trigger", "create", "plain");
    for (const event of ["PAUSE", "UNPAUSE", "READ", "DELETE"]) await refused(/does not exist/, "plain", event);
    await refused(/unsupported lifecycleEvent STOP/, "plain", "STOP");
    const date = new Date(Date.now() + 1500).toISOString();
    await whisk.ok("trigger", "create", "missed", ...alarm("once", "-p", "date", date));
    await life("once", "missed", "PAUSE");
    await pause(1800);
    await refused(/never due any more/, "missed", "UNPAUSE");
    assert.equal((await life("once", "missed", "READ")).status.active, false);
  });

  test("what an alarm cannot be is an application error that names the field, and leaves no trigger", async () => {
    const refused = async (text: RegExp, ...parameters: string[]): Promise<void> => {
      const ran = await whisk.wsk("trigger", "create", "wrong", ...parameters);
      assert.notEqual(ran.code, 0);
      assert.match(ran.stdout + ran.stderr, text);
      assert.equal((await whisk.rest("/api/v1/namespaces/_/triggers/wrong")).status, 404);
    };
    await refused(/cron/, ...alarm("alarm", "-p", "cron", "every day"));
    await refused(/cron/, ...alarm("alarm"));
    await refused(/time zone/, ...alarm("alarm", "-p", "cron", "0 8 * * *", "-p", "timezone", "Mars/Base"));
    await refused(/minutes/, ...alarm("interval", "-p", "minutes", "-1"));
    await refused(/minutes/, ...alarm("interval", "-p", "minutes", "0.001"));
    await refused(/date .* in the past/, ...alarm("once", "-p", "date", "2001-01-01T00:00:00.000Z"));
    await refused(/startDate/, ...alarm("interval", "-p", "minutes", "5", "-p", "startDate", "soon"));
    await refused(
      /deleteAfterFire/,
      ...alarm("once", "-p", "date", "2099-01-01T00:00:00.000Z", "-p", "deleteAfterFire", "no"),
    );
  });
});

/** What `look` sees once it is as wanted. Fails after ten seconds. */
async function eventually<T>(look: () => Promise<T>, wanted: (seen: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const seen = await look();
    if (wanted(seen)) return seen;
    if (tries === 50) assert.fail(`not as wanted: ${JSON.stringify(seen)}`);
    await pause(200);
  }
}

async function textOf(request: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}
