import { setImmediate } from "node:timers/promises";
import type { Chance, Clock, Timer } from "../../src/ports/clock.ts";

/** Time that passes when a test says so. */
export class ManualClock implements Clock {
  #time = 1_700_000_000_000;
  #timers: { at: number; order: number; action: () => void }[] = [];
  #order = 0;

  now(): number {
    return Math.floor(this.#time);
  }

  monotonic(): number {
    return this.#time - 1_700_000_000_000;
  }

  after(delayMs: number, action: () => void): Timer {
    const timer = { at: this.#time + delayMs, order: this.#order++, action };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Lets `ms` pass: each timer at its time, and what follows from it before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#time + ms;
    await settle();
    for (;;) {
      const [next] = this.#timers.sort((a, b) => a.at - b.at || a.order - b.order);
      if (next === undefined || next.at > end) break;
      this.#timers.shift();
      this.#time = Math.max(this.#time, next.at);
      next.action();
      await settle();
    }
    this.#time = end;
    await settle();
  }

  get pending(): number {
    return this.#timers.length;
  }
}

/** What is under way without time passing comes to rest. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await setImmediate();
}

/** The same numbers each time. */
export function seededChance(seed = 1): Chance {
  let state = seed;
  const random = (): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
  return { random, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(random() * 256)) };
}
