/** Values of one metric, one for each second, over a sliding window. A second without a value has 0. */
export class Series {
  readonly #values: Float64Array;
  #last = Number.NEGATIVE_INFINITY;
  /** Where the value of the last second stands; those before it stand before it, around the end. */
  #newest = 0;
  #first = Number.NEGATIVE_INFINITY;

  constructor(windowMs: number) {
    this.#values = new Float64Array(Math.max(1, Math.ceil(windowMs / secondMs)));
  }

  /** The newest of a second replaces the others. `now` does not fall. */
  record(now: number, value: number): void {
    const second = Math.floor(now / secondMs);
    const { length } = this.#values;
    if (second - this.#last >= length) this.#values.fill(0);
    else {
      for (let skipped = this.#last + 1; skipped <= second; skipped++) {
        this.#newest = this.#newest + 1 === length ? 0 : this.#newest + 1;
        this.#values[this.#newest] = 0;
      }
    }
    // After a silence as long as the window nothing is known of the time before.
    if (!(second - this.#last < length)) this.#first = second;
    this.#values[this.#newest] = value;
    this.#last = second;
  }

  /** The newest value; 0 where there is none. */
  get latest(): number {
    return this.#last === Number.NEGATIVE_INFINITY ? 0 : this.#values[this.#newest]!;
  }

  sum(windowMs: number): number {
    let sum = 0;
    for (let back = 0, heard = this.heard(windowMs); back < heard; back++) sum += this.#before(back);
    return sum;
  }

  /** Over the seconds that were heard of, so that a young function's average is not thinned by the time before it. */
  average(windowMs: number): number {
    const heard = this.heard(windowMs);
    return heard === 0 ? 0 : this.sum(windowMs) / heard;
  }

  max(windowMs: number): number {
    let most = Number.NEGATIVE_INFINITY;
    for (let back = 0, heard = this.heard(windowMs); back < heard; back++) most = Math.max(most, this.#before(back));
    return most === Number.NEGATIVE_INFINITY ? 0 : most;
  }

  min(windowMs: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (let back = 0, heard = this.heard(windowMs); back < heard; back++) least = Math.min(least, this.#before(back));
    return least === Number.POSITIVE_INFINITY ? 0 : least;
  }

  /** Seconds of the window of which something is known. */
  heard(windowMs: number): number {
    if (this.#last === Number.NEGATIVE_INFINITY) return 0;
    return Math.min(Math.ceil(windowMs / secondMs), this.#values.length, this.#last - this.#first + 1);
  }

  /** So many seconds before the last one. */
  #before(seconds: number): number {
    const at = this.#newest - seconds;
    return this.#values[at < 0 ? at + this.#values.length : at]!;
  }
}

const secondMs = 1000;
