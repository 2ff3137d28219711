/**
 * How long a function that nobody calls keeps its instance, and when it gets one again before it is called.
 * Pure: a policy knows what it is told and the time that it is given, so the server, the tests and the simulator run the same.
 */
export interface KeepAlivePolicy<State = unknown> {
  readonly name: KeepAlivePolicyName;
  /** What is known of a function at its first call: numbers and arrays of numbers, in bounded size. */
  begin(now: number): State;
  /**
   * A call came at `now` after `idleMs` without one running. `times`: so many in a row were like this one.
   * Not asked about calls that come while another one runs.
   */
  observe(state: State, idleMs: number, now: number, times: number, cold: boolean): void;
  /** Asked when the last running call has ended (`idleMs` is 0), and again whenever an instance was made ahead. */
  decide(state: State, idleMs: number, now: number, cost: KeepAliveCost): Plan;
  /** Why it was planned so, for people. */
  explain(state: State, plan: Plan): string;
}

export type KeepAlivePolicyName = "fixed" | "hybrid" | "greedy-dual" | "learned";

export interface KeepAliveCost {
  readonly memoryMb: number;
  /** What a start takes. */
  readonly startMs: number;
}

/** Both in milliseconds of idle time, from the end of the last call on. */
export interface Plan {
  /** The instance is let go then; `Infinity`: only where its memory is needed. */
  readonly keepMs: number;
  /** One is made then, where no call has come; `Infinity`: not before one comes. Never before `keepMs`. */
  readonly prewarmMs: number;
}

/** No policy lets go sooner: a caller that answers at once, or a retry, finds the instance still there. */
export const shortestKeepMs = 5000;

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${rounded(ms / 1000)} s`;
  if (ms < 7_200_000) return `${rounded(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${rounded(ms / 3_600_000)} h`;
  return `${rounded(ms / 86_400_000)} days`;
}

function rounded(value: number): number {
  return value < 10 ? Math.round(value * 10) / 10 : Math.round(value);
}
