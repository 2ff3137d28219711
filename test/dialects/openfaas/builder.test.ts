import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { packTar } from "modern-tar";
import nacl from "tweetnacl";
import { VirgaError } from "../../../src/core/errors.ts";
import { packTree, unpackTar } from "../../../src/dialects/openfaas/builder/archive.ts";
import { BuildTurns } from "../../../src/dialects/openfaas/builder/build-turns.ts";
import { type BuildKey, openBuildKey } from "../../../src/dialects/openfaas/build-secrets.ts";
import { type BuildEndpointOptions, serveBuild } from "../../../src/dialects/openfaas/builder/endpoint.ts";
import {
  buildImage,
  buildKey,
  type BuiltImage,
  type ImageBuildRequest,
} from "../../../src/dialects/openfaas/builder/image-build.ts";
import { searchPath, type Toolchain } from "../../../src/dialects/openfaas/builder/toolchain.ts";
import { createLog } from "../../../src/drivers/host/log.ts";
import { createSandbox } from "../../../src/drivers/sandbox/sandbox.ts";
import type { Sandbox } from "../../../src/ports/sandbox.ts";
import { removeTree } from "../../removal.ts";
import { missingTools } from "../../tools.ts";

type Files = Readonly<Record<string, string>>;

const root = mkdtempSync(join(tmpdir(), "virga-images-"));
chmodSync(root, 0o711);
const log = createLog({ level: "silent", pretty: false });
const watchdog = "FROM ghcr.io/openfaas/of-watchdog:0.10.7 AS watchdog\n";
let sandbox: Sandbox;
let count = 0;

after(() => removeTree(root));

function folder(name: string): string {
  const path = join(root, `${name}-${++count}`);
  mkdirSync(path);
  return path;
}

function write(files: Files): string {
  const context = folder("context");
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(context, name)), { recursive: true });
    writeFileSync(join(context, name), text);
  }
  return context;
}

function requestFor(context: string, more: Partial<ImageBuildRequest> = {}): ImageBuildRequest {
  const workDirectory = folder("work");
  chmodSync(workDirectory, 0o711);
  const cacheDirectory = join(root, "cache");
  mkdirSync(cacheDirectory, { recursive: true });
  return {
    context,
    buildArguments: {},
    workDirectory,
    cacheDirectory,
    sandbox,
    toolchain: () => Promise.resolve({ path: [], mounts: [], environment: {} }),
    timeoutMs: 30_000,
    maxBytes: 64 * 2 ** 20,
    onLog: () => undefined,
    signal: new AbortController().signal,
    ...more,
  };
}

async function build(
  files: Files | string,
  more: Partial<ImageBuildRequest> = {},
): Promise<{ built: BuiltImage; lines: string[]; read: (path: string) => string; files: string[] }> {
  const lines: string[] = [];
  const context = typeof files === "string" ? files : write(files);
  const built = await buildImage(requestFor(context, { onLog: (line) => lines.push(line), ...more }));
  return {
    built,
    lines,
    read: (path) => readFileSync(join(built.tree, path), "utf8"),
    files: filesBelow(built.tree).sort(),
  };
}

async function gather(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Links are files here. */
function filesBelow(directory: string, prefix = ""): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(join(directory, entry.name), `${prefix}${entry.name}/`) : `${prefix}${entry.name}`,
  );
}

async function failure(files: Files | string, more: Partial<ImageBuildRequest> = {}): Promise<VirgaError> {
  try {
    await build(files, more);
  } catch (error) {
    assert.ok(error instanceof VirgaError, String(error));
    return error;
  }
  throw new Error("it was built");
}

