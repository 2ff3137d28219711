import assert from "node:assert/strict";
import { test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createAccess } from "../../src/engine/access.ts";
import { seededChance, VirtualClock } from "./virtual-clock.ts";

async function access() {
  const clock = new VirtualClock();
  const chance = seededChance();
  const { records } = createMemoryStore({ clock, chance });
  const forgotten: string[] = [];
  const belongings = [{ forget: async (namespace: string) => void forgotten.push(namespace) }];
  const open = () => createAccess({ records, clock, chance, belongings });
  return { access: await open(), open, records, clock, forgotten };
}

const administrator = { description: "test", namespaces: "*", role: "admin" } as const;
const failsWith = (code: string) => (error: unknown) => error instanceof VirgaError && error.code === code;

test("the first start makes the default namespace", async () => {
  const { access: first } = await access();
  assert.deepEqual(
    (await first.namespaces()).map(({ name }) => name),
    ["default"],
  );
});

test("a credential opens after a restart, and its text is nowhere in the records", async () => {
  const { access: first, open, records } = await access();
  const { token, secret } = await first.createToken(administrator);
  assert.match(secret, /^vrg_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual((await open()).authenticate(secret)?.id, token.id);
  assert.ok(!JSON.stringify(await records.list("")).includes(secret.slice(4)));
  assert.ok(!JSON.stringify(await first.tokens()).includes("hash"));
});

test("unknown credentials of any shape open nothing", async () => {
  const { access: first } = await access();
  const { secret } = await first.createToken(administrator);
  for (const wrong of ["", secret.slice(0, -1), `${secret}x`, secret.toUpperCase(), "x".repeat(1e6), "__proto__"]) {
    assert.equal(first.authenticate(wrong), undefined);
  }
});

test("a revoked credential opens nothing from then on, however often it was used before", async () => {
  const { access: first, open } = await access();
  await first.createToken(administrator);
  const { token, secret } = await first.createToken({ description: "x", namespaces: ["default"], role: "invoke" });
  assert.ok(first.authenticate(secret));
  assert.equal(await first.revokeToken(token.id), true);
  assert.equal(first.authenticate(secret), undefined);
  assert.equal(await first.revokeToken(token.id), false);
  assert.equal((await open()).authenticate(secret), undefined);
});

test("the last administrator's credential cannot be revoked", async () => {
  const { access: first } = await access();
  const { token } = await first.createToken(administrator);
  await assert.rejects(first.revokeToken(token.id), failsWith("conflict"));
  await first.createToken(administrator);
  assert.equal(await first.revokeToken(token.id), true);
});

test("a credential ends at its time", async () => {
  const { access: first, clock } = await access();
  const { secret } = await first.createToken({ ...administrator, expiresAt: clock.now() + 1000 });
  assert.ok(first.authenticate(secret));
  clock.advance(1000);
  assert.equal(first.authenticate(secret), undefined);
});

test("credentials open their namespaces and their role's actions alone", async () => {
  const { access: first } = await access();
  await first.createNamespace("team");
  const { token: invoke } = await first.createToken({ description: "", namespaces: ["team"], role: "invoke" });
  const { token: change } = await first.createToken({ description: "", namespaces: ["team"], role: "admin" });
  const { token: all } = await first.createToken(administrator);
  assert.deepEqual(
    (["read", "change", "invoke"] as const).map((action) =>
      [invoke, change, all].map((token) => first.allows(token, "team", action)),
    ),
    [
      [false, true, true],
      [false, true, true],
      [true, true, true],
    ],
  );
  assert.equal(first.allows(change, "default", "read"), false);
  assert.equal(first.allows(all, "default", "change"), true);
});

test("tokens that make no sense are refused with their field", async () => {
  const { access: first, clock } = await access();
  const refused = (given: object, field: string) =>
    assert.rejects(
      first.createToken({ ...administrator, ...given }),
      (error: unknown) => failsWith("invalid_field")(error) && (error as VirgaError).detail.field === field,
    );
  await refused({ role: "root" }, "role");
  await refused({ namespaces: [] }, "namespaces");
  await refused({ namespaces: ["default", "none"] }, "namespaces.1");
  await refused({ expiresAt: clock.now() - 1 }, "expiresAt");
  await refused({ description: "x".repeat(300) }, "description");
});

test("a namespace with functions stays; an empty one goes with all that belongs to it", async () => {
  const { access: first, open, records, forgotten } = await access();
  await first.createNamespace("team");
  await records.put("functions/team/f", {});
  await assert.rejects(first.deleteNamespace("team"), failsWith("conflict"));
  assert.ok(first.hasNamespace("team"));
  await records.delete("functions/team/f");
  assert.equal(await first.deleteNamespace("team"), true);
  assert.deepEqual(forgotten, ["team"]);
  assert.equal((await open()).hasNamespace("team"), false);
  assert.equal(await first.deleteNamespace("team"), false);
  await assert.rejects(first.createNamespace("No!"), failsWith("invalid_field"));
});
