import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openBuildKey } from "../../../src/dialects/openfaas/build-secrets.ts";
import { keptSecret } from "../../../src/dialects/openfaas/kept-secret.ts";
import { removeTree } from "../../removal.ts";

const never = (): string => assert.fail("it is there already");

test("a secret is made once, for its owner alone", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "virga-secret-"));
  t.after(() => removeTree(folder));
  const file = join(folder, "config", "secret");
  assert.equal(
    keptSecret(file, () => "made"),
    "made",
  );
  assert.equal(readFileSync(file, "utf8"), "made\n");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(folder, "config")), ["secret"]);
  assert.equal(keptSecret(file, never), "made");
});

for (const left of ["", "\n"])
  test(`a file with ${JSON.stringify(left)}, which a crash left, is no secret`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), "virga-secret-"));
    t.after(() => removeTree(folder));
    const file = join(folder, "secret");
    writeFileSync(file, left, { mode: 0o600 });
    assert.equal(
      keptSecret(file, () => "new"),
      "new",
    );
    assert.equal(keptSecret(file, never), "new");
    assert.equal(statSync(file).mode & 0o777, 0o600);

    const key = join(folder, "key");
    writeFileSync(key, left, { mode: 0o600 });
    assert.deepEqual(openBuildKey(key).document, openBuildKey(key).document);
  });

test("a secret that cannot be read is not made anew", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "virga-secret-"));
  t.after(() => removeTree(folder));
  assert.throws(() => keptSecret(folder, never), { code: "EISDIR" });
});