describe("images are built from their Dockerfiles", { skip: missingTools("bwrap") }, () => {
  before(async () => {
    const stateDirectory = folder("sandbox");
    chmodSync(stateDirectory, 0o711);
    // The links of openfaasFixtures: a build's own folders go before them.
    const links = { "/home/app": "/tmp/.openfaas/home-app", "/app": "/tmp/.openfaas/app" };
    sandbox = await createSandbox({ choice: "bubblewrap", stateDirectory, log, fixtures: { links } });
  });
  after(() => sandbox.close());

  test("files, variables, working directory, command, watchdog", async () => {
    const { built, files, read, lines } = await build(
      {
        Dockerfile: `${watchdog}FROM alpine:3.21
ARG GREETING=hello
ARG UNSET
COPY --from=watchdog /fwatchdog /usr/bin/fwatchdog
RUN chmod +x /usr/bin/fwatchdog && apk --no-cache add sh no-such-thing && addgroup -S app && adduser -S -G app app
WORKDIR /home/app
COPY . .
RUN echo "$GREETING $HOME \${UNSET-unset} $(pwd)" > said && chown -R app:app /home/app && chmod 700 run.sh
USER app
ENV fprocess="sh run.sh" PATH=$PATH:/home/app/bin mode=http
RUN [[ -f said ]] && echo $HOME >> said && echo kept > /tmp/between
RUN cat /tmp/between >> said; mkdir /app && echo app > /app/file
EXPOSE 8080
HEALTHCHECK --interval=3s CMD [ -e /tmp/.lock ] || exit 1
CMD ["fwatchdog"]
`,
        "run.sh": "cat",
        "function/handler.sh": "",
      },
      { buildArguments: { GREETING: "good day", OTHER: "1" } },
    );
    assert.deepEqual(files, [
      "app/file",
      "home/app/Dockerfile",
      "home/app/function/handler.sh",
      "home/app/run.sh",
      "home/app/said",
    ]);
    assert.equal(read("home/app/said"), "good day /root unset /home/app\n/home/app\nkept\n");
    assert.deepEqual(built.environment, {
      fprocess: "sh run.sh",
      mode: "http",
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/home/app/bin",
    });
    assert.equal(built.workingDirectory, "/home/app");
    assert.deepEqual(built.command, ["fwatchdog"]);
    assert.equal(built.watchdog, "of");
    assert.deepEqual([built.base.name, built.base.version], ["plain", "3.21"]);
    const said = lines.join("\n");
    assert.match(
      said,
      /virga: not needed here: apk --no-cache add sh no-such-thing \(.*by the name of: no-such-thing\)/,
    );
    assert.match(said, /virga: not needed here: addgroup -S app\n/);
    assert.match(said, /Step 2\/\d+ : FROM alpine:3.21/);
    assert.match(said, /build arguments that no ARG asks for: OTHER$/m);
    assert.ok((lstatSync(join(built.tree, "home/app/run.sh")).mode & 0o100) !== 0);
  });

  test("several stages: only those that are needed, and none changes an earlier one", async () => {
    const { built, read, files } = await build({
      Dockerfile: `ARG TAG=3.21
FROM alpine:\${TAG} AS build
WORKDIR /src
RUN echo one > out && ln -s out link && ln -s /etc/passwd outside && mkdir deep && echo deep > deep/file
FROM build AS test
RUN exit 1
FROM build AS changed
RUN echo two >> out
FROM scratch
COPY --from=build /src/out /home/app/first
COPY --from=changed /src/out /src/link /home/app/
COPY --from=0 --chmod=755 /src/deep /opt/deep/
COPY --from=build /src /copy
WORKDIR made/here
ENTRYPOINT ["/opt/run"]
CMD ["--fast"]
`,
    });
    assert.equal(read("home/app/first"), "one\n");
    assert.equal(read("home/app/out"), "one\ntwo\n");
    // What is named itself is followed, as a program inside would.
    assert.equal(read("home/app/link"), "one\ntwo\n");
    assert.equal(read("opt/deep/file"), "deep\n");
    assert.ok(lstatSync(join(built.tree, "copy/outside")).isSymbolicLink());
    assert.deepEqual(files.filter((file) => file.startsWith("copy/")).length, 4);
    assert.deepEqual(built.command, ["/opt/run", "--fast"]);
    assert.equal(built.workingDirectory, "/made/here");
  });

  test("sources: patterns, folders, .dockerignore, archives", async () => {
    const context = write({
      Dockerfile: `FROM scratch
WORKDIR /home/app
COPY function/package*.json ./
COPY nothing*.txt ./
COPY function /whole
COPY ["a b.txt", "renamed.txt"]
COPY a?b.txt main.[jt]s many/
COPY --exclude=**/*.md docs docs
ADD data.tar /data
`,
      ".dockerignore": "**/*.log\nfunction/secret\n!function/secret/shared.txt\ndata.md\n",
      "a b.txt": "spaced",
      "main.js": "",
      "main.ts": "",
      "main.rs": "",
      "docs/a.md": "",
      "docs/a.txt": "",
      "function/package.json": "{}",
      "function/package-lock.json": "{}",
      "function/handler.js": "",
      "function/deep/trace.log": "",
      "function/secret/key": "",
      "function/secret/shared.txt": "",
    });
    writeFileSync(
      join(context, "data.tar"),
      await packTar([{ header: { name: "in/it", size: 2, type: "file" }, body: "42" }]),
    );
    const { files } = await build(context);
    assert.deepEqual(files, [
      "data/in/it",
      "home/app/docs/a.txt",
      "home/app/many/a b.txt",
      "home/app/many/main.js",
      "home/app/many/main.ts",
      "home/app/package-lock.json",
      "home/app/package.json",
      "home/app/renamed.txt",
      "whole/handler.js",
      "whole/package-lock.json",
      "whole/package.json",
      "whole/secret/shared.txt",
    ]);
  });

  test("nothing is read from outside of the context, nor written outside of the stage", async () => {
    const outside = write({ secret: "42" });
    const context = write({ Dockerfile: "FROM scratch\nCOPY link /home/app/\n" });
    symlinkSync(join(outside, "secret"), join(context, "link"));
    symlinkSync(outside, join(context, "folder"));
    assert.match(
      (await failure(context)).message,
      /^Dockerfile:2: COPY link .*: link is a link that leads outside of the build context/,
    );
    for (const [source, message] of [
      ["folder/secret", /is a link that leads outside of the build context/],
      ["fold*/secret", /is a link that leads outside of the build context/],
      ["../context-1/Dockerfile", /leads outside of the build context/],
      ["missing", /missing is not in the build context/],
    ] as const) {
      writeFileSync(join(context, "Dockerfile"), `FROM scratch\nCOPY ${source} /home/app/\n`);
      assert.match((await failure(context)).message, message, source);
    }
    // A program's link that leads out of the stage leads within for us.
    const { files } = await build({
      Dockerfile: `FROM alpine
RUN ln -s ${outside} /home/app/there && ln -s ${outside}/secret /home/app/file && ln -s / /home/app/top \
  && ln -s /opt/elsewhere /home/app/opt
FROM alpine AS last
COPY --from=0 /home/app /home/app
COPY Dockerfile /home/app/there/written
COPY Dockerfile /home/app/opt/written
COPY Dockerfile /home/app/file
COPY Dockerfile /home/app/top/home/app/under
`,
    });
    assert.deepEqual(readdirSync(outside), ["secret"]);
    assert.equal(readFileSync(join(outside, "secret"), "utf8"), "42");
    assert.ok(files.includes("home/app/under") && files.includes("opt/elsewhere/written"));
    const read = await failure({
      Dockerfile: `FROM alpine\nRUN ln -s ${outside} /home/app/there\nFROM alpine\nCOPY --from=0 /home/app/there/secret /home/app/\n`,
    });
    assert.match(read.message, /^Dockerfile:4: .*\/home\/app\/there\/secret is not in the stage 0/);
  });

  test("what cannot be is refused with the line, the reason and a way out", async () => {
    const cases: [string, RegExp, RegExp?][] = [
      [
        "FROM scratch\nCOPY Dockerfile /etc/motd",
        /^Dockerfile:2: .*\/etc\/motd is in a folder of the system\. Only files .*\/home\/app/,
      ],
      ["FROM scratch\nWORKDIR /usr/src/app", /^Dockerfile:2: .*is a folder of the system/],
      ["FROM scratch\nCOPY Dockerfile x /home/app", /^Dockerfile:2: .*(x is not in the build context|needs a folder)/],
      [
        "FROM scratch\nADD https://example.com/x /home/app/",
        /^Dockerfile:2: ADD of https:\/\/example.com\/x/,
        /RUN curl/,
      ],
      [
        "FROM scratch\nCOPY --from=composer:2 /usr/bin/no-such-program /home/app/",
        /^Dockerfile:2: .*this host has no program no-such-program/,
        /Install no-such-program/,
      ],
      [
        "FROM alpine AS a\nFROM alpine\nCOPY --from=a /fwatchdog /usr/bin/",
        /^Dockerfile:3: a has no fwatchdog/,
        /of-watchdog/,
      ],
      ["FROM alpine\nRUN --mount=type=ssh true", /^Dockerfile:2: RUN --mount=type=ssh/],
      [
        "FROM alpine\nRUN echo x > /etc/motd",
        /^Dockerfile:2: RUN echo x > \/etc\/motd ended with exit code/,
        /read-only\. Only files/,
      ],
      ["FROM alpine\nRUN no-such-program", /ended with exit code 127$/, /it has no no-such-program/],
      [
        "FROM alpine\nCOPY --from=acme/x /usr/bin/no-such-program /usr/bin/\nRUN no-such-program",
        /^Dockerfile:3: .*127$/,
        /it has no no-such-program/,
      ],
      ["FROM $UNSET\n", /^Dockerfile:1: \$UNSET is empty/],
      [
        `FROM alpine\nENV a=${":".repeat(64)}\n${"ENV a=$a$a\n".repeat(22)}`,
        /^Dockerfile:\d+: it comes to more than \d+ characters/,
      ],
      [
        `FROM alpine\nENV a=${"x".repeat(100_000)}\n${"ENV b=$a\n".repeat(50)}`,
        /^Dockerfile:\d+: the values of all variables/,
        /Write them to a file/,
      ],
      ["FROM alpine\n".repeat(5000), /^Dockerfile:201: there are more than 200 stages/],
      [`FROM alpine\nRUN true cd ${"-cd ".repeat(200_000)}`, /^Dockerfile:2: .*/],
    ];
    for (const [Dockerfile, message, fix] of cases) {
      const error = await failure({ Dockerfile });
      assert.equal(error.code, "build_failed", Dockerfile);
      assert.match(error.message, message, Dockerfile);
      assert.match(error.detail.location ?? "", /^Dockerfile:\d+$/);
      if (fix !== undefined) assert.match(error.detail.fix ?? "", fix, Dockerfile);
    }
    assert.match((await failure({ x: "" })).message, /has no Dockerfile/);
  });

  test("a RUN that fails tells its last lines", async () => {
    const error = await failure({
      Dockerfile:
        "FROM alpine\n\nRUN for i in $(seq 100); do echo line $i; done \\\n  && echo wrong >&2 \\\n  && exit 7\n",
    });
    assert.equal(
      error.message,
      "Dockerfile:3: RUN for i in $(seq 100); do echo line $i; done && echo wrong >&2 && exit 7 ended with exit code 7",
    );
    assert.match(error.detail.log ?? "", /line 100/);
    assert.match(error.detail.log ?? "", /wrong/);
    assert.doesNotMatch(error.detail.log ?? "", /line 60\n/);
  });

  test("limits of time and size, and whoever leaves", async () => {
    const slow = await failure({ Dockerfile: "FROM alpine\nRUN sleep 60" }, { timeoutMs: 500 });
    assert.equal(slow.code, "build_timeout");
    const large = await failure(
      { Dockerfile: "FROM alpine\nRUN for i in 1 2 3; do head -c 900000 /dev/zero > /home/app/$i; done" },
      { maxBytes: 2 ** 20 },
    );
    assert.match(large.message, /^Dockerfile:2: .*the stage is larger than 1 MiB/);
    const leaves = new AbortController();
    setTimeout(() => leaves.abort(), 300);
    const left = await failure({ Dockerfile: "FROM alpine\nRUN sleep 60" }, { signal: leaves.signal });
    assert.equal(left.code, "cancelled");
  });

  test("programs are those of the toolchain, in front of the system's and behind the Dockerfile's own", async () => {
    const tools = folder("tools");
    writeFileSync(join(tools, "greet"), "#!/bin/sh\necho greetings from $WHERE\n", { mode: 0o755 });
    const asked: string[] = [];
    const { built, read, lines } = await build(
      {
        Dockerfile: `FROM composer:2 AS tools
FROM acme/thing:1
COPY --from=tools /usr/bin/greet /usr/bin/greet
COPY --from=tools /usr/bin/greet /home/app/bin/
ARG WHERE=""
RUN greet > /home/app/said && /home/app/bin/greet >> /home/app/said
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN false | true || echo piped >> /home/app/said
RUN ["sh", "-c", "echo $0 >> /home/app/said", "exec"]
`,
      },
      {
        toolchain: async ({ name, image }) => {
          asked.push(`${image} ${name}`);
          const none: Toolchain = { path: [], mounts: [], environment: {} };
          if (name !== "composer") return none;
          return {
            path: ["/virga/tools"],
            mounts: [{ source: tools, target: "/virga/tools", writable: false }],
            environment: { WHERE: "here" },
          };
        },
      },
    );
    assert.equal(read("home/app/said"), "greetings from here\ngreetings from here\npiped\nexec\n");
    assert.ok(asked.includes("acme/thing:1 plain") && asked.includes("composer:2 composer"));
    assert.match(lines.join("\n"), /acme\/thing:1 is not known here/);
    assert.match(lines.join("\n"), /greet is that of the host, \/virga\/tools\/greet/);
    assert.equal(built.watchdog, undefined);
    const toolchain = { path: ["/t"], mounts: [], environment: {} };
    assert.equal(searchPath("/venv/bin:/usr/local/bin:/bin:/x", toolchain), "/venv/bin:/t:/usr/local/bin:/bin:/x");
  });

  test("one key for what would be built alike", async () => {
    const files = { Dockerfile: "FROM node:22\nCOPY . .", a: "1", ".dockerignore": "b" };
    const keyOf = (more: Files, request: Partial<ImageBuildRequest> = {}) =>
      buildKey(requestFor(write({ ...files, ...more }), request));
    const key = await keyOf({});
    assert.match(key, /^[0-9a-f]{64}$/);
    assert.equal(await keyOf({ b: "ignored" }), key);
    assert.notEqual(await keyOf({ a: "2" }), key);
    assert.notEqual(await keyOf({}, { buildArguments: { A: "1" } }), key);
    const other = () => Promise.resolve({ path: ["/other"], mounts: [], environment: {} });
    assert.notEqual(await keyOf({}, { toolchain: other }), key);
  });

  test("a built tree is one tar, whose links stay inside", async () => {
    const { built } = await build({
      Dockerfile: `FROM alpine
RUN cd /home/app && echo x > file && ln -s file near && ln -s /home/app/file far && ln -s /nowhere gone \
  && ln -s /usr/bin/env program && ln -s /etc/passwd secret && mkfifo pipe && chmod 4700 file
`,
    });
    const leftOut: string[] = [];
    const bytes = () => gather(packTree(built.tree, "image", (path) => leftOut.push(path)));
    const tar = await bytes();
    assert.deepEqual(leftOut.splice(0), ["/home/app/gone", "/home/app/secret"]);
    assert.ok(tar.equals(await bytes()));
    const file = join(root, "tree.tar");
    writeFileSync(file, tar);
    const again = folder("again");
    await unpackTar(file, again, { maxBytes: 2 ** 20, maxFiles: 100 });
    const app = join(again, "image/home/app");
    assert.deepEqual(readdirSync(app).sort(), ["far", "file", "near", "program"]);
    assert.equal(readFileSync(join(app, "far"), "utf8"), "x\n");
    assert.equal(lstatSync(join(app, "file")).mode & 0o7777, 0o755);
    assert.deepEqual(readFileSync(join(app, "program")), readFileSync("/usr/bin/env"));
  });

  test("a name that is no UTF-8 is refused by its tar", async () => {
    const { built } = await build({ Dockerfile: "FROM alpine\nRUN touch \"/home/app/$(printf 'a\\377')\"\n" });
    await assert.rejects(gather(packTree(built.tree)), {
      code: "build_failed",
      message: "the name of /home/app/a\uFFFD is no UTF-8",
    });
  });
});

