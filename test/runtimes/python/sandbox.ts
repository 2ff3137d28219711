import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import type { ExitReport, Sandbox, SandboxSpec, SandboxedProgram } from "../../../src/ports/sandbox.ts";

/** Programs without walls: for what a runtime does, not for what a sandbox promises. */
export function openSandbox(): Sandbox {
  const running = new Set<SandboxedProgram>();
  return {
    name: "process",
    enforces: {
      memory: "absent",
      cpu: "absent",
      processes: "absent",
      openFiles: "absent",
      fileSize: "absent",
      tmp: "absent",
      filesystem: "absent",
      processIsolation: "absent",
      networkNone: "absent",
      networkOwn: "absent",
      systemCalls: "absent",
      ownUser: "absent",
      remarks: [],
    },
    async start(spec) {
      const program = start(spec);
      running.add(program);
      void program.exited.then(() => running.delete(program));
      return program;
    },
    async close() {
      await Promise.all([...running].map((program) => program.stop(0)));
    },
  };
}

function start(spec: SandboxSpec): SandboxedProgram {
  const [file, ...args] = spec.command;
  const child: ChildProcess = spawn(file!, args, {
    cwd: spec.workingDirectory,
    env: { ...spec.environment },
    stdio: [
      spec.stdin === "piped" ? "pipe" : "ignore",
      "pipe",
      "pipe",
      ...(spec.channel === "link" ? ["pipe" as const] : []),
    ],
  });
  const exited = new Promise<ExitReport>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal, outOfMemory: false }));
    child.once("error", () => resolve({ code: 127, signal: null, outOfMemory: false }));
  });
  return {
    id: spec.id,
    pid: child.pid ?? 0,
    ...(spec.channel === "link" ? { link: child.stdio[3] as Duplex } : {}),
    ...(spec.stdin === "piped" ? { stdin: child.stdin! } : {}),
    stdout: child.stdout!,
    stderr: child.stderr!,
    expose: async (directory) => directory,
    pathOf: (target) => spec.mounts.find((mount) => mount.target === target)?.source ?? target,
    usage: async () => ({ cpuMicros: 0, memoryBytes: 0, memoryPeakBytes: 0 }),
    async stop(graceMs) {
      child.kill(graceMs > 0 ? "SIGTERM" : "SIGKILL");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      const report = await exited;
      clearTimeout(timer);
      return report;
    },
    exited,
  };
}
