import type { VirgaError } from "../core/errors.ts";
import type { LogLine } from "../core/model.ts";
import type { Timer } from "../ports/clock.ts";
import type { Instance } from "../ports/runtime.ts";
import { Chain, type Chained } from "./chain.ts";
import type { Fleet } from "./fleet.ts";

/** What the pool knows of a call: something that wants a slot and stands in line, then holds one. */
export interface PoolCall extends Chained<PoolCall> {
  readonly id: string;
  /** `clock.monotonic()` of joining the line; set by the fleet. */
  waitingSince: number;
  /** True once the program has come to the end of this call after it was cancelled. */
  clean: boolean;
  granted(worker: Worker): void;
  refused(error: VirgaError): void;
  /** False where the line was dropped: the call has had its share of log. */
  logged(line: LogLine): boolean;
  /** The instance is gone and its link has not said what became of the call. */
  lost(error: VirgaError): void;
}

/**
 * - `ready`: takes calls.
 * - `retiring`: replaced; its calls finish.
 * - `condemned`: something in it went wrong or cannot be stopped; its other calls may finish, then it is killed.
 * - `gone`: stopped or dead.
 */
export type WorkerState = "ready" | "retiring" | "condemned" | "gone";

export interface WorkerBirth {
  readonly startedAt: number;
  /** From the decision until the code could be loaded. */
  readonly coldStartMs: number;
  readonly initMs: number;
}

/** One instance with its slots. */
export class Worker {
  readonly fleet: Fleet;
  readonly instance: Instance;
  readonly capacity: number;
  readonly memoryMb: number;
  readonly birth: WorkerBirth;
  /** The calls that hold its slots. */
  readonly calls = new Chain<PoolCall>();
  state: WorkerState = "ready";
  /** Whether it stands in its fleet's stack of open workers. */
  open = false;
  /** No call has used it yet: the first one was what its start was for. */
  fresh = true;
  served = 0;
  /** Why it retires. */
  parting = "it was replaced";
  /** `clock.monotonic()`; counts while `calls` is empty. */
  idleSince: number;
  /** CPU time of the calls that were measured. */
  accountedCpuMicros = 0;
  /** CPU time that is no call's. */
  startCpuMicros = 0;
  #grace: Map<string, Timer> | undefined;

  constructor(fleet: Fleet, instance: Instance, birth: WorkerBirth, now: number) {
    this.fleet = fleet;
    this.instance = instance;
    this.capacity = fleet.revision.config.limits.concurrency;
    this.memoryMb = fleet.revision.config.limits.memoryMb;
    this.birth = birth;
    this.idleSince = now;
  }

  get id(): string {
    return this.instance.id;
  }

  /** The one that holds a slot under this id. */
  call(id: string): PoolCall | undefined {
    let call = this.calls.first;
    while (call !== undefined && call.id !== id) call = call.nextInChain;
    return call;
  }

  /** The call is over and its slot free. */
  release(call: PoolCall, runMs: number | undefined): void {
    this.#grace?.get(call.id)?.cancel();
    this.#grace?.delete(call.id);
    this.fleet.release(this, call, runMs);
  }

  /**
   * The call is over for its caller, but the program may still be at it. Its slot is free when the program says so;
   * without a word within the grace, an instance that serves one call at a time is killed. One that serves many is
   * not: what still runs shares it as all its calls do, and has the instance's limits around it.
   */
  abandon(call: PoolCall): void {
    if (call.clean || this.state === "gone") {
      this.release(call, undefined);
      return;
    }
    this.#grace ??= new Map();
    this.#grace.set(
      call.id,
      this.fleet.machine.clock.after(acknowledgeGraceMs, () => {
        if (this.capacity === 1) this.condemn("a cancelled call did not end");
        this.release(call, undefined);
      }),
    );
  }

  /** The program has ended an abandoned call. */
  acknowledged(id: string): void {
    const call = this.call(id);
    if (call === undefined) return;
    call.clean = true;
    if (this.#grace?.has(id) === true) this.release(call, undefined);
  }

  /** Takes no new calls; killed when it has none left. */
  condemn(reason: string): void {
    if (this.state === "condemned" || this.state === "gone") return;
    this.state = "condemned";
    this.fleet.shut(this);
    if (this.calls.size === 0) this.fleet.machine.stop(this, reason, 0);
  }

  /** Takes no new calls; stopped when it has none left. */
  retire(reason: string): void {
    if (this.state !== "ready") return;
    this.state = "retiring";
    this.parting = reason;
    this.fleet.shut(this);
    if (this.calls.size === 0) this.fleet.machine.stop(this, reason, retireGraceMs);
  }

  /** Forgets the timers of calls that it will not see the end of. */
  forget(): void {
    for (const timer of this.#grace?.values() ?? []) timer.cancel();
    this.#grace = undefined;
  }
}

/** For a handler to notice its abort signal. */
const acknowledgeGraceMs = 1000;
/** For a program to end by itself (exit handlers, open files). */
export const retireGraceMs = 2000;
