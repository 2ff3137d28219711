import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { createLog } from "../../../src/drivers/host/log.ts";
import { childrenOf } from "../../../src/drivers/sandbox/process-table.ts";
import { systemCallsOf } from "../../../src/drivers/sandbox/bubblewrap/system-calls.ts";
import { createSandbox } from "../../../src/drivers/sandbox/sandbox.ts";
import type { SandboxedProgram, SandboxSpec, Zygote } from "../../../src/ports/sandbox.ts";
import { describeEnclosure } from "../../contracts/enclosure.ts";
import {
  describeSandbox,
  drop,
  folder,
  pause,
  pidsOfHost,
  readOrEmpty,
  runScript,
  specOf,
  textOf,
} from "../../contracts/sandbox.ts";
import { missingTools } from "../../tools.ts";
import { groupFolders, openSandbox } from "./open.ts";
import { become, openThroughZygote, type ZygoteSandbox } from "./zygote-sandbox.ts";

const skip = missingTools("bwrap", "python");
const asRoot = process.getuid?.() === 0;
const guest = join(import.meta.dirname, "../../../src/drivers/sandbox/bubblewrap/zygote/guest");

describeSandbox("zygote", openThroughZygote, skip, {
  stdin: "a copy has no input",
  writableMounts: "a zygote has read-only mounts alone",
  command: "a copy is given none by the driver",
});
describeEnclosure("zygote", openThroughZygote, skip);

