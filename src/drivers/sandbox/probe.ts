import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Enforcement, ExitReport, Guarantee, Sandbox, SandboxLimits, SandboxSpec } from "../../ports/sandbox.ts";

export interface ProbedPromise {
  readonly promise: string;
  readonly holds: Guarantee;
  /** What was tried and seen, or why it does not hold. */
  readonly how: string;
  readonly fix?: string;
}

/** Tries each promise of a sandbox on this host, one after the other, by a program that breaks it. */
export async function* probePromises(sandbox: Sandbox): AsyncGenerator<ProbedPromise> {
  for (const { promise, name, attempt } of trials) {
    const claimed = sandbox.enforces[promise];
    const remark = sandbox.enforces.remarks.find((one) => one.promise === promise);
    if (claimed === "absent") {
      yield { promise: name, holds: "absent", how: remark?.why ?? "not promised here", ...fixOf(remark?.fix) };
      continue;
    }
    const { held, seen } = await attempt(sandbox);
    if (held) yield { promise: name, holds: claimed, how: seen, ...(claimed === "watched" && fixOf(remark?.fix)) };
    else yield { promise: name, holds: "absent", how: `${seen}, against what was expected`, ...fixOf(remark?.fix) };
  }
}

interface Trial {
  readonly promise: Exclude<keyof Enforcement, "remarks">;
  readonly name: string;
  attempt(sandbox: Sandbox): Promise<{ held: boolean; seen: string }>;
}

