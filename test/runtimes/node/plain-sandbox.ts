import { spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import type { Sandbox, SandboxedProgram, SandboxSpec, ExitReport } from "../../../src/ports/sandbox.ts";

/** Encloses nothing: the program is a child process with the link at descriptor 3. For tests of the link and the guest themselves. */
export function plainSandbox(): Sandbox {
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
    async start(spec: SandboxSpec) {
      const [program, ...parameters] = spec.command;
      const child = spawn(program!, parameters, {
        cwd: spec.workingDirectory,
        env: { ...spec.environment },
        stdio: ["ignore", "pipe", "pipe", spec.channel === "link" ? "pipe" : "ignore"],
      });
      const exited = new Promise<ExitReport>((resolve) => {
        child.once("exit", (code, signal) => resolve({ code, signal, outOfMemory: false }));
      });
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", reject);
      });
      const started: SandboxedProgram = {
        id: spec.id,
        pid: child.pid!,
        ...(spec.channel === "link" ? { link: child.stdio[3] as Duplex } : {}),
        stdout: child.stdout!,
        stderr: child.stderr!,
        expose: (directory) => Promise.resolve(directory),
        pathOf: (target) => spec.mounts.find((mount) => mount.target === target)?.source ?? target,
        usage: () => Promise.resolve({ cpuMicros: 0, memoryBytes: 0, memoryPeakBytes: 0 }),
        async stop(graceMs) {
          if (graceMs > 0) child.kill("SIGTERM");
          const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
          const report = await exited;
          clearTimeout(timer);
          return report;
        },
        exited,
      };
      running.add(started);
      void exited.then(() => running.delete(started));
      return started;
    },
    async close() {
      await Promise.all([...running].map((program) => program.stop(0)));
    },
  };
}
