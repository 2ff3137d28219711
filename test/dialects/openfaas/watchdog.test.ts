import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { cpSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { eventually, logsOf, neighbour } from "./fixtures/neighbours.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap", "python");

let faas: Faas;
before(async () => {
  if (skip !== false) return;
  faas = await Faas.start();
  const project = faas.folderWith("dockerfile");
  for (const name of ["watchdog", "watchdog-less", "watchdog.yml"])
    cpSync(join(import.meta.dirname, "fixtures", name), join(project, name), { recursive: true });
  await faas.buildUp(project, "watchdog.yml");
});
after(() => faas?.stop());

/** `YYYY/MM/DD hh:mm:ss `, as each of a watchdog's own lines begins. */
const stamp = String.raw`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d `;

describe("the classic watchdog", { skip }, () => {
  test("tells the request by the environment, beside what the deployment says, and nothing of the platform's", async () => {
    await faas.deploy("env", "env", { envVars: { greeting: "hello there" } });
    const answer = await faas.call("env/some/path%20x?workshop=1&b", {
      method: "PUT",
      headers: { "x-output-mode": "json", "content-type": "text/csv", "user-agent": "tests", accept: "text/csv" },
      body: "a,b",
    });
    assert.equal(answer.status, 200);
    const lines = (await answer.text()).trimEnd().split("\n");
    const environment = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2) as [string, string]));
    const { PATH, HOSTNAME, Http_X_Call_Id, Http_X_Start_Time, Http_X_Forwarded_For, ...rest } = environment;
    assert.match(PATH!, /(^|:)\/usr\/bin(:|$)/);
    assert.ok(HOSTNAME);
    assert.equal(Http_X_Call_Id, answer.headers.get("x-call-id"));
    assert.equal(Http_X_Start_Time, answer.headers.get("x-start-time"));
    assert.match(Http_X_Start_Time, /^\d{19}$/);
    assert.match(Http_X_Forwarded_For!, /^127\.0\.0\.1:\d+$/);
    const { host } = new URL(faas.gateway);
    for (const name of Object.keys(rest)) if (/^Http_(Sec_|Accept_)/.test(name)) delete rest[name];
    assert.deepEqual(rest, {
      HOME: "/home/app",
      OPENFAAS_NAME: "env",
      OPENFAAS_NAMESPACE: "openfaas-fn",
      fprocess: "env",
      greeting: "hello there",
      Http_Method: "PUT",
      Http_Path: "/some/path%20x",
      Http_Query: "workshop=1&b",
      Http_ContentLength: "3",
      Http_Content_Length: "3",
      Http_Content_Type: "text/csv",
      Http_User_Agent: "tests",
      Http_Accept: "text/csv",
      Http_Host: host,
      Http_X_Forwarded_Host: host,
      Http_X_Output_Mode: "json",
    });
    assert.match(answer.headers.get("x-duration-seconds")!, /^\d+\.\d{6}$/);
  });

  test("without a query there is no Http_Query; a path is at least /; with cgi_headers=false there is none of them", async () => {
    const told = await (await faas.call("env")).text();
    assert.doesNotMatch(told, /^Http_Query=/m);
    assert.match(told, /^Http_Path=\/$/m);
    await faas.deploy("untold", "env", { envVars: { cgi_headers: "false" } });
    assert.doesNotMatch(await (await faas.call("untold?a=1")).text(), /^Http_/m);
  });

  test("the answer has the type that the deployment says, else the request's, else plain text", async () => {
    await faas.deploy("cat", "cat");
    const typed = await faas.call("cat", { method: "POST", headers: { "content-type": "text/csv" }, body: "a,b" });
    assert.equal(typed.headers.get("content-type"), "text/csv");
    assert.match((await faas.call("cat")).headers.get("content-type")!, /^text\/plain/);
    await faas.deploy("html", "cat", { envVars: { content_type: "text/html" } });
    const forced = await faas.call("html", { method: "POST", headers: { "content-type": "text/csv" }, body: "<p>" });
    assert.equal(forced.headers.get("content-type"), "text/html");
  });

  test("what is written to stderr is part of the answer; with combine_output=false it is logged", async () => {
    const script = "sh -c echo\ttrouble>&2;echo\tanswer";
    await faas.deploy("combined", script);
    const combined = await (await faas.call("combined")).text();
    assert.deepEqual(combined.trimEnd().split("\n").toSorted(), ["answer", "trouble"]);
    await faas.deploy("apart", script, { envVars: { combine_output: "false" } });
    assert.equal(await (await faas.call("apart")).text(), "answer\n");
    assert.ok((await logsOf(faas, "apart")).some((line) => new RegExp(`${stamp}stderr: trouble$`).test(line)));
  });

  test("each call is told of in the log, with the number of bytes and the time it took", async () => {
    await faas.deploy("logged", "cat");
    await faas.invoke("logged", "five!");
    const lines = await logsOf(faas, "logged");
    assert.match(lines[0]!, new RegExp(`${stamp}Forking fprocess\\.$`));
    assert.match(lines[1]!, new RegExp(`${stamp}Wrote 5 Bytes - Duration: \\d+\\.\\d+s$`));
    assert.equal(lines.length, 2);
    const printed = await faas.ok(["logs", "logged", "--tail=false"]);
    assert.match(printed, /Forking fprocess\./);
  });

  test("with write_debug=true what came and what went is logged, too", async () => {
    await faas.deploy("debugged", "tr a-z A-Z", { envVars: { write_debug: "true" } });
    await faas.invoke("debugged", "quiet words");
    const lines = (await logsOf(faas, "debugged")).join("\n");
    assert.match(lines, /^quiet words$/m);
    assert.match(lines, /QUIET WORDS$/m);
  });

  test("a process that ends badly is a 500 with its exit status and its output; one that is not there, too", async () => {
    await faas.deploy("fails", "sh -c echo\thalf;exit\t3");
    const failed = await faas.call("fails");
    assert.equal(failed.status, 500);
    assert.equal(await failed.text(), "exit status 3\nhalf\n");
    const invoked = await faas.cli(["invoke", "fails"], { input: "" });
    assert.equal(invoked.code, 1);
    assert.match(invoked.stdout + invoked.stderr, /unexpected status code: 500 - exit status 3/);
    await faas.deploy("absent", "no-such-program");
    const absent = await faas.call("absent");
    assert.equal(absent.status, 500);
    assert.match(await absent.text(), /no-such-program/);
  });

  test("exec_timeout ends the process, its children too, and the caller is told by 408", async () => {
    await faas.deploy("endless", "sh -c sleep\t987;echo\tover", { envVars: { exec_timeout: "500ms" } });
    const began = performance.now();
    const killed = await faas.call("endless");
    assert.equal(killed.status, 408);
    assert.equal((await killed.text()).trim(), "Killed process.");
    assert.ok(performance.now() - began < 5000);
    assert.equal((await faas.call("endless")).status, 408);
  });

  test("marshal_request=true hands in headers and body as JSON", async () => {
    await faas.deploy("marshalled", "cat", { envVars: { marshal_request: "true" } });
    const answer = await faas.call("marshalled", { method: "POST", headers: { "x-one": "1" }, body: "raw\0body" });
    const { header, body } = (await answer.json()) as { header: Record<string, string[]>; body: { raw: string } };
    assert.deepEqual(header["X-One"], ["1"]);
    assert.equal(Buffer.from(body.raw, "base64").toString(), "raw\0body");
  });

  test("bytes go in and come out as they are, five million of them, by curl's way and the client's", async () => {
    const bytes = randomBytes(5_000_000);
    const answer = await faas.call("cat", { method: "POST", body: bytes });
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(bytes));
    await faas.deploy("sum", "sha256sum");
    const [one, other] = await Promise.all([
      faas.invoke("sum", bytes),
      faas.call("sum", { method: "POST", body: bytes }),
    ]);
    assert.equal(one, await other.text());
  });

  test("a program that does not read its input answers all the same", async () => {
    await faas.deploy("deaf", "echo done");
    const answer = await faas.call("deaf", { method: "POST", body: randomBytes(1_000_000) });
    assert.equal(await answer.text(), "done\n");
  });
});

