import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import { readImage } from "../../../src/dialects/openfaas/builder/base-image.ts";
import { findStage, parseDockerfile, written } from "../../../src/dialects/openfaas/builder/dockerfile.ts";
import { ignoreRules, patternOf } from "../../../src/dialects/openfaas/builder/patterns.ts";
import { readArguments } from "../../../src/dialects/openfaas/builder/plan.ts";
import { expand, readPairs, splitWords } from "../../../src/dialects/openfaas/builder/words.ts";

const variables = new Map([
  ["NAME", "value"],
  ["EMPTY", ""],
  ["TWO", "a b"],
]);

describe("a Dockerfile", () => {
  test("is read as stages of instructions with their lines", () => {
    const { globals, stages } = parseDockerfile(
      [
        "# syntax=docker/dockerfile:1",
        "ARG VERSION=22",
        "FROM --platform=${TARGETPLATFORM:-linux/amd64} ghcr.io/openfaas/of-watchdog:0.10.7 AS Watchdog",
        "from node:${VERSION}-alpine",
        "",
        "RUN apk add \\",
        "  # a comment in between",
        "",
        "  curl \\  ",
        "  git",
        'CMD ["node", "index.js"]',
        "COPY --from=watchdog --chown=app:app /fwatchdog /usr/bin/fwatchdog",
        "RUN [ -f package.json ] && true",
      ].join("\n"),
    );
    assert.deepEqual(
      globals.map(({ keyword, line, text }) => [keyword, line, text]),
      [["ARG", 2, "VERSION=22"]],
    );
    assert.deepEqual(
      stages.map(({ name, image, index }) => [index, name, image]),
      [
        [0, "watchdog", "ghcr.io/openfaas/of-watchdog:0.10.7"],
        [1, undefined, "node:${VERSION}-alpine"],
      ],
    );
    const [run, command, copy, test] = stages[1]!.instructions;
    assert.equal(run!.line, 6);
    assert.equal(written(run!), "RUN apk add curl git");
    assert.deepEqual(command!.json, ["node", "index.js"]);
    assert.deepEqual(
      [...copy!.flags],
      [
        ["from", "watchdog"],
        ["chown", "app:app"],
      ],
    );
    assert.equal(copy!.text, "/fwatchdog /usr/bin/fwatchdog");
    assert.equal(test!.json, undefined);
    assert.equal(findStage(stages, "WATCHDOG")?.index, 0);
    assert.equal(findStage(stages, "1")?.index, 1);
    assert.equal(findStage(stages, "other"), undefined);
  });

  test("is refused with the line and what is wrong there", () => {
    const cases: [string, RegExp][] = [
      ["", /^Dockerfile:1: there is no FROM/],
      ["RUN true\nFROM a", /^Dockerfile:1: RUN stands in front of the first FROM/],
      ["FROM a\n\nINSTALL b", /^Dockerfile:3: INSTALL is no instruction/],
      ["FROM a\nRUN", /^Dockerfile:2: RUN says nothing/],
      ["FROM a b c d", /^Dockerfile:1: FROM takes an image and perhaps a name/],
      ["FROM a AS 1x", /^Dockerfile:1: 1x is no name for a stage/],
      ["FROM a\nCOPY b", /^Dockerfile:2: COPY needs a source and a destination/],
      ["FROM a\nRUN <<EOF\necho\nEOF", /^Dockerfile:2: RUN with a here-document/],
      ["FROM a\nCOPY <<'EOF' /x\n", /^Dockerfile:2: COPY with a here-document/],
    ];
    for (const [text, message] of cases) {
      assert.throws(
        () => parseDockerfile(text),
        (error) => {
          assert.ok(error instanceof VirgaError);
          assert.equal(error.code, "build_failed");
          assert.match(error.message, message);
          assert.match(error.detail.location ?? "", /^Dockerfile:\d+$/);
          return true;
        },
      );
    }
  });

  test("a shell's here-string and a doubled backslash at the end are none of ours", () => {
    const { stages } = parseDockerfile("FROM a\nRUN cat <<< word\nRUN echo \\\\\nRUN true");
    assert.deepEqual(
      stages[0]!.instructions.map(({ text }) => text),
      ["cat <<< word", "echo \\\\", "true"],
    );
  });
});

