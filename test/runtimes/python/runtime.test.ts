import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { VirgaError } from "../../../src/core/errors.ts";
import { createPythonRuntime } from "../../../src/runtimes/python/runtime.ts";
import { Bench, configOf, silent } from "./function.ts";

const bench = new Bench();
const runtime = createPythonRuntime({ toolsDirectory: bench.tools, log: silent });
after(() => bench.close());

const hello = "def handler(request, context): return 'hello'";

describe("python runtime", { timeout: 120_000 }, () => {
  test("a folder is python's by its entry file, more so with a manifest", async () => {
    assert.deepEqual(await runtime.detect(bench.folder({ "main.py": "" })), {
      confidence: 0.6,
      handler: "main.py",
      convention: "native",
    });
    assert.equal((await runtime.detect(bench.folder({ "app.py": "", "requirements.txt": "" })))?.confidence, 0.9);
    assert.equal(await runtime.detect(bench.folder({ "index.js": "", "requirements.txt": "" })), undefined);
  });

  test("versions are those of the host, and a version that is not there is refused with the way out", async () => {
    const [first] = await runtime.versions();
    assert.match(first!, /^3\.(9|\d\d)$/);
    const directory = bench.folder({ "handler.py": hello });
    await bench.build(runtime, directory, configOf({ runtime: `python:${first}` }));
    await assert.rejects(bench.build(runtime, directory, configOf({ runtime: "python:3.1" })), (error: VirgaError) => {
      assert.equal(error.code, "runtime_unavailable");
      assert.match(error.message, /Python 3\.1 is not installed here; there is 3\./);
      assert.match(error.detail.fix!, /apt-get install python3\.1/);
      return true;
    });
    assert.match(await runtime.fingerprint(configOf()), /^python 3\.\d+\.\d+, /);
  });

  test("a build compiles the code and refuses a syntax error with file, line and caret", async () => {
    const good = bench.folder({ "handler.py": hello, "lib/part.py": "x = 1", "lib/legacy.py": "print 'two'" });
    const lines = await bench.build(runtime, good, configOf());
    assert.ok(readdirSync(join(good, "lib", "__pycache__")).some((name) => name.startsWith("part.")));
    assert.match(lines.join("\n"), /warning: lib\/legacy\.py:1:1: SyntaxError/);

    const bad = bench.folder({ "handler.py": "def handler(request, context):\n\treturn 1 +* 2\n" });
    await assert.rejects(bench.build(runtime, bad, configOf()), (error: VirgaError) => {
      assert.equal(error.code, "build_failed");
      assert.equal(error.detail.location, "handler.py:2:12");
      assert.match(
        error.message,
        /^handler\.py:2:12: SyntaxError: invalid syntax\n2 \| \treturn 1 \+\* 2\n {2}\| \t {10}\^$/,
      );
      return true;
    });
    await assert.rejects(bench.build(runtime, bench.folder({ "other.py": "" }), configOf()), {
      code: "build_failed",
      message: /handler\.py is not in the code/,
    });
  });

  test("requirements.txt is installed beside the code, with its log shown", async (t) => {
    const wheels = join(bench.root, "wheels");
    mkdirSync(wheels);
    makeWheel(wheels);
    const before = { ...process.env };
    t.after(() => (process.env = before));
    Object.assign(process.env, { PIP_FIND_LINKS: wheels, UV_FIND_LINKS: wheels, PIP_NO_INDEX: "1", UV_NO_INDEX: "1" });
    const own = createPythonRuntime({ toolsDirectory: bench.tools, log: silent });
    const directory = bench.folder({
      "handler.py": "import rainfall\ndef handler(request, context): return rainfall.AMOUNT",
      "requirements.txt": "# what it needs\nrainfall==1.0\n",
    });
    const lines = await bench.build(own, directory, configOf());
    assert.match(lines.join("\n"), /rainfall/);
    assert.ok(existsSync(join(directory, ".virga", "site-packages", "rainfall.py")));
    const running = await bench.deploy(own, directory, configOf());
    assert.equal((await running.call()).text, "12 mm");

    const unknown = bench.folder({ "handler.py": hello, "requirements.txt": "drought==2" });
    await assert.rejects(bench.build(own, unknown, configOf()), (error: VirgaError) => {
      assert.equal(error.code, "build_failed");
      assert.match(error.message, /requirements\.txt could not be installed:.*drought/s);
      assert.match(error.detail.log!, /drought/);
      return true;
    });
  });

  test("a build that takes too long or grows too large is stopped", async () => {
    const directory = bench.folder({ "handler.py": hello });
    await assert.rejects(bench.build(runtime, directory, configOf(), { timeoutMs: 1 }), { code: "build_timeout" });
    const large = bench.folder({ "handler.py": hello, "data.bin": Buffer.alloc(3 * 2 ** 20) });
    await assert.rejects(bench.build(runtime, large, configOf(), { maxBytes: 2 ** 20 }), {
      code: "build_failed",
      message: /larger than 1 MiB/,
    });
    const abort = new AbortController();
    abort.abort();
    await assert.rejects(bench.build(runtime, directory, configOf(), { signal: abort.signal }), { code: "cancelled" });
  });
});

