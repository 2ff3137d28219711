import { ClusteredCalls, type Clusters, type Process, RegularCalls, type Schedule, TimerCalls } from "./processes.ts";
import {
  type Curve,
  functionsPerApplication,
  memory,
  onlyTimerShare,
  quantile,
  runTime,
  someTimerShare,
  variation as publishedVariation,
} from "./published.ts";
import { Random } from "./random.ts";
import { type Application, dayMs, DayBuilder, type DayOfCalls, type Trace } from "./trace.ts";

export interface SyntheticOptions {
  /** Functions in all; applications are added until there are as many. */
  readonly functions: number;
  readonly days: number;
  readonly seed: number;
  readonly variation?: Partial<Variation>;
  /** Every so-manieth application alone, from one on. */
  readonly part?: Part;
}

export interface Part {
  readonly index: number;
  readonly of: number;
}

/**
 * What the published figures leave open: they give rates, triggers and the variation of the time between calls;
 * these say by which processes they come about.
 */
export interface Variation {
  /** Pauses between clusters of calls: memoryless, or with a heavier tail. */
  readonly pauses: Clusters["pauses"];
  /** Median time from call to call inside a cluster; applications vary around it. */
  readonly insideMs: number;
  /** How much the seldom called vary more in their times between calls: a correlation of ranks, 0 to 1. */
  readonly seldomIsClustered: number;
  /** Share of clustered applications whose calls follow the hours of the day and the days of the week. */
  readonly daily: number;
  /** Share of clustered applications whose pauses become three times as long, or a third, some time in the trace. */
  readonly drifting: number;
  /** How late timers are on average. */
  readonly timerLateMs: number;
}

export const defaultVariation: Variation = {
  pauses: "exponential",
  insideMs: 60_000,
  seldomIsClustered: 0.4,
  daily: 0.5,
  drifting: 0,
  timerLateMs: 200,
};

export interface SyntheticApplication extends Application {
  readonly triggers: "timers" | "mixed" | "others";
  /** Of each of its functions in its calls; adds up to 1. */
  readonly shares: readonly number[];
}

/** A trace with the published distributions, made anew from its seed, day by day. */
export class SyntheticTrace implements Trace {
  readonly applications: readonly SyntheticApplication[];
  readonly days: number;
  readonly #sources: readonly Source[];
  readonly #builder: DayBuilder;

  constructor(options: SyntheticOptions) {
    const variation = { ...defaultVariation, ...options.variation };
    this.days = options.days;
    const sources: Source[] = [];
    for (let functions = 0; functions < options.functions; functions += sources.at(-1)!.application.functions) {
      // A stream of its own for each: more functions leave the first ones as they are.
      const random = new Random(options.seed, sources.length);
      sources.push(makeSource(random, sources.length, options.functions - functions, options.days, variation));
    }
    const { index: first, of } = options.part ?? { index: 0, of: 1 };
    this.#sources = sources.filter((_, index) => index % of === first);
    this.applications = this.#sources.map(({ application }) => application);
    this.#builder = new DayBuilder(this.#sources.length);
  }

  day(index: number): DayOfCalls {
    const start = index * dayMs;
    const builder = this.#builder;
    builder.begin();
    for (const { processes, runMs, random } of this.#sources) {
      for (const process of processes) {
        process.upTo(start + dayMs, (at, calls, gapMs) => {
          builder.add(at - start, calls, gapMs, Math.min(longestRunMs, random.logNormal(runMs, runSigma)));
        });
      }
      builder.next();
    }
    return builder.day();
  }
}

interface Source {
  readonly application: SyntheticApplication;
  readonly processes: readonly Process[];
  /** Median. */
  readonly runMs: number;
  readonly random: Random;
}

