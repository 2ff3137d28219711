import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingClients } from "../../clients/clients.ts";
import { Faas } from "./faas.ts";

// The fixture logs in with the client.
const skip = missingClients("faas-cli");
const alpine = "ghcr.io/openfaas/alpine:latest";
const anyone = `Basic realm="Restricted"`;

describe("the gateway over HTTP", { skip }, () => {
  let faas: Faas;
  before(async () => {
    faas = await Faas.start();
    await Promise.all([faas.deploy("env", "env"), faas.deploy("cat", "cat")]);
  });
  after(() => faas?.stop());

  const json = async (path: string): Promise<any> => (await faas.system(path)).json(); // eslint-disable-line typescript/no-explicit-any
  const statusOf = async (method: string, path: string, document?: unknown): Promise<number> => {
    const answer = await (document === undefined ? faas.system(path, { method }) : faas.send(method, path, document));
    await answer.text();
    return answer.status;
  };

  describe("control plane", () => {
    test("without good credentials there is nothing: 401, the challenge, and OpenFaaS's words", async () => {
      const strangers: (RequestInit & { password?: string | false })[] = [
        { password: false },
        { password: "wrong" },
        { password: false, headers: { authorization: "Bearer " } },
        { password: false, headers: { authorization: "Basic !!!" } },
      ];
      for (const path of ["/system/functions", "/system/info", "/system/nothing", "/ui/"])
        for (const stranger of strangers) {
          const answer = await faas.system(path, stranger);
          assert.equal(answer.status, 401, path);
          assert.equal(answer.headers.get("www-authenticate"), anyone);
          assert.equal(await answer.text(), "invalid credentials");
        }
      const bearer = { password: false, headers: { authorization: `Bearer ${faas.password}` } } as const;
      assert.equal((await faas.system("/system/functions", bearer)).status, 200);
    });

    test("it tells whether it is there, and where its page is, to everybody", async () => {
      for (const method of ["GET", "HEAD"]) {
        const health = await faas.system("/healthz", { method, password: false });
        assert.deepEqual([health.status, await health.text()], [200, ""]);
      }
      const root = await faas.system("/", { password: false, redirect: "manual" });
      assert.deepEqual([root.status, root.headers.get("location")], [307, "/ui/"]);
    });

    test("info has every part that clients read into", async () => {
      const info = await json("/system/info");
      const { version } = info;
      assert.deepEqual(info, {
        provider: { provider: "virga", orchestration: "virga", version },
        version,
        arch: info.arch,
      });
      assert.ok(version.sha !== "" && version.release !== "" && info.arch !== "");
      assert.equal(await statusOf("GET", "/system/telemetry"), 200);
    });

    test("what is not there is 404, what cannot be done there 405", async () => {
      for (const path of ["/nothing", "/uix", "/system/nothing", "/system/", "/system/function/", "/system/info/x/y"])
        assert.equal(await statusOf("GET", path), 404, path);
      const wrong = [
        ["PATCH", "/system/functions"],
        ["POST", "/system/info"],
        ["POST", "/system/function/env"],
        ["GET", "/system/scale-function/env"],
        ["GET", "/system/alert"],
        ["DELETE", "/system/logs"],
        ["POST", "/system/namespaces"],
        ["GET", "/system/namespace/"],
        ["POST", "/metrics"],
        ["POST", "/healthz"],
        ["DELETE", "/"],
        ["GET", "/build"],
        ["POST", "/stores/functions.json"],
      ] as const;
      for (const [method, path] of wrong) assert.equal(await statusOf(method, path), 405, `${method} ${path}`);
    });

    test("a function is put where it is, posted where it is not, and deleted with 202", async () => {
      const document = { service: "comes", image: alpine, envProcess: "cat" };
      assert.equal(await statusOf("PUT", "/system/functions", document), 404);
      assert.equal(await statusOf("GET", "/system/function/comes"), 404);
      assert.equal(await statusOf("POST", "/system/functions", document), 202);
      assert.equal(await statusOf("PUT", "/system/functions", { ...document, envProcess: "sha512sum" }), 200);
      assert.match(await (await faas.call("comes", { method: "POST", body: "" })).text(), /^cf83e1357eefb8bd/);
      assert.equal(await statusOf("DELETE", "/system/functions", { functionName: "comes" }), 202);
      assert.equal(await statusOf("DELETE", "/system/functions", { functionName: "comes" }), 404);
      assert.equal(await statusOf("POST", "/system/scale-function/comes", { replicas: 1 }), 404);
      assert.equal((await faas.call("comes")).status, 404);
    });

    test("a status has what the deployment had, and nothing that is made up", async () => {
      await faas.send("POST", "/system/secrets", { name: "for-status", value: "x" });
      const given = {
        image: alpine,
        envProcess: "cat",
        envVars: { A: "1", write_timeout: "10s" },
        constraints: ["node=here"],
        secrets: ["for-status"],
        labels: { team: "a", "com.openfaas.scale.max": "3" },
        annotations: { note: "b" },
        limits: { memory: "128Mi", cpu: "500m" },
        requests: { memory: "64Mi" },
        readOnlyRootFilesystem: true,
      };
      await faas.deploy("full", "cat", { ...given, registryAuth: "ignored", network: "ignored" });
      const full = await json("/system/function/full");
      const { createdAt, replicas, availableReplicas, ...rest } = full;
      assert.deepEqual(rest, {
        name: "full",
        namespace: "openfaas-fn",
        ...given,
        labels: { ...given.labels, faas_function: "full" },
        invocationCount: 0,
      });
      assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 60_000);
      assert.deepEqual([typeof replicas, typeof availableReplicas], ["number", "number"]);
      const listed: { name: string }[] = await json("/system/functions?namespace=openfaas-fn");
      assert.deepEqual(Object.keys(listed.find(({ name }) => name === "full")!).sort(), Object.keys(full).sort());

      await faas.deploy("bare", "cat", { labels: null, annotations: null, envVars: null, limits: null, secrets: null });
      const bare = await json("/system/function/bare");
      assert.deepEqual([bare.labels, bare.annotations], [{ faas_function: "bare" }, {}]);
      assert.deepEqual(
        Object.keys(bare).sort(),
        "annotations availableReplicas createdAt envProcess image invocationCount labels name namespace replicas".split(
          " ",
        ),
      );
      const { usage } = await json("/system/function/cat?usage=1");
      assert.ok(usage.totalMemoryBytes > 2 ** 20 && usage.cpu >= 0, JSON.stringify(usage));
    });

    test("calls are counted", async () => {
      await faas.deploy("counted", "cat");
      for (let calls = 0; calls < 3; calls++) await (await faas.call("counted")).text();
      assert.equal((await json("/system/function/counted")).invocationCount, 3);
    });

    test("scaled to zero it has no replica until it is called; scaled up it has as many", async () => {
      await faas.deploy("scaled", "cat");
      const call = async (): Promise<string> => (await faas.call("scaled", { method: "POST", body: "hi" })).text();
      assert.equal(await call(), "hi");
      // The namespace may stand in the body, or in the query as clients of old had it.
      const body = { serviceName: "scaled", replicas: 0, namespace: "openfaas-fn" };
      for (const [query, document] of [
        ["", body],
        ["?namespace=openfaas-fn", { serviceName: "scaled", replicas: 0 }],
      ] as const) {
        assert.equal(await statusOf("POST", `/system/scale-function/scaled${query}`, document), 202);
        const { replicas, availableReplicas } = await json("/system/function/scaled");
        assert.deepEqual([replicas, availableReplicas], [0, 0]);
        assert.equal(await call(), "hi");
        assert.equal((await json("/system/function/scaled")).replicas, 1);
      }
      assert.equal(await statusOf("POST", "/system/scale-function/scaled", { replicas: 3 }), 202);
      assert.equal((await json("/system/function/scaled")).replicas, 3);
      await until(async () => (await json("/system/function/scaled")).availableReplicas === 3);
    });

    test("an alert takes steps of the factor up to the maximum, and its end goes to the minimum", async () => {
      const labels = { "com.openfaas.scale.max": "4", "com.openfaas.scale.factor": "50" };
      await faas.deploy("alerted", "cat", { labels });
      const alert = async (status: string): Promise<number> => {
        const alerts = [
          { status, labels: { alertname: "APIHighInvocationRate", function_name: "alerted.openfaas-fn" } },
        ];
        assert.equal(await statusOf("POST", "/system/alert", { status, receiver: "scale-up", alerts }), 200);
        return (await json("/system/function/alerted")).replicas;
      };
      assert.equal(await alert("firing"), 3);
      assert.equal(await alert("firing"), 4);
      assert.equal(await alert("firing"), 4);
      await alert("resolved");
      await until(async () => (await json("/system/function/alerted")).replicas === 1);
    });

    test("secrets are made once, changed and removed where they are, and never shown", async () => {
      const path = "/system/secrets";
      assert.equal(await statusOf("PUT", path, { name: "key", value: "one" }), 404);
      assert.equal(await statusOf("DELETE", path, { name: "key" }), 404);
      assert.equal(await statusOf("POST", path, { name: "key", value: "one" }), 201);
      assert.equal(await statusOf("POST", path, { name: "key", value: "two" }), 409);
      const raw = { name: "key", value: "not this", rawValue: Buffer.from([0, 255, 10]).toString("base64") };
      assert.equal(await statusOf("PUT", path, raw), 202);
      const listed: { name: string }[] = await json(path);
      assert.deepEqual(
        listed.find(({ name }) => name === "key"),
        { name: "key", namespace: "openfaas-fn" },
      );
      await faas.deploy("reads", "cat /var/openfaas/secrets/key", { secrets: ["key"] });
      assert.deepEqual(new Uint8Array(await (await faas.call("reads")).arrayBuffer()), new Uint8Array([0, 255, 10]));
      assert.equal(await statusOf("DELETE", path, { name: "key" }), 202);
      const missing = await faas.send("POST", "/system/functions", {
        service: "reads",
        image: alpine,
        secrets: ["key"],
      });
      assert.equal(missing.status, 400);
      assert.match(await missing.text(), /unable to find secret key/);
    });

    test("namespaces are made, marked, changed and removed with what is in them", async () => {
      const marked = { annotations: { openfaas: "1" } };
      assert.equal(await statusOf("GET", "/system/namespace/staging"), 404);
      assert.equal(await statusOf("PUT", "/system/namespace/staging", marked), 404);
      assert.equal(await statusOf("DELETE", "/system/namespace/staging"), 404);
      assert.equal(await statusOf("POST", "/system/namespace/", { name: "staging" }), 400);
      assert.equal(
        await statusOf("POST", "/system/namespace/", { name: "staging", ...marked, labels: { a: "b" } }),
        201,
      );
      assert.equal(await statusOf("POST", "/system/namespace/", { name: "staging", ...marked }), 409);
      // Of the platform, and not of OpenFaaS.
      assert.equal(await statusOf("POST", "/system/namespace/", { name: "default", ...marked }), 409);
      assert.equal(await statusOf("GET", "/system/namespace/default"), 404);
      assert.equal(await statusOf("PUT", "/system/namespace/staging", { ...marked, labels: { a: "c" } }), 202);
      assert.deepEqual(await json("/system/namespace/staging"), {
        name: "staging",
        labels: { openfaas: "1", a: "c" },
        annotations: { openfaas: "1" },
      });
      assert.deepEqual(await json("/system/namespaces"), ["openfaas-fn", "staging"]);
      await faas.deploy("cat", "cat", { namespace: "staging" });
      assert.equal((await faas.call("cat.staging")).status, 200);
      assert.equal(await statusOf("DELETE", "/system/namespace/staging"), 202);
      assert.equal((await faas.call("cat.staging")).status, 404);
      assert.equal(await statusOf("DELETE", "/system/namespace/openfaas-fn"), 400);
      assert.deepEqual(await json("/system/namespaces"), ["openfaas-fn"]);
      const nowhere = { service: "cat", image: alpine, namespace: "nowhere" };
      assert.equal(await statusOf("POST", "/system/functions", nowhere), 400);
    });

    test("what stands behind the last dot of a name is its namespace", async () => {
      await faas.send("POST", "/system/namespace/", { name: "dots", annotations: { openfaas: "1" } });
      await faas.deploy("who", "echo default");
      await faas.deploy("who", "echo dots", { namespace: "dots" });
      for (const [address, answer] of [
        ["who", "default\n"],
        ["who.openfaas-fn", "default\n"],
        ["who.dots", "dots\n"],
        ["who.dots/path?query", "dots\n"],
        ["who.else.dots", "error finding function who.else.dots: there is no function who.else in namespace dots"],
      ] as const)
        assert.equal(await (await faas.call(address)).text(), answer);
      assert.deepEqual(
        (await json("/system/functions?namespace=dots")).map(({ name }: { name: string }) => name),
        ["who"],
      );
      assert.equal(await statusOf("DELETE", "/system/functions?namespace=dots", { functionName: "who" }), 202);
      assert.equal(await (await faas.call("who")).text(), "default\n");
    });

    test("a token of one namespace opens that one alone", async () => {
      await faas.send("POST", "/system/namespace/", { name: "theirs", annotations: { openfaas: "1" } });
      const token = async (role: string): Promise<string> => {
        const body = JSON.stringify({ description: role, namespaces: ["theirs"], role });
        const headers = { "content-type": "application/json" };
        return (await faas.platform.request("/v1/tokens", { method: "POST", headers, body })).json().secret;
      };
      const as = async (password: string, method: string, path: string, document?: unknown): Promise<number> => {
        const body = document === undefined ? {} : { body: JSON.stringify(document) };
        return (await faas.system(path, { password, method, ...body })).status;
      };
      const [admin, caller] = [await token("admin"), await token("invoke")];
      const inTheirs = { service: "own", image: alpine, namespace: "theirs" };
      assert.equal(await as(caller, "POST", "/system/functions", inTheirs), 403);
      assert.equal(await as(admin, "POST", "/system/functions", inTheirs), 202);
      assert.equal(await as(admin, "GET", "/system/function/own?namespace=theirs"), 200);
      assert.equal(await as(admin, "POST", "/system/functions", { ...inTheirs, namespace: "openfaas-fn" }), 403);
      for (const path of ["functions", "function/cat", "secrets", "logs?name=cat", "namespace/openfaas-fn"])
        assert.equal(await as(admin, "GET", `/system/${path}`), 403, path);
      assert.equal(await as(admin, "DELETE", "/system/functions", { functionName: "cat" }), 403);
      assert.equal(await as(admin, "POST", "/system/scale-function/cat", { replicas: 0 }), 403);
      assert.equal(await as(admin, "POST", "/system/secrets", { name: "a", value: "b" }), 403);
      const seen = await faas.system("/system/namespaces", { password: admin });
      assert.deepEqual(await seen.json(), ["theirs"]);
    });

    test("documents that make no sense are 400, whatever is wrong with them", async () => {
      const documents = [
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"service":1}',
        '{"service":"a"}',
        '{"service":"A_b","image":"cat"}',
        '{"service":"a","image":"nobody/knows:1"}',
        '{"service":"__proto__","image":"functions/alpine"}',
        '{"service":"a","image":"functions/alpine","namespace":"../.."}',
        '{"service":"a","image":"functions/alpine","envVars":{"A":1}}',
        '{"service":"a","image":"functions/alpine","envVars":{"A-B":"1"}}',
        '{"service":"a","image":"functions/alpine","envVars":{"exec_timeout":"soon"}}',
        '{"service":"a","image":"functions/alpine","limits":{"memory":"much"}}',
        '{"service":"a","image":"functions/alpine","secrets":["../key"]}',
        '{"service":"a","image":"functions/alpine","labels":{"com.openfaas.scale.min":"few"}}',
        '{"service":"a","image":"functions/alpine","annotations":{"topic":"cron-function","schedule":"often"}}',
        '{"replicas":-1}',
        '{"replicas":1.5}',
        '{"replicas":"1"}',
        '{"name":"../key","value":"x"}',
        '{"name":"key"}',
        '{"name":"key","annotations":5}',
        '{"alerts":{}}',
        '{"alerts":[null]}',
        '{"alerts":[{"labels":[]}]}',
      ];
      const targets = ["POST /system/functions", "DELETE /system/functions", "POST /system/scale-function/cat"];
      targets.push("POST /system/secrets", "POST /system/namespace/", "POST /system/alert");
      for (const target of targets)
        for (const body of documents) {
          const [method = "", path = ""] = target.split(" ");
          const answer = await faas.system(path, { method, body });
          assert.equal(answer.status, 400, `${target} ${body}: ${answer.status}`);
          assert.notEqual(await answer.text(), "");
        }
      const large = JSON.stringify({ service: "a", image: "x".repeat(2 ** 21) });
      assert.equal((await faas.system("/system/functions", { method: "POST", body: large })).status, 413);
    });

    test("logs are lines of JSON, and what cannot be read of a query is 422", async () => {
      await (await faas.call("cat", { method: "POST", body: "logged" })).text();
      const answer = await faas.system("/system/logs?name=cat&tail=1");
      assert.equal(answer.headers.get("content-type"), "application/x-ndjson");
      const lines = (await answer.text()).trimEnd().split("\n");
      assert.equal(lines.length, 1);
      const { timestamp, instance, text, ...rest } = JSON.parse(lines[0]!);
      assert.deepEqual(rest, { name: "cat", namespace: "openfaas-fn" });
      assert.match(text, /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d Wrote 6 Bytes - Duration: [\d.]+s$/);
      assert.ok(Date.parse(timestamp) > Date.now() - 60_000 && instance !== "");
      assert.equal(await (await faas.system("/system/logs?name=cat&instance=another")).text(), "");
      for (const query of ["", "name=cat&tail=many", "name=cat&since=yesterday", "name=cat&follow=perhaps"])
        assert.equal(await statusOf("GET", `/system/logs?${query}`), 422, query);
      assert.equal(await statusOf("GET", "/system/logs?name=nobody"), 404);
    });

    test("what a server says at its start is in its logs, in a namespace that was just made, too", async () => {
      await faas.send("POST", "/system/namespace/", { name: "young", annotations: { openfaas: "1" } });
      // As a deployment of OpenFaaS, whose program is this one.
      const note = { service: "says", image: alpine, namespace: "young" };
      const settings = { scaling: { min: 1 }, annotations: { "openfaas.deployment": JSON.stringify(note) } };
      const source = "console.log('I am here'); export default () => new Response('x');";
      await faas.platform.deploy("says", { "index.mjs": source }, settings, "young");
      const lines = async (): Promise<string> => (await faas.system("/system/logs?name=says&namespace=young")).text();
      await until(async () => (await lines()).includes("I am here"));
      await faas.send("DELETE", "/system/functions", { functionName: "says", namespace: "young" });
      await faas.deploy("says", "cat", { namespace: "young" });
      assert.equal(await lines(), "", "it has the lines of a function that was removed");
    });

    test("metrics have OpenFaaS's names and labels, and count what the caller was answered", async () => {
      const label = `function_name="measured.openfaas-fn"`;
      await faas.deploy("measured", "cat");
      await (await faas.call("measured")).text();
      await faas.deploy("measured", "cat", { envVars: { fprocess: "" }, envProcess: "" });
      assert.equal((await faas.call("measured")).status, 500);
      assert.equal((await faas.system("/metrics", { password: false })).status, 401);
      const answer = await faas.system("/metrics");
      assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
      const text = await answer.text();
      for (const line of [
        "# TYPE gateway_function_invocation_total counter",
        `gateway_function_invocation_total{${label},code="200"} 1`,
        `gateway_function_invocation_total{${label},code="500"} 1`,
        "# TYPE gateway_function_invocation_started counter",
        `gateway_function_invocation_started{${label}} 2`,
        "# TYPE gateway_functions_seconds histogram",
        `gateway_functions_seconds_bucket{le="+Inf",${label},code="200"} 1`,
        `gateway_functions_seconds_count{${label},code="200"} 1`,
        "# TYPE gateway_service_count gauge",
        `gateway_service_count{function_name="cat.openfaas-fn"} 1`,
        `gateway_service_ready_count{function_name="cat.openfaas-fn"} 1`,
        `gateway_service_target{function_name="cat.openfaas-fn"} 50`,
        `gateway_service_min{function_name="cat.openfaas-fn"} 1`,
        `gateway_invocation_function_invocation_inflight{${label}} 0`,
      ])
        assert.ok(text.split("\n").includes(line), `${line}\n${text}`);
    });

    test("the page is for those with credentials", async () => {
      const page = await faas.system("/ui/");
      assert.deepEqual([page.status, page.headers.get("content-type")], [200, "text/html; charset=utf-8"]);
      assert.match(await page.text(), /<h1>Functions<\/h1>/);
    });
  });

  describe("calls", () => {
    before(() =>
      faas.platform.deploy(
        "answers",
        { "index.mjs": answers },
        { public: true, limits: { concurrency: 16 }, scaling: { max: 1 } },
        "openfaas-fn",
      ),
    );

    /** The request as the function saw it. */
    const seen = async (answer: Response): Promise<Map<string, string>> => {
      const lines = (await answer.text()).split("\n");
      return new Map(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
    };

    test("a call has an id, the time it began, who asked for it, and how long it took", async () => {
      const answer = await faas.call("env");
      const request = await seen(answer);
      const id = answer.headers.get("x-call-id") ?? "";
      assert.match(id, /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/);
      assert.equal(request.get("Http_X_Call_Id"), id);
      const began = answer.headers.get("x-start-time") ?? "";
      assert.match(began, /^\d{19}$/);
      assert.ok(Math.abs(Number(BigInt(began) / 1_000_000n) - Date.now()) < 60_000);
      assert.equal(request.get("Http_X_Start_Time"), began);
      assert.match(answer.headers.get("x-duration-seconds") ?? "", /^\d+\.\d{6}$/);
      assert.match(answer.headers.get("x-served-by") ?? "", /^virga\/\d/);
      assert.match(request.get("Http_X_Forwarded_For") ?? "", /^127\.0\.0\.1:\d+$/);
      assert.equal(request.get("Http_X_Forwarded_Host"), new URL(faas.gateway).host);
    });

    test("an id that the caller gives is kept, and proxies in front of the gateway are told on", async () => {
      const headers = { "x-call-id": "mine-1", "x-forwarded-for": "10.1.2.3", "x-forwarded-host": "functions.example" };
      const answer = await faas.call("env", { headers });
      assert.equal(answer.headers.get("x-call-id"), "mine-1");
      const request = await seen(answer);
      assert.equal(request.get("Http_X_Call_Id"), "mine-1");
      assert.match(request.get("Http_X_Forwarded_For") ?? "", /^10\.1\.2\.3, 127\.0\.0\.1:\d+$/);
      assert.equal(request.get("Http_X_Forwarded_Host"), "functions.example");
    });

    test("the path behind the name and the query reach the function as they are", async () => {
      const of = async (path: string): Promise<(string | undefined)[]> => {
        const request = await seen(await faas.call(path));
        return [request.get("Http_Path"), request.get("Http_Query")];
      };
      assert.deepEqual(await of("env"), ["/", undefined]);
      assert.deepEqual(await of("env/"), ["/", undefined]);
      assert.deepEqual(await of("env?a=1&b=%20c&a=2"), ["/", "a=1&b=%20c&a=2"]);
      assert.deepEqual(await of("env.openfaas-fn/some/path%2Fx/?a?b"), ["/some/path%2Fx/", "a?b"]);
    });

    test("seven methods are passed on, others are 405", async () => {
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
        assert.equal((await seen(await faas.call("env", { method }))).get("Http_Method"), method);
      const head = await faas.call("env", { method: "HEAD" });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
      assert.equal((await ask("PROPFIND", "/function/env")).status, 405);
    });

    test("headers of one connection end there, those of the call go on", async () => {
      const { text } = await ask("GET", "/function/env", {
        connection: "keep-alive, x-private",
        "keep-alive": "timeout=9",
        "proxy-connection": "keep-alive",
        te: "trailers",
        "x-private": "1",
        "x-public": "2",
        authorization: "Bearer of-the-function",
      });
      const names = text.split("\n").map((line) => line.slice(0, line.indexOf("=")));
      for (const name of ["Connection", "Keep_Alive", "Proxy_Connection", "Te", "X_Private"])
        assert.ok(!names.includes(`Http_${name}`), name);
      assert.match(text, /^Http_X_Public=2$/m);
      assert.match(text, /^Http_Authorization=Bearer of-the-function$/m);
      const owner = await ask("GET", "/function/env", { authorization: `Bearer ${faas.password}` });
      assert.doesNotMatch(owner.text, /Http_Authorization/);
    });

    test("an answer without a type has that of the request, else text/plain", async () => {
      const typeOf = async (path: string, headers: Record<string, string>): Promise<string | string[] | undefined> =>
        (await ask("POST", `/function/${path}`, headers, "x")).headers["content-type"];
      assert.equal(await typeOf("answers/typeless", {}), "text/plain");
      assert.equal(await typeOf("answers/typeless", { "content-type": "image/png" }), "image/png");
      assert.equal(await typeOf("answers/typed", { "content-type": "image/png" }), "application/json");
      assert.equal(await typeOf("cat", { "content-type": "application/x-own" }), "application/x-own");
      assert.equal(await typeOf("cat", {}), "text/plain");
    });

    test("a redirect is the caller's to follow, and every status comes through", async () => {
      const moved = await faas.call("answers/moved", { redirect: "manual" });
      assert.deepEqual([moved.status, moved.headers.get("location")], [302, "https://example.com/a?b"]);
      for (const status of [201, 204, 404, 418, 503])
        assert.equal((await faas.call(`answers/status/${status}`)).status, status);
    });

    test("large bodies go both ways, with their length and in chunks", async () => {
      const bytes = randomBytes(20 * 2 ** 20);
      const digest = createHash("sha256").update(bytes).digest("hex");
      for (const [name, value] of [
        ["content-length", String(bytes.length)],
        ["transfer-encoding", "chunked"],
      ] as const) {
        const headers = { "content-type": "application/octet-stream", [name]: value };
        const answer = await ask("POST", "/function/cat", headers, bytes);
        assert.equal(answer.status, 200);
        assert.equal(createHash("sha256").update(answer.body).digest("hex"), digest);
      }
    });

    test("an answer is passed on as it comes", async () => {
      const answer = await faas.call("answers/slowly", { headers: { accept: "text/event-stream" } });
      assert.equal(answer.headers.get("content-type"), "text/event-stream");
      const reader = answer.body!.getReader();
      const { value } = await reader.read();
      assert.equal(Buffer.from(value).toString(), "data: 1\n\n");
      // It goes on once it is told that this much has arrived.
      await (await faas.call("answers/go")).text();
      assert.equal(Buffer.from((await reader.read()).value).toString(), "data: 2\n\n");
      assert.equal((await reader.read()).done, true);
    });

    test("a caller that leaves takes its call along", async () => {
      await faas.deploy("sleeps", "sleep 600");
      const leaving = new AbortController();
      const call = faas.call("sleeps", { signal: leaving.signal, headers: { "x-call-id": "leaves" } });
      const running = async (): Promise<number> => {
        const native = await faas.platform.request("/v1/namespaces/openfaas-fn/functions/sleeps");
        const instances: { running: number }[] = native.json().instances;
        return instances.reduce((sum, { running }) => sum + running, 0);
      };
      await until(async () => (await running()) === 1);
      leaving.abort();
      await assert.rejects(call);
      await until(async () => (await running()) === 0);
      const calls = await faas.platform.request("/v1/namespaces/openfaas-fn/invocations?function=sleeps");
      assert.deepEqual(
        calls.json().items.map(({ status }: { status: string }) => status),
        ["cancelled"],
      );
    });

    test("a function that is not there, or whose process died, is told in OpenFaaS's words", async () => {
      const unknown = await faas.call("nobody");
      assert.equal(unknown.status, 404);
      assert.match(await unknown.text(), /^error finding function nobody\.openfaas-fn: /);
      assert.ok(unknown.headers.has("x-call-id"));
      const dead = await faas.call("answers/die");
      assert.equal(dead.status, 500);
      assert.equal(dead.headers.get("x-openfaas-internal"), "proxy");
      assert.equal(await dead.text(), "Can't reach service for: answers.");
      assert.equal((await faas.call("answers/typed")).status, 200);
    });

    test("one whose process does not start is so too; why is told to its owner alone", async () => {
      await faas.deploy("processless", "", { envVars: { fprocess: "" } });
      const answer = await faas.call("processless");
      assert.equal(answer.status, 500);
      assert.equal(await answer.text(), "Can't reach service for: processless.");
      const headers = { authorization: `Bearer ${faas.password}` };
      assert.match(await (await faas.call("processless", { headers })).text(), /fprocess is empty/);
    });

    test("a process that takes too long is killed with 408, one that fails is 500 with its output", async () => {
      await faas.deploy("slow", "sleep 600", { envVars: { exec_timeout: "200ms" } });
      const killed = await faas.call("slow");
      assert.deepEqual([killed.status, (await killed.text()).trim()], [408, "Killed process."]);
      await faas.deploy("fails", "ls /nothing/here");
      const failed = await faas.call("fails");
      assert.equal(failed.status, 500);
      assert.match(await failed.text(), /^exit status \d+\nls: .*\/nothing\/here/);
      await faas.deploy("missing", "no-such-program");
      assert.equal((await faas.call("missing")).status, 500);
    });

    test("more calls than max_inflight allows are 429, at once", async () => {
      const labels = { "com.openfaas.scale.max": "1" };
      await faas.deploy("narrow", "sleep 0.5", { labels, envVars: { max_inflight: "1" } });
      await until(async () => (await json("/system/function/narrow")).availableReplicas === 1);
      const both = await Promise.all([faas.call("narrow"), faas.call("narrow")]);
      const [done, refused] = both.sort((one, other) => one.status - other.status);
      assert.deepEqual([done.status, refused.status], [200, 429]);
      assert.equal(refused.headers.get("x-openfaas-internal"), "faas-middleware");
      assert.equal(await refused.text(), "Concurrent request limit exceeded. Max concurrent requests: 1");
      assert.equal((await faas.call("narrow")).status, 200);
    });
  });

  async function ask(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string | Uint8Array,
  ): Promise<{ status: number; headers: IncomingMessage["headers"]; body: Buffer; text: string }> {
    const { hostname, port } = new URL(faas.gateway);
    const request = httpRequest({ hostname, port, method, path, headers });
    request.end(body);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const whole = Buffer.concat(chunks);
    return { status: response.statusCode ?? 0, headers: response.headers, body: whole, text: whole.toString() };
  }
});

/** A function of the platform, which the gateway calls as it calls its own. */
const answers = `
let go;
export default async (request) => {
  const { pathname } = new URL(request.url);
  const [, kind, value] = pathname.split("/");
  switch (kind) {
    case "typed": return new Response("{}", { headers: { "content-type": "application/json" } });
    case "typeless": return new Response(new Uint8Array([120]));
    case "moved": return new Response(null, { status: 302, headers: { location: "https://example.com/a?b" } });
    case "status": return new Response(null, { status: Number(value) });
    case "die": process.exit(3);
    case "go": go(); return new Response("");
    case "slowly": {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("data: 1\\n\\n"));
          go = () => { controller.enqueue(new TextEncoder().encode("data: 2\\n\\n")); controller.close(); };
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    }
  }
};
`;

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(20);
}
