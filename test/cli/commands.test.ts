import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { writeCredentials } from "../../src/cli/credentials.ts";
import { FakeApi, token } from "./fake-api.ts";
import { folder, run } from "./harness.ts";

describe("exit codes", () => {
  test("0 for help and version, 2 for what is not understood", async () => {
    assert.equal((await run(["--help"])).code, 0);
    assert.equal((await run(["--version"])).code, 0);
    const mistyped = await run(["deply"]);
    assert.equal(mistyped.code, 2);
    assert.match(mistyped.stderr, /Did you mean deploy\?/);
    assert.equal((await run(["list", "--unknown"])).code, 2);
    assert.equal((await run(["list", "-o", "xml"])).code, 2);
    assert.equal((await run(["rollback", "hello", "first"])).code, 2);
    assert.equal((await run(["invoke", "hello", "--revision", "one"])).code, 2);
  });

  test("3 and `virga up` where no server runs", async () => {
    // A port that was free a moment ago.
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const outcome = await run(["list", "--url", `http://127.0.0.1:${port}`]);
    assert.equal(outcome.code, 3);
    assert.match(outcome.stderr, /virga up/);
    assert.equal(outcome.stdout, "");
  });

  test("4 for a wrong token, with what to do", async (t) => {
    const api = await FakeApi.start(t);
    const outcome = await run(["list"], { environment: { VIRGA_URL: api.url, VIRGA_TOKEN: "vrg_wrong" } });
    assert.equal(outcome.code, 4);
    assert.match(outcome.stderr, /--token or VIRGA_TOKEN/);
  });

  test("5 for a function that is not there, with the one that was meant", async (t) => {
    const api = await FakeApi.start(t);
    for (const name of ["alpha", "beta", "report"])
      api.functions.set(name, { revisions: [], traffic: [], followLatest: true });
    const outcome = await run(["describe", "reprot"], { environment: api.environment });
    assert.equal(outcome.code, 5);
    assert.match(outcome.stderr, /did you mean report\?/);
  });
});

describe("credentials", () => {
  test("the file's token goes to the file's server alone", async (t) => {
    const [ours, other] = [await FakeApi.start(t), await FakeApi.start(t)];
    const home = folder(t);
    writeCredentials(join(home, "config"), { url: ours.url, token });
    const environment = { VIRGA_HOME: home };
    assert.equal((await run(["list"], { environment })).code, 0);
    assert.equal((await run(["list", "--url", other.url], { environment })).code, 4);
    assert.equal(other.seen[0]?.headers.authorization, undefined);
    assert.equal((await run(["token", "show"], { environment })).stdout, `${token}\n`);
  });

  test("a broken file is named", async (t) => {
    const home = folder(t, { "config/credentials.json": "{" });
    const outcome = await run(["list"], { environment: { VIRGA_HOME: home } });
    assert.equal(outcome.code, 2);
    assert.match(outcome.stderr, /credentials\.json/);
  });
});

