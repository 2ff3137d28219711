import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Chance, Clock } from "../../src/ports/clock.ts";

/** Every guarantee of the clock port. Real time passes here: only what cannot be too slow is asserted. */
export function describeClock(name: string, clock: Clock): void {
  test(`clock of ${name}: now is the time since the Unix epoch in milliseconds`, () => {
    const before = Date.now();
    const now = clock.now();
    assert.ok(now >= before && now <= Date.now());
  });

  test(`clock of ${name}: monotonic time only grows, and has fractions`, () => {
    const times = Array.from({ length: 10_000 }, () => clock.monotonic());
    for (const [index, time] of times.entries()) if (index > 0) assert.ok(time >= times[index - 1]!);
    assert.ok(times.some((time) => !Number.isInteger(time)));
  });

  test(`clock of ${name}: a timer calls once, not more than a millisecond before its time`, async () => {
    const calls: { asked: number; passed: number }[] = [];
    const start = clock.monotonic();
    for (const asked of [20, 1, 0, 7, 12, 5])
      clock.after(asked, () => calls.push({ asked, passed: clock.monotonic() - start }));
    assert.equal(calls.length, 0, "called before `after` returned");
    await pause(80);
    assert.deepEqual(
      calls.map(({ asked }) => asked).toSorted((a, b) => a - b),
      [0, 1, 5, 7, 12, 20],
    );
    for (const { asked, passed } of calls) assert.ok(passed >= asked - 1, `${asked} ms took ${passed}`);
  });

  test(`clock of ${name}: a cancelled timer does not call, and cancelling again does nothing`, async () => {
    let calls = 0;
    const timers = [1, 5, 10, 0].map((delay) => clock.after(delay, () => calls++));
    for (const timer of [...timers, ...timers]) timer.cancel();
    const late = clock.after(0, () => calls++);
    await pause(40);
    assert.equal(calls, 1);
    late.cancel();
  });

  test(`clock of ${name}: delays longer than the host's timers can be do not fire at once`, async () => {
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    process.on("warning", note);
    let calls = 0;
    const timers = [2 ** 31 - 1, 2 ** 31, 400 * 86_400_000, Infinity].map((delay) => clock.after(delay, () => calls++));
    await pause(40);
    for (const timer of timers) timer.cancel();
    process.off("warning", note);
    assert.deepEqual([calls, warnings], [0, []]);
  });
}

export function describeChance(name: string, chance: Chance): void {
  test(`chance of ${name}: random numbers lie in [0, 1) and spread over it`, () => {
    const tenths = Array.from({ length: 10 }, () => 0);
    for (let draw = 0; draw < 100_000; draw++) {
      const number = chance.random();
      assert.ok(number >= 0 && number < 1);
      tenths[Math.floor(number * 10)]!++;
    }
    // Ten standard deviations (95 each) off the mean.
    for (const count of tenths) assert.ok(count > 9000 && count < 11_000, tenths.join(" "));
  });

  test(`chance of ${name}: bytes are as many as asked for, and never the same`, () => {
    for (const length of [0, 1, 12, 65_536]) assert.equal(chance.bytes(length).byteLength, length);
    const drawn = new Set(Array.from({ length: 10_000 }, () => Buffer.from(chance.bytes(12)).toString("hex")));
    assert.equal(drawn.size, 10_000);
  });
}
