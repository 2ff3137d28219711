/** What a policy comes to at one tick. */
export interface Verdict {
  /** Instances that there should be; undefined: as many as there are, since too little is known. */
  readonly desired: number | undefined;
  /** Why, one thought each, in the order in which they were had. */
  readonly reasons: readonly string[];
}

/** A verdict whose reasons are put into words when they are read: of most nobody asks for them. */
export class LazyVerdict implements Verdict {
  readonly desired: number | undefined;
  readonly inWords: () => readonly string[];

  constructor(desired: number | undefined, inWords: () => readonly string[]) {
    this.desired = desired;
    this.inWords = inWords;
  }

  get reasons(): readonly string[] {
    return this.inWords();
  }
}

/** What a policy sees of its function's instances. */
export interface Standing {
  /** Instances that serve or could serve. */
  readonly ready: number;
  /** Instances on their way. */
  readonly starting: number;
  /** Calls that run, and calls that wait for an instance. */
  readonly running: number;
  readonly waiting: number;
}

/** Within the floor and the ceiling; the ceiling wins. */
export function bounded(desired: number, min: number, max: number): number {
  return Math.min(Math.max(desired, min), max);
}

/** A number as it stands in a reason: three digits behind the point at most. */
export function figure(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}

export function instances(count: number): string {
  return count === 1 ? "1 instance" : `${count} instances`;
}

export function seconds(ms: number): string {
  return `${figure(ms / 1000)} s`;
}
