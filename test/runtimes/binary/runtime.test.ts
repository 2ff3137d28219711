import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { VirgaError } from "../../../src/core/errors.ts";
import { createBinaryRuntime } from "../../../src/runtimes/binary/runtime.ts";
import { Bench, type ConfigChanges, type Running, configOf, silent } from "../python/function.ts";

const bench = new Bench();
const runtime = createBinaryRuntime({ toolsDirectory: bench.tools, log: silent });
after(() => bench.close());

const config = (changes: ConfigChanges = {}) =>
  configOf({ runtime: "binary", handler: "handler", convention: "stdio", ...changes });

async function deploy(script: string, changes: ConfigChanges = {}): Promise<Running> {
  const directory = bench.folder({ handler: script });
  await bench.build(runtime, directory, config(changes));
  return bench.deploy(runtime, directory, config(changes));
}

describe("binary runtime", { timeout: 60_000 }, () => {
  test("a program is found by its usual name, by being the only one, or by its build script", async () => {
    const script = "#!/bin/sh\n";
    assert.equal((await runtime.detect(bench.folder({ bootstrap: script, "a.txt": "" })))?.handler, "bootstrap");
    const only = bench.folder({ simulate: script, "README.md": "text" });
    assert.equal(await runtime.detect(only), undefined, "it is not executable");
    chmodSync(join(only, "simulate"), 0o755);
    assert.deepEqual(await runtime.detect(only), { confidence: 0.5, handler: "simulate", convention: "stdio" });
    assert.equal((await runtime.detect(bench.folder({ "build.sh": "cc", "a.c": "" })))?.handler, "handler");
    assert.equal(await runtime.detect(bench.folder({ handler: "plain text" })), undefined);
  });

  test("a build makes the program executable, and refuses what cannot run here", async () => {
    const good = bench.folder({ handler: "#!/bin/sh\n" });
    await bench.build(runtime, good, config());
    assert.equal(statSync(join(good, "handler")).mode & 0o777, 0o755);
    const elf = Buffer.alloc(64);
    elf.write("\x7fELF\x02\x01\x01", 0, "latin1");
    elf.writeUInt16LE(process.arch === "x64" ? 183 : 62, 18);
    const refused: [Record<string, string | Buffer>, ConfigChanges, RegExp][] = [
      [{ other: "" }, {}, /handler is not in the code/],
      [{ handler: "text" }, {}, /neither a native program \(ELF\) nor a script/],
      [{ handler: elf }, {}, /is a program for \w+; this host is/],
      [{ handler: "#!/usr/bin/env no-such-language\n" }, {}, /asks for no-such-language, which is not on this host/],
      [{ handler: "#!/opt/none\n" }, {}, /asks for \/opt\/none/],
      [{ handler: "#!/bin/sh\n" }, { handler: "../handler" }, /is not in the code/],
      [{ handler: "#!/bin/sh\n" }, { convention: "native" }, /cannot be called by convention `native`/],
    ];
    for (const [files, changes, message] of refused) {
      await assert.rejects(bench.build(runtime, bench.folder(files), config(changes)), {
        code: "build_failed",
        message,
      });
    }
  });

  test("build.sh runs first, and its failure is told with its log", async () => {
    const made = bench.folder({ "build.sh": "echo compiling\nprintf '#!/bin/sh\\necho built\\n' > handler\n" });
    assert.deepEqual(await bench.build(runtime, made, config()), ["compiling"]);
    assert.equal((await (await bench.deploy(runtime, made, config())).call()).text, "built\n");
    const failing = bench.folder({ "build.sh": "echo 'a.c:3: error: no such header' >&2\nfalse\necho not reached\n" });
    await assert.rejects(bench.build(runtime, failing, config()), (error: VirgaError) => {
      assert.equal(error.code, "build_failed");
      assert.match(error.message, /build\.sh ended with exit code 1/);
      assert.equal(error.detail.log, "a.c:3: error: no such header");
      return true;
    });
  });

  test(
    "a C program is compiled and called",
    { skip: existsSync("/usr/bin/cc") ? false : "no C compiler" },
    async () => {
      const source = `#include <stdio.h>
int main(int argc, char **argv) { int c, n = 0; while ((c = getchar()) != EOF) n += c == '\\n'; printf("%d %s\\n", n, argv[1]); return 0; }`;
      const directory = bench.folder({ "count.c": source, "build.sh": "cc -O1 -o handler count.c" });
      await bench.build(runtime, directory, config());
      const running = await bench.deploy(runtime, directory, config({ args: ["lines"] }));
      assert.equal((await running.call({ body: Buffer.from("a\nb\n") })).text, "2 lines\n");
    },
  );
});

