import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import {
  checkUrl,
  readAbsoluteForm,
  readFunctionHost,
  readFunctionUrl,
  readInvokeUrl,
} from "../../src/gateway/address.ts";
import { RawConnection } from "./raw.ts";
import { echo, type Rig, startRig } from "./rig.ts";

describe("what is no proper request", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig({ config: { requestTimeoutMs: 300 } });
    await rig.add("echo", echo);
  });
  after(() => rig[Symbol.asyncDispose]());

  async function answerTo(...bytes: (string | Uint8Array)[]): Promise<{ status: number; head: string; body: string }> {
    const raw = new RawConnection(rig.port).send(...bytes);
    try {
      return await raw.answer();
    } finally {
      raw.close();
    }
  }

  async function stillServes(): Promise<void> {
    const response = await rig.fetch("/f/default/echo", { token: "" });
    assert.equal(response.status, 200);
    await response.body?.cancel();
  }

  test("what is no HTTP gets a JSON error with 400", async () => {
    const inputs = [
      "hello\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\nhost: x\r\nbad header: 1\r\n\r\n",
      "POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
      "POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
      "POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
      "POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
      Uint8Array.from({ length: 256 }, (_, index) => index),
    ];
    for (const input of inputs) {
      const { status, body } = await answerTo(input);
      assert.equal(status, 400, String(input));
      if (!String(input).startsWith("GET / HTTP/1.1\r\n\r\n")) assert.equal(codeIn(body), "bad_request", String(input));
    }
    await stillServes();
  });

  test("headers larger than the limit get 431", async () => {
    const { status, body } = await answerTo(`GET / HTTP/1.1\r\nhost: x\r\nx-large: ${"x".repeat(20_000)}\r\n\r\n`);
    assert.equal(status, 431);
    assert.equal(codeIn(body), "headers_too_large");
    const long = await answerTo(`GET /${"x".repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`);
    assert.equal(long.status, 431);
    // Far more than is read before the refusal: closing at once would reset the connection under the answer.
    const flood = new RawConnection(rig.port).send(`GET / HTTP/1.1\r\nhost: x\r\nx-large: ${"x".repeat(8_000_000)}`);
    assert.equal((await flood.answer()).status, 431);
    flood.close();
  });

  test("more headers than Node remembers by default are all read", async () => {
    const many = Array.from({ length: 2500 }, () => "a:b\r\n").join("");
    const { status, body } = await answerTo(`GET /f/default/echo HTTP/1.1\r\nhost: x\r\n${many}x-last: 1\r\n\r\n`);
    assert.equal(status, 200);
    assert.match(body, /"x-last","1"/);
  });

  test("URLs that two readers could read differently are refused", async () => {
    const urls = [
      "/f/../v1/tokens",
      "/f/default/echo/../../../v1/tokens",
      "/f/default/echo/%2e%2e/x",
      "/f/default/echo/%2E./x",
      "/f/default/echo/./x",
      "/f/default/echo/..",
      "/f/default/echo/..?x",
      "/f/default/echo/a%00b",
      "/f/default/echo/..\\x",
      "*",
      "f/default/echo",
    ];
    for (const url of urls) {
      const { status, body } = await answerTo(`OPTIONS ${url} HTTP/1.1\r\nhost: x\r\n\r\n`);
      assert.equal(status, 400, url);
      assert.equal(codeIn(body), "bad_request", url);
    }
    const lookalikes = ["/.well-known/x", "/...", "/a..b", "/%2e%2e%2e", "/x?../..", "/%ff%fe", "/%zz", "//", "/a//b"];
    for (const path of lookalikes) {
      const { status, body } = await answerTo(`GET /f/default/echo${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
      assert.equal(status, 200, path);
      assert.equal((JSON.parse(body) as { target: string }).target, path);
    }
  });

  test("paths that name no function get 404 and lead nowhere else", async () => {
    const urls = ["/f", "/f/", "/f//", "/f//echo", "//f/default/echo", "/f/default", "/f/default/", "/f/default/none"];
    urls.push("/F/default/echo", "/f/default%2Fecho", "/f/default/ech%6F", "/v1x", "/f/default/echo%41");
    for (const url of urls) {
      const { status, body } = await answerTo(`GET ${url} HTTP/1.1\r\nhost: x\r\n\r\n`);
      assert.equal(status, 404, url);
      assert.equal(codeIn(body), "not_found", url);
    }
  });

  test("a Host header that is none gets 400", async () => {
    for (const host of ["a b", "a/b", "user@host", "x#y", "<script>"]) {
      const { status } = await answerTo(`GET /f/default/echo HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
      assert.equal(status, 400, host);
    }
  });

  test("the absolute form that proxies use is read like the usual one", async () => {
    const { status, body } = await answerTo(
      "GET http://api.example/f/default/echo/x?y HTTP/1.1\r\nhost: other\r\n\r\n",
    );
    assert.equal(status, 200);
    const echoed = JSON.parse(body) as { target: string; url: string };
    assert.equal(echoed.target, "/x?y");
    assert.equal(echoed.url, "http://api.example/f/default/echo/x?y");
  });

  test("broken chunks end the call and the connection", async () => {
    const raw = new RawConnection(rig.port);
    raw.send("POST /f/default/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n");
    assert.match(await raw.untilClosed(), /^HTTP\/1\.1 400/);
    await stillServes();
  });

  test("a body that breaks off never reaches a function as if it were whole", async () => {
    const before = rig.calls.length;
    const small = new RawConnection(rig.port);
    small.send("POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    small.socket.end();
    await small.untilClosed();
    assert.equal(rig.calls.length, before);
    const chunked = new RawConnection(rig.port);
    chunked.send("POST /f/default/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    while (rig.calls.length === before) await new Promise((resolve) => setImmediate(resolve));
    const call = rig.calls.at(-1);
    chunked.close();
    while (call?.cancelled === undefined) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(call.bodyEnded, false);
  });

  test("a small body that stops coming gets 408", async () => {
    const raw = new RawConnection(rig.port);
    raw.send("POST /f/default/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    const { status, body } = await raw.answer();
    assert.equal(status, 408);
    assert.equal(codeIn(body), "request_timeout");
    raw.close();
  });

  test("an offer to speak HTTP/2 is not taken up, and answered", async () => {
    const { status } = await answerTo(
      "GET /f/default/echo HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert.equal(status, 200);
  });

  test("a client that waits for leave to send its body gets it, or the refusal in its place", async () => {
    const raw = new RawConnection(rig.port);
    raw.send("POST /f/default/echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    await raw.until((text) => text.startsWith("HTTP/1.1 100"));
    raw.skipHead();
    raw.send("hi");
    assert.equal((await raw.answer()).status, 200);
    raw.close();
    const refused = new RawConnection(rig.port);
    refused.send(
      `POST /f/default/echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: ${2 ** 40}\r\n\r\n`,
    );
    assert.equal((await refused.answer()).status, 413);
    refused.close();
  });

  test("whatever bytes come, the answer is below 500 and the server goes on", async () => {
    const pieces = fc.constantFrom(
      "GET ",
      "POST ",
      "/f/default/echo",
      "/v1",
      "/../",
      " HTTP/1.1\r\n",
      "host: x\r\n",
      "\r\n",
      "\r\n\r\n",
      "\0",
      "\xff",
      "content-length: 5\r\n",
      "transfer-encoding: chunked\r\n",
      "5\r\nhello\r\n",
      "0\r\n\r\n",
      "upgrade: websocket\r\n",
      "connection: upgrade\r\n",
      "expect: 100-continue\r\n",
      "authorization: Bearer x\r\n",
      "x".repeat(5000),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(pieces, fc.string({ maxLength: 20 })), { maxLength: 12 }), async (parts) => {
        const raw = new RawConnection(rig.port);
        raw.send(Buffer.from(parts.join(""), "latin1"));
        raw.socket.end();
        const received = await raw.untilClosed();
        for (const [, status] of received.matchAll(/HTTP\/1\.1 (\d\d\d)/g)) assert.ok(Number(status) < 500, received);
      }),
      { numRuns: 150 },
    );
    await stillServes();
    assert.deepEqual(
      rig.logged.filter(({ level }) => level === "error"),
      [],
    );
  });
});

describe("reading addresses", () => {
  const segment = fc.stringMatching(/^[a-z0-9_-]{1,20}$/);
  const rest = fc.stringMatching(/^(\/[A-Za-z0-9._~%-]{0,10}){0,3}(\?[a-z=&/]{0,10})?$/);

  test("a function URL gives back what it was made of", () => {
    fc.assert(
      fc.property(segment, segment, rest, (namespace, name, target) => {
        const expected = { namespace, name, target: target.startsWith("/") ? target : `/${target}` };
        assert.deepEqual(readFunctionUrl(`/f/${namespace}/${name}${target}`), { ...expected, via: "url" });
        const url = `/v1/namespaces/${namespace}/functions/${name}/invoke${target}`;
        assert.deepEqual(readInvokeUrl(url), { ...expected, via: "api" });
      }),
    );
  });

  test("no URL makes the readers throw anything but their own error", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.webUrl({ withQueryParameters: true }),
          rest.map((text) => `/f${text}`),
        ),
        (url) => {
          readFunctionUrl(url);
          readInvokeUrl(url);
          readAbsoluteForm(url);
          readFunctionHost(url, "localhost");
          try {
            checkUrl(url);
          } catch (error) {
            assert.equal((error as { code: string }).code, "bad_request");
          }
        },
      ),
    );
  });

  test("only hosts of exactly two labels below the domain are functions", () => {
    assert.deepEqual(readFunctionHost("fn.ns.localhost", "localhost"), { namespace: "ns", name: "fn" });
    for (const host of [
      "localhost",
      "ns.localhost",
      ".ns.localhost",
      "fn..localhost",
      "a.fn.ns.localhost",
      "fn.ns.xlocalhost",
    ]) {
      assert.equal(readFunctionHost(host, "localhost"), undefined, host);
    }
  });
});

function codeIn(body: string): string {
  return (JSON.parse(body) as { error: { code: string } }).error.code;
}
