import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, copyFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { logsOf } from "./fixtures/neighbours.ts";

const said = "it's me";

/**
 * What a new function of each template answers to `said`, and what has to be here to build it. They are built two at a time; those
 * in Go stand apart, as the first one compiles the library of all.
 */
const templates: Readonly<Record<string, { answer: string; tools?: Parameters<typeof missingTools> }>> = {
  "golang-middleware": { answer: `Body: ${said}`, tools: ["go"] },
  dockerfile: { answer: said },
  node: { answer: '{"status":"done"}\n' },
  node18: { answer: JSON.stringify({ body: JSON.stringify(said), "content-type": "text/plain" }) },
  node20: { answer: JSON.stringify({ body: JSON.stringify(said), "content-type": "text/plain" }) },
  node22: { answer: JSON.stringify({ body: JSON.stringify(said), "content-type": "text/plain" }) },
  php8: { answer: said, tools: ["php"] },
  python: { answer: `${said}\n`, tools: ["pip"] },
  python3: { answer: `${said}\n`, tools: ["pip"] },
  "python3-flask": { answer: said, tools: ["pip"] },
  "golang-http": { answer: `Body: ${said}`, tools: ["go"] },
  go: { answer: `Hello, Go. You said: ${said}\n`, tools: ["go"] },
  "python3-flask-debian": { answer: said, tools: ["pip"] },
  ruby: { answer: "Hello from OpenFaaS!\n", tools: ["ruby"] },
  "ruby-http": { answer: "Hello from OpenFaaS!", tools: ["ruby"] },
  rust: { answer: `Hello, ${said}!`, tools: ["rust"] },
  "python3-http": { answer: "Hello from OpenFaaS!", tools: ["pip"] },
  "python3-http-debian": { answer: "Hello from OpenFaaS!", tools: ["pip"] },
  java17: { answer: "Hello, world!", tools: ["java"] },
  "bun-express": { answer: JSON.stringify({ body: JSON.stringify(said), "content-type": "text/plain" }) },
};

const noClient = missingClients("faas-cli") || missingTools("bwrap");
// No machine has to have it: it is in no distribution.
const noBun = spawnSync("bun", ["--version"]).status === 0 ? false : "needs bun";

