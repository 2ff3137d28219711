import type { FunctionConfig, KpaSettings, Scaling } from "../model.ts";
import { decideCpu } from "./cpu.ts";
import { decideQueue } from "./queue.ts";
import { type Expression, decideExpression, parseExpression } from "./expression.ts";
import {
  decideKpa,
  initialKpaState,
  type KpaDecision,
  type KpaState,
  type KpaTarget,
  kpaTarget,
  panicWindowMs,
} from "./kpa.ts";
import { initialActivity, type KpaActivity, settleKpaScale, zeroStepAt } from "./kpa-zero.ts";
import { isEmpty, Metrics, type Sample } from "./metrics.ts";
import { askOpenFaas, decideOpenFaas, initialOpenFaasState, type OpenFaasState } from "./openfaas.ts";
import { heldUntil, type RecentMaximum } from "./recent-maximum.ts";
import { parseSchedule, type Schedule, scheduledFloor } from "./schedule.ts";
import { bounded, LazyVerdict, seconds, type Standing, type Verdict } from "./verdict.ts";
import { type WindowAverage, windowAverage } from "./averages.ts";

/** Times of one look: `now` only grows, `epochMs` is the calendar's. */
export interface Moment {
  readonly now: number;
  readonly epochMs: number;
}

/**
 * A function's policy with what it remembers. Whoever drives it says what time it is: the engine's loop, a test, or a
 * simulation in virtual time. `record` is called each second, `decide` each tick.
 */
export interface Autoscaler {
  /** What `desired` is: the number of instances, or a floor under what demand starts. */
  readonly sets: "number" | "floor";
  /** Whether `Sample.cpu` is asked for, which costs a look at each instance. */
  readonly needsCpu: boolean;
  record(now: number, sample: Sample): void;
  /** As `record` each second from `from` to `to`, with no call in any of them. */
  repeat(from: number, to: number, sample: Sample): void;
  /** Calls have come while nothing was wanted: they are known at once, not at the end of the second. */
  poke(now: number): void;
  decide(moment: Moment, standing: Standing): Verdict;
  /** Somebody sets the number by hand: a floor until it is set anew, zero until the next call. Absent where the policy knows no such thing. */
  ask?(now: number, instances: number): void;
  /** True: with no instance and no call it decides as it did, until a call comes. */
  sleeps(now: number): boolean;
  /**
   * With no call and the instances as they were at the last decision, it decides as it did, and remembers no other things
   * for having decided often, at all times before this one. `now` or earlier where it cannot tell.
   */
  steadyUntil(now: number, ready: number): number;
}

/** `fresh`: its revision has just been deployed. Undefined for `demand`, which nobody need ask at intervals. */
export function createAutoscaler(
  config: Pick<FunctionConfig, "limits" | "scaling">,
  fresh: boolean,
  moment: Moment,
  standing: Standing,
): Autoscaler | undefined {
  const { scaling } = config;
  if (scaling.kpa !== undefined) return new KpaAutoscaler(config, scaling.kpa, fresh, moment.now, standing);
  if (scaling.openfaas !== undefined) return new OpenFaasAutoscaler(scaling, scaling.openfaas, moment.now, standing);
  if (scaling.schedule !== undefined) return new ScheduleAutoscaler(scaling, parseSchedule(scaling.schedule));
  const ask = questionOf(config);
  return ask === undefined ? undefined : new LoadAutoscaler(scaling, ask, moment.now);
}

class KpaAutoscaler implements Autoscaler {
  readonly sets = "number";
  readonly needsCpu = false;
  readonly #settings: KpaSettings;
  readonly #scaling: Scaling;
  readonly #startTimeoutMs: number;
  readonly #target: KpaTarget;
  readonly #stable: WindowAverage;
  readonly #panic: WindowAverage;
  #state: KpaState;
  #activity: KpaActivity;
  #excessBurst: number;
  /** Reported ahead of its second; taken off again from that second's sample. */
  #ahead = 0;
  /** The last decision left what is remembered as it was. */
  #unmoved = false;
  #quiet = false;

