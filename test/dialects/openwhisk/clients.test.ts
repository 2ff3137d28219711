import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingClients, npmClients, run } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("wsk", "wskdeploy", "openwhisk-js") || missingTools("bwrap");

describe("OpenWhisk's packages for JavaScript", { skip, timeout: 180_000 }, () => {
  let whisk: Whisk;
  let packages: string;
  before(async () => {
    packages = await npmClients("openwhisk-js");
    whisk = await Whisk.start();
  });
  after(() => whisk?.stop());

  test("the client makes, calls and lists what there is, and tells what went wrong", async () => {
    const ow = createRequire(join(packages, "index.js"))("openwhisk")({ apihost: whisk.apihost, api_key: whisk.auth });
    await ow.actions.create({
      name: "js",
      action: "function main({ n = 1 }) { return { n: n + 1 } }",
      kind: "nodejs:default",
    });
    assert.deepEqual(await ow.actions.invoke({ name: "js", params: { n: 41 }, blocking: true, result: true }), {
      n: 42,
    });
    const { activationId } = await ow.actions.invoke({ name: "js" });
    await until(async () => assert.deepEqual((await ow.activations.result({ name: activationId })).result, { n: 2 }));
    await ow.triggers.create({ name: "jst" });
    await ow.rules.create({ name: "jsr", trigger: "jst", action: "js" });
    assert.match((await ow.triggers.invoke({ name: "jst", params: { n: 5 } })).activationId, /^[0-9a-f]{32}$/);
    assert.equal((await ow.rules.get({ name: "jsr" })).status, "active");
    await ow.rules.disable({ name: "jsr" });
    assert.equal((await ow.rules.get({ name: "jsr" })).status, "inactive");
    assert.deepEqual(await ow.namespaces.list(), ["guest"]);
    assert.equal((await ow.actions.list({ count: true })).actions, 1);
    await assert.rejects(ow.actions.get({ name: "absent" }), (error: any) => {
      assert.equal(error.statusCode, 404);
      assert.equal(error.error.error, "The requested resource does not exist.");
      return typeof error.error.code === "string";
    });
    const zip = Buffer.from("UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==", "base64");
    await ow.actions.create({ name: "zipped", action: zip, kind: "nodejs:default" });
    await ow.routes.create({ relpath: "/r", basepath: "/js", operation: "get", action: "js" }).catch((error: any) => {
      // The client leaves it to the server whether the action may be on the web.
      assert.ok(error.statusCode >= 400);
    });
    await ow.actions.delete({ name: "zipped" });
  });

  test("an action calls others through the client that it need not bring", async () => {
    const caller = `const openwhisk = require("openwhisk");
      function main({ n }) {
        return openwhisk().actions.invoke({ name: "js", params: { n }, blocking: true, result: true }).then(({ n }) => ({ twice: n * 2 }));
      }`;
    await whisk.ok("action", "create", "caller", whisk.file("caller.js", caller), "-a", "provide-api-key", "true");
    assert.deepEqual(await whisk.invoke("caller", { n: 2 }), { twice: 6 });
    const keyless = await whisk.json("action", "get", "js");
    assert.ok(keyless.annotations.some(({ key, value }: any) => key === "provide-api-key" && value === false));
  });

  test("composer's compositions run: if, while, let, retry, try", async () => {
    const source = `const composer = require("openwhisk-composer");
      const check = composer.action("authenticate", { action: ({ password }) => ({ value: password === "abc123" }) });
      const yes = composer.action("success", { action: () => ({ message: "success" }) });
      const no = composer.action("failure", { action: () => ({ message: "failure" }) });
      module.exports = composer.sequence(
        composer.if(check, yes, no),
        composer.let({ left: 3, tries: 0 },
          composer.while(() => left-- > 0, (p) => ({ ...p, steps: (p.steps || 0) + 1 })),
          composer.retry(5, (p) => { if (++tries < 3) throw new Error("again"); return { ...p, tries }; }),
          composer.try((p) => ({ error: "thrown", ...p }), (e) => ({ caught: e.error }))));`;
    await deploy("demo", source);
    assert.deepEqual(await whisk.invoke("demo", { password: "abc123" }), { caught: "thrown" });
    const run = await whisk.json("action", "invoke", "demo", "--blocking", "-p", "password", "wrong");
    const primary = await whisk.json("activation", "get", run.activationId);
    assert.ok(primary.logs.length >= 4);
  });

  test("parallel and map run over a Redis", { skip: missingTools("redis") }, async () => {
    const port = await freePort();
    const redis: ChildProcess = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", ""], {
      stdio: "ignore",
    });
    try {
      await deploy(
        "wide",
        `const composer = require("openwhisk-composer");
        module.exports = composer.sequence(
          composer.parallel(composer.action("left", { action: () => ({ a: 1 }) }), composer.action("right", { action: () => ({ b: 2 }) })),
          composer.map(composer.action("each", { action: (one) => ({ seen: one }) })));`,
      );
      const parameters = { $composer: { redis: { uri: `redis://127.0.0.1:${port}` } } };
      const result = await whisk.invoke("wide", parameters);
      assert.deepEqual(result.value, [{ seen: { a: 1 } }, { seen: { b: 2 } }]);
    } finally {
      redis.kill("SIGKILL");
    }
  });

  /** `compose` and `deploy`, the programs. */
  async function deploy(name: string, source: string): Promise<void> {
    const bin = (program: string): string => join(packages, "node_modules", ".bin", program);
    const options = { home: whisk.home, environment: { NODE_PATH: join(packages, "node_modules") } };
    const file = whisk.file(`${name}.js`, source);
    const composed = await run(process.execPath, [bin("compose"), file, "-o", `${whisk.home}/${name}.json`], options);
    assert.equal(composed.code, 0, composed.stderr);
    const deployed = await run(
      process.execPath,
      [bin("deploy"), name, `${whisk.home}/${name}.json`, "-w", "--apihost", whisk.apihost, "-u", whisk.auth],
      options,
    );
    assert.equal(deployed.code, 0, deployed.stderr);
  }
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  return typeof address === "object" && address !== null ? address.port : 0;
}

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