describe("copies of one zygote", { skip }, () => {
  let opened: ZygoteSandbox;
  before(async () => {
    process.env["VIRGA_ZYGOTE_MARK"] = mark;
    opened = await openThroughZygote();
    await opened.zygote.opened();
  });
  after(() => opened.close());
  const run = (script: string, spec?: Partial<SandboxSpec>) => runScript(opened.sandbox, script, spec);

  test("each mount is read-only, but for what is a copy's own, and none shows a folder of the host by chance", async () => {
    const { stdout } = await run("cut -d' ' -f5,6 /proc/self/mountinfo", { channel: "link" });
    const mounts = stdout.trim().split("\n");
    const writable = mounts.filter((line) => !line.split(" ")[1]!.split(",").includes("ro"));
    assert.deepEqual(
      writable.map((line) => line.split(" ")[0]),
      ["/proc", "/dev/pts", "/dev/shm", "/tmp"],
    );
    assert.ok(mounts.every((line) => /^\/ |^\/(usr|bin|sbin|lib\w*|etc|dev|proc|tmp|code|program)(\/| )/.test(line)));
    assert.ok(mounts.every((line) => line.includes("nosuid")));
    assert.ok(mounts.filter((line) => !line.startsWith("/dev/")).every((line) => line.includes("nodev")));
  });

  test("no descriptor but its own is open, in it or in the first process of its namespace", async () => {
    // That one ends its part a moment behind the program's start.
    const script = "ls /proc/self/fd | tr '\\n' ' '; sleep 0.2; ls /proc/1/fd | wc -l";
    assert.equal((await run(script)).stdout, "0 1 2 3 0\n");
  });

  test("the first process of its namespace is as enclosed as the program", async () => {
    const fields = "'^(Cap...|NoNewPrivs|Seccomp|Groups|Uid):'";
    const { stdout } = await run(
      `grep -E ${fields} /proc/self/status >/tmp/own; grep -E ${fields} /proc/1/status | diff - /tmp/own && grep Seccomp: /tmp/own`,
    );
    assert.match(stdout, /^Seccomp:\s*2\n$/);
  });

  test("a user namespace within is refused by the kernel's own count, not by the filter alone", async () => {
    assert.equal((await run("cat /proc/sys/user/max_user_namespaces")).stdout, "0\n");
    const { stdout } = await run("echo 5 2>/dev/null >/proc/sys/user/max_user_namespaces || echo refused");
    assert.equal(stdout, "refused\n");
  });

  test("nothing of the platform's environment is in its memory", async () => {
    const script = `
import re
found = []
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
    for line in maps:
        area, rights = line.split()[:2]
        if "r" not in rights or "[v" in line: continue
        first, last = (int(number, 16) for number in area.split("-"))
        memory.seek(first)
        found += re.findall(rb"MARK\\x3d[0-9]{12}", memory.read(last - first))
print(len(found))`;
    // The copy itself, not a program that it became.
    const copy = await openPython(opened, script);
    assert.deepEqual(copy, { stdout: "0\n", stderr: "", code: 0 });
  });

  test("what one changes no other sees: memory, environment, /tmp, current folder", async () => {
    const change = `
import builtins, os, json
builtins.mark = json.mark = os.environ["MARK"] = "left"
open("/tmp/mark", "w").write("left"); open("/dev/shm/mark", "w").write("left")
print("done")`;
    const look = `
import builtins, os, json
print(hasattr(builtins, "mark"), hasattr(json, "mark"), os.environ.get("MARK"), os.listdir("/tmp"), os.listdir("/dev/shm"), os.getcwd())`;
    assert.equal((await openPython(opened, change)).stdout, "done\n");
    assert.equal((await openPython(opened, look)).stdout, "False False None [] [] /\n");
  });

  test("one sees and signals no process of another, though both call themselves 2", async () => {
    const neighbour = become(await opened.zygote.fork(specOf("")), specOf("sleep 30"));
    drop(neighbour);
    const script = `
import os, signal
seen = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
signalled = []
for pid in [${neighbour.pid}, *childrenOf]:
    try:
        os.kill(pid, 0); signalled.append(pid)
    except ProcessLookupError: pass
print(seen, os.getpid(), signalled)`.replace("*childrenOf", childrenOf(neighbour.pid).join(", "));
    assert.equal((await openPython(opened, script)).stdout, "[1, 2] 2 []\n");
    // -1 is every process that one may signal.
    await run("kill -9 -1");
    assert.ok(existsSync(`/proc/${neighbour.pid}`));
    await neighbour.stop(0);
  });

  test("each draws chance of its own", async () => {
    const script = `
import random, tempfile, uuid, ssl
print(random.random(), uuid.uuid4(), uuid.uuid1().node if uuid._node is None else 0, next(tempfile._get_candidate_names()), ssl.RAND_bytes(8).hex())`;
    const drawn = (await Promise.all([1, 2, 3].map(() => openPython(opened, script)))).map(({ stdout }) =>
      stdout.trim().split(" "),
    );
    for (const column of [0, 1, 3, 4]) assert.equal(new Set(drawn.map((line) => line[column])).size, 3, String(drawn));
  });

  test("it is `__main__` with its own name, and modules of the zygote are not to be found", async () => {
    const { stdout } = await openPython(
      opened,
      "import sys; print(sys.argv, sys.modules['__main__'].__file__, [n for n in sys.modules if 'zygote' in n])",
    );
    assert.equal(stdout, "['/program/python.py'] /program/python.py []\n");
  });

  test("its end is told as a program's: exit code, exception, signal", async () => {
    const ends = [
      "raise SystemExit(7)",
      "raise ValueError('mine')",
      "import os; os.abort()",
      "import os; os.kill(2, 15)",
    ];
    const codes = await Promise.all(ends.map((script) => openPython(opened, script)));
    assert.deepEqual(
      codes.map(({ code }) => code),
      [7, 1, "SIGABRT", "SIGTERM"],
    );
    assert.match(codes[1]!.stderr, /ValueError: mine/);
  });

  test("at its end threads are waited for, exit handlers run, and output is written", async () => {
    const script = `
import atexit, sys, threading, time
atexit.register(lambda: print("handler"))
threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
sys.stdout.write("main\\n")`;
    assert.deepEqual(await openPython(opened, script), { stdout: "main\nthread\nhandler\n", stderr: "", code: 0 });
  });

  test("orphans in it are waited for", async () => {
    const { stdout } = await run("(sleep 0.05 & ) ; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z '");
    assert.equal(stdout, "0\n");
  });

  test("500 leave nothing behind", async () => {
    const once = async (): Promise<void> => {
      const copy = await opened.zygote.fork(specOf(""));
      drop(copy);
      copy.link!.resume().end();
      assert.equal((await copy.exited).code, 0);
    };
    const first = await opened.zygote.fork(specOf(""));
    drop(first);
    const zygote = zygoteOf(first);
    await first.stop(0);
    for (let n = 0; n < 20; n++) await once();
    const traces = () => ({
      descriptors: readdirSync("/proc/self/fd").length,
      folders: readdirSync(join(opened.stateDirectory, home(opened))).length,
      groups: groupFolders(home(opened))
        .flatMap((path) => readdirSync(path, { withFileTypes: true }))
        .filter((entry) => entry.isDirectory()).length,
      processes: childrenOf(zygote).length,
    });
    const earlier = traces();
    for (let n = 0; n < 24; n++) await Promise.all(Array.from({ length: 20 }, once));
    // Streams close a moment behind the end.
    for (let waited = 0; waited < 2000 && traces().descriptors > earlier.descriptors; waited += 10) await pause(10);
    const now = traces();
    assert.equal(now.folders, earlier.folders);
    assert.equal(now.groups, earlier.groups);
    assert.equal(now.descriptors, earlier.descriptors);
    assert.equal(now.processes, 0);
  });
});

