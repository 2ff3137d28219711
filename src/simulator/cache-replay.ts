import { priority } from "../core/keep-alive/greedy-dual.ts";
import { Heap } from "./heap.ts";
import { emptyOutcome, type Outcome, Waits } from "./replay.ts";
import { type Application, dayMs, type DayOfCalls } from "./trace.ts";

/**
 * Drives Greedy-Dual over a trace: applications share `memoryMb`, and what is held goes only where it is short.
 * All calls are taken in order of their minute. Where all that is held is busy, memory is exceeded.
 */
export class CacheReplay {
  readonly outcome: Outcome;
  readonly waits = new Waits();
  readonly #applications: readonly Application[];
  readonly #memoryMb: number;
  readonly #busyUntil: Float64Array;
  readonly #frequency: Float64Array;
  readonly #priority: Float64Array;
  readonly #heap: Heap;
  #usedMb = 0;
  #clock = 0;

  constructor(applications: readonly Application[], memoryMb: number) {
    this.#applications = applications;
    this.#memoryMb = memoryMb;
    this.outcome = emptyOutcome(applications.length);
    this.#busyUntil = new Float64Array(applications.length).fill(-1);
    // 0: it holds nothing.
    this.#frequency = new Float64Array(applications.length);
    this.#priority = new Float64Array(applications.length);
    this.#heap = new Heap();
  }

  day(index: number, day: DayOfCalls): void {
    const { from, at, calls, gapMs, runMs } = day;
    const owner = new Uint32Array(from.at(-1)!);
    for (let application = 0; application < this.#applications.length; application++) {
      owner.fill(application, from[application], from[application + 1]);
    }
    for (const entry of byMinute(at, owner.length)) {
      this.#entry(owner[entry]!, index * dayMs + at[entry]!, calls[entry]!, gapMs[entry]!, runMs[entry]!);
    }
  }

  finish(end: number): void {
    for (let application = 0; application < this.#applications.length; application++) {
      const idleFrom = this.#busyUntil[application]!;
      if (this.#frequency[application]! > 0 && idleFrom < end) this.outcome.idleMs[application]! += end - idleFrom;
    }
  }

  #entry(application: number, at: number, calls: number, gapMs: number, runMs: number): void {
    const { outcome } = this;
    const one = this.#applications[application]!;
    const idleFrom = this.#busyUntil[application]!;
    const there = this.#frequency[application]! > 0;
    const wait = there ? 0 : one.startMs;
    if (there) outcome.idleMs[application]! += Math.max(0, at - idleFrom);
    else {
      outcome.cold[application]!++;
      this.#makeRoom(one.memoryMb, at);
      this.#usedMb += one.memoryMb;
    }
    this.#frequency[application]! += calls;
    const rank = priority(this.#clock, this.#frequency[application]!, one);
    this.#priority[application] = rank;
    if (!there) this.#heap.push(rank, application);
    const last = at + wait + (calls - 1) * gapMs;
    this.#busyUntil[application] = Math.max(idleFrom, last + runMs);
    const inside = Math.max(0, gapMs - runMs) * (calls - 1);
    outcome.idleMs[application]! += inside;
    outcome.busyMs[application]! += runMs + (calls - 1) * gapMs - inside;
    outcome.calls[application]! += calls;
    this.waits.add(wait, runMs, 1);
    if (calls > 1) this.waits.add(0, runMs, calls - 1);
  }

  #makeRoom(memoryMb: number, at: number): void {
    const busy: number[] = [];
    while (this.#usedMb + memoryMb > this.#memoryMb) {
      const key = this.#heap.least();
      if (key === undefined) break;
      const application = this.#heap.pop();
      // It was used since: its place in the heap is an old, lower one.
      if (key < this.#priority[application]!) this.#heap.push(this.#priority[application]!, application);
      else if (this.#busyUntil[application]! > at) busy.push(application);
      else {
        this.#clock = key;
        this.outcome.idleMs[application]! += at - this.#busyUntil[application]!;
        this.#frequency[application] = 0;
        this.#usedMb -= this.#applications[application]!.memoryMb;
      }
    }
    for (const application of busy) this.#heap.push(this.#priority[application]!, application);
  }
}

/** Entries in order of their minute; a counting sort. */
function byMinute(at: Uint32Array, length: number): Uint32Array {
  const starts = new Uint32Array(minutes + 1);
  const minuteOf = (entry: number): number => Math.min(minutes - 1, Math.floor(at[entry]! / 60_000));
  for (let entry = 0; entry < length; entry++) starts[minuteOf(entry) + 1]!++;
  for (let minute = 0; minute < minutes; minute++) starts[minute + 1]! += starts[minute]!;
  const order = new Uint32Array(length);
  for (let entry = 0; entry < length; entry++) order[starts[minuteOf(entry)]!++] = entry;
  return order;
}

const minutes = 1440;