describe("words", () => {
  test("variables and quotes are replaced by Docker's rules", () => {
    const cases: Record<string, string> = {
      $NAME: "value",
      "${NAME}s": "values",
      "$UNSET-x": "-x",
      "${UNSET:-other}": "other",
      "${EMPTY:-other}": "other",
      "${EMPTY-other}": "",
      "${NAME:-other}": "value",
      "${UNSET:-${NAME}/$NAME}": "value/value",
      "${NAME:+set}": "set",
      "${EMPTY:+set}": "",
      "${EMPTY+set}": "set",
      "${UNSET:+set}": "",
      '"${UNSET:-a}b"': "ab",
      "'$NAME'": "$NAME",
      '"$TWO"': "a b",
      "\\$NAME": "$NAME",
      '"\\$NAME \\x"': "$NAME \\x",
      "a'b'\"c\"": "abc",
      "5$": "5$",
      "/bin:$NAME:/x": "/bin:value:/x",
    };
    for (const [word, expected] of Object.entries(cases)) assert.equal(expand(word, variables), expected, word);
    assert.throws(() => expand("${UNSET:?give it}", variables), /UNSET is not set: give it/);
    assert.throws(() => expand("${NAME%e}", variables), /is not supported/);
    assert.throws(() => expand("${NAME:-x", variables), /not closed/);
    assert.throws(() => expand('"x', variables), /not closed/);
  });

  test("ENV has a new form and an old one", () => {
    assert.deepEqual(readPairs('a=1 b="2 $NAME" c=d\\ e', variables), [
      ["a", "1"],
      ["b", "2 value"],
      ["c", "d e"],
    ]);
    assert.deepEqual(readPairs("fprocess node index.js $NAME", variables), [["fprocess", "node index.js value"]]);
    assert.throws(() => readPairs("a", variables), /has no value/);
    assert.throws(() => readPairs("a=1 b", variables), /b is no NAME=VALUE/);
    assert.deepEqual(splitWords(`a 'b c' "d e"f\\ g`), ["a", "'b c'", `"d e"f\\ g`]);
  });

  test("ARG names several, with values and without", () => {
    assert.deepEqual(readArguments("A", variables), [["A", undefined]]);
    assert.deepEqual(readArguments("A B=$NAME C='x y z'", variables), [
      ["A", undefined],
      ["B", "value"],
      ["C", "x y z"],
    ]);
  });
});

test("patterns fit names as Docker's do", () => {
  const fits = (pattern: string, path: string) => patternOf(pattern).test(path);
  assert.ok(fits("package*.json", "package-lock.json") && fits("package*.json", "package.json"));
  assert.ok(!fits("*.js", "a/b.js") && fits("**/*.js", "a/b.js") && fits("**/*.js", "b.js"));
  assert.ok(fits("a/**", "a/b/c") && !fits("a/**", "a"));
  assert.ok(fits("?[a-c].[^x]", "zb.y") && !fits("?[a-c].[^x]", "zb.x"));
  assert.ok(fits("a\\*", "a*") && !fits("a\\*", "ab"));
  const began = performance.now();
  assert.ok(!fits("*a".repeat(50), `${"a".repeat(5000)}b`));
  assert.ok(performance.now() - began < 1000);

  const rules = ignoreRules(["# no", "", "/node_modules", "**/*.log", "secret", "!secret/shared.txt", "dist/"]);
  assert.ok(rules.hasExceptions);
  for (const path of ["node_modules/a/b.js", "x/y.log", "secret/key", "dist/main.js"])
    assert.ok(rules.ignores(path), path);
  for (const path of ["index.js", "secret/shared.txt", "src/node_modules"]) assert.ok(!rules.ignores(path), path);
});

test("an image's name says which programs it brings", () => {
  const of = (image: string) => {
    const { name, version, watchdog, known } = readImage(image);
    return [name, version, watchdog, known];
  };
  assert.deepEqual(of("node:22-alpine"), ["node", "22", undefined, true]);
  assert.deepEqual(of("docker.io/library/python:3.12-slim-bookworm"), ["python", "3.12", undefined, true]);
  assert.deepEqual(of("localhost:5000/golang:1.24@sha256:abc"), ["golang", "1.24", undefined, true]);
  assert.deepEqual(of("eclipse-temurin:17-jre-alpine"), ["java", "17", undefined, true]);
  assert.deepEqual(of("oven/bun:1-alpine"), ["bun", "1", undefined, true]);
  assert.deepEqual(of("denoland/deno:alpine-2.0.1"), ["deno", "2.0.1", undefined, true]);
  assert.deepEqual(of("ghcr.io/openfaas/of-watchdog:0.10.7"), ["plain", "0.10.7", "of", true]);
  assert.deepEqual(of("openfaas/classic-watchdog:0.18.1"), ["plain", "0.18.1", "classic", true]);
  assert.deepEqual(of("node"), ["node", "", undefined, true]);
  assert.deepEqual(of("acme/thing:lts"), ["plain", "", undefined, false]);
  assert.ok(readImage("node:22-alpine").busybox && !readImage("node:22").busybox);
});