describe("archives from outside", () => {
  const unpack = async (entries: Parameters<typeof packTar>[0]) => {
    const file = join(root, `upload-${++count}.tar`);
    writeFileSync(file, await packTar(entries));
    const target = folder("unpacked");
    await unpackTar(file, target, { maxBytes: 1000, maxFiles: 5 });
    return target;
  };
  const plain = (name: string, body: string) => ({ header: { name, size: body.length, type: "file" as const }, body });
  const link = (name: string, linkname: string, type: "symlink" | "link" = "symlink") => ({
    header: { name, linkname, size: 0, type },
  });

  test("are unpacked as they are", async () => {
    const target = await unpack([plain("./a/b", "1"), plain("a/b", "2"), link("a/c", "b"), link("d", "a/b", "link")]);
    assert.equal(readFileSync(join(target, "a/c"), "utf8"), "2");
    assert.equal(readFileSync(join(target, "d"), "utf8"), "2");
  });

  test("are refused where they would reach outside, or hold too much", async () => {
    const cases: [Parameters<typeof packTar>[0], string, RegExp][] = [
      [[plain("/etc/x", "")], "invalid_archive", /absolute path/],
      [[plain("a/../../x", "")], "invalid_archive", /climbs out/],
      [[link("a", "/etc")], "invalid_archive", /leads outside/],
      [[link("a", "../x")], "invalid_archive", /leads outside/],
      [[link("a", "."), plain("a/x", "")], "invalid_archive", /goes through "a"/],
      [[link("b/c", ".."), link("d", "b/c/../..")], "invalid_archive", /leads outside/],
      [[link("a", "/etc/passwd", "link")], "invalid_archive", /absolute path/],
      [[{ header: { name: "a", size: 0, type: "fifo" } }], "invalid_archive", /is a fifo/],
      [[plain("a", "x".repeat(2000))], "archive_too_large", /more than 1000 bytes/],
      [[plain("a/b/c/d/e/f", "")], "archive_too_large", /5 files/],
    ];
    for (const [entries, code, message] of cases) {
      await assert.rejects(unpack(entries), (error) => {
        assert.ok(error instanceof VirgaError, String(error));
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    }
  });
});

test("turns: so many at a time, one image after another, in their order", async () => {
  const turns = new BuildTurns(2);
  const never = new AbortController().signal;
  const order: string[] = [];
  const waits: string[] = [];
  const take = async (image: string, name: string, signal = never) => {
    const release = await turns.take(image, signal, (reason) => waits.push(`${name} ${reason}`));
    order.push(name);
    return release;
  };
  const first = await take("a", "a1");
  const second = take("a", "a2");
  const other = await take("b", "b1");
  const leaves = new AbortController();
  const gone = take("c", "c1", leaves.signal);
  const last = take("d", "d1");
  leaves.abort();
  await assert.rejects(gone, { code: "cancelled" });
  first();
  first();
  const releaseSecond = await second;
  assert.deepEqual(order, ["a1", "b1", "a2"]);
  other();
  (await last)();
  releaseSecond();
  assert.deepEqual(order, ["a1", "b1", "a2", "d1"]);
  assert.deepEqual(waits, [
    "a2 waiting: a is being built already",
    "c1 waiting: 2 other images are being built",
    "d1 waiting: 2 other images are being built",
  ]);
});

describe("the builder's endpoint", { skip: missingTools("bwrap") }, () => {
  interface Answer {
    readonly status: number;
    readonly text: string;
  }
  const kept = new Map<string, { key: string; files: string[] }>();
  const server = createServer((request, response) => {
    serveBuild(options, request, response).catch(() => response.destroy());
  });
  let options: BuildEndpointOptions;
  let buildKey: BuildKey;
  let stateDirectory: string;

  before(async () => {
    buildKey = openBuildKey(join(folder("keys"), "build-key"));
    stateDirectory = folder("sandbox");
    chmodSync(stateDirectory, 0o711);
    sandbox = await createSandbox({ choice: "bubblewrap", stateDirectory, log });
    const { toolchain, cacheDirectory, timeoutMs, maxBytes } = requestFor("");
    options = {
      toolchain,
      cacheDirectory,
      timeoutMs,
      maxBytes,
      sandbox,
      log,
      workDirectory: folder("builds"),
      secrets: () => Promise.resolve(["other", " payload secret\n"]),
      unseal: (envelope) => buildKey.unseal(envelope),
      known: (image, key) => Promise.resolve(kept.get(image)?.key === key),
      keep: (image, { tree }, key) => {
        kept.set(image, { key, files: readdirSync(join(tree, "home/app")).sort() });
        return Promise.resolve();
      },
      uploadPauseMs: 500,
      mostUploads: 2,
      maxUploadBytes: 2 ** 20,
    };
    chmodSync(options.workDirectory, 0o711);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  after(async () => {
    server.close();
    server.closeAllConnections();
    await sandbox.close();
    assert.deepEqual(readdirSync(options.workDirectory), []);
  });

  async function tarOf(files: Files, config: object = { image: "acme/hello:1" }): Promise<Uint8Array> {
    const all = { "com.openfaas.docker.config": JSON.stringify(config), ...files };
    return packTar(
      Object.entries(all).map(([name, body]) => ({
        header: { name, size: Buffer.byteLength(body), type: "file" as const },
        body,
      })),
    );
  }

  function post(
    body: Uint8Array,
    { accept, signature = sign(body), path = "/build" }: { accept?: string; signature?: string; path?: string } = {},
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          port: (server.address() as AddressInfo).port,
          method: "POST",
          path,
          headers: {
            "content-type": "application/octet-stream",
            "x-build-signature": signature,
            ...(accept === undefined ? {} : { accept }),
          },
        },
        (response) => {
          const status = response.statusCode!;
          gather(response).then((body) => resolve({ status, text: body.toString() }), reject);
        },
      );
      request.once("error", reject);
      request.end(body);
    });
  }

  const sign = (body: Uint8Array, key = "payload secret") =>
    `sha256=${createHmac("sha256", key).update(body).digest("hex")}`;
  const good = {
    "context/Dockerfile": `${watchdog}FROM alpine
COPY --from=watchdog /fwatchdog /usr/bin/fwatchdog
WORKDIR /home/app
COPY . .
RUN echo built
ENV fprocess=cat
CMD ["fwatchdog"]
`,
    // One of the clients has it there, too.
    "context/com.openfaas.docker.config": "{}",
    "context/function/handler.sh": "",
  };

  test("answers with one object, and an unchanged build at once", async () => {
    const tar = await tarOf(good);
    const { status, text } = await post(tar);
    assert.equal(status, 200);
    const answer = JSON.parse(text) as { log: string[]; image: string; status: string };
    assert.deepEqual([answer.image, answer.status], ["acme/hello:1", "success"]);
    assert.ok(answer.log.includes("built"));
    assert.deepEqual(kept.get("acme/hello:1")?.files, ["Dockerfile", "function"]);
    const again = JSON.parse((await post(tar, { path: "/" })).text) as typeof answer;
    assert.equal(again.status, "success");
    assert.equal(again.log.length, 1);
    assert.match(again.log[0]!, /unchanged/);
  });

  test("secrets sealed for its key are there for the commands that ask for them, and not in the image", async () => {
    const dockerfile = `${watchdog}FROM alpine
COPY --from=watchdog /fwatchdog /usr/bin/fwatchdog
WORKDIR /home/app
RUN --mount=type=secret,id=token --mount=type=secret,id=pin,env=PIN wc -c < /run/secrets/token > length && echo "$PIN" | wc -c >> length
RUN test ! -e /run/secrets/token && test -z "$PIN"
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
ENV fprocess=cat
CMD ["fwatchdog"]
`;
    const tar = await tarOf(
      { "context/Dockerfile": dockerfile, "com.openfaas.secrets": sealed({ token: "hush", pin: "1234" }) },
      { image: "acme/sealed:1" },
    );
    const { status, text } = await post(tar);
    assert.equal(status, 200, text);
    assert.deepEqual(kept.get("acme/sealed:1")?.files, ["length"]);
    assert.doesNotMatch(text, /hush|1234/);
    const stranger = Buffer.from(nacl.box.keyPair().publicKey).toString("base64");
    const foreign = await post(
      await tarOf({ "context/Dockerfile": dockerfile, "com.openfaas.secrets": sealed({ token: "hush" }, stranger) }),
    );
    assert.match(foreign.text, /token cannot be opened: it was sealed for another key/);
  });

  /** As the SDK seals them: a nonce in front of each value. */
  function sealed(values: Readonly<Record<string, string>>, key = buildKey.document.public_key): string {
    const { publicKey, secretKey } = nacl.box.keyPair();
    const lines = Object.entries(values).map(([name, value]) => {
      const nonce = nacl.randomBytes(nacl.box.nonceLength);
      const bytes = nacl.box(Buffer.from(value), nonce, Buffer.from(key, "base64"), secretKey);
      return `  ${name}: ${Buffer.concat([nonce, bytes]).toString("base64")}`;
    });
    const sender = Buffer.from(publicKey).toString("base64");
    return ["version: v1", "algorithm: nacl/box", `public_key: ${sender}`, "secrets:", ...lines, ""].join("\n");
  }

  test("streams a line of JSON for each line of the log where it is asked to", async () => {
    const { status, text } = await post(
      await tarOf(
        {
          ...good,
          "context/Dockerfile": "FROM alpine\nRUN head -c 200000 /dev/zero | tr '\\0' x\nRUN echo $GREETING\n",
        },
        {
          image: "acme/stream",
          buildArgs: { GREETING: "unasked" },
          platforms: ["linux/amd64"],
        },
      ),
      { accept: "application/x-ndjson" },
    );
    assert.equal(status, 200);
    const lines = text.trimEnd().split("\n");
    assert.ok(lines.every((line) => Buffer.byteLength(line) < 60 * 1024));
    const answers = lines.map((line) => JSON.parse(line) as { log: string[]; image: string; status: string });
    assert.deepEqual(answers.at(-1), { log: [], image: "acme/stream", status: "success" });
    assert.ok(
      answers
        .slice(0, -1)
        .every(({ log, image, status }) => log.length === 1 && image === "acme/stream" && status === "in_progress"),
    );
  });

  test("a build that fails says why, in both forms", async () => {
    const tar = await tarOf({ "context/Dockerfile": "FROM alpine\nRUN exit 3" });
    const whole = await post(tar);
    assert.equal(whole.status, 422);
    const one = JSON.parse(whole.text) as { status: string; error: string; log: string[] };
    assert.equal(one.status, "failed");
    assert.match(one.error, /^Dockerfile:2: RUN exit 3 ended with exit code 3/);
    assert.ok(one.log.includes(one.error));
    const last = (await post(tar, { accept: "application/x-ndjson" })).text.trimEnd().split("\n").at(-1)!;
    assert.deepEqual(JSON.parse(last), { log: [], image: "acme/hello:1", status: "failed", error: one.error });
    for (const [files, config, message] of [
      [{}, { image: "a" }, /no folder context\//],
      [good, { image: "" }, /image is no name/],
      [good, { image: "a", buildArgs: { b: 1 } }, /buildArgs is no object of strings/],
      [{ ...good, "../x": "" }, { image: "a" }, /climbs out of the archive/],
    ] as const) {
      const { status, error } = JSON.parse((await post(await tarOf(files, config))).text) as {
        status: string;
        error: string;
      };
      assert.equal(status, "failed");
      assert.match(error, message);
    }
  });

  test("only what is signed, small enough and comes without pauses is read", async () => {
    const tar = await tarOf(good);
    assert.equal((await post(tar, { signature: sign(tar, "other") })).status, 200);
    const wrong = await post(tar, { signature: sign(tar, "wrong") });
    assert.equal(wrong.status, 401);
    assert.match(wrong.text, /does not fit the body/);
    assert.equal((await post(tar, { signature: "" })).status, 401);
    assert.equal((await post(tar, { signature: "sha1=00" })).status, 401);
    assert.equal((await post(Buffer.alloc(2 ** 21))).status, 413);
    const slow = await new Promise<number>((resolve, reject) => {
      const headers = { "x-build-signature": sign(tar), "transfer-encoding": "chunked" };
      const request = httpRequest(
        { port: (server.address() as AddressInfo).port, method: "POST", headers },
        (response) => {
          resolve(response.statusCode!);
          request.destroy();
        },
      );
      request.on("error", reject);
      request.write(tar.subarray(0, 100));
    });
    assert.equal(slow, 408);
  });

  test("uploads that break off leave nothing open, and so many may come at a time", async () => {
    const headers = { "x-build-signature": sign(Buffer.of()), "content-length": 2 ** 20 };
    const { port } = server.address() as AddressInfo;
    const partial = () => {
      const request = httpRequest({ port, method: "POST", headers });
      request.on("error", () => undefined);
      request.write(Buffer.alloc(1000));
      return request;
    };
    const isOpen = (path: string): boolean => path.startsWith(options.workDirectory);
    const openFiles = (): string[] =>
      readdirSync("/proc/self/fd").flatMap((fd) => {
        try {
          return [readlinkSync(`/proc/self/fd/${fd}`)].filter(isOpen);
        } catch {
          return [];
        }
      });
    const until = async (isSo: () => boolean): Promise<void> => {
      for (let wait = 0; !isSo() && wait < 400; wait++) await new Promise((resolve) => setTimeout(resolve, 1));
      assert.ok(isSo());
    };
    const [one, two] = [partial(), partial()];
    await until(() => openFiles().length === 2);
    const third = await post(await tarOf(good));
    assert.equal(third.status, 503);
    assert.match(third.text, /2 builds are being sent already/);
    one.destroy();
    two.destroy();
    await until(() => openFiles().length === 0);
    assert.equal((await post(await tarOf(good))).status, 200);
  });

  test("a client that leaves takes its build with it", async () => {
    const tar = await tarOf(
      { "context/Dockerfile": "FROM alpine\nRUN echo begun && sleep 60" },
      { image: "acme/left" },
    );
    const headers = { "x-build-signature": sign(tar), accept: "application/x-ndjson" };
    const request = httpRequest({ port: (server.address() as AddressInfo).port, method: "POST", headers });
    request.on("error", () => undefined);
    request.end(tar);
    const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
    let text = "";
    for await (const chunk of response) {
      text += chunk;
      if (text.includes('"begun"')) break;
    }
    request.destroy();
    // Its turn is free again, and its folder is gone.
    for (let wait = 0; readdirSync(options.workDirectory).length > 0 && wait < 100; wait++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(readdirSync(options.workDirectory), []);
  });
});
