import assert from "node:assert/strict";
import { test } from "node:test";
import type { Log } from "../../src/ports/log.ts";

export interface OpenedLog {
  readonly log: Log;
  /** What was written so far, call by call. */
  readonly written: readonly string[];
}

/** Every guarantee of the log port, for logs at level `info`. */
export function describeLog(name: string, open: () => OpenedLog): void {
  test(`log of ${name}: a call is one line with its message, and what is below the level is none`, () => {
    const { log, written } = open();
    log.info("it is ready");
    log.warn("it is odd");
    log.error("it is broken");
    log.debug("it is of no interest");
    assert.equal(written.length, 3);
    for (const [index, message] of ["it is ready", "it is odd", "it is broken"].entries()) {
      assert.match(written[index]!, /^[^\n]+\n$/);
      assert.ok(written[index]!.includes(message));
    }
    assert.equal(
      new Set(written.map((line) => line.replaceAll(/it is \w+|\d\d:\d\d:\d\d|\d{10,}/g, ""))).size,
      3,
      "levels look the same",
    );
  });

  test(`log of ${name}: fields are on the line, those of the log it was made with too`, () => {
    const { log, written } = open();
    const child = log.with({ namespace: "acme" }).with({ revision: 7 });
    child.info("started", { ms: 12.5, ok: true, list: [1] });
    log.info("plain");
    for (const part of ["namespace", "acme", "revision", "7", "12.5", "true", "[1]"])
      assert.ok(written[0]!.includes(part), `${part} is not in ${written[0]}`);
    assert.ok(!written[1]!.includes("acme"));
  });

  test(`log of ${name}: an error is written with its stack, and its cause's`, () => {
    const { log, written } = open();
    function whereItWasThrown(): Error {
      return new Error("outer trouble", { cause: new Error("inner trouble") });
    }
    log.error("failed", { error: whereItWasThrown() });
    for (const part of ["failed", "outer trouble", "inner trouble", "whereItWasThrown"])
      assert.ok(written[0]!.includes(part), `${part} is not in ${written[0]}`);
  });

  test(`log of ${name}: what was thrown need not be an error`, () => {
    const { log, written } = open();
    for (const error of ["only text", { reason: "only text" }]) log.error("failed", { error });
    log.error("failed", { error: null });
    log.error("failed", { error: undefined });
    for (const line of written.slice(0, 2)) assert.ok(line.includes("only text"), line);
    assert.equal(written.length, 4);
  });

  test(`log of ${name}: no text breaks out of its line or commands the terminal`, () => {
    const { log, written } = open();
    const hostile = "a\nERROR forged\r\u001b[2J\u0000\u0007\u009b";
    log.info(hostile, { field: hostile, nested: { field: hostile } });
    log.with({ field: hostile }).warn("x");
    for (const line of written) assert.match(line, /^[^\p{Cc}]+\n$/u);
    log.error("x", { error: new Error(hostile) });
    assert.doesNotMatch(written.at(-1)!, /[^\P{Cc}\n]/u);
  });

  test(`log of ${name}: no field makes a call throw`, () => {
    const { log, written } = open();
    const round: Record<string, unknown> = {};
    round["round"] = round;
    const values = [
      round,
      7n,
      Symbol("s"),
      () => {},
      undefined,
      new Map(),
      new Date(NaN),
      Object.create(null),
      "\ud800",
    ];
    for (const value of values) log.info("odd", { value });
    for (const error of values) log.error("odd", { error });
    const throwing = {
      toJSON() {
        throw new Error("no");
      },
    };
    log.info("odd", { throwing });
    assert.equal(written.length, 2 * values.length + 1);
    for (const line of written) assert.ok(line.includes("odd"));
  });
}
