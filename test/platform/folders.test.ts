import assert from "node:assert/strict";
import { chmodSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { removeTree } from "../removal.ts";
import { missingTools } from "../tools.ts";
import { Platform } from "./harness.ts";

const skip = missingTools("bwrap");

test("the data folder may be named from where the platform is started", { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "virga-data-"));
  t.after(() => removeTree(folder));
  chmodSync(folder, 0o711);
  const platform = await Platform.start({ arguments: ["--data", "state"], workingDirectory: folder });
  t.after(() => platform.stop());
  await platform.deploy("hello", { "index.mjs": `export default () => "hello";` }, { runtime: "node" });
  assert.equal((await platform.call("hello")).text, "hello");
  // It could not be shown to programs inside, and so the platform went on without walls.
  assert.match(platform.output, /sandbox: bubblewrap/);
});
