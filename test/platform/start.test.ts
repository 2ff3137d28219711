import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { removeTree } from "../removal.ts";

const virga = resolve(import.meta.dirname, "../../bin/virga.mjs");

/** `virga up …` to its end. */
function up(home: string, ...parameters: string[]): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [virga, "up", ...parameters], {
    env: { ...process.env, VIRGA_HOME: home, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  return new Promise((done) => child.once("close", (code) => done({ code, said })));
}

for (const [what, parameters] of [
  ["the platform", (port: string) => ["--port", port]],
  ["a dialect", (port: string) => ["--port", "0", "--openfaas-port", port]],
] as const)
  test(`a start whose port is taken says so and ends: ${what}`, async () => {
    const home = mkdtempSync(join(tmpdir(), "virga-test-"));
    // Instances run as users of their own and must be able to pass through.
    chmodSync(home, 0o711);
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((listening) => taken.once("listening", listening));
    try {
      const { port } = taken.address() as AddressInfo;
      const { code, said } = await up(home, ...parameters(String(port)));
      assert.notEqual(code, 0);
      assert.match(said, new RegExp(`^error: cannot listen on 127\\.0\\.0\\.1:${port}: .*EADDRINUSE`, "m"));
      assert.doesNotMatch(said, /prewarmed|SIGKILL/);
    } finally {
      taken.close();
      removeTree(home);
    }
  });
