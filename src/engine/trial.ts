import { VirgaError } from "../core/errors.ts";
import type { Fleet } from "./fleet.ts";
import type { PoolCall, Worker } from "./worker.ts";

/** Stands in line like a call, to see whether an instance starts. */
export class Trial implements PoolCall {
  readonly id: string;
  waitingSince = 0;
  chain: object | undefined = undefined;
  nextInChain: PoolCall | undefined = undefined;
  previousInChain: PoolCall | undefined = undefined;
  clean = true;
  readonly #fleet: Fleet;
  readonly #done = Promise.withResolvers<void>();

  constructor(id: string, fleet: Fleet) {
    this.id = id;
    this.#fleet = fleet;
  }

  /** Resolves when an instance is ready; it is idle then. */
  async run(signal: AbortSignal): Promise<void> {
    const leave = (): void => {
      this.#fleet.leave(this);
      this.#done.reject(new VirgaError("cancelled", "The deploy was cancelled"));
    };
    if (signal.aborted) leave();
    else {
      signal.addEventListener("abort", leave, { once: true });
      this.#fleet.join(this);
    }
    try {
      await this.#done.promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  granted(worker: Worker): void {
    // The start was the deploy's: the first call finds it warm.
    worker.fresh = false;
    this.#done.resolve();
    worker.release(this, undefined);
  }

  refused(error: VirgaError): void {
    this.#done.reject(error);
  }

  logged(): boolean {
    return true;
  }

  lost(error: VirgaError): void {
    this.#done.reject(error);
  }
}
