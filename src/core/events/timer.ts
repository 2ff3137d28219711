import { VirgaError } from "../errors.ts";
import { quote } from "../names.ts";
import { type Cron, nextDueMinute, parseCron, parseSeconds, type WallMinute } from "../scaling/cron.ts";
import { wallMinute, wallOf } from "../scaling/schedule.ts";

/** When a source is due. Times are milliseconds since the epoch; none is due before `startAt` or after `endAt`. */
export type Timer =
  /** Five fields, or six that begin with seconds. */
  (
    | { readonly kind: "schedule"; readonly cron: string; readonly timezone: string }
    /** Due at `startAt`, then every `everyMs`. */
    | { readonly kind: "interval"; readonly everyMs: number; readonly startAt: number }
    | { readonly kind: "once"; readonly at: number }
  ) & { readonly startAt?: number; readonly endAt?: number };

/** What becomes of due times that an outage missed: the newest of them fires, all do, or none. */
export type CatchUp = "latest" | "all" | "none";

/** Due times to fire now, in order. All up to `through` are then done with; `more`: there are further ones, up to now. */
export interface FirePlan {
  readonly fire: readonly number[];
  /** Given up; 1000 where it is that many or more. */
  readonly skipped: number;
  readonly through: number;
  readonly more: boolean;
  readonly reason: string;
}

/** A timer made ready: parsing a cron expression and a time zone costs some 50 µs. */
export interface DueTimes {
  /** The first due time after `moment`. */
  next(moment: number): number | undefined;
}

/** Throws `invalid_field` for a cron expression or a time zone that is none, and for times that contradict each other. */
export function dueTimes(timer: Timer): DueTimes {
  const { startAt = -Infinity, endAt = Infinity } = timer;
  if (startAt > endAt) throw wrong("timer.endAt", "it ends before it begins");
  const next = unbounded(timer);
  return {
    next(moment) {
      // A due time at `startAt` itself counts.
      const due = next(Math.max(moment, startAt - 1));
      return due !== undefined && due <= endAt ? due : undefined;
    },
  };
}

/**
 * What to fire of the due times in (`after`, `now`]. Where the oldest of them is less than 30 s late there was no outage, at
 * most a restart or a stall, and all fire. Else `catchUp` decides; under `none` the newest fires where it is less than 30 s late.
 * `most`: at most so many in one plan.
 */
export function planFires(
  times: DueTimes,
  after: number,
  now: number,
  catchUp: CatchUp,
  most: number = mostAtOnce,
): FirePlan {
  const oldest = times.next(after);
  if (oldest === undefined || oldest > now) {
    return { fire: [], skipped: 0, through: after, more: false, reason: "nothing is due" };
  }
  if (now - oldest < onTimeMs) return inTurn(times, oldest, now, most, "on time");
  if (catchUp === "all") return inTurn(times, oldest, now, most, "catches up with all that were missed");
  const newest = newestDue(times, oldest, now);
  const skipped = count(times, oldest, newest);
  if (catchUp === "none" && now - newest >= onTimeMs) {
    return { fire: [], skipped: skipped + 1, through: newest, more: false, reason: "what was missed is given up" };
  }
  const reason = catchUp === "none" ? "what was missed is given up; this one is on time" : "the newest of those missed";
  return { fire: [newest], skipped, through: newest, more: false, reason };
}

function inTurn(times: DueTimes, oldest: number, now: number, most: number, reason: string): FirePlan {
  const fire = [oldest];
  let due = times.next(oldest);
  while (due !== undefined && due <= now && fire.length < most) {
    fire.push(due);
    due = times.next(due);
  }
  return { fire, skipped: 0, through: fire.at(-1)!, more: due !== undefined && due <= now, reason };
}

/** The last due time up to `now`, of which `oldest` is the first: looked for in windows that grow backwards from now. */
function newestDue(times: DueTimes, oldest: number, now: number): number {
  for (let window = 60_000; ; window *= 2) {
    const start = Math.max(oldest - 1, now - window);
    let due = times.next(start);
    if (due === undefined || due > now) continue;
    for (let later = times.next(due); later !== undefined && later <= now; later = times.next(later)) due = later;
    return due;
  }
}

