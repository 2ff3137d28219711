/** What a fleet's calls have added up to since the last look. Counting a call is a few additions. */
export class CallLoad {
  #inFlight: number;
  #arrived = 0;
  #ended = 0;
  /** Calls in flight times milliseconds, since the last look. */
  #area = 0;
  #changed: number;
  #lookedAt: number;

  /** `now` is `clock.monotonic()` throughout. */
  constructor(inFlight: number, now: number) {
    this.#inFlight = inFlight;
    this.#changed = now;
    this.#lookedAt = now;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  arrive(now: number): void {
    this.#area += this.#inFlight * (now - this.#changed);
    this.#changed = now;
    this.#inFlight++;
    this.#arrived++;
  }

  leave(now: number): void {
    this.#area += this.#inFlight * (now - this.#changed);
    this.#changed = now;
    this.#inFlight--;
    this.#ended++;
  }

  /** Averages and sums since the last look, which this one ends. */
  take(now: number): { readonly concurrency: number; readonly requests: number; readonly completed: number } {
    this.#area += this.#inFlight * (now - this.#changed);
    const lastedMs = now - this.#lookedAt;
    const taken = {
      concurrency: lastedMs > 0 ? this.#area / lastedMs : this.#inFlight,
      requests: this.#arrived,
      completed: this.#ended,
    };
    this.#changed = now;
    this.#lookedAt = now;
    this.#area = 0;
    this.#arrived = 0;
    this.#ended = 0;
    return taken;
  }
}