function makeSource(random: Random, index: number, room: number, days: number, variation: Variation): Source {
  const kind = random.next();
  const triggers = kind < onlyTimerShare ? "timers" : kind < someTimerShare ? "mixed" : "others";
  const functions = Math.min(room, functionCount(random, triggers));
  const weights = Array.from({ length: functions }, () => random.logNormal(1, functionSigma));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const application: SyntheticApplication = {
    name: `app-${index}`,
    functions,
    triggers,
    shares: weights.map((weight) => weight / sum),
    memoryMb: burr(random.next()),
    startMs: Math.min(10_000, random.logNormal(typicalStartMs, startSigma)),
  };
  const runMs = 1000 * random.logNormal(Math.exp(runTime.mean - runSigma ** 2 / 2), runTime.sigma);
  return { application, processes: processesOf(random, application, days, variation), runMs, random };
}

/** An application with timers among others has two functions at least; the others have the rest of the published curve. */
function functionCount(random: Random, triggers: SyntheticApplication["triggers"]): number {
  const single = functionsPerApplication[0]![1];
  const several = single + (1 - single) * random.next();
  const mixedShare = someTimerShare - onlyTimerShare;
  if (triggers !== "mixed" && random.chance(single / (1 - mixedShare))) return 1;
  // Up, as the curve's points are the last whole number of their share.
  return Math.max(2, Math.ceil(quantile(functionsPerApplication, several) - 1e-9));
}

function processesOf(
  random: Random,
  { triggers, functions }: SyntheticApplication,
  days: number,
  variation: Variation,
): Process[] {
  const timer = (periodMs: number): Process => new TimerCalls(random, scheduleOf(random, periodMs, variation));
  if (triggers === "timers") {
    const first = timerPeriod(random);
    const timers = [timer(first)];
    for (let extra = 1; extra < Math.min(functions, 6); extra++) {
      // Often the same schedule again, at the same instant.
      if (!random.chance(0.5)) timers.push(timer(random.chance(0.5) ? first : timerPeriod(random)));
    }
    return timers;
  }
  const rank = random.next();
  const callsADay = quantile(otherRates, rank);
  if (triggers === "others") return [otherCalls(random, rank, dayMs / callsADay, days, variation)];
  // The schedule whose calls are nearest to a random part of all.
  const part = random.between(0.15, 0.9);
  const periods = timerPeriods.map(([minutes]) => minutes * minuteMs);
  const wanted = dayMs / (callsADay * part);
  const period = periods.reduce((best, one) =>
    Math.abs(Math.log(one / wanted)) < Math.abs(Math.log(best / wanted)) ? one : best,
  );
  const left = callsADay - dayMs / period;
  if (left <= callsADay * 0.05)
    return [timer(period), otherCalls(random, rank, dayMs / (callsADay * 0.1), days, variation)];
  return [timer(period), otherCalls(random, rank, dayMs / left, days, variation)];
}

function otherCalls(random: Random, rank: number, meanMs: number, days: number, variation: Variation): Process {
  const polling = publishedVariation.noTimer[0][1];
  // Devices and programs that poll.
  if (random.chance(polling)) return new RegularCalls(random, timerPeriod(random), random.between(0.001, 0.04));
  const share = against(random, rank, variation.seldomIsClustered);
  const measured = quantile(noTimerVariation, polling + (1 - polling) * share);
  const cv = measured > 1 ? 1 + (measured - 1) * finite : measured;
  if (cv < 0.9) return new RegularCalls(random, meanMs, cv);
  const hours = random.chance(variation.daily) ? activeHours(random) : undefined;
  const turn = random.chance(variation.drifting)
    ? { at: days * dayMs * random.between(0.2, 0.8), factor: random.chance(0.5) ? 3 : 1 / 3 }
    : undefined;
  return new ClusteredCalls(random, {
    meanMs,
    variation: cv,
    insideMs: random.logNormal(variation.insideMs, 1),
    pauses: variation.pauses,
    hours,
    beginsBefore: days * dayMs,
    ...(turn === undefined ? {} : { turn }),
  });
}

/** A rank that goes against another one: a Gaussian copula, with the logistic curve in place of the normal one (1 % off). */
function against(random: Random, rank: number, correlation: number): number {
  const other = Math.log(rank / (1 - rank)) / 1.702;
  const own = -correlation * other + Math.sqrt(1 - correlation ** 2) * random.normal();
  return 1 / (1 + Math.exp(-1.702 * own));
}

