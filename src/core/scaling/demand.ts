/**
 * When instances are started and stopped. Pure: (state, now) in, a decision with its reason out.
 */
export interface DemandState {
  /** Calls that wait for an instance. */
  readonly waiting: number;
  /** How long the first of them has waited. */
  readonly oldestWaitMs: number;
  /** Instances that serve or could serve. */
  readonly ready: number;
  /** Instances on their way. */
  readonly starting: number;
  /** Calls that one instance serves at the same time. */
  readonly concurrency: number;
  readonly min: number;
  readonly max: number;
  /** Instances without a call. */
  readonly idle: number;
  /** Of those, how many there should be while others have calls; 0 where none have. */
  readonly spare: number;
  /** Failed starts in a row. */
  readonly failures: number;
  /** What a call takes of late; undefined before the first one ended. */
  readonly typicalRunMs: number | undefined;
  /** What a start takes of late; undefined before the first one. */
  readonly typicalStartMs: number | undefined;
}

export interface ScaleDecision {
  /** Instances to start now. */
  readonly start: number;
  readonly reason: string;
}

/**
 * Enough instances for every waiting call at once, unless those that are there will have served the line before
 * a start could help: a burst of 1 ms calls needs no 60 ms start. A line that outlasts a start gets its instances anyway.
 */
export function decideStarts(state: DemandState): ScaleDecision {
  const present = state.ready + state.starting;
  const missing = state.min - present;
  const room = state.max - present;
  if (state.failures > 0 && state.starting > 0) {
    return { start: 0, reason: "the last start failed: one at a time until one succeeds" };
  }
  const most = state.failures > 0 ? 1 : Number.POSITIVE_INFINITY;
  if (state.waiting === 0) {
    if (missing > 0) return { start: Math.min(missing, most), reason: `min is ${state.min}` };
    const there = state.idle + state.starting;
    const spare = Math.min(state.spare - there, room, most);
    if (spare > 0) return { start: spare, reason: `${there} of ${state.spare} to spare` };
    return { start: 0, reason: "no call waits" };
  }
  const needed = Math.ceil(state.waiting / state.concurrency) - state.starting;
  if (needed <= 0 && missing <= 0)
    return { start: 0, reason: `${state.starting} on the way for ${calls(state.waiting)}` };
  if (room <= 0) return { start: 0, reason: `max of ${state.max} reached, ${calls(state.waiting)} waiting` };
  if (state.ready > 0 && missing <= 0 && state.typicalRunMs !== undefined) {
    const startMs = state.typicalStartMs ?? assumedStartMs;
    const lineMs = (state.waiting * state.typicalRunMs) / (state.ready * state.concurrency);
    if (lineMs < startMs && state.oldestWaitMs < startMs) {
      return {
        start: 0,
        reason: `${calls(state.waiting)} will be served in ${round(lineMs)} ms, a start takes ${round(startMs)} ms`,
      };
    }
  }
  const start = Math.min(Math.max(needed, missing), room, most);
  return { start, reason: `${calls(state.waiting)} waiting, ${state.concurrency} at a time in each instance` };
}

/** A moving average in which the newest counts an eighth, as TCP weighs round trips (RFC 6298). */
export function smoothed(average: number | undefined, sample: number): number {
  return average === undefined ? sample : average + (sample - average) / 8;
}

/** Pause before the next start after `failures` failed ones in a row: 0.2 s, doubling to 10 s. */
export function startBackoffMs(failures: number): number {
  return failures === 0 ? 0 : Math.min(10_000, 100 * 2 ** Math.min(failures, 16));
}

/** Failed starts in a row after which the whole line is told, not only those whose start it was. */
export const startFailuresToGiveUp = 3;

/** A start of an unknown function; python's is about this. */
const assumedStartMs = 100;

function calls(count: number): string {
  return count === 1 ? "1 call" : `${count} calls`;
}

function round(ms: number): number {
  return ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms);
}
