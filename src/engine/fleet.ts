import { Chain } from "./chain.ts";
import { VirgaError } from "../core/errors.ts";
import type { Revision } from "../core/model.ts";
import type { Autoscaler } from "../core/scaling/autoscaler.ts";
import { smoothed } from "../core/scaling/demand.ts";
import type { Clock } from "../ports/clock.ts";
import type { Habit } from "./keep-alive.ts";
import type { CallLoad } from "./scaler-load.ts";
import { type PoolCall, retireGraceMs, type Worker } from "./worker.ts";

/** What a fleet asks of the machine that it is on. */
export interface Machine {
  readonly clock: Clock;
  /** True: no new calls. */
  readonly draining: boolean;
  /** Calls of the fleet wait: look whether instances should be started. */
  hungry(fleet: Fleet): void;
  /** True: others wait for room on the machine. */
  readonly crowded: boolean;
  /** A worker has ended a call: it may have to go for those who wait. */
  reconsider(worker: Worker): void;
  /** An instance became idle. */
  idle(worker: Worker): void;
  stop(worker: Worker, reason: string, graceMs: number): void;
}

/** The instances of one revision, and the line of calls that wait for them. */
export class Fleet {
  /** Its name in the platform's log. */
  readonly key: string;
  readonly revision: Revision;
  readonly machine: Machine;
  readonly workers = new Set<Worker>();
  /** Instances on their way, by id, with the time of the decision. */
  readonly starting = new Map<string, number>();
  /** First come, first served. */
  readonly line = new Chain<PoolCall>();
  /** Floor under its instances; 0 unless the revision has traffic. */
  min = 0;
  /** False: its traffic went elsewhere. */
  serving = true;
  /** True: dropped from the pool; a later call gets a new fleet. */
  closed = false;
  /** A trial start of it has succeeded: it is a new revision. */
  fresh = false;
  /** Trial starts under way. */
  trials = 0;
  onTrialLog: ((line: string) => void) | undefined;
  /** Failed starts in a row, when the newest was, and when the next may be tried (`clock.monotonic()`). */
  failures = 0;
  failedAt = Number.NEGATIVE_INFINITY;
  notBefore = 0;
  typicalRunMs: number | undefined;
  typicalStartMs: number | undefined;
  /** Its policy is asked at intervals, by the scaler; the four that follow are the scaler's. */
  readonly periodic: boolean;
  /** See `Scaling.spare`. */
  readonly spare: number;
  autoscaler: Autoscaler | undefined;
  /** Counts calls for it. */
  load: CallLoad | undefined;
  /** Instances that there should be, and why; undefined where demand says so. */
  target: number | undefined;
  why = "";
  /** How it is called, for its keep-alive policy; absent where instances are kept for a fixed time. */
  habit: Habit | undefined;
  /** Why no instance is being started for those that wait. */
  obstacle: string | undefined;
  /** True: only time can change what was decided about starts. */
  patient = false;
  lastUsed: number;
  /** Workers with a free slot. A stack: the one used last is used next, so that the others idle out. */
  readonly #open: Worker[] = [];
  /** Calls of instances that are gone, since it was last without any. */
  #formerUses = 0;

  constructor(revision: Revision, machine: Machine) {
    this.key = `${revision.namespace}/${revision.name}@${revision.number}`;
    this.revision = revision;
    this.machine = machine;
    this.periodic = revision.config.scaling.policy !== "demand";
    this.spare = revision.config.scaling.spare ?? 0;
    this.lastUsed = machine.clock.monotonic();
  }

  /** A slot now, or undefined: the call stands in line and hears `granted` or `refused`. Throws `queue_full`, `unavailable`. */
  acquire(call: PoolCall): Worker | undefined {
    if (this.machine.draining) throw shuttingDown();
    const open = this.#open;
    if (open.length > 0) {
      const worker = this.target === undefined ? open[open.length - 1]! : leastBusy(open);
      this.load?.arrive(this.machine.clock.monotonic());
      if (this.habit?.idle === true) this.habit.called(this.machine.clock.monotonic(), false);
      this.#admit(worker, call);
      return worker;
    }
    const limit = this.revision.config.limits.queueLength;
    if (this.line.size >= limit) {
      throw new VirgaError(
        "queue_full",
        `${this.line.size} calls of ${this.revision.name} wait for an instance already`,
        {
          field: "limits.queueLength",
          fix: "Call again later, or raise limits.queueLength, scaling.max or limits.concurrency.",
        },
      );
    }
    this.join(call);
    return undefined;
  }

  /** Into the line, whatever its length. */
  join(call: PoolCall): void {
    call.waitingSince = this.machine.clock.monotonic();
    this.load?.arrive(call.waitingSince);
    // A trial start is no call.
    if (this.habit?.idle === true && this.trials === 0) this.habit.called(call.waitingSince, this.ready === 0);
    this.line.add(call);
    this.machine.hungry(this);
  }

  /** Out of the line again; false where the call did not stand in it. */
  leave(call: PoolCall): boolean {
    if (!this.line.delete(call)) return false;
    this.load?.leave(this.machine.clock.monotonic());
    this.#rest(this.machine.clock.monotonic());
    return true;
  }

