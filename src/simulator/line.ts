import { Ring } from "./ring.ts";
import type { Stretch } from "./stretch.ts";

/** Calls that wait for an instance, in the order in which they came. */
export class Line {
  readonly #cameAt = new Ring();
  readonly #runMs = new Ring();
  readonly #of: (Stretch | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#cameAt.length;
  }

  push(cameAt: number, runMs: number, stretch: Stretch | undefined): void {
    this.#cameAt.push(cameAt);
    this.#runMs.push(runMs);
    this.#of.push(stretch);
  }

  /** When the first one came; `Infinity` where there is none. */
  firstAt(): number {
    return this.#cameAt.first();
  }

  firstRunMs(): number {
    return this.#runMs.first();
  }

  firstOf(): Stretch | undefined {
    return this.#of[this.#head];
  }

  shift(): void {
    this.#cameAt.shift();
    this.#runMs.shift();
    this.#head++;
    if (this.length === 0) this.#of.length = this.#head = 0;
    else if (this.#head > 1024) {
      this.#of.splice(0, this.#head);
      this.#head = 0;
    }
  }
}
