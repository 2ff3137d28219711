/** What a policy comes to at one tick. */
export interface Verdict {
  /** Instances that there should be; undefined: as many as there are, since too little is known. */
  readonly desired: number | undefined;
  /** Why, one thought each, in the order in which they were had. */
  readonly reasons: readonly string[];
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
