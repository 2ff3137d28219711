import { binOf, noIdleTimes, shareWithin, worthwhile } from "./idle-times.ts";
import { duration, type KeepAlivePolicy, shortestKeepMs } from "./policy.ts";
import { noRhythms, observeRhythms, type Rhythms, rhythmPeriod, rhythmWindow, slotCount } from "./rhythm.ts";

/**
 * Learns how a function is called, and has an instance there when it is worth it:
 * - Each function has a budget of cold starts, a share of its calls. One that has had more of them than that is kept
 *   longer until it is within its budget again; one that has had fewer lets memory go sooner.
 * - Periods in its calls are followed to the second (see `Rhythms`): an instance is made just before a call is due.
 * - For the other calls it has an instance in those parts of an idle time that serve most calls for the time that
 *   memory is held (see `worthwhile`), which need not be its beginning.
 * - Until it knows more, it expects the next call an hour, 6, 12 or 24 hours, or a week after the last to the second.
 */
export function learnedPolicy(coldShare: number = defaultColdShare): KeepAlivePolicy<LearnedState> {
  return {
    name: "learned",

    begin: (now) => ({
      bins: noIdleTimes(),
      rhythms: noRhythms(now),
      odd: 1,
      calls: 1,
      cold: 1,
      firstAt: now,
      lastAt: now,
      plannedAt: 0,
      parts: [],
    }),

    observe(state, idleMs, now, times, cold) {
      state.calls += times;
      if (cold) state.cold++;
      state.lastAt = now;
      if (idleMs < shortestKeepMs) {
        // It is there for these whatever is decided.
        state.bins[0]! += times;
      } else if (observeRhythms(state.rhythms, now)) {
        state.odd /= 2;
      } else {
        state.odd += (1 - state.odd) / 5;
        state.bins[binOf(idleMs)]! += times;
      }
      while (state.calls > mostCalls) fade(state, now);
    },

    decide(state, idleMs, now, cost) {
      if (state.calls > state.plannedAt * 1.05 || state.calls < state.plannedAt) {
        state.plannedAt = state.calls;
        const horizon = Math.max(10, state.calls / 10);
        const left = (coldShare * (state.calls + horizon) - state.cold) / horizon;
        state.parts = worthwhile(state.bins, {
          share: state.odd,
          mayMiss: Math.min(mostMissed, Math.max(leastMissed, left)),
          cycleMs: state.calls < newCalls ? newCycleMs : Math.max(1000, (now - state.firstAt) / state.calls),
          cost,
        });
      }
      const began = now - idleMs;
      const lead = 1.5 * cost.startMs;
      // What is hardly longer than a start is not worth letting go for.
      const slack = 3 * cost.startMs + 500;
      let keepMs = idleMs > 0 ? idleMs : shortestKeepMs;
      let prewarmMs = Number.POSITIVE_INFINITY;
      // True: the part reaches into what is kept already, and prolongs it.
      const joins = (fromMs: number, toMs: number): boolean => {
        if (toMs <= keepMs) return false;
        if (fromMs > keepMs + slack) {
          prewarmMs = Math.min(prewarmMs, fromMs);
          return false;
        }
        keepMs = toMs;
        return true;
      };
      for (let prolonged = true; prolonged;) {
        prolonged = false;
        prewarmMs = Number.POSITIVE_INFINITY;
        for (let part = 0; part < state.parts.length; part += 2) {
          if (joins(state.parts[part]! - lead, state.parts[part + 1]!)) prolonged = true;
        }
        for (let slot = 0; slot < slotCount; slot++) {
          const due = rhythmWindow(state.rhythms, slot, began + keepMs);
          if (due !== undefined && joins(due.from - began - lead, due.to - began)) prolonged = true;
        }
        if (state.calls > fewCalls) continue;
        for (const guess of guesses) {
          const due = state.lastAt + guess - began;
          if (joins(due - guessMs - lead, due + guessMs)) prolonged = true;
        }
      }
      return { keepMs, prewarmMs };
    },

    explain(state, { keepMs, prewarmMs }) {
      const budget = `${Math.round(state.cold)} of ${Math.round(state.calls)} calls were cold, ${percent(coldShare)} may be`;
      const within = shareWithin(state.bins, keepMs);
      const known = within > 0 ? `: ${percent(within)} of the calls that no period foresees come sooner` : "";
      const kept = `kept until ${duration(keepMs)} idle${known}`;
      if (prewarmMs === Number.POSITIVE_INFINITY) return `${kept}; ${budget}`;
      const period = periodOf(state.rhythms, prewarmMs);
      const why = period === undefined ? "calls are likely then" : `it is called every ${duration(period)}`;
      return `${kept}; made again at ${duration(prewarmMs)}: ${why}; ${budget}`;
    },
  };
}

export interface LearnedState {
  /** Idle times that no period foresaw. */
  readonly bins: number[];
  readonly rhythms: Rhythms;
  /** Share of the newest calls that no period foresaw. */
  odd: number;
  calls: number;
  cold: number;
  firstAt: number;
  lastAt: number;
  /** `calls` when `parts` was computed: it is again after a twentieth more. */
  plannedAt: number;
  /** See `worthwhile`. */
  parts: number[];
}

/** One call in seventeen. */
export const defaultColdShare = 0.06;

/** Old calls count half. */
function fade(state: LearnedState, now: number): void {
  state.calls /= 2;
  state.cold /= 2;
  state.firstAt = now - (now - state.firstAt) / 2;
  for (let bin = 0; bin < state.bins.length; bin++) state.bins[bin]! /= 2;
}

/** The period whose length is about `idleMs`, give or take what a call and a start take. */
function periodOf(rhythms: Rhythms, idleMs: number): number | undefined {
  for (let slot = 0; slot < slotCount; slot++) {
    const period = rhythmPeriod(rhythms, slot);
    if (period > 0 && Math.abs(period - idleMs) < period / 4) return period;
  }
  return undefined;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

const hourMs = 3_600_000;
const guesses = [1, 6, 12, 24, 168].map((hours) => hours * hourMs);
const guessMs = 2500;
/** With fewer calls nobody knows how far apart they are: memory is spent as if it were a quarter of an hour. */
const newCalls = 14;
const newCycleMs = hourMs / 4;
/** Up to here it guesses. */
const fewCalls = 5;
/** Memory of that many calls: enough to tell 1 in 100, few enough to follow a function that changes. */
const mostCalls = 4096;
const leastMissed = 0.004;
const mostMissed = 0.3;
