import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createSecrets } from "../../src/engine/secrets.ts";
import { recordingLog, seededChance, VirtualClock } from "./virtual-clock.ts";

const folder = await mkdtemp(join(tmpdir(), "virga-secrets-"));
after(() => rm(folder, { recursive: true, force: true }));
let files = 0;

function setting() {
  const clock = new VirtualClock();
  const { records } = createMemoryStore({ clock, chance: seededChance() });
  const keyFile = join(folder, `nested-${files++}`, "secrets.key");
  const log = recordingLog();
  return { records, keyFile, log, clock, open: () => createSecrets({ records, keyFile, clock, log }) };
}

const failsWith = (code: string, text: RegExp) => (error: unknown) =>
  error instanceof VirgaError && error.code === code && text.test(error.message) && error.detail.fix !== undefined;

test("a secret comes back after a restart, and neither records nor lists show its value", async () => {
  const { records, keyFile, clock, open } = setting();
  const value = "pässword\n1";
  await (await open()).put("default", "DB", value);
  const again = await open();
  assert.deepEqual(await again.reveal("default", ["DB"]), { DB: value });
  assert.deepEqual(await again.list("default"), [{ name: "DB", updatedAt: clock.now() }]);
  const stored = JSON.stringify(await records.list(""));
  assert.ok(!stored.includes("ssword") && !stored.includes(Buffer.from(value).toString("base64")));
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
});

test("the same value is encrypted to something else each time", async () => {
  const { records, open } = setting();
  const secrets = await open();
  await secrets.put("default", "A", "same");
  const first = JSON.stringify((await records.get("secrets/default/A"))!.value);
  await secrets.put("default", "A", "same");
  assert.notEqual(JSON.stringify((await records.get("secrets/default/A"))!.value), first);
});

test("a value that was moved to another name or namespace, or altered, is not revealed", async () => {
  const { records, open } = setting();
  const secrets = await open();
  await secrets.put("default", "A", "mine");
  const { value } = (await records.get<{ value: string; tag: string }>("secrets/default/A"))!;
  await records.put("secrets/default/B", value);
  await records.put("secrets/other/A", value);
  await records.put("secrets/default/C", { ...value, value: "AAAA" });
  await records.put("secrets/default/D", {
    ...value,
    tag: Buffer.from(value.tag, "base64").subarray(0, 4).toString("base64"),
  });
  await assert.rejects(secrets.reveal("default", ["B"]), failsWith("storage_corrupt", /secret B/));
  await assert.rejects(secrets.reveal("other", ["A"]), failsWith("storage_corrupt", /other/));
  await assert.rejects(secrets.reveal("default", ["C"]), failsWith("storage_corrupt", /secret C/));
  await assert.rejects(secrets.reveal("default", ["D"]), failsWith("storage_corrupt", /secret D/));
});

test("with a lost key the platform starts, says which file, and takes the secret anew", async () => {
  const { keyFile, log, open } = setting();
  await (await open()).put("default", "A", "old");
  await rm(keyFile);
  const secrets = await open();
  assert.ok(log.lines.some(({ level, message }) => level === "error" && message.includes(keyFile)));
  await assert.rejects(secrets.reveal("default", ["A"]), failsWith("storage_corrupt", /encrypted with key/));
  await secrets.put("default", "A", "new");
  assert.deepEqual(await secrets.reveal("default", ["A"]), { A: "new" });
});

test("a key file that holds no key stops the start, and is left as it is", async () => {
  const { keyFile, open } = setting();
  await open();
  await writeFile(keyFile, "not a key\n");
  await assert.rejects(open(), failsWith("storage_corrupt", /holds no key/));
});

test("a key that others could read is made private again, with a warning", async () => {
  const { keyFile, log, open } = setting();
  await open();
  await chmod(keyFile, 0o644);
  await open();
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  assert.ok(log.lines.some(({ level }) => level === "warn"));
});

test("starts at the same time agree on one key", async () => {
  const { open } = setting();
  const [one, two] = await Promise.all([open(), open()]);
  await one.put("default", "A", "x");
  assert.deepEqual(await two.reveal("default", ["A"]), { A: "x" });
});

test("a missing secret is named; wrong names and values are refused", async () => {
  const { open } = setting();
  const secrets = await open();
  await assert.rejects(secrets.reveal("default", ["NONE"]), failsWith("not_found", /NONE/));
  await assert.rejects(secrets.put("default", "a-b", "x"), failsWith("invalid_field", /a-b/));
  await assert.rejects(secrets.put("default", "A", "x\0"), failsWith("invalid_field", /secret A/));
  await assert.rejects(secrets.put("default", "A", "x".repeat(70_000)), failsWith("invalid_field", /secret A/));
});

test("listeners hear of changes; a deleted namespace's secrets are gone", async () => {
  const { open } = setting();
  const secrets = await open();
  const heard: string[] = [];
  secrets.onChange((namespace, name) => heard.push(`${namespace}/${name}`));
  await secrets.put("one", "A", "x");
  await secrets.put("one-more", "A", "x");
  assert.equal(await secrets.delete("one", "A"), true);
  assert.equal(await secrets.delete("one", "A"), false);
  assert.deepEqual(heard, ["one/A", "one-more/A", "one/A"]);
  await secrets.put("one", "B", "x");
  await secrets.forget("one");
  assert.deepEqual(await secrets.list("one"), []);
  assert.equal((await secrets.list("one-more")).length, 1);
});