describe("a process for each call", { skip }, () => {
  test("many at once each have their own request and their own answer", async () => {
    await faas.deploy("many", "sh -c sleep\t0.05;echo\t$Http_Query;cat");
    const answers = await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const body = `body ${index} ${"x".repeat(index * 100)}`;
        const answer = await faas.call(`many?n=${index}`, { method: "POST", body });
        return (await answer.text()) === `n=${index}\n${body}`;
      }),
    );
    assert.ok(answers.every(Boolean));
  });

  test("is a copy of one that is loaded, where there is a compiler for that, and with fork_server=false is not", async () => {
    const started = async (name: string): Promise<string> => (await faas.call(name)).text();
    await faas.deploy("copied", "cat /proc/self/environ");
    await faas.deploy("started", "cat /proc/self/environ", { envVars: { fork_server: "false" } });
    if (missingTools("cc") === false)
      assert.match(
        await eventually(
          () => started("copied"),
          (found) => /LD_PRELOAD/.test(found),
        ),
        /LD_PRELOAD=[^\0]*fork-server.so/,
      );
    else assert.equal((await faas.call("copied")).status, 200);
    for (let count = 0; count < 10; count++) assert.doesNotMatch(await started("started"), /LD_PRELOAD/);
  });

  test("an answer may be larger than a pipe, and its process live on without it", async () => {
    await faas.deploy("large", "head -c 3000000 /dev/zero");
    assert.equal((await (await faas.call("large")).arrayBuffer()).byteLength, 3_000_000);
    await faas.deploy("lives-on", "sh -c echo\tbefore;exec\t>&-\t2>&-;sleep\t0.3;exit\t4");
    const answer = await faas.call("lives-on");
    assert.equal(answer.status, 500);
    assert.equal(await answer.text(), "exit status 4\nbefore\n");
  });

  test("a signal that ended it is told by its name", async () => {
    await faas.deploy("signalled", "sh -c kill\t-9\t$$");
    const answer = await faas.call("signalled");
    assert.equal(answer.status, 500);
    assert.match(await answer.text(), /^signal: killed\n/);
  });

  test("a client that goes away takes its process along", async () => {
    const script = "echo\tbegun>>/tmp/marks;sleep\t$Http_Query;echo\tended>>/tmp/marks;cat\t/tmp/marks";
    await faas.deploy("left", `sh -c ${script}`, { labels: { "com.openfaas.scale.max": "1" } });
    assert.equal(await (await faas.call("left?0")).text(), "begun\nended\n");
    const leaving = new AbortController();
    const call = faas.call("left?1", { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 500);
    await assert.rejects(call);
    await pause(1000);
    assert.equal(await (await faas.call("left?0")).text(), "begun\nended\nbegun\nbegun\nended\n");
  });
});

