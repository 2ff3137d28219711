/** Values of one metric, one for each second, over a sliding window. A second without a value has 0. */
export class Series {
  readonly #values: Float64Array;
  #last = Number.NEGATIVE_INFINITY;
  #first = Number.NEGATIVE_INFINITY;

  constructor(windowMs: number) {
    this.#values = new Float64Array(Math.max(1, Math.ceil(windowMs / secondMs)));
  }

  /** The newest of a second replaces the others. `now` does not fall. */
  record(now: number, value: number): void {
    const second = Math.floor(now / secondMs);
    const { length } = this.#values;
    if (second - this.#last >= length) this.#values.fill(0);
    else for (let skipped = this.#last + 1; skipped <= second; skipped++) this.#values[skipped % length] = 0;
    // After a silence as long as the window nothing is known of the time before.
    if (!(second - this.#last < length)) this.#first = second;
    this.#values[second % length] = value;
    this.#last = second;
  }

  /** The newest value; 0 where there is none. */
  get latest(): number {
    return this.#last === Number.NEGATIVE_INFINITY ? 0 : this.#values[this.#last % this.#values.length]!;
  }

  sum(windowMs: number): number {
    let sum = 0;
    for (const value of this.#newest(windowMs)) sum += value;
    return sum;
  }

  /** Over the seconds that were heard of, so that a young function's average is not thinned by the time before it. */
  average(windowMs: number): number {
    const heard = this.heard(windowMs);
    return heard === 0 ? 0 : this.sum(windowMs) / heard;
  }

  max(windowMs: number): number {
    let most = Number.NEGATIVE_INFINITY;
    for (const value of this.#newest(windowMs)) most = Math.max(most, value);
    return most === Number.NEGATIVE_INFINITY ? 0 : most;
  }

  min(windowMs: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (const value of this.#newest(windowMs)) least = Math.min(least, value);
    return least === Number.POSITIVE_INFINITY ? 0 : least;
  }

  /** Seconds of the window of which something is known. */
  heard(windowMs: number): number {
    if (this.#last === Number.NEGATIVE_INFINITY) return 0;
    return Math.min(Math.ceil(windowMs / secondMs), this.#values.length, this.#last - this.#first + 1);
  }

  *#newest(windowMs: number): Iterable<number> {
    const heard = this.heard(windowMs);
    const { length } = this.#values;
    for (let back = 0; back < heard; back++) yield this.#values[(this.#last - back) % length]!;
  }
}

const secondMs = 1000;