  constructor(
    { limits, scaling }: Pick<FunctionConfig, "limits" | "scaling">,
    settings: KpaSettings,
    fresh: boolean,
    now: number,
    { ready }: Standing,
  ) {
    this.#settings = settings;
    this.#scaling = scaling;
    this.#startTimeoutMs = limits.startTimeoutMs;
    this.#target = kpaTarget(settings, limits.concurrency);
    this.#stable = windowAverage(settings.aggregation, settings.windowMs);
    this.#panic = windowAverage(settings.aggregation, panicWindowMs(settings));
    this.#state = initialKpaState(ready, now);
    this.#activity = initialActivity(!fresh, now);
    const { targetBurstCapacity: burst, initialScale } = settings;
    this.#excessBurst = burst > 0 ? Math.trunc(initialScale * this.#target.total - burst) : burst;
  }

  record(now: number, sample: Sample): void {
    const value =
      this.#settings.metric === "rps" ? sample.requests - this.#ahead : Math.max(0, sample.concurrency - this.#ahead);
    this.#ahead = 0;
    this.#quiet = value === 0;
    this.#add(now, value);
  }

  repeat(_from: number, to: number): void {
    this.#stable.silence(to);
    this.#panic.silence(to);
  }

  poke(now: number): void {
    if (this.#ahead > 0) return;
    this.#ahead = 1;
    this.#add(now, 1);
  }

  decide({ now }: Moment, { ready }: Standing): Verdict {
    const settings = this.#settings;
    const before = this.#state;
    let measured: KpaDecision | undefined;
    if (!this.#stable.empty(now)) {
      const load = { stable: this.#stable.average(now), panic: this.#panic.average(now) };
      measured = decideKpa(settings, this.#target, before, load, { ready, reachable: true }, now);
      this.#state = measured.state;
      this.#excessBurst = measured.excessBurst;
    }
    const { min, max } = this.#scaling;
    const input = {
      desired: measured?.desired,
      excessBurst: this.#excessBurst,
      ready,
      min,
      max,
      reachable: true,
      startTimeoutMs: this.#startTimeoutMs,
    };
    const scale = settleKpaScale(settings, this.#activity, input, now);
    this.#unmoved = before === this.#state && this.#activity === scale.activity;
    this.#activity = scale.activity;
    return new LazyVerdict(scale.desired, () => [
      ...(measured?.reasons ?? ["nothing has been measured yet"]),
      ...scale.reasons,
    ]);
  }

  sleeps(now: number): boolean {
    return this.#activity.active === "no" && this.#state.panicSince === undefined && this.#stable.average(now) === 0;
  }

  /** Without calls both averages only fall. */
  steadyUntil(now: number, ready: number): number {
    const settings = this.#settings;
    const { panicSince } = this.#state;
    const burst = settings.targetBurstCapacity;
    const mayGetRoom = this.#activity.proxyingSince !== undefined && burst > 0 && ready * this.#target.total >= burst;
    if (!this.#quiet || !this.#unmoved || mayGetRoom || settings.scaleDownDelayMs > 0) return now;
    if (panicSince !== undefined) return panicSince + settings.windowMs + 1;
    const stable = this.#stable.average(now);
    if (stable > this.#target.aim) return now;
    if (stable > 0) return this.#stable.clearAt() ?? now;
    // `decideKpa` comes to this or to nothing.
    const least = Math.floor(Math.max(1, ready) / settings.maxScaleDownRate);
    if (Math.min(Math.max(least, this.#scaling.min), this.#scaling.max) > 0) return Number.POSITIVE_INFINITY;
    return zeroStepAt(settings, this.#activity);
  }

  #add(now: number, value: number): void {
    this.#stable.record(now, value);
    this.#panic.record(now, value);
  }
}

class OpenFaasAutoscaler implements Autoscaler {
  readonly sets = "number";
  readonly needsCpu: boolean;
  readonly #scaling: Scaling;
  readonly #settings: NonNullable<Scaling["openfaas"]>;
  // The longest look back of its rules.
  readonly #metrics = new Metrics(45_000);
  #state: OpenFaasState;

  constructor(scaling: Scaling, settings: NonNullable<Scaling["openfaas"]>, now: number, { ready }: Standing) {
    this.#scaling = scaling;
    this.#settings = settings;
    this.needsCpu = settings.type === "cpu";
    this.#state = initialOpenFaasState(ready, now);
  }

  record(now: number, sample: Sample): void {
    this.#metrics.record(now, sample);
  }

  repeat(from: number, to: number, sample: Sample): void {
    this.#metrics.repeat(from, to, sample);
  }

  poke(): void {
    // Those who wait are seen by `decide` itself.
  }

  ask(now: number, instances: number): void {
    this.#state = askOpenFaas(this.#state, now, instances);
  }

  decide({ now }: Moment, standing: Standing): Verdict {
    const decision = decideOpenFaas(this.#settings, this.#state, this.#metrics, standing, this.#scaling, now);
    this.#state = decision.state;
    return decision.verdict;
  }

  sleeps(): boolean {
    return this.#state.desired === 0;
  }

  steadyUntil(now: number): number {
    if (!this.#metrics.quiet(now)) return now;
    const { zero, zeroAfterMs, downWindowMs } = this.#settings;
    const { recommended, usedAt } = this.#state;
    const idleAt = zero && now < usedAt + zeroAfterMs ? usedAt + zeroAfterMs : Number.POSITIVE_INFINITY;
    return Math.min(idleAt, heldUntil(recommended, downWindowMs));
  }
}

/** A floor by the clock. */
class ScheduleAutoscaler implements Autoscaler {
  readonly sets = "floor";
  readonly needsCpu = false;
  readonly #scaling: Scaling;
  readonly #schedule: Schedule;
  /** The minute that was last looked up, and what it says. */
  #minute: number | undefined;
  #verdict: Verdict = { desired: undefined, reasons: [] };

  constructor(scaling: Scaling, schedule: Schedule) {
    this.#scaling = scaling;
    this.#schedule = schedule;
  }

  record(): void {
    // It looks at the clock alone.
  }

  repeat(): void {
    // As `record`.
  }

  poke(): void {
    // Demand starts what calls need.
  }

  decide({ epochMs }: Moment): Verdict {
    const minute = Math.floor(epochMs / 60_000);
    if (minute === this.#minute) return this.#verdict;
    const { min, max } = this.#scaling;
    const floor = scheduledFloor(this.#schedule, epochMs);
    this.#minute = minute;
    this.#verdict = { desired: bounded(floor.min, min, max), reasons: [floor.reason] };
    return this.#verdict;
  }

  sleeps(): boolean {
    return false;
  }

  steadyUntil(now: number): number {
    return now;
  }
}

/** A rule without a memory of its own but for the highest recommendation of late. */
interface Question {
  readonly windowMs: number;
  readonly downWindowMs: number;
  readonly needsCpu: boolean;
  decide(
    metrics: Metrics,
    standing: Standing,
    recommended: RecentMaximum,
    now: number,
  ): { readonly recommended: RecentMaximum; readonly verdict: Verdict };
}

/** `queue`, `cpu` and `expression`: within the bounds, the last instance stays for `keepAliveMs` after the last call. */
class LoadAutoscaler implements Autoscaler {
  readonly sets = "number";
  readonly needsCpu: boolean;
  readonly #scaling: Scaling;
  readonly #question: Question;
  readonly #metrics: Metrics;
  #recommended: RecentMaximum = [];
  #usedAt: number;
  /** Set by hand. */
  #asked: number | undefined;
  /** When a sample last had anything in it. */
  #stirredAt = Number.NEGATIVE_INFINITY;

  constructor(scaling: Scaling, question: Question, now: number) {
    this.#scaling = scaling;
    this.#question = question;
    this.needsCpu = question.needsCpu;
    this.#metrics = new Metrics(Math.max(1000, question.windowMs));
    this.#usedAt = now;
  }

  record(now: number, sample: Sample): void {
    if (sample.requests > 0 || sample.concurrency > 0) this.#usedAt = now;
    this.#stir(now, sample);
    this.#metrics.record(now, sample);
  }

  repeat(from: number, to: number, sample: Sample): void {
    this.#metrics.repeat(from, to, sample);
    this.#stir(to, sample);
  }

  poke(): void {
    // Those who wait are seen by `decide` itself.
  }

  ask(now: number, instances: number): void {
    this.#asked = instances;
    this.#usedAt = now;
  }

  decide({ now }: Moment, standing: Standing): Verdict {
    const { keepAliveMs } = this.#scaling;
    if (standing.running + standing.waiting > 0) this.#usedAt = now;
    if (this.#asked === 0) {
      // What runs finishes where it is; what waits came since.
      if (standing.waiting === 0) return { desired: 0, reasons: ["it was set to 0"] };
      this.#asked = undefined;
    }
    const min = this.#asked ?? this.#scaling.min;
    const max = Math.max(this.#scaling.max, min);
    const { recommended, verdict } = this.#question.decide(this.#metrics, standing, this.#recommended, now);
    this.#recommended = recommended;
    if (verdict.desired === undefined) return verdict;
    const reasons = [...verdict.reasons];
    let desired = bounded(verdict.desired, min, max);
    if (desired !== verdict.desired) reasons.push(desired === max ? `max is ${max}` : `min is ${min}`);
    const idleMs = now - this.#usedAt;
    if (desired === 0 && standing.ready + standing.starting > 0 && idleMs < keepAliveMs) {
      desired = 1;
      reasons.push(`the last one stays for ${seconds(keepAliveMs)} after the last call`);
    }
    return { desired, reasons };
  }

  sleeps(now: number): boolean {
    return (
      now - this.#stirredAt > this.#question.windowMs + 1000 && this.#recommended.every(({ value }) => value === 0)
    );
  }

  steadyUntil(now: number): number {
    if (!this.#metrics.quiet(now)) return now;
    const goesAt = this.#usedAt + this.#scaling.keepAliveMs;
    const held = heldUntil(this.#recommended, this.#question.downWindowMs);
    return now < goesAt ? Math.min(goesAt, held) : held;
  }

  #stir(now: number, sample: Sample): void {
    if (!isEmpty(sample)) this.#stirredAt = now;
  }
}

function questionOf({ limits, scaling }: Pick<FunctionConfig, "limits" | "scaling">): Question | undefined {
  const { queue, cpu, expression } = scaling;
  if (queue !== undefined) {
    return {
      windowMs: 0,
      downWindowMs: queue.downWindowMs,
      needsCpu: false,
      decide: (_metrics, standing, recommended, now) => decideQueue(queue, recommended, standing, now),
    };
  }
  if (cpu !== undefined) {
    return {
      windowMs: cpu.windowMs,
      downWindowMs: cpu.downWindowMs,
      needsCpu: true,
      decide(metrics, standing, recommended, now) {
        const used = { cores: metrics.of("cpu").average(cpu.windowMs), share: limits.cpus };
        return decideCpu(cpu, recommended, used, standing, now);
      },
    };
  }
  if (expression === undefined) return undefined;
  const parsed: Expression = parseExpression(expression.formula);
  return {
    windowMs: parsed.windowMs,
    downWindowMs: expression.downWindowMs,
    needsCpu: parsed.metrics.has("cpu"),
    decide: (metrics, standing, recommended, now) =>
      decideExpression(expression, parsed, recommended, metrics, standing, now),
  };
}
