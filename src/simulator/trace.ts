/**
 * Who calls what, when. A trace is read a day at a time, as the Azure data set comes in a file per day: two weeks of
 * 50,000 functions do not fit into memory as single calls.
 */
export interface Trace {
  readonly applications: readonly Application[];
  readonly days: number;
  /** Days are asked for in order, from 0, once each. The arrays are the trace's own: valid until the next day is asked for. */
  day(index: number): DayOfCalls;
}

/** The unit that is warm or cold and that holds memory: what Azure calls a function app; one of our functions where each is alone. */
export interface Application {
  readonly name: string;
  readonly functions: number;
  readonly memoryMb: number;
  /** What a cold start of it takes. */
  readonly startMs: number;
}

/** Calls of one day, those of application `i` at `from[i]` up to `from[i + 1]`, each in order of time. */
export interface DayOfCalls {
  readonly from: Uint32Array;
  /** Milliseconds since the start of the day. */
  readonly at: Uint32Array;
  /** 1, or how many calls follow each other with `gapMs` between their starts: a hot stretch is one entry. */
  readonly calls: Uint32Array;
  /** Start to start, at most `longestGapMs`; 0 for single calls. */
  readonly gapMs: Float32Array;
  readonly runMs: Float32Array;
}

export const dayMs = 86_400_000;

/** Inside an entry of many calls no policy would release between two of them. */
export const longestGapMs = 5000;

/** Collects the calls of a day; its arrays grow and are used again. */
export class DayBuilder {
  #from: Uint32Array<ArrayBuffer>;
  #at = new Uint32Array(1 << 16);
  #calls = new Uint32Array(1 << 16);
  #gapMs = new Float32Array(1 << 16);
  #runMs = new Float32Array(1 << 16);
  #length = 0;
  #application = 0;

  constructor(applications: number) {
    this.#from = new Uint32Array(applications + 1);
  }

  begin(): void {
    this.#length = 0;
    this.#application = 0;
  }

  /** To the application that is filled now. */
  add(at: number, calls: number, gapMs: number, runMs: number): void {
    if (this.#length === this.#at.length) this.#grow();
    const index = this.#length++;
    this.#at[index] = at;
    this.#calls[index] = calls;
    this.#gapMs[index] = gapMs;
    this.#runMs[index] = runMs;
  }

  /** The application's calls are all there: the next `add` is for the next one. Puts them in order where they are not. */
  next(): void {
    const start = this.#from[this.#application]!;
    this.#sort(start);
    this.#from[++this.#application] = this.#length;
  }

  day(): DayOfCalls {
    return { from: this.#from, at: this.#at, calls: this.#calls, gapMs: this.#gapMs, runMs: this.#runMs };
  }

  /** Insertion where it is nearly sorted, which merged streams are for the most part; by index where it is not. */
  #sort(start: number): void {
    const at = this.#at;
    let sorted = true;
    for (let index = start + 1; index < this.#length && sorted; index++) sorted = at[index - 1]! <= at[index]!;
    if (sorted) return;
    const order = Array.from({ length: this.#length - start }, (_, index) => start + index);
    order.sort((left, right) => at[left]! - at[right]!);
    for (const column of [this.#at, this.#calls, this.#gapMs, this.#runMs]) {
      const copy = column.slice(start, this.#length);
      for (let index = 0; index < order.length; index++) column[start + index] = copy[order[index]! - start]!;
    }
  }

  #grow(): void {
    const size = this.#at.length * 2;
    this.#at = grown(this.#at, new Uint32Array(size));
    this.#calls = grown(this.#calls, new Uint32Array(size));
    this.#gapMs = grown(this.#gapMs, new Float32Array(size));
    this.#runMs = grown(this.#runMs, new Float32Array(size));
  }
}

function grown<T extends Uint32Array | Float32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