describe("a process for each call", { timeout: 60_000 }, () => {
  test("gets the call in its environment, the body on stdin, and answers on stdout", async () => {
    const running = await deploy(
      `#!/bin/sh
echo "$HTTP_METHOD $HTTP_PATH $HTTP_QUERY $HTTP_X_UNIT $VIRGA_INVOCATION_ID $VIRGA_ATTEMPT $VIRGA_FUNCTION $OWN $HTTP_PROXY."
cat`,
      { environment: { OWN: "mine" } },
    );
    const answer = await running.call({
      method: "POST",
      target: "/a/b?c=d",
      headers: ["x-unit", "mm", "proxy", "http://elsewhere", "path", "/x"],
      body: Buffer.from("body"),
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.text, "POST /a/b c=d mm call-1 1 subject mine .\nbody");
    assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
  });

  test("answers are text where they are UTF-8, bytes otherwise, and what the function says before both", async () => {
    const binary = await (await deploy("#!/bin/sh\nprintf '\\000\\001'")).call();
    assert.deepEqual([binary.headers["content-type"], [...binary.body]], ["application/octet-stream", [0, 1]]);
    const named = await deploy("#!/bin/sh\necho '{}'", { environment: { VIRGA_CONTENT_TYPE: "application/json" } });
    assert.equal((await named.call()).headers["content-type"], "application/json");
    const empty = await (await deploy("#!/bin/sh\n:")).call();
    assert.deepEqual([empty.status, empty.body.length, empty.error], [200, 0, undefined]);
  });

  test("an exit code other than 0 is an error with the last lines of stderr, which are the call's log", async () => {
    const running = await deploy("#!/bin/sh\necho half an answer\necho reading >&2\necho 'bad input' >&2\nexit 3");
    const answer = await running.call();
    assert.equal(answer.status, 0, "no half answers");
    assert.equal(answer.error?.code, "function_error");
    assert.equal(answer.error.message, "The program ended with exit code 3: bad input");
    assert.equal(answer.error.detail.log, "reading\nbad input");
    assert.deepEqual(
      running.logs.map(({ invocation, stream, text }) => [invocation, stream, text]),
      [
        ["call-1", "stderr", "reading"],
        ["call-1", "stderr", "bad input"],
      ],
    );
  });

  test("megabytes stream through it, with a slow reader, as they come", async () => {
    const running = await deploy("#!/bin/sh\ncat");
    const answer = running.call({ method: "POST" }, true, () => {
      setTimeout(() => answer.handle.resume(), 1);
      return false;
    });
    const block = Buffer.alloc(100_000, 0x62);
    for (let sent = 0; sent < 30; sent++) {
      if (!answer.handle.write(block)) await new Promise<void>((resolve) => (answer.handle.onDrain = resolve));
    }
    answer.handle.end();
    assert.equal((await answer).body.length, 3_000_000);
  });

  test("a program that runs on after its first output is streamed", async () => {
    const running = await deploy('#!/bin/sh\necho first\nread line\necho "then $line"');
    const { promise: first, resolve } = Promise.withResolvers<void>();
    const answer = running.call({ method: "POST" }, true, () => {
      resolve();
      return true;
    });
    await first;
    answer.handle.write(Buffer.from("more\n"));
    answer.handle.end();
    assert.equal((await answer).text, "first\nthen more\n");
  });

  test("a program that reads nothing of a large body answers all the same", async () => {
    const running = await deploy("#!/bin/sh\nexec 0<&-\necho enough");
    const answer = await running.call({ method: "POST", body: Buffer.alloc(4 * 2 ** 20) });
    assert.deepEqual([answer.text, answer.error], ["enough\n", undefined]);
  });

  test("a cancelled call's process is killed, and that is acknowledged", async () => {
    const running = await deploy("#!/bin/sh\necho started >&2\nexec sleep 30");
    const acknowledged = new Promise<string>((resolve) => (running.onAcknowledged = resolve));
    const call = running.call();
    await running.printed(1);
    call.handle.cancel("timeout");
    assert.equal((await call).error?.code, "timeout");
    assert.equal(await acknowledged, "call-1");
  });

  test("calls run side by side, and stopping ends them", async () => {
    const running = await deploy("#!/bin/sh\necho in >&2\nexec sleep 30");
    const calls = [running.call(), running.call(), running.call()];
    await running.printed(3);
    await running.instance.stop(0);
    for (const { error } of await Promise.all(calls)) assert.match(error?.message ?? "", /by signal SIGKILL/);
    assert.equal((await running.call()).error?.code, "function_crashed");
  });
});

describe("a native server on $PORT", { timeout: 60_000 }, () => {
  test("is started with its arguments and answers", async () => {
    const python = "/usr/bin/python3";
    execFileSync(python, ["-c", ""]);
    const script = `#!${python}
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
`;
    const running = await deploy(script, { convention: "http", args: ["served"] });
    for (let count = 0; count < 3; count++) assert.equal((await running.call()).text, "served");
  });
});
