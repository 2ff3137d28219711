import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { RawConnection } from "./raw.ts";
import { type Rig, type ScriptedCall, type Script, startRig } from "./rig.ts";

describe("answers of functions", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig[Symbol.asyncDispose]());

  let names = 0;
  async function answerOf(script: Script, init: RequestInit = {}): Promise<Response> {
    const name = `f${names++}`;
    await rig.add(name, script);
    return rig.fetch(`/f/default/${name}`, { token: "", ...init });
  }

  function get(name: string, method = "GET"): RawConnection {
    return new RawConnection(rig.port).send(`${method} /f/default/${name} HTTP/1.1\r\nhost: x\r\n\r\n`);
  }

  test("status, headers and body arrive, with a length where the answer is complete", async () => {
    const response = await answerOf((call) => {
      call.coldStart = true;
      call.answer(201, ["content-type", "text/plain", "set-cookie", "a=1", "set-cookie", "b=2"], "hello");
    });
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("content-length"), "5");
    assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
    assert.equal(response.headers.get("x-virga-cold-start"), "1");
    assert.equal(await response.text(), "hello");
  });

  test("a streamed answer is sent while it is written", async () => {
    let call: ScriptedCall | undefined;
    const response = await answerOf((started) => {
      call = started;
      started.coldStart = true;
      started.sink.head(200, ["content-type", "text/event-stream"]);
    });
    assert.equal(response.headers.get("content-length"), null);
    assert.equal(response.headers.get("x-virga-cold-start"), "1");
    const reader = response.body?.getReader();
    assert.ok(call !== undefined && reader !== undefined);
    for (const event of ["data: 1\n\n", "data: 2\n\n"]) {
      call.sink.data(Buffer.from(event));
      assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), event);
    }
    call.end();
    assert.equal((await reader.read()).done, true);
  });

  test("an answer waits for its reader", async () => {
    const chunk = Buffer.alloc(2 ** 20);
    let written = 0;
    let resumed = false;
    await rig.add("flood", (call) => {
      const more = (): void => {
        let goesOn = true;
        while (goesOn && written < 64) {
          written++;
          goesOn = call.sink.data(chunk);
        }
        if (written === 64 && goesOn) call.end();
      };
      call.onResume = () => {
        resumed = true;
        if (written === 64) call.end();
        else more();
      };
      call.sink.head(200, []);
      more();
    });
    const raw = new RawConnection(rig.port);
    raw.socket.pause();
    raw.send("GET /f/default/flood HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.ok(written > 0 && written < 64, `${written} MiB were written for a reader that reads nothing`);
    raw.socket.resume();
    const all = await raw.untilClosed();
    assert.equal(resumed, true);
    assert.ok(all.length > 64 * 2 ** 20);
  });

  test("a client that leaves cancels its call", async () => {
    for (const begin of [true, false]) {
      const cancelled = Promise.withResolvers<void>();
      await rig.add("left", (call) => {
        call.onCancel = cancelled.resolve;
        if (begin) call.sink.head(200, []);
        raw.close();
      });
      const raw = get("left");
      await cancelled.promise;
    }
  });

  test("a failure in the middle of an answer cuts the connection, so that nobody takes a part for the whole", async () => {
    await rig.add("cut", (call) => {
      call.sink.head(200, []);
      call.sink.data(Buffer.from("part"));
      setImmediate(() => call.fail(new VirgaError("function_crashed", "gone")));
    });
    const raw = get("cut");
    const received = await raw.untilClosed();
    assert.match(received, /^HTTP\/1\.1 200/);
    assert.doesNotMatch(received, /\r\n0\r\n\r\n$/, "no last chunk");
  });

  test("a failure before the answer has its status, its code and the invocation's id", async () => {
    const response = await answerOf((call) => call.fail(new VirgaError("timeout", "it ran for more than 60 s")));
    assert.equal(response.status, 504);
    assert.equal(response.headers.get("x-virga-invocation"), rig.calls.at(-1)?.id);
    assert.deepEqual(await response.json(), { error: { code: "timeout", message: "it ran for more than 60 s" } });
  });

  test("a full queue says when to come back", async () => {
    const response = await answerOf((call) => call.sink.fail(new VirgaError("queue_full", "1000 wait"), undefined));
    assert.equal(response.status, 429);
    assert.equal(response.headers.get("retry-after"), "1");
  });

  test("headers that HTTP does not allow make a 502, not a broken answer", async () => {
    const bad: [string, string][] = [
      ["bad name", "x"],
      ["x-line", "a\r\nset-cookie: stolen=1"],
      ["x-nul", "\0"],
      ["x-wide", "日本"],
      ["", "x"],
      ["content-length", "many"],
      ["content-length", "-1"],
    ];
    for (const [name, value] of bad) {
      const response = await answerOf((call) => call.answer(200, [name, value], "x"));
      assert.equal(response.status, 502, name);
      assert.equal(response.headers.get("set-cookie"), null);
      assert.match(await response.text(), /invalid_response/);
    }
    for (const status of [0, 99, 100, 101, 199, 600, 1000, Number.NaN, 200.5]) {
      assert.equal((await answerOf((call) => call.answer(status, [], "x"))).status, 502, String(status));
    }
  });

  test("a function cannot speak for the connection or the platform", async () => {
    await rig.add("bold", (call) =>
      call.answer(200, ["connection", "close", "Transfer-Encoding", "chunked", "x-virga-invocation", "forged"], "x"),
    );
    const raw = get("bold");
    const { head } = await raw.answer();
    assert.doesNotMatch(head, /connection: close|transfer-encoding|forged/i);
    raw.close();
  });

  test("a wrong content-length never shifts the next answer on the connection", async () => {
    await rig.add("short", (call) => call.answer(200, ["content-length", "2"], "abcdef"));
    const raw = get("short");
    assert.equal((await raw.answer()).status, 502);
    raw.close();
    await rig.add("short-streamed", (call) => {
      call.sink.head(200, ["content-length", "2"]);
      setImmediate(() => call.sink.data(Buffer.from("abcdef")));
    });
    assert.doesNotMatch(await get("short-streamed").untilClosed(), /abcdef/);
    await rig.add("long-streamed", (call) => {
      call.sink.head(200, ["content-length", "20"]);
      call.sink.data(Buffer.from("abc"));
      setImmediate(() => call.end());
    });
    assert.match(await get("long-streamed").untilClosed(), /abc$/);
  });

  test("HEAD, 204 and 304 have no body, and leave the connection in order", async () => {
    await rig.add("page", (call) => {
      const status = Number(call.request.target.slice(1));
      call.answer(status, ["etag", '"1"'], "not to be sent");
    });
    const raw = new RawConnection(rig.port);
    for (const [method, status] of [
      ["HEAD", 200],
      ["GET", 204],
      ["GET", 304],
    ] as const) {
      raw.send(`${method} /f/default/page/${status} HTTP/1.1\r\nhost: x\r\n\r\n`);
      const received = await raw.until((text) => text.includes("\r\n\r\n"));
      assert.ok(received.startsWith(`HTTP/1.1 ${status}`));
      assert.ok(received.endsWith("\r\n\r\n"), "nothing follows the head");
      if (method === "HEAD") assert.match(received, /content-length: 14\r\n/);
      if (status === 204) assert.doesNotMatch(received, /content-length|transfer-encoding/);
      raw.send("GET /f/default/page/200 HTTP/1.1\r\nhost: x\r\n\r\n");
      await raw.until((text) => text.endsWith("not to be sent"));
      // Take both answers off.
      await takeAll(raw, method === "HEAD" || status === 304);
    }
    raw.close();
  });

  test("a preflight is answered for the function, by its policy", async () => {
    const cors = { origins: ["https://a.example"], methods: ["GET", "PUT"], credentials: true, maxAgeSeconds: 600 };
    await rig.add("shared", (call) => call.answer(200, ["access-control-allow-origin", "*"], "x"), {
      cors,
      public: false,
    });
    const preflight = (origin: string) =>
      rig.fetch("/f/default/shared", {
        method: "OPTIONS",
        token: "",
        headers: { origin, "access-control-request-method": "PUT", "access-control-request-headers": "authorization" },
      });
    const allowed = await preflight("https://a.example");
    assert.equal(allowed.status, 204);
    assert.equal(allowed.headers.get("access-control-allow-origin"), "https://a.example");
    assert.equal(allowed.headers.get("access-control-allow-methods"), "GET, PUT");
    assert.equal(allowed.headers.get("access-control-allow-headers"), "authorization");
    assert.equal(allowed.headers.get("access-control-max-age"), "600");
    assert.match(allowed.headers.get("vary") ?? "", /origin/);
    const foreign = await preflight("https://b.example");
    assert.equal(foreign.headers.get("access-control-allow-origin"), null);

    const headers = { origin: "https://a.example" };
    const answer = await rig.fetch("/f/default/shared", { headers });
    assert.equal(answer.headers.get("access-control-allow-origin"), "https://a.example");
    assert.equal(answer.headers.get("access-control-allow-credentials"), "true");
    // A page must be able to read why it was refused, too.
    const refused = await rig.fetch("/f/default/shared", { headers, token: "" });
    assert.equal(refused.status, 401);
    assert.equal(refused.headers.get("access-control-allow-origin"), "https://a.example");
  });

  test("each settled call is counted by function and status", async () => {
    await rig.add("counted", (call) => call.answer(200, [], "x"));
    for (let index = 0; index < 3; index++) await (await rig.fetch("/f/default/counted")).text();
    const text = await (await rig.fetch("/metrics")).text();
    assert.match(text, /virga_invocations_total\{namespace="default",function="counted",status="succeeded"\} 3/);
    assert.match(text, /virga_invocation_duration_seconds_count\{namespace="default",function="counted"\} 3/);
    assert.match(text, /virga_http_requests_total\{kind="function",class="2xx"\} \d+/);
    assert.match(text, /virga_memory_bytes\{of="budget"\} 4294967296/);
    assert.equal((await rig.fetch("/metrics", { token: "" })).status, 401);
  });
});

/** Takes two answers off the connection, the first of which has no body whatever its length says. */
async function takeAll(raw: RawConnection, headOnly: boolean): Promise<void> {
  if (headOnly) raw.skipHead();
  else await raw.answer();
  await raw.answer();
}