  /** A started instance joins and takes from the line. */
  enlist(worker: Worker): void {
    this.workers.add(worker);
    this.failures = 0;
    const { coldStartMs, initMs } = worker.birth;
    this.typicalStartMs = smoothed(this.typicalStartMs, coldStartMs + initMs);
    this.#push(worker);
    while (worker.open && this.line.size > 0) {
      const next = this.#first();
      this.#admit(worker, next);
      next.granted(worker);
    }
    if (worker.state === "ready" && worker.calls.size === 0) this.machine.idle(worker);
  }

  release(worker: Worker, call: PoolCall, runMs: number | undefined): void {
    if (!worker.calls.delete(call)) return;
    const now = this.machine.clock.monotonic();
    worker.served++;
    worker.idleSince = now;
    this.lastUsed = now;
    this.load?.leave(now);
    if (runMs !== undefined) this.typicalRunMs = smoothed(this.typicalRunMs, runMs);
    if (worker.calls.size === 0) this.#rest(now);
    // An idle one goes by what keeping it is worth.
    if (this.machine.crowded && this.line.size > 0 && worker.state === "ready") this.machine.reconsider(worker);
    if (worker.state === "gone") return;
    if (this.line.size > 0 && (worker.state === "ready" || (worker.state === "retiring" && !this.serving))) {
      const next = this.#first();
      worker.calls.add(next);
      next.granted(worker);
    } else if (worker.state === "ready") {
      if (!worker.open) this.#push(worker);
      if (worker.calls.size === 0) this.machine.idle(worker);
    } else if (worker.calls.size === 0) {
      if (worker.state === "condemned") this.machine.stop(worker, "it had to be replaced", 0);
      else this.machine.stop(worker, worker.parting, retireGraceMs);
    }
  }

  /** No new calls for the worker. */
  shut(worker: Worker): void {
    if (!worker.open) return;
    worker.open = false;
    this.#open.splice(this.#open.lastIndexOf(worker), 1);
  }

  /** The worker has died or is being stopped. */
  dismiss(worker: Worker): void {
    this.shut(worker);
    this.workers.delete(worker);
    this.#formerUses = this.workers.size === 0 ? 0 : this.#formerUses + worker.served;
    if (this.line.size > 0) this.machine.hungry(this);
  }

  refuseLine(error: VirgaError, count = Number.POSITIVE_INFINITY): void {
    let left = count;
    for (const call of this.line) {
      if (left <= 0) return;
      left--;
      this.leave(call);
      call.refused(error);
    }
  }

  /** Instances that there should be without a call. */
  get floor(): number {
    return Math.max(this.min, this.target ?? 0);
  }

  /** Instances that serve or could. */
  get ready(): number {
    let ready = 0;
    for (const worker of this.workers) {
      if (worker.state === "ready" || (worker.state === "retiring" && !this.serving)) ready++;
    }
    return ready;
  }

  /** Of those, the ones without a call. */
  get idle(): number {
    let idle = 0;
    for (const worker of this.workers) if (worker.state === "ready" && worker.calls.size === 0) idle++;
    return idle;
  }

  /** Calls since it was last without any instance. */
  get uses(): number {
    let uses = this.#formerUses;
    for (const worker of this.workers) uses += worker.served;
    return uses;
  }

  /** How many of them there should be at the moment. */
  get spareNow(): number {
    return this.spare > 0 && this.serving && this.running > 0 ? this.spare : 0;
  }

  get running(): number {
    let running = 0;
    for (const worker of this.workers) running += worker.calls.size;
    return running;
  }

  get empty(): boolean {
    return this.workers.size === 0 && this.starting.size === 0 && this.line.size === 0 && this.trials === 0;
  }

  /** Notes that no call runs or waits any more, where that is so. */
  #rest(now: number): void {
    if (this.habit?.idle === false && this.line.size === 0 && this.running === 0) this.habit.ended(now);
  }

  #admit(worker: Worker, call: PoolCall): void {
    worker.calls.add(call);
    if (this.spare > 0 && worker.calls.size === 1 && this.trials === 0) this.machine.hungry(this);
    if (worker.calls.size >= worker.capacity) {
      worker.open = false;
      // On the hot path it is the top of the stack.
      if (this.#open[this.#open.length - 1] === worker) this.#open.pop();
      else this.#open.splice(this.#open.lastIndexOf(worker), 1);
    }
  }

  #push(worker: Worker): void {
    worker.open = true;
    this.#open.push(worker);
  }

  #first(): PoolCall {
    const first = this.line.first!;
    this.line.delete(first);
    return first;
  }
}

export function shuttingDown(): VirgaError {
  return new VirgaError("unavailable", "The platform is shutting down", { fix: "Call again in a moment." });
}

/** Where a policy sets the number, calls are shared out: it measures what each has. Of equals the one used last. */
function leastBusy(open: readonly Worker[]): Worker {
  let found = open[open.length - 1]!;
  for (let index = open.length - 2; index >= 0 && found.calls.size > 0; index--) {
    if (open[index]!.calls.size < found.calls.size) found = open[index]!;
  }
  return found;
}
