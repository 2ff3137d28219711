import assert from "node:assert/strict";
import { after, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import type { NestedCall } from "../../../src/ports/runtime.ts";
import { begin, Harness, invoke } from "./harness.ts";
import { plainSandbox } from "./plain-sandbox.ts";

const harness = new Harness(plainSandbox());
after(() => harness.close());

/** One instance for all that needs no instance of its own: `/name` runs the handler of that name. */
const gallery = await harness.serve(
  {
    "index.mjs": String.raw`
import { Readable } from "node:stream";
const handlers = {
  text: () => "plain",
  bytes: () => new Uint8Array([1, 2, 3]),
  nothing: () => undefined,
  json: () => ({ a: [1, "ü"] }),
  number: () => 7,
  symbol: () => Symbol("x"),
  bigint: () => ({ n: 1n }),
  response: () => new Response("made", { status: 201, headers: { "X-Own": "yes", "content-type": "text/html" } }),
  "response-json": () => Response.json({ ok: true }, { status: 202 }),
  redirect: () => Response.redirect("http://elsewhere.example/x", 303),
  cookies: () => { const h = new Headers(); h.append("set-cookie", "a=1"); h.append("set-cookie", "b=2"); return new Response(null, { headers: h }); },
  form: async (request) => { const form = await request.formData(); return { name: form.get("name"), file: await form.get("file").text() }; },
  "form-out": () => { const form = new FormData(); form.set("k", "v"); return new Response(form); },
  parameters: () => new Response(new URLSearchParams({ q: "a b" })),
  blob: () => new Response(new Blob(["blob"], { type: "image/x" })),
  empty: () => new Response(),
  "bad-status": () => new Response("", { status: 1000 }),
  "bad-header": () => new Response("", { headers: { x: "a\nb" } }),
  "bad-204": () => new Response("body", { status: 204 }),
  used: async () => { const r = new Response("x"); await r.text(); return r; },
  echo: async (request) => new Response(await request.arrayBuffer(), { headers: { "content-type": request.headers.get("content-type") ?? "none" } }),
  "echo-stream": (request) => new Response(request.body),
  "echo-node": (request) => new Response(Readable.fromWeb(request.body)),
  length: async (request) => { let n = 0; for await (const chunk of request.body) n += chunk.length; return { n }; },
  twice: async (request) => { await request.text(); return request.text(); },
  clone: async (request) => { const copy = request.clone(); return (await copy.text()) + (await request.text()); },
  rewrap: async (request) => { const other = new Request(request, { headers: { "x-new": "1" } }); return { url: other.url, method: other.method, isNew: other.headers.get("x-new"), body: await other.text() }; },
  generator: async function* () { yield "one,"; yield new TextEncoder().encode("two"); },
  node: () => new Response(Readable.from(["a", "b"])),
  large: () => "x".repeat(3_000_000),
  "large-stream": () => new Response(new ReadableStream({ start(c) { for (let i = 0; i < 300; i++) c.enqueue(new Uint8Array(10_000)); c.close(); } })),
  "mid-stream": async function* () { yield "begun"; throw new RangeError("broke off"); },
  throws: () => { throw new TypeError("no good"); },
  "throws-string": () => { throw "just text"; },
  rejects: async () => { await null; null.x; },
  instances: (request) => ({
    request: request instanceof Request, response: new Response() instanceof Response, headers: request.headers instanceof Headers,
    tag: String(request), url: request.url, method: request.method, signal: request.signal instanceof AbortSignal, path: new URL(request.url).pathname,
  }),
  context: (request, context) => ({ ...context, namespace: context.namespace, function: context.function, revision: context.revision,
    remaining: context.remainingMs() > 0, signal: context.signal.aborted }),
  logs: async (request, context) => {
    console.log("to %s", "stdout", { a: 1 }); console.error("to stderr"); process.stdout.write("half ");
    await new Promise((resolve) => setTimeout(resolve, 1));
    process.stdout.write("line\nand an end without one"); context.log.info("by %s", "context"); context.log.warn("first\nsecond"); return null;
  },
  environment: () => ({ own: process.env.OWN, cwd: process.cwd(), mode: process.env.NODE_ENV }),
  "fetch-data": async () => { const r = await fetch("data:text/plain,hi"); return { text: await r.text(), is: r instanceof Response, headers: r.headers instanceof Headers }; },
  "pass-on": () => fetch("data:text/css,p{}"),
  inherit: () => { class Own extends Response { get own() { return 1; } } const o = new Own("own"); return new Response(JSON.stringify([o instanceof Own, new Response() instanceof Own, o.own])); },
  "used-processor": () => { const { user, system } = process.cpuUsage(); return user + system; },
  spin: () => { const end = performance.now() + 1; while (performance.now() < end); return "spun"; },
  burn: () => { const cpu = () => { const { user, system } = process.cpuUsage(); return user + system; }; const end = cpu() + 40_000; while (cpu() < end); return "burnt"; },
  nested: async (request, context) => { const r = await context.call("other", { method: "PUT", path: "/p?q", json: { n: 1 }, headers: { "X-A": "b" } }); return { status: r.status, ok: r.ok, type: r.headers.get("content-type"), body: await r.json() }; },
  "nested-fails": async (request, context) => { try { await context.call("nowhere"); } catch (error) { return { code: error.code, message: error.message }; } },
  headers: (request) => [...request.headers],
};
export default (request, context) => handlers[new URL(request.url).pathname.slice(1)](request, context);
`,
  },
  { environment: { OWN: "set" } },
);

const ask = (name: string, call: Parameters<typeof invoke>[1] = {}) => invoke(gallery, { target: `/${name}`, ...call });

test("a handler's entry for texts takes the calls whose body says all", async () => {
  const instance = await harness.serve({
    "index.mjs": String.raw`
      const handle = async (request) => "the web's way: " + (await request.text());
      const ways = {
        json: async () => '{"ok":true}',
        large: async () => JSON.stringify("x".repeat(2 ** 21)),
        response: async () => new Response("no", { status: 502 }),
        logs: async () => { console.log("said"); return "{}"; },
        throws: () => { throw new TypeError("no good"); },
        rejects: async () => { null.x; },
        hangs: () => new Promise(() => {}),
      };
      handle[Symbol.for("virga.text-entry")] = (text) => ways[text]();
      export default handle;`,
  });
  const say = (text: string, bodySuffices = true) =>
    begin(instance, { method: "POST", body: Buffer.from(text), bodySuffices });
  const json = await say("json").done;
  assert.deepEqual([json.status, json.header("content-type"), json.text], [200, "application/json", '{"ok":true}']);
  assert.equal((await say("json", false).done).text, "the web's way: json");
  assert.equal((await say("large").done).bytes.length, 2 ** 21 + 2);
  const response = await say("response").done;
  assert.deepEqual([response.status, response.text], [502, "no"]);
  await invoke(instance, { id: "logging", method: "POST", body: Buffer.from("logs"), bodySuffices: true });
  assert.deepEqual(
    harness.logs.filter(({ text }) => text === "said").map(({ invocation }) => invocation),
    ["logging"],
  );
  for (const [way, message] of [
    ["throws", "no good"],
    ["rejects", "Cannot read properties of null"],
  ] as const) {
    const { error } = await say(way).done;
    assert.equal(error?.code, "function_error");
    assert.ok(error.message.includes(message), error.message);
  }
  const hanging = say("hangs");
  hanging.handle.cancel("timeout");
  assert.equal((await hanging.done).error?.code, "timeout");
  assert.equal((await say("json").done).text, '{"ok":true}');
});

test("a returned value becomes an answer by its kind", async () => {
  const of = async (name: string): Promise<unknown[]> => {
    const answer = await ask(name);
    return [answer.status, answer.header("content-type"), answer.text];
  };
  assert.deepEqual(await of("text"), [200, "text/plain;charset=UTF-8", "plain"]);
  assert.deepEqual(await of("bytes"), [200, "application/octet-stream", "\u0001\u0002\u0003"]);
  assert.deepEqual(await of("nothing"), [204, undefined, ""]);
  assert.deepEqual(await of("json"), [200, "application/json", '{"a":[1,"ü"]}']);
  assert.deepEqual(await of("number"), [200, "application/json", "7"]);
});

test("a Response is answered as it was made", async () => {
  const made = await ask("response");
  assert.equal(made.status, 201);
  assert.deepEqual(made.headers, ["x-own", "yes", "content-type", "text/html"]);
  assert.equal(made.text, "made");
  const json = await ask("response-json");
  assert.deepEqual([json.status, json.header("content-type"), json.text], [202, "application/json", '{"ok":true}']);
  const redirect = await ask("redirect");
  assert.deepEqual([redirect.status, redirect.header("location")], [303, "http://elsewhere.example/x"]);
  assert.deepEqual((await ask("cookies")).headers, ["set-cookie", "a=1", "set-cookie", "b=2"]);
  const empty = await ask("empty");
  assert.deepEqual([empty.status, empty.headers, empty.text], [200, [], ""]);
});

test("bodies of every kind are sent with the type that they imply", async () => {
  const parameters = await ask("parameters");
  assert.equal(parameters.text, "q=a+b");
  assert.match(parameters.header("content-type")!, /^application\/x-www-form-urlencoded/);
  const blob = await ask("blob");
  assert.deepEqual([blob.text, blob.header("content-type")], ["blob", "image/x"]);
  const form = await ask("form-out");
  const boundary = /boundary=(.*)/.exec(form.header("content-type")!)![1];
  assert.equal(form.text, `--${boundary}\r\ncontent-disposition: form-data; name="k"\r\n\r\nv\r\n--${boundary}--\r\n`);
});

test("an answer that cannot be one fails with a message that says why", async () => {
  const failure = async (name: string): Promise<string> => {
    const { error } = await ask(name);
    return `${error?.code}: ${error?.message}`;
  };
  assert.match(await failure("symbol"), /^invalid_response: .*symbol/);
  assert.match(await failure("bigint"), /^invalid_response: .*BigInt/);
  assert.match(await failure("bad-status"), /^function_error: RangeError: .*1000/);
  assert.match(await failure("bad-header"), /^function_error: TypeError: .*value of x/);
  assert.match(await failure("bad-204"), /^function_error: TypeError: .*204/);
  assert.match(await failure("used"), /^invalid_response: .*read already/);
});

test("a request's body can be read whole, as a stream, cloned, and only once", async () => {
  const body = Buffer.from("some ü body");
  const post = (name: string, headers: string[] = []) => ask(name, { method: "POST", body, headers });
  const echo = await post("echo", ["content-type", "a/b"]);
  assert.deepEqual([echo.text, echo.header("content-type")], ["some ü body", "a/b"]);
  assert.equal((await post("echo-stream")).text, "some ü body");
  assert.equal((await post("echo-node")).text, "some ü body");
  assert.equal((await post("clone")).text, "some ü bodysome ü body");
  assert.deepEqual(JSON.parse((await post("rewrap")).text), {
    url: "http://probe.tests.localhost/rewrap",
    method: "POST",
    isNew: "1",
    body: "some ü body",
  });
  assert.match((await post("twice")).error!.message, /read already/);
});

test("a form is parsed, files included", async () => {
  const body = Buffer.from(
    '--b\r\ncontent-disposition: form-data; name="name"\r\n\r\nvirga\r\n' +
      '--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\ncontent-type: text/plain\r\n\r\ncontent\r\n--b--\r\n',
  );
  const answer = await ask("form", {
    method: "POST",
    body,
    headers: ["content-type", "multipart/form-data; boundary=b"],
  });
  assert.deepEqual(JSON.parse(answer.text), { name: "virga", file: "content" });
});

test("a body larger than the window streams in under flow control", async () => {
  const sink = begin(gallery, { target: "/length", method: "POST", body: undefined });
  const chunk = Buffer.alloc(100_000);
  for (let sent = 0; sent < 50; sent++) {
    if (!sink.handle.write(chunk)) await new Promise<void>((resolve) => (sink.handle.onDrain = resolve));
  }
  sink.handle.end();
  assert.equal((await sink.done).text, '{"n":5000000}');
});

test("a streamed request is answered while it is still being sent", async () => {
  const sink = begin(gallery, { target: "/echo-stream", method: "POST", body: undefined });
  const first = new Promise<string>((resolve) => {
    sink.onData = (chunk) => {
      resolve(Buffer.from(chunk).toString());
      return true;
    };
  });
  sink.handle.write(Buffer.from("ping"));
  assert.equal(await first, "ping");
  sink.handle.write(Buffer.from("pong"));
  sink.handle.end();
  assert.equal((await sink.done).text, "pingpong");
});

test("generators and Node streams are answers", async () => {
  assert.equal((await ask("generator")).text, "one,two");
  assert.equal((await ask("node")).text, "ab");
});

test("a large answer arrives whole, also when its reader pauses at each chunk", async () => {
  assert.equal((await ask("large")).bytes.length, 3_000_000);
  const sink = begin(gallery, { target: "/large-stream" });
  sink.onData = () => {
    setImmediate(() => sink.handle.resume());
    return false;
  };
  assert.equal((await sink.done).bytes.length, 3_000_000);
});

test("an error while streaming cuts the answer off after its head", async () => {
  const answer = await ask("mid-stream");
  assert.deepEqual([answer.status, answer.text], [200, "begun"]);
  assert.deepEqual([answer.error?.code, answer.error?.message], ["function_error", "RangeError: broke off"]);
});

test("a thrown error carries its message, a stack of the function's own frames and its place", async () => {
  const { error, measured } = await ask("throws");
  assert.equal(error?.code, "function_error");
  assert.equal(error.message, "TypeError: no good");
  assert.match(error.detail.location!, /^index\.mjs:\d+:\d+$/);
  assert.match(error.detail.stack!, /^TypeError: no good\n {4}at .*\(?index\.mjs:\d+:\d+\)?/);
  assert.doesNotMatch(error.detail.stack!, /node:|guest|\/tmp/);
  assert.ok(measured!.memoryPeakBytes > 2 ** 20);
  assert.match((await ask("rejects")).error!.message, /^TypeError: Cannot read properties of null/);
  assert.match((await ask("throws-string")).error!.message, /just text/);
});

test("the request is the web's, the context has what it promises", async () => {
  assert.deepEqual(JSON.parse((await ask("instances")).text), {
    request: true,
    response: true,
    headers: true,
    tag: "[object Request]",
    url: "http://probe.tests.localhost/instances",
    method: "GET",
    signal: true,
    path: "/instances",
  });
  const { deadline, id, ...rest } = JSON.parse(
    (await ask("context", { attempt: 2, traceparent: "00-1", idempotencyKey: "k" })).text,
  ) as Record<string, unknown>;
  assert.ok(typeof deadline === "number" && typeof id === "string" && id.startsWith("call-"));
  assert.deepEqual(rest, {
    attempt: 2,
    traceparent: "00-1",
    idempotencyKey: "k",
    namespace: "tests",
    function: "probe",
    revision: 7,
    remaining: true,
    signal: false,
  });
  assert.deepEqual(JSON.parse((await ask("headers", { headers: ["b", "1", "a", "2", "b", "3"] })).text), [
    ["a", "2"],
    ["b", "1, 3"],
  ]);
});

test("what a call prints is logged as of that call, line by line", async () => {
  harness.logs.length = 0;
  await ask("logs", { id: "the-call" });
  const lines = harness.logs.filter(({ invocation }) => invocation === "the-call");
  assert.deepEqual(
    lines.map(({ stream, text }) => `${stream} ${text}`),
    [
      "stdout to stdout { a: 1 }",
      "stderr to stderr",
      "stdout half line",
      "stdout by context",
      "stderr first",
      "stderr second",
      "stdout and an end without one",
    ],
  );
});

test("the environment and the working directory are the function's", async () => {
  const { own, cwd, mode } = JSON.parse((await ask("environment")).text) as Record<string, string>;
  assert.deepEqual([own, mode], ["set", "production"]);
  assert.ok(cwd!.startsWith(harness.root));
});

test("Node's own fetch works, and its answer can be passed on", async () => {
  assert.deepEqual(JSON.parse((await ask("fetch-data")).text), { text: "hi", is: true, headers: true });
  const passed = await ask("pass-on");
  assert.deepEqual([passed.status, passed.header("content-type"), passed.text], [200, "text/css", "p{}"]);
});

test("a class that extends Response is its own", async () => {
  assert.equal((await ask("inherit")).text, "[true,false,1]");
});

test("the processor time of a call is measured", async () => {
  const { measured } = await ask("burn");
  assert.ok(measured!.cpuMicros > 30_000, `${measured!.cpuMicros} µs`);
});

test("calls that end in quick succession are charged with all that they used together", async () => {
  const used = async (): Promise<number> => Number((await ask("used-processor")).text);
  await Promise.all(Array.from({ length: 50 }, () => ask("text")));
  const before = await used();
  const calls = await Promise.all(Array.from({ length: 400 }, (_, n) => ask(n % 10 === 0 ? "spin" : "text")));
  const charged = calls.reduce((sum, { measured }) => sum + measured!.cpuMicros, 0);
  const actual = (await used()) - before;
  assert.ok(Math.abs(charged - actual) < 0.1 * actual, `${charged} of ${actual} µs`);
});

test("another function is called through the context", async () => {
  let asked: NestedCall | undefined;
  harness.answerNested = (_parent, request) => {
    asked = request;
    return request.function === "other"
      ? Promise.resolve({ status: 202, headers: ["content-type", "a/json"], body: Buffer.from('{"r":2}') })
      : Promise.reject(new VirgaError("not_found", "There is no function nowhere"));
  };
  assert.deepEqual(JSON.parse((await ask("nested")).text), { status: 202, ok: true, type: "a/json", body: { r: 2 } });
  assert.deepEqual([asked!.function, asked!.method, asked!.path], ["other", "PUT", "/p?q"]);
  assert.deepEqual(asked!.headers, ["x-a", "b", "content-type", "application/json"]);
  assert.equal(Buffer.from(asked!.body).toString(), '{"n":1}');
  assert.deepEqual(JSON.parse((await ask("nested-fails")).text), {
    code: "not_found",
    message: "nowhere: There is no function nowhere",
  });
});

test("many calls at once each get their own answer and their own log lines", async () => {
  const instance = await harness.serve(
    {
      "index.mjs": `export default async (request) => {
        const n = new URL(request.url).searchParams.get("n");
        await new Promise((resolve) => setTimeout(resolve, Number(n) % 7));
        console.log("line", n);
        await null;
        return n;
      };`,
    },
    { limits: { concurrency: 100 } },
  );
  harness.logs.length = 0;
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, n) => invoke(instance, { id: `many-${n}`, target: `/?n=${n}` })),
  );
  assert.deepEqual(
    answers.map(({ text }) => text),
    answers.map((_, n) => `${n}`),
  );
  const lines = harness.logs.filter(({ invocation }) => invocation?.startsWith("many-"));
  assert.equal(lines.length, 300);
  for (const { invocation, text } of lines) assert.equal(`many-${text.slice(5)}`, invocation);
});