describe("python programs of other conventions", { timeout: 60_000 }, () => {
  const server = `
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.path == "/crash":
            print("going down", file=sys.stderr)
            os._exit(5)
        if self.path == "/slow":
            print("slow", flush=True)
            time.sleep(15)
        text = " ".join([self.command, self.path, self.headers["x-virga-invocation"], str(len(body))]).encode()
        print("served", self.path, flush=True)
        self.send_response(201, "Fine")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "keep-alive")
        self.send_header("X-Two", "a")
        self.send_header("X-Two", "b")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *args):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 64

Server((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
`;

  test("a server on $PORT answers, one call after another and many at once", async () => {
    const directory = bench.folder({ "handler.py": server });
    const running = await bench.deploy(runtime, directory, configOf({ convention: "http" }));
    const first = await running.call({ target: "/a?b=c" });
    assert.deepEqual([first.status, first.text, first.headers["x-two"]], [201, "GET /a?b=c call-1 0", "b"]);
    assert.equal(first.headers.connection, undefined);
    await running.printed(1);
    assert.deepEqual(
      running.logs.map(({ text, stream }) => [stream, text]),
      [["stdout", "served /a?b=c"]],
    );
    const many = await Promise.all(
      Array.from({ length: 20 }, (_, index) => running.call({ method: "POST", body: Buffer.alloc(index * 1000) })),
    );
    for (const [index, { text }] of many.entries()) assert.equal(text, `POST / call-${index + 2} ${index * 1000}`);
    const { host, port } = running.instance.upgradeAddress()!;
    assert.ok(port > 0 && host === "127.0.0.1");
  });

  test("a server that crashes fails its calls with its last words; a cancelled call is let go", async () => {
    const directory = bench.folder({ "handler.py": server });
    const running = await bench.deploy(runtime, directory, configOf({ convention: "http" }));
    const slow = running.call({ target: "/slow" });
    await running.printed(1);
    slow.handle.cancel("cancelled");
    assert.equal((await slow).error?.code, "cancelled");
    const { error } = await running.call({ method: "POST", target: "/crash" });
    assert.equal(error?.code, "function_crashed");
    assert.match(error.message, /exit code 5/);
    assert.match(error.detail.log!, /going down/);
    assert.equal((await running.call()).error?.code, "function_crashed");
    assert.equal((await running.instance.exited).code, 5);
    assert.equal(running.instance.upgradeAddress(), undefined);
  });

  test("a server that never listens, ends at once, or has no network does not start", async () => {
    const start = (code: string, changes = {}) =>
      bench.deploy(runtime, bench.folder({ "handler.py": code }), configOf({ convention: "http", ...changes }));
    await assert.rejects(start("import time\ntime.sleep(30)", { limits: { startTimeoutMs: 400 } }), {
      code: "timeout",
      message: /did not listen on port \d+ within 400 ms/,
    });
    await assert.rejects(start("import sys\nsys.exit('no configuration')"), (error: VirgaError) => {
      assert.equal(error.code, "start_failed");
      assert.match(error.message, /exit code 1 before it listened on \$PORT/);
      assert.match(error.detail.log!, /no configuration/);
      return true;
    });
    await assert.rejects(start(server, { network: "none" }), { code: "start_failed", message: /network `none`/ });
  });

  test("a script over stdin and stdout is run for each call", async () => {
    const directory = bench.folder({ "handler.py": "import sys\nprint(sys.stdin.read().upper(), end='')" });
    const running = await bench.deploy(runtime, directory, configOf({ convention: "stdio" }));
    assert.equal((await running.call({ method: "POST", body: Buffer.from("rain") })).text, "RAIN");
  });
});

/** A wheel is a zip archive with three files of metadata; Python's own zipfile makes one. */
function makeWheel(directory: string): void {
  const code = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/rainfall-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("rainfall.py", "AMOUNT = '12 mm'")
    info = "rainfall-1.0.dist-info/"
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: rainfall\\nVersion: 1.0\\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(info + "RECORD", "rainfall.py,,\\n" + info + "METADATA,,\\n" + info + "WHEEL,,\\n" + info + "RECORD,,\\n")
`;
  execFileSync("/usr/bin/python3", ["-I", "-c", code, directory]);
}
