import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { until } from "../until.ts";
import { packSource, Platform } from "./harness.ts";

/** In seconds: two hours ago. */
const old = Date.now() / 1000 - 7200;

const echo = {
  "index.mjs": `export default async (request) => new Response(await request.arrayBuffer(), { headers: { "content-type": "application/octet-stream" } });`,
};

const folder = mkdtempSync(join(tmpdir(), "virga-sweep-"));
const configuration = join(folder, "virga.json");
let platform: Platform;
before(async () => {
  keep({});
  platform = await Platform.start({ arguments: ["--config", configuration, "--log-level", "info"] });
  await platform.deploy("echo", echo, { runtime: "node" });
});
after(async () => {
  await platform.stop();
  rmSync(folder, { recursive: true });
});

test("a large result stays, though it is byte for byte the code of a function that is gone", async () => {
  const archive = await packSource({
    "index.mjs": `export default () => "short-lived"`,
    "noise.txt": randomBytes(2 ** 21).toString("base64"),
  });
  const code = await deployArchive("short-lived", archive);
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
  const leftAt = await killWhileSweeping(left);
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

test("a large result stays while a record names it, and goes with the last of them", async () => {
  const [body, lonely] = [randomBytes(2 ** 21), randomBytes(2 ** 21)];
  const first = await callLater("echo", lonely);
  const second = await callLater("echo", body);
  const third = await callLater("echo", body);
  for (let index = 0; index < 9; index++) await callLater("echo", Buffer.from("small"));
  await swept();
  assert.deepEqual(await resultOf(second), body);
  assert.deepEqual(await resultOf(first), lonely);

  keep({ maxPerNamespace: 10 });
  await swept();
  assert.deepEqual([await platform.record(first), await platform.record(second)], [undefined, undefined]);
  assert.equal(existsSync(pathOf("values", sha256(lonely))), false);
  assert.deepEqual(await resultOf(third), body);

  await callLater("echo", Buffer.from("small"));
  await swept();
  assert.equal(await platform.record(third), undefined);
  assert.equal(existsSync(pathOf("values", sha256(body))), false);
});

test("a run's large values stay while it is open and as long as it is kept, whatever becomes of its calls' records", async () => {
  keep({});
  const repeated = `export default async (request) => Response.json((await request.json()).repeat(4))`;
  await platform.deploy("repeat", { "index.mjs": repeated }, { runtime: "node" });
  const [kept, long, part, brief] = [noise(300_000), noise(300_000), noise(300_000), noise(300_000)];
  const wide = part.repeat(4);
  const echoed = { steps: [{ call: "echo" }, { set: "$.input" }] };
  const over = await startRun(echoed, kept);
  const open = await startRun({ steps: [{ call: "echo" }, { event: "go" }, { set: "$.input" }] }, long);
  const fed = await startRun(
    { steps: [{ name: "large", call: "repeat" }, { event: "go" }], output: "$.steps.large" },
    part,
  );
  await untilOver(over);
  for (const id of [open, fed])
    await until(async () => (await viewOf(id)).tasks.length === 2, "the first step does not end");

  // What ends from now on is retired at once.
  keep({ maxAgeDays: 0 });
  await swept();
  assert.deepEqual((await platform.request("/v1/namespaces/default/invocations")).json<{ items: [] }>().items, []);
  for (const value of [kept, long, wide]) assert.ok(isKept(value));
  for (const id of [open, fed]) {
    const told = await platform.request(`${runs}/${id}/signals`, { body: JSON.stringify({ name: "go" }) });
    assert.equal(told.status, 202, told.text);
    await untilOver(id);
  }
  assert.deepEqual([await outputOf(over), await outputOf(open), await outputOf(fed)], [kept, long, wide]);
  await untilOver(await startRun(echoed, brief));
  assert.ok(isKept(brief));

  await swept();
  assert.deepEqual([kept, long, wide, brief].map(isKept), [true, false, false, false]);
  assert.equal(await outputOf(over), kept);
});

test("killed in the middle of its sweeps, the platform keeps the values that records name and removes the rest", async (test) => {
  keep({ maxPerNamespace: 10 });
  const values = new Map<string, Buffer>();
  for (let index = 0; index < 40; index++) {
    const body = randomBytes(1_100_000);
    values.set(await callLater("echo", body), body);
  }
  const ids = [...values.keys()];
  const [gone, kept] = [ids.slice(0, -10), ids.slice(-10)];
  const left = (): number => gone.filter((id) => existsSync(pathOf("values", sha256(values.get(id)!)))).length;
  await counted();
  const leftAt = await killWhileSweeping(left);
  await until(() => left() === 0, "values that nothing names are still there");
  for (const id of kept) assert.deepEqual(await resultOf(id), values.get(id));
  test.diagnostic(`unnamed values left after each kill: ${leftAt.join(" ")}`);
});

/** Until next to nothing is `left` to remove. Gives how much there was after each kill; the platform is up again. */
async function killWhileSweeping(left: () => number): Promise<number[]> {
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
  return leftAt;
}

const runs = "/v1/namespaces/default/workflow-runs";

async function startRun(definition: unknown, input: unknown): Promise<string> {
  const name = `values-${randomBytes(4).toString("hex")}`;
  const path = `/v1/namespaces/default/workflows/${name}`;
  const made = await platform.request(path, { method: "PUT", body: JSON.stringify(definition) });
  assert.equal(made.status, 200, made.text);
  const started = await platform.request(runs, { body: JSON.stringify({ workflow: name, input }) });
  assert.equal(started.status, 202, started.text);
  return started.json<{ id: string }>().id;
}

async function untilOver(id: string): Promise<void> {
  await until(async () => (await viewOf(id)).status === "succeeded", "the run does not end");
}

async function viewOf(id: string): Promise<{ status: string; tasks: unknown[] }> {
  return (await platform.request(`${runs}/${id}`)).json();
}

async function outputOf(id: string): Promise<unknown> {
  return (await platform.request(`${runs}/${id}/result`)).json();
}

function isKept(value: unknown): boolean {
  return existsSync(pathOf("values", sha256(JSON.stringify(value))));
}

function noise(length: number): string {
  return randomBytes(length / 2).toString("hex");
}

function keep(retention: { maxPerNamespace?: number; maxAgeDays?: number }): void {
  writeFileSync(configuration, JSON.stringify({ retention }));
}

/** Started anew when all that it has is old, and through with its first sweep of values: that of one that a crash left behind. */
async function swept(): Promise<void> {
  const behind = randomBytes(32);
  const path = pathOf("values", sha256(behind));
  const removed = /removed values that nothing names/g;
  const before = platform.output.match(removed)?.length ?? 0;
  await counted();
  await restart(() => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, behind);
    utimesSync(path, old, old);
  });
  await until(() => (platform.output.match(removed)?.length ?? 0) > before, "the values are not swept");
  assert.equal(existsSync(path), false);
}

/** Usage has counted the calls so far: until then their records are not removed. */
async function counted(): Promise<void> {
  const { status } = await platform.request("/v1/namespaces/default/usage");
  assert.equal(status, 200);
}

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

function sha256(content: Uint8Array | string): string {
  return createHash("sha256").update(content).digest("hex");
}
