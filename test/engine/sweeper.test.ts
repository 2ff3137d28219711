import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { startSweeper } from "../../src/engine/sweeper.ts";
import { recordingLog, VirtualClock } from "./virtual-clock.ts";

test("sweeps go one after another, at once and each hour; one that fails is logged and holds up no other", async () => {
  const clock = new VirtualClock();
  const log = recordingLog();
  const done: string[] = [];
  const sweeps = {
    async records() {
      await turn();
      done.push("records");
    },
    async runs() {
      throw new Error("unreadable");
    },
    async values() {
      done.push("values");
    },
  };
  const sweeper = startSweeper({ sweeps, clock, log });
  for (let index = 0; index < 3; index++) await turn();
  assert.deepEqual(done, ["records", "values"]);
  assert.deepEqual(
    log.lines.map(({ message }) => message),
    ["runs could not be removed"],
  );
  clock.advance(3_600_000);
  await sweeper.stop();
  assert.equal(done.length, 3, "stopped, it ends what it is at and begins nothing");
  clock.advance(3_600_000);
  await turn();
  assert.equal(done.length, 3);
});