describe("deploy", () => {
  test("packs, uploads once, streams the build and prints the URL", async (t) => {
    const api = await FakeApi.start(t);
    const root = folder(t, { "hello/handler.js": "export default () => 1;" });
    const options = { environment: api.environment, directory: root };
    const first = await run(["deploy", "hello"], options);
    assert.equal(first.code, 0, first.stderr);
    assert.equal(first.stdout, `${api.url}/f/default/hello\n`);
    assert.match(first.stderr, /\+ hello: new function \(1 file/);
    assert.match(first.stderr, /\| installing/);
    assert.match(first.stderr, /hello revision 1/);
    const again = await run(["deploy", "hello"], options);
    assert.match(again.stderr, /hello is unchanged at revision 1/);
    assert.equal(api.seen.filter(({ method, path }) => method === "PUT" && path.includes("/sources/")).length, 1);
  });

  test("shows what would change and stops there when told to", async (t) => {
    const api = await FakeApi.start(t);
    const root = folder(t, {
      "hello/handler.js": "1",
      "hello/virga.yaml": "functions: { hello: { handler: handler.js } }",
    });
    const options = { environment: api.environment, directory: root };
    await run(["deploy", "hello"], options);
    writeFileSync(join(root, "hello/virga.yaml"), "functions: { hello: { handler: other.js } }");
    const plan = await run(["deploy", "hello", "--dry-run"], options);
    assert.equal(plan.code, 0);
    assert.match(plan.stderr, /~ handler: handler\.js → other\.js/);
    assert.equal(plan.stdout, "");
    assert.equal(api.functions.get("hello")?.revisions.length, 1);
  });

  test("a failing build is told with its place and ends with 1", async (t) => {
    const api = await FakeApi.start(t);
    const root = folder(t, { "broken.ts": "let a\nlet b c\n" });
    const outcome = await run(["deploy", "broken.ts"], { environment: api.environment, directory: root });
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, /broken\.ts:2:5: ';' expected/);
    assert.equal(api.functions.size, 0);
  });

  test("a missing secret stops it before anything is sent, and names the command", async (t) => {
    const api = await FakeApi.start(t);
    const root = folder(t, { "virga.yaml": "secrets: [API_KEY]\nfunctions: { a: {} }\n", "handler.js": "1" });
    const options = { environment: api.environment, directory: root };
    const refused = await run(["deploy"], options);
    assert.equal(refused.code, 5);
    assert.match(refused.stderr, /virga secret set API_KEY/);
    assert.ok(api.seen.every(({ method }) => method === "GET"));
    assert.equal((await run(["secret", "set", "API_KEY"], { ...options, stdin: "s3cret\n" })).code, 0);
    assert.equal(api.secrets.get("API_KEY"), "s3cret");
    assert.equal((await run(["deploy"], options)).code, 0);
  });

  test("routes are made once and changed when they change", async (t) => {
    const api = await FakeApi.start(t);
    const manifest = (path: string): string =>
      `functions: { a: {} }\nroutes:\n  - { id: users, path: "${path}", function: a }\n`;
    const root = folder(t, { "virga.yaml": manifest("/users/{id}"), "handler.js": "1" });
    const options = { environment: api.environment, directory: root };
    await run(["deploy"], options);
    assert.equal(api.routes.get("users")?.["path"], "/users/{id}");
    await run(["deploy"], options);
    writeFileSync(join(root, "virga.yaml"), manifest("/u/{id}"));
    const changed = await run(["deploy"], options);
    assert.match(changed.stderr, /~ route users: ANY \/users\/\{id\} → a becomes ANY \/u\/\{id\} → a/);
    assert.equal(api.seen.filter(({ method, path }) => method === "PUT" && path.endsWith("/routes/users")).length, 2);
  });

  test("settings on the command line come before the manifest's, for one function alone", async (t) => {
    const api = await FakeApi.start(t);
    const root = folder(t, {
      "virga.yaml": "functions:\n  a: { memory: 64MiB, timeout: 1s, environment: { A: x } }\n  b: {}\n",
      "handler.js": "1",
    });
    const options = { environment: api.environment, directory: root };
    const argv = ["deploy", "--public", "--timeout", "2m", "--env", "B=y=z"];
    assert.equal((await run(argv, options)).code, 2);
    assert.equal((await run([...argv, "--name", "a"], options)).code, 0);
    const config = api.functions.get("a")?.revisions[0]?.["config"] as { settings: unknown } | undefined;
    assert.deepEqual(config?.settings, {
      public: true,
      limits: { memoryMb: 64, timeoutMs: 120_000 },
      environment: { A: "x", B: "y=z" },
    });
    assert.equal((await run(["deploy", "--name", "a", "--memory", "12"], options)).code, 2);
  });

  test("-o json prints the results and nothing else", async (t) => {
    const api = await FakeApi.start(t);
    const root = folder(t, { "handler.js": "1", "virga.yaml": "functions: { a: {}, b: {} }" });
    const outcome = await run(["deploy", "-o", "json"], { environment: api.environment, directory: root });
    const results = JSON.parse(outcome.stdout) as { url: string }[];
    assert.deepEqual(
      results.map(({ url }) => url),
      [`${api.url}/f/default/a`, `${api.url}/f/default/b`],
    );
  });
});

