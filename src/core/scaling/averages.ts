/** The average of a load over a sliding window of seconds. */
export interface WindowAverage {
  /** Adds to what was recorded in the same second. What is older than the window is dropped. */
  record(now: number, value: number): void;
  /** As recording 0 in each second after the last one up to `now`. */
  silence(now: number): void;
  average(now: number): number;
  /** Until when it is above 0 while nothing is added; `undefined`: hard to tell, as what was recorded is next to nothing. */
  clearAt(): number | undefined;
  /** Whether nothing was recorded within the window. */
  empty(now: number): boolean;
}

/**
 * Knative's windows (`pkg/autoscaler/aggregation`): a sum for each second, and
 * - `linear`: their mean. Seconds before the first record do not count, nor those since the last one: an average is
 *   over what was heard. A gap between two records counts as nothing. After a silence as long as the window it begins anew.
 * - `weighted-exponential`: each second counts for a fixed share less than the one after it; silence weighs nothing.
 *
 * The order of additions is the reference's, so that results are the same to the last bit; but for the weights of windows
 * shorter than 42 s, whose last bit hangs on the host's exponential function, in the reference too.
 */
export function windowAverage(kind: "linear" | "weighted-exponential", windowMs: number): WindowAverage {
  return kind === "linear" ? new LinearAverage(windowMs) : new WeightedAverage(windowMs);
}

class LinearAverage implements WindowAverage {
  protected readonly buckets: Float64Array;
  /** In seconds since the epoch of `now`. */
  protected last = Number.NEGATIVE_INFINITY;
  /** Its bucket; those of the seconds before it stand before it, around the end. */
  protected newest = 0;
  #first: number | undefined;
  #total = 0;
  /** The last second with anything in it. */
  #loud = Number.NEGATIVE_INFINITY;
  readonly #window: number;

  constructor(windowMs: number) {
    this.#window = windowMs / bucketMs;
    this.buckets = new Float64Array(Math.ceil(this.#window));
  }

  record(now: number, value: number): void {
    const second = Math.floor(now / bucketMs);
    const { buckets } = this;
    if (second + this.#window <= this.last) return;
    this.#first = this.#first === undefined ? second : Math.min(this.#first, second);
    if (second > this.last) {
      if (second - this.last >= this.#window) {
        this.#first = second;
        this.#total = 0;
        buckets.fill(0);
      } else this.#drop(second);
      this.last = second;
    }
    buckets[second === this.last ? this.newest : this.#bucketOf(second)]! += value;
    this.#total += value;
    if (value !== 0) this.#loud = second;
  }

  silence(now: number): void {
    const second = Math.floor(now / bucketMs);
    // A window later all is dropped.
    this.#drop(Math.min(second, this.last + this.buckets.length));
    this.last = second;
  }

  clearAt(): number | undefined {
    if (this.last - this.#loud >= this.buckets.length) return undefined;
    const least = this.buckets[this.#bucketOf(this.#loud)]! / this.#window;
    return least < roundedTo ? undefined : (this.#loud + this.#window) * bucketMs;
  }

  /** What the seconds up to `second` take the place of. */
  #drop(second: number): void {
    const { buckets } = this;
    for (let skipped = this.last + 1; skipped <= second; skipped++) {
      this.newest = this.newest + 1 === buckets.length ? 0 : this.newest + 1;
      this.#total -= buckets[this.newest]!;
      buckets[this.newest] = 0;
    }
  }

  /** Of a second that is not after the last one, nor out of the window. */
  #bucketOf(second: number): number {
    const at = this.newest - (this.last - second);
    return at < 0 ? at + this.buckets.length : at;
  }

  average(now: number): number {
    const second = Math.floor(now / bucketMs);
    const silent = Math.max(0, second - this.last);
    if (silent >= this.#window) return 0;
    let total = this.#total;
    let oldest = this.newest;
    for (let outdated = 0; outdated < silent; outdated++) {
      oldest = oldest + 1 === this.buckets.length ? 0 : oldest + 1;
      total -= this.buckets[oldest]!;
    }
    const heard = Math.min(this.last - this.#first! + 1, this.buckets.length - silent);
    return rounded(total / heard);
  }

  empty(now: number): boolean {
    return Math.floor(now / bucketMs) - this.last > this.#window;
  }
}

class WeightedAverage extends LinearAverage {
  readonly #share: number;

  constructor(windowMs: number) {
    super(windowMs);
    this.#share = newestShare(this.buckets.length);
  }

  override average(now: number): number {
    if (this.empty(now)) return 0;
    const { buckets } = this;
    const silent = Math.max(0, Math.floor(now / bucketMs) - this.last);
    let weight = this.#share * power(1 - this.#share, silent);
    let sum = 0;
    for (let back = 0; back < buckets.length - silent; back++) {
      const at = this.newest - back;
      sum += buckets[at < 0 ? at + buckets.length : at]! * weight;
      weight *= 1 - this.#share;
    }
    return sum;
  }
}

/** So that all seconds together weigh 99.99 %, but never less than a fifth for the newest. */
function newestShare(seconds: number): number {
  return Math.max(1 - 0.0001 ** (1 / seconds), 0.2);
}

/** By repeated squaring, which is how the reference's library comes to its last bit. */
function power(base: number, exponent: number): number {
  let result = 1;
  for (let square = base, left = exponent; left > 0; left = Math.floor(left / 2), square *= square) {
    if (left % 2 === 1) result *= square;
  }
  return result;
}

/** To six digits, halves away from zero. */
function rounded(value: number): number {
  return (Math.sign(value) * Math.round(Math.abs(value) * 1e6)) / 1e6;
}

const roundedTo = 1e-6;

const bucketMs = 1000;