describe("a zygote", { skip }, () => {
  test("that is killed takes its copies with it, and is made anew; meanwhile there is another way", async () => {
    const opened = await openThroughZygote();
    try {
      await opened.zygote.opened();
      const copies = await Promise.all([1, 2, 3].map(() => opened.zygote.fork(specOf(""))));
      const running = copies.map((copy) => become(copy, specOf("sleep 60 & sleep 60")));
      running.forEach(drop);
      process.kill(zygoteOf(running[0]!), "SIGKILL");
      const reports = await Promise.all(running.map(({ exited }) => exited));
      assert.deepEqual(new Set(reports.map(({ signal }) => signal)), new Set(["SIGKILL"]));
      // The kernel takes a process off its group's list a moment before it is gone.
      for (let waited = 0; waited < 1000 && running.some(({ pid }) => isThere(pid)); waited += 5) await pause(5);
      for (const { pid } of running) assert.ok(!isThere(pid));
      await assert.rejects(opened.zygote.fork(specOf("")), { code: "unavailable" });
      await opened.zygote.opened();
      const again = await opened.zygote.fork(specOf(""));
      drop(again);
      await again.stop(0);
    } finally {
      await opened.close();
    }
  });

  test("is not given up for a function that ends with a copy's own exit code", async () => {
    const opened = await openSandbox("bubblewrap");
    try {
      const program = join(opened.stateDirectory, "program");
      mkdirSync(program);
      const source = "import os\ndef main():\n    os.write(3, b'hello')\n    os._exit(126 if os.read(3, 1) else 0)\n";
      writeFileSync(join(program, "ends.py"), source);
      const zygote = opened.sandbox.zygote!(pythonSpec(program, "ends.py"));
      await zygote.opened();
      for (let n = 0; n < 2; n++) {
        const copy = await zygote.fork(specOf(""));
        drop(copy);
        copy.link!.resume().write("x");
        assert.equal((await copy.exited).code, 126);
      }
    } finally {
      await opened.close();
    }
  });

  test("that is closed while it loads is gone at once", async () => {
    const opened = await openSandbox("bubblewrap");
    const program = join(opened.stateDirectory, "program");
    mkdirSync(program);
    writeFileSync(join(program, "slow.py"), "import time\ntime.sleep(20)\ndef main(): pass\n");
    const opening = opened.sandbox.zygote!(pythonSpec(program, "slow.py")).opened();
    opening.catch(() => undefined);
    await pause(200);
    const began = performance.now();
    await opened.close();
    assert.ok(performance.now() - began < 5000);
    await assert.rejects(opening, { code: "unavailable" });
  });

  test("whose copies can wait by no program of a few bytes wait themselves", async () => {
    const opened = await openSandbox("bubblewrap");
    try {
      const program = join(opened.stateDirectory, "program");
      mkdirSync(program);
      const source = `
import os, signal, sys
kernel = sys.modules["virga_zygote.kernel"]
kernel.Calls.execute_descriptor = lambda calls, *rest: calls.change_directory("/not/on/this/host")
def main():
    if os.read(3, 1):
        # It handles this one, as Python does.
        os.kill(1, signal.SIGINT)
        print(len(open("/proc/1/cmdline").read()) > 10, flush=True)
        os._exit(7)
`;
      writeFileSync(join(program, "waits.py"), source);
      const zygote = opened.sandbox.zygote!(pythonSpec(program, "waits.py"));
      await zygote.opened();
      const copy = await zygote.fork(specOf(""));
      copy.stderr.resume();
      copy.link!.resume().write("x");
      assert.equal(await textOf(copy.stdout), "True\n");
      assert.equal((await copy.exited).code, 7);
    } finally {
      await opened.close();
    }
  });

  test("whose copies cannot enclose themselves says why at its start, and none of them runs", async () => {
    const opened = await openSandbox("bubblewrap");
    try {
      const program = join(opened.stateDirectory, "program");
      mkdirSync(program);
      // What it does to the call that a copy needs, no host would.
      const broken = `
import sys
kernel = sys.modules["virga_zygote.kernel"]
kernel.Calls.pivot_root = lambda calls, number, new, old: calls.change_directory("/not/on/this/host")
def main(): print("runs")
`;
      writeFileSync(join(program, "broken.py"), broken);
      const zygote = opened.sandbox.zygote!(pythonSpec(program, "broken.py"));
      await assert.rejects(zygote.opened(), {
        code: "unavailable",
        message: /could not be enclosed: .*not.on.this.host/,
      });
    } finally {
      await opened.close();
    }
  });

  test("whose program cannot be loaded, or is not there, or whose interpreter is not, says so", async () => {
    const opened = await openSandbox("bubblewrap");
    try {
      const program = join(opened.stateDirectory, "program");
      mkdirSync(program);
      writeFileSync(join(program, "fails.py"), "import nothing_of_that_name\n");
      const open = (spec: object) => opened.sandbox.zygote!({ ...pythonSpec(program, "fails.py"), ...spec }).opened();
      await assert.rejects(open({}), { code: "unavailable", message: /nothing_of_that_name/ });
      await assert.rejects(open({ program: "/program/none.py" }), { code: "unavailable", message: /none\.py/ });
      await assert.rejects(open({ interpreter: "/no/python3" }), { code: "unavailable" });
      const within = [{ source: program, target: "/tmp/program" }];
      await assert.rejects(open({ mounts: within, program: "/tmp/program/fails.py" }), { code: "unavailable" });
    } finally {
      await opened.close();
    }
  });

  test("dies with its server, and its copies with both", async (t) => {
    const state = folder(t, {});
    mkdirSync(join(state, "instances"));
    const sleep = `8${process.pid}`;
    const script = join(state, "server.mjs");
    writeFileSync(
      script,
      `import { openThroughZygote, become } from ${JSON.stringify(join(import.meta.dirname, "zygote-sandbox.ts"))};
       import { specOf, drop } from ${JSON.stringify(join(import.meta.dirname, "../../contracts/sandbox.ts"))};
       const { zygote, stateDirectory } = await openThroughZygote();
       await zygote.opened();
       for (let n = 0; n < 3; n++) drop(become(await zygote.fork(specOf("")), specOf("sleep ${sleep} & sleep ${sleep}")));
       console.log(stateDirectory);`,
    );
    const server = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = await new Promise<[Buffer]>((resolve) =>
      server.stdout.once("data", (chunk: Buffer) => resolve([chunk])),
    );
    const left = line.toString().trim();
    const own = (): number[] =>
      pidsOfHost().filter((pid) => {
        const command = readOrEmpty(`/proc/${pid}/cmdline`);
        return command.startsWith(`sleep\0${sleep}`) || childOf(pid) === server.pid;
      });
    while (own().length < 7) await pause(10);
    const all = own().flatMap((pid) => [pid, ...childrenOf(pid)]);
    server.kill("SIGKILL");
    await new Promise((resolve) => server.once("exit", resolve));
    for (let waited = 0; waited < 5000 && all.some((pid) => isThere(pid)); waited += 10) await pause(10);
    assert.deepEqual(all.filter(isThere), []);
    const log = createLog({ level: "silent", pretty: false });
    const next = await createSandbox({ choice: "bubblewrap", stateDirectory: left, log });
    await next.close();
    assert.deepEqual(readdirSync(left), ["program"]);
    spawnSync("rm", ["-r", left]);
  });
});

