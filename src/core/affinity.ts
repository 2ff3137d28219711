/**
 * Where the server and the instances of brief calls run. Waking a process on another processor costs several times what it costs
 * on one's own: while one processor can do all that there is to do, they share it. With more to do, everything is the kernel's to
 * place.
 */
export type Affinity = "server" | "any";

/** What was seen since the last look. */
export interface ProcessorLook {
  readonly elapsedMs: number;
  /** How long the server had something to do: what its event loop did not wait. */
  readonly serverActiveMs: number;
  /** Processor time of the instances whose calls are brief. */
  readonly briefMs: number;
}

export interface Stance {
  readonly affinity: Affinity;
  /** When it was taken, and before when it is not exchanged for `server` (milliseconds of one monotonic clock). */
  readonly since: number;
  readonly until: number;
  /** How long the next retreat lasts: twice as long as the one before, where sharing did not last. */
  readonly patienceMs: number;
}

export const firstStance: Stance = { affinity: "any", since: 0, until: 0, patienceMs: 500 };

export function nextStance(stance: Stance, look: ProcessorLook, now: number): Stance {
  const { elapsedMs, serverActiveMs, briefMs } = look;
  if (stance.affinity === "any") {
    if (now < stance.until || serverActiveMs + briefMs > quiet * elapsedMs) return stance;
    return { ...stance, affinity: "server", since: now };
  }
  if (now - stance.since < settlingMs) return stance;
  // Where calls come one behind the other, either the server works or an instance does, however busy the processor is.
  if (serverActiveMs < restless * elapsedMs) return stance;
  const patienceMs = now - stance.since >= longHoldMs ? firstStance.patienceMs : stance.patienceMs;
  return {
    affinity: "any",
    since: now,
    until: now + patienceMs,
    patienceMs: Math.min(longestPatienceMs, patienceMs * 2),
  };
}

/** Shares of the time that was looked at. */
const quiet = 0.97;
const restless = 0.93;
/** What moves disturbs what is looked at. */
const settlingMs = 150;
/** Sharing that lasted so long was right while it did: what ended it is new. */
const longHoldMs = 1000;
const longestPatienceMs = 16_000;