describe("invoke", () => {
  const prepared = async (t: Parameters<typeof FakeApi.start>[0]): Promise<FakeApi> => {
    const api = await FakeApi.start(t);
    api.functions.set("echo", { revisions: [], traffic: [], followLatest: true });
    return api;
  };

  test("sends text, files and stdin with their type, byte by byte", async (t) => {
    const api = await prepared(t);
    const root = folder(t, { "data.csv": "a,b\n" });
    const call = (...argv: string[]) =>
      run(["invoke", "echo", ...argv], {
        environment: api.environment,
        directory: root,
        stdin: Buffer.from([0, 255, 10]),
      });
    assert.equal((await call("-d", '{"a":1}')).stdout, '{"a":1}');
    assert.equal(api.seen.at(-1)?.headers["content-type"], "application/json");
    assert.equal((await call("-d", "@data.csv")).stdout, "a,b\n");
    assert.equal(api.seen.at(-1)?.headers["content-type"], "text/csv");
    assert.equal((await call("-d", "-", "--output", "out.bin")).stdout, "");
    assert.deepEqual(readFileSync(join(root, "out.bin")), Buffer.from([0, 255, 10]));
    assert.equal(
      (await call("--path", "200/x?y=1", "--method", "delete", "-H", "x-a: b")).stdout,
      "DELETE /v1/namespaces/default/functions/echo/invoke/200/x?y=1",
    );
    assert.equal(api.seen.at(-1)?.headers["x-a"], "b");
  });

  test("a function's own error status ends with 1 and its body is shown", async (t) => {
    const api = await prepared(t);
    const outcome = await run(["invoke", "echo", "--path", "/418", "-d", "teapot"], { environment: api.environment });
    assert.equal(outcome.code, 1);
    assert.equal(outcome.stdout, "teapot");
    assert.match(outcome.stderr, /HTTP 418/);
  });

  test("the platform's error is shown as one, not as an answer", async (t) => {
    const api = await prepared(t);
    const outcome = await run(["invoke", "echo", "--path", "/fails"], { environment: api.environment });
    assert.equal(outcome.code, 1);
    assert.equal(outcome.stdout, "");
    assert.match(outcome.stderr, /ran longer than 1000 ms\n.*fix: raise limits\.timeoutMs/);
  });

  test("--async prints the id, --curl the command without the token, --timing the phases", async (t) => {
    const api = await prepared(t);
    const options = { environment: api.environment };
    assert.equal((await run(["invoke", "echo", "--async", "-d", "x"], options)).stdout, "call-1\n");
    const { stdout } = await run(["invoke", "echo", "--curl", "-d", "it's"], options);
    assert.equal(
      stdout,
      `curl -H "Authorization: Bearer $(virga token show)" -H 'content-type: text/plain; charset=utf-8' --data-binary 'it'\\''s' ${api.url}/v1/namespaces/default/functions/echo/invoke\n`,
    );
    api.invocations.set("call-1", {
      id: "call-1",
      status: "succeeded",
      timings: { acceptedAt: 0, queueMs: 1, coldStartMs: 20, initMs: 5, runMs: 10, totalMs: 36 },
      usage: { coldStart: true, billedMs: 10, memoryMb: 256, memoryPeakBytes: 1024, cpuMs: 3 },
    });
    assert.match(
      (await run(["invoke", "echo", "--timing"], options)).stderr,
      /cold start\s+20 ms.*\n.*init[\s\S]*cold, billed 10 ms at 256 MiB/,
    );
  });
});

