import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { after, before, describe, test } from "node:test";
import { childrenOf } from "../../../src/drivers/sandbox/process-table.ts";
import type { Sandbox, SandboxedProgram } from "../../../src/ports/sandbox.ts";
import { drop, readOrEmpty, specOf } from "../../contracts/sandbox.ts";
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

  test("a program's processes are held to the server's processor, and free again; so is the server", async () => {
    const program = await start("sleep 30 & wait");
    await until(() => processesOf(program).length >= 3, "the program's processes are not there");
    sandbox.processors!.holdServer(true);
    program.bindTo!("server");
    await until(
      () => everyThread(program, (list) => list === allowed(process.pid) && list !== all),
      "they are not held",
    );
    assert.match(allowed(process.pid), /^\d+$/);

    program.bindTo!("any");
    await until(() => everyThread(program, (list) => list === all), "they are not free");
    sandbox.processors!.holdServer(false);
    await until(() => allowed(process.pid) === all, "the server is not free");
    await program.stop(0);
    // Nobody is there any more.
    program.bindTo!("any");
  });

  test("what is started while the server is held is free, whoever starts it", async () => {
    sandbox.processors!.holdServer(true);
    await until(() => allowed(process.pid) !== all, "the server is not held");
    try {
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
    } finally {
      sandbox.processors!.holdServer(false);
      await until(() => allowed(process.pid) === all, "the server is not free");
    }
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

  async function start(script: string, spec: Parameters<typeof specOf>[1] = {}): Promise<SandboxedProgram> {
    const program = await sandbox.start(specOf(script, spec));
    drop(program);
    return program;
  }
});

function lacksGroups(): string | false {
  return process.getuid?.() === 0 ? false : "control groups of programs need root here";
}

function allowed(pid: number, thread = pid): string {
  return /^Cpus_allowed_list:\s*(\S+)$/m.exec(readOrEmpty(`/proc/${pid}/task/${thread}/status`))?.[1] ?? "";
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
