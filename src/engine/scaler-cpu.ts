import type { Worker } from "./worker.ts";

/** Processors in use by a fleet's instances, from their counters at two looks. */
export class CpuMeter {
  /** As of the newest look that has come back. */
  cores = 0;
  #looking = false;
  #seen = new Map<Worker, { readonly cpuMicros: number; readonly at: number }>();

  /** Looks at each instance behind the caller's back; does nothing while the look before is under way. */
  look(workers: Iterable<Worker>, monotonic: () => number): void {
    if (this.#looking) return;
    this.#looking = true;
    void this.#look([...workers], monotonic).finally(() => {
      this.#looking = false;
    });
  }

  async #look(workers: readonly Worker[], monotonic: () => number): Promise<void> {
    const seen = new Map<Worker, { readonly cpuMicros: number; readonly at: number }>();
    let cores = 0;
    const looks = workers.map(async (worker) => {
      const { cpuMicros } = await worker.instance.usage();
      const at = monotonic();
      seen.set(worker, { cpuMicros, at });
      const before = this.#seen.get(worker);
      if (before !== undefined && at > before.at) cores += (cpuMicros - before.cpuMicros) / 1000 / (at - before.at);
    });
    // One that is gone meanwhile uses nothing any more.
    await Promise.allSettled(looks);
    this.#seen = seen;
    this.cores = cores;
  }
}
