import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { childrenOf } from "../../../src/drivers/sandbox/process-table.ts";
import type { Sandbox, SandboxedProgram, SandboxSpec } from "../../../src/ports/sandbox.ts";
import { describeEnclosure } from "../../contracts/enclosure.ts";
import {
  describeSandbox,
  drop,
  folder,
  pause,
  type Ran,
  readOrEmpty,
  runCommand,
  runScript,
  specOf,
} from "../../contracts/sandbox.ts";
import { missingTools } from "../../tools.ts";
import { launcherOf, openThroughLauncher, untilLaunched } from "./launcher-sandbox.ts";
import { groupFolders, openSandbox } from "./open.ts";

const skip = missingTools("bwrap", "python");

describeSandbox("launcher", openThroughLauncher, skip, {
  stdin: "bubblewrap starts programs with input",
  writableMounts: "bubblewrap starts programs that may write",
});
describeEnclosure("launcher", openThroughLauncher, skip);

describe("a program that a launcher starts", { skip }, () => {
  let launching: Awaited<ReturnType<typeof openSandbox>>;
  let plain: typeof launching;
  before(async () => {
    launching = await openSandbox("bubblewrap");
    await untilLaunched(launching.sandbox);
    plain = await openSandbox("bubblewrap", { python: "/no/such/python3" });
  });
  after(async () => {
    await launching.close();
    await plain.close();
  });
  /** By the launcher, and by bubblewrap. */
  const both = async (command: readonly string[], spec: Partial<SandboxSpec> = {}): Promise<[Ran, Ran]> => [
    await runCommand(launching.sandbox, command, spec),
    await runCommand(plain.sandbox, command, spec),
  ];
  const same = async (command: readonly string[], spec: Partial<SandboxSpec> = {}): Promise<Ran> => {
    const [launched, enclosed] = await both(command, spec);
    assert.deepEqual(
      [launched.stdout, launched.stderr, launched.report],
      [enclosed.stdout, enclosed.stderr, enclosed.report],
    );
    return launched;
  };

  test("finds what it finds in bubblewrap: environment, folder, signals, limits, descriptors, rights", async () => {
    const environment = { PATH: "/usr/bin:/bin", GIVEN: "a = b\nc", ÜBER: "größer", HOME: "/tmp" };
    const inBin = { workingDirectory: "/usr/bin" };
    const { stdout } = await same(["env", "-0"], { environment, ...inBin });
    assert.match(stdout, /GIVEN=a = b\nc\0/);
    assert.equal((await same(["pwd"], inBin)).stdout, "/usr/bin\n");
    const signals = await same([
      "grep",
      "-E",
      "^(Sig(Blk|Ign|Cgt)|ShdPnd|SigPnd|Umask|Cap...|NoNewPrivs|Seccomp|Groups)",
      "/proc/self/status",
    ]);
    assert.match(signals.stdout, /SigIgn:\s+0+\n/);
    for (const network of ["host", "none"] as const) {
      await same(["/bin/sh", "-c", "ulimit -c -n -f; nice; cat /proc/self/oom_score_adj; cut -d: -f1 /proc/net/dev"], {
        channel: "link",
        network,
      });
    }
    // `ls` has the folder itself open. In bubblewrap there may be more: what this process was given and never knew of.
    const open = (spec: Partial<SandboxSpec>) => runCommand(launching.sandbox, ["ls", "/proc/self/fd"], spec);
    assert.equal((await open({ channel: "link" })).stdout, "0\n1\n2\n3\n4\n");
    assert.equal((await open({})).stdout, "0\n1\n2\n3\n");
    await same(["/bin/sh", "-c", "tr '\\0' ' ' </proc/$$/cmdline; cat /proc/$$/comm; echo $$"]);
    await same(["/bin/sh", "-c", "find / /dev /etc -maxdepth 1 -printf '%y %p %l\\n' | grep -v ' /code ' | sort"]);
  });

  test("sees mounts as in bubblewrap, its code and folders that its own code is exposed in", async (t) => {
    const mounts = [
      { source: folder(t, { tool: "a tool\n" }), target: "/virga/tool", writable: false },
      { source: folder(t, { main: "its code\n" }), target: "/code", writable: false },
    ];
    await untilLaunched(launching.sandbox, mounts);
    const { stdout } = await same(["/bin/sh", "-c", "cat main /virga/tool/tool; touch main || ls /virga /code"], {
      mounts,
      workingDirectory: "/code",
    });
    assert.match(stdout, /its code\na tool\nmain\n|its code\na tool\n\/code/);
  });

  test("is told to be missing, no program, or in no folder as by bubblewrap", async () => {
    const cases: [string[], Partial<SandboxSpec>][] = [
      [["/no/such/program"], {}],
      [["no-such-program"], {}],
      [["/etc/passwd"], {}],
      [["/usr"], {}],
      [["true"], { workingDirectory: "/no/such/folder" }],
      [["env"], { environment: { PATH: "/nowhere" } }],
    ];
    for (const [command, spec] of cases) {
      const [launched, enclosed] = await both(command, spec);
      assert.deepEqual(launched.report, enclosed.report, command.join(" "));
      const reason = launched.stderr.trim().split(": ").at(-1)!;
      assert.ok(reason.length > 3 && enclosed.stderr.includes(reason), launched.stderr + enclosed.stderr);
    }
    assert.ok(launcherOf(await sleeping(launching.sandbox)));
  });

  test("may have no PATH, and be a script without an interpreter's name", async (t) => {
    await same(["true"], { environment: {} });
    const source = folder(t, { script: "echo $0 $1" });
    chmodSync(join(source, "script"), 0o755);
    const mounts = [{ source, target: "/virga/tool", writable: false }];
    await untilLaunched(launching.sandbox, mounts);
    const { stdout } = await same(["/virga/tool/script", "given"], { mounts });
    assert.equal(stdout, "/virga/tool/script given\n");
  });

  test("may end with the exit code of one that could not be enclosed", async () => {
    const program = await sleeping(launching.sandbox, "exit 126");
    assert.deepEqual(await program.exited, { code: 126, signal: null, outOfMemory: false });
    assert.ok(launcherOf(await sleeping(launching.sandbox)));
    // Nor does it end its namespace by a signal that its launcher handles.
    assert.equal((await runScript(launching.sandbox, "kill -INT 1; sleep 0.1; echo alive")).stdout, "alive\n");
  });

  test("has a quarter of another's share of the processors in the background, until it is given code", async (t) => {
    if (launching.sandbox.enforces.cpu !== "enforced") return t.skip("needs control groups");
    for (const { sandbox, stateDirectory } of [launching, plain]) {
      const share = (id: string): number => {
        const mark = readdirSync(stateDirectory).find((name) => name.startsWith("virga-"))!;
        const texts = groupFolders(mark).flatMap((group) =>
          ["cpu.shares", "cpu.weight"].map((name) => readOrEmpty(join(group, id, name))),
        );
        return Number(texts.find(Boolean));
      };
      const [ordinary, background] = await Promise.all([
        sleeping(sandbox, "sleep 5", { channel: "link" }),
        sleeping(sandbox, "sleep 5", { channel: "link", background: true }),
      ]);
      assert.equal(share(background.id), share(ordinary.id) / 4);
      await background.expose(folder(t, {}));
      await until(() => share(background.id) === share(ordinary.id));
      await Promise.all([ordinary, background].map((program) => program.stop(0)));
    }
  });

  test("may have an environment that no message holds: bubblewrap starts it then", async () => {
    const environment = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`LARGE_${n}`, "x".repeat(120_000)]));
    const script = "printenv LARGE_9 | wc -c; cat /proc/1/comm";
    const { stdout } = await runScript(launching.sandbox, script, { environment: { PATH: "/bin", ...environment } });
    assert.equal(stdout, "120001\nbwrap\n");
    // Nor one that is no text.
    const odd = { PATH: "/bin", ODD: "\ud800" };
    assert.equal((await runScript(launching.sandbox, "printenv ODD", { environment: odd })).stdout, "\ufffd\n");
  });
});

