import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLog } from "../../../src/drivers/host/log.ts";
import { createSandbox } from "../../../src/drivers/sandbox/sandbox.ts";
import { describeSandbox } from "../../contracts/sandbox.ts";
import { openSandbox } from "./open.ts";

describeSandbox("process", () => openSandbox("process"));

test("the process sandbox says at its start what it does not protect, and promises none of it", async () => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "virga-sandbox-"));
  chmodSync(stateDirectory, 0o711);
  let said = "";
  const log = createLog({ level: "warn", pretty: false, destination: { write: (text) => (said += text) } });
  const sandbox = await createSandbox({ choice: "process", stateDirectory, log });
  assert.match(said, /encloses nothing.*each other's code/);
  const { enforces } = sandbox;
  for (const promise of ["filesystem", "processIsolation", "networkNone", "systemCalls", "tmp"] as const) {
    assert.equal(enforces[promise], "absent");
    assert.ok(enforces.remarks.some((remark) => remark.promise === promise && remark.fix.includes("bubblewrap")));
  }
  await sandbox.close();
  rmSync(stateDirectory, { recursive: true });
});
