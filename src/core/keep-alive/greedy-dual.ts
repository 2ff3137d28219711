import type { KeepAliveCost, KeepAlivePolicy } from "./policy.ts";

/**
 * Greedy-Dual as FaasCache applies it to keep-alive (Fuerst and Sharma, ASPLOS 2021): nothing is let go before memory is
 * short; then the function of the lowest priority goes. Priority is the clock at its last use + frequency · cost / size;
 * the clock is the priority of the one that went last, so what is not used grows old against what is.
 */
export const greedyDualPolicy: KeepAlivePolicy<undefined> = {
  name: "greedy-dual",
  begin: () => undefined,
  observe: () => undefined,
  decide: () => forever,
  explain: () => "kept until its memory is needed",
};

/** `frequency`: uses since the function was last without any instance. */
export function priority(clock: number, frequency: number, { memoryMb, startMs }: KeepAliveCost): number {
  return clock + (frequency * Math.max(1, startMs)) / Math.max(1, memoryMb);
}

/** The clock, and what it was when: an instance's priority is of its last use. */
export class GreedyDualClock {
  readonly #changes: { readonly at: number; readonly clock: number }[] = [];
  /** Before the oldest change that is kept. */
  #before = 0;

  /** The one of this priority has gone. */
  gone(priority: number, now: number): void {
    if (priority <= this.at(now)) return;
    this.#changes.push({ at: now, clock: priority });
    if (this.#changes.length > 2 * keptChanges) this.#before = this.#changes.splice(0, keptChanges).at(-1)!.clock;
  }

  at(time: number): number {
    let [low, high] = [0, this.#changes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#changes[middle]!.at <= time) low = middle + 1;
      else high = middle;
    }
    return low > 0 ? this.#changes[low - 1]!.clock : this.#before;
  }
}

const keptChanges = 4096;
const forever = { keepMs: Number.POSITIVE_INFINITY, prewarmMs: Number.POSITIVE_INFINITY };
