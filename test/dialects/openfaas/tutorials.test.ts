/** OpenFaaS's published tutorials, as far as other suites do not have their steps; the pages they fetch are of a server of ours. */
import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { eventually, type Neighbour, neighbour } from "./fixtures/neighbours.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap", "pip");

describe("tutorials", { skip, timeout: 150_000 }, () => {
  let faas: Faas;
  let cwd: string;
  let web: Neighbour;

  before(async () => {
    faas = await Faas.start();
    cwd = faas.folderWith("python3", "python3-http", "node", "node22");
    web = await neighbour((_request, response) => response.end("<p>Functions as a service</p>"));
  });
  after(async () => {
    await faas?.stop();
    web?.close();
  });

  /** `faas-cli new`, the tutorial's handler and what it requires, lines for the stack file, and `up`. */
  async function make(
    template: string,
    handler: string,
    more: { lines?: string[]; requires?: string } = {},
  ): Promise<void> {
    const { lines = [], requires } = more;
    const extension = extname(handler);
    const name = handler.slice(0, -extension.length);
    await faas.ok(["new", "--lang", template, name, "--quiet"], { cwd });
    copyFileSync(join(import.meta.dirname, "fixtures/tutorials", handler), join(cwd, name, `handler${extension}`));
    const [file, ...added] = [join(cwd, `${name}.yml`), ...lines.map((line) => `    ${line}`)];
    writeFileSync(file, `${[readFileSync(file, "utf8").trimEnd(), ...added].join("\n")}\n`);
    if (requires !== undefined && extension === ".py")
      writeFileSync(join(cwd, name, "requirements.txt"), `${requires}\n`);
    else if (requires !== undefined) {
      const manifest = join(cwd, name, "package.json");
      const document = JSON.parse(readFileSync(manifest, "utf8")) as object;
      writeFileSync(manifest, JSON.stringify({ ...document, dependencies: { [requires]: "*" } }));
    }
    await faas.buildUp(cwd, `${name}.yml`);
  }

  const post = (path: string, body: string | object, headers: Record<string, string> = {}): Promise<Response> =>
    faas.call(path, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) });
  const json = { "content-type": "application/json" };

  test("the first function in Python answers what it is told", async () => {
    await make("python3", "hello-python.py");
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const answer = await post("hello-python", "it's Alex here", form);
    assert.equal((await answer.text()).trim(), "Hello! You said: it's Alex here");
    assert.equal((await faas.invoke("hello-python", "and again")).trim(), "Hello! You said: and again");
  });

  test("it fetches a page by a library, and tells in JSON what it found", async () => {
    await make("python3", "term-finder.py", { requires: "requests" });
    for (const [term, found] of [
      ["service", true],
      ["servant", false],
    ] as const) {
      const answer = await post("term-finder", { url: `${web.url}/page`, term });
      assert.deepEqual(await answer.json(), { found });
    }
  });

  test("a function in JavaScript calls back when it is done", async () => {
    await faas.ok(["new", "--lang", "node", "callme", "--quiet"], { cwd });
    await faas.buildUp(cwd, "callme.yml");
    assert.deepEqual(JSON.parse(await faas.invoke("callme", "")), { status: "done" });
    assert.deepEqual(await (await faas.call("callme")).json(), { status: "done" });
  });

  test("a package of npm is there for the handler", async () => {
    await make("node22", "slug.js", { requires: "slugify" });
    const answer = await post("slug", "Functions as a Service", { "content-type": "text/plain" });
    assert.equal(answer.headers.get("content-type"), "text/plain; charset=utf-8");
    assert.equal(await answer.text(), "Functions-as-a-Service");
  });

  test("an API with a key keeps what it is given between requests", async () => {
    await faas.ok(["secret", "create", "api-key", "--from-literal", "k3y"]);
    const lines = ["secrets: [api-key]", "labels:", '  com.openfaas.scale.max: "1"'];
    await make("python3-http", "guarded-api.py", { lines });
    const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
      faas.call(`guarded-api${path}`, { ...init, headers: { "x-api-key": "k3y" } });
    assert.equal((await faas.call("guarded-api/pen")).status, 401);
    assert.equal((await ask("/pen")).status, 404);
    const put = await ask("/pen", { method: "PUT", body: '{"colour": "blue"}' });
    assert.equal(put.status, 201);
    assert.equal(put.headers.get("location"), "/function/guarded-api/pen");
    assert.deepEqual(await (await ask("/pen")).json(), { colour: "blue" });
    assert.equal(await (await ask("/pen?field=colour")).text(), "blue");
    assert.equal((await ask("/pen", { method: "DELETE" })).status, 204);
    assert.equal((await ask("/pen")).status, 404);
  });

  test("what is refused for the moment comes again until it is taken, and then no more", async () => {
    const lines = [
      "labels:",
      '  com.openfaas.scale.max: "1"',
      "annotations:",
      '  com.openfaas.retry.attempts: "20"',
      '  com.openfaas.retry.codes: "429"',
      "  com.openfaas.retry.min_wait: 200ms",
      "  com.openfaas.retry.max_wait: 2s",
    ];
    await make("node22", "chaos.js", { lines });
    const calls = async (): Promise<{ at: number; status: number; id: string }[]> =>
      (await faas.call("chaos/calls")).json() as Promise<{ at: number; status: number; id: string }[]>;
    assert.equal((await post("chaos/set", { status: 429 }, json)).status, 202);
    await faas.ok(["invoke", "chaos", "--async"], { input: "" });
    const refused = await eventually(calls, (found) => found.length >= 4);
    assert.ok(refused.every(({ status }) => status === 429));
    await post("chaos/set", { status: 200 }, json);
    const all = await eventually(calls, (found) => found.at(-1)!.status === 200);
    assert.equal(all.at(-1)!.status, 200);
    assert.equal(new Set(all.map(({ id }) => id)).size, 1);
    const taken = all.length;
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.equal((await calls()).length, taken);
  });
});
