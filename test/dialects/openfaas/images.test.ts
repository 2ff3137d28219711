import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { ofImage, publishNode } from "./node-image.ts";
import { until } from "../../until.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap");

describe("what images hold", { skip, timeout: 120_000 }, () => {
  let faas: Faas;
  before(async () => {
    faas = await Faas.start();
  });
  after(() => faas?.stop());

  test("a build that its name stands for stays, and so does one that a function is of; others go", async () => {
    const [never, first] = [await build("thing", "never deployed"), await build("thing", "first")];
    await faas.deploy("user", "", ofImage("thing"));
    const other = await build("other", "other");
    const newest = await build("thing", "newest");
    assert.equal(new Set([never, first, other, newest]).size, 4);

    await restart();
    await until(() => !isThere(never), "what no name stands for is still there");
    assert.deepEqual([first, other, newest].map(isThere), [true, true, true]);
    assert.equal(await (await faas.call("user")).text(), "first");

    const removed = await faas.send("DELETE", "/system/functions", { functionName: "user" });
    assert.equal(removed.status, 202);
    await restart();
    await until(() => !isThere(first), "what no function is of any more is still there");
    assert.deepEqual([other, newest].map(isThere), [true, true]);
    for (const [name, image, said] of [
      ["again", "thing", "newest"],
      ["more", "other", "other"],
    ] as const) {
      await faas.deploy(name, "", ofImage(image));
      assert.equal(await (await faas.call(name)).text(), said);
    }
  });

  /** Gives the digest of what was kept. */
  async function build(image: string, said: string): Promise<string> {
    const known = new Set(blobs());
    await publishNode(faas, image, `module.exports = async (event, context) => context.succeed("${said}");`);
    const made = blobs().filter((digest) => !known.has(digest));
    assert.equal(made.length, 1);
    return made[0]!;
  }

  /** The platform is killed, and comes back when all that it has is old. */
  async function restart(): Promise<void> {
    await faas.platform.kill();
    const old = Date.now() / 1000 - 7200;
    for (const digest of blobs()) utimesSync(pathOf(digest), old, old);
    const sealed = join(faas.platform.home, "data/artifacts/sealed");
    for (const name of readdirSync(sealed).filter((one) => one.endsWith(".json"))) {
      const seal = JSON.parse(readFileSync(join(sealed, name), "utf8")) as Record<string, unknown>;
      writeFileSync(join(sealed, name), JSON.stringify({ ...seal, sealedAt: old * 1000 }));
    }
    await faas.up();
  }

  function blobs(): string[] {
    return readdirSync(folder(), { recursive: true, encoding: "utf8" })
      .map((path) => path.replace("/", ""))
      .filter((name) => /^[0-9a-f]{64}$/.test(name));
  }

  function isThere(digest: string): boolean {
    return existsSync(pathOf(digest));
  }

  function pathOf(digest: string): string {
    return join(folder(), digest.slice(0, 2), digest.slice(2));
  }

  function folder(): string {
    return join(faas.platform.home, "data/blobs");
  }
});
