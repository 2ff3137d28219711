/** Programs as people publish them as examples of OpenWhisk, deployed and called by the commands that go with them. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join, relative } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { fixture, until, type ZipEntry, zipOf } from "./fixtures.ts";
import { Whisk } from "./whisk.ts";

const skip = missingClients("wsk", "wskdeploy") || missingTools("bwrap");

describe("published examples of OpenWhisk", { skip, timeout: 180_000 }, () => {
  let whisk: Whisk;
  before(async () => {
    whisk = await Whisk.start();
  });
  after(() => whisk?.stop());

  test("fizzbuzz", async () => {
    const file = `${fixture(whisk, "fizzbuzz")}/main.py`;
    await update("fizzbuzz", file, "--kind", "python:3", "--memory", "128", "--timeout", "5000");
    const results: unknown[] = [];
    for (let n = 1; n <= 20; n++)
      results.push((await whisk.json("action", "invoke", "fizzbuzz", "--result", "--param", "n", String(n)))["result"]);
    const [f, b, fb] = ["fizz", "buzz", "fizzbuzz"];
    assert.deepEqual(results, [1, 2, f, 4, b, f, 7, 8, f, b, 11, f, 13, 14, fb, 16, 17, f, 19, b]);
  });

  test("fibonacci", async () => {
    const file = `${fixture(whisk, "fibonacci")}/main.py`;
    await update("fibonacci", file, "--kind", "python:3", "--memory", "256", "--timeout", "5000");
    for (const [n, result] of [
      [0, 1],
      [1, 1],
      [5, 8],
      [20, 10_946],
    ])
      assert.deepEqual(await whisk.invoke("fibonacci", { n }), { result });
  });

  test("a conductor in a package triples and increments", async () => {
    const folder = fixture(whisk, "conductor");
    await whisk.ok("package", "update", "arithmetic");
    await update("arithmetic/triple", `${folder}/triple.js`);
    await update("arithmetic/increment", `${folder}/increment.js`);
    await update("arithmetic/tripleAndIncrement", `${folder}/tripleAndIncrement.js`, "-a", "conductor", "true");
    const called = ["action", "invoke", "arithmetic/tripleAndIncrement", "--result", "--param", "value", "3"];
    assert.deepEqual(await whisk.json(...called), { value: 10 });
  });

  test(
    "absolute-product: a conductor in Python has Python and PHP work for it",
    { skip: missingTools("php") },
    async () => {
      await deploy("absolute-product");
      const product = (a: number, b: number): Promise<unknown> =>
        whisk.json("action", "invoke", "absolute-product/conductor", "-r", "-p", "a", String(a), "-p", "b", String(b));
      assert.deepEqual(await product(12.34, 42), { a: 12.34, b: 42, product: 518.28 });
      assert.deepEqual(await product(14.2, -2.3), { a: 14.2, b: -2.3, product: -32.66, absolute_product: 32.66 });
    },
  );

  test("dynamic-website: a page in PHP from a database in its own archive", { skip: missingTools("php") }, async () => {
    const folder = fixture(whisk, "dynamic-website");
    const database = new DatabaseSync(`${folder}/cities.sqlite`);
    database.exec("CREATE TABLE cities (name TEXT, people INTEGER)");
    database.exec("INSERT INTO cities VALUES ('Bergen', 291940), ('Tromsø', 77992), ('<Oslo>', 717710)");
    database.close();
    writeFileSync(
      `${folder}/page.zip`,
      await zipOf(["index.php", "page.html", "cities.sqlite"].map((path) => entryOf(folder, path))),
    );
    await deploy("dynamic-website");
    const url = (await whisk.ok("action", "get", "dynamic-website/page", "--url")).trim().split("\n").at(-1)!;
    const page = await fetch(`${url}?people=100000`);
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
    const html = await page.text();
    assert.match(html, /<tr><td>&lt;Oslo&gt;<\/td><td>717710<\/td><\/tr><tr><td>Bergen<\/td>/);
    assert.ok(!html.includes("Tromsø"));
    assert.ok((await (await fetch(url)).text()).includes("Tromsø"));
  });

  test("inventory: triggers count stock up and down in a database", { skip: missingTools("pip") }, async () => {
    const folder = fixture(whisk, "inventory");
    const pip = [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      "--target",
      folder,
      "pymongo==4.10.1",
    ];
    const installed = spawnSync("/usr/bin/python3", pip, { encoding: "utf8" });
    assert.equal(installed.status, 0, installed.stderr);
    const paths = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== "store.py")
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
    const code = whisk.file("inventory.zip", await zipOf(paths.map((path) => entryOf(folder, path))));

    const store = spawn("/usr/bin/python3", [`${folder}/store.py`], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      const uri = `mongodb://127.0.0.1:${await firstLine(store)}/?directConnection=true`;
      await update("inventory", code, "--kind", "python:3", "--param", "mongodb_uri", uri);
      for (const [trigger, change] of [
        ["delivered", "1"],
        ["sold", "-1"],
      ] as const) {
        await whisk.ok("trigger", "update", trigger, "--param", "stock_change", change);
        await whisk.ok("rule", "update", `${trigger}-inventory`, trigger, "inventory");
      }
      const fire = async (trigger: string, count: number, ...more: string[]): Promise<void> => {
        await whisk.ok("trigger", "fire", trigger, "--param", "product_id", "42", ...more);
        await until(async () =>
          assert.deepEqual(await whisk.json("activation", "result", "--last"), { product_id: 42, count }),
        );
      };
      await fire("delivered", 1);
      await fire("sold", 0);
      await fire("delivered", 12, "--param", "stock_change", "12");
      await fire("sold", 11);
    } finally {
      await ended(store);
    }
  });

  test("poke-around: a shell in an action", { skip: missingTools("php") }, async () => {
    await whisk.ok("action", "create", "poke-around", `${fixture(whisk, "poke-around")}/main.php`, "--kind", "php");
    for (const [cmd, output] of [
      ["echo one; echo two", /^one\ntwo$/],
      ["echo $((6 * 7))", /^42$/],
      ["ls", /^index\.php$/m],
      ["printenv __OW_ACTION_NAME", /^\/guest\/poke-around$/],
    ] as const)
      assert.match(
        (await whisk.json("action", "invoke", "poke-around", "-r", "--param", "cmd", cmd))["output"],
        output,
      );
  });

  test("monitoring: an alarm has a conductor check a server, and write a mail where it is down", async () => {
    const site = createHttpServer((_, response) => response.end("fine"));
    const mails: string[] = [];
    const smtp = mailServer((mail) => mails.push(mail));
    try {
      const [sitePort, smtpPort] = [await listening(site), await listening(smtp)];
      const firstCheck = new Date(Date.now() + 3000);
      await deploy("monitoring", {
        SMTP_PORT: String(smtpPort),
        TARGET: `http://127.0.0.1:${sitePort}/`,
        FIRST_CHECK: firstCheck.toISOString(),
      });
      const watch = (check: string, target: string): Promise<any> =>
        whisk.invoke("monitoring/watch", { check, target });
      assert.equal((await watch("port", `127.0.0.1:${sitePort}`)).up, true);
      assert.equal((await watch("telepathy", "")).Error, "There is no check 'telepathy'");
      assert.equal(mails.length, 0);
      const down = await watch("port", "127.0.0.1:1");
      assert.deepEqual(down, { target: "127.0.0.1:1", up: false, told: "operator@example.org" });
      assert.match(mails.join(), /Subject: 127\.0\.0\.1:1 is down/);

      const [fired] = await until(async () => {
        const list = await whisk.document("activations?name=every-minute&docs=true");
        assert.equal(list.length, 1);
        return list;
      });
      const called = JSON.parse(fired.logs[0]).activationId;
      const checked = await until(() => whisk.json("activation", "get", called));
      assert.deepEqual(checked.response.result, {
        target: `http://127.0.0.1:${sitePort}/`,
        up: true,
        detail: "status 200",
      });
      const { status } = (await whisk.json("trigger", "get", "every-minute")).response.result;
      assert.equal(Date.parse(status.nextDue), firstCheck.getTime() + 60_000);
      await undeploy("monitoring");
      assert.equal((await whisk.wsk("trigger", "get", "every-minute")).code, 404 - 256);
    } finally {
      site.close();
      smtp.close();
    }
  });

  test(
    "timezonediff: an action asks a program in Go, and answers before it has",
    { skip: missingTools("go") },
    async () => {
      const folder = fixture(whisk, "timezonediff");
      const built = spawnSync("go", ["build", "-C", `${folder}/difference`, "-buildvcs=false", "-o", "exec", "."], {
        encoding: "utf8",
        env: { ...process.env, CGO_ENABLED: "0", GOWORK: "off" },
      });
      assert.equal(built.status, 0, built.stderr);
      const content = readFileSync(`${folder}/difference/exec`);
      writeFileSync(`${folder}/difference.zip`, await zipOf([{ path: "exec", content, mode: 0o755 }]));
      await deploy("timezonediff");
      const asked = { from: "Europe/Oslo", to: "Asia/Kolkata", date: "2024-01-15" };
      assert.deepEqual(await whisk.invoke("timezonediff/difference", asked), { hours: 4.5 });
      const first = await whisk.json(
        "action",
        "invoke",
        "timezonediff/compare",
        "-b",
        "-P",
        whisk.file("asked.json", JSON.stringify(asked)),
      );
      assert.deepEqual(first.response.result, {});
      const logs = await until(async () => {
        const lines = await whisk.ok("activation", "logs", first.activationId, "--strip");
        assert.notEqual(lines.trim(), "");
        return lines;
      });
      assert.equal(logs.trim(), "asked for Europe/Oslo and Asia/Kolkata");
      await until(async () => assert.deepEqual(await whisk.invoke("timezonediff/compare", asked), { hours: 4.5 }));
    },
  );

  test("machine-learning: code of more than 48 MB is refused", async () => {
    const code = await zipOf([
      entryOf(fixture(whisk, "machine-learning"), "__main__.py"),
      { path: "model.bin", content: randomBytes(49 * 2 ** 20), compress: false },
    ]);
    const file = whisk.file("machine-learning.zip", code);
    const limits = ["--memory", "512", "--timeout", "300000"];
    const refused = await whisk.wsk("action", "update", "machine-learning", file, "--kind", "python:3", ...limits);
    assert.equal(refused.code, 413 - 256, refused.stdout + refused.stderr);
    assert.match(refused.stdout + refused.stderr, /50331648|48 MB/);
    assert.equal((await whisk.wsk("action", "get", "machine-learning")).code, 404 - 256);
  });

  function update(action: string, ...parameters: string[]): Promise<string> {
    return whisk.ok("action", "update", action, ...parameters);
  }

  /** Its manifest, with what it takes from the environment. */
  async function deploy(name: string, environment: Readonly<Record<string, string>> = {}): Promise<void> {
    const ran = await whisk.wskdeployWith(environment, "-m", `${fixture(whisk, name)}/manifest.yaml`);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  }

  async function undeploy(name: string): Promise<void> {
    const ran = await whisk.wskdeploy("undeploy", "-m", `${whisk.home}/${name}/manifest.yaml`);
    assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  }
});

function entryOf(folder: string, path: string): ZipEntry {
  return { path, content: readFileSync(join(folder, path)) };
}

/** Takes mails in plain SMTP. */
function mailServer(onMail: (mail: string) => void): Server {
  return createServer((socket) => {
    let mail: string[] | undefined;
    socket.write("220 ready\r\n");
    createInterface(socket).on("line", (line) => {
      if (mail === undefined) {
        if (line === "DATA" || line === "data") mail = [];
        socket.write(mail !== undefined ? "354 go on\r\n" : /^quit/i.test(line) ? "221 bye\r\n" : "250 ok\r\n");
      } else if (line === ".") {
        onMail(mail.join("\n"));
        mail = undefined;
        socket.write("250 taken\r\n");
      } else mail.push(line);
    });
  });
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  return (server.address() as AddressInfo).port;
}

async function firstLine(child: ChildProcess): Promise<string> {
  for await (const line of createInterface(child.stdout!)) return line;
  throw new Error("the program ended without a line");
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise<void>((done) => {
    child.once("exit", () => done());
    child.kill("SIGKILL");
  });
}
