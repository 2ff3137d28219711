import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { forkServer } from "../../../src/dialects/openfaas/fork-server.ts";
import { missingTools } from "../../tools.ts";
import { until } from "../../until.ts";

interface Call {
  readonly variables?: Readonly<Record<string, string>>;
  readonly body?: string;
}

interface Launcher {
  run(call: {
    variables: Readonly<Record<string, string>>;
    body: Buffer;
    output: (chunk: Buffer) => void;
    errors: (chunk: Buffer) => void;
  }): { readonly ended: Promise<string | undefined>; kill(): void };
}

interface Answer {
  readonly failure: string | undefined;
  readonly output: string;
  readonly errors: string;
}

const skip = missingTools("cc", "python");

test("without a compiler, or a place to compile, there is no fork server, until there is one", async (t) => {
  const { PATH, TMPDIR } = process.env;
  t.after(() => {
    process.env["PATH"] = PATH;
    if (TMPDIR === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = TMPDIR;
  });
  process.env["PATH"] = "/nonexistent";
  assert.equal(await forkServer(), undefined);
  process.env["PATH"] = PATH;
  process.env["TMPDIR"] = "/nonexistent";
  assert.equal(await forkServer(), undefined);
  delete process.env["TMPDIR"];
  if (skip === false) assert.deepEqual((await forkServer())?.subarray(0, 4), Buffer.from("\x7fELF"));
});

describe("a program that is held before it begins", { skip }, () => {
  let folder: string;
  let guest: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "virga-fork-server-test-"));
    guest = join(folder, "guest");
    cpSync(join(import.meta.dirname, "../../../src/dialects/openfaas/guest"), guest, { recursive: true });
    const library = await forkServer();
    assert.ok(library, "this host has a C compiler");
    writeFileSync(join(guest, "fork-server.so"), library);
  });
  after(() => {
    for (const pid of childrenOf(process.pid)) process.kill(pid);
    rmSync(folder, { recursive: true, force: true });
  });

  const launcherOf = async (
    command: readonly string[],
    environment: Record<string, string> = {},
  ): Promise<Launcher> => {
    const { openLauncher } = (await import(join(guest, "launcher.mjs"))) as {
      openLauncher(options: object): Launcher;
    };
    return openLauncher({
      command: command[0],
      args: command.slice(1),
      environment: { PATH: "/usr/bin:/bin", ...environment },
      directory: folder,
      combines: false,
    });
  };

  /** Of calls one after the other: the first one brings the fork server about, which soon makes the copies. */
  const held = async (command: readonly string[], environment?: Record<string, string>): Promise<Launcher> => {
    const launcher = await launcherOf(command, environment);
    await until(async () => (await loadedBy(launcher)).includes("fork-server.so"), "a copy");
    return launcher;
  };

  const compiled = (name: string, source: string, ...parameters: readonly string[]): string => {
    const path = join(folder, name);
    writeFileSync(`${path}.c`, source);
    execFileSync("cc", ["-o", path, `${path}.c`, ...parameters], { stdio: ["ignore", "ignore", "inherit"] });
    return path;
  };

  /** Commands here have what they are asked for as input. */
  const shell = ["sh", "-c", 'eval "$(cat)"'];

  test("is what runs from some call on; its variables are those of the call, over the function's", async () => {
    const launcher = await held(shell, { kept: "1", replaced: "1" });
    const first = await call(launcher, { body: "env", variables: { replaced: "2", Http_Path: "/a=b c" } });
    const variables = variablesIn(first.output);
    // The shell's own.
    for (const name of ["PWD", "OLDPWD", "_"]) delete variables[name];
    assert.deepEqual(variables, { PATH: "/usr/bin:/bin", kept: "1", replaced: "2", Http_Path: "/a=b c" });
    const second = await call(launcher, { body: "env" });
    assert.equal(variablesIn(second.output)["replaced"], "1");
    assert.equal(variablesIn(second.output)["Http_Path"], undefined);
    assert.equal(existsSync(join(guest, "__pycache__")), false, "nothing is written beside the guest");
  });

  test("is not asked for more variables than it takes: such a call's process is started", async () => {
    const launcher = await held(shell);
    const variables = Object.fromEntries(Array.from({ length: 70 }, (_, index) => [`Http_${index}`, "x".repeat(1000)]));
    assert.equal((await call(launcher, { body: "echo ${#Http_69}", variables })).output, "1000\n");
    assert.match(await loadedBy(launcher), /fork-server\.so/);
  });

  test("is none that the linker loads nothing for: one that has capabilities or another's rights", async (t) => {
    const [able, another] = ["able", "another"].map((name) => join(folder, name)) as [string, string];
    for (const path of [able, another]) copyFileSync("/bin/sh", path);
    chmodSync(another, 0o4755);
    const given = spawnSync("/usr/bin/python3", [
      "-c",
      "import os, sys; os.setxattr(sys.argv[1], 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))",
      able,
    ]);
    if (given.status !== 0) t.diagnostic("only root gives capabilities");
    for (const path of given.status === 0 ? [able, another] : [another]) {
      const launcher = await launcherOf([path, "-c", 'eval "$(cat)"']);
      for (let count = 0; count < 10; count++) {
        assert.doesNotMatch(await loadedBy(launcher), /LD_PRELOAD/);
        await pause(10);
      }
    }
  });

  for (const [what, command] of [
    ["bash, which keeps variables in its own way,", () => held(["bash", "-c", 'eval "$(cat)"'])],
    ["a script", () => held([scriptOf("#!/bin/sh\n")])],
    // Who looks sees the shell, which is none that was held.
    ["a script by env", () => launcherOf([scriptOf("#!/usr/bin/env sh\n")])],
  ] as const)
    test(`${what} sees the call's variables`, async () => {
      const launcher = await command();
      for (let count = 0; count < 10; count++) {
        const { output } = await call(launcher, { body: "echo $Http_Count", variables: { Http_Count: `${count}` } });
        assert.equal(output, `${count}\n`);
      }
    });

  const scriptOf = (head: string): string => {
    const path = join(folder, `script-${head.length}`);
    writeFileSync(path, `${head}eval "$(cat)"\n`, { mode: 0o755 });
    return path;
  };

  test("ends as it ends: codes, signals, output of both kinds, more than a pipe holds", async () => {
    const launcher = await held(shell);
    assert.deepEqual(await call(launcher, { body: "echo out; echo err >&2; exit 3" }), {
      failure: "exit status 3",
      output: "out\n",
      errors: "err\n",
    });
    assert.equal((await call(launcher, { body: "kill -9 $$" })).failure, "signal: killed");
    assert.equal((await call(launcher, { body: "kill -TERM $$" })).failure, "signal: terminated");
    const large = await call(launcher, { body: "head -c 300000 /dev/zero" });
    assert.equal(large.failure, undefined);
    assert.equal(large.output.length, 300_000);
    const late = await call(launcher, { body: "exec >&- 2>&-; sleep 0.1; exit 4" });
    assert.equal(late.failure, "exit status 4");
    const left = await call(launcher, { body: "(sleep 0.1; echo later) & exit 5" });
    assert.deepEqual([left.failure, left.output], ["exit status 5", "later\n"]);
  });

  test("hundreds at once each have their own input, variables and answer", async () => {
    const launcher = await held(shell);
    const all = Array.from({ length: 300 }, (_, index) =>
      call(launcher, { body: `echo ${index} $Http_Number`, variables: { Http_Number: `${index}` } }),
    );
    for (const [index, { output, failure }] of (await Promise.all(all)).entries())
      assert.deepEqual([output, failure], [`${index} ${index}\n`, undefined]);
  });

  test("a call for which there are no descriptors left fails by that, and takes no other along", async () => {
    const before = new Set(childrenOf(process.pid));
    const launcher = await held(shell);
    for (const pid of childrenOf(process.pid).filter((one) => !before.has(one)))
      execFileSync("prlimit", ["--pid", `${pid}`, "--nofile=30"]);
    const all = await Promise.all(Array.from({ length: 60 }, () => call(launcher, { body: "sleep 0.3; echo done" })));
    const failed = all.filter(({ output }) => output !== "done\n");
    assert.ok(failed.length > 0);
    for (const { failure } of failed) assert.equal(failure, "fork/exec sh: too many open files");
    assert.equal((await call(launcher, { body: "echo done" })).output, "done\n");
  });

  test("what a call started itself is killed with it", async () => {
    const launcher = await held(shell);
    const pids: string[] = [];
    const running = launcher.run({
      variables: {},
      body: Buffer.from("sleep 60 & echo $!; echo $$; wait"),
      output: (chunk) => pids.push(...chunk.toString().trim().split("\n")),
      errors: () => undefined,
    });
    await until(() => pids.length === 2, "both processes");
    running.kill();
    assert.equal(await running.ended, "signal: killed");
    await until(() => pids.every((pid) => !isRunning(pid)), "both have ended");
  });

  test("begins once for each call, before the server is there, while it comes, and behind its end", async () => {
    const runs = join(folder, "runs");
    const launcher = await launcherOf(["sh", "-c", `echo >> ${runs}; eval "$(cat)"`]);
    let calls = 0;
    const once = async (body: string): Promise<Answer> => {
      calls++;
      return await call(launcher, { body });
    };
    await until(async () => (await once(loaded)).output.includes("fork-server.so"), "a copy");
    assert.equal((await once("kill -9 $PPID; sleep 0.2")).failure, "signal: killed");
    const behind = await once(loaded);
    assert.deepEqual([behind.failure, behind.output.includes("fork-server.so")], [undefined, false]);
    assert.equal(readFileSync(runs, "utf8").length, calls);
  });

  test("is not begun again where it may have begun", async () => {
    const launcher = await held(shell);
    const server = Number((await call(launcher, { body: "echo $PPID" })).output);
    process.kill(server, "SIGSTOP");
    const asked = call(launcher, { body: "echo begun" });
    await pause(100);
    process.kill(server, "SIGKILL");
    assert.deepEqual(await asked, {
      failure: "fork/exec sh: the program that it is a copy of has ended",
      output: "",
      errors: "",
    });
    assert.equal((await call(launcher, { body: "echo begun" })).output, "begun\n");
  });

  for (const [what, threads, parameters] of [
    ["a program without a dynamic linker", 1, ["-static"]],
    ["a program whose library has started a thread", 2, ["-Wl,-rpath,$ORIGIN"]],
  ] as const)
    test(`${what} is started for each call, and never without one`, async () => {
      const runs = join(folder, `runs${threads}`);
      const libraries = threads > 1 ? [compiled("libthreaded.so", threaded, "-shared", "-fPIC", "-pthread")] : [];
      const program = compiled(`counts${threads}`, counting, "-Wl,--no-as-needed", ...libraries, ...parameters);
      const launcher = await launcherOf([program, runs]);
      for (let count = 1; count <= 30; count++) {
        assert.deepEqual(await call(launcher, {}), { failure: undefined, output: `${threads} threads`, errors: "" });
        await pause(5);
        assert.equal(readFileSync(runs, "utf8").length, count);
      }
    });
});

