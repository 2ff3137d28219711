import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Sandbox, SandboxedProgram, SandboxSpec, Zygote, ZygoteSpec } from "../../../src/ports/sandbox.ts";
import { openSandbox } from "./open.ts";

/**
 * A sandbox whose programs are copies of a zygote, each of which becomes the program that was asked for. One zygote for
 * each set of mounts.
 */
export async function openThroughZygote(): Promise<ZygoteSandbox> {
  const opened = await openSandbox("bubblewrap");
  const folder = join(opened.stateDirectory, "program");
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, "becomes.py"), becomes);
  const zygotes = new Map<string, Zygote>();
  const zygoteWith = (mounts: SandboxSpec["mounts"]): Zygote => {
    const key = JSON.stringify(mounts);
    let zygote = zygotes.get(key);
    if (zygote === undefined) {
      zygote = opened.sandbox.zygote!({
        interpreter: "/usr/bin/python3",
        program: "/program/becomes.py",
        environment: { PATH: "/usr/bin:/bin" },
        workingDirectory: "/",
        mounts: [...mounts, { source: folder, target: "/program" }],
      });
      zygotes.set(key, zygote);
    }
    return zygote;
  };
  const { sandbox } = opened;
  const copies: Sandbox = {
    name: sandbox.name,
    enforces: sandbox.enforces,
    start: async (spec) => {
      // Copies have none; runtimes then start a program of its own.
      if (spec.network === "own") return sandbox.start(spec);
      const zygote = zygoteWith(spec.mounts);
      await zygote.opened();
      return become(await zygote.fork(spec), spec);
    },
    close: () => sandbox.close(),
  };
  return { ...opened, sandbox: copies, zygote: zygoteWith([]), pythonZygote: (spec) => sandbox.zygote!(spec) };
}

export interface ZygoteSandbox extends Awaited<ReturnType<typeof openSandbox>> {
  readonly zygote: Zygote;
  /** Another one, of another program. */
  pythonZygote(spec: ZygoteSpec): Zygote;
}

/** Tells a copy which program to become. */
export function become(copy: SandboxedProgram, spec: SandboxSpec): SandboxedProgram {
  const { command, environment, workingDirectory, channel } = spec;
  const text = Buffer.from(JSON.stringify({ command, environment, directory: workingDirectory, channel }));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(text.length);
  copy.link!.write(Buffer.concat([head, text]));
  if (channel === "link") return copy;
  copy.link!.resume();
  return Object.defineProperty(copy, "link", { value: undefined });
}

const becomes = `
import json, os, signal

def take(size):
    held = b""
    while len(held) < size:
        chunk = os.read(3, size - len(held))
        if not chunk:
            os._exit(0)
        held += chunk
    return held

def main():
    spec = json.loads(take(int.from_bytes(take(4), "big")))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.chdir(spec["directory"])
    if spec["channel"] == "none":
        os.close(3)
    os.execve(spec["command"][0], spec["command"], spec["environment"])
`;
