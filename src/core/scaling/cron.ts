import { VirgaError } from "../errors.ts";
import { quote } from "../names.ts";

/** When something is due: sets of minutes, hours, days, months and weekdays. */
export interface Cron {
  readonly text: string;
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  /** 0 is Sunday. */
  readonly weekdays: ReadonlySet<number>;
  /** Day of the month and day of the week are both given: either will do, as POSIX's crontab has it. */
  readonly eitherDay: boolean;
}

/** A minute as a clock on the wall shows it; counts minutes since 1970-01-01 00:00 of that wall. */
export type WallMinute = number;

/**
 * Five fields (minute, hour, day of the month, month, day of the week) with `*`, lists, ranges, steps and English
 * names, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Throws `invalid_field` with what is wrong and where.
 */
export function parseCron(text: string): Cron {
  const fields = (shorthands[text.trim().toLowerCase()] ?? text.trim()).split(/\s+/);
  if (fields.length !== parts.length) {
    throw wrong(text, `has ${fields.length === 1 && fields[0] === "" ? 0 : fields.length} fields instead of 5`);
  }
  const [minutes, hours, days, months, weekdays] = parts.map((part, index) => readField(text, part, fields[index]!));
  const cron: Cron = {
    text,
    minutes: minutes!,
    hours: hours!,
    days: days!,
    months: months!,
    weekdays: new Set([...weekdays!].map((day) => day % 7)),
    eitherDay: !fields[2]!.startsWith("*") && !fields[4]!.startsWith("*"),
  };
  const possible = cron.eitherDay || [...months!].some((month) => Math.min(...days!) <= longestMonths[month - 1]!);
  if (!possible) throw wrong(text, "never comes: no such month has that day");
  return cron;
}

/** The field of seconds, which some write in front of the five; as the others are written. */
export function parseSeconds(text: string, field: string): ReadonlySet<number> {
  return readField(text, secondsPart, field);
}

/** The last time at or before `now` that it was due. */
export function lastDue(cron: Cron, now: WallMinute): WallMinute {
  const today = Math.floor(now / minutesPerDay);
  const minuteOfDay = now - today * minutesPerDay;
  for (let day = today; day > today - longestGapDays; day--) {
    if (!isDue(cron, day)) continue;
    const minute = lastMinute(cron, day === today ? minuteOfDay : minutesPerDay - 1);
    if (minute !== undefined) return day * minutesPerDay + minute;
  }
  throw new VirgaError("internal", `${cron.text} was not due within ${longestGapDays} days`);
}

/** The first time after `now` that it will be due. */
export function nextDueMinute(cron: Cron, now: WallMinute): WallMinute {
  const today = Math.floor((now + 1) / minutesPerDay);
  const minuteOfDay = now + 1 - today * minutesPerDay;
  for (let day = today; day < today + longestGapDays; day++) {
    if (!isDue(cron, day)) continue;
    const minute = firstMinute(cron, day === today ? minuteOfDay : 0);
    if (minute !== undefined) return day * minutesPerDay + minute;
  }
  throw new VirgaError("internal", `${cron.text} will not be due within ${longestGapDays} days`);
}

function isDue(cron: Cron, day: number): boolean {
  const date = new Date(day * 86_400_000);
  if (!cron.months.has(date.getUTCMonth() + 1)) return false;
  const month = cron.days.has(date.getUTCDate());
  const week = cron.weekdays.has(date.getUTCDay());
  return cron.eitherDay ? month || week : month && week;
}

function lastMinute(cron: Cron, before: number): number | undefined {
  for (let hour = Math.floor(before / 60); hour >= 0; hour--) {
    if (!cron.hours.has(hour)) continue;
    for (let minute = hour * 60 + 59; minute >= hour * 60; minute--) {
      if (minute <= before && cron.minutes.has(minute % 60)) return minute;
    }
  }
  return undefined;
}

function firstMinute(cron: Cron, from: number): number | undefined {
  for (let hour = Math.floor(from / 60); hour < 24; hour++) {
    if (!cron.hours.has(hour)) continue;
    for (let minute = hour * 60; minute < hour * 60 + 60; minute++) {
      if (minute >= from && cron.minutes.has(minute % 60)) return minute;
    }
  }
  return undefined;
}

interface Part {
  readonly name: string;
  readonly least: number;
  readonly most: number;
  readonly names: readonly string[];
}

const secondsPart: Part = { name: "second", least: 0, most: 59, names: [] };

function readField(text: string, part: Part, field: string): Set<number> {
  const values = new Set<number>();
  for (const item of field.split(",")) {
    const [range, step, ...more] = item.split("/");
    if (range === undefined || range === "" || more.length > 0)
      throw wrong(text, `${part.name} ${quote(item)} is empty`);
    const every =
      step === undefined
        ? 1
        : readNumber(text, { ...part, name: `step of ${part.name}`, names: [] }, step, 1, part.most);
    let from = part.least;
    let to = part.most;
    if (range !== "*") {
      const [low, high, ...rest] = range.split("-");
      if (rest.length > 0) throw wrong(text, `${part.name} ${quote(range)} has more than one dash`);
      from = readNumber(text, part, low!, part.least, part.most);
      // "5/15" is "from 5 on, every 15".
      if (high !== undefined) to = readNumber(text, part, high, part.least, part.most);
      else if (step === undefined) to = from;
      if (to < from) throw wrong(text, `${part.name} ${quote(range)} runs backwards`);
    }
    for (let value = from; value <= to; value += every) values.add(value);
  }
  return values;
}

function readNumber(text: string, part: Part, word: string, least: number, most: number): number {
  const named = part.names.indexOf(word.toLowerCase());
  const value = named >= 0 ? named + part.least : /^\d{1,4}$/.test(word) ? Number(word) : Number.NaN;
  if (value >= least && value <= most) return value;
  const names = part.names.length === 0 ? "" : ` or ${part.names[0]} to ${part.names.at(-1)}`;
  throw wrong(text, `${part.name} ${quote(word)} is none of ${least} to ${most}${names}`);
}

function wrong(text: string, problem: string): VirgaError {
  return new VirgaError("invalid_field", `the cron expression ${quote(text)}: ${problem}`, {
    fix: 'write minute, hour, day of the month, month and day of the week, such as "0 8 * * mon-fri"',
  });
}

const parts: readonly Part[] = [
  { name: "minute", least: 0, most: 59, names: [] },
  { name: "hour", least: 0, most: 23, names: [] },
  { name: "day of the month", least: 1, most: 31, names: [] },
  {
    name: "month",
    least: 1,
    most: 12,
    names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
  },
  { name: "day of the week", least: 0, most: 7, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const shorthands: Readonly<Record<string, string>> = {
  "@hourly": "0 * * * *",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@weekly": "0 0 * * 0",
  "@monthly": "0 0 1 * *",
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
};

const longestMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const minutesPerDay = 1440;
/** February 29th on one weekday comes after 40 years at most (1880 to 1920, say). */
const longestGapDays = 41 * 366;
