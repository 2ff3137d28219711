import assert from "node:assert/strict";
import type { Sandbox, SandboxedProgram, SandboxSpec } from "../../../src/ports/sandbox.ts";
import { drop, pause, readOrEmpty, specOf } from "../../contracts/sandbox.ts";
import { openSandbox } from "./open.ts";

/** A sandbox whose programs are all started by a launcher, but for those that no launcher starts. */
export async function openThroughLauncher(): ReturnType<typeof openSandbox> {
  const opened = await openSandbox("bubblewrap");
  const { sandbox } = opened;
  const launched: Sandbox = {
    name: sandbox.name,
    enforces: sandbox.enforces,
    start: async (spec) => {
      if (spec.network === "own") return sandbox.start(spec);
      await untilLaunched(sandbox, spec.mounts);
      return sandbox.start(spec);
    },
    close: () => sandbox.close(),
  };
  return { ...opened, sandbox: launched };
}

/** Starts programs with these mounts until a launcher starts them; resolves to its process id. */
export async function untilLaunched(sandbox: Sandbox, mounts: SandboxSpec["mounts"] = []): Promise<number> {
  for (let tries = 0; tries < 300; tries++) {
    const program = await sandbox.start(specOf("sleep 30", { mounts }));
    drop(program);
    const launcher = launcherOf(program);
    await program.stop(0);
    if (launcher !== undefined) return launcher;
    await pause(20);
  }
  assert.fail("no launcher came");
}

/** The launcher that started it; undefined where bubblewrap did. */
export function launcherOf({ pid }: Pick<SandboxedProgram, "pid">): number | undefined {
  const parent = Number(/^PPid:\s*(\d+)/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1] ?? -1);
  return readOrEmpty(`/proc/${parent}/cmdline`).includes("zygote/guest/start.py") ? parent : undefined;
}
