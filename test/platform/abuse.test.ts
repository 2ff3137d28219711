import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingTools } from "../tools.ts";
import { Platform } from "./harness.ts";

const neighbour = `export default () => "fine";`;

/** Each misbehaves in one way, and must fail alone, with the error that names the way. */
const offenders = {
  "allocates without end": {
    code: `export default () => { const kept = []; for (;;) kept.push(Buffer.alloc(8 << 20, 1)); };`,
    settings: { limits: { memoryMb: 128, timeoutMs: 20_000 } },
    status: 502,
    error: "out_of_memory",
  },
  "never returns": {
    code: `export default () => { for (;;); };`,
    settings: { limits: { timeoutMs: 700 } },
    status: 504,
    error: "timeout",
  },
  "waits for ever": {
    code: `export default () => new Promise(() => {});`,
    settings: { limits: { timeoutMs: 700 } },
    status: 504,
    error: "timeout",
  },
  "exits in the middle of the call": {
    code: `export default () => { process.exit(3); };`,
    settings: {},
    status: 502,
    error: "function_crashed",
  },
  throws: {
    code: `export default () => {\n  throw new Error("no such gate");\n};`,
    settings: {},
    status: 502,
    error: "function_error",
  },
  "answers 100 MB": {
    code: `export default () => new Response(Buffer.alloc(100 << 20));`,
    settings: { limits: { memoryMb: 512 } },
    status: 502,
    error: "response_too_large",
  },
} as const;

