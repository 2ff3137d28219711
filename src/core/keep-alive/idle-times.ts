import type { KeepAliveCost } from "./policy.ts";

/**
 * How long idle times are, in bins that grow by a fifth: a quarter of an octave each, from 5 s (all that is shorter is bin 0)
 * up to ten days. Seventy-one numbers tell 6 s from 7 s and 6 days from 7.
 */
export function noIdleTimes(): number[] {
  return Array.from({ length: binCount }, () => 0);
}

export function binOf(idleMs: number): number {
  if (idleMs < firstMs) return 0;
  return Math.min(binCount - 1, 1 + Math.floor(binsPerOctave * Math.log2(idleMs / firstMs)));
}

/** Share of the idle times that end before `idleMs`. */
export function shareWithin(bins: readonly number[], idleMs: number): number {
  let within = 0;
  let all = 0;
  for (let bin = 0; bin < binCount; bin++) {
    all += bins[bin]!;
    if (edge(bin + 1) <= idleMs * 1.0001) within += bins[bin]!;
  }
  return all === 0 ? 0 : within / all;
}

export interface Need {
  /** Share of all calls whose idle times these are; a rhythm foresees the others. */
  readonly share: number;
  /** Share of all calls that may come when there is no instance. */
  readonly mayMiss: number;
  /** Mean time from call to call. */
  readonly cycleMs: number;
  readonly cost: KeepAliveCost;
}

/**
 * The parts of an idle time in which an instance is worth having: [from, to, from, to, …] in ms.
 *
 * Having one during a bin costs its length, as often as an idle time gets there, and serves the calls that come in it.
 * Bins are taken in the order of what a served call costs (the inverse of the hazard rate) until few enough are missed.
 * For independent idle times no other choice of the same coverage holds an instance for a shorter time.
 * What is cheap enough is taken in any case; what is too dear is left, missed or not.
 */
export function worthwhile(bins: readonly number[], need: Need): number[] {
  smooth(bins);
  sortByPrice();
  const size = need.cost.memoryMb / 160;
  const cheapMs = (cheapStarts * need.cost.startMs) / size;
  const dearMs = (dearCycles * need.cycleMs) / size;
  const chosen = new Uint8Array(binCount);
  let missed = need.share;
  for (const bin of order) {
    const weight = weights[bin]! * need.share;
    const price = holds[bin]! / weight;
    if (price > cheapMs && (missed <= need.mayMiss || price > dearMs)) break;
    chosen[bin] = 1;
    missed -= weight;
  }
  const parts: number[] = [];
  for (let bin = 0; bin < binCount; bin++) {
    if (chosen[bin] === 0) continue;
    if (parts.at(-1) === edge(bin)) parts[parts.length - 1] = edge(bin + 1);
    else parts.push(edge(bin), edge(bin + 1));
  }
  return parts;
}

/** Works out `weights`, the probability of each bin, and `holds`, for how long it holds an instance on average over all idle times. */
function smooth(bins: readonly number[]): void {
  const counted = bins.reduce((sum, count) => sum + count, 0);
  const aside = counted < 10 ? 0.25 : 0.1;
  const all = counted + unseen;
  let survive = 1;
  for (let bin = 0; bin < binCount; bin++) {
    const near = (bins[bin - 1] ?? bins[bin]!) + (bins[bin + 1] ?? bins[bin]!);
    const weight = ((1 - 2 * aside) * bins[bin]! + aside * near + unseen / binCount) / all;
    weights[bin] = weight;
    // Smoothing may add a hair to 1.
    holds[bin] = (edge(bin + 1) - edge(bin)) * Math.max(weight / 2, survive - weight / 2);
    survive -= weight;
  }
}

/** By insertion: longer idle times are the dearer ones for the most part. */
function sortByPrice(): void {
  for (let bin = 0; bin < binCount; bin++) {
    let at = bin;
    for (; at > 0; at--) {
      const before = order[at - 1]!;
      if (holds[before]! * weights[bin]! <= holds[bin]! * weights[before]!) break;
      order[at] = before;
    }
    order[at] = bin;
  }
}

/** Where a bin begins. */
function edge(bin: number): number {
  return edges[bin]!;
}

const firstMs = 5000;
const binsPerOctave = 4;
const binCount = 71;
const edges = Array.from({ length: binCount + 1 }, (_, bin) =>
  bin === 0 ? 0 : firstMs * 2 ** ((bin - 1) / binsPerOctave),
);
/** Idle times of every length that might have been seen, together worth this many seen ones. */
const unseen = 0.5;
/** Holding an instance of 160 MB for up to 200 times a start is always worth a start saved: 20 s for 100 ms. */
const cheapStarts = 200;
/** Holding it for longer than 60 times the mean time between calls, for one start saved, never is. */
const dearCycles = 60;

/** Of the one that is worked out. */
const weights = new Float64Array(binCount);
const holds = new Float64Array(binCount);
const order = new Uint8Array(binCount);