describe("the zygote's request parser", { skip }, () => {
  test("takes what the server sends, and of anything else nothing", () => {
    const lines = [
      ...fc.sample(fc.string({ unit: "binary", maxLength: 80 }), 150),
      ...fc.sample(fc.json({ maxDepth: 4 }), 150),
      ...fc.sample(mutated, 1200),
    ].map((text) => text.replaceAll("\n", " "));
    const known = [request, { ...request, run, code: null, link: false }, { kill: 3 }];
    const odd = [
      { command: [] },
      { command: ["a\0b"] },
      { command: "a" },
      { environment: { "A=B": "" } },
      { environment: { "": "" } },
      { environment: { A: "\ud800" } },
      { environment: { A: 1 } },
      { directory: null },
      { more: "" },
    ].map((part) => ({ ...request, run: { ...run, ...part } }));
    const told = parseAll([...known, ...odd].map((message) => JSON.stringify(message)));
    assert.deepEqual(told, ["Fork", "Fork", "Kill", ...odd.map(() => "BadMessage")]);
    const verdicts = parseAll(lines);
    const wrong = verdicts.filter((verdict) => !["Fork", "Kill", "BadMessage"].includes(verdict));
    assert.deepEqual(wrong, []);
    assert.ok(verdicts.filter((verdict) => verdict === "BadMessage").length > lines.length / 2);
    for (const [index, line] of lines.entries()) {
      if (verdicts[index] !== "Fork") continue;
      const taken = JSON.parse(line) as typeof request;
      for (const path of [taken.stdout, taken.stderr, taken.code, ...taken.groups]) {
        if (path !== null) assert.match(path, /^\/(?!.*\/\.{1,2}(\/|$))/);
      }
      assert.ok(taken.user === null || taken.user >= 1000);
    }
  });

  test("a zygote that is sent nonsense says so and ends, and starts nothing", async (t) => {
    const state = folder(t, { "program.py": "def main(): pass" });
    mkdirSync(join(state, "root"));
    const setup = {
      root: join(state, "root"),
      view: [
        { bind: "/usr", path: "/usr" },
        { bind: join(state, "program.py"), path: "/program.py" },
      ],
      calls: { clone: systemCallsOf(process.arch)!.clone, pivotRoot: systemCallsOf(process.arch)!.pivotRoot },
      filter: null,
      program: "/program.py",
      asRoot,
      directory: state,
      workingDirectory: "/",
    };
    const good = `${JSON.stringify(setup)}\n`;
    assert.deepEqual(await sent(good, `${JSON.stringify({ kill: 4 })}\n`), ["ready"]);
    // Root's copy without a user of its own would be root.
    const wrongUser = `${JSON.stringify({ ...request, user: asRoot ? null : 200_000 })}\n`;
    const long = "x".repeat(2 ** 20 + 1);
    // A zygote's copies are what it has loaded.
    const wrongRun = `${JSON.stringify({ ...request, user: asRoot ? 200_000 : null, run })}\n`;
    for (const bad of ["\n", "{}\n", "\xff\xfe\n", wrongUser, wrongRun, long]) {
      assert.deepEqual(await sent(good, bad), ["ready", "broken"], bad.slice(0, 40));
    }
    for (const bad of ["\n", "[]\n", `${JSON.stringify({ ...setup, view: [{ bind: "/usr", path: "/../usr" }] })}\n`]) {
      assert.deepEqual(await sent(bad, ""), ["broken"]);
    }
  });
});

