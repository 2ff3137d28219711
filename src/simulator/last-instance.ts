import { type KeepAlivePolicy, type Plan, shortestKeepMs } from "../core/keep-alive/policy.ts";
import type { Application } from "./trace.ts";

/** How long a function's last instance stays when no call runs, and when it is made again, by a keep-alive policy. */
export class LastInstance {
  /** When one is made ahead of a call. */
  prewarmAt = never;
  readonly #policy: KeepAlivePolicy;
  readonly #application: Application;
  #habit: unknown;
  #idleFrom = -1;
  #plan: Plan | undefined;

  constructor(policy: KeepAlivePolicy, application: Application) {
    this.#policy = policy;
    this.#application = application;
  }

  /** A call came when none ran. */
  called(now: number, cold: boolean): void {
    if (this.#idleFrom < 0) this.#habit = this.#policy.begin(now);
    else this.#policy.observe(this.#habit, now - this.#idleFrom, now, 1, cold);
    this.#plan = undefined;
    this.prewarmAt = never;
  }

  /** So many calls in a row came `idleMs` after the one before had ended. */
  calledAgain(now: number, times: number, idleMs: number): void {
    if (idleMs > 0 && times > 0) this.#policy.observe(this.#habit, idleMs, now, times, false);
  }

  /** The last call has ended. */
  rests(now: number): void {
    this.#idleFrom = now;
  }

  goesAt(): number {
    return this.#idleFrom + (this.#plan?.keepMs ?? shortestKeepMs);
  }

  /** It is due to go. False: the policy, which is asked now, keeps it longer. */
  goes(now: number): boolean {
    this.#plan ??= this.#policy.decide(this.#habit, 0, this.#idleFrom, this.#application);
    if (now < this.#idleFrom + this.#plan.keepMs) return false;
    this.prewarmAt = this.#idleFrom + this.#plan.prewarmMs;
    return true;
  }

  /** It is made again. */
  comes(now: number): void {
    this.#plan = this.#policy.decide(this.#habit, now - this.#idleFrom, now, this.#application);
    this.prewarmAt = never;
  }
}

const never = Number.POSITIVE_INFINITY;
