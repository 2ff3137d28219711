/**
 * How long an idle instance is kept, and which one is given up first where memory is short.
 */
export interface IdleInstance {
  readonly idleMs: number;
  readonly keepAliveMs: number;
  /** Instances of its function that serve, this one included, and the floor under them. */
  readonly ready: number;
  readonly min: number;
}

/** The reason to stop it, or undefined where it stays. */
export function reasonToStop(instance: IdleInstance): string | undefined {
  if (instance.ready <= instance.min) return undefined;
  return instance.idleMs >= instance.keepAliveMs ? `idle for ${instance.keepAliveMs} ms` : undefined;
}

/**
 * Whether an idle instance may be given up for another function. One that has an instance already takes none that was at work a
 * moment ago: that one would only have to start again, and take another's in its turn, while the line may be served meanwhile.
 */
export function mayBeTaken(idleMs: number, takerHas: number): boolean {
  return takerHas === 0 || idleMs >= freshMs;
}

/** Longer than any start by far. */
const freshMs = 1000;

/**
 * Instances whose policy ranks them itself stand in the order of its priorities, on the places that they hold among all by their
 * worth: the two are on different scales.
 */
export function inOrderOfPriority<T extends { readonly worth: number; readonly priority?: number }>(
  all: readonly T[],
): T[] {
  const ranked = all.filter(({ priority }) => priority !== undefined).sort((a, b) => a.priority! - b.priority!);
  const places = ranked.map(({ worth }) => worth).sort((a, b) => a - b);
  const others = all.filter(({ priority }) => priority === undefined);
  return [...others, ...ranked.map((one, index) => ({ ...one, worth: places[index]! }))];
}

export interface KeptInstance {
  readonly idleMs: number;
  readonly memoryMb: number;
  /** What a start of its function takes. */
  readonly startMs: number;
  /** Calls that it has served, and for how long it has been there. */
  readonly served: number;
  readonly ageMs: number;
}

/**
 * What keeping the instance is worth: the start time that it saves for each MB it holds, weighed by how often it is used
 * and how lately (the Greedy-Dual rule of web caches, as FaasCache applies it to keep-alive). The least is given up first.
 */
export function worthOfKeeping(instance: KeptInstance): number {
  const callsPerSecond = (1000 * (instance.served + 1)) / (instance.ageMs + 1000);
  const recency = 1000 / (1000 + instance.idleMs);
  return (callsPerSecond * recency * Math.max(1, instance.startMs)) / Math.max(1, instance.memoryMb);
}
