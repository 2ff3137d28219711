import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createLog } from "../../../src/drivers/host/log.ts";
import { seccompFilter } from "../../../src/drivers/sandbox/bubblewrap/seccomp.ts";
import { createSandbox } from "../../../src/drivers/sandbox/sandbox.ts";
import { describeEnclosure } from "../../contracts/enclosure.ts";
import {
  describeSandbox,
  folder,
  limits,
  pause,
  pidsOfHost,
  readOrEmpty,
  runCommand,
} from "../../contracts/sandbox.ts";
import { missingTools } from "../../tools.ts";
import { groupFolders, openSandbox } from "./open.ts";

const skip = missingTools("bwrap");
const asRoot = process.getuid?.() === 0;

describeSandbox("bubblewrap", () => openSandbox("bubblewrap"), skip);

// A shell inside limits the processes where no control group does.
describeEnclosure("bubblewrap", () => openSandbox("bubblewrap"), skip, asRoot ? 0 : 1);

test("fixtures: folders for networks of their own alone, links where nothing else is", { skip }, async (t) => {
  const shown = folder(t, { file: "shown\n" });
  // Programs have a /tmp of their own.
  const tools = mkdtempSync("/var/tmp/virga-tools-");
  t.after(() => rmSync(tools, { recursive: true }));
  chmodSync(tools, 0o755);
  writeFileSync(join(tools, "tool"), "");
  const brought = folder(t, { file: "brought\n" });
  const sandbox = await createSandbox({
    choice: "bubblewrap",
    stateDirectory: folder(t, {}),
    log: createLog({ level: "silent", pretty: false }),
    toolFolders: [tools],
    fixtures: {
      folders: { "/run/shown": shown },
      links: { "/placed": "/tmp/placed", "/app": "/tmp/app", [tools]: "/tmp/tools", [join(tools, "..")]: "/tmp/above" },
      hostNames: ["neighbour"],
    },
  });
  try {
    const said = async (script: string, network: "none" | "host" | "own", target?: string): Promise<string> => {
      const mounts = target === undefined ? [] : [{ source: brought, target, writable: false }];
      return (await runCommand(sandbox, ["/bin/sh", "-c", script], { network, mounts })).stdout.trim();
    };
    const look = "cat /run/shown/file 2>/dev/null; grep -c neighbour /etc/hosts; readlink /placed";
    assert.equal(await said(look, "own"), "shown\n1\n/tmp/placed");
    for (const network of ["none", "host"] as const) assert.equal(await said(look, network), "0\n/tmp/placed");
    assert.equal(await said(`ls ${tools}; readlink /app`, "host"), "tool\n/tmp/app");
    for (const target of ["/app", "/app/inner"])
      assert.equal(await said(`cat ${target}/file; readlink /app`, "host", target), "brought");
  } finally {
    await sandbox.close();
  }
});

test("the filter is built for both machine types, and for no unknown one", () => {
  assert.notDeepEqual(seccompFilter("x64"), seccompFilter("arm64"));
  assert.equal(seccompFilter("x64")!.length % 8, 0);
  assert.equal(seccompFilter("mips"), undefined);
});

test(
  "a server that is killed takes its programs with it, and the next one sweeps what it left",
  { skip },
  async (t) => {
    const state = folder(t, {});
    const sleep = `7${process.pid}`;
    const script = join(state, "server.mjs");
    mkdirSync(join(state, "instances"));
    writeFileSync(
      script,
      `import { createSandbox } from ${JSON.stringify(join(import.meta.dirname, "../../../src/drivers/sandbox/sandbox.ts"))};
     const log = { debug() {}, info() {}, warn() {}, error() {}, with() { return log; } };
     const sandbox = await createSandbox({ choice: "bubblewrap", stateDirectory: ${JSON.stringify(join(state, "instances"))}, log });
     for (let n = 0; n < 3; n++) {
       await sandbox.start({ id: "p" + n, command: ["/bin/sh", "-c", "sleep ${sleep} & sleep ${sleep}"], environment: {}, workingDirectory: "/", mounts: [],
         network: "host", limits: ${JSON.stringify(limits)}, channel: "link", stdin: "none" });
     }
     console.log("up");`,
    );
    const server = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => server.stdout.once("data", resolve));
    const sleepers = (): number =>
      pidsOfHost().filter((pid) => readOrEmpty(`/proc/${pid}/cmdline`).startsWith(`sleep\0${sleep}`)).length;
    while (sleepers() < 6) await pause(10);
    server.kill("SIGKILL");
    await new Promise((resolve) => server.once("exit", resolve));
    while (sleepers() > 0) await pause(10);

    const left = readdirSync(join(state, "instances"));
    assert.equal(left.length, 1, "the killed server could not tidy up");
    const groups = groupFolders(left[0]!);
    const log = createLog({ level: "silent", pretty: false });
    const next = await createSandbox({ choice: "bubblewrap", stateDirectory: join(state, "instances"), log });
    assert.ok(!existsSync(join(state, "instances", left[0]!)));
    assert.deepEqual(
      groups.filter((path) => existsSync(path)),
      [],
    );
    await next.close();
    assert.deepEqual(readdirSync(join(state, "instances")), []);
  },
);
