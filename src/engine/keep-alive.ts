import { policyOf } from "../core/keep-alive/policies.ts";
import { type KeepAlivePolicy, type Plan, shortestKeepMs } from "../core/keep-alive/policy.ts";
import type { FunctionId, Revision } from "../core/model.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Fleet } from "./fleet.ts";

/** What keep-alive asks of the pool. */
export interface KeptAlive {
  readonly clock: Clock;
  /** Starts one instance of the revision if there is room that nobody needs. */
  startAhead(revision: Revision, reason: string): void;
}

/**
 * Asks the keep-alive policies of the functions. What a policy has learned outlives instances and fleets; a new revision
 * begins with what is known of the one before. It is lost with the server.
 */
export class KeepAlive {
  readonly #pool: KeptAlive;
  /** By function, then by revision. */
  readonly #habits = new Map<string, Map<number, Habit>>();

  constructor(pool: KeptAlive) {
    this.#pool = pool;
  }

  /** Undefined: the function keeps its instances for a fixed time, each by itself. */
  habitOf(revision: Revision): Habit | undefined {
    const { keepAlive, keepAliveMs } = revision.config.scaling;
    if (keepAlive === undefined || keepAlive.policy === "fixed") return undefined;
    let siblings = this.#habits.get(keyOf(revision));
    if (siblings === undefined) this.#habits.set(keyOf(revision), (siblings = new Map()));
    let habit = siblings.get(revision.number);
    if (habit === undefined) {
      const before = siblings.get(Math.max(...siblings.keys()));
      const policy = policyOf(keepAlive.policy, { keepMs: keepAliveMs, coldShare: keepAlive.coldShare });
      habit = new Habit(policy, this.#pool, before);
      siblings.set(revision.number, habit);
    }
    return habit;
  }

  /** The function's calls go to these revisions: nothing is made ahead for others. */
  reached(id: FunctionId, revisions: ReadonlySet<number>): void {
    const siblings = this.#habits.get(keyOf(id));
    if (siblings === undefined) return;
    const newest = Math.max(...siblings.keys());
    for (const [number, habit] of siblings) {
      if (revisions.has(number)) continue;
      habit.rest();
      // The newest stays for the next revision to learn from.
      if (number !== newest) siblings.delete(number);
    }
  }

  forget(id: FunctionId): void {
    this.reached(id, new Set());
    this.#habits.delete(keyOf(id));
  }

  stop(): void {
    for (const siblings of this.#habits.values()) for (const habit of siblings.values()) habit.rest();
  }
}

/** How a revision is called, and what its policy makes of it. */
export class Habit {
  /** True: no call runs or waits. Read on the hot path. */
  idle = true;
  /** False: it was never called, and its policy has nothing to say. */
  known = false;
  readonly #policy: KeepAlivePolicy;
  readonly #pool: KeptAlive;
  #state: unknown;
  #idleFrom = 0;
  /** Idle times so short that they change nothing are told to the policy together. */
  #short = 0;
  #plan: Plan | undefined;
  #timer: Timer | undefined;

  constructor(policy: KeepAlivePolicy, pool: KeptAlive, before: Habit | undefined) {
    this.#policy = policy;
    this.#pool = pool;
    if (before?.known !== true || before.#policy.name !== policy.name) return;
    this.known = true;
    this.#state = structuredClone(before.#state);
    this.#idleFrom = before.#idleFrom;
  }

  /** A call came when none ran. `cold`: there was no instance for it. */
  called(now: number, cold: boolean): void {
    this.idle = false;
    const idleMs = now - this.#idleFrom;
    if (!this.known) {
      this.known = true;
      this.#state = this.#policy.begin(now);
    } else if (idleMs < shortestKeepMs && !cold) this.#short++;
    else {
      this.#tell();
      this.#policy.observe(this.#state, idleMs, now, 1, cold);
    }
    this.#plan = undefined;
    this.rest();
  }

  /** The last call has ended. */
  ended(now: number): void {
    this.idle = true;
    this.#idleFrom = now;
  }

  /** Why the last instance goes now, or undefined where it stays. */
  reasonToStop(fleet: Fleet, now: number): string | undefined {
    const idleMs = now - this.#idleFrom;
    if (!this.idle || idleMs < shortestKeepMs) return undefined;
    if (this.#plan === undefined) {
      this.#tell();
      this.#plan = this.#policy.decide(this.#state, 0, this.#idleFrom, costOf(fleet));
    }
    const plan = this.#plan;
    if (idleMs < plan.keepMs) return undefined;
    this.#expect(fleet, plan, now);
    return `${this.#policy.name}: ${this.#policy.explain(this.#state, plan)}`;
  }

  /** Nothing is made ahead any more. */
  rest(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #tell(): void {
    if (this.#short === 0) return;
    this.#policy.observe(this.#state, 0, this.#idleFrom, this.#short, false);
    this.#short = 0;
  }

  /** Has the next instance made when it is due. */
  #expect(fleet: Fleet, plan: Plan, now: number): void {
    this.rest();
    if (plan.prewarmMs === Number.POSITIVE_INFINITY || !fleet.serving || fleet.closed) return;
    const { revision } = fleet;
    const cost = costOf(fleet);
    const reason = `${this.#policy.name}: ${this.#policy.explain(this.#state, plan)}`;
    const dueAt = this.#idleFrom + plan.prewarmMs;
    const wait = (left: number): void => {
      this.#timer = this.#pool.clock.after(Math.min(left, longestTimerMs), () => {
        const at = this.#pool.clock.monotonic();
        // A clock may be a little early.
        if (at < dueAt - 1) return wait(dueAt - at);
        this.#timer = undefined;
        // Until when this one is kept, and when the next is due.
        this.#plan = this.#policy.decide(this.#state, at - this.#idleFrom, at, cost);
        this.#pool.startAhead(revision, reason);
      });
    };
    wait(Math.max(0, dueAt - now));
  }
}

function costOf({ revision, typicalStartMs }: Fleet): { memoryMb: number; startMs: number } {
  return { memoryMb: revision.config.limits.memoryMb, startMs: typicalStartMs ?? assumedStartMs };
}

function keyOf({ namespace, name }: FunctionId): string {
  return `${namespace}/${name}`;
}

const assumedStartMs = 100;
/** Timers of the host hold 31 bits of milliseconds. */
const longestTimerMs = 2 ** 31 - 1;
