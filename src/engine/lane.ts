import { asVirgaError } from "../core/errors.ts";
import type { FunctionId } from "../core/model.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Lease, Queue } from "../ports/queue.ts";
import type { Attempt } from "./attempt.ts";

/** What a lane asks of the dispatcher. */
export interface LaneHost {
  readonly queue: Queue;
  readonly clock: Clock;
  readonly log: Log;
  /** False before the start and from the stop on. */
  readonly open: boolean;
  /** How many more attempts the lane may run now; they count as running until they are given back. */
  reserve(lane: Lane): number;
  giveBack(count: number): void;
  begin(lane: Lane, lease: Lease): void;
}

/** The queued calls of one function: leases them as there is room to run them, so that no function waits behind another's. */
export class Lane {
  readonly id: FunctionId;
  readonly queue: string;
  /** Those that run, and those whose answer is being written down. */
  readonly attempts = new Map<string, Attempt>();
  running = 0;
  readonly #host: LaneHost;
  #pumped = false;
  #leasing = false;
  #again = false;
  #timer: Timer | undefined;

  constructor(host: LaneHost, id: FunctionId) {
    this.#host = host;
    this.id = { namespace: id.namespace, name: id.name };
    this.queue = `async/${id.namespace}/${id.name}`;
  }

  /** There may be something to lease, or room for it. However often it is told so in one turn, it looks once, at the turn's end. */
  pump(): void {
    if (this.#pumped) return;
    this.#pumped = true;
    process.nextTick(look, this);
  }

  /** Looks now. */
  look(): void {
    this.#pumped = false;
    if (this.#leasing) this.#again = true;
    else if (this.#host.open) void this.#lease();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #lease(): Promise<void> {
    this.#leasing = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    try {
      do {
        this.#again = false;
        const wanted = this.#host.reserve(this);
        if (wanted === 0) return;
        if ((await this.#take(wanted)) === wanted) this.#again = true;
      } while (this.#again && this.#host.open);
      if (this.#host.open) await this.#sleep();
    } catch (thrown) {
      this.#host.log.error("queued calls could not be leased", { queue: this.queue, error: asVirgaError(thrown) });
      this.#wake(troubleMs);
    } finally {
      this.#leasing = false;
      // It was told of more while it looked for when to wake.
      if (this.#again && this.#host.open) this.pump();
    }
  }

  async #take(wanted: number): Promise<number> {
    try {
      const leases = await this.#host.queue.lease(this.queue, wanted, leaseMs);
      for (const lease of leases) this.#host.begin(this, lease);
      return leases.length;
    } finally {
      this.#host.giveBack(wanted);
    }
  }

  async #sleep(): Promise<void> {
    const due = await this.#host.queue.nextDueAt(this.queue);
    if (due !== undefined)
      this.#wake(Math.min(longestSleepMs, Math.max(shortestSleepMs, due - this.#host.clock.now())));
  }

  #wake(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#host.clock.after(delayMs, () => {
      this.#timer = undefined;
      this.pump();
    });
  }
}

function look(lane: Lane): void {
  lane.look();
}

/** A lease that its holder does not renew is over after this; renewed three times as often. */
export const leaseMs = 30_000;
/** Leased in one go by one lane. */
export const leaseBatch = 256;
const troubleMs = 1000;
/** A due message that cannot be leased (its key is held) must not spin. */
const shortestSleepMs = 5;
const longestSleepMs = 60_000;