const trials: readonly Trial[] = [
  {
    promise: "memory",
    name: "memory limit",
    async attempt(sandbox) {
      // `tail` keeps a line without an end in memory.
      const { report } = await run(sandbox, "head -c 400000000 /dev/zero | tail | wc -c", { memoryMb: 64 });
      return { held: report.outOfMemory, seen: `asked for 400 MB with a limit of 64 MB: ${endOf(report)}` };
    },
  },
  {
    promise: "cpu",
    name: "CPU limit",
    async attempt(sandbox) {
      const began = performance.now();
      const { cpuMs } = await run(sandbox, "timeout 1 sh -c 'while :; do :; done'", { cpus: 0.25 });
      const share = cpuMs / (performance.now() - began);
      return { held: share < 0.4, seen: `a busy loop with a limit of 0.25 cores had ${share.toFixed(2)}` };
    },
  },
  {
    promise: "processes",
    name: "process limit",
    async attempt(sandbox) {
      const script = "n=0; while [ $n -lt 80 ]; do sleep 1 & n=$((n+1)); echo $n; done 2>/dev/null";
      const { output } = await run(sandbox, script, { processes: 24 });
      const started = Number(output.trim().split("\n").at(-1));
      return { held: started < 80, seen: `started ${started} of 80 processes with a limit of 24` };
    },
  },
  {
    promise: "openFiles",
    name: "open-file limit",
    async attempt(sandbox) {
      const { output } = await run(sandbox, "ulimit -n 4096 2>/dev/null; ulimit -n", { openFiles: 64 });
      return { held: output.trim() === "64", seen: `may open ${output.trim()} files with a limit of 64` };
    },
  },
  {
    promise: "fileSize",
    name: "file-size limit",
    async attempt(sandbox) {
      const script =
        "head -c 3000000 /dev/zero >/tmp/virga-probe-$$; wc -c </tmp/virga-probe-$$; rm /tmp/virga-probe-$$";
      const { output } = await run(sandbox, script, { fileSizeMb: 1 });
      return { held: Number(output) <= 2 ** 20, seen: `wrote ${output.trim()} bytes of 3000000 with a limit of 1 MB` };
    },
  },
  {
    promise: "tmp",
    name: "size of /tmp",
    async attempt(sandbox) {
      const script = "head -c 8000000 /dev/zero >/tmp/full; wc -c </tmp/full";
      const { output } = await run(sandbox, script, { tmpMb: 2 });
      return {
        held: Number(output) <= 2 * 2 ** 20,
        seen: `wrote ${output.trim()} bytes of 8000000 with a limit of 2 MB`,
      };
    },
  },
  {
    promise: "filesystem",
    name: "closed file system",
    async attempt(sandbox) {
      const folder = mkdtempSync(join(tmpdir(), "virga-probe-"));
      const secret = join(folder, "secret");
      writeFileSync(secret, "seen");
      const script = `
        for f in /etc /usr /dev / /proc/sys/kernel; do (echo x >$f/virga-probe) 2>/dev/null && echo "wrote $f"; done
        cat ${secret} /etc/shadow 2>/dev/null; ls /root /home 2>/dev/null; echo end`;
      try {
        const { output } = await run(sandbox, script);
        const seen = output.trim().split("\n");
        const held = seen.length === 1 && seen[0] === "end";
        return { held, seen: held ? "could write nothing and saw no file of the host's users" : seen.join(", ") };
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  },
  {
    promise: "processIsolation",
    name: "own processes only",
    async attempt(sandbox) {
      const script = `kill -0 ${process.pid} 2>/dev/null && grep -q virga /proc/${process.pid}/cmdline && echo server; ls /proc | grep -c '^[0-9]'`;
      const lines = (await run(sandbox, script)).output.trim().split("\n");
      const count = Number(lines.at(-1));
      return { held: lines.length === 1 && count < 10, seen: `saw ${count} processes, its own` };
    },
  },
  {
    promise: "networkNone",
    name: "network: none",
    async attempt(sandbox) {
      const server = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", resolve));
      const port = (server.address() as AddressInfo).port.toString(16).toUpperCase().padStart(4, "0");
      try {
        const script = `tail -n +3 /proc/net/dev | cut -d: -f1; grep -c ':${port} ' /proc/net/tcp`;
        const { output } = await run(sandbox, script, {}, "none");
        const lines = output.trim().split(/\s+/);
        return { held: lines.join() === "lo,0", seen: `saw the interfaces ${lines.slice(0, -1).join(", ")}` };
      } finally {
        server.close();
      }
    },
  },
  {
    promise: "networkOwn",
    name: "network: own",
    async attempt(sandbox) {
      const { output } = await run(sandbox, "tail -n +3 /proc/net/dev | cut -d: -f1", {}, "own");
      const interfaces = output.trim().split(/\s+/).sort().join(", ");
      return { held: interfaces === "lo, tap0", seen: `saw the interfaces ${interfaces}` };
    },
  },
  {
    promise: "systemCalls",
    name: "system-call filter",
    async attempt(sandbox) {
      const script = "grep -o 'Seccomp:.*' /proc/self/status; unshare -U true 2>&1; echo $?";
      const { output } = await run(sandbox, script);
      const held = /Seccomp:\s*2/.test(output) && /not permitted/i.test(output);
      return {
        held,
        seen: held ? "a filter is on, and a new namespace was refused" : output.trim().replaceAll("\n", ", "),
      };
    },
  },
  {
    promise: "ownUser",
    name: "own user on the host",
    async attempt(sandbox) {
      let owner = "";
      await run(sandbox, "sleep 0.2", {}, "host", (pid) => {
        const file = `/proc/${pid}/status`;
        if (existsSync(file)) owner = /^Uid:\s*(\d+)/m.exec(readFileSync(file, "utf8"))?.[1] ?? "";
      });
      return { held: owner !== "" && Number(owner) !== process.getuid?.(), seen: `ran as host user ${owner}` };
    },
  },
];

const limits: SandboxLimits = { memoryMb: 128, cpus: 1, processes: 64, openFiles: 256, fileSizeMb: 64, tmpMb: 16 };
let runs = 0;

async function run(
  sandbox: Sandbox,
  script: string,
  narrower: Partial<SandboxLimits> = {},
  network: SandboxSpec["network"] = "host",
  onStart: (pid: number) => void = () => undefined,
): Promise<{ output: string; report: ExitReport; cpuMs: number }> {
  const program = await sandbox.start({
    id: `probe-${++runs}`,
    command: ["/bin/sh", "-c", script],
    environment: { PATH: "/usr/bin:/bin" },
    workingDirectory: "/",
    mounts: [],
    network,
    limits: { ...limits, ...narrower },
    channel: "none",
    stdin: "none",
  });
  let output = "";
  program.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  program.stderr.resume();
  const closed = new Promise((resolve) => program.stdout.once("close", resolve));
  await new Promise((resolve) => setTimeout(resolve, 50));
  onStart(program.pid);
  const report = await program.exited;
  await closed;
  return { output, report, cpuMs: (await program.usage()).cpuMicros / 1000 };
}

function endOf({ outOfMemory, signal, code }: ExitReport): string {
  if (outOfMemory) return "killed";
  return signal === null ? `ended with exit code ${code}` : `ended by ${signal}`;
}

function fixOf(fix: string | undefined): { fix?: string } {
  return fix === undefined ? {} : { fix };
}
