import { VirgaError } from "../errors.ts";
import type { ScheduleSettings } from "../model.ts";
import { quote } from "../names.ts";
import { type Cron, lastDue, parseCron, type WallMinute } from "./cron.ts";

/** A floor under the instances by the clock. */
export interface Schedule {
  readonly timezone: string;
  /** Shows the time there; making one costs some 30 µs. */
  readonly wall: Intl.DateTimeFormat;
  readonly entries: readonly { readonly cron: Cron; readonly min: number }[];
}

/** Throws `invalid_field` for a time zone or a cron expression that is none. */
export function parseSchedule(settings: ScheduleSettings): Schedule {
  return {
    timezone: settings.timezone,
    wall: wallOf(settings.timezone),
    entries: settings.at.map(({ cron, min }) => ({ cron: parseCron(cron), min })),
  };
}

/**
 * The floor of the entry that was due last, the later in the list of two at the same time. `epochMs` is the time by the
 * calendar. Reckoned by the clock on the wall: an hour that clocks skip is over when they have skipped it, one that they
 * show twice comes twice.
 */
export function scheduledFloor(schedule: Schedule, epochMs: number): { readonly min: number; readonly reason: string } {
  const now = wallMinute(schedule.wall, epochMs);
  let latest: { due: WallMinute; cron: Cron; min: number } | undefined;
  for (const { cron, min } of schedule.entries) {
    const due = lastDue(cron, now);
    if (latest === undefined || due >= latest.due) latest = { due, cron, min };
  }
  if (latest === undefined) return { min: 0, reason: "the schedule has no entry" };
  const at = new Date(latest.due * 60_000).toISOString();
  const since = `${at.slice(0, 10)} ${at.slice(11, 16)} ${schedule.timezone}`;
  return { min: latest.min, reason: `schedule: ${latest.min} at least since ${since} (${latest.cron.text})` };
}

/** What a clock shows there at a time by the calendar. */
export function wallMinute(wall: Intl.DateTimeFormat, epochMs: number): WallMinute {
  const shown: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
  for (const { type, value } of wall.formatToParts(epochMs)) shown[type] = Number(value);
  const { year, month, day, hour, minute } = shown;
  return Date.UTC(year!, month! - 1, day, hour, minute) / 60_000;
}

/** Throws `invalid_field` for a time zone that is none. */
export function wallOf(timezone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat("en-u-ca-iso8601-nu-latn", {
      timeZone: timezone,
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      hourCycle: "h23",
    });
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    throw new VirgaError("invalid_field", `there is no time zone ${quote(timezone)}`, {
      fix: "use a name such as UTC or Europe/Berlin",
    });
  }
}
