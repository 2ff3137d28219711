import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { exampleFolders } from "../../src/cli/examples.ts";
import { parseManifest, settingsOf } from "../../src/cli/manifest.ts";
import { manifestJsonSchema } from "../../src/cli/manifest-schema.ts";
import { loadProject } from "../../src/cli/project.ts";
import { templates, writeTemplate } from "../../src/cli/commands/new.ts";
import { folder } from "./harness.ts";

describe("virga.yaml", () => {
  test("durations and sizes become the API's fields", () => {
    const manifest = parseManifest(
      `functions:
  hello:
    runtime: node
    timeout: 1m30s
    bundle: true
    memory: 0.5GiB
    limits: { request: 64KiB, tmp: 32MiB, startTimeout: 250ms }
    scaling: { min: 1, keepAlive: 2h }
    async: { maxAge: 1d, backoff: 1s }
    cors: { origins: ["*"], maxAge: 10m }
    environment: { COUNT: 3, DEBUG: true }
`,
      "virga.yaml",
    );
    const hello = manifest.functions["hello"];
    assert.ok(hello);
    assert.deepEqual(settingsOf(hello), {
      runtime: "node",
      bundle: true,
      limits: { memoryMb: 512, timeoutMs: 90_000, startTimeoutMs: 250, tmpMb: 32, requestBytes: 65_536 },
      scaling: { min: 1, keepAliveMs: 7_200_000 },
      async: { maxAgeMs: 86_400_000, backoffMs: 1000 },
      cors: { origins: ["*"], maxAgeSeconds: 600 },
      environment: { COUNT: "3", DEBUG: "true" },
    });
  });

  const mistakes: readonly (readonly [string, string, RegExp])[] = [
    [
      "an unknown key is named with its place and its likely meaning",
      "functions:\n  a:\n    timout: 3s\n",
      /^virga.yaml:3:5: functions\.a\.timout: unknown key; did you mean timeout\?/,
    ],
    [
      "a key of another platform is translated",
      "functions:\n  a:\n    env: {}\n",
      /:3:5: .*did you mean environment\?/,
    ],
    [
      "a size without a unit is refused",
      "functions:\n  a:\n    memory: 512\n",
      /:3:13: functions\.a\.memory: a size needs its unit: 512MiB or 512B/,
    ],
    [
      "a duration that is none is refused",
      "functions:\n  a:\n    timeout: soon\n",
      /:3:14: functions\.a\.timeout: "soon" is no duration/,
    ],
    [
      "memory is counted in whole MiB",
      "functions:\n  a:\n    memory: 100KiB\n",
      /:3:13: functions\.a\.memory: must be a whole number of MiB/,
    ],
    [
      "a name that is none is refused at its key",
      "functions:\n  A B:\n    timeout: 3s\n",
      /:2:3: functions\.A B: a function's name is/,
    ],
    [
      "what is missing is named at its parent",
      "functions: {}\nroutes:\n  - path: /x\n",
      /:3:5: routes\[0\]\.function: is missing/,
    ],
    [
      "a limit stated twice is refused",
      "functions:\n  a:\n    memory: 1GiB\n    limits:\n      memory: 2GiB\n",
      /:5:7: .*keep one of them/,
    ],
    ["broken YAML is refused", "functions:\n  a: [\n", /^virga.yaml:\d+:\d+: /],
    ["a repeated key is refused", "functions:\n  a: {}\n  a: {}\n", /^virga.yaml:3:3: /],
    ["an empty file lacks its functions", "", /^virga.yaml:1:1: functions: is missing/],
    [
      "aliases that multiply without bounds are refused",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n`,
      /alias/i,
    ],
  ];
  for (const [name, text, message] of mistakes) {
    test(name, () => {
      assert.throws(
        () => parseManifest(text, "virga.yaml"),
        (error: unknown) =>
          error instanceof VirgaError && error.code === "invalid_field" && message.test(error.message),
      );
    });
  }

  test("a scaling policy's words become the API's, with their units", () => {
    const scaling = (text: string): unknown => {
      const { functions } = parseManifest(`functions:\n  a:\n    scaling: ${text}\n`, "virga.yaml");
      return settingsOf(functions["a"]!).scaling;
    };
    const kpa = "{ target: 10, utilization: 80, window: 30s, panicWindow: 20, grace: 10s }";
    assert.deepEqual(scaling(`{ min: 1, keepAlive: 5m, policy: kpa, kpa: ${kpa} }`), {
      min: 1,
      keepAliveMs: 300_000,
      policy: "kpa",
      kpa: { target: 10, utilizationPercent: 80, windowMs: 30_000, panicWindowPercent: 20, graceMs: 10_000 },
    });
    assert.deepEqual(scaling("{ policy: cpu, cpu: { target: 60, downWindow: 1m } }"), {
      policy: "cpu",
      cpu: { targetPercent: 60, downWindowMs: 60_000 },
    });
    const schedule = { timezone: "Europe/Berlin", at: [{ cron: "0 8 * * mon-fri", min: 3 }] };
    assert.deepEqual(scaling(`{ policy: schedule, schedule: ${JSON.stringify(schedule)} }`), {
      policy: "schedule",
      schedule,
    });
    assert.deepEqual(scaling("{ policy: openfaas, openfaas: { type: step, step: 1m, zeroAfter: 10m } }"), {
      policy: "openfaas",
      openfaas: { type: "step", stepMs: 60_000, zeroAfterMs: 600_000 },
    });
  });

  test("all mistakes are told at once, in the file's order, with the first one's lines", () => {
    assert.throws(
      () => parseManifest("functions:\n  a:\n    memory: 1\n    timeout: 2\n", "virga.yaml"),
      (error: Error) => {
        const [head, first, second, ...frame] = error.message.split("\n");
        assert.equal(head, "virga.yaml has 2 mistakes:");
        assert.match(first ?? "", /^virga.yaml:3:13/);
        assert.match(second ?? "", /^virga.yaml:4:14/);
        assert.ok(frame.includes(">  3 |     memory: 1".replace("  3", " 3")));
        assert.ok(frame.includes("    |             ^"));
        return true;
      },
    );
  });

  test("docs/virga.schema.json is what the schema says", () => {
    const file = join(import.meta.dirname, "../../docs/virga.schema.json");
    const text = `${JSON.stringify(manifestJsonSchema(), undefined, 2)}\n`;
    if (process.env["VIRGA_WRITE"]) writeFileSync(file, text);
    assert.equal(readFileSync(file, "utf8"), text, "run this test with VIRGA_WRITE=1");
  });

  test("every template is a project with the name that it was given", (t) => {
    const root = folder(t);
    for (const template of Object.keys(templates)) {
      writeTemplate(template, join(root, template), "my-fn");
      const project = loadProject(template, { from: root });
      assert.deepEqual(
        project.functions.map(({ name }) => name),
        ["my-fn"],
        template,
      );
      const readme = readFileSync(join(root, template, "README.md"), "utf8");
      assert.ok(readme.includes("my-fn") && !readme.includes("{{"), template);
    }
  });

  test("every example is a project", () => {
    const folders = exampleFolders();
    assert.ok(folders.length >= 3, `only ${folders.length} examples`);
    for (const example of folders) assert.ok(loadProject(example, { from: example }).functions.length > 0, example);
  });
});

describe("a project without virga.yaml", () => {
  test("a folder is one function of its name", (t) => {
    const root = folder(t, { "My API/index.ts": "" });
    const project = loadProject("My API", { from: root });
    assert.deepEqual(project.functions, [{ name: "my-api", source: join(root, "My API"), settings: {} }]);
  });

  test("a file is one function, whose handler it is", (t) => {
    const root = folder(t, { "hello.ts": "", "sum.py": "", "run!": "#!/bin/sh\n", "notes.txt": "" });
    const settings = (name: string) => loadProject(name, { from: root }).functions[0]?.settings;
    assert.deepEqual(settings("hello.ts"), { runtime: "node", handler: "hello.ts" });
    assert.deepEqual(settings("sum.py"), { runtime: "python", handler: "sum.py" });
    assert.deepEqual(settings("run"), { runtime: "binary", handler: "run" });
    assert.throws(() => settings("notes.txt"), { code: "runtime_unknown" });
    assert.throws(() => settings("nothing"), { code: "bad_request" });
  });

  test("a manifest's function can be chosen by name, and the secrets of all of it are gathered", (t) => {
    const root = folder(t, {
      "virga.yaml": "secrets: [B]\nfunctions:\n  one: { source: a, secrets: [A] }\n  two: { source: a/x.js }\n",
      "a/x.js": "",
    });
    assert.deepEqual(loadProject(".", { from: root }).secrets, ["A", "B"]);
    const [two] = loadProject(".", { from: root, name: "two" }).functions;
    assert.deepEqual(two, {
      name: "two",
      source: join(root, "a/x.js"),
      settings: { runtime: "node", handler: "x.js" },
    });
    assert.throws(() => loadProject(".", { from: root, name: "three" }), /it has one, two/);
  });
});
