import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { fixture, until } from "./fixtures.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("wsk", "wskdeploy") || missingTools("bwrap");

describe("wskdeploy", { skip, timeout: 120_000 }, () => {
  let whisk: Whisk;
  let folder: string;
  let manifest: string;
  before(async () => {
    whisk = await Whisk.start();
    folder = fixture(whisk, "library");
    manifest = `${folder}/manifest.yaml`;
  });
  after(() => whisk?.stop());

  test("a preview deploys nothing", async () => {
    const plan = await wskdeploy("-m", manifest, "--preview");
    for (const name of ["find", "shelf", "loud", "returned-find"]) assert.ok(plan.includes(name), name);
    assert.deepEqual(await namesOf("packages"), []);
    assert.deepEqual(await namesOf("triggers"), []);
  });

  test("a manifest deploys actions, sequences, triggers, rules, feeds, bindings and APIs, which work", async () => {
    await wskdeploy("-m", manifest);
    assert.deepEqual(await namesOf("packages"), ["greetings", "library"]);
    await works("nothing");
  });

  test("deployed again, the same is there with the next version, and once", async () => {
    const { version } = await whisk.document("actions/library/find");
    await wskdeploy("-m", manifest);
    assert.notEqual((await whisk.document("actions/library/find")).version, version);
    assert.equal((await namesOf("rules")).length, 2);
    await works("nothing");
  });

  test("a deployment file fills in inputs", async () => {
    await wskdeploy("-m", manifest, "-d", `${folder}/deployment.yaml`);
    assert.deepEqual(await whisk.invoke("library/find"), { title: "Persuasion", city: "Bergen" });
  });

  test("undeploy leaves nothing of it, and what is not of it", async () => {
    await whisk.ok("action", "create", "other", whisk.file("other.js", "function main() { return {} }"));
    await wskdeploy("undeploy", "-m", manifest);
    assert.deepEqual(await everything(), ["other"]);
    assert.deepEqual((await whisk.rest("/api/guest/club/books")).status, 404);
    await whisk.ok("action", "delete", "other");
  });

  test("sync takes away what the manifest names no more, and undeploys by the project's name", async () => {
    await wskdeploy("sync", "-m", manifest, "--projectname", "library");
    await works("nothing");
    const shorter = readFileSync(manifest, "utf8")
      .replace(/ {6}count:\n(?: {8}.*\n)+/, "")
      .replace(/ {6}closing-find:\n(?: {8}.*\n)+/, "");
    writeFileSync(manifest, shorter);
    await wskdeploy("sync", "-m", manifest, "--projectname", "library");
    assert.deepEqual(await namesOf("rules"), ["returned-find"]);
    assert.equal((await whisk.rest("/api/v1/namespaces/_/actions/library/count")).status, 404);
    await wskdeploy("undeploy", "--projectname", "library");
    assert.deepEqual(await everything(), []);
  });

  test("an exported project deploys again, its code, its alarm and its rules", async () => {
    folder = fixture(whisk, "library");
    await wskdeploy("sync", "-m", manifest, "--projectname", "library");
    await wskdeploy("export", "--projectname", "library", "-m", `${whisk.home}/exported/library.yaml`);
    const exported = readFileSync(`${whisk.home}/exported/library.yaml`, "utf8");
    assert.match(exported, /cron:\s+value: 0 0 1 1 \*/);
    await wskdeploy("undeploy", "--projectname", "library");
    assert.deepEqual(await everything(), []);
    await wskdeploy("-m", `${whisk.home}/exported/library.yaml`);
    assert.deepEqual(await whisk.invoke("library/loud", { title: "Emma" }), { title: "EMMA" });
    const alarm = await whisk.json("trigger", "get", "closing");
    assert.equal(alarm.response.result.config.cron, "0 0 1 1 *");
    assert.deepEqual(await namesOf("rules"), ["closing-find", "returned-find"]);
    await wskdeploy("undeploy", "-m", `${whisk.home}/exported/library.yaml`);
    assert.deepEqual(await everything(), []);
  });

  test("wsk project deploys and undeploys the same", async () => {
    await whisk.ok("project", "deploy", "--manifest", manifest);
    await works("nothing");
    await whisk.ok("project", "undeploy", "--manifest", manifest);
    assert.deepEqual(await everything(), []);
  });

  test("what is wrong with a manifest is told by the server's reason", async () => {
    const file = whisk.file(
      "wrong.yaml",
      "packages:\n  wrong:\n    sequences:\n      lost:\n        actions: /_/absent\n",
    );
    const refused = await whisk.wskdeploy("-m", file);
    assert.equal(refused.code, 255);
    assert.match(refused.stdout + refused.stderr, /Sequence component does not exist/);
  });

  /** All of what the manifest makes, as its users see it. */
  async function works(title: string): Promise<void> {
    assert.deepEqual(await whisk.invoke("library/find"), { title, city: "Bergen" });
    const { limits, annotations } = await whisk.document("actions/library/find");
    assert.deepEqual([limits.timeout, limits.memory], [10_000, 128]);
    assert.ok(annotations.some(({ key, value }: any) => key === "web-export" && value === true));
    assert.deepEqual(await whisk.invoke("library/loud", { title: "Emma" }), { title: "EMMA" });
    assert.deepEqual(await whisk.invoke("library/count", { a: "bc" }), { letters: 3 + "cityBergen".length });
    assert.equal(typeof (await whisk.invoke("library/lend", { title: "Emma" })).letters, "number");
    assert.deepEqual(await whisk.invoke("greetings/greeting", { name: "Ada" }), {
      payload: "Hello, Ada from the library!",
    });
    const since = Date.now();
    await whisk.ok("trigger", "fire", "returned");
    await until(async () => {
      const [latest] = await whisk.document(`activations?name=library/shout&docs=true&limit=1&since=${since}`);
      assert.deepEqual(latest?.response.result, { title: "EMMA" });
    });
    assert.equal((await whisk.document("triggers/closing")).annotations.some(isFeed), true);
    const books = await fetch(`${whisk.apihost}/api/guest/club/books`);
    assert.deepEqual(await books.json(), { title, city: "Bergen" });
    // What wskdeploy puts on the web has `final` inputs.
    assert.equal((await fetch(`${books.url}?title=Sanditon`)).status, 400);
    const shelf = await fetch(`${whisk.apihost}/api/guest/club/books/123`);
    assert.deepEqual(await shelf.json(), { shelf: 3 });
  }

  async function wskdeploy(...parameters: string[]): Promise<string> {
    const ran = await whisk.wskdeploy(...parameters);
    assert.equal(ran.code, 0, `wskdeploy ${parameters.join(" ")}\n${ran.stdout}${ran.stderr}`);
    return ran.stdout;
  }

  async function namesOf(collection: string): Promise<string[]> {
    return (await whisk.document<{ name: string }[]>(`${collection}?limit=0`)).map(({ name }) => name).sort();
  }

  async function everything(): Promise<string[]> {
    const collections = ["packages", "actions", "triggers", "rules"];
    return (await Promise.all(collections.map((collection) => namesOf(collection)))).flat();
  }
});

function isFeed({ key, value }: { key: string; value: unknown }): boolean {
  return key === "feed" && value === "/whisk.system/alarms/alarm";
}
