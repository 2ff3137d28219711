import type { Random } from "./random.ts";
import { longestGapMs } from "./trace.ts";

/** Makes calls in order of time. A process keeps its place between one day and the next. */
export interface Process {
  /** All calls before `end`, in ms since the start of the trace. */
  upTo(end: number, emit: (at: number, calls: number, gapMs: number) => void): void;
}

export interface Schedule {
  readonly periodMs: number;
  /** The first instant. */
  readonly phaseMs: number;
  /** How late a call is on average. */
  readonly lateMs: number;
  /** Hours of the week (0 to 167) in which it does not fire. */
  readonly silent?: (hour: number) => boolean;
}

/** At fixed instants, a little late each time as timers are. */
export class TimerCalls implements Process {
  readonly #random: Random;
  readonly #schedule: Schedule;
  #due: number;

  constructor(random: Random, schedule: Schedule) {
    this.#random = random;
    this.#schedule = schedule;
    this.#due = schedule.phaseMs;
  }

  upTo(end: number, emit: (at: number, calls: number, gapMs: number) => void): void {
    const { periodMs, lateMs, silent } = this.#schedule;
    for (; this.#due < end; this.#due += periodMs) {
      if (silent?.(Math.floor(this.#due / hourMs) % 168) === true) continue;
      emit(Math.min(this.#due + this.#random.exponential(lateMs), end - 1), 1, 0);
    }
  }
}

/** Times between calls that vary less than chance: gamma-distributed. */
export class RegularCalls implements Process {
  readonly #random: Random;
  readonly #meanMs: number;
  readonly #shape: number;
  #next: number;

  constructor(random: Random, meanMs: number, variation: number) {
    this.#random = random;
    this.#meanMs = meanMs;
    this.#shape = 1 / (variation * variation);
    this.#next = random.next() * meanMs;
  }

  upTo(end: number, emit: (at: number, calls: number, gapMs: number) => void): void {
    while (this.#next < end) {
      if (this.#meanMs <= longestGapMs) {
        // Too many to be told one by one.
        const calls = Math.max(1, Math.floor(Math.min(minuteMs, end - this.#next) / this.#meanMs));
        emit(this.#next, calls, calls > 1 ? this.#meanMs : 0);
        this.#next += calls * this.#meanMs;
        continue;
      }
      emit(this.#next, 1, 0);
      this.#next += this.#random.gamma(this.#shape, this.#meanMs);
    }
  }
}

export interface Clusters {
  readonly meanMs: number;
  /** Coefficient of variation of the time between calls: what the clusters are made for. */
  readonly variation: number;
  /** Median time between calls inside a cluster. */
  readonly insideMs: number;
  readonly pauses: "exponential" | "log-normal" | "weibull";
  /** How active each hour of the week is; 1 on average. */
  readonly hours: Float64Array | undefined;
  /** The first call comes before this, even where calls are few. */
  readonly beginsBefore: number;
  /** From `at` on pauses are `factor` times as long. */
  readonly turn?: { readonly at: number; readonly factor: number };
}

/**
 * Clusters of calls with pauses between them: a share `p` of the times between calls is a pause. With pauses of mean L and
 * second moment m·L², and short times inside, the variation is sqrt(m/p - 1), which gives p.
 */
export class ClusteredCalls implements Process {
  readonly #random: Random;
  readonly #clusters: Clusters;
  readonly #pauseShare: number;
  readonly #pauseMs: number;
  readonly #insideMs: number;
  #next: number;
  #left = 0;

  constructor(random: Random, clusters: Clusters) {
    this.#random = random;
    this.#clusters = clusters;
    const { meanMs, variation, pauses } = clusters;
    // A cluster has no more calls than there will be, or nearly.
    const fewest = (1.2 * meanMs) / clusters.beginsBefore;
    this.#pauseShare = Math.min(1, Math.max(fewest, secondMoment[pauses] / (variation * variation + 1)));
    this.#insideMs = Math.min(clusters.insideMs, meanMs / 8);
    const insideMean = this.#insideMs * Math.exp(insideSigma ** 2 / 2);
    this.#pauseMs = (meanMs - (1 - this.#pauseShare) * insideMean) / this.#pauseShare;
    this.#next = Math.min(this.#afterPause(0), clusters.beginsBefore) * random.next();
  }

  upTo(end: number, emit: (at: number, calls: number, gapMs: number) => void): void {
    // So busy that pauses make no difference to anyone: minute by minute.
    if (this.#pauseMs < hotPauseMs) return this.#minutes(end, emit);
    const together = this.#insideMs * 3 <= longestGapMs;
    while (this.#next < end) {
      if (this.#left === 0) this.#left = this.#random.geometric(this.#pauseShare);
      if (together) {
        const gap = this.#insideMs;
        const fit = Math.min(this.#left, Math.floor((end - this.#next) / gap) + 1);
        emit(this.#next, fit, fit > 1 ? gap : 0);
        this.#left -= fit;
        this.#next += (fit - 1) * gap;
        this.#next = this.#left > 0 ? Math.max(end, this.#next + gap) : this.#afterPause(this.#next);
        continue;
      }
      emit(this.#next, 1, 0);
      this.#next =
        --this.#left > 0
          ? this.#next + this.#random.logNormal(this.#insideMs, insideSigma)
          : this.#afterPause(this.#next);
    }
  }

  #minutes(end: number, emit: (at: number, calls: number, gapMs: number) => void): void {
    for (this.#next = Math.ceil(this.#next / minuteMs) * minuteMs; this.#next < end; this.#next += minuteMs) {
      const mean = (minuteMs / this.#clusters.meanMs) * this.#activity(this.#next) * this.#random.gamma(4, 1);
      const calls = this.#random.poisson(mean);
      if (calls === 0) continue;
      const gap = minuteMs / calls;
      // Few calls: their order in the minute matters to a policy.
      if (gap <= longestGapMs) emit(this.#next, calls, gap);
      else for (let index = 0; index < calls; index++) emit(this.#next + index * gap, 1, 0);
    }
  }

  /** When the next cluster begins: the pause passes faster in busy hours. */
  #afterPause(from: number): number {
    let pause = draw(this.#random, this.#clusters.pauses) * this.#pauseMs;
    const { turn, hours } = this.#clusters;
    if (turn !== undefined && from > turn.at) pause *= turn.factor;
    if (hours === undefined) return from + pause;
    let at = from;
    for (;;) {
      const hourEnd = (Math.floor(at / hourMs) + 1) * hourMs;
      const passes = (hourEnd - at) * this.#activity(at);
      if (passes >= pause) return at + pause / this.#activity(at);
      pause -= passes;
      at = hourEnd;
    }
  }

  #activity(at: number): number {
    const { hours } = this.#clusters;
    return hours === undefined ? 1 : hours[Math.floor(at / hourMs) % 168]!;
  }
}

/** Mean 1. */
function draw(random: Random, pauses: Clusters["pauses"]): number {
  if (pauses === "exponential") return random.exponential(1);
  if (pauses === "log-normal") return random.logNormal(Math.exp(-0.5), 1);
  return random.exponential(1) ** (1 / weibullShape) / 1.2658; // Γ(1 + 1 / 0.7)
}

const weibullShape = 0.7;
/** E[X²] / E[X]²: 2, e, and Γ(1 + 2/0.7) / Γ(1 + 1/0.7)². */
const secondMoment = { exponential: 2, "log-normal": Math.E, weibull: 3.14 };
const insideSigma = 1;
const minuteMs = 60_000;
const hourMs = 3_600_000;
const hotPauseMs = 10_000;
