import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { systemCallsOf } from "../../src/drivers/sandbox/bubblewrap/system-calls.ts";
import { probePromises } from "../../src/drivers/sandbox/probe.ts";
import type { Sandbox, SandboxSpec } from "../../src/ports/sandbox.ts";
import { missingTools } from "../tools.ts";
import { drop, folder, limits, type OpenedSandbox, pause, runCommand, runScript, specOf } from "./sandbox.ts";

/** What the walls of an enclosing driver hold against, whoever puts a program behind them. As root all of it; else what `enforces` says. */
export function describeEnclosure(
  name: string,
  open: () => Promise<OpenedSandbox & { readonly stateDirectory: string }>,
  skip: string | false = false,
  /** Loaders that run inside before the program, and see its environment. */
  loadersInside = 0,
): void {
  describe(`${name} encloses`, { skip }, () => {
    let opened: Awaited<ReturnType<typeof open>>;
    let sandbox: Sandbox;
    before(async () => {
      opened = await open();
      ({ sandbox } = opened);
    });
    after(() => opened.close());
    const run = (script: string, spec?: Partial<SandboxSpec>) => runScript(sandbox, script, spec);

    test("each promise that it makes holds when it is tried", async () => {
      for await (const { promise, holds, how } of probePromises(sandbox)) {
        const expected = asRoot ? "enforced" : holds;
        assert.equal(holds, expected, `${promise}: ${how}`);
      }
    });

    test("the host's users, homes, data and other programs' files are not there", async (t) => {
      const secret = folder(t, { "secret.txt": "the host's" });
      const neighbour = await sandbox.start(specOf("sleep 5", { channel: "link" }));
      drop(neighbour);
      await neighbour.expose(folder(t, { "code.txt": "a neighbour's" }));
      const script = `
      for path in ${secret} ${opened.stateDirectory} /root /home /var /srv /mnt /run /sys /boot /etc/shadow /etc/ssh; do
        test -e $path && echo "sees $path"
      done
      cut -d: -f1 /etc/passwd | sort | tr '\\n' ' '`;
      assert.equal((await run(script)).stdout, "nobody root virga ");
      await neighbour.stop(0);
    });

    test("it writes in /tmp, which is private and limited, and nowhere else", async () => {
      const places = "/ /usr /usr/local/bin /etc /dev /code /proc/sys/kernel/core_pattern /proc/sysrq-trigger";
      const script = `
      echo mine >/tmp/file && cat /tmp/file
      for path in ${places}; do
        if (if [ -d $path ]; then : >$path/virga-test; else echo x >$path; fi) 2>/dev/null; then echo "wrote $path"; fi
      done`;
      assert.equal((await run(script, { channel: "link" })).stdout, "mine\n");
      assert.equal((await run("ls -A /tmp")).stdout, "");
      const fill = "head -c 9000000 /dev/zero >/dev/shm/full 2>/dev/null; wc -c </dev/shm/full";
      assert.equal((await run(fill, { limits: { ...limits, tmpMb: 3 } })).stdout.trim(), String(3 * 2 ** 20));
    });

    test("it sees its own processes alone, and can signal no other", async () => {
      const { stdout } = await run(
        `ls /proc | grep -c '^[0-9]'; kill -0 ${process.pid} 2>/dev/null && ps -o comm= ${process.pid}`,
      );
      assert.ok(Number(stdout.trim()) < 8, stdout);
    });

    test("it gains no privilege: no capability, no set-user-id", async () => {
      const { stdout } = await run("grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status | tr -s '\\t' ' '; id -u");
      assert.deepEqual(stdout.trim().split("\n"), [
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "1000",
      ]);
    });

    test("what its function's environment says changes nothing outside", async () => {
      const environment = { PATH: "/usr/bin:/bin", LD_PRELOAD: "/nowhere.so", BASH_ENV: "/nowhere", ENV: "/nowhere" };
      const { stdout, stderr, report } = await runCommand(sandbox, ["/bin/echo", "ran"], { environment });
      assert.equal(stdout, "ran\n");
      assert.equal(report.code, 0);
      // By the program's own loader and those inside; nothing outside was given it.
      assert.equal(stderr.split("cannot be preloaded").length - 1, 1 + loadersInside, stderr);
    });

    test("with network none there is no way out, with host there is", async () => {
      const server = createServer((socket) => socket.end("reached")).listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", resolve));
      const { port } = server.address() as AddressInfo;
      const script = `exec 4<>/dev/tcp/127.0.0.1/${port} && cat <&4`;
      const by = (network: "none" | "host") => runCommand(sandbox, ["/bin/bash", "-c", script], { network });
      assert.equal((await by("host")).stdout, "reached");
      const none = await by("none");
      assert.equal(none.stdout, "");
      assert.match(none.stderr, /refused|unreachable/i);
      server.close();
    });

    test("with a network of its own a program has every port for itself, and a way out to the host", async (t) => {
      if (sandbox.enforces.networkOwn !== "enforced") {
        t.skip("needs slirp4netns");
        return;
      }
      const server = createServer((socket) => void socket.end("the host\n")).listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", resolve));
      try {
        const { port } = server.address() as AddressInfo;
        const script = `
        import os, socket, time
        own = socket.create_server(("127.0.0.1", 3000))
        print(socket.create_connection(("host.virga.internal", ${port})).recv(100).decode(), end="")
        try: socket.create_connection(("127.0.0.1", ${port}))
        except ConnectionRefusedError: print("not on its loopback")
        time.sleep(0.3)`;
        const python = ["/usr/bin/python3", "-c", script.replaceAll("\n        ", "\n")];
        const both = [1, 2].map(() => runCommand(sandbox, python, { network: "own" }));
        for (const { stdout, stderr } of await Promise.all(both))
          assert.equal(stdout + stderr, "the host\nnot on its loopback\n");
      } finally {
        server.close();
      }
    });

    test("each program is a host user of its own", { skip: asRoot ? false : "needs root" }, async () => {
      const programs = await Promise.all([1, 2, 3].map(() => sandbox.start(specOf("sleep 5"))));
      programs.forEach(drop);
      const usersNow = (): number[] => programs.map(({ pid }) => statSync(`/proc/${pid}`).uid);
      // It takes its user a moment after it was spawned.
      for (let waited = 0; waited < 2000 && usersNow().includes(0); waited += 5) await pause(5);
      const users = usersNow();
      assert.equal(new Set(users).size, 3);
      assert.ok(users.every((uid) => uid >= 200_000));
      await Promise.all(programs.map((program) => program.stop(0)));
    });

    test("a program over its process limit alone cannot fork", async () => {
      const busy = await sandbox.start(
        specOf("n=0; while [ $n -lt 100 ]; do sleep 3 & n=$((n+1)); done", { limits: { ...limits, processes: 20 } }),
      );
      drop(busy);
      const { stdout, stderr } = await run("for n in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait; echo all");
      assert.equal(stdout, "all\n", stderr);
      await busy.stop(0);
    });

    test(
      "dangerous system calls are refused, and those of ordinary programs are not",
      { skip: missingTools("python") },
      async () => {
        const calls = systemCallsOf(process.arch)!;
        const script = `
import ctypes, errno, os, socket, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *rest):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno()) if libc.syscall(number, *rest) < 0 else "done"
for number in [${calls.refused.join(",")}]:
    got = call(number, 0, 0, 0, 0, 0, 0)
    if got != "EPERM": print("call", number, got)
for flag in (0x10000000, 0x20000, 0x40000000):
    got = call(${calls.clone}, flag | 17, 0, 0, 0, 0)
    if got != "EPERM": print("clone", hex(flag), got)
if call(${calls.clone3}, 0, 0) != "ENOSYS": print("clone3")
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_INET6, socket.SOCK_RAW), (17, socket.SOCK_RAW), (38, socket.SOCK_SEQPACKET)):
    try: socket.socket(family, kind); print("socket", family, kind)
    except PermissionError: pass
    except OSError as error: print("socket", family, kind, error)
threading.Thread(target=lambda: None).start()
subprocess.run(["true"], check=True)
socket.socket(); socket.socket(socket.AF_UNIX); socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
print(call(${calls.newest} + 1000))
`;
        const { stdout, stderr } = await runCommand(sandbox, ["/usr/bin/python3", "-c", script], {});
        assert.equal(stdout, "ENOSYS\n", stderr);
      },
    );
  });
}

const asRoot = process.getuid?.() === 0;