describe("a function that misbehaves fails alone", { skip: missingTools("bwrap") }, () => {
  let platform: Platform;
  let calling = true;
  let neighbourCalls = 0;
  const neighbourFailures: string[] = [];
  let neighbourLoop: Promise<void>;

  before(async () => {
    platform = await Platform.start();
    await platform.deploy(
      "neighbour",
      { "index.mjs": neighbour },
      { runtime: "node", public: true, scaling: { min: 1 } },
    );
    neighbourLoop = (async () => {
      while (calling) {
        const answer = await platform.call("neighbour");
        neighbourCalls++;
        if (answer.status !== 200 || answer.text !== "fine") neighbourFailures.push(`${answer.status} ${answer.text}`);
        await pause(10);
      }
    })();
  });
  after(async () => {
    calling = false;
    await neighbourLoop;
    await platform.stop();
  });

  for (const [what, { code, settings, status, error }] of Object.entries(offenders))
    test(`one that ${what}`, { timeout: 60_000 }, async () => {
      const name = what.replaceAll(" ", "-").toLowerCase();
      await platform.deploy(name, { "index.mjs": code }, { runtime: "node", public: true, ...settings });
      const answer = await platform.call(name, { body: "x" });
      assert.equal(answer.status, status, answer.text.slice(0, 500));
      assert.equal(answer.json().error.code, error);
      const record = await settled(String(answer.headers["x-virga-invocation"]));
      assert.equal(record.error.code, error);
      assert.ok(record.status === "failed" || record.status === "timed_out");
      if (what === "throws") {
        assert.match(record.error.message, /no such gate/);
        assert.match(record.error.stack, /index\.mjs:2:9/);
      }
    });

  test("one that forks without end", { timeout: 60_000 }, async () => {
    const code = `
      import { spawn } from "node:child_process";
      export default async () => {
        let refused = 0, started = 0;
        for (let n = 0; n < 300; n++) {
          const child = spawn("/bin/sleep", ["60"], { stdio: "ignore" });
          await new Promise((done) => { child.once("spawn", () => { started++; done(); }); child.once("error", () => { refused++; done(); }); });
        }
        return { started, refused };
      };`;
    await platform.deploy(
      "forks",
      { "index.mjs": code },
      { runtime: "node", public: true, limits: { processes: 64, timeoutMs: 20_000 } },
    );
    const answer = await platform.call("forks");
    if (answer.status === 200) {
      const { started, refused } = answer.json();
      assert.ok(started < 64, `${started} processes started with a limit of 64`);
      assert.ok(refused > 0);
    } else assert.ok(["function_crashed", "function_error", "timeout"].includes(answer.json().error.code), answer.text);
  });

  test("one that fills its disk", { timeout: 60_000 }, async () => {
    const code = `
      import { writeFileSync, appendFileSync } from "node:fs";
      const chunk = Buffer.alloc(1 << 20, 7);
      export default () => {
        let written = 0;
        try { for (;;) { appendFileSync("/tmp/full", chunk); written++; } }
        catch (error) { return { written, code: error.code }; }
      };`;
    await platform.deploy(
      "fills",
      { "index.mjs": code },
      { runtime: "node", public: true, limits: { tmpMb: 16, memoryMb: 256 } },
    );
    const { written, code: why } = (await platform.call("fills")).json();
    assert.ok(written <= 16, `${written} MiB written to a /tmp of 16`);
    assert.equal(why, "ENOSPC");
  });

  test("one that logs without end", { timeout: 60_000 }, async () => {
    const code = `export default () => { for (let n = 0; n < 200_000; n++) console.log("line", n, "x".repeat(100)); return "done"; };`;
    await platform.deploy(
      "logs",
      { "index.mjs": code },
      { runtime: "node", public: true, limits: { logBytes: 4096, timeoutMs: 30_000 } },
    );
    const answer = await platform.call("logs");
    assert.equal(answer.text, "done");
    const record = await settled(String(answer.headers["x-virga-invocation"]));
    assert.ok(record.logs.reduce((sum: number, line: { text: string }) => sum + line.text.length, 0) <= 4096);
    assert.ok(record.logsDropped > 100_000);
  });

  test(
    "one that looks around finds neither another's code, nor a secret, nor the data folder",
    { timeout: 60_000 },
    async () => {
      await platform.request("/v1/namespaces/default/secrets/KEY", {
        method: "PUT",
        body: '{"value":"open-sesame"}',
        headers: { "content-type": "application/json" },
      });
      await platform.deploy(
        "keeper",
        { "index.mjs": "/* crown-jewels */ export default () => process.env.KEY.length;" },
        { runtime: "node", public: true, secrets: ["KEY"], scaling: { min: 1 } },
      );
      assert.equal((await platform.call("keeper")).text, "11");
      const code = `
      import { execFileSync } from "node:child_process";
      import { existsSync, readFileSync, readdirSync } from "node:fs";
      const run = (script) => { try { return execFileSync("/bin/sh", ["-c", script], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }); } catch (error) { return String(error.stdout ?? ""); } };
      export default async (request) => {
        const home = await request.text();
        return {
          dataFolder: existsSync(home),
          jewels: run("grep -rl crown-jewels / --include=*.mjs --exclude-dir=proc --exclude-dir=sys 2>/dev/null | grep -v ^/code/ | head -3"),
          secret: Object.values(process.env).join() + run("cat /proc/[0-9]*/environ 2>/dev/null | tr '\\\\0' '\\\\n' | grep sesame"),
          processes: readdirSync("/proc").filter((name) => /^\\d+$/.test(name)).length,
          root: existsSync("/root") ? readdirSync("/root").length : 0,
          shadow: (() => { try { readFileSync("/etc/shadow"); return true; } catch { return false; } })(),
        };
      };`;
      await platform.deploy(
        "spy",
        { "index.mjs": code },
        { runtime: "node", public: true, limits: { timeoutMs: 30_000 } },
      );
      const seen = (await platform.call("spy", { body: platform.home })).json();
      assert.ok(existsSync(join(platform.home, "data")));
      assert.equal(seen.dataFolder, false);
      assert.equal(seen.jewels, "");
      assert.doesNotMatch(seen.secret, /sesame/);
      assert.ok(seen.processes < 8, `${seen.processes} processes seen`);
      assert.equal(seen.root, 0);
      assert.equal(seen.shadow, false);
    },
  );

  test("and all the while each call of its neighbour succeeded", () => {
    assert.ok(neighbourCalls > 50, `only ${neighbourCalls} calls`);
    assert.deepEqual(neighbourFailures, []);
  });

  // eslint-disable-next-line typescript/no-explicit-any
  async function settled(id: string): Promise<any> {
    for (;;) {
      const record = await platform.record(id);
      if (record !== undefined && record.status !== "running") return record;
      await pause(20);
    }
  }
});