/** The kinds of a zygote's words, until it ends by itself or 300 ms have passed in silence. */
async function sent(setup: string, then: string): Promise<string[]> {
  const child = spawn("/usr/bin/python3", ["-I", "-B", join(guest, "start.py")], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const socket = child.stdio[3] as Duplex;
  socket.on("error", () => undefined);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let said = "";
  socket.on("data", (chunk: Buffer) => {
    said += chunk.toString();
    if (said.endsWith("\n") && said.split("\n").length === 2) socket.write(then);
  });
  socket.write(setup);
  await Promise.race([ended, pause(1000)]);
  assert.deepEqual(childrenOf(child.pid!), []);
  child.kill("SIGKILL");
  await ended;
  return said
    .split("\n")
    .filter(Boolean)
    .map((line) => Object.keys(JSON.parse(line) as object)[0]!);
}

const mark = `${randomInt(10 ** 6, 10 ** 7)}${randomInt(10 ** 5, 10 ** 6)}`.slice(0, 12);

const request = {
  fork: 1,
  stdout: "/a/pipe",
  stderr: "/a/pipe",
  groups: ["/sys/group"],
  user: 200_000 as number | null,
  code: "/a/code" as string | null,
  network: true,
  limits: { processes: 64, openFiles: 256, fileSizeMb: 64, tmpMb: 16 },
  run: null as object | null,
  link: true,
};

const run = { command: ["/bin/echo", "told"], environment: { PATH: "/bin" }, directory: "/" };

/** A good request with one thing in it that is another. */
const mutated = fc
  .tuple(
    fc.constantFrom(
      "",
      "fork",
      "stdout",
      "stderr",
      "groups",
      "user",
      "code",
      "network",
      "limits",
      "run",
      "link",
      "more",
    ),
    fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom("/", "/a/../b", "/a/./b", "//a", "a", "/a\0b", "/\ud800", 0, -1, 999, 1e30, 0.5, true, null),
      fc.webPath(),
      fc.array(fc.webPath(), { maxLength: 3 }),
    ),
  )
  .map(([name, value]) => JSON.stringify(name === "" ? value : { ...request, [name]: value }));

