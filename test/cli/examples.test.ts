import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { curlLine, missingPrograms, shellWord, tokenExpression } from "../../src/cli/examples.ts";
import { execFileSync } from "node:child_process";
import { folder } from "./harness.ts";

describe("the curl line of an example", () => {
  const example = (source: string, settings: object) => ({ name: "a", source, settings });

  test("a public function's needs no token, and its files are found from anywhere", (t) => {
    const root = folder(t, { "in.csv": "" });
    const annotations = { "example.curl": "--data-binary @in.csv", "example.path": "/?a=1" };
    assert.equal(
      curlLine("http://h/f/default/a", example(root, { public: true, annotations }), "T"),
      `curl --data-binary @${join(root, "in.csv")} 'http://h/f/default/a/?a=1'`,
    );
  });

  test("another function's takes the token out of its file when it runs", (t) => {
    const root = folder(t, {
      "credentials.json": '{\n  "url": "http://h",\n  "token": "vrg_x-1"\n}\n',
      plain: "vrg_y\n",
    });
    for (const [file, token] of [
      ["credentials.json", "vrg_x-1"],
      ["plain", "vrg_y"],
    ] as const) {
      const line = curlLine("http://h/a", example(root, {}), tokenExpression(join(root, file)));
      const shown = execFileSync("/bin/sh", ["-c", line.replace(/^curl/, "printf '%s\\n'")], { encoding: "utf8" });
      assert.equal(shown, `-H\nAuthorization: Bearer ${token}\nhttp://h/a/\n`);
    }
  });

  test("a word with quotes and blanks stays one word", () => {
    const word = 'it\'s $HOME `x` "y"';
    assert.equal(execFileSync("/bin/sh", ["-c", `printf %s ${shellWord(word)}`], { encoding: "utf8" }), word);
  });
});

describe("the programs that an example requires", () => {
  const requires = (value?: string) => ({
    name: "a",
    source: "/",
    settings: { annotations: value === undefined ? {} : { "example.requires": value } },
  });

  test("those that are not there, or cannot be executed, are missing", (t) => {
    const bin = folder(t, { yosys: "#!/bin/sh\n", iverilog: "#!/bin/sh\n" });
    chmodSync(join(bin, "yosys"), 0o755);
    assert.deepEqual(missingPrograms(requires("yosys"), ["/nowhere", bin]), []);
    assert.deepEqual(missingPrograms(requires(" yosys iverilog  ngspice"), ["/nowhere", bin]), ["iverilog", "ngspice"]);
    assert.deepEqual(missingPrograms(requires("yosys"), []), ["yosys"]);
  });

  test("without the annotation nothing is", () => {
    assert.deepEqual(missingPrograms(requires(), []), []);
    assert.deepEqual(missingPrograms({ name: "a", source: "/", settings: {} }, []), []);
  });

  test("a shell is there where functions look", () => assert.deepEqual(missingPrograms(requires("sh")), []));
});
