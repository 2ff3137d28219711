import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Readable } from "node:stream";
import type { ExitReport, Sandbox, SandboxedProgram, SandboxSpec } from "../../src/ports/sandbox.ts";

export interface OpenedSandbox {
  readonly sandbox: Sandbox;
  close(): Promise<void>;
}

/** What a way of starting programs does not offer, and why. */
export interface Lacks {
  readonly stdin?: string;
  readonly writableMounts?: string;
  readonly command?: string;
}

/** The guarantees of ports/sandbox.ts that every driver gives. What a driver says is absent is not asked of it. */
export function describeSandbox(
  name: string,
  open: () => Promise<OpenedSandbox>,
  skip: string | false = false,
  { stdin: noInput, writableMounts: noWriting, command: noCommand }: Lacks = {},
): void {
  describe(`${name}: the sandbox contract`, { skip }, () => {
    let opened: OpenedSandbox;
    let sandbox: Sandbox;
    before(async () => {
      opened = await open();
      sandbox = opened.sandbox;
    });
    after(() => opened.close());
    const run = (script: string, spec?: Partial<SandboxSpec>) => runScript(sandbox, script, spec);

    test("a program's output, errors and exit code are its own", async () => {
      const { stdout, stderr, report } = await run("echo out; echo err >&2; exit 7");
      assert.deepEqual([stdout, stderr], ["out\n", "err\n"]);
      assert.deepEqual(report, { code: 7, signal: null, outOfMemory: false });
    });

    test("its output goes through real pipes, which programs may open by name", async () => {
      const { stdout, stderr } = await run("echo out >/dev/stdout; echo err >/dev/stderr");
      assert.deepEqual([stdout, stderr], ["out\n", "err\n"]);
    });

    test("its input is what was written", { skip: noInput ?? false }, async () => {
      assert.equal((await runScript(sandbox, "cat", { stdin: "piped" }, "given")).stdout, "given");
    });

    test("its input is empty where none is asked for", async () => {
      assert.equal((await run("cat; echo over")).stdout, "over\n");
    });

    test(
      "a large input and output pass whole, and a slow reader slows the program",
      { skip: noInput ?? false },
      async () => {
        const program = await sandbox.start(specOf("cat", { stdin: "piped" }));
        const block = Buffer.alloc(1 << 20, "x");
        let sent = 0;
        let accepted = true;
        while (accepted && sent < 64) {
          accepted = program.stdin!.write(block);
          sent++;
        }
        assert.equal(accepted, false, "64 MiB were taken though nobody read the answer");
        let received = 0;
        program.stdout.on("data", (chunk: Buffer) => (received += chunk.length));
        program.stdin!.end();
        await Promise.all([program.exited, ended(program.stdout)]);
        assert.equal(received, sent * block.length);
      },
    );

    test("its environment is what was given, and nothing of the platform's", async () => {
      process.env["VIRGA_CONTRACT_MARK"] = "leaked";
      const environment = { PATH: "/usr/bin:/bin", GIVEN: "a value = with\nnewline", EMPTY: "" };
      const { stdout } = await runCommand(sandbox, ["/usr/bin/env", "-0"], { environment });
      const seen = new Map(stdout.split("\0").map((line) => [line.split("=")[0], line.slice(line.indexOf("=") + 1)]));
      for (const [key, value] of Object.entries(environment)) assert.equal(seen.get(key), value);
      assert.doesNotMatch(stdout, /leaked/);
      for (const key of ["", "PWD", "OLDPWD", "SHLVL", "_", ...Object.keys(environment)]) seen.delete(key);
      assert.deepEqual([...seen.keys()], []);
    });

    test("a NUL byte in what it is given is refused", { skip: noCommand ?? false }, async () => {
      const nul = "x\0--bind\0/\0/tmp/host";
      const cases: Partial<SandboxSpec>[] = [
        { environment: { PATH: "/usr/bin:/bin", GIVEN: nul } },
        { environment: { PATH: "/usr/bin:/bin", [nul]: "" } },
        { command: ["/bin/sh", "-c", "exit 0", nul] },
        { workingDirectory: `/${nul}` },
      ];
      for (const spec of cases) await assert.rejects(sandbox.start(specOf("ls /tmp/host", spec)));
    });

    test("values of its environment stand in no command line of the host", async () => {
      const secret = randomUUID();
      const mark = `5.${Math.floor(Math.random() * 1e9)}`;
      const program = await sandbox.start(
        specOf(`sleep ${mark}`, { environment: { PATH: "/usr/bin:/bin", SECRET: secret } }),
      );
      drop(program);
      while (sleepers(mark) === 0) await pause(5);
      const lines = pidsOfHost().map((pid) => readOrEmpty(`/proc/${pid}/cmdline`));
      assert.ok(lines.some((line) => line.includes(mark)));
      assert.ok(!lines.some((line) => line.includes(secret)));
      await program.stop(0);
    });

    test("descriptor 3 is the link where one is asked for, and is closed where not", async () => {
      const program = await sandbox.start(specOf("cat <&3 >&3", { channel: "link" }));
      drop(program);
      program.link!.end("over the link");
      assert.equal(await textOf(program.link!), "over the link");
      await program.exited;
      const { stdout } = await run("(: >&3) 2>/dev/null && echo open || echo closed");
      assert.equal(stdout, "closed\n");
      assert.equal((await sandbox.start(specOf("exit 0"))).link, undefined);
    });

    test("a signal's end is told as a signal", async () => {
      const { report } = await run("kill -KILL $$");
      assert.deepEqual(report, { code: null, signal: "SIGKILL", outOfMemory: false });
    });

    test("stop lets the program end by itself, within its grace", async () => {
      const program = await sandbox.start(
        specOf("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.02; done"),
      );
      let said = "";
      program.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
      program.stderr.resume();
      while (!said.includes("up")) await pause(5);
      const report = await program.stop(5000);
      assert.equal(report.code, 3);
      await ended(program.stdout);
      assert.equal(said, "up\nbye\n");
    });

    test("stop kills a program that does not listen, and with it all its processes", async () => {
      const mark = `${4000 + Math.floor(Math.random() * 1000)}.${process.pid}`;
      const script = `trap '' TERM; setsid sleep ${mark} & sleep ${mark} & echo up; while :; do sleep 0.05; done`;
      const program = await sandbox.start(specOf(script));
      program.stderr.resume();
      await new Promise((resolve) => program.stdout.once("data", resolve));
      while (sleepers(mark) < 2) await pause(5);
      const report = await program.stop(50);
      assert.equal(report.signal, "SIGKILL");
      assert.equal(sleepers(mark), 0);
      assert.deepEqual(await program.stop(0), report, "stopping again tells the same");
    });

    test("when the program exits its other processes are gone too", async () => {
      const mark = `${5000 + Math.floor(Math.random() * 1000)}.${process.pid}`;
      const { report } = await run(`sleep ${mark} >/dev/null 2>&1 & exit 0`);
      assert.equal(report.code, 0);
      assert.equal(sleepers(mark), 0);
    });

    test("its counters grow while it runs, and stay after its end", async () => {
      const program = await sandbox.start(
        specOf("n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done; echo done; sleep 0.4"),
      );
      program.stderr.resume();
      await new Promise((resolve) => program.stdout.once("data", resolve));
      const during = await program.usage();
      assert.ok(during.cpuMicros > 10_000, `${during.cpuMicros} µs`);
      assert.ok(during.memoryPeakBytes >= during.memoryBytes);
      await program.exited;
      const afterwards = await program.usage();
      assert.ok(afterwards.cpuMicros >= during.cpuMicros);
      assert.ok(afterwards.memoryPeakBytes >= during.memoryBytes);
    });

    test("a folder exposed to a running program is there, read-only, once", async (t) => {
      const code = folder(t, { "main.txt": "the code", "deep/er/file.txt": "below", "run.sh": "#!/bin/sh\necho ran" });
      chmodSync(join(code, "run.sh"), 0o755);
      const program = await sandbox.start(
        specOf(
          'read -r path <&3; cat "$path/main.txt" "$path/deep/er/file.txt"; "$path/run.sh"; (echo x >"$path/new") 2>/dev/null || echo refused',
          { channel: "link" },
        ),
      );
      const path = await program.expose(code);
      const output = textOf(program.stdout);
      program.stderr.resume();
      program.link!.write(`${path}\n`);
      const text = await output;
      assert.match(text, /^the codebelowran\n/);
      if (sandbox.enforces.filesystem === "enforced" || sandbox.enforces.ownUser === "enforced") {
        assert.match(text, /refused\n$/);
        assert.deepEqual(readdirSync(code).sort(), ["deep", "main.txt", "run.sh"]);
      }
      await program.exited;
    });

    test("mounts are readable, and writable where that was said", { skip: noWriting ?? false }, async (t) => {
      const read = folder(t, { "a.txt": "read" });
      const write = folder(t, { "b.txt": "old" });
      const mounts = [
        { source: read, target: "/in/put", writable: false },
        { source: write, target: "/out/put", writable: true },
      ];
      const at = (target: string) =>
        sandbox.name === "process" ? mounts.find((mount) => mount.target === target)!.source : target;
      const script = `cat ${at("/in/put")}/a.txt; echo new >${at("/out/put")}/b.txt; mkdir ${at("/out/put")}/made`;
      const { stdout, program } = await run(script, { mounts, workingDirectory: at("/out/put") });
      assert.equal(stdout, "read");
      assert.equal(program.pathOf("/in/put"), at("/in/put"));
      assert.equal(readFileSync(join(write, "b.txt"), "utf8"), "new\n");
      assert.ok(existsSync(join(write, "made")));
    });

    test(
      "programs that share a writable folder can go on with each other's files",
      { skip: noWriting ?? false },
      async (t) => {
        const shared = folder(t, {});
        const mounts = [{ source: shared, target: "/shared", writable: true }];
        const at = sandbox.name === "process" ? shared : "/shared";
        for (let n = 1; n <= 3; n++) {
          const { report, stderr } = await run(`umask 077; mkdir -p ${at}/deep; echo ${n} >>${at}/deep/file`, {
            mounts,
          });
          assert.equal(report.code, 0, stderr);
        }
        assert.equal(readFileSync(join(shared, "deep/file"), "utf8"), "1\n2\n3\n");
      },
    );

    test("a missing program is an exit with a reason, not a hang", async () => {
      const { report, stderr } = await runCommand(sandbox, ["/no/such/program"], {});
      assert.notEqual(report.code, 0);
      assert.match(stderr, /\/no\/such\/program/);
    });

    test("memory over the limit is a kill with its reason", async () => {
      const script = "head -c 600000000 /dev/zero | tail | wc -c; sleep 2";
      const { report } = await run(script, { limits: { ...limits, memoryMb: 64 } });
      assert.equal(report.outOfMemory, true, JSON.stringify(report));
    });

    test("open files and file size are limited", async () => {
      const { stdout } = await run("ulimit -n; ulimit -n 8192 2>/dev/null; ulimit -n", {
        limits: { ...limits, openFiles: 48 },
      });
      assert.equal(stdout, "48\n48\n");
      const script = 'f=/tmp/contract-$$; head -c 3000000 /dev/zero >"$f" 2>/dev/null; wc -c <"$f"; rm "$f"';
      const large = await run(script, { limits: { ...limits, fileSizeMb: 2 } });
      assert.equal(large.stdout.trim(), String(2 * 2 ** 20));
    });

    test("programs at the same time do not disturb each other", async () => {
      const results = await Promise.all(Array.from({ length: 12 }, (_, n) => run(`sleep 0.0${n % 5}; echo ${n}`)));
      assert.deepEqual(
        results.map(({ stdout }) => stdout),
        Array.from({ length: 12 }, (_, n) => `${n}\n`),
      );
    });

    test("it keeps nothing of a program that has ended", async () => {
      for (let n = 0; n < 80; n++) await run("exit 0");
      const open = readdirSync("/proc/self/fd").length;
      for (let n = 0; n < 40; n++) await run("echo x");
      assert.ok(readdirSync("/proc/self/fd").length <= open + 3, "descriptors are left open");
    });
  });
}

