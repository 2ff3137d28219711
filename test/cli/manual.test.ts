import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { commands } from "../../src/cli/commands/index.ts";
import { manual } from "../../src/cli/manual.ts";

test("docs/cli.md is what the command line is", () => {
  const file = join(import.meta.dirname, "../../docs/cli.md");
  if (process.env["VIRGA_WRITE"]) writeFileSync(file, manual());
  assert.equal(squeezed(readFileSync(file, "utf8")), squeezed(manual()), "run this test with VIRGA_WRITE=1");
  assert.ok(commands.length > 30);
});

/** The formatter aligns tables and parts lists from what stands before them; that is no difference. */
function squeezed(text: string): string {
  return text
    .replaceAll(/-{3,}/g, "---")
    .replaceAll(/[ \t]+/g, " ")
    .replaceAll(/\n+/g, "\n")
    .trim();
}
