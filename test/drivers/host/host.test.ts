import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { systemChance, systemClock } from "../../../src/drivers/host/clock.ts";
import { createLog } from "../../../src/drivers/host/log.ts";
import { describeChance, describeClock } from "../../contracts/clock.ts";
import { describeLog, type OpenedLog } from "../../contracts/log.ts";

describeClock("the host", systemClock);
describeChance("the host", systemChance);

test("a timer does not keep the process alive", () => {
  const clock = new URL("../../../src/drivers/host/clock.ts", import.meta.url);
  const code = `import { systemClock } from ${JSON.stringify(clock.href)};
    for (const delay of [60_000, 2 ** 33]) systemClock.after(delay, () => {});`;
  const { status, signal } = spawnSync(process.execPath, ["--input-type=module", "--eval", code], { timeout: 30_000 });
  assert.deepEqual([status, signal], [0, null]);
});

function open(pretty: boolean): OpenedLog {
  const written: string[] = [];
  return { log: createLog({ level: "info", pretty, destination: { write: (text) => written.push(text) } }), written };
}

describeLog("the host, in JSON", () => open(false));
describeLog("the host, for people", () => open(true));

test("JSON lines carry level, time, message and fields for machines", () => {
  const { log, written } = open(false);
  const before = Date.now();
  log.with({ a: 1 }).warn("odd", { b: [2] });
  const { time, ...line } = JSON.parse(written[0]!) as Record<string, unknown>;
  assert.deepEqual(line, { level: 40, a: 1, b: [2], msg: "odd" });
  assert.ok(Number(time) >= before && Number(time) <= Date.now());
});

test("a silent log writes nothing", () => {
  const written: string[] = [];
  const log = createLog({ level: "silent", pretty: false, destination: { write: (text) => written.push(text) } });
  log.error("failed", { error: new Error("x") });
  assert.deepEqual(written, []);
});
