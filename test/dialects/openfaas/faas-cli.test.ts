import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { goClient, missingClients, run } from "../../clients/clients.ts";
import { Faas } from "./faas.ts";

const skip = missingClients("faas-cli", "openfaas-sdk");
const image = "functions/alpine:latest";

describe("faas-cli against the platform", { skip }, () => {
  let faas: Faas;
  before(async () => {
    faas = await Faas.start();
  });
  after(() => faas?.stop());

  const deploy = (name: string, fprocess: string, ...flags: string[]): Promise<string> =>
    faas.ok(["deploy", "--name", name, "--image", image, "--fprocess", fprocess, ...flags]);
  /** What a command says that fails. */
  const fails = async (...parameters: string[]): Promise<string> => {
    const ran = await faas.cli(parameters);
    assert.notEqual(ran.code, 0, `${parameters.join(" ")}\n${ran.stdout}${ran.stderr}`);
    return ran.stdout + ran.stderr;
  };
  const statusOf = async (name: string): Promise<any> => (await faas.system(`/system/function/${name}`)).json(); // eslint-disable-line typescript/no-explicit-any
  const line = (text: string, name: string): string =>
    text.split("\n").find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}=`)) ?? "";

  test("version knows the client, the gateway and its provider", async () => {
    const printed = await faas.ok(["version", "--warn-update=false"]);
    assert.match(printed, /CLI:\n commit: +\n version: 0\.17\.0/);
    assert.match(printed, new RegExp(`Gateway\n uri: +${faas.gateway}\n version: \\d\\S*\n sha: +\\d`));
    assert.match(printed, /Provider\n name: +virga\n orchestration: virga\n version: +\d/);
  });

  test("login takes the password alone; after logout there is nothing to see", async () => {
    assert.match(await fails("login", "--password", "wrong"), /either username or password is incorrect/);
    assert.match(await faas.ok(["logout", "--gateway", faas.gateway]), /credentials removed for/);
    assert.match(await fails("list"), /Unauthorized access, run "faas-cli login"/);
    assert.match(await fails("deploy", "--name", "x", "--image", image), /unauthorized access/i);
    assert.match(await faas.ok(["login", "--password-stdin"], { input: faas.password }), /credentials saved for admin/);
    assert.match(await faas.ok(["list"]), /^Function\s+Invocations\s+Replicas/);
  });

  test("a function is deployed by flags, listed, described, invoked, updated and removed", async () => {
    const deployed = `\nDeployed. 202 Accepted.\nURL: ${faas.gateway}/function/hello\n`;
    assert.ok((await deploy("hello", "cat")).includes(deployed));
    assert.equal(await faas.invoke("hello", "Hello, OpenFaaS"), "Hello, OpenFaaS");
    await faas.ok(["ready", "hello"]);
    assert.match(line(await faas.ok(["list"]), "hello"), /^hello +\t1 +\t1 *$/);
    assert.match(
      line(await faas.ok(["list", "-v"]), "hello"),
      /^hello +\tfunctions\/alpine:latest +\t1 +\t1 +\t+\d{4}-\d\d-\d\d /,
    );
    assert.equal(await faas.ok(["list", "-q"]), "hello\n");
    const described = await faas.ok(["describe", "hello"]);
    for (const [name, value] of [
      ["Name", "hello"],
      ["Status", "Ready"],
      ["Replicas", "1"],
      ["Available Replicas", "1"],
      ["Invocations", "1"],
      ["Image", image],
      ["Function Process", "cat"],
      ["URL", `${faas.gateway}/function/hello`],
      ["Async URL", `${faas.gateway}/async-function/hello`],
    ])
      assert.match(described, new RegExp(`^${name}: +${value}$`, "m"));
    assert.match(described, /Usage:\n {2}RAM: +[\d.]+ MB\n {2}CPU: +\d+ Mi/);

    const updated = await deploy("hello", "sha512sum");
    assert.match(updated, /Function hello already exists, attempting rolling-update\./);
    assert.match(updated, /Deployed\. 200 OK\./);
    assert.match(await faas.invoke("hello"), /^cf83e135/);
    assert.match(await deploy("hello", "cat", "--update=false"), /Deployed\. 202 Accepted\./);
    assert.match(
      await deploy("hello", "cat", "--update=false", "--replace"),
      /Removing old function\.\s+Deployed\. 202 Accepted\./,
    );
    assert.match(await faas.ok(["remove", "hello"]), /Deleting: hello\.\nRemoving old function\./);
    assert.match(await fails("remove", "hello"), /No existing function to remove/);
    assert.match(await fails("describe", "hello"), /No such function: hello/);
    assert.match(await fails("invoke", "hello"), /404 - error finding function hello\.openfaas-fn/);
  });

  test("functions are listed by their names, their calls and their age", async () => {
    for (const name of ["sort-c", "sort-a", "sort-b"]) await deploy(name, "cat");
    await faas.invoke("sort-b");
    const by = async (order: string): Promise<string[]> => {
      const names = (await faas.ok(["list", "--sort", order])).match(/^sort-./gm) ?? [];
      return [...names];
    };
    assert.deepEqual(await by("name"), ["sort-a", "sort-b", "sort-c"]);
    assert.equal((await by("invocations"))[0], "sort-b");
    assert.deepEqual(await by("creation"), ["sort-c", "sort-a", "sort-b"]);
    for (const name of ["sort-c", "sort-a", "sort-b"]) await faas.ok(["remove", name]);
  });

  test("what cannot be deployed is told with its reason", async () => {
    const refused = (name: string, ...flags: string[]): Promise<string> => fails("deploy", "--name", name, ...flags);
    assert.match(
      await refused("x", "--image", "nobody/knows"),
      /status: 400, message: image nobody\/knows is not here/,
    );
    assert.match(
      await refused("x", "--image", image, "--secret", "none"),
      /unable to find secret none in namespace openfaas-fn/,
    );
    assert.match(await refused("Not_A_Name", "--image", image), /service: \(Not_A_Name\) is not valid/);
    assert.match(await refused("x", "--image", image, "--memory-limit", "much"), /limits\.memory: "much" is no amount/);
    assert.match(await refused("x", "--image", image, "--namespace", "nowhere"), /namespace nowhere is not there/);
    assert.match(
      await refused("x", "--image", image, "--label", "com.openfaas.scale.max=lots"),
      /com\.openfaas\.scale\.max/,
    );
  });

  test("a stack file has environment, files of it, labels, annotations, secrets, limits and a root that is read-only", async () => {
    const cwd = faas.folder();
    await faas.ok(["secret", "create", "stack-secret", "--from-literal", "hidden"]);
    faas.file(cwd, "env.yml", "environment:\n  FROM_FILE: file\n  BOTH: file\n");
    faas.file(
      cwd,
      "stack.yml",
      `version: 1.0
provider:
  name: openfaas
  gateway: ${faas.gateway}
functions:
  stacked:
    image: \${OWNER:-functions}/alpine:latest
    skip_build: true
    fprocess: env
    environment: { INLINE: inline, BOTH: inline }
    environment_file: [env.yml]
    labels: { team: a }
    annotations: { note: "a note" }
    secrets: [stack-secret]
    constraints: ["node.platform.os == linux"]
    limits: { memory: 64Mi, cpu: 200m }
    requests: { memory: 32Mi }
    readonly_root_filesystem: true
  reader:
    image: functions/alpine:latest
    skip_build: true
    fprocess: cat /var/openfaas/secrets/stack-secret
    secrets: [stack-secret]
`,
    );
    const deployed = await faas.ok(["deploy"], { cwd });
    assert.equal(deployed.match(/Deployed\. 202 Accepted\./g)?.length, 2);
    const environment = await faas.invoke("stacked");
    assert.deepEqual(
      ["INLINE", "FROM_FILE", "BOTH"].map((name) => line(environment, name)),
      ["INLINE=inline", "FROM_FILE=file", "BOTH=file"],
    );
    assert.equal(await faas.invoke("reader"), "hidden");
    const described = await faas.ok(["describe", "stacked"]);
    for (const part of [
      /Labels:\n(?: .*\n)* team: a\n/,
      /Annotations:\n note: a note\n/,
      /Secrets:\n - stack-secret\n/,
    ])
      assert.match(described, part);
    const status = await statusOf("stacked");
    assert.deepEqual(
      [status.constraints, status.limits, status.requests, status.readOnlyRootFilesystem],
      [["node.platform.os == linux"], { memory: "64Mi", cpu: "200m" }, { memory: "32Mi" }, true],
    );
    assert.match(
      await faas.ok(["deploy", "--filter", "reader"], { cwd }),
      /reader already exists, attempting rolling-update/,
    );
    assert.match(await faas.ok(["remove", "-f", "stack.yml"], { cwd }), /Deleting: /);
    assert.doesNotMatch(await faas.ok(["list"]), /stacked|reader/);
  });

  test("flags set what a stack file sets", async () => {
    const flags = ["--env", "A=1", "--label", "team=b", "--annotation", "note=c", "--readonly"];
    await deploy(
      "flagged",
      "env",
      ...flags,
      "--memory-limit",
      "64Mi",
      "--cpu-request",
      "50m",
      "--constraint",
      "a == b",
    );
    assert.equal(line(await faas.invoke("flagged"), "A"), "A=1");
    const status = await statusOf("flagged");
    assert.deepEqual(
      [status.envVars, status.labels.team, status.annotations, status.limits, status.requests, status.constraints],
      [{ A: "1" }, "b", { note: "c" }, { memory: "64Mi" }, { cpu: "50m" }, ["a == b"]],
    );
    assert.equal(status.readOnlyRootFilesystem, true);
  });

  test("a call has the body, the query, the headers and the method that were asked for", async () => {
    await deploy("env", "env");
    await deploy("echo", "cat");
    const bytes = Buffer.from("größe\n\ttext ".repeat(1000));
    assert.equal(await faas.invoke("echo", bytes), bytes.toString());
    const seen = await faas.invoke("env", "x", "--query", "a=1", "--query", "b=2", "-H", "X-Own=3", "--method", "PUT");
    assert.equal(line(seen, "Http_Method"), "Http_Method=PUT");
    assert.equal(line(seen, "Http_Query"), "Http_Query=a=1&b=2");
    assert.equal(line(seen, "Http_X_Own"), "Http_X_Own=3");
    assert.equal(line(seen, "Http_Content_Type"), "Http_Content_Type=text/plain");
    assert.equal(
      line(await faas.invoke("env", "{}", "--content-type", "application/json"), "Http_Content_Type"),
      "Http_Content_Type=application/json",
    );
  });

  test("a signature can be checked inside the function", async () => {
    const key = "a key";
    const header = line(
      await faas.invoke("env", "a message", "--sign", "X-Hub-Signature", "--key", key),
      "Http_X_Hub_Signature",
    );
    const [, algorithm = "", digest] = /^Http_X_Hub_Signature=(sha\d+)=([\da-f]+)$/.exec(header) ?? [];
    assert.equal(digest, createHmac(algorithm, key).update("a message").digest("hex"));
  });

  test("an asynchronous call is accepted, and done afterwards", async () => {
    await deploy("later", "cat");
    const ran = await faas.cli(["invoke", "later", "--async"], { input: "later" });
    assert.deepEqual([ran.code, ran.stdout], [0, ""]);
    assert.match(ran.stderr, /Function submitted asynchronously\./);
    await until(async () => /Wrote 5 Bytes/.test(await faas.ok(["logs", "later", "--tail=false"])));
  });

  test("a call that fails says the status and the text", async () => {
    await deploy("broken", "ls /nothing/here");
    assert.match(await fails("invoke", "broken"), /status code: 500 - exit status \d+\nls: /);
  });

  test("secrets are made of a literal, a file and the input, listed, changed and removed", async () => {
    const cwd = faas.folder();
    faas.file(cwd, "key.txt", "from a file\n");
    await faas.ok(["secret", "create", "literal", "--from-literal", "one"]);
    await faas.ok(["secret", "create", "filed", "--from-file", "key.txt"], { cwd });
    assert.match(await faas.ok(["secret", "create", "typed"], { input: "  from the input\n" }), /Created: 201 Created/);
    assert.match(await faas.ok(["secret", "create", "literal", "--from-literal", "two"]), /"literal" already exists/);
    assert.match(await faas.ok(["secret", "list"]), /NAME\nfiled\nliteral\n(?:stack-secret\n)?typed\n/);
    const read = async (name: string): Promise<string> => {
      await deploy("reads", `cat /var/openfaas/secrets/${name}`, "--secret", name);
      return faas.invoke("reads");
    };
    assert.equal(await read("literal"), "one");
    assert.equal((await read("filed")).trim(), "from a file");
    assert.equal(await read("typed"), "from the input");
    assert.match(await faas.ok(["secret", "update", "typed", "--from-literal", "newer"]), /Updated: 202 Accepted/);
    assert.equal(await read("typed"), "newer");
    assert.match(await faas.ok(["secret", "update", "absent", "--from-literal", "x"]), /unable to find secret: absent/);
    assert.match(await faas.ok(["secret", "remove", "typed"]), /Removed\.\. OK\./);
    assert.match(await fails("secret", "remove", "typed"), /Unable to find secret: typed/);
    await faas.ok(["remove", "reads"]);
  });

  test("namespaces are made, shown, changed and removed, and have functions and secrets of their own", async () => {
    const made = await faas.ok(["namespace", "create", "team", "--label", "a=b", "--annotation", "c=d"]);
    assert.match(made, /Namespace Created: team/);
    assert.match(await fails("namespace", "create", "team"), /409, message: "namespace team is there already"/);
    assert.match(await faas.ok(["namespace", "list"]), /Namespaces:\n - openfaas-fn\n - team\n/);
    assert.match(await faas.ok(["namespace", "get", "team"]), /Name: team\nLabels:\n(?: .*\n)* a: b\n/);
    await faas.ok(["namespace", "update", "team", "--label", "a=c"]);
    assert.match(await faas.ok(["namespace", "get", "team"]), / a: c\n/);

    await faas.ok(["secret", "create", "own", "-n", "team", "--from-literal", "of the team"]);
    assert.match(
      await deploy("own", "cat /var/openfaas/secrets/own", "-n", "team", "--secret", "own"),
      /\/function\/own\.team\n/,
    );
    assert.equal(await faas.invoke("own", "", "-n", "team"), "of the team");
    assert.match(await faas.ok(["list", "-n", "team"]), /^own +\t1 /m);
    assert.match(await faas.ok(["describe", "own", "-n", "team"]), /URL: +\S+\/function\/own\.team\n/);
    assert.match(await faas.ok(["logs", "own", "-n", "team", "--tail=false"]), /Wrote 11 Bytes/);
    assert.doesNotMatch(await faas.ok(["list"]), /^own /m);
    await faas.ok(["remove", "own", "-n", "team"]);
    assert.match(await faas.ok(["namespace", "delete", "team"]), /Namespace Removed: team/);
    assert.match(await fails("namespace", "get", "team"), /Namespace team not found/);
    assert.match(await fails("namespace", "update", "team"), /Namespace team not found/);
    assert.match(await fails("namespace", "delete", "team"), /Namespace team not found/);
  });

  test("ready waits for the gateway, and for a function", async () => {
    assert.match(await faas.ok(["ready"]), /OpenFaaS gateway is ready/);
    assert.match(await faas.ok(["ready", "env"]), /Function env is ready/);
  });

  test("the gateway's store of functions is listed, shown and deployed from", async () => {
    const url = ["--url", `${faas.gateway}/stores/functions.json`];
    const listed = await faas.ok(["store", "list", ...url]);
    for (const name of ["nodeinfo", "env", "shasum", "cat", "figlet", "markdown"])
      assert.match(listed, new RegExp(`^${name} +virga`, "m"));
    assert.match(await faas.ok(["store", "inspect", "figlet", ...url]), /Title: +Figlet\n/);
    assert.match(await faas.ok(["store", "deploy", "figlet", ...url]), /Deployed\. 202 Accepted\./);
    assert.match(await faas.invoke("figlet", "100%"), /^ #   ##   ##  ##  #$/m);
    await faas.ok(["store", "deploy", "markdown", "--name", "renders", ...url]);
    assert.equal(await faas.invoke("renders", "# Hi"), "<h1>Hi</h1>\n");
  });

  test("the gateway's store of templates is listed and pulled from, and new functions are made of it", async () => {
    const cwd = faas.folder();
    const options = { cwd, environment: { OPENFAAS_TEMPLATE_STORE_URL: `${faas.gateway}/stores/templates.json` } };
    assert.match(await faas.ok(["template", "store", "list"], options), /^node22 +\[x\]/m);
    await faas.ok(["template", "store", "pull", "node22"], options);
    assert.ok(readdirSync(join(cwd, "template")).includes("node22"));
    const fresh = faas.folder();
    const made = await faas.ok(["new", "--lang", "python3-http", "greets", "--prefix", "me"], {
      cwd: fresh,
      environment: { OPENFAAS_TEMPLATE_URL: `${faas.gateway}/stores/templates.git` },
    });
    assert.match(made, /Function created in folder: greets\nStack file written: greets\.yml/);
    assert.ok(existsSync(join(fresh, "greets/handler.py")));
    assert.match(
      readFileSync(join(fresh, "greets.yml"), "utf8"),
      /lang: python3-http\n.*handler: \.\/greets\n.*image: me\/greets:latest/s,
    );
    const generated = await faas.ok(["generate", "-f", "greets.yml"], { cwd: fresh });
    assert.match(generated, /kind: Function\n.*name: greets\n.*image: me\/greets:latest/s);
    assert.match(await faas.ok(["new", "--list"], { cwd: fresh }), /- python3-http\n/);
  });

  test("what wants Docker on the client's machine fails there, and changes nothing", async () => {
    const cwd = faas.folderWith("node22");
    const environment = { PATH: cwd };
    await faas.ok(["new", "--lang", "node22", "docked"], { cwd });
    const built = await faas.cli(["build", "-f", "docked.yml"], { cwd, environment });
    assert.equal(built.code, 1);
    assert.match(built.stdout + built.stderr, /exec: "docker": executable file not found/);
    assert.match(await fails("describe", "docked"), /No such function/);
  });

  test("logs have the newest lines, those since a time, and what comes", async () => {
    await deploy("logged", "cat");
    for (const body of ["a", "bb", "ccc"]) await faas.invoke("logged", body);
    const logs = (...flags: string[]): Promise<string> => faas.ok(["logs", "logged", "--tail=false", ...flags]);
    const all = (await logs()).trimEnd().split("\n");
    assert.equal(all.length, 6);
    assert.match(all[0]!, /^\d{4}-\d\d-\d\dT\S+Z \d{4}\/\d\d\/\d\d \S+ Forking fprocess\.$/);
    assert.deepEqual((await logs("--lines", "2")).trimEnd().split("\n"), all.slice(-2));
    assert.match(await logs("--lines", "1", "--name", "--instance"), /logged/);
    assert.match(await logs("--since", "1h"), /Wrote 3 Bytes/);
    assert.equal(await logs("--since-time", new Date(Date.now() + 60_000).toISOString()), "");
    assert.match(await fails("logs", "nobody", "--tail=false"), /404 - function nobody not found/);

    const following = spawn(await goClient("faas-cli"), ["logs", "logged", "--lines", "1"], {
      cwd: faas.folder(),
      env: { HOME: faas.home, OPENFAAS_URL: faas.gateway },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let read = "";
    following.stdout.on("data", (chunk: Buffer) => (read += chunk.toString()));
    await until(() => Promise.resolve(read.includes("Wrote 3 Bytes")));
    await faas.invoke("logged", "dddd");
    await until(() => Promise.resolve(read.includes("Wrote 4 Bytes")));
    assert.equal(read.trimEnd().split("\n").length, 3);
    following.kill();
    await once(following, "exit");
  });

  test("the SDK that newer clients are made of sees and scales the same", async () => {
    const sdk = async (...parameters: string[]): Promise<any> => {
      // eslint-disable-line typescript/no-explicit-any
      const environment = { GATEWAY: faas.gateway, USERNAME: "admin", PASSWORD: faas.password };
      const ran = await run(await goClient("openfaas-sdk"), parameters, { home: faas.home, environment });
      assert.equal(ran.code, 0, ran.stderr);
      return ran.stdout === "" ? undefined : JSON.parse(ran.stdout);
    };
    await deploy("sdk", "cat");
    assert.equal((await sdk("info")).provider.provider, "virga");
    assert.deepEqual(await sdk("namespaces"), ["openfaas-fn"]);
    const found = (await sdk("functions", "openfaas-fn")).find(({ name }: { name: string }) => name === "sdk");
    assert.deepEqual([found.image, found.envProcess, found.labels], [image, "cat", { faas_function: "sdk" }]);
    const replicas = async (): Promise<number> => (await statusOf("sdk")).replicas;
    await sdk("scale", "sdk", "openfaas-fn", "0");
    // One that was still starting is seen first.
    await until(async () => (await replicas()) === 0);
    await sdk("scale", "sdk", "openfaas-fn", "2");
    await until(async () => (await replicas()) === 2);
    assert.equal(await faas.invoke("sdk", "still there"), "still there");
  });

  test("functions, secrets and logs outlive a platform that is killed", async () => {
    await until(async () => /Wrote 4 Bytes/.test(await faas.ok(["logs", "logged", "--tail=false"])));
    // Records of calls are on disk a moment after their answer.
    await pause(500);
    await faas.platform.kill();
    await faas.up();
    assert.match(line(await faas.ok(["list"]), "logged"), /^logged +\t4 /);
    const lines = (await faas.ok(["logs", "logged", "--tail=false"])).trimEnd().split("\n");
    assert.equal(lines.length, 8);
    assert.match(lines.at(-1)!, /Wrote 4 Bytes/);
    assert.match(await faas.ok(["secret", "list"]), /\nliteral\n/);
    assert.equal(await faas.invoke("logged", "again"), "again");
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await pause(20);
}