describe("output", () => {
  test("lists follow every page, as a table or as data", async (t) => {
    const api = await FakeApi.start(t);
    for (const name of ["a", "b", "c", "d", "e"])
      api.functions.set(name, { revisions: [], traffic: [], followLatest: true });
    const { stdout } = await run(["list"], { environment: api.environment });
    assert.deepEqual(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split(/\s+/)[0]),
      ["NAME", "a", "b", "c", "d", "e"],
    );
    const asJson = JSON.parse(
      (await run(["list", "-o", "json"], { environment: api.environment })).stdout,
    ) as unknown[];
    assert.equal(asJson.length, 5);
    assert.match(
      (await run(["list", "-o", "yaml"], { environment: api.environment })).stdout,
      /^- namespace: default\n {2}name: a\n/,
    );
    assert.match((await run(["list", "-o", "wide"], { environment: api.environment })).stdout, /URL.*DESCRIPTION/);
  });

  test("colour is for terminals alone, and NO_COLOR turns it off", async (t) => {
    const api = await FakeApi.start(t);
    api.functions.set("a", { revisions: [], traffic: [], followLatest: true });
    const escape = String.fromCharCode(27);
    const has = async (tty: boolean, more: Record<string, string> = {}): Promise<boolean> =>
      (await run(["list"], { environment: { ...api.environment, ...more }, tty })).stdout.includes(escape);
    assert.equal(await has(false), false);
    assert.equal(await has(true), true);
    assert.equal(await has(true, { NO_COLOR: "1" }), false);
    assert.equal(await has(false, { FORCE_COLOR: "1" }), true);
  });

  test("usage is summed and priced by the rate card", async (t) => {
    const api = await FakeApi.start(t);
    const { stdout } = await run(["usage"], { environment: api.environment });
    const rows = stdout
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/));
    assert.deepEqual(rows[0]?.slice(-2), ["COST", "EUR"]);
    assert.deepEqual(
      rows.slice(1).map((row) => [row[0], row[1], row.at(-1)]),
      [
        ["a", "2", "0.000000"],
        ["b", "2000000", "0.600000"],
        ["total", "2000002", "0.600000"],
      ],
    );
    assert.equal((await run(["usage", "--from", "2026-02-30"], { environment: api.environment })).code, 2);
  });

  test("logs are followed until Ctrl-C, and cannot move the reader's cursor", async (t) => {
    const api = await FakeApi.start(t);
    api.functions.set("a", { revisions: [], traffic: [], followLatest: true });
    const escape = String.fromCharCode(27);
    api.lines.push(
      { kind: "heartbeat" },
      {
        at: 0,
        stream: "stdout",
        text: `${escape}[31mred${escape}[0m ${escape}[2J`,
        name: "a",
        revision: 1,
        instance: "i",
        invocation: "0123456789abcdef",
      },
    );
    const interrupt = new AbortController();
    const outcome = await run(["logs", "a", "-f"], {
      environment: api.environment,
      signal: interrupt.signal,
      onOutput: () => interrupt.abort(),
    });
    assert.equal(outcome.code, 130);
    assert.match(outcome.stdout, /89abcdef/);
    assert.ok(outcome.stdout.includes(`${escape}[31mred${escape}[0m \uFFFD[2J`));
  });

  test("traffic is parsed and must add up", async (t) => {
    const api = await FakeApi.start(t);
    api.functions.set("a", { revisions: [], traffic: [], followLatest: true });
    const options = { environment: api.environment };
    assert.match((await run(["traffic", "a", "1=90", "2=10:canary"], options)).stdout, /2\s+10 %\s+canary/);
    assert.equal((await run(["traffic", "a", "1=90"], options)).code, 2);
    assert.equal((await run(["traffic", "a", "half"], options)).code, 2);
  });
});

describe("completion", () => {
  const complete = async (words: string[], environment: Record<string, string> = {}): Promise<string[]> =>
    (await run(["__complete", "--", ...words], { environment })).stdout
      .split("\n")
      .flatMap((line) => line.split("\t")[0] || []);

  test("offers commands, verbs, options and choices", async () => {
    assert.ok((await complete([""])).includes("deploy"));
    assert.ok(!(await complete([""])).includes("__complete"));
    assert.deepEqual(await complete(["sec"]), ["secret"]);
    assert.deepEqual(await complete(["secret", ""]), ["set", "list", "delete"]);
    assert.deepEqual(await complete(["deploy", "--tr"]), ["--traffic"]);
    assert.deepEqual(await complete(["deploy", "--traffic", ""]), ["latest", "keep"]);
    assert.deepEqual(await complete(["completion", "f"]), ["fish"]);
    assert.deepEqual(await complete(["deploy", ""]), [":files"]);
  });

  test("offers the server's functions, and nothing where there is no server", async (t) => {
    const api = await FakeApi.start(t);
    for (const name of ["hello", "help", "other"])
      api.functions.set(name, { revisions: [], traffic: [], followLatest: true });
    assert.deepEqual(await complete(["-n", "default", "invoke", "hel"], api.environment), ["hello", "help"]);
    assert.deepEqual(await complete(["invoke", ""], { VIRGA_URL: "http://127.0.0.1:1" }), []);
  });

  test("there is a script for each shell", async () => {
    for (const shell of ["bash", "zsh", "fish"])
      assert.match((await run(["completion", shell])).stdout, /virga __complete --/);
  });
});

describe("new", () => {
  test("makes a folder from a template and never over what is there", async (t) => {
    const root = folder(t);
    const made = await run(["new", "hello", "--template", "typescript"], { directory: root });
    assert.equal(made.code, 0);
    assert.match(made.stdout, /virga deploy hello/);
    assert.match(readFileSync(join(root, "hello/virga.yaml"), "utf8"), /"hello":/);
    assert.equal((await run(["new", "hello"], { directory: root })).code, 6);
    const mistyped = await run(["new", "other", "--template", "pyton"], { directory: root });
    assert.match(mistyped.stderr, /did you mean python\?/);
  });
});
