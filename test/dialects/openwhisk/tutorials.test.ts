/** What OpenWhisk's own documentation has its readers do, chapter by chapter. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { goClient, missingClients, run } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { fixture, until, zipOf } from "./fixtures.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("wsk") || missingTools("bwrap");

describe("the tutorials of OpenWhisk", { skip, timeout: 120_000 }, () => {
  let whisk: Whisk;
  let folder: string;
  before(async () => {
    whisk = await Whisk.start();
    folder = fixture(whisk, "tutorials");
    await whisk.ok("action", "create", "hello", `${folder}/hello.js`);
  });
  after(() => whisk?.stop());

  test("samples: hello with a name, with none, and with a file of parameters", async () => {
    assert.deepEqual(await whisk.invoke("hello"), { payload: "Hello, stranger from somewhere!" });
    const named = await whisk.json("action", "invoke", "-r", "hello", "-p", "name", "Dorothy", "-p", "place", "Kansas");
    assert.deepEqual(named, { payload: "Hello, Dorothy from Kansas!" });
    const file = whisk.file("person.json", '{ "name": "Toto" }');
    assert.deepEqual(await whisk.json("action", "invoke", "-r", "hello", "-P", file), {
      payload: "Hello, Toto from somewhere!",
    });
  });

  test("samples: an invocation is followed by its activation", async () => {
    const printed = await whisk.ok("action", "invoke", "hello", "-p", "name", "Tin Man");
    const id = /with id ([0-9a-f]{32})/.exec(printed)?.[1] ?? "";
    const activation = await until(() => whisk.json("activation", "get", id));
    assert.equal(activation.response.status, "success");
    assert.deepEqual(await whisk.json("activation", "result", id), { payload: "Hello, Tin Man from somewhere!" });
    assert.match(await whisk.ok("activation", "logs", id), /stdout: greeting Tin Man/);
    assert.match(await whisk.ok("activation", "list", "--limit", "5"), new RegExp(id));
    const polled = await whisk.ok("activation", "poll", "--exit", "2", "--since-minutes", "5");
    assert.match(polled, new RegExp(`Activation: 'hello' \\(${id}\\)`));
  });

  test("actions: a promise, and a package of npm in a zip", async () => {
    await whisk.ok("action", "create", "later", `${folder}/later.js`);
    assert.deepEqual(await whisk.invoke("later"), { done: true });
    const paths = ["package.json", "greet.js", "node_modules/polite/package.json", "node_modules/polite/polite.js"];
    const code = await zipOf(paths.map((path) => ({ path, content: readFileSync(`${folder}/zipped/${path}`) })));
    await whisk.ok("action", "create", "zipped", whisk.file("zipped.zip", code), "--kind", "nodejs:20");
    assert.deepEqual(await whisk.invoke("zipped", { name: "Ada" }), { payload: "Good day, Ada." });
    const saved = await whisk.ok("action", "get", "zipped", "--save-as", `${whisk.home}/saved.zip`);
    assert.match(saved, /saved action code/);
    assert.deepEqual(readFileSync(`${whisk.home}/saved.zip`), Buffer.from(code));
  });

  test("actions: lines are split and sorted by a sequence of the platform's own actions", async () => {
    const components = ["split", "sort"].map((name) => `/whisk.system/utils/${name}`).join(",");
    await whisk.ok("action", "create", "sequenceAction", "--sequence", components);
    const payload = "plums\napples\nMirabelles";
    assert.deepEqual(await whisk.invoke("sequenceAction", { payload }), {
      length: 3,
      lines: ["Mirabelles", "apples", "plums"],
    });
  });

  test("parameters: defaults are bound, overridden, inherited, and held where they are final", async () => {
    await whisk.ok("package", "create", "demo", "-p", "name", "Package", "-p", "place", "demo");
    await whisk.ok("action", "create", "demo/greet", `${folder}/hello.js`, "-p", "name", "Action");
    assert.deepEqual(await whisk.invoke("demo/greet"), { payload: "Hello, Action from demo!" });
    assert.deepEqual(await whisk.invoke("demo/greet", { place: "call" }), { payload: "Hello, Action from call!" });
    const { parameters } = await whisk.json("action", "get", "demo/greet");
    assert.deepEqual(Object.fromEntries(parameters.map(({ key, value }: any) => [key, value])), {
      name: "Action",
      place: "demo",
    });
    await whisk.ok("action", "update", "demo/greet", "-a", "final", "true", "-a", "description", "Greets");
    const refused = await whisk.wsk("action", "invoke", "demo/greet", "-r", "-p", "name", "Other");
    assert.equal(refused.code, 400 - 256);
    const described = await whisk.ok("action", "get", "demo/greet", "--summary");
    assert.match(described, /Greets/);
    const file = whisk.file("defaults.json", '{ "name": "File" }');
    await whisk.ok("action", "update", "demo/greet", "-P", file);
    assert.deepEqual(await whisk.invoke("demo/greet"), { payload: "Hello, File from demo!" });
  });

  test("packages: bound with defaults, shared with others, and with a feed of the clock", async () => {
    await whisk.ok("package", "bind", "/whisk.system/samples", "valhallaSamples", "--param", "place", "Valhalla");
    assert.deepEqual(await whisk.invoke("valhallaSamples/greeting", { name: "Odin" }), {
      payload: "Hello, Odin from Valhalla!",
    });
    assert.match(await whisk.ok("package", "get", "--summary", "/whisk.system/samples"), /samples\/greeting/);
    const guest = await whisk.user("visitor");
    const call = ["action", "invoke", "/guest/demo/greet", "--result"] as const;
    assert.equal((await whisk.as(guest, ...call)).code, 403 - 256);
    await whisk.ok("package", "update", "demo", "--shared", "yes");
    assert.equal((await whisk.as(guest, ...call)).code, 0);

    const feed = ["--feed", "/whisk.system/alarms/alarm", "-p", "cron", "*/8 * * * * *"];
    const payload = '{"name":"Clock","place":"the tower"}';
    await whisk.ok("trigger", "create", "everyEightSeconds", ...feed, "-p", "trigger_payload", payload);
    const { config, status } = (await whisk.json("trigger", "get", "everyEightSeconds")).response.result;
    assert.deepEqual(config.trigger_payload, JSON.parse(payload));
    assert.equal(new Date(status.nextDue).getUTCSeconds() % 8, 0);
    await whisk.ok("trigger", "delete", "everyEightSeconds");
  });

  test("triggers and rules: a place and a name come together; a rule is disabled and enabled", async () => {
    await whisk.ok("trigger", "create", "locationUpdate");
    await whisk.ok("rule", "create", "myRule", "locationUpdate", "hello");
    const fire = async (name: string): Promise<any> => {
      const place = ["-p", "name", name, "-p", "place", "Washington, D.C."];
      const printed = await whisk.ok("trigger", "fire", "locationUpdate", ...place);
      const id = /with id ([0-9a-f]{32})/.exec(printed)?.[1] ?? "";
      const { logs } = await until(() => whisk.json("activation", "get", id));
      return JSON.parse(logs[0]);
    };
    const { activationId } = await fire("Donald");
    const { response } = await until(() => whisk.json("activation", "get", activationId));
    assert.deepEqual(response.result, { payload: "Hello, Donald from Washington, D.C.!" });
    await whisk.ok("rule", "disable", "myRule");
    // Nothing is there to be activated.
    assert.match(await whisk.ok("trigger", "fire", "locationUpdate"), /with id $/m);
    await whisk.ok("rule", "enable", "myRule");
    assert.match((await fire("Daisy")).activationId, /^[0-9a-f]{32}$/);
  });

  test("web actions: each extension of the URL has its own answer", async () => {
    await whisk.ok("action", "create", "page", `${folder}/page.js`, "--web", "true");
    const page = `${whisk.apihost}/api/v1/web/guest/default/page`;
    const get = (rest: string): Promise<Response> => fetch(`${page}${rest}`, { redirect: "manual" });
    for (const [rest, type, body] of [
      [".html?name=Jane", /^text\/html/, "<b>Jane</b>"],
      [".svg", /^image\/svg\+xml/, "<svg/>"],
      [".text?name=Jane", /^text\/plain/, "plain Jane"],
      ["?as=object&name=Jane", /^application\/json/, /"name":\s*"Jane"/],
    ] as const) {
      const answer = await get(rest);
      assert.match(answer.headers.get("content-type") ?? "", type, rest);
      const text = await answer.text();
      if (typeof body === "string") assert.equal(text, body, rest);
      else assert.match(text, body, rest);
    }
    assert.equal(((await (await get(".json?name=Jane")).json()) as any).name, "Jane");
    const redirected = await get("?as=redirect");
    assert.deepEqual([redirected.status, redirected.headers.get("location")], [302, "https://openwhisk.example/"]);
    assert.deepEqual((await get(".http?as=cookies")).headers.getSetCookie(), ["one=1", "two=2"]);
    const image = Buffer.from(await (await get("?as=image")).arrayBuffer());
    assert.equal(image.subarray(1, 4).toString(), "PNG");
    assert.equal((await get("?as=object")).status, 201);
    const teapot = await get("?as=teapot");
    assert.deepEqual([teapot.status, await teapot.json()], [418, { message: "short and stout" }]);
    assert.equal((await get(".html?as=number")).status, 400);
    assert.equal((await get(".text?as=nothing")).status, 404);
    assert.equal((await get(".http?as=nothing")).status, 204);
    assert.equal((await fetch(page.replace("/page", "/hello"))).status, 404);
    const preflight = await fetch(page, { method: "OPTIONS", headers: { "access-control-request-headers": "x-mine" } });
    assert.deepEqual([preflight.status, preflight.headers.get("access-control-allow-headers")], [200, "x-mine"]);
  });

  test("web actions: raw ones get what was sent as it was, secure ones want their secret", async () => {
    await whisk.ok("action", "create", "raw", `${folder}/raw.js`, "--web", "raw");
    const raw = `${whisk.apihost}/api/v1/web/guest/default/raw`;
    const form = await fetch(`${raw}/a/b?x=1&x=2`, { method: "PUT", body: new URLSearchParams({ k: "v" }) });
    assert.deepEqual(await form.json(), {
      __ow_method: "put",
      __ow_body: "k=v",
      __ow_query: "x=1&x=2",
      __ow_path: "/a/b",
    });
    const headers = { "content-type": "application/json" };
    const json = await fetch(raw, { method: "POST", headers, body: '{"k":"v"}' });
    const { __ow_body: encoded } = (await json.json()) as { __ow_body: string };
    assert.equal(Buffer.from(encoded, "base64").toString(), '{"k":"v"}');
    await whisk.ok("action", "update", "page", "--web", "true", "--web-secure", "open sesame");
    const page = `${raw.replace("/raw", "/page")}.text`;
    assert.equal((await fetch(page)).status, 401);
    assert.equal((await fetch(page, { headers: { "x-require-whisk-auth": "open sesame" } })).status, 200);
  });

  test("conductors: three tripled and one more makes ten, in six activations; mistakes are told", async () => {
    const source = fixture(whisk, "conductor");
    await whisk.ok("package", "create", "arithmetic");
    for (const name of ["triple", "increment"])
      await whisk.ok("action", "create", `arithmetic/${name}`, `${source}/${name}.js`);
    await whisk.ok("action", "create", "arithmetic/both", `${source}/tripleAndIncrement.js`, "-a", "conductor", "true");
    const { activationId } = await whisk.json("action", "invoke", "-b", "arithmetic/both", "-p", "value", "3");
    const { logs, response } = await whisk.json("activation", "get", activationId);
    assert.deepEqual([logs.length, response.result], [5, { value: 10 }]);
    const conductor = (name: string, source: string): Promise<string> =>
      whisk.ok("action", "create", name, whisk.file(`${name}.js`, source), "-a", "conductor", "true");
    await conductor(
      "boxes",
      "const main = (p) => (p.state ? { params: p } : { action: 'hello', params: 7, state: 8 });",
    );
    assert.deepEqual(await whisk.invoke("boxes"), { payload: "Hello, stranger from somewhere!", state: 8 });
    await conductor("lost", "const main = (p) => (p.error ? { params: { told: p.error } } : { action: 7 });");
    assert.deepEqual(await whisk.invoke("lost"), { told: "Failed to parse action name '7' during composition." });
    await conductor("gives-up", "const main = () => ({ error: 'no more' });");
    await conductor("endless", "const main = () => ({ action: 'hello' });");
    for (const [name, expected] of [
      ["gives-up", /no more/],
      ["endless", /exceeded its limit/],
    ] as const) {
      const failed = await whisk.wsk("action", "invoke", "-r", name);
      assert.equal(failed.code, 502 - 256, name);
      assert.match(failed.stdout + failed.stderr, expected);
    }
  });

  test("the API gateway: hello, and the Book Club with a path and four methods", async () => {
    await whisk.ok("action", "create", "world", `${folder}/hello.js`, "--web", "true");
    const made = await whisk.ok("api", "create", "/hello", "/world", "get", "world");
    const world = await fetch(`${made.trim().split("\n").at(-1)}?name=Earth`);
    assert.deepEqual(await world.json(), { payload: "Hello, Earth from somewhere!" });

    await whisk.ok("action", "create", "books", `${folder}/books.js`, "--web", "true");
    for (const [path, method] of [
      ["/books", "get"],
      ["/books", "post"],
      ["/books/{isbn}", "put"],
      ["/books/{isbn}", "delete"],
    ] as const)
      await whisk.ok("api", "create", "-n", "Book Club", "/club", path, method, "books", "--response-type", "http");
    const listed = await whisk.ok("api", "list", "/club", "--full");
    const club = /http\S+\/club/.exec(listed)?.[0];
    const headers = { "content-type": "application/json" };
    const made201 = await fetch(`${club}/books`, { method: "POST", headers, body: '{"name":"Emma"}' });
    assert.deepEqual([made201.status, await made201.json()], [201, { did: "post", name: "Emma" }]);
    for (const method of ["PUT", "DELETE"]) {
      const answer = await fetch(`${club}/books/12?name=Emma`, { method });
      assert.deepEqual(await answer.json(), { did: method.toLowerCase(), isbn: "12", name: "Emma" });
    }
    assert.equal((await fetch(`${club}/books`, { method: "DELETE" })).status, 404);
    const swagger = whisk.file("club.json", await whisk.ok("api", "get", "Book Club"));
    await whisk.ok("api", "delete", "/club");
    assert.equal((await fetch(`${club}/books`)).status, 404);
    await whisk.ok("api", "create", "--config-file", swagger);
    assert.deepEqual(await (await fetch(`${club}/books`)).json(), { did: "get" });
  });

  test("feeds: an own feed is told of its trigger's life, and may refuse it", async () => {
    await whisk.ok("package", "create", "news");
    await whisk.ok("action", "create", "news/topic", `${folder}/feed.js`, "-a", "feed", "true");
    const asked = async (...parameters: string[]): Promise<any> => {
      const printed = await whisk.ok("trigger", ...parameters);
      return JSON.parse(/^\{$[^]*?^\}$/m.exec(printed)?.[0] ?? "").response.result;
    };
    assert.deepEqual(await asked("create", "cats", "--feed", "news/topic", "-p", "topic", "cats"), {
      lifecycleEvent: "CREATE",
      triggerName: "/_/cats",
      hasKey: true,
      settings: { topic: "cats" },
    });
    assert.equal((await asked("get", "cats")).lifecycleEvent, "READ");
    const updated = await asked("update", "cats", "-p", "topic", "dogs");
    assert.deepEqual([updated.lifecycleEvent, updated.settings], ["UPDATE", { topic: "dogs" }]);
    assert.equal((await asked("delete", "cats")).lifecycleEvent, "DELETE");
    assert.equal((await whisk.wsk("trigger", "get", "cats")).code, 404 - 256);
    const refused = await whisk.wsk("trigger", "create", "x", "--feed", "news/topic", "-p", "topic", "forbidden");
    assert.notEqual(refused.code, 0);
    assert.equal((await whisk.wsk("trigger", "get", "x")).code, 404 - 256);
  });

  test("the REST API does all of it without a client", async () => {
    const put = (path: string, body: unknown): Promise<Response> => send("PUT", path, body);
    const made = await put("actions/rest", {
      exec: { kind: "nodejs:default", code: "const main = ({ n }) => ({ n });" },
    });
    assert.equal(made.status, 200);
    assert.equal((await put("actions/rest", { exec: { kind: "nodejs:20", code: "" } })).status, 409);
    const called = await send("POST", "actions/rest?blocking=true&result=true", { n: 1 });
    assert.deepEqual([called.status, await called.json()], [200, { n: 1 }]);
    const later = await send("POST", "actions/rest", { n: 2 });
    assert.equal(later.status, 202);
    const { activationId } = (await later.json()) as { activationId: string };
    await until(async () =>
      assert.deepEqual((await whisk.document(`activations/${activationId}/result`)).result, { n: 2 }),
    );
    const sequence = { exec: { kind: "sequence", components: ["/_/rest", "/whisk.system/utils/echo"] } };
    await put("actions/chained?overwrite=true", sequence);
    const chained = await send("POST", "actions/chained?blocking=true&result=true", { n: 3 });
    assert.deepEqual(await chained.json(), { n: 3 });
    await put("triggers/rested", {});
    await put("rules/resting?overwrite=true", { trigger: "/_/rested", action: "/_/rest" });
    const fired = await send("POST", "triggers/rested", { n: 4 });
    assert.equal(fired.status, 202);
    assert.equal((await whisk.document("rules/resting")).status, "active");
    assert.equal((await send("DELETE", "actions/chained")).status, 200);
  });

  test("wsk property set writes the settings that it then works by", async () => {
    const wsk = await goClient("wsk");
    const home = fixture(whisk, "fizzbuzz");
    const call = (...parameters: string[]): ReturnType<typeof run> => run(wsk, parameters, { home });
    assert.notEqual((await call("list")).code, 0);
    assert.equal((await call("property", "set", "--apihost", whisk.apihost, "--auth", whisk.auth)).code, 0);
    assert.match(readFileSync(`${home}/.wskprops`, "utf8"), /^APIHOST=http/m);
    for (const parameters of [["list"], ["-i", "list"], ["namespace", "list"]])
      assert.match((await call(...parameters)).stdout, /guest/);
    assert.match((await call("property", "get", "--apihost")).stdout, new RegExp(whisk.apihost));
    assert.equal((await call("property", "unset", "--auth")).code, 0);
    assert.notEqual((await call("list")).code, 0);
  });

  function send(method: string, path: string, body?: unknown): Promise<Response> {
    const headers = { "content-type": "application/json" };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    return whisk.rest(`/api/v1/namespaces/_/${path}`, { method, headers, ...sent });
  }
});