describe("the function's surroundings", { skip }, () => {
  test("secrets are files, and nothing in the environment", async () => {
    await faas.ok(["secret", "create", "api-key.v2", "--from-literal", "s3cr3t"]);
    await faas.deploy("reads-secret", "cat /var/openfaas/secrets/api-key.v2", { secrets: ["api-key.v2"] });
    assert.equal(await faas.invoke("reads-secret"), "s3cr3t");
    await faas.deploy("tells-nothing", "env", { secrets: ["api-key.v2"] });
    assert.doesNotMatch(await faas.invoke("tells-nothing"), /s3cr3t|SECRET|czNjcjN0/i);
    await faas.deploy("no-secret", "ls /var/openfaas/secrets");
    assert.equal(await faas.invoke("no-secret"), "");
  });

  test("/home/app can be written to, but where the root is read-only; /tmp always can", async () => {
    const write = (path: string): string => `sh -c touch\t${path}&&echo\twritten`;
    await faas.deploy("writes", write("/home/app/new"));
    assert.equal(await faas.invoke("writes"), "written\n");
    const readOnlyRootFilesystem = true;
    await faas.deploy("writes-not", write("/home/app/new"), { readOnlyRootFilesystem });
    const refused = await faas.call("writes-not");
    assert.equal(refused.status, 500);
    assert.match(await refused.text(), /Read-only file system/);
    await faas.deploy("writes-tmp", write("/tmp/new"), { readOnlyRootFilesystem });
    assert.equal(await faas.invoke("writes-tmp"), "written\n");
  });

  test("the gateway is there by its names, and this machine by one of ours", async () => {
    const outside = await neighbour((request, response) => response.end(`outside heard of ${request.url}`));
    try {
      await faas.deploy("greets", "echo greetings");
      await modes("inside", { mode: "http" });
      const fetched = async (url: string): Promise<string> =>
        (await faas.call(`inside/fetch?url=${encodeURIComponent(url)}`)).text();
      for (const name of ["gateway", "gateway.openfaas", "gateway.openfaas.svc.cluster.local"])
        assert.equal(await fetched(`http://${name}:8080/function/greets`), "greetings\n");
      assert.equal(await fetched(`${outside.url}/hello`), "outside heard of /hello");
    } finally {
      outside.close();
    }
  });

  test("two servers have the same port, and neither sees one of another's", async () => {
    const python = { mode: "http", fprocess: "python3 server.py" };
    await Promise.all([
      modes("five-one", { ...python, listens: "5000", upstream_url: "http://127.0.0.1:5000" }),
      modes("five-two", { ...python, listens: "5000", upstream_url: "http://127.0.0.1:5000" }),
      modes("eight", { ...python, listens: "8082", http_upstream_url: "http://127.0.0.1:8082" }),
      modes("three", { mode: "http", upstream_url: "http://127.0.0.1:3000" }),
    ]);
    const said = await Promise.all(
      ["five-one", "five-two", "eight"].map(async (name) => (await faas.call(name)).text()),
    );
    assert.deepEqual(said, ["five-one on 5000", "five-two on 5000", "eight on 8082"]);
    const { port } = new URL(faas.gateway);
    for (const other of ["5000", "8082", port])
      assert.equal(await (await faas.call(`three/port?n=${other}`)).text(), "ECONNREFUSED", other);
    assert.equal(await (await faas.call("three/port?n=3000")).text(), "open");
  });
});

