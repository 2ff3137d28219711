import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hostGit } from "../../../src/dialects/openfaas/stores/git.ts";
import { childrenOf } from "../../../src/drivers/sandbox/process-table.ts";
import type { Sandbox, SandboxedProgram } from "../../../src/ports/sandbox.ts";
import { createNodeTools } from "../../../src/runtimes/node/tools.ts";
import { drop, readOrEmpty, specOf } from "../../contracts/sandbox.ts";
import { silent } from "../../engine/rig.ts";
import { missingTools } from "../../tools.ts";
import { until } from "../../until.ts";
import { untilLaunched } from "./launcher-sandbox.ts";
import { openSandbox } from "./open.ts";

const skip =
  missingTools("bwrap", "python") || (availableParallelism() < 2 && "this machine has one processor") || lacksGroups();

describe("what programs run on", { skip }, () => {
  let opened: Awaited<ReturnType<typeof openSandbox>>;
  let sandbox: Sandbox;
  before(async () => {
    opened = await openSandbox("bubblewrap");
    sandbox = opened.sandbox;
  });
  after(() => opened.close());

  const all = allowed(process.pid);

  test("a program's processes are held to the server's processor, or off it, and free again; so is the server", async () => {
    const program = await start("sleep 30 & wait");
    await until(() => processesOf(program).length >= 3, "the program's processes are not there");
    sandbox.processors!.holdServer(true);
    program.bindTo!("server");
    await until(
      () => everyThread(program, (list) => list === allowed(process.pid) && list !== all),
      "they are not held",
    );
    assert.match(allowed(process.pid), /^\d+$/);

    program.bindTo!("others");
    const { others } = sandbox.processors!;
    await until(
      () => everyThread(program, (list) => countOf(list) === others && !isIn(list, Number(allowed(process.pid)))),
      "they are not off the server's processor",
    );

    program.bindTo!("any");
    await until(() => everyThread(program, (list) => list === all), "they are not free");
    sandbox.processors!.holdServer(false);
    await until(() => allowed(process.pid) === all, "the server is not free");
    await program.stop(0);
    // Nobody is there any more.
    program.bindTo!("any");
  });

  test("what is started while the server is held is free, whoever starts it", () =>
    whileHeld(async () => {
      const byBubblewrap = await start("sleep 30", { stdin: "piped" });
      await until(() => processesOf(byBubblewrap).length >= 2, "the program is not there");
      assert.ok(everyThread(byBubblewrap, (list) => list === all));
      // The launcher itself was started by a server that is held.
      await untilLaunched(sandbox, [{ source: "/usr/share", target: "/other", writable: false }]);
      const launched = await start("sleep 30", {
        mounts: [{ source: "/usr/share", target: "/other", writable: false }],
      });
      assert.ok(everyThread(launched, (list) => list === all));
      await Promise.all([byBubblewrap.stop(0), launched.stop(0)]);
    }));

  test("so is git, which serves OpenFaaS's templates", { skip: lacks("git") }, () =>
    whileHeld(async () => {
      const print = ["-c", "alias.print=!cat /proc/self/status", "print"];
      assert.equal(listIn(await hostGit(sandbox.processors).run(print, { cwd: "/" })), all);
    }),
  );

  test("so is npm, which fetches other versions of Node", { skip: lacks("npm") }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "virga-processors-"));
    const [probe, told] = [join(folder, "probe.cjs"), join(folder, "status")];
    writeFileSync(
      probe,
      `const fs = require("fs"); fs.writeFileSync(${JSON.stringify(told)}, fs.readFileSync("/proc/self/status"));`,
    );
    const given = {
      NODE_OPTIONS: `--require ${probe}`,
      npm_config_registry: "http://127.0.0.1:1",
      npm_config_fetch_retries: "0",
    };
    const before = { ...process.env };
    t.after(() => {
      for (const name of Object.keys(given)) delete process.env[name];
      Object.assign(process.env, before);
      rmSync(folder, { recursive: true });
    });
    Object.assign(process.env, given);
    await whileHeld(async () => {
      const tools = createNodeTools(folder, silent, sandbox.processors);
      await assert.rejects(tools.node("22"), /could not be fetched/);
    });
    assert.equal(listIn(readFileSync(told, "utf8")), all);
  });

  test("the program that sets it comes again when it is lost, and once it is lost for good the server is free", async () => {
    const program = await start("sleep 30");
    const helper = (): number | undefined =>
      childrenOf(process.pid).find((pid) => readOrEmpty(`/proc/${pid}/cmdline`).includes("processors.py"));
    sandbox.processors!.holdServer(true);
    await until(() => allowed(process.pid) !== all, "the server is not held");
    let known: number | undefined;
    for (let losses = 0; losses < 3; losses++) {
      known = await until(() => (helper() !== known ? helper() : undefined), "no other one comes");
      process.kill(known, "SIGKILL");
    }
    known = await until(() => (helper() !== known ? helper() : undefined), "no other one comes");
    program.bindTo!("server");
    await until(() => everyThread(program, (list) => list !== all), "it is not held");
    assert.notEqual(allowed(process.pid), all);
    process.kill(known, "SIGKILL");
    await until(() => allowed(process.pid) === all, "the server is not free");
    program.bindTo!("any");
    sandbox.processors!.holdServer(true);
    await program.stop(0);
    assert.equal(allowed(process.pid), all);
  });

  async function whileHeld(action: () => Promise<void>): Promise<void> {
    sandbox.processors!.holdServer(true);
    await until(() => allowed(process.pid) !== all, "the server is not held");
    try {
      await action();
    } finally {
      sandbox.processors!.holdServer(false);
      await until(() => allowed(process.pid) === all, "the server is not free");
    }
  }

  async function start(script: string, spec: Parameters<typeof specOf>[1] = {}): Promise<SandboxedProgram> {
    const program = await sandbox.start(specOf(script, spec));
    drop(program);
    return program;
  }
});

function rangesOf(list: string): [number, number][] {
  return list.split(",").map((range) => {
    const [first = "", last = first] = range.split("-");
    return [Number(first), Number(last)];
  });
}

function countOf(list: string): number {
  return rangesOf(list).reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

function isIn(list: string, processor: number): boolean {
  return rangesOf(list).some(([first, last]) => first <= processor && processor <= last);
}

function lacks(program: string): string | false {
  return spawnSync(program, ["--version"]).status === 0 ? false : `needs ${program}`;
}

function lacksGroups(): string | false {
  return process.getuid?.() === 0 ? false : "control groups of programs need root here";
}

function allowed(pid: number, thread = pid): string {
  return listIn(readOrEmpty(`/proc/${pid}/task/${thread}/status`));
}

function listIn(status: string): string {
  return /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "";
}

function processesOf({ pid }: SandboxedProgram): number[] {
  const below = childrenOf(pid);
  return [pid, ...below, ...below.flatMap((child) => childrenOf(child))];
}

function everyThread(program: SandboxedProgram, holds: (list: string) => boolean): boolean {
  return processesOf(program).every((pid) =>
    readdirSync(`/proc/${pid}/task`).every((thread) => holds(allowed(pid, Number(thread)))),
  );
}