describe("templates", { skip: noClient, concurrency: 2 }, () => {
  let faas: Faas;
  before(async () => {
    faas = await Faas.start();
  });
  after(() => faas?.stop());

  test("each that there is, is tried here", () => {
    const folder = join(import.meta.dirname, "../../../src/dialects/openfaas/templates");
    assert.deepEqual(Object.keys(templates).toSorted(), readdirSync(folder).toSorted());
  });

  for (const [template, { answer, tools = [] }] of Object.entries(templates)) {
    const skip = template.startsWith("bun-") ? noBun : missingTools(...tools);

    test(`${template}: new, up, invoke; built again only when it has changed`, { skip, timeout: 120_000 }, async () => {
      const cwd = faas.folderWith(template);
      await faas.ok(["new", "--lang", template, `try-${template}`, "--quiet"], { cwd });
      const file = `try-${template}.yml`;
      const built = await faas.buildUp(cwd, file);
      assert.match(built, /Step 1\/\d+ : FROM /);
      assert.equal(await faas.invoke(`try-${template}`, said), answer);
      const again = await faas.buildUp(cwd, file);
      assert.match(again, /is unchanged since it was last built/);
      assert.doesNotMatch(again, /Step 1\//);
      assert.equal(await faas.invoke(`try-${template}`, said), answer);
    });
  }

  describe("the node templates, by the platform's own way and by the server that they bring", () => {
    let expected = "";
    before(async () => {
      const cwd = faas.folderWith("node22");
      for (const name of ["quick", "served"]) {
        await faas.ok(["new", "--lang", "node22", name, "--quiet"], { cwd });
        copyFileSync(join(import.meta.dirname, "fixtures/templates/express-parity.js"), join(cwd, name, "handler.js"));
        await faas.buildUp(cwd, `${name}.yml`);
        // An entry that somebody has changed runs as the server that it is.
        appendFileSync(join(cwd, "template/node22/index.js"), "// changed\n");
      }
      expected = (await faas.call("served/event")).headers.get("content-type") ?? "";
    });

    test("only one of them starts a server", async () => {
      assert.ok(expected);
      // Express puts one on each answer; there is no other way to tell.
      assert.ok((await faas.call("served/event")).headers.has("etag"));
      assert.ok(!(await faas.call("quick/event")).headers.has("etag"));
      for (const name of ["served", "quick"])
        assert.match((await logsOf(faas, name)).join("\n"), /GET \/event - 200 OK - ContentLength: /);
    });

    test("an answer that HTTP does not know is 500, and the instance goes on", async () => {
      const asked = async (): Promise<string> => (await faas.call("quick/asked")).text();
      assert.equal(await asked(), "1");
      for (const way of ["odd-status", "odd-header"]) assert.equal((await faas.call(`quick/${way}`)).status, 500, way);
      assert.equal(await asked(), "2");
    });

    const json = { "content-type": "application/json" };
    const form = { "content-type": "application/x-www-form-urlencoded" };
    const requests: readonly [path: string, init?: RequestInit][] = [
      ...["text", "object", "array", "buffer", "true", "nothing", "null", "empty", "typed", "typed-object", "created"],
      ...["fail", "fail-object", "fail-error", "fail-status", "fail-empty", "throw", "reject", "called", "called-late"],
    ].map((name): [string] => [`/${name}`]);
    const bodies: readonly [path: string, init?: RequestInit][] = [
      ["/event?a=1&b[c]=2&b[d]=3&e=4&e=5&f=%C3%BC"],
      ["/event", { method: "DELETE" }],
      ["/event", { method: "PUT", headers: { "content-type": "text/plain" }, body: "a text" }],
      ["/event", { method: "POST", headers: { "content-type": "text/html; charset=utf-8" }, body: "<p>ü</p>" }],
      ["/event", { method: "POST", headers: json, body: '{"a": [1, null]}' }],
      ["/event", { method: "POST", headers: json, body: "[1]" }],
      ["/event", { method: "POST", headers: json, body: "" }],
      ["/event", { method: "POST", headers: json, body: "17" }],
      ["/event", { method: "POST", headers: json, body: "{broken" }],
      ["/event", { method: "POST", headers: { "content-type": "application/cloudevents+json" }, body: "{}" }],
      ["/event", { method: "POST", headers: form, body: "a=1&b[]=2&b[]=3&c%20d=%26" }],
      [
        "/event",
        { method: "POST", headers: { "content-type": "application/octet-stream" }, body: Buffer.from([0, 255]) },
      ],
      ["/event", { method: "POST", headers: { "content-type": "text/plain" }, body: "x".repeat(102_400) }],
      ["/event", { method: "POST", headers: { "content-type": "text/plain" }, body: "x".repeat(102_401) }],
      ["/event", { method: "POST", headers: json, body: JSON.stringify("x".repeat(102_400)) }],
    ];
    for (const [index, [path, init]] of [...requests, ...bodies].entries()) {
      const body = typeof init?.body === "string" ? init.body.slice(0, 20) : "";
      const what = [init?.method ?? "GET", path, body].join(" ").trimEnd();
      test(`${index}: ${what}`, async () => {
        const [quick, served] = await Promise.all(
          ["quick", "served"].map(async (name) => {
            const answer = await faas.call(`${name}${path}`, init);
            const { status, headers } = answer;
            const body = Buffer.from(await answer.arrayBuffer()).toString("latin1");
            const own = ["content-type", "x-two", "location"].map((header) => headers.get(header));
            // What Express says of a request that cannot be read is its own.
            return status === 400 || status === 413 ? { status } : { status, own, body };
          }),
        );
        assert.deepEqual(quick, served);
      });
    }
  });
});
