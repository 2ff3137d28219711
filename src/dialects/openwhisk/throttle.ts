import type { Clock } from "../../ports/clock.ts";
import { WhiskError } from "./errors.ts";
import type { Subject, SubjectLimits } from "./subjects.ts";

/** Per namespace and calendar minute, as OpenWhisk counts; `concurrentInvocations` at the same time. */
export type ThrottleLimits = Required<SubjectLimits>;

interface Counts {
  minute: number;
  invocations: number;
  fires: number;
  running: number;
}

/** Refuses with 429 what a namespace's limits do not allow. In memory: each process counts for itself. */
export class Throttles {
  readonly #clock: Clock;
  readonly #limits: ThrottleLimits;
  readonly #counts = new Map<string, Counts>();

  constructor(clock: Clock, limits: ThrottleLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  limitsOf(subject: Subject | undefined): ThrottleLimits {
    return subject?.limits === undefined ? this.#limits : { ...this.#limits, ...subject.limits };
  }

  /** Counts an invocation; call what it returns when it is over. */
  invocation(namespace: string, subject: Subject | undefined): () => void {
    const { invocationsPerMinute, concurrentInvocations } = this.limitsOf(subject);
    const counts = this.#of(namespace);
    if (++counts.invocations > invocationsPerMinute) {
      throw tooMany("requests in the last minute", counts.invocations, invocationsPerMinute);
    }
    if (counts.running >= concurrentInvocations) {
      throw new WhiskError(
        429,
        `Too many concurrent requests in flight (count: ${counts.running}, allowed: ${concurrentInvocations}).`,
      );
    }
    counts.running++;
    let isOver = false;
    return () => {
      if (!isOver) counts.running--;
      isOver = true;
    };
  }

  fire(namespace: string, subject: Subject | undefined): void {
    const { firesPerMinute } = this.limitsOf(subject);
    const counts = this.#of(namespace);
    if (++counts.fires > firesPerMinute)
      throw tooMany("trigger fires in the last minute", counts.fires, firesPerMinute);
  }

  #of(namespace: string): Counts {
    const minute = Math.floor(this.#clock.now() / 60_000);
    let counts = this.#counts.get(namespace);
    if (counts === undefined) {
      counts = { minute, invocations: 0, fires: 0, running: 0 };
      this.#counts.set(namespace, counts);
    }
    if (counts.minute !== minute) Object.assign(counts, { minute, invocations: 0, fires: 0 });
    return counts;
  }
}

function tooMany(what: string, count: number, allowed: number): WhiskError {
  return new WhiskError(429, `Too many ${what} (count: ${count}, allowed: ${allowed}).`);
}
