import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { defaultLimits } from "../../src/core/defaults.ts";
import { VirgaError } from "../../src/core/errors.ts";
import { RawConnection } from "./raw.ts";
import { echo, type Rig, type ScriptedCall, startRig } from "./rig.ts";

interface Echoed {
  method: string;
  target: string;
  url: string;
  headers: string[];
  body: string;
}

function headerOf({ headers }: Echoed, name: string): string | undefined {
  const index = headers.findIndex((text, at) => at % 2 === 0 && text === name);
  return index === -1 ? undefined : headers[index + 1];
}

describe("function calls", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    await rig.add("echo", echo);
    await rig.add("private", echo, { public: false });
    await rig.add("other/echo", echo, { public: false });
  });
  after(() => rig[Symbol.asyncDispose]());

  async function echoed(path: string, init: Parameters<Rig["fetch"]>[1] = {}): Promise<Echoed> {
    const response = await rig.fetch(path, { token: "", ...init });
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as Echoed;
  }

  test("a function URL hands on method, path and query as they were written", async () => {
    const answer = await echoed("/f/default/echo/a%20b/c?x=1&y=%2F");
    assert.equal(answer.method, "GET");
    assert.equal(answer.target, "/a%20b/c?x=1&y=%2F");
    assert.equal(answer.url, `${rig.url}/f/default/echo/a%20b/c?x=1&y=%2F`);
    assert.equal((await echoed("/f/default/echo")).target, "/");
    assert.equal((await echoed("/f/default/echo?q")).target, "/?q");
  });

  test("a host name reaches its function, whatever the path says", async () => {
    const raw = new RawConnection(rig.port);
    raw.send("GET /v1/namespaces HTTP/1.1\r\nhost: Echo.default.localhost:80\r\n\r\n");
    const { status, body } = await raw.answer();
    assert.equal(status, 200);
    assert.equal((JSON.parse(body) as Echoed).target, "/v1/namespaces");
    raw.close();
  });

  test("the invoke API needs a token though the function be public", async () => {
    const path = "/v1/namespaces/default/functions/echo/invoke/deep?q=1";
    assert.equal((await rig.fetch(path, { token: "" })).status, 401);
    const answer = await echoed(path, { token: rig.token, method: "PATCH" });
    assert.deepEqual([answer.method, answer.target], ["PATCH", "/deep?q=1"]);
  });

  test("a private function answers 401 without a token, and its token never reaches it", async () => {
    const refused = await rig.fetch("/f/default/private", { token: "" });
    assert.equal(refused.status, 401);
    assert.match(refused.headers.get("www-authenticate") ?? "", /^Bearer/);
    assert.equal((await rig.fetch("/f/default/private", { token: "vrg_wrong" })).status, 401);
    const answer = await echoed("/f/default/private", { token: rig.token });
    assert.equal(headerOf(answer, "authorization"), undefined);
  });

  test("a public function gets its callers' own credentials, but never one of the platform's", async () => {
    const own = await echoed("/f/default/echo", { headers: { authorization: "Basic dTpw" } });
    assert.equal(headerOf(own, "authorization"), "Basic dTpw");
    const ours = await echoed("/f/default/echo", { token: rig.token });
    assert.equal(headerOf(ours, "authorization"), undefined);
  });

  test("a token of another namespace sees as little of a function as of one that does not exist", async () => {
    const { secret } = await rig.engine.access.createToken({
      description: "",
      namespaces: ["default"],
      role: "invoke",
    });
    const hidden = await rig.fetch("/f/other/echo", { token: secret });
    const missing = await rig.fetch("/f/other/nothing", { token: secret });
    assert.deepEqual([hidden.status, missing.status], [404, 404]);
    const code = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code;
    assert.equal(await code(hidden), await code(missing));
    assert.equal((await rig.fetch("/f/default/private", { token: secret })).status, 200);
  });

  test("hop-by-hop headers and the platform's own names are taken out, what tells of the caller is put in", async () => {
    const raw = new RawConnection(rig.port);
    raw.send(
      "GET /f/default/echo HTTP/1.1\r\nHost: x.example:99\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n",
      "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Virga-Param-id: forged\r\nX-Kept: yes\r\n\r\n",
    );
    const answer = JSON.parse((await raw.answer()).body) as Echoed;
    raw.close();
    for (const name of ["connection", "x-secret", "te", "x-virga-param-id"]) {
      assert.equal(headerOf(answer, name), undefined, name);
    }
    assert.equal(headerOf(answer, "x-kept"), "yes");
    assert.equal(headerOf(answer, "x-forwarded-for"), "127.0.0.1");
    assert.equal(headerOf(answer, "x-forwarded-proto"), "http");
    assert.equal(headerOf(answer, "x-forwarded-host"), "x.example:99");
  });

  test("behind a trusted proxy its word about the caller is handed on", async () => {
    await using trusting = await startRig({ config: { trustForwarded: true } });
    await trusting.add("echo", echo);
    const headers = { "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https", "x-forwarded-host": "shop.example" };
    const answer = (await (await trusting.fetch("/f/default/echo", { headers })).json()) as Echoed;
    assert.equal(headerOf(answer, "x-forwarded-for"), "6.6.6.6, 127.0.0.1");
    assert.equal(headerOf(answer, "x-forwarded-proto"), "https");
    assert.equal(headerOf(answer, "x-forwarded-host"), "shop.example");
  });

  test("request id and trace context are kept where they are valid and made where they are not", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const given = await rig.fetch("/f/default/echo", {
      headers: { "x-request-id": "abc", traceparent, tracestate: "a=1" },
    });
    const answer = (await given.json()) as Echoed;
    assert.equal(given.headers.get("x-request-id"), "abc");
    assert.equal(headerOf(answer, "x-request-id"), "abc");
    assert.equal(headerOf(answer, "traceparent"), traceparent);
    assert.equal(headerOf(answer, "tracestate"), "a=1");
    assert.equal(rig.calls.at(-1)?.request.cause.traceparent, traceparent);
    const bad = await rig.fetch("/f/default/echo", { headers: { traceparent: "00-0-0-0", tracestate: "a=1" } });
    const made = (await bad.json()) as Echoed;
    assert.match(headerOf(made, "traceparent") ?? "", /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.equal(headerOf(made, "tracestate"), undefined);
    assert.ok((bad.headers.get("x-request-id") ?? "").length > 10);
    assert.equal(bad.headers.get("x-virga-invocation"), rig.calls.at(-1)?.id);
  });

  test("every answer has a request id, those of what is no function too", async () => {
    for (const path of [
      "/f/default/none",
      "/nowhere",
      "/f/default/x%00",
      "/healthz",
      "/readyz",
      "/metrics",
      "/v1",
      "/v1/x",
    ]) {
      for (const token of ["", rig.token]) {
        const response = await rig.fetch(path, { token, headers: { "x-request-id": "mine" } });
        await response.body?.cancel();
        assert.equal(response.headers.get("x-request-id"), "mine", path);
      }
    }
  });

  test("a small body is handed over whole, also where it comes in pieces; a large one is streamed", async () => {
    const small = await echoed("/f/default/echo", { method: "POST", body: "hello" });
    assert.equal(Buffer.from(small.body, "base64").toString(), "hello");
    assert.notEqual(rig.calls.at(-1)?.request.body, undefined);

    const before = rig.calls.length;
    const raw = new RawConnection(rig.port);
    raw.send("POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(rig.calls.length, before, "no instance waits for a slow small body");
    raw.send("def");
    const pieces = JSON.parse((await raw.answer()).body) as Echoed;
    assert.equal(Buffer.from(pieces.body, "base64").toString(), "abcdef");
    raw.close();

    const large = Buffer.alloc(300_000, "x");
    const streamed = await echoed("/f/default/echo", { method: "POST", body: large });
    assert.equal(Buffer.from(streamed.body, "base64").compare(large), 0);
    assert.equal(rig.calls.at(-1)?.request.body, undefined);
  });

  test("one connection serves calls with bodies one after another", async () => {
    const raw = new RawConnection(rig.port);
    for (const text of ["one", "two", "three"]) {
      raw.send(`POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: ${text.length}\r\n\r\n${text}`);
      const answer = JSON.parse((await raw.answer()).body) as Echoed;
      assert.equal(Buffer.from(answer.body, "base64").toString(), text);
    }
    raw.close();
  });

  test("pipelined calls are answered in their order", async () => {
    const order: ScriptedCall[] = [];
    await rig.add("ordered", (call) => {
      order.push(call);
      // The last one is ready first.
      if (order.length === 3) for (const one of order.toReversed()) one.answer(200, [], one.request.target);
    });
    const raw = new RawConnection(rig.port);
    raw.send(["/1", "/2", "/3"].map((path) => `GET /f/default/ordered${path} HTTP/1.1\r\nhost: x\r\n\r\n`).join(""));
    for (const path of ["/1", "/2", "/3"]) assert.equal((await raw.answer()).body, path);
    raw.close();
  });

  test("a body that is declared too large is refused at once, and the connection serves no half request", async () => {
    await rig.add("narrow", echo, { limits: { ...defaultLimits, requestBytes: 100 } });
    const raw = new RawConnection(rig.port);
    raw.send("POST /f/default/narrow HTTP/1.1\r\nhost: x\r\ncontent-length: 200\r\n\r\n");
    const { status, body } = await raw.answer();
    assert.equal(status, 413);
    assert.match(body, /100 bytes/);
    // The rest of the body is thrown away; what comes after it is a request of its own.
    raw.send("GET /f/default/none HTTP/1.1\r\n\r\n".padEnd(200, "x"));
    raw.send("GET /f/default/narrow HTTP/1.1\r\nhost: x\r\n\r\n");
    assert.equal((await raw.answer()).status, 200);
    raw.close();
  });

  test("a chunked body that grows too large ends the call with 413", async () => {
    await rig.add("chunked", () => undefined, { limits: { ...defaultLimits, requestBytes: 1000 } });
    const raw = new RawConnection(rig.port);
    raw.send("POST /f/default/chunked HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    for (let index = 0; index < 3; index++) raw.send(`190\r\n${"x".repeat(400)}\r\n`);
    assert.equal((await raw.answer()).status, 413);
    assert.equal(rig.calls.at(-1)?.cancelled, "cancelled");
    raw.close();
  });

  test("a request body is read at the pace of its function", async () => {
    let call: ScriptedCall | undefined;
    const sized = { limits: { ...defaultLimits, requestBytes: 64 * 2 ** 20 } };
    await rig.add(
      "slow",
      (started) => {
        call = started;
        started.accepting = false;
      },
      sized,
    );
    const size = 16 * 2 ** 20;
    const sent = rig.fetch("/f/default/slow", { method: "POST", body: Buffer.alloc(size) });
    const length = (): number => call?.body.length ?? 0;
    await eventually(() => length() > 0);
    const paused = length();
    assert.ok(paused < size, "a first part came");
    // A connection that is not paused would deliver the rest in this time many times over.
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.ok(length() < size / 2, `${length()} bytes came though the function takes none`);
    assert.ok(call !== undefined);
    call.accepting = true;
    const { onDrain } = call;
    onDrain?.();
    await eventually(() => call?.bodyEnded === true);
    assert.equal(length(), size);
    call.answer(200, [], "ok");
    assert.equal(await (await sent).text(), "ok");
  });

  test("an asynchronous call is accepted with 202 and where to ask for it", async () => {
    const headers = { prefer: "respond-async, wait=10", "idempotency-key": "k1" };
    const first = await rig.fetch("/f/default/echo/path", { method: "POST", body: "later", headers });
    assert.equal(first.status, 202);
    const body = (await first.json()) as { id: string; duplicate: boolean; status: string };
    assert.equal(first.headers.get("location"), `/v1/namespaces/default/invocations/${body.id}`);
    assert.equal(body.status, first.headers.get("location"));
    assert.equal(Buffer.from(rig.accepted.at(-1)?.body ?? []).toString(), "later");
    assert.equal(rig.accepted.at(-1)?.cause.kind, "async");
    assert.equal(rig.accepted.at(-1)?.revision, undefined, "it runs on what serves when its turn comes");
    const again = await rig.fetch("/f/default/echo/path", { method: "POST", body: "later", headers });
    assert.deepEqual(await again.json(), { ...body, duplicate: true });
  });

  test("custom routes reach their function with decoded parameters, and never stand in for the API", async () => {
    await rig.route({ id: "users", path: "/users/{id}", function: "echo" });
    await rig.route({ id: "grab", host: "127.0.0.1", path: "/v1/{rest...}", function: "echo" });
    const answer = await echoed("/users/a%20b?q=1");
    assert.equal(answer.target, "/users/a%20b?q=1");
    assert.equal(headerOf(answer, "x-virga-param-id"), "a%20b");
    assert.equal((await rig.fetch("/v1/tokens", { token: "" })).status, 401);
    assert.equal((await rig.fetch("/nowhere", { token: "" })).status, 404);
  });

  test("a caller may choose a revision through the invoke API only", async () => {
    await rig.add("versions", (call) => call.answer(200, [], String(call.request.revision)));
    await rig.add("versions", (call) => call.answer(200, [], String(call.request.revision)));
    const path = "/v1/namespaces/default/functions/versions/invoke/";
    assert.equal(await (await rig.fetch(path, { headers: { "x-virga-revision": "1" } })).text(), "1");
    assert.equal((await rig.fetch(path, { headers: { "x-virga-revision": "x" } })).status, 400);
    assert.equal((await rig.fetch(path, { headers: { "x-virga-revision": "9" } })).status, 404);
    const url = "/f/default/versions";
    assert.equal(await (await rig.fetch(url, { headers: { "x-virga-revision": "1" } })).text(), "2");
  });

  test("what a function's own error says is for its owner, not for everyone", async () => {
    await rig.add("failing", (call) =>
      call.fail(new VirgaError("function_error", "password is 1234", { stack: "at handler.js:1:1" })),
    );
    const anyone = await (await rig.fetch("/f/default/failing", { token: "" })).text();
    assert.doesNotMatch(anyone, /1234|handler/);
    assert.match(anyone, /function_error/);
    const owner = await rig.fetch("/f/default/failing");
    assert.equal(owner.status, 502);
    assert.match(await owner.text(), /1234.*handler\.js/);
  });
});

async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
