import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { until } from "../until.ts";
import { packSource, Platform } from "./harness.ts";

let platform: Platform;
before(async () => {
  platform = await Platform.start();
});
after(() => platform.stop());

const echo = {
  "index.mjs": `export default async (request) => new Response(await request.arrayBuffer(), { headers: { "content-type": "application/octet-stream" } });`,
};

test("a large result stays, though it is byte for byte the code of a function that is gone", async () => {
  const archive = await packSource({
    "index.mjs": `export default () => "short-lived"`,
    "noise.txt": randomBytes(2 ** 21).toString("base64"),
  });
  const code = await deployArchive("short-lived", archive);
  await platform.deploy("echo", echo, { runtime: "node" });
  const id = await callLater("echo", archive);
  await remove("short-lived");

  await restart();
  await until(() => !existsSync(pathOf("blobs", code)), "the code is still there");
  assert.equal(sha256(await resultOf(id)), code);
});

test("a large result that an earlier version kept among the code is still found", async () => {
  const body = randomBytes(2 ** 21);
  const id = await callLater("echo", body);
  await restart(() => {
    cpSync(join(data(), "values"), join(data(), "blobs"), { recursive: true });
    rmSync(join(data(), "values"), { recursive: true });
  });
  assert.deepEqual(await resultOf(id), body);
});

test("killed in the middle of its sweeps, the platform keeps what is used and removes the rest", async (test) => {
  const codes = new Map<string, string>();
  const deployed = Array.from({ length: 30 }, async (_, index) => {
    const archive = await packSource({ "index.mjs": `export default () => "${index}"` });
    codes.set(`part-${index}`, await deployArchive(`part-${index}`, archive));
  });
  await Promise.all(deployed);
  const gone = [...codes.keys()].filter((_, index) => index % 3 > 0);
  const kept = [...codes.keys()].filter((name) => !gone.includes(name));
  for (const name of gone) await remove(name);

  const left = (): number => gone.filter((name) => existsSync(pathOf("blobs", codes.get(name)!))).length;
  const leftAt = [left()];
  await platform.kill();
  age();
  while (leftAt.at(-1)! > 5) {
    await platform.up();
    while (left() === leftAt.at(-1)) await pause(0);
    await platform.kill();
    leftAt.push(left());
  }
  await platform.up();
  await until(() => left() === 0, "unused code is still there");
  for (const name of kept) assert.equal((await platform.call(name)).text, name.slice("part-".length));
  // What was removed can come again.
  for (const name of gone.slice(0, 5)) {
    const number = name.slice("part-".length);
    await platform.deploy(name, { "index.mjs": `export default () => "${number}"` });
    assert.equal((await platform.call(name)).text, number);
  }
  test.diagnostic(`unused archives left after each kill: ${leftAt.join(" ")}`);
});

async function deployArchive(name: string, archive: Uint8Array): Promise<string> {
  const source = await platform.upload(archive);
  const answer = await platform.request(`/v1/namespaces/default/functions/${name}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ source, settings: { runtime: "node" } }),
  });
  assert.ok(answer.status < 300, answer.text);
  return source;
}

async function remove(name: string): Promise<void> {
  const answer = await platform.request(`/v1/namespaces/default/functions/${name}`, { method: "DELETE" });
  assert.ok(answer.status < 300, answer.text);
}

/** Gives the id of a call that is settled. */
async function callLater(name: string, body: Uint8Array): Promise<string> {
  const answer = await platform.request(`/v1/namespaces/default/functions/${name}/invocations`, {
    method: "POST",
    body,
  });
  assert.equal(answer.status, 202, answer.text);
  const { id } = answer.json<{ id: string }>();
  await until(async () => (await platform.record(id))?.status === "succeeded", "the call does not settle");
  return id;
}

async function resultOf(id: string): Promise<Buffer> {
  const answer = await platform.request(`/v1/namespaces/default/invocations/${id}/result`);
  assert.equal(answer.status, 200, answer.text);
  return answer.body;
}

/** Killed, and up again when all that it has is old. */
async function restart(between?: () => void): Promise<void> {
  await platform.kill();
  age();
  between?.();
  await platform.up();
}

function age(): void {
  const old = Date.now() / 1000 - 7200;
  for (const room of ["blobs", "values"]) {
    for (const entry of readdirSync(join(data(), room), { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), old, old);
    }
  }
  const sealed = join(data(), "artifacts/sealed");
  for (const name of readdirSync(sealed).filter((one) => one.endsWith(".json"))) {
    const seal = JSON.parse(readFileSync(join(sealed, name), "utf8")) as Record<string, unknown>;
    writeFileSync(join(sealed, name), JSON.stringify({ ...seal, sealedAt: old * 1000 }));
  }
}

function pathOf(room: string, digest: string): string {
  return join(data(), room, digest.slice(0, 2), digest.slice(2));
}

function data(): string {
  return join(platform.home, "data");
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