/** A working day somewhere in the world over a floor that never sleeps, quieter at the weekend; mean 1. */
function activeHours(random: Random): Float64Array {
  const noon = random.between(0, 24);
  const floor = random.between(0.02, 0.6);
  const weekend = random.between(0.1, 1);
  const firstDay = Math.floor(random.next() * 7);
  const hours = Float64Array.from({ length: 168 }, (_, hour) => {
    const distance = Math.abs(((hour + 36 - noon) % 24) - 12);
    const work = Math.exp(-((distance / 5) ** 4)) * ((Math.floor(hour / 24) + firstDay) % 7 >= 5 ? weekend : 1);
    return floor + (1 - floor) * work;
  });
  const mean = hours.reduce((sum, hour) => sum + hour, 0) / hours.length;
  return hours.map((hour) => hour / mean);
}

function timerPeriod(random: Random): number {
  return timerPeriods[random.pick(timerPeriods.map(([, weight]) => weight))]![0] * minuteMs;
}

/** Most fire for ever at equal distances; some rest at night or at weekends, some wait for a busy host first. */
function scheduleOf(random: Random, periodMs: number, { timerLateMs }: Variation): Schedule {
  const kind = random.next();
  const late = kind < 0.2 ? periodMs * random.between(0.02, 0.2) : random.logNormal(timerLateMs, 1);
  const opens = Math.floor(random.between(4, 10));
  const nightly = (hour: number): boolean => hour % 24 < opens || hour % 24 >= opens + 12;
  const weekends = (hour: number): boolean => hour >= 120;
  const rests = kind > 0.9 ? (periodMs < dayMs / 2 && kind > 0.95 ? nightly : weekends) : undefined;
  return {
    periodMs,
    phaseMs: wholeMinutes(random, periodMs),
    lateMs: late,
    ...(rests === undefined ? {} : { silent: rests }),
  };
}

function wholeMinutes(random: Random, periodMs: number): number {
  return Math.floor((random.next() * periodMs) / minuteMs) * minuteMs;
}

/** Burr XII. */
function burr(share: number): number {
  return memory.scale * ((1 - share) ** (-1 / memory.k) - 1) ** (1 / memory.c);
}

const minuteMs = 60_000;

/** Periods in minutes and their weights: the heights of the steps in the published curve of rates. */
const timerPeriods: readonly (readonly [minutes: number, weight: number])[] = [
  [1440, 42],
  [720, 8],
  [360, 6],
  [60, 16],
  [30, 10],
  [15, 14],
  [10, 8],
  [5, 36],
  [1, 25],
];

/**
 * What `applicationRates` leaves when the steps of the timers (0.165 of all applications) are taken out of it.
 * The lowest points are higher than that: the curve counts calls that came, which scatter around the rate.
 */
const otherRates: Curve = (
  [
    [1 / 40, 0.03],
    [1 / 14, 0.09],
    [2 / 14, 0.13],
    [0.5, 0.175],
    [1, 0.205],
    [2, 0.235],
    [10, 0.324],
    [24, 0.383],
    [48, 0.418],
    [96, 0.464],
    [288, 0.53],
    [480, 0.59],
    [1000, 0.64],
    [1440, 0.665],
    [1e4, 0.76],
    [1e5, 0.815],
    [1e6, 0.8295],
    [1e7, 0.834],
    [1e8, 0.835],
  ] as const
).map(([rate, share]) => [rate, share / 0.835]);

/** Two weeks of few calls do not show all of the variation of what made them: measured, it is smaller by about this. */
const finite = 1.35;
const noTimerVariation: Curve = [...publishedVariation.noTimer, [30, 1]];

/** Spread of one function's run times around its own median; not published. */
const runSigma = 0.5;
/** The longest that the platform of the data set lets a function run. */
const longestRunMs = 600_000;
/** How unequal the functions of one application are; fits the published curve of functions beside that of applications. */
const functionSigma = 3;
/** Not published in that paper: a start of a few hundred milliseconds, spread over a decade. */
const typicalStartMs = 300;
const startSigma = 0.8;
