import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { dueTimes, planFires, type Timer } from "../../src/core/events/timer.ts";
import { wallMinute, wallOf } from "../../src/core/scaling/schedule.ts";

const at = (text: string): number => Date.parse(text);
const shown = (times: readonly number[]): string[] => times.map((time) => new Date(time).toISOString().slice(0, 16));

function after(timer: Timer, from: string, count: number): string[] {
  const times = dueTimes(timer);
  const found: number[] = [];
  for (let moment = at(from); found.length < count;) {
    const due = times.next(moment);
    if (due === undefined) break;
    found.push(due);
    moment = due;
  }
  return shown(found);
}

const berlin = (cron: string): Timer => ({ kind: "schedule", cron, timezone: "Europe/Berlin" });

describe("due times", () => {
  test("a schedule is due by the clock of its time zone, in winter and in summer", () => {
    assert.deepEqual(after(berlin("0 8 * * mon"), "2026-03-20T00:00Z", 2), ["2026-03-23T07:00", "2026-03-30T06:00"]);
  });

  test("a time that clocks skip comes as much later as they jump", () => {
    // On 2026-03-29 Berlin's clocks go from 02:00 to 03:00, at 01:00 UTC.
    assert.deepEqual(after(berlin("30 2 * * *"), "2026-03-28T00:00Z", 3), [
      "2026-03-28T01:30",
      "2026-03-29T01:30",
      "2026-03-30T00:30",
    ]);
    assert.deepEqual(after(berlin("0 * * * *"), "2026-03-28T23:30Z", 3), [
      "2026-03-29T00:00",
      "2026-03-29T01:00",
      "2026-03-29T02:00",
    ]);
  });

  test("a time that clocks show twice comes once; what comes every hour has no gap", () => {
    // On 2026-10-25 Berlin's clocks go from 03:00 back to 02:00, at 01:00 UTC.
    assert.deepEqual(after(berlin("30 2 * * *"), "2026-10-24T12:00Z", 2), ["2026-10-25T00:30", "2026-10-26T01:30"]);
    assert.deepEqual(after(berlin("*/30 * * * *"), "2026-10-24T23:45Z", 5), [
      "2026-10-25T00:00",
      "2026-10-25T00:30",
      "2026-10-25T01:00",
      "2026-10-25T01:30",
      "2026-10-25T02:00",
    ]);
  });

  test("a schedule's next due time is the first minute that fits, as a search minute by minute finds it", () => {
    const field = (most: number) =>
      fc.oneof(
        fc.constant("*"),
        fc.nat(most).map(String),
        fc.integer({ min: 1, max: 7 }).map((step) => `*/${step}`),
      );
    const around = fc.constantFrom(
      at("2026-03-28T20:00Z"),
      at("2026-10-24T20:00Z"),
      at("2026-07-01T00:00Z"),
      at("2026-11-01T01:00Z"),
    );
    fc.assert(
      fc.property(
        field(59),
        field(23),
        fc.constantFrom("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kolkata"),
        around,
        fc.nat(12 * 60),
        (minutes, hours, timezone, start, shift) => {
          const moment = start + shift * 60_000 + 17;
          const times = dueTimes({ kind: "schedule", cron: `${minutes} ${hours} * * *`, timezone });
          const due = times.next(moment)!;
          assert.ok(due > moment);
          // Whatever lies between shows no wall time that fits for the first time.
          const wall = wallOf(timezone);
          const fits = (text: string, value: number): boolean =>
            text === "*" || (text.startsWith("*/") ? value % Number(text.slice(2)) === 0 : value === Number(text));
          const seen = new Set<number>();
          for (let minute = moment - 4 * 3_600_000; minute < due; minute += 60_000) {
            const shows = wallMinute(wall, minute);
            const repeated = seen.has(shows) && !(hours === "*" || hours === "*/1");
            seen.add(shows);
            const floor = Math.floor(minute / 60_000) * 60_000;
            if (floor <= moment || floor >= due || repeated) continue;
            assert.ok(!(fits(minutes, shows % 60) && fits(hours, Math.floor(shows / 60) % 24)), shown([floor])[0]);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test("an interval is due at its start and then at equal distances, between start and end", () => {
    const start = at("2026-01-01T00:00Z");
    const timer: Timer = { kind: "interval", everyMs: 90_000, startAt: start, endAt: start + 200_000 };
    assert.deepEqual(after(timer, "2025-01-01T00:00Z", 9), [
      "2026-01-01T00:00",
      "2026-01-01T00:01",
      "2026-01-01T00:03",
    ]);
  });

  test("once is once", () => {
    const times = dueTimes({ kind: "once", at: 1000 });
    assert.equal(times.next(0), 1000);
    assert.equal(times.next(1000), undefined);
  });

  test("contradictions and what is no schedule are refused", () => {
    assert.throws(() => dueTimes({ kind: "once", at: 5, startAt: 9, endAt: 8 }), { code: "invalid_field" });
    assert.throws(() => dueTimes({ kind: "interval", everyMs: 10, startAt: 0 }), { code: "invalid_field" });
    assert.throws(() => dueTimes(berlin("61 * * * *")), { code: "invalid_field" });
    assert.throws(() => dueTimes({ kind: "schedule", cron: "@daily", timezone: "Nowhere" }), { code: "invalid_field" });
  });
});

describe("what to fire", () => {
  const minutely = dueTimes({ kind: "schedule", cron: "* * * * *", timezone: "UTC" });
  const noon = at("2026-01-01T12:00Z");

  test("what is less than 30 s late fires, whatever the rule", () => {
    for (const rule of ["latest", "all", "none"] as const) {
      assert.deepEqual(planFires(minutely, noon, noon + 60_000 + 29_999, rule).fire, [noon + 60_000]);
    }
  });

  test("after an outage: the newest, all, or none of those that were missed", () => {
    const now = noon + 10 * 60_000 + 45_000;
    const latest = planFires(minutely, noon, now, "latest");
    assert.deepEqual([latest.fire, latest.skipped, latest.through], [[noon + 600_000], 9, noon + 600_000]);
    assert.equal(planFires(minutely, noon, now, "all").fire.length, 10);
    const none = planFires(minutely, noon, now, "none");
    assert.deepEqual([none.fire, none.skipped, none.through], [[], 10, noon + 600_000]);
    assert.deepEqual(planFires(minutely, noon, now - 30_000, "none").fire, [noon + 600_000]);
  });

  test("whenever it is asked, each due time fires once or is skipped once, in order", () => {
    const steps = fc.array(fc.integer({ min: 0, max: 400_000 }), { maxLength: 30 });
    fc.assert(
      fc.property(steps, fc.constantFrom("latest" as const, "all" as const, "none" as const), (gaps, rule) => {
        let now = noon;
        let after = noon;
        const fired: number[] = [];
        let skipped = 0;
        for (const gap of gaps) {
          now += gap;
          for (let more = true; more;) {
            const plan = planFires(minutely, after, now, rule);
            fired.push(...plan.fire);
            skipped += plan.skipped;
            after = plan.through;
            more = plan.more;
          }
        }
        const due = Math.floor(now / 60_000) - Math.floor(noon / 60_000);
        assert.equal(fired.length + skipped, due);
        assert.deepEqual(
          fired,
          [...new Set(fired)].sort((a, b) => a - b),
        );
        if (rule === "all") assert.equal(skipped, 0);
      }),
    );
  });

  test("a year of missed minutes is decided in a moment", () => {
    const plan = planFires(minutely, noon, noon + 365 * 86_400_000, "latest");
    assert.deepEqual(plan.fire, [noon + 365 * 86_400_000]);
    assert.equal(planFires(minutely, noon, noon + 365 * 86_400_000, "all").fire.length, 100);
  });
});

test("six fields begin with seconds, and are due within each minute that is due", () => {
  const at = (time: string): number => Date.parse(`2026-03-02T${time}Z`);
  const times = dueTimes({ kind: "schedule", cron: "*/20 30-31 10 * * *", timezone: "UTC" });
  const found: number[] = [];
  for (let due = times.next(at("10:00:00")); found.length < 7; due = times.next(due!)) found.push(due!);
  assert.deepEqual(found, [
    at("10:30:00"),
    at("10:30:20"),
    at("10:30:40"),
    at("10:31:00"),
    at("10:31:20"),
    at("10:31:40"),
    at("10:30:00") + 86_400_000,
  ]);
  assert.throws(() => dueTimes({ kind: "schedule", cron: "60 * * * * *", timezone: "UTC" }), /second/);
});
