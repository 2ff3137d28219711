import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import { createPythonRuntime } from "../../../src/runtimes/python/runtime.ts";
import { Bench, type ConfigChanges, type Events, type Running, configOf, silent } from "./function.ts";

const bench = new Bench();
const runtime = createPythonRuntime({ toolsDirectory: bench.tools, log: silent });
after(() => bench.close());

function deploy(code: string, changes: ConfigChanges = {}, events: Events = {}): Promise<Running> {
  return bench.deploy(runtime, bench.folder({ "handler.py": code }), configOf(changes), events);
}

describe("python handlers", { timeout: 60_000 }, () => {
  test("what a handler returns becomes an answer of the fitting type", async () => {
    const running = await deploy(`
from virga import Response
import datetime, dataclasses, decimal

@dataclasses.dataclass
class Point:
    x: int

answers = {
    "/text": "grüße",
    "/bytes": b"\\x00\\x01",
    "/dict": {"a": [1, None, "ü"], "when": datetime.date(2026, 1, 2), "price": decimal.Decimal("1.5"), "p": Point(3)},
    "/list": [1, 2],
    "/number": 7,
    "/none": None,
    "/pair": ("made", 201),
    "/triple": ({"no": 1}, 409, {"X-Why": "taken"}),
    "/response": Response(b"<p>", status=203, headers={"Content-Type": "text/html", "Set-Cookie": ["a=1", "b=2"]}),
}

def handler(request, context):
    return answers[request.path]
`);
    const get = (target: string) => running.call({ target });
    const text = await get("/text");
    assert.deepEqual(
      [text.status, text.headers["content-type"], text.text],
      [200, "text/plain; charset=utf-8", "grüße"],
    );
    const bytes = await get("/bytes");
    assert.deepEqual([bytes.headers["content-type"], [...bytes.body]], ["application/octet-stream", [0, 1]]);
    const dict = await get("/dict");
    assert.equal(dict.headers["content-type"], "application/json");
    assert.deepEqual(JSON.parse(dict.text), { a: [1, null, "ü"], when: "2026-01-02", price: 1.5, p: { x: 3 } });
    assert.equal((await get("/list")).text, "[1,2]");
    assert.equal((await get("/number")).text, "7");
    const none = await get("/none");
    assert.deepEqual([none.status, none.body.length], [204, 0]);
    const pair = await get("/pair");
    assert.deepEqual([pair.status, pair.text], [201, "made"]);
    const triple = await get("/triple");
    assert.deepEqual([triple.status, triple.text, triple.headers["x-why"]], [409, '{"no":1}', "taken"]);
    const response = await get("/response");
    assert.deepEqual([response.status, response.text, response.headers["content-type"]], [203, "<p>", "text/html"]);
    assert.ok(response.measured!.memoryPeakBytes > 2 ** 20);
  });

  test("the request shows method, query, headers in any case, JSON, forms and uploads", async () => {
    const running = await deploy(`
def handler(request, context):
    if request.path == "/form":
        form = request.form()
        return {name: [v if isinstance(v, str) else [v.filename, v.content_type, len(v.body)] for v in values] for name, values in form.items()}
    return [request.method, request.path, request.query, request.headers["CONTENT-type"], request.headers.get("x-none"), request.json(), request.url]
`);
    const answer = await running.call({
      method: "POST",
      target: "/a%20b?x=1&x=2&facts",
      headers: ["content-type", "application/json"],
      body: Buffer.from('{"k": "v"}'),
    });
    assert.deepEqual(JSON.parse(answer.text), [
      "POST",
      "/a b",
      { x: ["1", "2"], facts: [""] },
      "application/json",
      null,
      { k: "v" },
      "http://host/f/default/subject/",
    ]);
    const form = await running.call({ method: "POST", target: "/form", body: Buffer.from("a=1&a=%C3%BC&b=") });
    assert.deepEqual(JSON.parse(form.text), { a: ["1", "ü"], b: [""] });
    const parts =
      '--X\r\ncontent-disposition: form-data; name="note"\r\n\r\nhi\r\n' +
      '--X\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\ncontent-type: image/png\r\n\r\n12345\r\n--X--\r\n';
    const upload = await running.call({
      target: "/form",
      headers: ["content-type", "multipart/form-data; boundary=X"],
      body: Buffer.from(parts),
    });
    assert.deepEqual(JSON.parse(upload.text), { note: ["hi"], file: [["a.bin", "image/png", 5]] });
  });

  test("the context tells about the call and the function", async () => {
    const running = await deploy(
      `
import os
def handler(request, context):
    return [context.id, context.namespace, context.function, context.revision, context.attempt, context.idempotency_key,
            context.traceparent, 0 < context.remaining_ms() <= 20000, context.cancelled.is_set(), os.environ["GREETING"], os.getcwd() != "/"]
`,
      { environment: { GREETING: "hello" } },
    );
    const answer = await running.call({ id: "one", attempt: 2, idempotencyKey: "key", traceparent: "00-a-b-01" });
    assert.deepEqual(JSON.parse(answer.text), [
      ...["one", "default", "subject", 3, 2, "key", "00-a-b-01"],
      ...[true, false, "hello", true],
    ]);
  });

  test("async handlers run side by side in one event loop", async () => {
    const running = await deploy(
      `
import asyncio
gate = None
waiting = 0
async def main(request, context):
    global gate, waiting
    if gate is None:
        gate = asyncio.Event()
    waiting += 1
    if waiting == 3:
        gate.set()
    await gate.wait()
    print("passed", context.id)
    return context.id
`,
      { limits: { concurrency: 3 } },
    );
    const answers = await Promise.all([running.call(), running.call(), running.call()]);
    assert.deepEqual(answers.map(({ text }) => text).sort(), ["call-1", "call-2", "call-3"]);
    for (const line of running.logs) assert.equal(line.text, `passed ${line.invocation}`);
    assert.equal(running.logs.length, 3);
  });

  test("plain handlers run side by side in threads, and each line knows its call", async () => {
    const running = await deploy(
      `
import threading, logging, sys
barrier = threading.Barrier(3, timeout=15)
def handler(request, context):
    print("before", end=" ")
    barrier.wait()
    print(context.id)
    logging.info("log of %s", context.id)
    context.log.warning("warn of %s", context.id)
    sys.stderr.write("err of " + context.id)
    return context.id
`,
      { limits: { concurrency: 3 } },
    );
    const answers = await Promise.all([running.call(), running.call(), running.call()]);
    for (const [index, { text }] of answers.entries()) assert.equal(text, `call-${index + 1}`);
    for (const id of ["call-1", "call-2", "call-3"]) {
      const own = running.logs
        .filter(({ invocation }) => invocation === id)
        .map(({ stream, text }) => `${stream} ${text}`);
      assert.deepEqual(own.sort(), [
        `stderr INFO log of ${id}`,
        `stderr WARNING warn of ${id}`,
        `stderr err of ${id}`,
        `stdout before ${id}`,
      ]);
    }
  });

  test("a body larger than the window streams in and out with a slow reader on either end", async () => {
    const running = await deploy(`
def handler(request, context):
    for chunk in request.stream():
        yield chunk
`);
    // A generator function is a handler too: what it returns is streamed.
    let resumeSoon: NodeJS.Timeout | undefined;
    const answer = running.call({ method: "POST" }, true, () => {
      clearTimeout(resumeSoon);
      resumeSoon = setTimeout(() => answer.handle.resume(), 2);
      return false;
    });
    const block = Buffer.alloc(300_000, 0x61);
    for (let sent = 0; sent < 20; sent++) {
      if (!answer.handle.write(block)) {
        await new Promise<void>((resolve) => (answer.handle.onDrain = resolve));
      }
    }
    answer.handle.end();
    const { body, headers, error } = await answer;
    assert.equal(error, undefined);
    assert.equal(body.length, 6_000_000);
    assert.equal(headers["content-type"], "application/octet-stream");
  });

  test("an async handler reads a large body and answers with an async generator", async () => {
    const running = await deploy(
      `
from virga import Response
async def handler(request, context):
    if request.path == "/read":
        return str(len(await request.read()))
    async def doubled():
        async for chunk in request.stream():
            yield chunk
            yield chunk
    return Response(doubled(), headers={"content-type": "text/x"})
`,
      { limits: { concurrency: 2 } },
    );
    const body = Buffer.alloc(3_000_000, 1);
    const [read, doubled] = await Promise.all([running.call({ target: "/read", body }), running.call({ body })]);
    assert.equal(read.text, "3000000");
    assert.equal(doubled.body.length, 6_000_000);
    assert.equal(doubled.headers["content-type"], "text/x");
  });

  test("one answer of several megabytes arrives whole", async () => {
    const running = await deploy(`def handler(request, context): return b"ab" * 2_500_000`);
    const { body } = await running.call();
    assert.equal(body.length, 5_000_000);
    assert.equal(body.subarray(-4).toString(), "abab");
  });

  test("an exception tells its message, the user's own frames and the place", async () => {
    const running = await deploy(`
import json
def handler(request, context):
    return inner(request)

def inner(request):
    return json.loads("{")
`);
    const { error, measured } = await running.call();
    assert.ok(error instanceof VirgaError);
    assert.equal(error.code, "function_error");
    assert.match(error.message, /^JSONDecodeError: Expecting property name/);
    assert.match(error.detail.location!, /^handler\.py:7(:\d+)?$/);
    assert.match(
      error.detail.stack!,
      /File "handler\.py", line 4, in handler\n.*\n[^]*File "handler\.py", line 7, in inner/,
    );
    assert.doesNotMatch(error.detail.stack!, /_server\.py|json\/decoder/);
    assert.ok(measured!.cpuMicros >= 0);
    assert.match((await running.call()).error!.message, /JSONDecodeError/);
  });

  test("answers that are none are named, and the instance goes on", async () => {
    const running = await deploy(`
from virga import Response
def handler(request, context):
    return {"/object": object(), "/status": ("x", 99), "/header": Response("x", headers={"a": "b\\r\\nc"}), "/nan": Response({1: object()})}.get(request.path, "fine")
`);
    for (const [target, pattern] of [
      ["/object", /object is no JSON/],
      ["/status", /status must be an integer from 200 to 599, not 99/],
      ["/header", /header 'a' has characters/],
    ] as const) {
      const { error } = await running.call({ target });
      assert.equal(error?.code, "invalid_response", target);
      assert.match(error.message, pattern);
    }
    assert.equal((await running.call({ target: "/" })).text, "fine");
  });

  test("a stream that fails is cut off, one that fails at once is an error", async () => {
    const running = await deploy(`
def handler(request, context):
    if request.path == "/late":
        yield "some"
    raise ValueError("broken")
`);
    const late = await running.call({ target: "/late" });
    assert.deepEqual([late.status, late.text, late.error?.message], [200, "some", "ValueError: broken"]);
    const early = await running.call({ target: "/early" });
    assert.deepEqual([early.status, early.error?.message], [0, "ValueError: broken"]);
  });

  test("sys.exit and os._exit are crashes that say so", async () => {
    const exits = await deploy(`
import sys
def handler(request, context): sys.exit(3)`);
    const exit = await exits.call();
    assert.equal(exit.error?.code, "function_crashed");
    assert.match(exit.error.message, /sys\.exit\(3\)/);
    assert.equal((await exits.instance.exited).code, 3);
    const crashes = await deploy(`
import os, sys
def handler(request, context):
    os.write(2, b"last words\\n")
    os._exit(9)`);
    const crash = await crashes.call();
    assert.equal(crash.error?.code, "function_crashed");
    assert.match(crash.error.message, /exit code 9/);
    assert.match(crash.error.detail.log ?? "", /last words/);
  });

  test("cancelled calls are acknowledged when their handler has come to its end", async () => {
    for (const code of [
      `
def handler(request, context):
    print("in", flush=True)
    context.cancelled.wait(15)
    return "late"`,
      `
import asyncio
async def handler(request, context):
    print("in")
    await asyncio.sleep(15)`,
    ]) {
      const running = await deploy(code);
      const acknowledged = new Promise<string>((resolve) => (running.onAcknowledged = resolve));
      const call = running.call();
      await running.printed(1);
      call.handle.cancel("timeout");
      assert.equal((await call).error?.code, "timeout");
      assert.equal(await acknowledged, "call-1");
    }
  });

  test("a function calls another, from plain and from async code", async () => {
    const events: Events = {
      async callFunction(parent, request) {
        if (request.function === "missing") throw new VirgaError("not_found", "There is no function missing");
        const text = `${parent} ${request.method} ${request.path} ${Buffer.from(request.body).toString()}`;
        return { status: 201, headers: ["x-from", request.function], body: Buffer.from(text) };
      },
    };
    const plain = await deploy(
      `
from virga import CallRefused
def handler(request, context):
    answer = context.call("other", path="/p", json={"a": 1})
    try:
        context.call("missing")
    except CallRefused as error:
        return [answer.status, answer.headers["X-From"], answer.text(), error.code, str(error)]`,
      {},
      events,
    );
    assert.deepEqual(JSON.parse((await plain.call()).text), [
      201,
      "other",
      'call-1 POST /p {"a": 1}',
      "not_found",
      "There is no function missing",
    ]);
    const async = await deploy(
      `
import asyncio
async def handler(request, context):
    answers = await asyncio.gather(context.call("a"), context.call("b", method="PUT", body="x"))
    return [answer.text() for answer in answers]`,
      {},
      events,
    );
    assert.deepEqual(JSON.parse((await async.call()).text), ["call-1 GET / ", "call-1 PUT / x"]);
  });

  test("code that cannot be loaded says why and where", async () => {
    const cases: [string, string, RegExp, RegExp | undefined][] = [
      ["x = 1\nraise KeyError('setup')", "handler.py", /KeyError: 'setup'/, /^handler\.py:2/],
      [
        "def other(): pass",
        "handler.py",
        /no `def handler\(request, context\)` or `def main.*it defines `other`/,
        undefined,
      ],
      ["handler = 3", "handler.py", /`handler` in handler\.py is not a function but int/, undefined],
      [
        "import nowhere_to_be_found",
        "handler.py",
        /No module named 'nowhere_to_be_found'; packages belong in/,
        /^handler\.py:1/,
      ],
      ["def f(", "handler.py", /SyntaxError/, /^handler\.py:1:\d+$/],
      ["import sys\nsys.exit('no')", "handler.py", /ended the program while it was loaded/, /^handler\.py:2/],
      ["", "nothing.py", /nothing\.py does not exist/, undefined],
    ];
    for (const [code, handler, message, location] of cases) {
      await assert.rejects(deploy(code, { handler }), (error: VirgaError) => {
        assert.equal(error.code, "start_failed", code);
        assert.match(error.message, message);
        if (location === undefined) assert.equal(error.detail.location, undefined);
        else assert.match(error.detail.location ?? "", location);
        return true;
      });
    }
  });

  test("handlers are found by name, in folders and packages, with fewer arguments and as objects", async () => {
    const folder = bench.folder({
      "pkg/__init__.py": "",
      "pkg/deep.py": "from . import other\nclass App:\n    def run(self, request): return other.WORD\napp = App()",
      "pkg/other.py": "WORD = 'relative'",
      "src/json.py": "import sibling\ndef handler(): return sibling.WORD",
      "src/sibling.py": "WORD = 'beside'",
    });
    const inPackage = await bench.deploy(runtime, folder, configOf({ handler: "pkg/deep.py#app.run" }));
    assert.equal((await inPackage.call()).text, "relative");
    const inFolder = await bench.deploy(runtime, folder, configOf({ handler: "src/json.py" }));
    assert.equal((await inFolder.call()).text, "beside");
  });

  test("a forked child and a started program print through the pipes and leave the link alone", async () => {
    const running = await deploy(`
import os, subprocess, multiprocessing
def handler(request, context):
    child = os.fork()
    if child == 0:
        print("from the child", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    subprocess.run(["sh", "-c", "echo from a program; echo $(ls /proc/self/fd)"], check=True)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2])
`);
    assert.equal((await running.call()).text, "[1,2]");
    await running.printed(3);
    const lines = running.logs.map(({ text }) => text.trim()).sort();
    assert.deepEqual(lines.slice(1), ["from a program", "from the child"]);
    assert.match(lines[0]!, /^0 1 2 3$/, "3 is ls's own folder");
  });

  test("a drained instance ends by itself with the exit code 0 when its calls are done", async () => {
    for (const prefix of ["", "async "]) {
      const running = await deploy(`
import time, atexit
atexit.register(lambda: print("goodbye"))
${prefix}def handler(request, context):
    print("in")
    time.sleep(0.2)
    return "done"`);
      const call = running.call();
      await running.printed(1);
      const [answer, report] = await Promise.all([call, running.instance.stop(10_000)]);
      assert.equal(answer.text, "done");
      assert.equal(report.code, 0);
      assert.equal(running.logs.at(-1)?.text, "goodbye");
    }
  });
});