/** Due times from `oldest` up to, not with, `newest`. Counting ends early: each costs some 30 µs. */
function count(times: DueTimes, oldest: number, newest: number): number {
  let found = 0;
  for (let due: number | undefined = oldest; due !== undefined && due < newest; due = times.next(due)) {
    if (++found === mostCounted) break;
  }
  return found;
}

function unbounded(timer: Timer): (moment: number) => number | undefined {
  switch (timer.kind) {
    case "once":
      return (moment) => (timer.at > moment ? timer.at : undefined);
    case "interval": {
      const { everyMs, startAt } = timer;
      if (!(everyMs >= shortestIntervalMs)) {
        throw wrong("timer.everyMs", `${quote(everyMs)} ms are less than ${shortestIntervalMs} ms`);
      }
      return (moment) => startAt + Math.max(0, Math.floor((moment - startAt) / everyMs) + 1) * everyMs;
    }
    case "schedule": {
      const { seconds, minutes } = splitSeconds(timer.cron);
      const cron = parseCron(minutes);
      const wall = wallOf(timer.timezone);
      return (moment) => nextSecond(seconds, (at) => nextByWall(cron, wall, at), moment);
    }
  }
}

/** Six fields begin with seconds; five are due at the minute's beginning. */
function splitSeconds(text: string): { seconds: readonly number[]; minutes: string } {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== 6) return { seconds: [0], minutes: text };
  const seconds = [...parseSeconds(text, fields[0]!)].sort((a, b) => a - b);
  return { seconds, minutes: fields.slice(1).join(" ") };
}

/** The next due second, in this minute or the next one that is due. */
function nextSecond(seconds: readonly number[], nextMinute: (moment: number) => number, moment: number): number {
  const start = Math.floor(moment / minuteMs) * minuteMs;
  const second = seconds.find((one) => start + one * 1000 > moment);
  if (second !== undefined && nextMinute(start - 1) === start) return start + second * 1000;
  return nextMinute(moment) + seconds[0]! * 1000;
}

/**
 * The next due time by a clock on the wall. Where that clock is put forward, a time that it skips comes as much later as the
 * clock jumps. Where it is put back, a time that it shows twice is due at the first, and at the second, too, where the
 * expression asks for every hour: "every ten minutes" has no gap, "at half past two" comes once.
 */
function nextByWall(cron: Cron, wall: Intl.DateTimeFormat, moment: number): number {
  const offset = (at: number): number => wallMinute(wall, at) - Math.floor(at / minuteMs);
  const minute = Math.floor(moment / minuteMs);
  const first = nextDueMinute(cron, wallMinute(wall, moment));
  const usual = first - offset(moment);
  const [before, behind] = [offset(moment - dayMs), offset((usual + minutesPerDay) * minuteMs)];
  if (before === behind && before === offset(usual * minuteMs)) return usual * minuteMs;

  // Clocks change near here: reckon each time of the wall by both offsets.
  const everyHour = cron.hours.size === 24;
  let found: number | undefined;
  const longestJump = 180;
  for (
    let due = nextDueMinute(cron, wallMinute(wall, moment) - longestJump);
    found === undefined || due <= found + offset(found * minuteMs) + longestJump;
    due = nextDueMinute(cron, due)
  ) {
    for (const at of momentsOf(due, offset, everyHour)) {
      if (at > minute && (found === undefined || at < found)) found = at;
    }
  }
  return found * minuteMs;
}

/** Minutes since the epoch at which the wall's clock shows `due`. */
function momentsOf(due: WallMinute, offset: (at: number) => number, twice: boolean): number[] {
  const earlier = offset((due - minutesPerDay) * minuteMs);
  const later = offset((due + minutesPerDay) * minuteMs);
  const shown = [...new Set([due - earlier, due - later])]
    .filter((at) => at + offset(at * minuteMs) === due)
    .sort((a, b) => a - b);
  if (shown.length === 0) return [due - earlier];
  return twice ? shown : shown.slice(0, 1);
}

function wrong(field: string, problem: string): VirgaError {
  return new VirgaError("invalid_field", problem, { field, fix: "see docs/events.md, under Sources" });
}

const minuteMs = 60_000;
const dayMs = 86_400_000;
const minutesPerDay = 1440;
/** Restarts and stalls are shorter; a due time that is later than this was missed. */
const onTimeMs = 30_000;
/** Each fire is three writes. */
export const shortestIntervalMs = 1000;
const mostAtOnce = 100;
const mostCounted = 1000;
