import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("wsk", "wskdeploy") || missingTools("bwrap");

const hello = `function main({ name = "World" }) { console.log("greeting", name); return { payload: "Hello, " + name }; }`;

describe("wsk against the platform", { skip }, () => {
  let whisk: Whisk;
  before(async () => {
    whisk = await Whisk.start();
  });
  after(() => whisk?.stop());

  test("property get knows the namespace and the build", async () => {
    const printed = await whisk.ok("property", "get");
    assert.match(printed, /whisk namespace\s+guest/);
    assert.match(printed, /whisk API build\s+virga-/);
  });

  test("an action is created, invoked in each way, listed, updated, copied and deleted", async () => {
    const file = whisk.file("hello.js", hello);
    assert.match(await whisk.ok("action", "create", "hello", file), /ok: created action hello/);
    assert.deepEqual(await whisk.invoke("hello"), { payload: "Hello, World" });
    assert.deepEqual(await whisk.invoke("hello", { name: "Ada" }), { payload: "Hello, Ada" });
    const blocking = await whisk.json("action", "invoke", "hello", "--blocking", "-p", "name", "Bob");
    assert.equal(blocking.response.status, "success");
    assert.deepEqual(blocking.response.result, { payload: "Hello, Bob" });
    assert.deepEqual(blocking.logs, []);
    const id =
      /with id ([0-9a-f]{32})/.exec(await whisk.ok("action", "invoke", "hello", "-p", "name", "Eve"))?.[1] ?? "";
    const activation = await until(() => whisk.json("activation", "get", id));
    assert.deepEqual(activation.response.result, { payload: "Hello, Eve" });
    assert.match(activation.logs[0], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout: greeting Eve$/);
    assert.equal((await whisk.ok("activation", "logs", id, "--strip")).trim(), "greeting Eve");
    assert.match(await whisk.ok("activation", "list", "hello"), new RegExp(id));
    assert.match(await whisk.ok("action", "list"), /\/guest\/hello\s+private nodejs:20/);

    await whisk.ok("action", "update", "hello", "-p", "name", "Default", "-m", "128", "-t", "5000");
    assert.deepEqual(await whisk.invoke("hello"), { payload: "Hello, Default" });
    const document = await whisk.json("action", "get", "hello");
    assert.equal(document.version, "0.0.2");
    assert.deepEqual([document.limits.memory, document.limits.timeout], [128, 5000]);
    await whisk.ok("action", "create", "--copy", "hello2", "hello");
    assert.deepEqual(await whisk.invoke("hello2"), { payload: "Hello, Default" });
    await whisk.ok("action", "get", "hello", "--save-as", `${whisk.home}/saved.js`);
    await whisk.ok("action", "delete", "hello2");
    assert.equal((await whisk.wsk("action", "invoke", "hello2")).code, 404 - 256);
    assert.equal((await whisk.wsk("action", "create", "hello", file)).code, 409 - 256);
  });

  test("an application's error, a crash, a timeout and an unknown entity have OpenWhisk's exit codes and texts", async () => {
    await whisk.ok("action", "create", "fails", whisk.file("fails.js", "function main() { return { error: 'no' } }"));
    const failed = await whisk.wsk("action", "invoke", "fails", "--blocking");
    assert.equal(failed.code, 502 - 256);
    assert.match(failed.stderr + failed.stdout, /application error/);
    await whisk.ok(
      "action",
      "create",
      "slow",
      "-t",
      "200",
      whisk.file("slow.js", "function main() { return new Promise(() => setInterval(() => {}, 1000)) }"),
    );
    const slow = await whisk.wsk("action", "invoke", "slow", "--blocking");
    assert.match(slow.stderr + slow.stdout, /exceeded its time limits of 200 milliseconds/);
    await whisk.ok("action", "create", "broken", whisk.file("broken.js", "function main( {"));
    const broken = await whisk.wsk("action", "invoke", "broken", "--blocking");
    assert.match(broken.stderr + broken.stdout, /action developer error/);
    await whisk.ok("action", "create", "exits", whisk.file("exits.js", "function main() { process.exit(3) }"));
    const exits = await whisk.wsk("action", "invoke", "exits", "--blocking");
    assert.match(exits.stderr + exits.stdout, /did not produce a valid response and exited unexpectedly/);
    const unknown = await whisk.wsk("action", "get", "none");
    assert.match(unknown.stderr + unknown.stdout, /The requested resource does not exist\. \(code \w+\)/);
  });

  test("a sequence hands results on, stops at an error, and its activation names its components", async () => {
    await whisk.ok(
      "action",
      "create",
      "triple",
      whisk.file("t.js", "function main({ value }) { return { value: value * 3 } }"),
    );
    await whisk.ok(
      "action",
      "create",
      "plus",
      whisk.file("p.js", "function main({ value, by = 1 }) { return { value: value + by } }"),
      "-p",
      "by",
      "2",
    );
    await whisk.ok("action", "create", "both", "--sequence", "triple,plus");
    assert.deepEqual(await whisk.invoke("both", { value: 5 }), { value: 17 });
    await whisk.ok("action", "create", "nested", "--sequence", "both,/guest/both");
    assert.deepEqual(await whisk.invoke("nested", { value: 1 }), { value: 17 });
    const run = await whisk.json("action", "invoke", "nested", "--blocking", "-p", "value", "1");
    const activation = await whisk.json("activation", "get", run.activationId);
    assert.equal(activation.logs.length, 2);
    const inner = await whisk.json("activation", "get", activation.logs[0]);
    assert.equal(inner.cause, run.activationId);
    assert.equal(inner.logs.length, 2);
    await whisk.ok("action", "create", "stops", "--sequence", "fails,plus");
    const stopped = await whisk.wsk("action", "invoke", "stops", "--blocking");
    assert.equal(stopped.code, 502 - 256);
    assert.equal((await whisk.wsk("action", "create", "circle", "--sequence", "circle")).code, 400 - 256);
    const none = await whisk.wsk("action", "create", "nothing", "--sequence", "absent");
    assert.equal(none.code, 400 - 256);
  });

  test("a conductor runs its components: the composition of the documentation makes six activations", async () => {
    await whisk.ok(
      "action",
      "create",
      "increment",
      whisk.file("i.js", "function main({ value }) { return { value: value + 1 } }"),
    );
    const source = `function main(params) {
      const step = params.$step || 0;
      delete params.$step;
      if (step === 0) return { action: "triple", params, state: { $step: 1 } };
      if (step === 1) return { action: "increment", params, state: { $step: 2 } };
      return { params };
    }`;
    await whisk.ok("action", "create", "tripleAndIncrement", whisk.file("c.js", source), "-a", "conductor", "true");
    const run = await whisk.json("action", "invoke", "tripleAndIncrement", "--blocking", "-p", "value", "3");
    assert.deepEqual(run.response.result, { value: 10 });
    const primary = await whisk.json("activation", "get", run.activationId);
    assert.equal(primary.logs.length, 5);
    assert.deepEqual(annotationOf(primary, "conductor"), true);
    assert.deepEqual(annotationOf(primary, "topmost"), true);
    for (const id of primary.logs) assert.equal((await whisk.json("activation", "get", id)).cause, run.activationId);
    const lost = `function main(p) { return p.error ? { params: { told: p.error } } : { action: "absent", params: p } }`;
    await whisk.ok("action", "create", "lost", whisk.file("l.js", lost), "-a", "conductor", "true");
    assert.match((await whisk.invoke<{ told: string }>("lost")).told, /Failed to resolve action with name 'absent'/);
  });

  test("triggers fire rules, sequences too; a disabled rule is told of and does not run", async () => {
    await whisk.ok("trigger", "create", "locationUpdate", "-p", "place", "here");
    assert.match(await whisk.ok("trigger", "fire", "locationUpdate"), /locationUpdate/);
    await whisk.ok("rule", "create", "greets", "locationUpdate", "hello");
    await whisk.ok("rule", "create", "counts", "locationUpdate", "both");
    const fired = await whisk.ok("trigger", "fire", "locationUpdate", "-p", "name", "Donald", "-p", "value", "2");
    const id = /with id ([0-9a-f]{32})/.exec(fired)?.[1] ?? "";
    const activation = await until(() => whisk.json("activation", "get", id));
    assert.deepEqual(activation.response.result, { place: "here", name: "Donald", value: 2 });
    const document = await whisk.document(`activations/${id}`);
    assert.deepEqual(["end" in document, "duration" in document], [false, false]);
    const lines = activation.logs.map((line: string) => JSON.parse(line) as { rule: string; activationId: string });
    assert.deepEqual(lines.map(({ rule }: { rule: string }) => rule).sort(), ["guest/counts", "guest/greets"]);
    for (const { rule, activationId } of lines) {
      const ran = await until(() => whisk.json("activation", "get", activationId));
      assert.deepEqual(ran.response.result, rule === "guest/greets" ? { payload: "Hello, Donald" } : { value: 8 });
      assert.equal(ran.cause, undefined);
    }
    await whisk.ok("rule", "disable", "greets");
    assert.match(await whisk.ok("rule", "status", "greets"), /inactive/);
    const again =
      /with id ([0-9a-f]{32})/.exec(await whisk.ok("trigger", "fire", "locationUpdate", "-p", "value", "1"))?.[1] ?? "";
    const second = await until(() => whisk.json("activation", "get", again));
    assert.ok(second.logs.some((line: string) => line.includes("inactive")));
    await whisk.ok("rule", "enable", "greets");
    await whisk.ok("rule", "update", "greets", "locationUpdate", "hello");
    assert.match(await whisk.ok("rule", "list"), /\/guest\/greets\s+private\s+active/);
    await whisk.ok("rule", "delete", "counts", "--disable");
    await whisk.ok("trigger", "delete", "locationUpdate");
    await whisk.ok("rule", "delete", "greets");
  });

  test("packages give their actions parameters; a binding overrides them, and a public one serves others", async () => {
    await whisk.ok("package", "create", "tools", "-p", "name", "Package", "--shared", "yes");
    const file = whisk.file("hello.js", hello);
    await whisk.ok("action", "create", "tools/greet", file);
    assert.deepEqual(await whisk.invoke("tools/greet"), { payload: "Hello, Package" });
    await whisk.ok("package", "bind", "tools", "mine", "-p", "name", "Binding");
    assert.deepEqual(await whisk.invoke("mine/greet"), { payload: "Hello, Binding" });
    assert.deepEqual(await whisk.invoke("mine/greet", { name: "Call" }), { payload: "Hello, Call" });
    const other = await whisk.user("other");
    await whisk.as(other, "package", "bind", "/guest/tools", "theirs");
    const called = await whisk.as(other, "action", "invoke", "theirs/greet", "--result");
    assert.deepEqual(JSON.parse(called.stdout), { payload: "Hello, Package" });
    await whisk.ok("action", "update", "tools/greet", whisk.file("bye.js", hello.replace("Hello", "Bye")));
    const changed = await whisk.as(other, "action", "invoke", "theirs/greet", "--result");
    assert.deepEqual(JSON.parse(changed.stdout), { payload: "Bye, Package" });
    assert.equal((await whisk.wsk("package", "delete", "tools")).code, 409 - 256);
    const summary = await whisk.ok("package", "get", "tools", "--summary");
    assert.match(summary, /action \/guest\/tools\/greet/);
  });

  test("a namespace sees, calls and guesses nothing of another's that is not public", async () => {
    const stranger = await whisk.user("stranger");
    await whisk.ok("package", "create", "private");
    await whisk.ok("action", "create", "private/secret", whisk.file("hello.js", hello));
    for (const path of ["hello", "none", "private/secret", "private/none", "nopackage/none"]) {
      for (const method of ["GET", "POST"]) {
        const answer = await whisk.rest(`/api/v1/namespaces/guest/actions/${path}`, { method, auth: stranger });
        assert.equal(answer.status, 403, `${method} ${path}`);
      }
    }
    for (const collection of ["actions", "triggers", "rules", "activations", "limits"]) {
      const answer = await whisk.rest(`/api/v1/namespaces/guest/${collection}`, { auth: stranger });
      assert.equal(answer.status, 403, collection);
    }
    const as = (method: string, path: string, body: object = {}): Promise<Response> =>
      whisk.rest(`/api/v1/namespaces/${path}`, {
        method,
        auth: stranger,
        ...(method === "GET" ? {} : { body: JSON.stringify(body) }),
      });
    const binding = (name: string) => ({ binding: { namespace: "guest", name } });
    const sequence = (name: string) => ({ exec: { kind: "sequence", components: [`/guest/${name}`] } });
    await whisk.ok("trigger", "create", "hidden");
    assert.equal((await as("PUT", "_/triggers/own")).status, 200);
    for (const [method, path, body] of [
      ["GET", "guest/packages/private"],
      ["GET", "guest/packages/none"],
      ["GET", "guest/actions/private/"],
      ["GET", "guest/actions/none/"],
      ["PUT", "guest/actions/mine", { exec: { kind: "nodejs:default", code: hello } }],
      ["DELETE", "guest/actions/hello"],
      ["POST", "guest/triggers/hidden"],
      ["POST", "guest/triggers/none"],
      ["PUT", "_/packages/bound", binding("private")],
      ["PUT", "_/packages/bound", binding("none")],
      ["PUT", "_/actions/chain", sequence("private/secret")],
      ["PUT", "_/actions/chain", sequence("private/none")],
      ["PUT", "_/actions/chain", sequence("hello")],
      ["PUT", "_/rules/rule", { trigger: "/_/own", action: "/guest/private/secret" }],
      ["PUT", "_/rules/rule", { trigger: "/_/own", action: "/guest/none" }],
    ] as const) {
      assert.equal((await as(method, path, body)).status, 403, `${method} ${path} ${JSON.stringify(body)}`);
    }
    for (const trigger of ["hidden", "none"]) {
      const foreign = await as("PUT", "_/rules/rule", {
        trigger: `/guest/${trigger}`,
        action: "/whisk.system/utils/echo",
      });
      assert.equal(foreign.status, 400, trigger);
    }
    const { activationId } = await whisk.json("action", "invoke", "hello", "--blocking");
    await until(() => whisk.json("activation", "get", activationId));
    for (const part of ["", "/logs", "/result"])
      assert.equal((await as("GET", `_/activations/${activationId}${part}`)).status, 404, part);
    for (const name of ["private/secret", "private/none", "default/hello", "default/none"])
      assert.equal((await whisk.rest(`/api/v1/web/guest/${name}`, { auth: stranger })).status, 404, name);
    const listed = await whisk.rest("/api/v1/namespaces/guest/packages", { auth: stranger });
    assert.ok(!(await listed.text()).includes("private"));
    assert.equal((await whisk.rest("/api/v1/namespaces/_/actions", { auth: false })).status, 401);
    const wrong = `${whisk.auth.slice(0, 40)}x`;
    assert.equal((await whisk.rest("/api/v1/namespaces/_/actions", { auth: wrong })).status, 401);
  });

  test("what a package opened to others is closed to them as soon as it is private again", async () => {
    const visitor = await whisk.user("visitor");
    await whisk.ok("package", "create", "shop", "--shared", "yes");
    await whisk.ok("action", "create", "shop/item", whisk.file("hello.js", hello));
    assert.equal((await whisk.as(visitor, "package", "bind", "/guest/shop", "stall")).code, 0);
    assert.equal((await whisk.as(visitor, "action", "create", "sells", "--sequence", "/guest/shop/item")).code, 0);
    for (const action of ["/guest/shop/item", "stall/item", "sells"])
      assert.deepEqual(JSON.parse((await whisk.as(visitor, "action", "invoke", action, "--result")).stdout), {
        payload: "Hello, World",
      });
    await whisk.ok("package", "update", "shop", "--shared", "no");
    for (const action of ["/guest/shop/item", "stall/item", "sells"]) {
      const refused = await whisk.as(visitor, "action", "invoke", action, "--result");
      assert.notEqual(refused.code, 0, action);
      assert.ok(!(refused.stdout + refused.stderr).includes("Hello"), action);
    }
  });

  test("lists, summaries and settings: the commands that only look", async () => {
    await whisk.ok("package", "create", "shelf", "-a", "description", "a shelf", "-p", "p", "1");
    await whisk.ok("package", "update", "shelf", "-p", "p", "2");
    const values = whisk.file("values.json", JSON.stringify({ name: "File" }));
    const notes = whisk.file("notes.json", JSON.stringify({ description: "says hello" }));
    const file = whisk.file("hello.js", hello);
    await whisk.ok("action", "create", "shelf/greet", file, "-P", values, "-A", notes, "-l", "1", "-c", "4");
    const { limits } = await whisk.json("action", "get", "shelf/greet");
    assert.deepEqual([limits.logs, limits.concurrency], [1, 4]);
    assert.match(await whisk.ok("action", "get", "shelf/greet", "--summary"), /says hello[\s\S]*name/);
    assert.deepEqual(await whisk.invoke("shelf/greet"), { payload: "Hello, File" });
    assert.match(await whisk.ok("package", "list"), /\/guest\/shelf\s+private/);
    assert.match(await whisk.ok("package", "list", "/whisk.system"), /\/whisk\.system\/utils\s+shared/);
    assert.equal((await whisk.json("package", "get", "shelf")).parameters[0].value, 2);
    await whisk.ok("trigger", "create", "bell", "-p", "tone", "low");
    await whisk.ok("trigger", "update", "bell", "-p", "tone", "high", "-a", "description", "rings");
    assert.equal((await whisk.json("trigger", "get", "bell")).parameters[0].value, "high");
    assert.match(await whisk.ok("trigger", "get", "bell", "--summary"), /rings/);
    assert.match(await whisk.ok("trigger", "list"), /\/guest\/bell\s+private/);
    await whisk.ok("rule", "create", "rings", "bell", "shelf/greet");
    assert.equal((await whisk.json("rule", "get", "rings")).action.path, "guest/shelf");
    assert.match(await whisk.ok("namespace", "list"), /guest/);
    for (const everything of [await whisk.ok("list"), await whisk.ok("namespace", "get")])
      for (const name of ["shelf", "shelf/greet", "bell", "rings"])
        assert.match(everything, new RegExp(`/guest/${name}\\s`));
    const { activationId } = await whisk.json("action", "invoke", "shelf/greet", "--blocking");
    const result = await until(() => whisk.json("activation", "result", activationId));
    assert.deepEqual(result, { payload: "Hello, File" });
    assert.match(await whisk.ok("activation", "poll", "--exit", "1", "--since-minutes", "5"), /greeting File/);
    assert.match(await whisk.ok("activation", "list", "--limit", "1"), /[0-9a-f]{32}/);
    const image = await whisk.wsk("action", "create", "image", "--docker", "busybox");
    assert.equal(image.code, 400 - 256);
    assert.match(image.stdout + image.stderr, /images are not supported yet/);
    assert.notEqual((await whisk.wsk("package", "refresh")).code, 0);
    await whisk.ok("rule", "delete", "rings");
    await whisk.ok("trigger", "delete", "bell");
    await whisk.ok("action", "delete", "shelf/greet");
    await whisk.ok("package", "delete", "shelf");
    assert.match(
      await whisk.ok("property", "set", "--apihost", whisk.apihost, "--auth", whisk.auth),
      /ok: whisk auth set/,
    );
    assert.match(await whisk.ok("property", "get", "--apihost"), new RegExp(whisk.apihost));
    assert.match(await whisk.ok("property", "unset", "--auth"), /ok: whisk auth unset/);
  });

  test("web actions answer pages, JSON, redirects, cookies and binary bodies; others answer 404", async () => {
    const page = `function main(args) {
      if (args.go) return { statusCode: 302, headers: { location: "https://example.org/" } };
      if (args.png) return { headers: { "content-type": "image/png" }, body: Buffer.from([1, 2, 255]).toString("base64") };
      return { headers: { "set-cookie": ["a=1", "b=2"] }, body: "<b>" + args.name + args.__ow_path + "</b>", html: "<i>html</i>", text: "plain" };
    }`;
    await whisk.ok("action", "create", "page", whisk.file("page.js", page), "--web", "true", "-p", "fixed", "x");
    const url = (await whisk.ok("action", "get", "page", "--url")).trim().split("\n").at(-1)!;
    const first = await fetch(`${url}/a/b?name=n`);
    assert.equal(first.headers.get("content-type"), "text/html; charset=UTF-8");
    assert.deepEqual(first.headers.getSetCookie(), ["a=1", "b=2"]);
    assert.equal(first.headers.get("access-control-allow-origin"), "*");
    assert.equal(await first.text(), "<b>n/a/b</b>");
    assert.equal((await fetch(`${url}?go=1`, { redirect: "manual" })).status, 302);
    assert.deepEqual([...new Uint8Array(await (await fetch(`${url}?png=1`)).arrayBuffer())], [1, 2, 255]);
    assert.equal(((await (await fetch(`${url}.json?name=j`)).json()) as { text: string }).text, "plain");
    assert.equal((await fetch(`${url}?fixed=other`)).status, 400);
    assert.equal((await fetch(`${url}?__ow_method=x`)).status, 400);
    assert.equal((await fetch(url.replace("page", "hello"))).status, 404);
    assert.equal((await fetch(url.replace("page", "absent"))).status, 404);
    await whisk.ok("action", "update", "page", "--web", "true", "--web-secure", "s3cret");
    assert.equal((await fetch(url)).status, 401);
    assert.equal((await fetch(url, { headers: { "x-require-whisk-auth": "s3cret" } })).status, 200);
    const raw = `function main({ __ow_body, __ow_query, __ow_method }) { return { body: { __ow_body, __ow_query, __ow_method } } }`;
    await whisk.ok("action", "create", "raw", whisk.file("raw.js", raw), "--web", "raw");
    const answer = await fetch(`${url.replace("page", "raw")}?x=1`, { method: "POST", body: "plain text" });
    assert.deepEqual(await answer.json(), { __ow_body: "plain text", __ow_query: "x=1", __ow_method: "post" });
  });

  test("wsk api makes, shows, imports and deletes APIs, which lead to web actions", async () => {
    const book = `function main({ __ow_path, __ow_method, title }) { return { body: { path: __ow_path, method: __ow_method, title } } }`;
    await whisk.ok("action", "create", "book", whisk.file("book.js", book), "--web", "true");
    await whisk.ok("api", "create", "-n", "Book Club", "/club", "/books", "get", "book", "--response-type", "http");
    const made = await whisk.ok("api", "create", "/club", "/books/{isbn}", "delete", "book", "--response-type", "http");
    const url = made.trim().split("\n").at(-1)!;
    const books = await fetch(url.replace("/{isbn}", "?title=t"));
    assert.deepEqual(await books.json(), { path: "/club/books", method: "get", title: "t" });
    const one = await fetch(url.replace("{isbn}", "12"), { method: "DELETE" });
    assert.deepEqual(await one.json(), { path: "/club/books/12", method: "delete" });
    assert.equal((await fetch(url.replace("{isbn}", "12"))).status, 404);
    assert.match(await whisk.ok("api", "list", "/club"), /delete\s+Book Club/);
    const document = await whisk.ok("api", "get", "Book Club");
    await whisk.ok("api", "delete", "/club", "/books", "get");
    await whisk.ok("api", "delete", "Book Club");
    await whisk.ok("api", "create", "--config-file", whisk.file("club.json", document));
    assert.equal((await fetch(url.replace("/{isbn}", ""))).status, 200);
    assert.equal((await whisk.wsk("api", "create", "/x", "/y", "get", "hello")).code !== 0, true);
  });

  test("whisk.system's packages are there for everybody", async () => {
    assert.deepEqual(await whisk.invoke("/whisk.system/samples/greeting"), {
      payload: "Hello, stranger from somewhere!",
    });
    await whisk.ok("package", "bind", "/whisk.system/samples", "valhallaSamples", "-p", "place", "Valhalla");
    assert.deepEqual(await whisk.invoke("valhallaSamples/greeting", { name: "Odin" }), {
      payload: "Hello, Odin from Valhalla!",
    });
    for (const name of ["samples/greeting", "valhallaSamples/greeting"])
      await until(async () =>
        assert.match(await whisk.ok("activation", "list", name), /[0-9a-f]{32} nodejs:20 .* guest\/greeting/),
      );
    await whisk.ok("action", "create", "sorted", "--sequence", "/whisk.system/utils/split,/whisk.system/utils/sort");
    assert.deepEqual(await whisk.invoke("sorted", { payload: "b\nc\na" }), { length: 3, lines: ["a", "b", "c"] });
  });

  test("an alarm fires its trigger by the second, until it is deleted", async () => {
    await whisk.ok(
      "trigger",
      "create",
      "tick",
      "--feed",
      "/whisk.system/alarms/alarm",
      "-p",
      "cron",
      "* * * * * *",
      "-p",
      "trigger_payload",
      '{"name":"Clock"}',
    );
    await whisk.ok("rule", "create", "ticks", "tick", "hello");
    const found = await until(async () => {
      const list = await whisk.document("activations?name=tick&docs=true");
      assert.ok(list.length >= 2);
      return list;
    });
    assert.deepEqual(found[0].response.result, { name: "Clock" });
    await whisk.ok("trigger", "delete", "tick");
    await whisk.ok("rule", "delete", "ticks");
    const count = async (): Promise<number> => (await whisk.document("activations?name=tick&count=true")).activations;
    const before = await count();
    await pause(2500);
    assert.ok((await count()) <= before + 1);
  });
});

function annotationOf(document: { annotations: { key: string; value: unknown }[] }, key: string): unknown {
  return document.annotations.find((one) => one.key === key)?.value;
}

/** Records come a moment behind the answer. */
async function until<T>(look: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await look();
    } catch (thrown) {
      if (tries === 40) throw thrown;
      await pause(250);
    }
  }
}