describe("launchers", { skip }, () => {
  test("come with the second start of a kind, and only where nothing is written or read in", async (t) => {
    const { sandbox, close } = await openSandbox("bubblewrap");
    try {
      const mounts = [{ source: folder(t, {}), target: "/data", writable: false }];
      assert.equal(launchersNow().length, 0);
      drop(await sandbox.start(specOf("exit 0", { mounts })));
      await pause(300);
      assert.equal(launchersNow().length, 0);
      await untilLaunched(sandbox, mounts);
      assert.equal(launchersNow().length, 1);
      const writing = mounts.map((mount) => ({ ...mount, writable: true }));
      const below = mounts.map((mount) => ({ ...mount, target: "/tmp/data" }));
      for (const spec of [{ mounts: writing }, { mounts: below }, { mounts, stdin: "piped" as const }]) {
        for (let n = 0; n < 3; n++) {
          const program = await sleeping(sandbox, "sleep 5", spec);
          assert.equal(launcherOf(program), undefined);
          await program.stop(0);
        }
      }
      assert.equal(launchersNow().length, 1);
    } finally {
      await close();
    }
  });

  test("are few: one asked longest ago makes room, ends with its last program, and comes again", async (t) => {
    const { sandbox, close } = await openSandbox("bubblewrap");
    try {
      const kinds = Array.from({ length: 5 }, () => [{ source: folder(t, {}), target: "/data", writable: false }]);
      const first = await untilLaunched(sandbox, kinds[0]);
      const running = await sleeping(sandbox, "sleep 30", { mounts: kinds[0]! });
      assert.equal(launcherOf(running), first);
      for (const kind of kinds.slice(1)) await untilLaunched(sandbox, kind);
      assert.equal(launchersNow().length, 5);
      assert.equal(launcherOf(running), first);
      await running.stop(0);
      await until(() => launchersNow().length === 4 && !launchersNow().includes(first));
      await untilLaunched(sandbox, kinds[0]);
      await until(() => launchersNow().length === 4);
    } finally {
      await close();
    }
    assert.equal(launchersNow().length, 0);
  });

  test("that are killed take their programs with them, and the next start works", async () => {
    const { sandbox, close } = await openSandbox("bubblewrap");
    try {
      const launcher = await untilLaunched(sandbox);
      const programs = await Promise.all([1, 2, 3].map(() => sleeping(sandbox, "sleep 60 & sleep 60")));
      assert.deepEqual(programs.map(launcherOf), [launcher, launcher, launcher]);
      process.kill(launcher, "SIGKILL");
      for (const { exited } of programs) assert.equal((await exited).signal, "SIGKILL");
      assert.equal((await runScript(sandbox, "echo next; cat /proc/1/comm")).stdout, "next\nbwrap\n");
      assert.notEqual(await untilLaunched(sandbox), launcher);
    } finally {
      await close();
    }
  });

  test("are not missed where Python is not there, or is none", async () => {
    for (const python of ["/no/such/python3", "/bin/false", "/bin/cat"]) {
      const { sandbox, close } = await openSandbox("bubblewrap", { python });
      try {
        for (let n = 0; n < 4; n++) {
          const program = await sleeping(sandbox, "sleep 5");
          assert.equal(launcherOf(program), undefined);
          assert.equal((await program.stop(0)).signal, "SIGKILL");
        }
      } finally {
        await close();
      }
    }
  });

  test("show what stands at a mount's source, and of the host's files, now", async (t) => {
    // Programs have a /tmp of their own.
    const tools = mkdtempSync("/var/tmp/virga-tools-");
    t.after(() => rmSync(tools, { recursive: true }));
    chmodSync(tools, 0o755);
    mkdirSync(join(tools, "tool"));
    writeFileSync(join(tools, "tool/version"), "1");
    const { sandbox, close } = await openSandbox("bubblewrap", { toolFolders: [join(tools, "tool")] });
    const place = folder(t, { "data/version": "1" });
    const mounts = [{ source: join(place, "data"), target: "/data", writable: false }];
    const replace = (at: string): void => {
      renameSync(at, `${at}-old`);
      mkdirSync(at);
      writeFileSync(join(at, "version"), "2");
    };
    try {
      const launcher = await untilLaunched(sandbox, mounts);
      assert.equal((await runScript(sandbox, "cat /data/version", { mounts })).stdout, "1");
      replace(mounts[0]!.source);
      assert.equal((await runScript(sandbox, "cat /data/version", { mounts })).stdout, "2");
      assert.notEqual(await untilLaunched(sandbox, mounts), launcher);
      replace(join(tools, "tool"));
      // It looks once a second.
      await pause(1100);
      const script = `cat ${join(tools, "tool/version")}`;
      assert.equal((await runScript(sandbox, script, { mounts })).stdout, "2");
      await untilLaunched(sandbox, mounts);
      assert.equal((await runScript(sandbox, script, { mounts })).stdout, "2");
    } finally {
      await close();
    }
  });

  test("have no environment of the platform's, and next to no Python", async () => {
    process.env["VIRGA_LAUNCHER_MARK"] = "secret";
    const { sandbox, close } = await openSandbox("bubblewrap");
    try {
      const launcher = await untilLaunched(sandbox);
      assert.equal(readOrEmpty(`/proc/${launcher}/environ`), "");
      const dirty = Number(/^Private_Dirty:\s+(\d+)/m.exec(readOrEmpty(`/proc/${launcher}/smaps_rollup`))?.[1]);
      assert.ok(dirty < 10_000, `${dirty} kB`);
    } finally {
      await close();
    }
  });
});

async function sleeping(
  sandbox: Sandbox,
  script = "sleep 5",
  spec: Partial<SandboxSpec> = {},
): Promise<SandboxedProgram> {
  const program = await sandbox.start(specOf(script, spec));
  drop(program);
  return program;
}

/** This process's. */
function launchersNow(): number[] {
  return childrenOf(process.pid).filter((pid) => readOrEmpty(`/proc/${pid}/cmdline`).includes("zygote/guest/start.py"));
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; waited < 5000 && !holds(); waited += 10) await pause(10);
  assert.ok(holds());
}
