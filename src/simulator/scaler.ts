import type { FunctionConfig } from "../core/model.ts";
import { type Autoscaler, createAutoscaler } from "../core/scaling/autoscaler.ts";
import type { Sample } from "../core/scaling/metrics.ts";
import { tickMs } from "../core/scaling/recent-maximum.ts";
import type { Standing } from "../core/scaling/verdict.ts";

/**
 * Asks a policy as the engine's scaler does, in virtual time: a sample each second, a decision each tick, and at once
 * where calls come and nothing is wanted. Where the policy knows that it will decide the same until some time, and nothing
 * else is under way, the seconds up to then are left out and made up for in one.
 */
export class SimulatedScaler {
  /** Instances that there should be. */
  target = 0;
  /** When the next second is over; `Infinity`: nothing is to be measured. */
  beatAt = never;
  readonly #config: Pick<FunctionConfig, "limits" | "scaling">;
  readonly #everySecond: boolean;
  #autoscaler: Autoscaler | undefined;
  #sampledAt = 0;
  /** Since then: calls in flight × ms, calls that came, calls that ended. */
  #loadArea = 0;
  #arrived = 0;
  #completed = 0;
  /** What was ready when it was last decided. */
  #ready = 0;
  /** The last second that was measured while all that follow are like it. */
  #restsFrom = never;

  /** `everySecond`: leaves none out. */
  constructor(config: Pick<FunctionConfig, "limits" | "scaling">, everySecond: boolean) {
    this.#config = config;
    this.#everySecond = everySecond;
  }

  /** Calls in flight, running or waiting, × ms; calls that came; calls that ended. */
  measured(loadArea: number, arrived: number, completed: number): void {
    this.#loadArea += loadArea;
    this.#arrived += arrived;
    this.#completed += completed;
  }

  /** A call waits. True: decided anew. */
  attend(now: number, standing: Standing): boolean {
    let decided = false;
    if (this.#autoscaler === undefined) {
      this.#autoscaler = createAutoscaler(this.#config, false, { now, epochMs: now }, standing)!;
      this.target = this.#config.scaling.min;
      this.#wake(now, standing);
      this.#decide(now, standing);
      decided = true;
    } else this.#wake(now, standing);
    if (this.target > 0) return decided;
    this.#autoscaler.poke(now);
    this.#decide(now, standing);
    return true;
  }

  /** A second is over. True: decided anew. */
  beat(now: number, standing: Standing): boolean {
    this.#makeUp(now - beatMs, standing);
    const autoscaler = this.#autoscaler!;
    const { running, waiting } = standing;
    const passed = now - this.#sampledAt;
    autoscaler.record(now, this.#sample(passed > 0 ? this.#loadArea / passed : running + waiting, standing));
    this.#sampledAt = now;
    this.#loadArea = this.#arrived = this.#completed = 0;
    this.beatAt = now + beatMs;
    if (Math.floor(now / tickMs) * tickMs !== now) return false;
    this.#decide(now, standing);
    return true;
  }

  /** It was decided just now, and nothing is under way: no call, no start, no instance that goes. */
  rest(now: number, standing: Standing): void {
    if (this.#everySecond || standing.ready !== this.#ready) return;
    const until = this.#autoscaler!.steadyUntil(now, standing.ready);
    if (until <= now + tickMs) return;
    this.#restsFrom = now;
    this.beatAt = Math.ceil(until / beatMs) * beatMs;
  }

  /** Nothing is there, nor wanted. */
  sleep(now: number): void {
    if (this.target === 0 && this.#autoscaler!.sleeps(now)) this.beatAt = never;
  }

  get resting(): boolean {
    return this.#restsFrom !== never;
  }

  /** Calls come again while it rests: the seconds that were left out are made up for. */
  stir(now: number, standing: Standing): void {
    this.#makeUp(now, standing);
    this.beatAt = this.#sampledAt + beatMs;
  }

  #makeUp(upTo: number, standing: Standing): void {
    if (this.#restsFrom === never) return;
    const from = this.#restsFrom;
    const last = Math.floor(upTo / beatMs) * beatMs;
    this.#restsFrom = never;
    if (last <= from) return;
    this.#sampledAt = last;
    const autoscaler = this.#autoscaler!;
    const sample = this.#sample(0, standing);
    const tick = Math.floor(last / tickMs) * tickMs;
    if (tick > from) {
      autoscaler.repeat(from + beatMs, tick, sample);
      // What the last of those ticks leaves is what all of them leave.
      autoscaler.decide({ now: tick, epochMs: tick }, standing);
    }
    if (last > tick) autoscaler.record(last, sample);
  }

  #wake(now: number, { waiting }: Standing): void {
    if (this.beatAt !== never) return;
    this.beatAt = (Math.floor(now / beatMs) + 1) * beatMs;
    this.#sampledAt = now;
    this.#loadArea = this.#completed = 0;
    this.#arrived = waiting;
  }

  #sample(concurrency: number, { ready, waiting }: Standing): Sample {
    const { cpus, concurrency: slots } = this.#config.limits;
    return {
      concurrency,
      requests: this.#arrived,
      completed: this.#completed,
      queue: waiting,
      // Nothing is known of it: a call that runs is taken to use the processors of its share of the instance.
      cpu: (Math.min(concurrency, ready * slots) * cpus) / slots,
      instances: ready,
    };
  }

  #decide(now: number, standing: Standing): void {
    const { desired } = this.#autoscaler!.decide({ now, epochMs: now }, standing);
    this.#ready = standing.ready;
    if (desired !== undefined) this.target = desired;
  }
}

const never = Number.POSITIVE_INFINITY;
const beatMs = 1000;
