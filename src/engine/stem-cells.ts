import { defaultLimits } from "../core/defaults.ts";
import { asVirgaError } from "../core/errors.ts";
import type { Limits, Network } from "../core/model.ts";
import { startBackoffMs } from "../core/scaling/demand.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Instance } from "../ports/runtime.ts";
import { nameOf, type Starter, takesBlank } from "./starter.ts";
import type { Fleet } from "./fleet.ts";
import type { Wiring } from "./wiring.ts";

/** How many blank instances of one kind to keep. */
export interface Prewarm {
  readonly runtime: string;
  readonly memoryMb: number;
  readonly cpus: number;
  readonly count: number;
  /** `host` where absent. */
  readonly network?: Network;
}

/** A blank instance that waits for code. */
export interface StemCell {
  readonly instance: Instance;
  readonly wiring: Wiring;
  readonly memoryMb: number;
  /** What its start has used. */
  readonly cpuMicros: number;
}

/** What the cells need of the pool. */
export interface Nursery {
  readonly starter: Starter;
  readonly clock: Clock;
  readonly log: Log;
  wiring(): { id: string; wiring: Wiring };
  /** Memory for one more: true where it is now taken. */
  reserve(memoryMb: number): boolean;
  giveBack(memoryMb: number): void;
  /** Starts for waiting calls come first. */
  busy(): boolean;
}

/** Prewarmed instances by runtime, size and network. Refilled behind the requests that took one. */
export class StemCells {
  readonly #nursery: Nursery;
  readonly #kinds: Kind[];
  #scheduled = false;
  #closed = false;

  constructor(nursery: Nursery, prewarm: readonly Prewarm[]) {
    this.#nursery = nursery;
    this.#kinds = prewarm
      .filter((kind) => kind.count > 0)
      .map((kind) => ({
        ...kind,
        network: kind.network ?? "host",
        limits: { ...defaultLimits, memoryMb: kind.memoryMb, cpus: kind.cpus },
        ready: [],
        starting: 0,
        failures: 0,
        notBefore: 0,
        defaultVersion: undefined,
      }));
    this.refill(0);
  }

  /** A blank instance that fits the revision exactly, or undefined. Its memory stays taken and is the taker's now. */
  take(fleet: Fleet): StemCell | undefined {
    const { config } = fleet.revision;
    if (this.#kinds.length === 0 || !takesBlank(config)) return undefined;
    for (const kind of this.#kinds) {
      if (!fits(kind, config.runtime, config.limits, config.network)) continue;
      const cell = kind.ready.pop();
      if (cell !== undefined) return cell;
    }
    return undefined;
  }

  /** All that wait: the first to go where memory is short. */
  waiting(): StemCell[] {
    return this.#kinds.flatMap((kind) => kind.ready);
  }

  /** Ends one, for its memory. */
  async evict(cell: StemCell): Promise<void> {
    for (const kind of this.#kinds) {
      const index = kind.ready.indexOf(cell);
      if (index < 0) continue;
      kind.ready.splice(index, 1);
      // Not at once again: somebody needs the memory.
      kind.notBefore = this.#nursery.clock.monotonic() + evictedPauseMs;
      await this.#nursery.starter.end(cell.instance);
      this.#nursery.giveBack(cell.memoryMb);
      this.refill(evictedPauseMs);
    }
  }

  /** Starts what is missing after a pause, unless calls wait for starts of their own. */
  refill(delayMs = refillDelayMs): void {
    if (this.#scheduled || this.#closed || this.#kinds.length === 0) return;
    this.#scheduled = true;
    this.#nursery.clock.after(delayMs, () => {
      this.#scheduled = false;
      if (this.#closed) return;
      let missing = false;
      const now = this.#nursery.clock.monotonic();
      for (const kind of this.#kinds) {
        if (kind.ready.length + kind.starting >= kind.count) continue;
        missing = true;
        // One at a time of each kind: they are nobody's hurry.
        if (kind.starting > 0 || now < kind.notBefore || this.#nursery.busy()) continue;
        if (this.#nursery.reserve(kind.memoryMb)) void this.#start(kind);
      }
      if (missing) this.refill();
    });
  }

  view(): { runtime: string; memoryMb: number; ready: number; starting: number }[] {
    return this.#kinds.map(({ runtime, memoryMb, ready, starting }) => ({
      runtime,
      memoryMb,
      ready: ready.length,
      starting,
    }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.waiting().map((cell) => this.evict(cell)));
  }

  async #start(kind: Kind): Promise<void> {
    const { starter, clock, log } = this.#nursery;
    const { id, wiring } = this.#nursery.wiring();
    const { limits, network, runtime } = kind;
    kind.starting++;
    try {
      if (kind.defaultVersion === undefined && !runtime.includes(":")) {
        kind.defaultVersion = (await starter.runtimeOf(runtime).versions())[0];
      }
      const instance = await starter.blank({ id, runtime, limits, network, events: wiring, background: true });
      const cpuMicros = await usedBy(instance);
      if (this.#closed) {
        await starter.end(instance);
        this.#nursery.giveBack(kind.memoryMb);
        return;
      }
      const cell = { instance, wiring, memoryMb: kind.memoryMb, cpuMicros };
      kind.ready.push(cell);
      kind.failures = 0;
      // Where cells are taken as soon as they are there, no time is to spare for it.
      clock.after(rehearsalDelayMs, () => kind.ready.includes(cell) && instance.rehearse?.());
      void this.#watch(kind, cell);
    } catch (thrown) {
      this.#nursery.giveBack(kind.memoryMb);
      kind.failures++;
      kind.notBefore = clock.monotonic() + startBackoffMs(kind.failures + 3);
      // One that the end of the platform overtook has not failed.
      if (!this.#closed)
        log.warn("a prewarmed instance could not start", {
          runtime,
          failures: kind.failures,
          error: asVirgaError(thrown),
        });
    } finally {
      kind.starting--;
      this.refill();
    }
  }

  /** One that dies while it waits is replaced. */
  async #watch(kind: Kind, cell: StemCell): Promise<void> {
    await cell.instance.exited;
    const index = kind.ready.indexOf(cell);
    if (index < 0) return;
    kind.ready.splice(index, 1);
    this.#nursery.giveBack(cell.memoryMb);
    this.refill();
  }
}

interface Kind extends Prewarm {
  readonly network: Network;
  readonly limits: Limits;
  readonly ready: StemCell[];
  starting: number;
  failures: number;
  notBefore: number;
  /** What the runtime's bare name means. */
  defaultVersion: string | undefined;
}

async function usedBy(instance: Instance): Promise<number> {
  try {
    return (await instance.usage()).cpuMicros;
  } catch {
    return 0; // it is gone again
  }
}

/** Everything that the sandbox was told at the start must be the same. */
function fits(kind: Kind, runtime: string, limits: Limits, network: Network): boolean {
  return (
    (kind.runtime === runtime ||
      (nameOf(runtime) === kind.runtime && runtime === `${kind.runtime}:${kind.defaultVersion}`)) &&
    kind.network === network &&
    kind.limits.memoryMb === limits.memoryMb &&
    kind.limits.cpus === limits.cpus &&
    kind.limits.processes === limits.processes &&
    kind.limits.openFiles === limits.openFiles &&
    kind.limits.fileSizeMb === limits.fileSizeMb &&
    kind.limits.tmpMb === limits.tmpMb
  );
}

/** Behind the call that took the last one, which has the processors now. */
const refillDelayMs = 50;
const evictedPauseMs = 5000;
const rehearsalDelayMs = 20;
