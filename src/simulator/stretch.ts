import { Ring } from "./ring.ts";

/** Calls that come at equal distances and run equally long, followed one by one: `left` more, from `nextAt` on. */
export class Stretch {
  nextAt: number;
  left: number;
  readonly gapMs: number;
  readonly runMs: number;
  /** When those that run end: in the order in which they began. */
  readonly ends = new Ring();
  /** How many of its calls have ended. */
  #ended = 0;
  /** Of those that run, which end latest for the place that they have in the order; the latest first, then those after it. */
  readonly #lateOnes = new Ring();
  readonly #lateEnds = new Ring();
  /** What its calls to come have become; the places of those that still run are for them. */
  flow: Flow | undefined;
  /** Those that wait, and those that began without. */
  waiting = 0;
  prompt = 0;

  constructor(nextAt: number, left: number, gapMs: number, runMs: number) {
    this.nextAt = left > 0 ? nextAt : Number.POSITIVE_INFINITY;
    this.left = left;
    this.gapMs = gapMs;
    this.runMs = runMs;
  }

  get running(): number {
    return this.ends.length;
  }

  begin(now: number): number {
    const endsAt = now + this.runMs;
    const index = this.#ended + this.running;
    const late = endsAt - index * this.gapMs;
    while (this.#lateEnds.length > 0 && this.#lateEnds.last() <= late) {
      this.#lateEnds.pop();
      this.#lateOnes.pop();
    }
    this.#lateEnds.push(late);
    this.#lateOnes.push(index);
    this.ends.push(endsAt);
    return endsAt;
  }

  end(): void {
    this.ends.shift();
    if (this.#lateOnes.first() === this.#ended++) {
      this.#lateOnes.shift();
      this.#lateEnds.shift();
    }
  }

  /** Places that its calls take when those that come find one at once. */
  get width(): number {
    const { left, gapMs, runMs, running } = this;
    return Math.min(left + running, Math.max(1, Math.ceil(runMs / gapMs)));
  }

  /** Whether as many of its calls run as ever will at the same time, with the one that comes next. */
  get risen(): boolean {
    return this.running + 1 >= this.width;
  }

  /** Whether all calls to come find a place at once where so many are free: those that run end in time for them. */
  fits(free: number): boolean {
    if (this.width > free + this.running) return false;
    return this.running === 0 || this.#lateEnds.first() <= this.nextAt + (free - this.#ended) * this.gapMs + inexact;
  }

  /** Whether those that run began when they came. */
  get inTime(): boolean {
    if (this.running === 0) return true;
    return this.#lateEnds.first() <= this.nextAt - (this.#ended + this.running) * this.gapMs + this.runMs + inexact;
  }
}

/** Sums of fractions are not exact: ms. */
const inexact = 1e-3;

/**
 * The calls of a stretch that are to come and all find an instance: one event for all of them. Calls that run when it
 * begins are part of it where they began in time.
 */
export class Flow {
  readonly from: number;
  /** When its last call comes. */
  readonly endsAt: number;
  readonly calls: number;
  readonly gapMs: number;
  readonly runMs: number;
  /** Places that it takes in the end, and those that are kept for it. */
  readonly width: number;
  places: number;
  /** What `measure` found: calls in flight × ms, calls that came, calls that ended. */
  area = 0;
  came = 0;
  ended = 0;
  readonly #before: number;
  readonly #areaAtFirst: number;
  #areaBefore: number;
  #cameBefore: number;
  #endedBefore = 0;

  constructor(from: number, { left: calls, gapMs, runMs, running, width }: Stretch, before: number) {
    this.from = from;
    this.endsAt = from + (calls - 1) * gapMs;
    this.calls = calls;
    this.gapMs = gapMs;
    this.runMs = runMs;
    this.width = width;
    // Others of its calls have theirs, and give them to it.
    this.places = Math.max(width - running, 0) + before;
    this.#before = before;
    this.#cameBefore = before;
    this.#areaAtFirst = this.#areaUpTo(from);
    this.#areaBefore = this.#areaAtFirst;
  }

  /** Calls in flight × ms since it began. */
  workUpTo(now: number): number {
    return this.#areaUpTo(now) - this.#areaAtFirst;
  }

  /** Calls that came up to `now`. */
  callsUpTo(now: number): number {
    return Math.min(this.calls, Math.floor((now - this.from) / this.gapMs) + 1);
  }

  /** Calls of it that run. */
  runningAt(now: number): number {
    return this.callsUpTo(now) + this.#before - this.#endsUpTo(now);
  }

  /** What there was of it since it was last asked. */
  measure(now: number): void {
    const area = this.#areaUpTo(now);
    const came = this.callsUpTo(now) + this.#before;
    const ended = this.#endsUpTo(now);
    this.area = area - this.#areaBefore;
    this.came = came - this.#cameBefore;
    this.ended = ended - this.#endedBefore;
    this.#areaBefore = area;
    this.#cameBefore = came;
    this.#endedBefore = ended;
  }

  #endsUpTo(now: number): number {
    const { from, gapMs, runMs, calls } = this;
    const before = this.#before;
    return Math.min(calls + before, Math.max(0, Math.floor((now - runMs - from) / gapMs) + 1 + before));
  }

  /** Calls in flight × ms. */
  #areaUpTo(now: number): number {
    const { from, gapMs, runMs } = this;
    const came = this.callsUpTo(now) + this.#before;
    const ended = this.#endsUpTo(now);
    const first = from - this.#before * gapMs;
    return ended * runMs + (came - ended) * (now - first) - (gapMs * (ended + came - 1) * (came - ended)) / 2;
  }
}