export const limits = { memoryMb: 128, cpus: 1, processes: 64, openFiles: 256, fileSizeMb: 64, tmpMb: 16 };
let started = 0;

export function specOf(script: string, spec: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    id: `test-${++started}`,
    command: ["/bin/sh", "-c", script],
    environment: { PATH: "/usr/bin:/bin" },
    workingDirectory: "/",
    mounts: [],
    network: "host",
    limits,
    channel: "none",
    stdin: "none",
    ...spec,
  };
}

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly report: ExitReport;
  readonly program: SandboxedProgram;
}

export function runScript(
  sandbox: Sandbox,
  script: string,
  spec: Partial<SandboxSpec> = {},
  input?: string,
): Promise<Ran> {
  return runCommand(sandbox, ["/bin/sh", "-c", script], spec, input);
}

export async function runCommand(
  sandbox: Sandbox,
  command: readonly string[],
  spec: Partial<SandboxSpec>,
  input?: string,
): Promise<Ran> {
  const program = await sandbox.start({ ...specOf("", spec), command });
  if (input !== undefined) program.stdin?.end(input);
  const [stdout, stderr, report] = await Promise.all([textOf(program.stdout), textOf(program.stderr), program.exited]);
  return { stdout, stderr, report, program };
}

/** A folder of the host that instances' users can reach, removed behind the test. */
export function folder(t: { after(run: () => void): void }, files: Record<string, string>): string {
  const path = mkdtempSync(join(tmpdir(), "virga-contract-"));
  chmodSync(path, 0o755);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), text);
  }
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

export function drop(program: SandboxedProgram): void {
  program.stdout.resume();
  program.stderr.resume();
}

export function pidsOfHost(): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number);
}

export function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function sleepers(mark: string): number {
  return pidsOfHost().filter((pid) => readOrEmpty(`/proc/${pid}/cmdline`) === `sleep\0${mark}\0`).length;
}

function ended(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.readableEnded || stream.destroyed) resolve();
    else stream.once("close", resolve).resume();
  });
}
