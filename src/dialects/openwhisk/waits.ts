import { Chain, type Chained } from "../../engine/chain.ts";
import type { Clock, Timer } from "../../ports/clock.ts";

/**
 * Timers of calls that mostly end long before: the long ones are looked at a few times a second, all together, and cost next to
 * nothing to make and to cancel.
 */
export class Waits {
  readonly #clock: Clock;
  readonly #open = new Chain<Wait>();
  #ticking = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `expired` after `delayMs`, or up to a quarter of a second later. */
  after(delayMs: number, expired: () => void): Timer {
    if (delayMs < exactMs) return this.#clock.after(delayMs, expired);
    const wait = new Wait(this.#open, this.#clock.monotonic() + delayMs, expired);
    this.#open.add(wait);
    if (!this.#ticking) this.#tick();
    return wait;
  }

  #look(): void {
    const now = this.#clock.monotonic();
    for (const wait of this.#open) {
      if (wait.due > now) continue;
      wait.cancel();
      wait.expired();
    }
    this.#ticking = false;
    if (this.#open.size > 0) this.#tick();
  }

  #tick(): void {
    this.#ticking = true;
    this.#clock.after(tickMs, () => this.#look());
  }
}

class Wait implements Timer, Chained<Wait> {
  chain: object | undefined = undefined;
  nextInChain: Wait | undefined = undefined;
  previousInChain: Wait | undefined = undefined;
  readonly due: number;
  readonly expired: () => void;
  readonly #open: Chain<Wait>;

  constructor(open: Chain<Wait>, due: number, expired: () => void) {
    this.#open = open;
    this.due = due;
    this.expired = expired;
  }

  cancel(): void {
    this.#open.delete(this);
  }
}

const tickMs = 250;
/** Shorter ones are kept to the millisecond. */
const exactMs = 5000;
