/**
 * Where the server and the instances of brief calls run. Waking a process on another processor costs several times what it costs
 * on one's own: while one processor can do all that there is to do, they share it (`server`). Where the server has no rest, each
 * instance that runs in its place holds all up: it has its processor alone, they have the others (`others`). With more for them to
 * do than those can, everything is the kernel's to place (`any`).
 */
export type Affinity = "server" | "others" | "any";

/** What was seen since the last look. */
export interface ProcessorLook {
  readonly elapsedMs: number;
  /** How long the server had something to do: what its event loop did not wait. */
  readonly serverActiveMs: number;
  /** Processor time of the instances whose calls are brief. */
  readonly briefMs: number;
  /** Processors beside the server's. */
  readonly others: number;
}

export interface Stance {
  readonly affinity: Affinity;
  /** When it was taken, and before when `any` is not exchanged (milliseconds of one monotonic clock). */
  readonly since: number;
  readonly until: number;
  /** How long the next retreat lasts: twice as long as the one before, where what it ended did not last. */
  readonly patienceMs: number;
}

export const firstStance: Stance = { affinity: "any", since: 0, until: 0, patienceMs: 500 };

export function nextStance(stance: Stance, look: ProcessorLook, now: number): Stance {
  const { elapsedMs, serverActiveMs, briefMs } = look;
  // What moves disturbs what is looked at.
  if (stance.affinity !== "any" && now - stance.since < settlingMs) return stance;
  switch (stance.affinity) {
    case "server":
      // Where calls come one behind the other, either the server works or an instance does, however busy the processor is.
      if (serverActiveMs < restless * elapsedMs) return stance;
      return { ...retreat(stance, now), affinity: isHeldUp(look) ? "others" : "any" };
    case "others":
      // It rests: there is little to do, or the others are what all wait for.
      return serverActiveMs < rested * elapsedMs ? retreat(stance, now) : stance;
    case "any":
      if (now < stance.until) return stance;
      if (serverActiveMs + briefMs <= quiet * elapsedMs) return { ...stance, affinity: "server", since: now };
      return isHeldUp(look) ? { ...stance, affinity: "others", since: now } : stance;
  }
}

function retreat(stance: Stance, now: number): Stance {
  const patienceMs = now - stance.since >= longHoldMs ? firstStance.patienceMs : stance.patienceMs;
  return {
    affinity: "any",
    since: now,
    until: now + patienceMs,
    patienceMs: Math.min(longestPatienceMs, patienceMs * 2),
  };
}

/** The server is what all wait for, and instances take a part of its processor that others have to give. */
function isHeldUp({ elapsedMs, serverActiveMs, briefMs, others }: ProcessorLook): boolean {
  return serverActiveMs >= busy * elapsedMs && briefMs >= brief * elapsedMs && briefMs <= roomy * others * elapsedMs;
}

/** Shares of the time that was looked at. */
const quiet = 0.97;
const restless = 0.93;
const busy = 0.8;
const rested = 0.6;
/** Shares of a processor. */
const brief = 0.1;
const roomy = 0.7;
const settlingMs = 150;
/** What lasted so long was right while it did: what ended it is new. */
const longHoldMs = 1000;
const longestPatienceMs = 16_000;
