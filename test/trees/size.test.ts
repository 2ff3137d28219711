import assert from "node:assert/strict";
import { linkSync, mkdirSync, mkdtempSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { sizeOfTree } from "../../src/trees/size.ts";
import { removeTree } from "../removal.ts";

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "virga-size-"));
  t.after(() => removeTree(folder));
  return folder;
}

test("files count with their bytes, links are not followed", async (t) => {
  const folder = folderOf(t);
  mkdirSync(join(folder, "a/b"), { recursive: true });
  writeFileSync(join(folder, "one"), "x".repeat(10));
  writeFileSync(join(folder, "a/b/two"), "x".repeat(5));
  linkSync(join(folder, "one"), join(folder, "a/second name"));
  symlinkSync("../one", join(folder, "a/link"));
  symlinkSync("..", join(folder, "a/round"));
  assert.deepEqual(await sizeOfTree(folder), { bytes: 25, entries: 7 });
});

test("what is larger than it may be is not looked through", async (t) => {
  const folder = folderOf(t);
  for (let index = 0; index < 1000; index++) writeFileSync(join(folder, String(index)), "x".repeat(100));
  assert.equal((await sizeOfTree(folder)).bytes, 100_000);
  const { bytes } = await sizeOfTree(folder, 1000);
  assert.ok(bytes > 1000 && bytes < 20_000, `${bytes} bytes were counted`);
});

test("what goes away while it is counted counts nothing", async (t) => {
  const folder = folderOf(t);
  for (let round = 0; round < 10; round++) {
    for (let index = 0; index < 200; index++) {
      mkdirSync(join(folder, "tree", String(index)), { recursive: true });
      writeFileSync(join(folder, "tree", String(index), "file"), "x");
    }
    const counting = sizeOfTree(folder);
    // As programs do: some at once, some one by one, and a file where a folder was.
    renameSync(join(folder, "tree/199"), join(folder, "moved"));
    writeFileSync(join(folder, "tree/199"), "");
    const removing = rm(join(folder, "tree"), { recursive: true });
    const { bytes } = await counting;
    assert.ok(bytes <= 200, `${bytes} bytes were counted`);
    await removing;
    await rm(join(folder, "moved"), { recursive: true });
  }
});

test("a folder that is not there is an error", async (t) => {
  await assert.rejects(sizeOfTree(join(folderOf(t), "nothing")), { code: "ENOENT" });
});