test("a cancelled call aborts its signal, fails at once, and its real end is told", async () => {
  const instance = await harness.serve({
    "index.mjs": `export default (request, context) => new Promise((resolve) => {
      context.signal.addEventListener("abort", () => { console.log(context.signal.reason.name, request.signal.aborted); resolve("late"); });
    });`,
  });
  const sink = begin(instance, { id: "left" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  sink.handle.cancel("cancelled");
  assert.equal((await sink.done).error?.code, "cancelled");
  await until(() => harness.acknowledged.includes("left"));
  assert.ok(harness.logs.some(({ invocation, text }) => invocation === "left" && text === "AbortError true"));
  const timed = begin(instance, { id: "timed" });
  timed.handle.cancel("timeout");
  assert.equal((await timed.done).error?.code, "timeout");
  await until(() => harness.acknowledged.includes("timed"));
});

test("a stream whose reader has left is closed in the function", async () => {
  const instance = await harness.serve({
    "index.mjs": `export default async function* (request, context) {
      try { for (let n = 0; ; n++) { yield "tick\\n"; await new Promise((resolve) => setTimeout(resolve, 1)); } }
      finally { console.log("closed"); }
    }`,
  });
  const sink = begin(instance, { id: "stream-left" });
  await until(() => sink.chunks.length > 2);
  sink.handle.cancel("cancelled");
  await until(() => harness.acknowledged.includes("stream-left"));
  assert.ok(harness.logs.some(({ text }) => text === "closed"));
});

test("an unhandled rejection fails its own call with its stack and ends the instance", async () => {
  const instance = await harness.serve(
    {
      "index.mjs": `export default (request) => request.url.endsWith("/bad")
        ? (setTimeout(() => Promise.reject(new Error("nobody cared")), 5), new Promise(() => {}))
        : new Promise(() => {});`,
    },
    { limits: { concurrency: 5 } },
  );
  const neighbour = begin(instance, { target: "/good" });
  const bad = await invoke(instance, { target: "/bad" });
  assert.equal(bad.error?.code, "function_crashed");
  assert.equal(bad.error.message, "Unhandled rejection: nobody cared");
  assert.match(bad.error.detail.location!, /^index\.mjs:2:/);
  assert.match((await neighbour.done).error!.message, /^Another call ended the instance/);
  assert.equal((await instance.exited).code, 1);
});

test("an uncaught exception fails its own call with its stack and ends the instance", async () => {
  const instance = await harness.serve({
    "index.mjs": `export default () => new Promise(() => { setTimeout(() => { throw new RangeError("out there"); }, 1); });`,
  });
  const { error } = await invoke(instance);
  assert.deepEqual([error?.code, error?.message], ["function_crashed", "Uncaught exception: RangeError: out there"]);
  assert.equal((await instance.exited).code, 1);
});

test("process.exit in a call fails it and says so", async () => {
  const instance = await harness.serve({
    "index.mjs": `export default () => { console.log("last words"); process.exit(3); };`,
  });
  const { error } = await invoke(instance, { id: "exits" });
  assert.equal(error?.code, "function_crashed");
  assert.equal(error.message, "The function called process.exit(3)");
  assert.equal(error.detail.location?.slice(0, 10), "index.mjs:");
  assert.equal((await instance.exited).code, 3);
  assert.ok(harness.logs.some(({ invocation, text }) => invocation === "exits" && text === "last words"));
});

test("a program that is killed in a call fails it with the last lines of its output", async () => {
  const instance = await harness.serve({
    "index.mjs": `import { writeSync } from "node:fs";
      export default () => { writeSync(2, "native trouble\\n"); process.kill(process.pid, "SIGKILL"); return new Promise(() => {}); };`,
  });
  const { error } = await invoke(instance);
  assert.equal(error?.code, "function_crashed");
  assert.match(error.message, /SIGKILL/);
  assert.equal(error.detail.log, "native trouble");
});

test("a full heap is an out_of_memory, not a crash", async () => {
  const instance = await harness.serve(
    { "index.mjs": `export default () => { const all = []; for (;;) all.push(new Array(1000).fill({})); };` },
    { limits: { memoryMb: 64 } },
  );
  const { error } = await invoke(instance);
  assert.equal(error?.code, "out_of_memory");
  assert.equal(error.detail.field, "limits.memoryMb");
});

test("a function that writes to the link's descriptor loses its own instance and nothing else", async () => {
  const instance = await harness.serve({
    "index.mjs": `import { writeSync } from "node:fs";
      export default () => { writeSync(3, Buffer.alloc(40, 255)); return new Promise(() => {}); };`,
  });
  const { error } = await invoke(instance);
  assert.equal(error?.code, "function_crashed");
  assert.match(error.message, /broke the instance link/);
  await instance.exited;
  assert.equal((await ask("text")).text, "plain");
});

test("a function that logs without end is held back, not swollen", async () => {
  const instance = await harness.serve(
    {
      "index.mjs": `export default () => { for (let n = 0; n < 200_000; n++) console.log("line " + n + " of many, many lines"); return "done"; };`,
    },
    { limits: { memoryMb: 128 } },
  );
  harness.logs.length = 0;
  const { text, error } = await invoke(instance, { id: "floods" });
  assert.deepEqual([text, error], ["done", undefined]);
  assert.equal(harness.logs.filter(({ invocation }) => invocation === "floods").length, 200_000);
});

test("a drained instance finishes its call and what it waits for, then ends by itself", async () => {
  const instance = await harness.serve({
    "index.mjs": `export default (request, context) => {
      context.waitUntil(new Promise((resolve) => setTimeout(() => { console.log("afterwards"); resolve(); }, 60)));
      return new Promise((resolve) => setTimeout(resolve, 20, "done"));
    };`,
  });
  const call = begin(instance);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const report = await instance.stop(5000);
  assert.equal((await call.done).text, "done");
  assert.deepEqual([report.code, report.signal], [0, null]);
  assert.ok(harness.logs.some(({ text }) => text === "afterwards"));
});

test("what goes wrong behind an answer is a line of the log, and the instance goes on", async () => {
  const instance = await harness.serve({
    "index.mjs": `export default (request, context) => {
      context.waitUntil(new Promise((resolve, reject) => setTimeout(reject, 10, new Error("no such gate"))));
      return "done";
    };`,
  });
  harness.logs.length = 0;
  assert.equal((await invoke(instance, { id: "leaves" })).text, "done");
  await until(() => harness.logs.length > 0);
  assert.match(harness.logs[0]!.text, /^context\.waitUntil: Error: no such gate/);
  assert.equal((await invoke(instance)).text, "done");
});

test("an instance that does not drain in time is killed", async () => {
  const instance = await harness.serve({ "index.mjs": "export default () => new Promise(() => {});" });
  const call = begin(instance);
  const report = await instance.stop(50);
  assert.equal(report.signal, "SIGKILL");
  assert.equal((await call.done).error?.code, "function_crashed");
});

async function until(holds: () => boolean): Promise<void> {
  const giveUpAt = Date.now() + 5000;
  while (!holds()) {
    if (Date.now() > giveUpAt) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
