import { type Affinity, firstStance, nextStance, type Stance } from "../core/affinity.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Processors } from "../ports/sandbox.ts";
import type { PoolCall, Worker } from "./worker.ts";

/** Holds the instances of brief calls, and the server, to processors as `core/affinity.ts` says; leaves all others alone. */
export class ProcessorAffinity {
  readonly #clock: Clock;
  readonly #processors: Omit<Processors, "freeing">;
  readonly #seats = new Map<Worker, Seat>();
  #stance: Stance = firstStance;
  #isServerHeld = false;
  #lookedAt = 0;
  #activeBefore = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(clock: Clock, processors: Omit<Processors, "freeing">) {
    this.#clock = clock;
    this.#processors = processors;
  }

  add(worker: Worker): void {
    if (worker.instance.bindTo === undefined || this.#closed) return;
    // Who counts the processors that it may run on, to do as much at a time, must not count one of several.
    if (worker.fleet.revision.config.limits.cpus > 1) return;
    this.#seats.set(worker, new Seat(worker));
    if (this.#timer !== undefined) return;
    this.#lookedAt = this.#clock.monotonic();
    this.#activeBefore = this.#processors.serverActiveMs();
    this.#arm(busyLookMs);
  }

  remove(worker: Worker): void {
    this.#seats.delete(worker);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const seat of this.#seats.values()) seat.move("any");
    this.#seats.clear();
    this.#hold(false);
  }

  #arm(delayMs: number): void {
    this.#timer = this.#clock.after(delayMs, () => this.#look());
  }

  #look(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    const elapsedMs = Math.max(1, now - this.#lookedAt);
    const active = this.#processors.serverActiveMs();
    let briefMicros = 0;
    let isBusy = false;
    for (const seat of this.#seats.values()) {
      briefMicros += seat.look(now);
      isBusy ||= seat.isBusy;
    }
    this.#stance = nextStance(
      this.#stance,
      {
        elapsedMs,
        serverActiveMs: active - this.#activeBefore,
        briefMs: briefMicros / 1000,
        others: this.#processors.others,
      },
      now,
    );
    const { affinity } = this.#stance;
    this.#hold(affinity !== "any");
    for (const seat of this.#seats.values()) seat.follow(affinity);
    this.#lookedAt = now;
    this.#activeBefore = active;
    if (this.#seats.size > 0) return this.#arm(isBusy ? busyLookMs : idleLookMs);
    // Nobody looks any more: no reason to hold it.
    this.#stance = firstStance;
    this.#hold(false);
  }

  #hold(isHeld: boolean): void {
    if (isHeld === this.#isServerHeld) return;
    this.#isServerHeld = isHeld;
    this.#processors.holdServer(isHeld);
  }
}

/** One instance, and what was known of it at the last look. */
class Seat {
  isBrief = false;
  isBusy = false;
  readonly #worker: Worker;
  #affinity: Affinity = "any";
  #served: number;
  #cpuMicros: number;
  #oldest: PoolCall | undefined;
  #busyAt = 0;
  /** Left alone until then. */
  #freeUntil = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
    this.#served = worker.served;
    this.#cpuMicros = worker.accountedCpuMicros;
  }

  /** Gives what its calls used of a processor since the last look, where they are brief. */
  look(now: number): number {
    const { served, accountedCpuMicros, calls } = this.#worker;
    const ended = served - this.#served;
    const cpuMicros = accountedCpuMicros - this.#cpuMicros;
    const oldest = calls.first;
    this.isBusy = ended > 0 || oldest !== undefined;
    const isLong = (oldest !== undefined && oldest === this.#oldest) || (ended > 0 && cpuMicros > ended * briefMicros);
    if (this.isBusy) this.#busyAt = now;
    if (isLong) {
      this.isBrief = false;
      this.#freeUntil = now + longPauseMs;
      this.move("any");
    } else if (now - this.#busyAt >= restMs) {
      // What it does without a call is nobody's to measure: it must not do it where the server is.
      this.isBrief = false;
      if (this.#affinity === "server") this.move("any");
    } else if (ended > 0 && now >= this.#freeUntil) {
      this.isBrief = true;
    }
    this.#served = served;
    this.#cpuMicros = accountedCpuMicros;
    this.#oldest = oldest;
    return this.isBrief ? cpuMicros : 0;
  }

  /** One that rests may stay away from the server's processor: who is called again soon is not moved twice each time. */
  follow(affinity: Affinity): void {
    if (this.isBrief) this.move(affinity);
    else if (affinity !== "others" && this.#affinity === "others") this.move("any");
  }

  move(affinity: Affinity): void {
    if (affinity === this.#affinity) return;
    this.#affinity = affinity;
    this.#worker.instance.bindTo?.(affinity);
  }
}

const busyLookMs = 50;
const idleLookMs = 1000;
/** Processor time of a brief call. */
const briefMicros = 2000;
/** How long an instance is left alone that had a call which was not brief, or was open from one look to the next. */
const longPauseMs = 1000;
/** How long it stays where it is without a call. */
const restMs = 1000;
