import { type Autoscaler, createAutoscaler } from "../core/scaling/autoscaler.ts";
import { tickMs } from "../core/scaling/recent-maximum.ts";
import type { Standing, Verdict } from "../core/scaling/verdict.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Fleet } from "./fleet.ts";
import { CpuMeter } from "./scaler-cpu.ts";
import { CallLoad } from "./scaler-load.ts";

/** What the scaler asks of the pool. */
export interface Scaled {
  readonly clock: Clock;
  /** The fleet may want instances. */
  hungry(fleet: Fleet): void;
  /** Takes `count` instances of the fleet away, idle ones first; calls that run finish. */
  trim(fleet: Fleet, count: number, reason: string): void;
  /** What the fleet's policy came to, for those who ask. */
  note(fleet: Fleet, verdict: Verdict): void;
}

/**
 * Drives the policies that are asked at intervals: measures each second, decides each tick, and has the pool do it.
 * It runs while there is such a fleet that is awake; what has neither calls nor instances sleeps until a call comes.
 */
export class Scaler {
  readonly #pool: Scaled;
  readonly #awake = new Map<Fleet, Watch>();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(pool: Scaled) {
    this.#pool = pool;
  }

  /**
   * Follows a fleet whose policy wants it; again after a change of its floor. Decides at once.
   * `fresh`: its revision has just been deployed.
   */
  follow(fleet: Fleet, fresh: boolean): void {
    if (!fleet.periodic || this.#stopped) return;
    const { clock } = this.#pool;
    const standing = standingOf(fleet);
    const moment = { now: clock.monotonic(), epochMs: clock.now() };
    fleet.autoscaler ??= createAutoscaler(fleet.revision.config, fresh, moment, standing);
    if (fleet.autoscaler === undefined) return;
    if (fleet.autoscaler.sets === "number") {
      // What is there stays until something is known.
      fleet.target ??= Math.max(fleet.min, standing.ready + standing.starting);
      fleet.load ??= new CallLoad(standing.running + standing.waiting, moment.now);
    }
    this.#wake(fleet, fleet.autoscaler);
    this.#decide(fleet, fleet.autoscaler, moment.now);
  }

  /** Calls wait: follows the fleet where that is still to do; one that wanted no instance is asked again at once. */
  attend(fleet: Fleet): void {
    if (!fleet.periodic || this.#stopped) return;
    const { autoscaler } = fleet;
    if (autoscaler === undefined) this.follow(fleet, false);
    else this.#wake(fleet, autoscaler);
    if (fleet.target !== 0 || fleet.line.size === 0 || fleet.autoscaler === undefined) return;
    const now = this.#pool.clock.monotonic();
    fleet.autoscaler.poke(now);
    this.#decide(fleet, fleet.autoscaler, now);
  }

  /** Somebody sets the number of its instances by hand; false where its policy knows no such thing. */
  set(fleet: Fleet, instances: number): boolean {
    this.follow(fleet, false);
    const { autoscaler } = fleet;
    if (autoscaler?.ask === undefined) return false;
    const now = this.#pool.clock.monotonic();
    autoscaler.ask(now, instances);
    this.#decide(fleet, autoscaler, now);
    return true;
  }

  /** Its traffic is gone: demand alone says what it has left to do. */
  forget(fleet: Fleet): void {
    this.#awake.delete(fleet);
    fleet.autoscaler = undefined;
    fleet.target = undefined;
    fleet.load = undefined;
    if (this.#awake.size === 0) this.#rest();
  }

  /** True: the fleet has to stay, though it may have no instance and no call. */
  keeps(fleet: Fleet): boolean {
    return this.#awake.has(fleet);
  }

  stop(): void {
    this.#stopped = true;
    this.#awake.clear();
    this.#rest();
  }

  #wake(fleet: Fleet, autoscaler: Autoscaler): void {
    if (this.#awake.has(fleet)) return;
    this.#awake.set(fleet, { cpu: autoscaler.needsCpu ? new CpuMeter() : undefined });
    if (this.#timer === undefined) this.#beatAfter(this.#pool.clock.monotonic());
  }

  #rest(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Beats fall on whole seconds, so that each second has one sample, however late a timer was. */
  #beatAfter(last: number): void {
    const { clock } = this.#pool;
    const now = clock.monotonic();
    const next = (Math.floor(Math.max(last, now) / beatMs) + 1) * beatMs;
    this.#timer = clock.after(next - now, () => this.#beat());
  }

  #beat(): void {
    const { clock } = this.#pool;
    const actual = clock.monotonic();
    // A timer may be a little early.
    const now = Math.round(actual / beatMs) * beatMs;
    for (const [fleet, watch] of this.#awake) {
      const { autoscaler } = fleet;
      if (autoscaler === undefined || fleet.closed) {
        this.forget(fleet);
        continue;
      }
      // A trial start is the deploy's, whatever the policy.
      if (fleet.trials > 0) continue;
      this.#sample(fleet, autoscaler, watch, now, actual);
      if (now % tickMs !== 0) continue;
      watch.cpu?.look(fleet.workers, () => clock.monotonic());
      this.#decide(fleet, autoscaler, now);
      if (fleet.empty && (fleet.target ?? 0) === 0 && autoscaler.sleeps(now)) this.#awake.delete(fleet);
    }
    if (this.#awake.size > 0) this.#beatAfter(now);
    else this.#rest();
  }

  #sample(fleet: Fleet, autoscaler: Autoscaler, watch: Watch, now: number, actual: number): void {
    if (fleet.load === undefined) return;
    autoscaler.record(now, {
      ...fleet.load.take(actual),
      queue: fleet.line.size,
      cpu: watch.cpu?.cores ?? 0,
      instances: fleet.ready,
    });
  }

  #decide(fleet: Fleet, autoscaler: Autoscaler, now: number): void {
    const standing = standingOf(fleet);
    const verdict = autoscaler.decide({ now, epochMs: this.#pool.clock.now() }, standing);
    this.#pool.note(fleet, verdict);
    const { desired } = verdict;
    if (autoscaler.sets === "floor") {
      if (desired === undefined || desired === fleet.min) return;
      fleet.min = desired;
      this.#pool.hungry(fleet);
      return;
    }
    if (desired !== undefined) {
      fleet.target = desired;
      fleet.why = verdict.reasons.join("; ");
    }
    const target = fleet.target ?? 0;
    const surplus = standing.ready - target;
    if (surplus > 0) this.#pool.trim(fleet, surplus, fleet.why);
    else if (standing.ready + standing.starting < target) this.#pool.hungry(fleet);
  }
}

interface Watch {
  readonly cpu: CpuMeter | undefined;
}

function standingOf(fleet: Fleet): Standing {
  return {
    ready: fleet.ready,
    starting: fleet.starting.size,
    running: fleet.running,
    waiting: fleet.line.size,
  };
}

const beatMs = 1000;