const counting = `#include <stdio.h>
#include <sys/stat.h>
int main(int count, char **words) { FILE *runs = fopen(words[1], "a"); fputc('.', runs); fclose(runs); 
  struct stat tasks; stat("/proc/self/task", &tasks); printf("%d threads", (int)tasks.st_nlink - 2); return count != 2; }
`;
const threaded = `#include <pthread.h>
#include <unistd.h>
static void *wait_for_ever(void *nothing) { pause(); return nothing; }
__attribute__((constructor)) static void begin(void) { pthread_t thread; pthread_create(&thread, 0, wait_for_ever, 0); }
`;

/** The kernel keeps what a program was started with; a copy's is its server's. */
const loaded = "tr '\\0' '\\n' < /proc/$$/environ";

async function loadedBy(launcher: Launcher): Promise<string> {
  return (await call(launcher, { body: loaded })).output;
}

async function call(launcher: Launcher, { variables = {}, body = "" }: Call): Promise<Answer> {
  const [output, errors]: [Buffer[], Buffer[]] = [[], []];
  const { ended } = launcher.run({
    variables,
    body: Buffer.from(body),
    output: (chunk) => output.push(Buffer.from(chunk)),
    errors: (chunk) => errors.push(Buffer.from(chunk)),
  });
  const failure = await ended;
  return { failure, output: Buffer.concat(output).toString(), errors: Buffer.concat(errors).toString() };
}

function variablesIn(output: string): Record<string, string> {
  return Object.fromEntries(
    output
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/=(.*)/s, 2) as [string, string]),
  );
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}

function isRunning(pid: string): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