function parseAll(lines: readonly string[]): string[] {
  const script = `
import sys
sys.path.insert(0, ${JSON.stringify(guest)})
from virga_zygote.messages import parse, BadMessage
for line in sys.stdin.buffer.read().split(b"\\n")[:-1]:
    try: print(type(parse(line)).__name__)
    except BaseException as error: print(type(error).__name__)
`;
  const { stdout, stderr } = spawnSync("/usr/bin/python3", ["-I", "-B", "-c", script], {
    input: lines.map((line) => `${line}\n`).join(""),
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  assert.equal(stderr, "");
  return stdout.trim().split("\n");
}

function pythonSpec(folder: string, file: string): Parameters<NonNullable<ZygoteSandbox["sandbox"]["zygote"]>>[0] {
  return {
    interpreter: "/usr/bin/python3",
    program: `/program/${file}`,
    environment: { PATH: "/usr/bin:/bin" },
    workingDirectory: "/",
    mounts: [{ source: folder, target: "/program" }],
  };
}

/** Runs a script in the copy itself. */
async function openPython(
  opened: ZygoteSandbox,
  script: string,
): Promise<{ stdout: string; stderr: string; code: unknown }> {
  const zygote = await (pythonZygotes.get(opened) ?? openPythonZygote(opened));
  const copy = await zygote.fork(specOf(""));
  copy.link!.resume().end(script);
  const [stdout, stderr, { code, signal }] = await Promise.all([textOf(copy.stdout), textOf(copy.stderr), copy.exited]);
  return { stdout, stderr, code: code ?? signal };
}

function openPythonZygote(opened: ZygoteSandbox): Promise<Zygote> {
  const program = join(opened.stateDirectory, "python");
  mkdirSync(program);
  writeFileSync(
    join(program, "python.py"),
    `import json, os, random, ssl, tempfile, uuid
random.random(); uuid.uuid4(); next(tempfile._get_candidate_names())
def main():
    script = b""
    while chunk := os.read(3, 65536): script += chunk
    exec(script.decode(), {})
`,
  );
  const zygote = opened.pythonZygote(pythonSpec(program, "python.py"));
  const ready = zygote.opened().then(() => zygote);
  pythonZygotes.set(opened, ready);
  return ready;
}

const pythonZygotes = new WeakMap<ZygoteSandbox, Promise<Zygote>>();

function zygoteOf(copy: SandboxedProgram): number {
  return childOf(copy.pid);
}

function childOf(pid: number): number {
  return Number(/^PPid:\s*(\d+)/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1] ?? -1);
}

function isThere(pid: number): boolean {
  const state = /^State:\s*(\S)/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1];
  return state !== undefined && state !== "Z";
}

function home(opened: ZygoteSandbox): string {
  return readdirSync(opened.stateDirectory).find((name) => name.startsWith("virga-"))!;
}
