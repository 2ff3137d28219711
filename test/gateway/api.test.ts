import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import type { DeployEvent } from "../../src/engine/engine.ts";
import { RawConnection } from "./raw.ts";
import { echo, recordOf, type Rig, startRig } from "./rig.ts";

interface ErrorBody {
  error: { code: string; message: string; field?: string; fix?: string };
}

describe("the native API", () => {
  let rig: Rig;
  let deploying: ((onEvent: (event: DeployEvent) => void, signal: AbortSignal) => Promise<void>) | undefined;
  before(async () => {
    rig = await startRig({ deploy: async (_request, onEvent, signal) => deploying?.(onEvent, signal) });
    await rig.add("hello", echo);
  });
  after(() => rig[Symbol.asyncDispose]());

  const fn = "/v1/namespaces/default/functions/hello";

  async function call(method: string, path: string, body?: unknown, token = rig.token): Promise<Response> {
    const json =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    return rig.fetch(path, { method, token, ...json });
  }

  async function ok<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await call(method, path, body);
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  async function refused(response: Response, status: number, code: string): Promise<ErrorBody["error"]> {
    const text = await response.text();
    assert.equal(response.status, status, text);
    const { error } = JSON.parse(text) as ErrorBody;
    assert.equal(error.code, code, text);
    return error;
  }

  test("asks for a token everywhere, also where there is nothing", async () => {
    for (const path of ["/v1", "/v1/namespaces", fn, "/v1/openapi.json", "/v1/nothing"]) {
      const response = await call("GET", path, undefined, "");
      assert.match(response.headers.get("www-authenticate") ?? "", /^Bearer/, path);
      await refused(response, 401, "unauthenticated");
    }
  });

  test("says what it is", async () => {
    const info = await ok<{ name: string; node: string }>("GET", "/v1");
    assert.equal(info.name, "virga");
    assert.equal(info.node, process.version);
  });

  test("deploys, describes, splits traffic, rolls back and deletes", async () => {
    const path = "/v1/namespaces/default/functions/life";
    const settings = { settings: { limits: { memoryMb: 128 } } };
    assert.equal((await ok<{ changed: boolean }>("PUT", path, settings)).changed, true);
    await ok("PUT", path, settings);
    const state = await ok<{ followLatest: boolean }>("PUT", `${path}/traffic`, {
      targets: [
        { revision: 1, weight: 30 },
        { revision: 2, weight: 70 },
      ],
    });
    assert.equal(state.followLatest, false);
    const described = await ok<{ revision: { number: number }; url: string; decisions: unknown[] }>("GET", path);
    assert.equal(described.revision.number, 2);
    assert.equal(described.url, `${rig.url}/f/default/life`);
    assert.equal(described.decisions.length, 1);
    const revisions = await ok<{ items: { number: number }[]; next?: string }>("GET", `${path}/revisions?limit=1`);
    assert.deepEqual([revisions.items[0]?.number, revisions.next], [2, "2"]);
    assert.equal((await ok<{ items: { number: number }[] }>("GET", `${path}/revisions?after=2`)).items[0]?.number, 1);
    assert.equal((await ok<{ number: number }>("GET", `${path}/revisions/1`)).number, 1);
    await refused(await call("GET", `${path}/revisions/7`), 404, "not_found");
    const back = await ok<{ traffic: { revision: number }[] }>("POST", `${path}/rollback`);
    assert.deepEqual(
      back.traffic.map(({ revision }) => revision),
      [1],
    );
    await ok("DELETE", path);
    await refused(await call("DELETE", path), 404, "not_found");
  });

  test("streams a deploy's progress line by line, its end last", async () => {
    deploying = async (onEvent) => {
      onEvent({ kind: "stage", stage: "build" });
      onEvent({ kind: "log", line: "compiling" });
    };
    const stream = () =>
      rig.fetch("/v1/namespaces/default/functions/streamed", {
        method: "PUT",
        headers: { accept: "application/x-ndjson" },
        body: '{"settings":{}}',
      });
    const lines = (await (await stream()).text())
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { kind: string });
    assert.deepEqual(
      lines.map(({ kind }) => kind),
      ["stage", "log", "done"],
    );
    deploying = () => Promise.reject(new VirgaError("build_failed", "no", { location: "a.ts:1:2" }));
    const failed = (await (await stream()).text())
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
    assert.deepEqual(failed, [{ kind: "error", error: { code: "build_failed", message: "no", location: "a.ts:1:2" } }]);
    await refused(
      await call("PUT", "/v1/namespaces/default/functions/streamed", { settings: {} }),
      422,
      "build_failed",
    );
    deploying = undefined;
  });

  test("a client that leaves ends its deploy", async () => {
    for (const accept of ["application/x-ndjson", "application/json"]) {
      const started = Promise.withResolvers<void>();
      const aborted = Promise.withResolvers<void>();
      deploying = (_onEvent, signal) => {
        started.resolve();
        signal.addEventListener("abort", () => aborted.resolve());
        return aborted.promise;
      };
      const leave = new AbortController();
      const response = rig.fetch("/v1/namespaces/default/functions/left", {
        method: "PUT",
        headers: { accept },
        body: '{"settings":{}}',
        signal: leave.signal,
      });
      await started.promise;
      leave.abort();
      await assert.rejects(response.then((answer) => answer.text()));
      await aborted.promise;
    }
    deploying = undefined;
  });

  test("names the field at fault, and what was probably meant", async () => {
    const put = (body: unknown) => call("PUT", fn, body);
    const unknown = await refused(await put({ settings: {}, sorce: "x" }), 400, "invalid_field");
    assert.equal(unknown.field, "sorce");
    assert.match(unknown.fix ?? "", /source/);
    const deep = await refused(await put({ settings: { limits: { memoryMB: 1 } } }), 400, "invalid_field");
    assert.equal(deep.field, "settings.limits.memoryMB");
    assert.match(deep.fix ?? "", /memoryMb/);
    const wrong = await refused(await put({ settings: { limits: { memoryMb: "much" } } }), 400, "invalid_field");
    assert.equal(wrong.field, "settings.limits.memoryMb");
    const split = await call("PUT", `${fn}/traffic`, { targets: [{ revision: 1, weight: 200 }] });
    assert.equal((await refused(split, 400, "invalid_field")).field, "targets.0.weight");
    const query = await refused(await call("GET", "/v1/namespaces/default/functions?limit=0"), 400, "invalid_field");
    assert.equal(query.field, "limit");
    const stray = await refused(await call("GET", "/v1/namespaces/default/functions?limt=5"), 400, "invalid_field");
    assert.match(stray.fix ?? "", /limit/);
    const name = await call("PUT", "/v1/namespaces/default/functions/Bad%20Name", { settings: {} });
    assert.equal((await refused(name, 400, "invalid_field")).field, "function");
  });

  test("makes nothing under a name that stands for a peer's, and no function of a dialect", async () => {
    const settings = { runtime: "node", handler: "index.mjs", dialect: "openwhisk" };
    const dialect = await refused(await call("PUT", fn, { settings }), 400, "invalid_field");
    assert.equal(dialect.field, "settings.dialect");
    const base = "/v1/namespaces/default";
    const timer = { kind: "schedule", cron: "0 2 * * *" };
    for (const [path, field, body] of [
      ["functions/@system.sort", "function", { settings: {} }],
      ["topics/Orders", "topic", {}],
      ["subscriptions/@rule", "subscription", { topic: "orders", target: { function: "hello" } }],
      ["event-sources/@alarm", "source", { topic: "orders", timer }],
      ["workflows/@sequence", "workflow", { steps: [{ name: "one", function: "hello" }] }],
    ] as const) {
      const error = await refused(await call("PUT", `${base}/${path}`, body), 400, "invalid_field");
      assert.equal(error.field, field);
      assert.match(error.message, /cannot be the name of/);
    }
  });

  test("says where JSON is broken, and refuses what is too large or not UTF-8", async () => {
    const put = (body: string | Buffer<ArrayBuffer>) => rig.fetch(`${fn}/traffic`, { method: "PUT", body });
    assert.match((await refused(await put('{"targets": [}'), 400, "bad_request")).message, /Unexpected token '}'/);
    await refused(await put(Buffer.from([0x7b, 0xff, 0x7d])), 400, "bad_request");
    await refused(await put(""), 400, "bad_request");
    await refused(await put("x".repeat(2 ** 20 + 1)), 413, "request_too_large");
    await refused(await put("[".repeat(100_000)), 400, "bad_request");
  });

  test("tells which methods a path takes", async () => {
    const response = await call("PATCH", fn);
    assert.match(response.headers.get("allow") ?? "", /PUT.*GET.*DELETE/);
    await refused(response, 405, "method_not_allowed");
    await refused(await call("GET", "/v1/nothing"), 404, "not_found");
    const trace = new RawConnection(rig.port).send("TRACE /v1 HTTP/1.1\r\nhost: x\r\n\r\n");
    assert.equal((await trace.answer()).status, 405);
    trace.close();
  });

  test("a token opens its own namespaces and no others, and does no more than its role", async () => {
    await ok("PUT", "/v1/namespaces/mine");
    const make = (role: string) =>
      ok<{ secret: string }>("POST", "/v1/tokens", { description: "t", namespaces: ["mine"], role });
    const admin = (await make("admin")).secret;
    const invoke = (await make("invoke")).secret;
    assert.equal((await call("GET", "/v1/namespaces/mine/functions", undefined, admin)).status, 200);
    const foreign = await refused(
      await call("GET", "/v1/namespaces/default/functions", undefined, admin),
      404,
      "not_found",
    );
    const missing = await refused(
      await call("GET", "/v1/namespaces/nothing/functions", undefined, admin),
      404,
      "not_found",
    );
    assert.equal(foreign.message.replace("default", "nothing"), missing.message);
    await refused(await call("GET", "/v1/namespaces", undefined, admin), 403, "forbidden");
    await refused(await call("POST", "/v1/tokens", {}, admin), 403, "forbidden");
    await refused(await call("GET", "/v1/namespaces/mine/functions", undefined, invoke), 403, "forbidden");
    await refused(await call("PUT", "/v1/namespaces/mine/functions/x", { settings: {} }, invoke), 403, "forbidden");
  });

  test("makes, lists and revokes tokens, showing a secret once", async () => {
    const made = await ok<{ token: { id: string }; secret: string }>("POST", "/v1/tokens", {
      description: "ci",
      namespaces: "*",
      role: "admin",
    });
    const text = await (await call("GET", "/v1/tokens")).text();
    assert.ok(text.includes(made.token.id) && !text.includes(made.secret));
    assert.equal((await call("GET", "/v1", undefined, made.secret)).status, 200);
    await ok("DELETE", `/v1/tokens/${made.token.id}`);
    assert.equal((await call("GET", "/v1", undefined, made.secret)).status, 401);
  });

  test("stores a source archive under its digest, once, and nothing else under it", async () => {
    const content = Buffer.alloc(3_000_000, "source");
    const digest = createHash("sha256").update(content).digest("hex");
    const path = `/v1/namespaces/default/sources/${digest}`;
    assert.equal((await call("HEAD", path)).status, 404);
    await refused(await rig.fetch(path, { method: "PUT", body: "something else" }), 400, "bad_request");
    assert.equal((await call("HEAD", path)).status, 404);

    const raw = new RawConnection(rig.port);
    raw.send(
      `PUT ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${rig.token}\r\ncontent-length: 3000000\r\n\r\n`,
    );
    raw.send(content.subarray(0, 1_000_000));
    raw.socket.end();
    await raw.untilClosed();
    assert.equal((await call("HEAD", path)).status, 404, "a truncated upload leaves nothing");

    assert.equal((await rig.fetch(path, { method: "PUT", body: content })).status, 201);
    assert.equal((await call("HEAD", path)).status, 200);
    assert.equal((await rig.fetch(path, { method: "PUT", body: content })).status, 200);
    await refused(await call("GET", path), 405, "method_not_allowed");
    await refused(await call("PUT", "/v1/namespaces/default/sources/abc", {}), 400, "invalid_field");
    const huge = new RawConnection(rig.port).send(
      `PUT /v1/namespaces/default/sources/${"0".repeat(64)} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${rig.token}\r\ncontent-length: ${2 ** 30}\r\n\r\n`,
    );
    assert.equal((await huge.answer()).status, 413);
    huge.close();
  });

  test("shows calls, where asynchronous ones stand, and their kept answers", async () => {
    const path = "/v1/namespaces/default/invocations";
    await (await rig.fetch("/f/default/hello")).text();
    const listed = await ok<{ items: { id: string }[]; next?: string }>("GET", `${path}?limit=1`);
    const id = listed.items[0]?.id ?? "";
    assert.equal((await ok<{ status: string }>("GET", `${path}/${id}`)).status, "succeeded");
    await refused(await call("GET", `${path}/${id}/result`), 404, "not_found");
    await refused(await call("DELETE", `${path}/${id}`), 409, "conflict");
    await refused(await call("GET", `${path}/nothing`), 404, "not_found");

    const base = { namespace: "default", name: "hello", attempt: 1, acceptedAt: 1 };
    rig.statuses.set("waiting", { ...base, id: "waiting", status: "queued" });
    assert.equal((await ok<{ status: string }>("GET", `${path}/waiting`)).status, "queued");
    await refused(await call("GET", `${path}/waiting/result`), 409, "conflict");
    assert.equal((await call("DELETE", `${path}/waiting`)).status, 204);

    const record = recordOf({ ...base, cause: { kind: "async" } }, "done", "succeeded");
    const headers = ["content-type", "text/html", "x-own", "1", "connection", "close"];
    const result = { status: 418, headers, body: Buffer.from("<h1>tea</h1>").toString("base64") };
    rig.statuses.set("done", { ...base, id: "done", status: "succeeded", invocation: { ...record, result } });
    const kept = await call("GET", `${path}/done/result`);
    assert.deepEqual([kept.status, await kept.text()], [418, "<h1>tea</h1>"]);
    assert.equal(kept.headers.get("x-own"), "1");
    assert.equal(kept.headers.get("x-virga-invocation"), "done");
    assert.equal(kept.headers.get("content-security-policy"), "sandbox");

    const error = { code: "timeout", message: "too slow" };
    rig.statuses.set("dead", {
      ...base,
      id: "dead",
      status: "dead_letter",
      invocation: { ...recordOf({ ...base, cause: { kind: "async" } }, "dead", "dead_letter"), error },
    });
    const failed = await call("GET", `${path}/dead/result`);
    assert.equal(failed.headers.get("x-virga-invocation"), "dead");
    await refused(failed, 504, "timeout");
    assert.equal((await ok<{ items: unknown[] }>("GET", "/v1/namespaces/default/dead-letters")).items.length, 1);
    assert.equal((await call("POST", "/v1/namespaces/default/dead-letters/dead/revive")).status, 204);
    await refused(await call("POST", "/v1/namespaces/default/dead-letters/waiting/revive"), 404, "not_found");
  });

  test("accepts an asynchronous call with whatever body", async () => {
    const body = Buffer.from([0, 255, 1]);
    const response = await rig.fetch(`${fn}/invocations`, { method: "POST", body });
    assert.equal(response.status, 202);
    const { id, status } = (await response.json()) as { id: string; status: string };
    assert.equal(status, `/v1/namespaces/default/invocations/${id}`);
    const accepted = rig.accepted.at(-1);
    assert.deepEqual([accepted?.id, Buffer.from(accepted?.body ?? []).equals(body)], [id, true]);
    assert.ok(!accepted?.headers.includes("authorization"));
  });

  test("follows a function's lines until the reader leaves", async () => {
    const leave = new AbortController();
    const response = await rig.fetch(`${fn}/logs?follow=true`, { signal: leave.signal });
    assert.equal(response.headers.get("content-type"), "application/x-ndjson");
    assert.equal(rig.followers(), 1);
    const reader = response.body?.getReader();
    assert.ok(reader !== undefined);
    const line = {
      namespace: "default",
      name: "hello",
      revision: 1,
      instance: "i",
      at: 5,
      stream: "stdout",
      text: "hi",
    } as const;
    rig.write(line);
    assert.deepEqual(JSON.parse(Buffer.from((await reader.read()).value ?? []).toString()), line);
    leave.abort();
    while (rig.followers() > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("a reader of lines that does not keep up loses lines and is told so", async () => {
    const raw = new RawConnection(rig.port);
    raw.send(`GET ${fn}/logs?follow=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${rig.token}\r\n\r\n`);
    await raw.until((text) => text.includes("\r\n\r\n"));
    raw.socket.pause();
    const line = { namespace: "default", name: "hello", revision: 1, instance: "i", at: 5, stream: "stdout" } as const;
    const text = "x".repeat(10_000);
    for (let index = 0; index < 3000; index++) {
      rig.write({ ...line, text });
      if (index % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    raw.socket.resume();
    await raw.until((received) => /\d+ lines were dropped/.test(received));
    raw.close();
    while (rig.followers() > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("keeps secrets, routes and usage per namespace", async () => {
    const base = "/v1/namespaces/default";
    assert.equal((await call("PUT", `${base}/secrets/API_KEY`, { value: "s3cret" })).status, 204);
    assert.doesNotMatch(await (await call("GET", `${base}/secrets`)).text(), /s3cret/);
    assert.equal((await call("DELETE", `${base}/secrets/API_KEY`)).status, 204);
    await refused(await call("PUT", `${base}/secrets/not-a-variable`, { value: "x" }), 400, "invalid_field");
    await ok("PUT", `${base}/routes/r1`, { path: "/things/{id}", function: "hello", method: "GET" });
    await refused(
      await call("PUT", `${base}/routes/r2`, { path: "/things/{x}", function: "hello", method: "GET" }),
      409,
      "conflict",
    );
    assert.equal((await ok<{ items: unknown[] }>("GET", `${base}/routes`)).items.length, 1);
    assert.equal((await call("DELETE", `${base}/routes/r1`)).status, 204);
    const usage = await ok<{ rates: { currency: string } }>("GET", `${base}/usage?from=2026-01-01`);
    assert.equal(usage.rates.currency, "EUR");
    await refused(await call("GET", `${base}/usage?from=yesterday`), 400, "invalid_field");
  });

  test("no body, path or query brings it to answer with a fault of its own", async () => {
    const document = (await (await rig.fetch("/v1/openapi.json")).json()) as { paths: Record<string, object> };
    const operations = Object.entries(document.paths)
      .flatMap(([path, methods]) => Object.keys(methods).map((method) => ({ path, method: method.toUpperCase() })))
      // Following logs never ends; deleting the namespace would end the others' ground.
      .filter(({ path, method }) => !(path === "/v1/namespaces/{namespace}" && method === "DELETE"));
    const value = fc.oneof(
      fc.constantFrom(
        "default",
        "hello",
        "1",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "%",
        "a%2Fb",
        "*",
        "__proto__",
        "constructor",
      ),
      fc.string({ maxLength: 12 }).map((text) => encodeURIComponent(text.toWellFormed()) || "x"),
    );
    const keys = fc.constantFrom(
      "settings",
      "source",
      "targets",
      "revision",
      "weight",
      "value",
      "path",
      "function",
      "namespaces",
      "role",
      "description",
      "limits",
      "memoryMb",
      "environment",
      "__proto__",
      "expiresAt",
      "host",
      "method",
    );
    const body = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .dictionary(keys, fc.oneof(fc.jsonValue(), fc.dictionary(keys, fc.jsonValue())))
        .map((one) => JSON.stringify(one)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...operations),
        fc.array(value, { minLength: 3, maxLength: 3 }),
        body,
        fc.dictionary(fc.constantFrom("limit", "after", "since", "status", "from", "x"), fc.string({ maxLength: 5 })),
        async ({ path, method }, values, text, query) => {
          let index = 0;
          const filled = path.replaceAll(/\{\w+\}/g, () =>
            index === 0 && index++ === 0 ? "default" : (values[index++ % 3] ?? ""),
          );
          const search = new URLSearchParams(query).toString();
          const raw = new RawConnection(rig.port);
          raw.send(
            `${method} ${filled}${search === "" ? "" : `?${search}`} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n`,
            `authorization: Bearer ${rig.token}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
          );
          const status = Number((await raw.untilClosed()).slice(9, 12));
          assert.ok(status >= 200 && status < 500, `${method} ${filled}?${search} ${text}: ${status}`);
        },
      ),
      { numRuns: 300 },
    );
    assert.deepEqual(
      rig.logged.filter(({ level }) => level === "error"),
      [],
    );
    assert.equal((await call("GET", "/v1")).status, 200);
  });
});
