import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { builtInImages, findBuiltInImage } from "../../../src/dialects/openfaas/stores/built-in-images.ts";
import { functionStore } from "../../../src/dialects/openfaas/stores/function-store.ts";
import { templateDescriptions } from "../../../src/dialects/openfaas/stores/template-descriptions.ts";
import { templateFiles } from "../../../src/dialects/openfaas/stores/template-files.ts";
import { openTemplateStore, type TemplateStore } from "../../../src/dialects/openfaas/stores/template-store.ts";
import type { Log } from "../../../src/ports/log.ts";

const ownTemplates = join(import.meta.dirname, "../../../src/dialects/openfaas/templates");
const noGit = spawnSync("git", ["--version"]).status === 0 ? false : "needs git";

let folder: string;
let server: Server;
let origin: string;
let store: TemplateStore;
let warnings: string[] = [];

const log: Log = {
  debug() {},
  info() {},
  warn: (message, fields) => void warnings.push(`${message} ${String(fields?.["error"])}`),
  error: (message, fields) => void warnings.push(`${message} ${String(fields?.["error"])}`),
  with: () => log,
};

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "virga-stores-"));
  const prefix = "/stores/templates.git";
  server = createServer((request, response) => {
    if (request.url?.startsWith(prefix) === true)
      void store.serveGit(request, response, new URL(request.url, origin).pathname.slice(prefix.length));
    else response.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

beforeEach(() => {
  warnings = [];
  store = openTemplateStore({ directory: mkdtempSync(join(folder, "data-")), log });
});

after(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("the template store", () => {
  test("its document names every template's folder, with this server's repository", () => {
    const document = store.document("http://gateway:8080");
    assert.deepEqual(
      document.map(({ template }) => template),
      readdirSync(ownTemplates).sort(),
    );
    assert.deepEqual(
      document.find(({ template }) => template === "node22"),
      {
        template: "node22",
        platform: "x86_64",
        language: "NodeJS",
        source: "virga",
        description: "Node.js 22 with an event and a context",
        repo: "http://gateway:8080/stores/templates.git",
        official: "true",
        recommended: true,
      },
    );
  });

  test("every template has a description, a template.yml of its name, a Dockerfile and a function", () => {
    assert.deepEqual(Object.keys(templateDescriptions).sort(), readdirSync(ownTemplates).sort());
    for (const template of readdirSync(ownTemplates)) {
      const files = templateFiles(ownTemplates, template);
      const text = (path: string): string => readFileSync(files.get(path)!, "utf8");
      assert.match(text("template.yml"), new RegExp(`^language: ${template}$`, "m"));
      const dockerfile = text(template === "dockerfile" ? "function/Dockerfile" : "Dockerfile");
      assert.match(dockerfile, /^CMD \["fwatchdog"\]$/m, template);
      const fprocess = /^fprocess: (.*)$/m.exec(text("template.yml"))?.[1];
      if (fprocess !== undefined) assert.ok(dockerfile.includes(`ENV fprocess="${fprocess}"\n`), template);
      assert.ok(
        [...files.keys()].some((path) => path.startsWith("function/")),
        template,
      );
    }
  });

  test("a template that has no description is listed under its name", () => {
    const templates = templatesOf({ own: "1" });
    assert.equal(openTemplateStore({ directory: folder, log, templates }).document("")[0]?.language, "own");
  });
});

describe("the templates' repository", { skip: noGit }, () => {
  test("git clones it shallowly, with every file of every template", async () => {
    assert.equal(store.hasGit, true);
    const clone = await cloned("--depth", "1");
    assert.deepEqual(readdirSync(join(clone, "template")).sort(), readdirSync(ownTemplates).sort());
    for (const template of readdirSync(ownTemplates)) {
      const cloned = join(clone, "template", template);
      const entries = readdirSync(cloned, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
      const paths = entries.map((entry) => relative(cloned, join(entry.parentPath, entry.name))).sort();
      const files = templateFiles(ownTemplates, template);
      assert.deepEqual(paths, [...files.keys()]);
      for (const [path, source] of files)
        assert.deepEqual(readFileSync(join(cloned, path)), readFileSync(source), `${template}/${path}`);
    }
    const index = (template: string): string => readFileSync(join(clone, "template", template, "index.js"), "utf8");
    assert.equal(index("node18"), index("node22"));
    assert.equal(inClone(clone, "log", "--format=%an <%ae>"), "Virga <templates@virga.invalid>");
    assert.deepEqual(warnings, []);
  });

  for (const version of ["0", "1", "2"])
    test(`protocol version ${version} is spoken`, async () => {
      const clone = await cloned("-c", `protocol.version=${version}`, "--depth", "1");
      assert.ok(existsSync(join(clone, "template/node22/template.yml")));
    });

  test("many clients clone at once, the first of all among them", async () => {
    const clones = await Promise.all(Array.from({ length: 5 }, () => cloned("--depth", "1")));
    assert.equal(new Set(clones.map((clone) => inClone(clone, "rev-parse", "HEAD"))).size, 1);
  });

  test("the same templates give the same commit, changed ones a new one", async () => {
    const directory = mkdtempSync(join(folder, "data-"));
    const commitOf = async (templates: string): Promise<string> => {
      store = openTemplateStore({ directory, log, templates });
      return inClone(await cloned("--depth", "1"), "rev-parse", "HEAD");
    };
    const first = await commitOf(templatesOf({ one: "1" }));
    assert.equal(await commitOf(templatesOf({ one: "1" })), first);
    assert.notEqual(await commitOf(templatesOf({ one: "2" })), first);
    assert.equal(readdirSync(directory).length, 1, "the old repository stays behind");
    assert.equal(await commitOf(templatesOf({ one: "1" })), first);
  });

  test("what a user's git is configured to leave out is there all the same", async () => {
    const templates = templatesOf({ one: "1" });
    mkdirSync(join(templates, "one/function"));
    writeFileSync(join(templates, "one/.gitignore"), "*\n");
    writeFileSync(join(templates, "one/function/handler.txt"), "kept\n");
    store = openTemplateStore({ directory: mkdtempSync(join(folder, "data-")), log, templates });
    const clone = await cloned("--depth", "1");
    assert.equal(readFileSync(join(clone, "template/one/function/handler.txt"), "utf8"), "kept\n");
  });

  test("a repository that was lost is made anew", async () => {
    const directory = mkdtempSync(join(folder, "data-"));
    store = openTemplateStore({ directory, log });
    await cloned("--depth", "1");
    rmSync(directory, { recursive: true });
    assert.equal((await ask("GET", "/info/refs?service=git-upload-pack")).status, 500);
    await cloned("--depth", "1");
  });

  test("a packed body is unpacked, and bounded packed and unpacked", async () => {
    const send = (body: Buffer, encoding: string): Promise<Answer> =>
      ask("POST", "/git-upload-pack", body, {
        "content-type": "application/x-git-upload-pack-request",
        "content-encoding": encoding,
        "git-protocol": "version=2",
      });
    const refs = Buffer.from("0014command=ls-refs\n0000");
    const answer = await send(gzipSync(refs), "gzip");
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-type"], "application/x-git-upload-pack-result");
    assert.match(answer.body, /refs\/heads\/master/);
    assert.equal((await send(refs, "identity")).body, answer.body);
    assert.equal((await send(gzipSync(Buffer.alloc(2 << 20)), "gzip")).status, 413);
    assert.equal((await send(Buffer.alloc(2 << 20), "identity")).status, 413);
    assert.equal((await send(refs, "gzip")).status, 400);
    assert.equal((await send(refs, "br")).status, 400);
  });

  test("it cannot be written to, nor read in another way", async () => {
    assert.equal((await ask("GET", "/info/refs?service=git-receive-pack")).status, 403);
    assert.equal((await ask("GET", "/info/refs")).status, 403);
    assert.equal((await ask("POST", "/git-receive-pack")).status, 404);
    assert.equal((await ask("GET", "/HEAD")).status, 404);
    assert.equal((await ask("GET", "/../../x")).status, 404);
    assert.equal((await ask("GET", "/git-upload-pack")).status, 405);
    assert.equal((await ask("POST", "/info/refs?service=git-upload-pack")).status, 405);
    assert.equal((await ask("POST", "/git-upload-pack", Buffer.from("0000"))).status, 415);
  });

  test("a client that leaves takes its git along", async () => {
    const slow = mkdtempSync(join(folder, "slow-"));
    const pid = join(slow, "pid");
    const real = (process.env["PATH"] ?? "").split(":").find((path) => existsSync(join(path, "git"))) ?? "";
    await ask("GET", "/info/refs?service=git-upload-pack");
    const script = `#!/bin/sh\necho $$ > ${pid}.new && mv ${pid}.new ${pid}\nexec sleep 60\n`;
    writeFileSync(join(slow, "git"), script, { mode: 0o755 });
    await withPath(`${slow}:${real}`, async () => {
      const request = httpRequest(`${origin}/stores/templates.git/info/refs?service=git-upload-pack`);
      request.on("error", () => {}).end();
      await until(() => existsSync(pid));
      request.destroy();
      await until(() => !existsSync(`/proc/${readFileSync(pid, "utf8").trim()}`));
    });
    assert.deepEqual(warnings, []);
  });

  test("without git, the answer says what to install", async () => {
    await withPath(mkdtempSync(join(folder, "empty-")), async () => {
      assert.equal(store.hasGit, false);
      const { status, body } = await ask("GET", "/info/refs?service=git-upload-pack");
      assert.equal(status, 503);
      assert.match(body, /install git/);
    });
    assert.equal(store.hasGit, true);
  });
});

describe("the function store", () => {
  test("its functions name images that this host has, for every platform", () => {
    const { version, functions } = functionStore();
    assert.equal(version, "0.2.1");
    assert.deepEqual(
      functions.map(({ name }) => name),
      ["nodeinfo", "env", "shasum", "cat", "figlet", "markdown", "alpine"],
    );
    for (const { name, images, fprocess } of functions)
      for (const image of Object.values(images)) {
        const builtIn = findBuiltInImage(image);
        assert.ok(builtIn, `${name}: ${image}`);
        if (builtIn.folder !== undefined) assert.equal(fprocess, builtIn.fprocess);
      }
  });

  test("an image is found with a tag, a digest, or Docker Hub's name before it", () => {
    for (const reference of [
      "functions/alpine",
      "functions/alpine:latest",
      "docker.io/functions/alpine:3",
      `ghcr.io/openfaas/alpine:latest@sha256:${"0".repeat(64)}`,
    ])
      assert.equal(findBuiltInImage(reference)?.repository, "ghcr.io/openfaas/alpine", reference);
    for (const reference of ["alpine2", "evil.example/functions/alpine", "functions/alpine/x", ""])
      assert.equal(findBuiltInImage(reference), undefined, reference);
  });
});

describe("the built-in images", () => {
  test("each is a program of its own folder", () => {
    for (const { folder: bundle } of builtInImages) if (bundle) assert.ok(existsSync(join(bundle, "index.js")), bundle);
  });

  test("markdown renders", () => {
    const cases: [string, string][] = [
      ["# Hi", "<h1>Hi</h1>\n"],
      ["## The **OpenFaaS** _workshop_", "<h2>The <strong>OpenFaaS</strong> <em>workshop</em></h2>\n"],
      ["a `b < c`\nd", "<p>a <code>b &lt; c</code>\nd</p>\n"],
      ["* a\n* [b](http://c.d/?e&f)", '<ul>\n<li>a</li>\n<li><a href="http://c.d/?e&amp;f">b</a></li>\n</ul>\n'],
      ["2. a\n\n3. b", '<ol start="2">\n<li>\n<p>a</p>\n</li>\n<li>\n<p>b</p>\n</li>\n</ol>\n'],
      ["<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"],
      ["[a](java\tscript:alert(1)) [b](javascript:alert(1))", '<p>[a](java\tscript:alert(1)) <a href="">b</a></p>\n'],
      ["```js\na < b\n```", '<pre><code class="language-js">a &lt; b\n</code></pre>\n'],
      ["> a\n\n---", "<blockquote>\n<p>a</p>\n</blockquote>\n<hr />\n"],
      ["", ""],
    ];
    for (const [text, expected] of cases) assert.equal(output("markdown", text), expected, text);
  });

  test("markdown takes hostile input as it takes any other", () => {
    const hostile = ["*a ", "_a*b ", "[", "[a](", ">", "- ", "`a``", "\\", "&amp", "# ", "a  \n"];
    for (const text of hostile) {
      const started = Date.now();
      output("markdown", text.repeat(20_000));
      assert.ok(Date.now() - started < 10_000, text);
    }
  });

  test("nodeinfo tells about the host, and more when asked", () => {
    const short = output("nodeinfo", "");
    for (const line of [/^Hostname: \S+$/m, /^Arch: \S+$/m, /^CPUs: \d+$/m, /^Platform: \S+$/m, /^Uptime: [\d.]+$/m])
      assert.match(short, line);
    assert.doesNotMatch(short, /Network interfaces/);
    assert.match(output("nodeinfo", "verbose\n"), /Network interfaces:/);
  });

  test("figlet draws every printable character, and breaks wide lines", () => {
    assert.equal(
      output("figlet", "100%\n"),
      [
        " #   ##   ##  ##  #",
        "##  #  # #  # ## #",
        " #  #  # #  #   #",
        " #  #  # #  #  # ##",
        "###  ##   ##  #  ##",
        "",
        "",
      ].join("\n"),
    );
    const all = String.fromCharCode(...Array.from({ length: 95 }, (_, at) => 32 + at));
    const drawn = output("figlet", all).split("\n");
    assert.ok(drawn.length > 6 && drawn.every((line) => line.length <= 80));
    const { glyphs } = createRequire(import.meta.url)(join(ownTemplates, "../images/figlet/font.js")) as {
      glyphs: ReadonlyMap<string, readonly string[]>;
    };
    const shapes = new Map([...glyphs].map(([character, rows]) => [rows.join("\n"), character]));
    for (const [character, rows] of glyphs) assert.equal(shapes.get(rows.join("\n")), character);
    assert.equal(shapes.size, 95);
    assert.equal(output("figlet", "é"), output("figlet", "?"));
  });
});

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

async function ask(
  method: string,
  path: string,
  body: Buffer = Buffer.alloc(0),
  headers: Record<string, string> = {},
): Promise<Answer> {
  const request = httpRequest({
    host: "127.0.0.1",
    port: new URL(origin).port,
    method,
    path: `/stores/templates.git${path}`,
    headers: { ...headers, "content-length": body.length },
  });
  // Where the body is refused midway, the rest of it cannot be sent.
  request.on("error", () => {}).end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.setEncoding("utf8");
  let text = "";
  for await (const chunk of response) text += chunk as string;
  return { status: response.statusCode ?? 0, headers: response.headers, body: text };
}

async function cloned(...parameters: string[]): Promise<string> {
  const target = join(mkdtempSync(join(folder, "clone-")), "templates");
  const child = spawn("git", ["clone", "--quiet", ...parameters, `${origin}/stores/templates.git`, target], {
    env: { PATH: process.env["PATH"], HOME: folder, GIT_TERMINAL_PROMPT: "0", NO_PROXY: "*" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 0, complaint);
  return target;
}

function inClone(clone: string, ...parameters: string[]): string {
  return spawnSync("git", ["-C", clone, ...parameters], { encoding: "utf8" }).stdout.trim();
}

function templatesOf(contents: Readonly<Record<string, string>>): string {
  const templates = mkdtempSync(join(folder, "templates-"));
  for (const [name, content] of Object.entries(contents)) {
    cpSync(join(ownTemplates, "dockerfile/function"), join(templates, name, "skeleton"), { recursive: true });
    writeFileSync(join(templates, name, "template.yml"), `language: ${name}\n# ${content}\n`);
  }
  return templates;
}

function output(image: string, input: string): string {
  const program = join(ownTemplates, "../images", image, "index.js");
  const { status, stdout, stderr } = spawnSync(process.execPath, [program], { input, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

async function withPath(path: string, action: () => Promise<void>): Promise<void> {
  const before = process.env["PATH"];
  process.env["PATH"] = path;
  try {
    await action();
  } finally {
    process.env["PATH"] = before;
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !condition(); await new Promise((resolve) => setTimeout(resolve, 20)))
    assert.ok(Date.now() < end, "it did not happen");
}
