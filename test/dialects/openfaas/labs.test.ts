/** The labs of OpenFaaS's workshop, in their order and by its client; the internet of theirs is a server of ours. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { eventually, logsOf, type Neighbour, neighbour } from "./fixtures/neighbours.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap", "pip");

describe("the workshop", { skip, timeout: 180_000 }, () => {
  let faas: Faas;
  /** The folder that somebody who follows the workshop works in. */
  let cwd: string;
  let internet: Neighbour;
  const heard: { url: string; headers: IncomingHttpHeaders; body: string }[] = [];

  before(async () => {
    faas = await Faas.start();
    cwd = faas.folderWith("python3", "dockerfile");
    internet = await neighbour((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.once("end", () => {
        heard.push({ url: request.url!, headers: request.headers, body });
        response.end(JSON.stringify({ number: 1, people: [{ name: "Ada Lovelace", craft: "ISS" }] }));
      });
    });
  });
  after(async () => {
    await faas?.stop();
    internet?.close();
  });

  /** `faas-cli new`, and a handler of ours. */
  async function begin(name: string): Promise<void> {
    await faas.ok(["new", "--lang", "python3", name, "--prefix", "workshop", "--quiet"], { cwd });
    copyFileSync(join(import.meta.dirname, "fixtures/labs", `${name}.py`), join(cwd, name, "handler.py"));
  }

  /** Changes the stack file, and `faas-cli up`. */
  async function update(name: string, change: (text: string) => string): Promise<string> {
    const file = join(cwd, `${name}.yml`);
    writeFileSync(file, change(readFileSync(file, "utf8")));
    return faas.buildUp(cwd, `${name}.yml`);
  }

  async function make(name: string, lines: readonly string[] = []): Promise<string> {
    await begin(name);
    return update(name, (text) => withLines(text, lines));
  }

  /** What `list` says of a function. */
  async function listed(name: string): Promise<{ invocations: number; replicas: number }> {
    const printed = await faas.ok(["list"]);
    const [, invocations, replicas] = new RegExp(`^${name}\\s+(\\d+)\\s+(\\d+)`, "m").exec(printed) ?? [];
    return { invocations: Number(invocations), replicas: Number(replicas) };
  }

  describe("lab 2: functions of the store", () => {
    test("are deployed and listed, with each of their calls", async () => {
      const url = `${faas.gateway}/stores/functions.json`;
      for (const name of ["markdown", "nodeinfo", "figlet", "env"])
        await faas.ok(["store", "deploy", name, "--url", url]);
      assert.match(await faas.ok(["list", "-v"]), /^markdown\s+ghcr\.io\/openfaas\/markdown\S*\s+0\s+1/m);
      for (let call = 1; call <= 3; call++) {
        assert.equal((await faas.invoke("markdown", "# Hi")).trim(), "<h1>Hi</h1>");
        const is = await eventually(
          () => listed("markdown"),
          ({ invocations }) => invocations === call,
        );
        assert.deepEqual(is, { invocations: call, replicas: 1 });
      }
    });

    test("do what their names say", async () => {
      const html = await faas.invoke("markdown", "## The **OpenFaaS** _workshop_");
      assert.equal(html.trim(), "<h2>The <strong>OpenFaaS</strong> <em>workshop</em></h2>");
      const art = await faas.invoke("figlet", "100%");
      assert.ok(art.trimEnd().split("\n").length >= 4, art);
      assert.match(await faas.invoke("nodeinfo"), /CPUs: \d+/);
      assert.match(await faas.invoke("nodeinfo", "verbose"), /CPU details:/);
    });
  });

  describe("lab 3: functions of one's own", () => {
    test("new makes a handler, its requirements and a stack file; up brings it up", async () => {
      const said = await make("hello");
      for (const path of ["hello/handler.py", "hello/requirements.txt", "hello.yml"])
        assert.ok(existsSync(join(cwd, path)), path);
      assert.match(said, /Deployed\. 202 Accepted\.\s+URL: http:\S+\/function\/hello/);
      assert.equal((await faas.invoke("hello")).trim(), "Hello OpenFaaS");
      assert.match(readFileSync(join(cwd, "hello.yml"), "utf8"), /image: workshop\/hello:latest/);
    });

    test("packages of requirements.txt are installed, and what they reach is outside", async () => {
      await begin("astronaut-finder");
      writeFileSync(join(cwd, "astronaut-finder/requirements.txt"), "requests\n");
      const lines = ["environment:", `  people_url: ${internet.url}/astros.json`];
      await update("astronaut-finder", (text) => withLines(text, lines));
      assert.equal((await faas.invoke("astronaut-finder")).trim(), "Ada Lovelace is in space");
      assert.equal(heard.at(-1)!.url, "/astros.json");
    });

    test("several stand in one file; of them a filter or an expression takes some, several at a time", async () => {
      await faas.ok(["new", "--lang", "python3", "first", "--quiet"], { cwd });
      for (const name of ["second", "fn1-one", "fn1-two", "fn2-three"])
        await faas.ok(["new", "--lang", "python3", name, "--append=first.yml", "--quiet"], { cwd });
      const built = (printed: string): string[] =>
        [...printed.matchAll(/> Building (\S+)\./g)].map((found) => found[1]!).toSorted();
      assert.deepEqual(built(await faas.buildUp(cwd, "first.yml", "--filter=second")), ["second"]);
      assert.deepEqual(built(await faas.buildUp(cwd, "first.yml", "--regex", "fn[0-9]-t.*")), ["fn1-two", "fn2-three"]);
      const names = (await faas.ok(["list", "-q"])).trim().split("\n");
      for (const name of ["second", "fn1-two", "fn2-three"]) assert.ok(names.includes(name), name);
      for (const name of ["first", "fn1-one"]) assert.ok(!names.includes(name), name);
      const all = await faas.buildUp(cwd, "first.yml", "--parallel", "2");
      assert.deepEqual(built(all), ["first", "fn1-one", "fn1-two", "fn2-three", "second"]);
      const said = await Promise.all(["first", "second", "fn1-one"].map((name) => faas.invoke(name, name)));
      assert.deepEqual(said, ["first\n", "second\n", "fn1-one\n"]);
    });

    test("variables of the shell stand in a stack file, with what holds without them", async () => {
      const image = (text: string): string => text.replace(/image: .*/, "image: ${DOCKER_USER:-development}/hello:1.0");
      const imageOf = async (): Promise<string> =>
        ((await (await faas.system("/system/function/hello")).json()) as { image: string }).image;
      await update("hello", image);
      assert.equal(await imageOf(), "development/hello:1.0");
      const builder = ["--remote-builder", `${faas.gateway}/build`, "--payload-secret", faas.payloadSecret];
      const environment = { DOCKER_USER: "somebody" };
      await faas.ok(["up", "-f", "hello.yml", "--skip-push", ...builder], { cwd, environment });
      assert.equal(await imageOf(), "somebody/hello:1.0");
    });

    test("any program is a function, by a Dockerfile", async () => {
      await faas.ok(["new", "--lang", "dockerfile", "sorter", "--prefix", "workshop", "--quiet"], { cwd });
      const file = join(cwd, "sorter/Dockerfile");
      writeFileSync(file, readFileSync(file, "utf8").replace('fprocess="cat"', 'fprocess="sort"'));
      await faas.buildUp(cwd, "sorter.yml");
      assert.equal(
        await faas.invoke("sorter", "elephant\nzebra\nhorse\naardvark\nmonkey\n"),
        "aardvark\nelephant\nhorse\nmonkey\nzebra\n",
      );
    });

    test("with write_debug what a function is sent comes into its log", async () => {
      await update("hello", (text) => withLines(text, ["environment:", "  write_debug: true"]));
      await faas.invoke("hello", "a word for the log");
      const lines = await eventually(
        () => logsOf(faas, "hello"),
        (found) => found.some((line) => line.includes("a word for the log")),
      );
      assert.ok(
        lines.some((line) => line.includes("a word for the log")),
        lines.join("\n"),
      );
    });
  });

  describe("lab 4: configuration", () => {
    test("a program of a plain image is deployed by flags, and sees query, path and headers", async () => {
      await faas.ok(["deploy", "--name", "printenv", "--fprocess=env", "--image=functions/alpine:latest"]);
      const queried = await faas.invoke("printenv", "", "--query", "workshop=1");
      for (const line of ["Http_Query=workshop=1", "Http_Method=POST", "fprocess=env"])
        assert.ok(queried.split("\n").includes(line), `${line}\n${queried}`);
      assert.match(queried, /^Http_X_Call_Id=\S+$/m);
      const pathed = await (await faas.call("printenv/some/path")).text();
      assert.match(pathed, /^Http_Path=\/some\/path$/m);
      assert.match(pathed, /^Http_Method=GET$/m);
      assert.match(await faas.invoke("printenv", "", "--header", "X-Output-Mode=json"), /^Http_X_Output_Mode=json$/m);
    });

    test("files are written, but to a root that is read-only; /tmp is left", async () => {
      await make("ingest-file");
      assert.match(await faas.invoke("ingest-file", "kept"), /^\/home\/app\/\d+\.\d+\n$/);
      await update("ingest-file", (text) => withLines(text, ["readonly_root_filesystem: true"]));
      const refused = await faas.cli(["invoke", "ingest-file"], { input: "kept" });
      assert.equal(refused.code, 1);
      assert.match(refused.stdout + refused.stderr, /unexpected status code: 500[^]*Read-only file system/);
      await update("ingest-file", (text) => withLines(text, ["environment:", "  save_path: /tmp/"]));
      assert.match(await faas.invoke("ingest-file", "kept"), /^\/tmp\/\d+\.\d+\n$/);
    });

    test("errors stand in the answer, or apart from it in the log", async () => {
      await make("print-error");
      const both = await faas.invoke("print-error");
      assert.match(both, /This should be an error message\./);
      assert.match(both, /\{"hello": "world"\}/);
      await update("print-error", (text) => withLines(text, ["environment:", "  combine_output: false"]));
      assert.deepEqual(JSON.parse(await faas.invoke("print-error")), { hello: "world" });
      const lines = await logsOf(faas, "print-error");
      assert.ok(
        lines.some((line) => line.endsWith("stderr: This should be an error message.")),
        lines.join("\n"),
      );
    });

    test("functions are chained by the client, and call each other by the gateway", async () => {
      const info = await faas.invoke("nodeinfo");
      assert.match(await faas.invoke("markdown", info), /^<p>Hostname: /);
      await make("sentimentanalysis");
      await make("invoke-sentiment", ["environment:", "  gateway_hostname: gateway.openfaas"]);
      assert.equal(
        await faas.invoke("invoke-sentiment", "What a great day. I love it."),
        "That was probably positive\n",
      );
      assert.equal(await faas.invoke("invoke-sentiment", "It is broken."), "That was neutral or negative\n");
    });
  });

  test("labs 5 and 10: a bot hears of an issue, asks another function, and labels it with its secret", async () => {
    await faas.ok(["secret", "create", "auth-token", "--from-literal", "t0ken"]);
    assert.match(await faas.ok(["secret", "ls"]), /^auth-token\s*$/m);
    const settings = {
      "env.yml": `environment:\n  github_url: ${internet.url}\n  positive_threshold: 0.25\n`,
      "local.yml": "environment:\n  gateway_hostname: gateway\n",
    };
    for (const [name, text] of Object.entries(settings)) writeFileSync(join(cwd, name), text);
    await make("issue-bot", [
      "secrets: [auth-token]",
      "environment:",
      "  gateway_hostname: overridden",
      "environment_file: [env.yml, local.yml]",
    ]);
    const call = async (event: string, issue: unknown): Promise<string> =>
      (
        await faas.call("issue-bot", {
          method: "POST",
          headers: { "x-github-event": event, "content-type": "application/json" },
          body: JSON.stringify(issue),
        })
      ).text();
    const issue = { number: 7, title: "It works", body: "I am so excited, this is great." };
    const opened = { action: "opened", repository: { full_name: "somebody/bot-tester" }, issue };
    assert.equal(await call("push", {}), "Unable to handle X-GitHub-Event: push\n");
    assert.equal(await call("issues", { ...opened, action: "closed" }), "Nothing to do\n");
    assert.equal(JSON.parse(await call("issues", opened)).label, "positive");
    const { url, headers, body } = heard.at(-1)!;
    assert.equal(url, "/repos/somebody/bot-tester/issues/7/labels");
    assert.equal(headers.authorization, "token t0ken");
    assert.deepEqual(JSON.parse(body), { labels: ["positive"] });
  });

  test("lab 6: pages, by their paths and what the query asks", async () => {
    const pages = { index: "<h1>Welcome</h1>", new: "<h1>New</h1><!-- action -->", list: "<ul></ul>" };
    await begin("show-html");
    mkdirSync(join(cwd, "show-html/html"));
    for (const [name, html] of Object.entries(pages)) writeFileSync(join(cwd, "show-html/html", `${name}.html`), html);
    await update("show-html", (text) => withLines(text, ["environment:", "  content_type: text/html"]));
    const page = async (path: string): Promise<string> => {
      const answer = await faas.call(`show-html${path}`);
      assert.equal(answer.headers.get("content-type"), "text/html");
      return (await answer.text()).trim();
    };
    assert.equal(await page(""), "<h1>Welcome</h1>");
    assert.equal(await page("/list"), "<ul></ul>");
    assert.equal(await page("/new"), "<h1>New</h1>");
    assert.equal(await page("/new?action=new"), "<h1>New</h1><p>A new one</p>");
  });

  test("lab 7: long tasks are handed over at once, and each calls back", async () => {
    await make("long-task");
    const before = heard.length;
    const began = performance.now();
    const callback = ["--async", "--header", `X-Callback-Url=http://127.0.0.1:${internet.port}/done`];
    const handed = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        faas.cli(["invoke", "long-task", ...callback], { input: `task ${index}` }),
      ),
    );
    const took = performance.now() - began;
    for (const { code, stdout, stderr } of handed) {
      assert.equal(code, 0, stderr);
      assert.match(stdout + stderr, /Function submitted asynchronously\./);
    }
    assert.ok(took < 8000, `${took} ms`);
    const done = (): typeof heard => heard.slice(before).filter(({ url }) => url === "/done");
    await eventually(
      () => Promise.resolve(done().length),
      (count) => count === 10,
    );
    const bodies = done().map(({ body }) => body.trim());
    assert.deepEqual(
      bodies.toSorted(),
      Array.from({ length: 10 }, (_, index) => `slept for task ${index}`),
    );
    const { headers } = done()[0]!;
    assert.equal(headers["x-function-status"], "200");
    assert.match(String(headers["x-function-name"]), /^long-task/);
    assert.ok(Number(headers["x-duration-seconds"]) >= 1);
    assert.ok(headers["x-call-id"]);
  });

  test("lab 8: a function that takes longer than its timeout is ended, one that does not says all it has to", async () => {
    const limits = ["read_timeout", "write_timeout", "exec_timeout"].map((name) => `  ${name}: 2s`);
    await make("sleep-for", ["environment:", "  sleep_duration: 10", ...limits]);
    const began = performance.now();
    const ended = await faas.call("sleep-for");
    assert.equal(ended.status, 408);
    assert.doesNotMatch(await ended.text(), /sleep/);
    assert.ok(performance.now() - began < 8000);
    await update("sleep-for", (text) => text.replace("sleep_duration: 10", "sleep_duration: 1"));
    assert.equal(await faas.invoke("sleep-for"), "Starting to sleep for 1 s\nFinished the sleep of 1 s\n");
  });

  test("lab 9: after a scale to zero the next call is answered", async () => {
    const scaled = await faas.send("POST", "/system/scale-function/hello", { serviceName: "hello", replicas: 0 });
    assert.ok(scaled.ok);
    const zero = await eventually(
      () => listed("hello"),
      ({ replicas }) => replicas === 0,
    );
    assert.equal(zero.replicas, 0);
    assert.equal((await faas.invoke("hello")).trim(), "Hello OpenFaaS");
    assert.equal((await listed("hello")).replicas, 1);
  });

  test("lab 11: a signed call is told from one that is signed with another key", async () => {
    await faas.ok(["secret", "create", "payload-secret", "--from-literal", "the key"]);
    await make("hmac-protected", ["secrets: [payload-secret]"]);
    const signed = (key: string): Promise<string> =>
      faas.invoke("hmac-protected", "This is a message", "--sign", "hmac", `--key=${key}`);
    assert.equal(await signed("the key"), "Successfully validated: This is a message\n");
    assert.equal(await signed("another key"), "HMAC validation failed.\n");
    assert.equal(await faas.invoke("hmac-protected", "unsigned"), "HMAC validation failed.\n");
  });
});

/** A stack file of one function, with further lines for it. */
function withLines(text: string, lines: readonly string[]): string {
  return `${[text.trimEnd(), ...lines.map((line) => `    ${line}`)].join("\n")}\n`;
}