describe("of-watchdog", { skip }, () => {
  test("streaming: the answer comes while the process runs, and is a 200 however that ends", async () => {
    await modes("streams", { fprocess: "sh steps.sh" });
    const call = httpRequest(`${faas.gateway}/function/streams`, { method: "POST" });
    call.flushHeaders();
    const [response] = (await once(call, "response")) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers["content-type"], "application/octet-stream");
    const [first] = (await once(response, "data")) as [Buffer];
    assert.equal(first.toString(), "one\n");
    const rest: Buffer[] = [];
    response.on("data", (chunk: Buffer) => rest.push(chunk));
    call.end("two\n");
    await once(response, "end");
    assert.equal(Buffer.concat(rest).toString(), "two\n");
    const lines = await eventually(
      () => logsOf(faas, "streams"),
      (found) => found.some((line) => line.includes("exit status 3")),
    );
    assert.ok(
      lines.some((line) => line.endsWith("aside")),
      lines.join("\n"),
    );
    assert.ok(
      lines.some((line) => line.includes("exit status 3")),
      lines.join("\n"),
    );
  });

  test("serializing: a process that fails is a 500 that says so, and stderr is no part of the answer", async () => {
    await modes("serializes", {
      mode: "serializing",
      fprocess: "sh -c cat;echo\taside>&2",
      content_type: "text/plain",
    });
    const answer = await faas.call("serializes", { method: "POST", body: "all of it" });
    assert.equal(await answer.text(), "all of it");
    assert.equal(answer.headers.get("content-type"), "text/plain");
    await modes("serializes-not", { mode: "serializing", fprocess: "sh steps.sh" });
    const failed = await faas.call("serializes-not");
    assert.equal(failed.status, 500);
    assert.match(await failed.text(), /exit status 3/);
  });

  test("exec_timeout ends them: what was streamed stays a 200, what was to come whole is a 500", async () => {
    const script = { fprocess: "sh -c echo\tbegun;sleep\t988", exec_timeout: "500ms" };
    await modes("streams-late", script);
    const streamed = await faas.call("streams-late");
    assert.equal(streamed.status, 200);
    assert.equal(await streamed.text(), "begun\n");
    await modes("serializes-late", { ...script, mode: "serializing" });
    assert.equal((await faas.call("serializes-late")).status, 500);
  });

  test("http: calls are held until the server listens, and its answers are passed on as they are", async () => {
    await modes("late", { mode: "http", late: "1500" });
    const answer = await faas.call("late/headers?a=b", { headers: { "x-mine": "yes" } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("x-custom"), "one, two");
    const heard = (await answer.json()) as Record<string, string>;
    assert.equal(heard["x-mine"], "yes");
    assert.equal(heard["x-call-id"], answer.headers.get("x-call-id"));
    assert.equal(heard["x-forwarded-host"], new URL(faas.gateway).host);
    const teapot = await faas.call("late/teapot");
    assert.equal(teapot.status, 418);
    assert.equal(await teapot.text(), "short and stout");
    const redirect = await faas.call("late/redirect", { redirect: "manual" });
    assert.equal(redirect.status, 302);
    assert.equal(redirect.headers.get("location"), "/elsewhere");
    const bytes = randomBytes(2_000_000);
    const echoed = await faas.call("late/echo", { method: "PUT", body: bytes });
    assert.ok(Buffer.from(await echoed.arrayBuffer()).equals(bytes));
    const head = await faas.call("late/", { method: "HEAD" });
    assert.equal(head.status, 200);
  });

  test("http: exec_timeout, and a caller's X-Timeout, are a 504; a broken connection is a 500", async () => {
    await modes("slow", { mode: "http", exec_timeout: "400ms" });
    const late = await faas.call("slow/sleep?ms=3000");
    assert.equal(late.status, 504);
    assert.equal(late.headers.get("x-openfaas-internal"), "of-watchdog");
    assert.equal(await (await faas.call("slow/sleep?ms=10")).text(), "slept");
    const impatient = await faas.call("late/sleep?ms=3000", { headers: { "x-timeout": "100ms" } });
    assert.equal(impatient.status, 504);
    assert.equal(impatient.headers.get("x-openfaas-internal"), "of-watchdog");
    const broken = await faas.call("slow/reset", { method: "POST", body: "x" });
    assert.equal(broken.status, 500);
    assert.equal(broken.headers.get("x-openfaas-internal"), "of-watchdog");
  });

  test("http: events reach the client as they are sent", async () => {
    const answer = await faas.call("late/events", { headers: { accept: "text/event-stream" } });
    assert.equal(answer.headers.get("content-type"), "text/event-stream");
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await reader.read()).value, "data: one\n\n");
    await faas.call("late/release");
    assert.equal((await reader.read()).value, "data: two\n\n");
    assert.ok((await reader.read()).done);
  });

  test("http: the server's lines are logged, with and without the watchdog's prefix, and a line for each call", async () => {
    await modes("prefixed", { mode: "http" });
    await modes("bare", { mode: "http", prefix_logs: "false" });
    for (const [name, wanted] of [
      ["prefixed", new RegExp(`${stamp}stdout: heard of /teapot$`)],
      ["bare", /^heard of \/teapot$/],
    ] as const) {
      await faas.call(`${name}/teapot`);
      const lines = await eventually(
        () => logsOf(faas, name),
        (found) => found.some((line) => wanted.test(line)),
      );
      assert.ok(
        lines.some((line) => wanted.test(line)),
        lines.join("\n"),
      );
      const summary = new RegExp(`${stamp}GET /teapot - 418 .*- ContentLength: 15B \\(\\d+\\.\\d{4}s\\)$`);
      assert.ok(
        lines.some((line) => summary.test(line)),
        lines.join("\n"),
      );
    }
  });

  test("http: a server that ends is replaced", async () => {
    await modes("mortal", { mode: "http" });
    const died = await faas.call("mortal/die");
    assert.equal(died.status, 500);
    assert.equal(died.headers.get("x-openfaas-internal"), "proxy");
    assert.equal(await died.text(), "Can't reach service for: mortal.");
    const again = await faas.call("mortal");
    assert.equal(again.status, 200);
    assert.match(await again.text(), /^GET by \d+$/);
    assert.match((await logsOf(faas, "mortal")).join("\n"), /node server\.mjs\) is gone: it ended with exit code 3/);
  });

  test("http: no call comes before the server says that it is ready, and one that is not well is replaced", async () => {
    const annotations = {
      "com.openfaas.ready.http.path": "/ready",
      "com.openfaas.health.http.path": "/health",
      "com.openfaas.health.http.periodSeconds": "100ms",
      "com.openfaas.health.http.failureThreshold": "2",
    };
    await modes("careful", { mode: "http", warms: "300", log_callid: "true" }, { annotations });
    const first = await faas.call("careful/ready", { headers: { "x-call-id": "careful-1" } });
    assert.equal(first.status, 200);
    await faas.call("careful/fall-ill");
    const next = await eventually(
      async () => (await faas.call("careful/health")).status,
      (status) => status === 200,
    );
    assert.equal(next, 200);
    const lines = await eventually(
      () => logsOf(faas, "careful"),
      (found) => found.some((line) => line.includes("failed its health check")),
    );
    assert.ok(lines.some((line) => line.includes("it failed its health check at /health 2 times")));
    assert.ok(lines.some((line) => /GET \/ready - 200 OK - ContentLength: .* \[careful-1\]$/.test(line)));
    const wrong = await faas.send("POST", "/system/functions", {
      service: "careless",
      image: "test/watchdog:1.0.0",
      annotations: { "com.openfaas.health.http.path": "health" },
    });
    assert.equal(wrong.status, 400);
    assert.match(await wrong.text(), /com\.openfaas\.health\.http\.path: "health" does not begin with \//);
  });

  test("http: a server that never listens is told of by the reason", async () => {
    await modes("stillborn", { mode: "http", fprocess: "sh -c exit\t7" }).then(
      async () => assert.equal((await faas.call("stillborn")).status, 500),
      (error: unknown) => assert.match(String(error), /exit code 7/),
    );
  });

  test("http: an image without a watchdog is a server on port 8080", async () => {
    assert.equal(await (await faas.call("watchdog-less/some/path?a=b")).text(), "hello from /some/path?a=b");
    const moved = { image: "test/watchdog-less:1.0.0" };
    await faas.deploy("watchdog-less-named", "node /srv/app/server.mjs", moved);
    assert.equal(await (await faas.call("watchdog-less-named/x")).text(), "hello from /x");
  });

  test("static: files by their paths, index.html for a folder, and 404", async () => {
    await modes("files", { mode: "static" });
    const index = await faas.call("files/");
    assert.equal(index.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(await index.text(), "<h1>Welcome</h1>\n");
    assert.equal((await faas.call("files")).status, 200);
    assert.equal((await faas.call("files/deep/page.css")).headers.get("content-type"), "text/css; charset=utf-8");
    assert.equal((await faas.call("files/none.css")).status, 404);
    assert.equal((await faas.call("files/%2e%2e/Dockerfile")).status, 404);
    await modes("deep-files", { mode: "static", static_path: "/home/app/public/deep" });
    assert.equal((await faas.call("deep-files/page.css")).status, 200);
  });

  test("max_inflight: one call too many is a 429 that says how many there may be", async () => {
    const labels = { "com.openfaas.scale.max": "1" };
    await modes("narrow", { mode: "http", max_inflight: "1" }, { labels });
    assert.equal((await faas.call("narrow")).status, 200);
    const running = faas.call("narrow/sleep?ms=1500");
    const refused = await eventually(
      () => faas.call("narrow"),
      ({ status }) => status !== 200,
    );
    assert.equal(refused.status, 429);
    assert.equal(refused.headers.get("x-openfaas-internal"), "faas-middleware");
    assert.equal(await refused.text(), "Concurrent request limit exceeded. Max concurrent requests: 1");
    assert.equal(await (await running).text(), "slept");
    assert.equal((await faas.call("narrow")).status, 200);
  });

  test("a mode that there is none of is refused by its name", async () => {
    await modes("modern", { mode: "afterburn" }).then(
      async () => assert.equal((await faas.call("modern")).status, 500),
      (error: unknown) => assert.match(String(error), /mode afterburn/),
    );
  });
});

/** A function of the image with of-watchdog and this folder's servers. */
function modes(name: string, { fprocess = "", ...envVars }: Record<string, string>, more = {}): Promise<void> {
  return faas.deploy(name, fprocess, { image: "test/watchdog:1.0.0", envVars, ...more });
}
