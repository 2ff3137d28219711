import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import { lastDue, parseCron } from "../../src/core/scaling/cron.ts";
import { parseSchedule, scheduledFloor } from "../../src/core/scaling/schedule.ts";

/** Minutes of a date that every wall shows alike. */
function wall(text: string): number {
  return Date.parse(`${text.replace(" ", "T")}Z`) / 60_000;
}

function last(cron: string, at: string): string {
  return new Date(lastDue(parseCron(cron), wall(at)) * 60_000).toISOString().slice(0, 16).replace("T", " ");
}

test("the last time that an expression was due", () => {
  // 2026-11-25 is a Wednesday.
  const at = "2026-11-25 12:34";
  for (const [cron, due] of [
    ["* * * * *", "2026-11-25 12:34"],
    ["0 8 * * *", "2026-11-25 08:00"],
    ["0 13 * * *", "2026-11-24 13:00"],
    ["*/15 * * * *", "2026-11-25 12:30"],
    ["5/15 * * * *", "2026-11-25 12:20"],
    ["0,40 9-17/4 * * *", "2026-11-25 09:40"],
    ["0 8 * * mon-fri", "2026-11-25 08:00"],
    ["30 22 * * SUN", "2026-11-22 22:30"],
    ["30 22 * * 7", "2026-11-22 22:30"],
    ["0 0 1 * *", "2026-11-01 00:00"],
    ["0 0 31 * *", "2026-10-31 00:00"],
    ["0 12 29 feb *", "2024-02-29 12:00"],
    ["@yearly", "2026-01-01 00:00"],
    ["@weekly", "2026-11-22 00:00"],
    ["@hourly", "2026-11-25 12:00"],
    // Day of the month or of the week, where both are given.
    ["0 0 13 * fri", "2026-11-20 00:00"],
    ["0 0 24 * fri", "2026-11-24 00:00"],
    // And both, where one of them is a star with a step.
    ["0 0 */2 * mon", "2026-11-23 00:00"],
  ] as const) {
    assert.equal(last(cron, at), due, cron);
  }
});

test("what is no cron expression is refused with the part at fault", () => {
  for (const [cron, part] of [
    ["", /has 0 fields instead of 5/],
    ["* * * *", /has 4 fields/],
    ["60 * * * *", /minute "60" is none of 0 to 59/],
    ["* 24 * * *", /hour "24"/],
    ["* * 0 * *", /day of the month "0" is none of 1 to 31/],
    ["* * * 13 *", /month "13" is none of 1 to 12 or jan to dec/],
    ["* * * * mo", /day of the week "mo" is none of 0 to 7 or sun to sat/],
    ["9-5 * * * *", /minute "9-5" runs backwards/],
    ["1-2-3 * * * *", /more than one dash/],
    ["*/0 * * * *", /step of minute "0" is none of 1 to 59$/],
    ["1,,2 * * * *", /minute "" is empty/],
    ["*/2/3 * * * *", /is empty/],
    ["-1 * * * *", /minute "" is none/],
    ["0 0 30 2 *", /never comes/],
    ["0 0 31 4,6 *", /never comes/],
    ["@never", /has 1 fields/],
  ] as const) {
    assert.throws(
      () => parseCron(cron),
      (error) => error instanceof VirgaError && part.test(error.message) && error.detail.fix !== undefined,
      cron,
    );
  }
});

test("the last time due is due, not later than now, and nothing was due between", () => {
  const field = (least: number, most: number): fc.Arbitrary<string> =>
    fc.oneof(
      fc.constant("*"),
      fc.integer({ min: least, max: most }).map(String),
      fc.integer({ min: 2, max: 6 }).map((step) => `*/${step}`),
      fc
        .tuple(fc.integer({ min: least, max: most }), fc.integer({ min: least, max: most }))
        .map((pair) => pair.join(",")),
    );
  const crons = fc
    .tuple(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6))
    .map((parts) => parts.join(" "));
  fc.assert(
    fc.property(crons, fc.integer({ min: 20_000_000, max: 40_000_000 }), (text, now) => {
      const cron = parseCron(text);
      const due = lastDue(cron, now);
      assert.ok(due <= now);
      const matches = (minute: number): boolean => {
        const date = new Date(minute * 60_000);
        const [day, week] = [cron.days.has(date.getUTCDate()), cron.weekdays.has(date.getUTCDay())];
        return (
          cron.minutes.has(date.getUTCMinutes()) &&
          cron.hours.has(date.getUTCHours()) &&
          cron.months.has(date.getUTCMonth() + 1) &&
          (cron.eitherDay ? day || week : day && week)
        );
      };
      assert.ok(matches(due), "it is due then");
      for (let minute = due + 1; minute <= Math.min(now, due + 3000); minute++) assert.ok(!matches(minute));
    }),
  );
});

test("the floor is that of the entry due last, by the clock of its time zone", () => {
  const schedule = parseSchedule({
    timezone: "Europe/Berlin",
    at: [
      { cron: "0 8 * * mon-fri", min: 5 },
      { cron: "0 18 * * *", min: 0 },
    ],
  });
  const floor = (utc: string): number => scheduledFloor(schedule, Date.parse(`${utc}Z`)).min;
  // Winter: Berlin is an hour ahead; summer: two.
  assert.deepEqual(
    ["2026-11-25T06:59", "2026-11-25T07:00", "2026-11-25T16:59", "2026-11-25T17:00"].map(floor),
    [0, 5, 5, 0],
  );
  assert.deepEqual(["2026-07-01T05:59", "2026-07-01T06:00", "2026-07-04T12:00"].map(floor), [0, 5, 0]);
  assert.match(
    scheduledFloor(schedule, Date.parse("2026-11-25T12:00Z")).reason,
    /5 at least since 2026-11-25 08:00 Europe\/Berlin \(0 8 \* \* mon-fri\)/,
  );
});

test("an hour that clocks skip is over when they have skipped it; the later entry wins at the same minute", () => {
  const at = [
    { cron: "0 1 * * *", min: 1 },
    { cron: "30 2 * * *", min: 2 },
    { cron: "30 2 * * *", min: 3 },
  ];
  const schedule = parseSchedule({ timezone: "Europe/Berlin", at });
  const floor = (utc: string): number => scheduledFloor(schedule, Date.parse(`${utc}Z`)).min;
  // On 2026-03-29 the wall goes from 01:59 to 03:00, which is 01:00 UTC.
  assert.deepEqual(["2026-03-29T00:59", "2026-03-29T01:00"].map(floor), [1, 3]);
});

test("a time zone that is none is refused", () => {
  assert.throws(() => parseSchedule({ timezone: "Europe/Atlantis", at: [] }), /no time zone "Europe\/Atlantis"/);
});
