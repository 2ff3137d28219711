import { asVirgaError } from "../core/errors.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Lease, Queue } from "../ports/queue.ts";

/** What is due, as its message says. */
export interface Due {
  readonly namespace: string;
  readonly run: string;
  readonly ref: string;
  readonly kind: "timer" | "event" | "deadline";
}

/** Timers of workflow runs: messages of a queue that become deliverable when they are due. A message goes when its run knows. */
export class WorkflowTimers {
  readonly #queue: Queue;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fire: (due: Due) => Promise<void>;
  #open = false;
  #leasing: Promise<void> | undefined;
  #again = false;
  #timer: Timer | undefined;

  constructor(options: { queue: Queue; clock: Clock; log: Log; fire: (due: Due) => Promise<void> }) {
    this.#queue = options.queue;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#fire = options.fire;
  }

  /** Durable when it resolves; a timer of the same `ref` is set once. `at`: milliseconds since the epoch. */
  async set(due: Due, at: number): Promise<void> {
    const delayMs = Math.max(0, at - this.#clock.now());
    await this.#queue.enqueue(timers, { id: due.ref, body: Buffer.from(JSON.stringify(due)), delayMs });
    this.#pump();
  }

  async cancel(ref: string): Promise<void> {
    await this.#queue.cancel(timers, ref);
  }

  async start(): Promise<void> {
    this.#open = true;
    // The leases of the process before this one are nobody's any more.
    await this.#queue.reclaim?.(timers);
    this.#pump();
  }

  async stop(): Promise<void> {
    this.#open = false;
    this.#timer?.cancel();
    await this.#leasing;
  }

  #pump(): void {
    this.#again = true;
    if (!this.#open || this.#leasing !== undefined) return;
    this.#leasing = this.#lease().finally(() => {
      this.#leasing = undefined;
      if (this.#again && this.#open) this.#pump();
    });
  }

  async #lease(): Promise<void> {
    this.#timer?.cancel();
    try {
      while (this.#again && this.#open) {
        this.#again = false;
        const leases = await this.#queue.lease(timers, batch, leaseMs);
        await Promise.all(leases.map((lease) => this.#due(lease)));
        if (leases.length === batch) this.#again = true;
      }
      const due = await this.#queue.nextDueAt(timers);
      if (due !== undefined) this.#wake(Math.min(longestSleepMs, Math.max(shortestSleepMs, due - this.#clock.now())));
    } catch (thrown) {
      this.#log.error("timers of workflows could not be read; trying again", { error: asVirgaError(thrown) });
      this.#wake(troubleMs);
    }
  }

  async #due(lease: Lease): Promise<void> {
    try {
      await this.#fire(JSON.parse(Buffer.from(lease.body).toString("utf8")) as Due);
      await this.#queue.settle(timers, lease.receipt, { rememberMs: rememberTimersMs });
    } catch (thrown) {
      this.#log.error("a timer of a workflow could not fire; trying again", { error: asVirgaError(thrown) });
      await this.#queue.release(timers, lease.receipt, troubleMs);
    }
  }

  #wake(delayMs: number): void {
    if (!this.#open) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(delayMs, () => this.#pump());
  }
}

const timers = "workflow-timers";
const batch = 256;
const leaseMs = 30_000;
/** Set again after a restart only while its run waits for it, which it does not once it has fired. */
const rememberTimersMs = 60_000;
const troubleMs = 1000;
const shortestSleepMs = 5;
const longestSleepMs = 60_000;
