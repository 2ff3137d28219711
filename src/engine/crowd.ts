import { byShare, type Holding, type Party, reasonToYield } from "../core/fair-share.ts";
import type { Fleet } from "./fleet.ts";
import type { Worker } from "./worker.ts";

export interface CrowdOptions {
  readonly machine: Holding;
  /** 1 where none is given. */
  readonly weights: Readonly<Record<string, number>>;
  fleets(): Iterable<Fleet>;
  /** Whether what is on its way out is room enough for one more instance of the fleet. */
  roomIsComing(fleet: Fleet): boolean;
}

/** The fleets that wait for room on a full machine, and the fairness between them and those that have it. */
export class Crowd {
  readonly #options: CrowdOptions;
  readonly #waiting = new Set<Fleet>();

  constructor(options: CrowdOptions) {
    this.#options = options;
  }

  /** Cheap: it is asked for at the end of each call. */
  get exists(): boolean {
    return this.#waiting.size > 0;
  }

  join(fleet: Fleet): void {
    this.#waiting.add(fleet);
  }

  leave(fleet: Fleet): void {
    this.#waiting.delete(fleet);
  }

  /** Who has least comes first. As it is where nobody waits for room. */
  inTurn(fleets: Fleet[]): Fleet[] {
    if (!this.exists || fleets.length < 2) return fleets;
    const holdings = this.#holdings();
    const parties = new Map(fleets.map((fleet) => [fleet, this.#party(fleet, holdings)]));
    const order = byShare(this.#options.machine);
    return fleets.toSorted((a, b) => order(parties.get(a)!, parties.get(b)!));
  }

  /** Why a worker that has just ended a call should not take the next one of its own line; undefined where it may. */
  reasonToYield(worker: Worker): string | undefined {
    const { fleet } = worker;
    if (fleet.ready <= fleet.floor) return undefined;
    // Its call has just ended: unless it has others, its processor is free already.
    const given = { ...needOf(fleet), ...(worker.calls.size === 0 && { cpus: 0 }) };
    let holdings: Holdings | undefined;
    for (const claimant of this.#waiting) {
      if (claimant === fleet) continue;
      if (claimant.line.size === 0) this.#waiting.delete(claimant);
      else if (!this.#options.roomIsComing(claimant)) {
        holdings ??= this.#holdings();
        const reason = reasonToYield(
          this.#party(fleet, holdings),
          this.#party(claimant, holdings),
          given,
          needOf(claimant),
          this.#options.machine,
        );
        if (reason !== undefined) return reason;
      }
    }
    return undefined;
  }

  #party(fleet: Fleet, holdings: Holdings): Party {
    const { namespace, name, config } = fleet.revision;
    return {
      namespace,
      name,
      ofNamespace: holdings.get(namespace) ?? nothing,
      namespaceWeight: this.#options.weights[namespace] ?? 1,
      ofFunction: holdings.get(`${namespace}/${name}`) ?? nothing,
      functionWeight: config.scaling.weight,
    };
  }

  #holdings(): Holdings {
    const holdings: Holdings = new Map();
    for (const fleet of this.#options.fleets()) {
      const { namespace, name } = fleet.revision;
      const { memoryMb, cpus } = needOf(fleet);
      const held = fleet.workers.size + fleet.starting.size;
      let busy = fleet.starting.size;
      for (const worker of fleet.workers) if (worker.calls.size > 0) busy++;
      for (const key of [namespace, `${namespace}/${name}`]) {
        const before = holdings.get(key) ?? nothing;
        holdings.set(key, { memoryMb: before.memoryMb + held * memoryMb, cpus: before.cpus + busy * cpus });
      }
    }
    return holdings;
  }
}

/** By namespace, and by `namespace/name`. */
type Holdings = Map<string, Holding>;

const nothing: Holding = { memoryMb: 0, cpus: 0 };

function needOf(fleet: Fleet): Holding {
  const { memoryMb, cpus } = fleet.revision.config.limits;
  return { memoryMb, cpus };
}
