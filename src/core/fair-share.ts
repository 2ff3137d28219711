/**
 * Who gives way to whom where the machine is full: dominant resource fairness (Ghodsi et al., NSDI 2011). What somebody
 * holds is the larger of its shares of memory and of processors; weighed, that is compared between namespaces, and
 * between functions within one.
 */
export interface Holding {
  readonly memoryMb: number;
  /** Of busy instances: an idle one keeps nobody from a processor. */
  readonly cpus: number;
}

/** A function among its namespace, with what each of the two holds. */
export interface Party {
  readonly namespace: string;
  readonly name: string;
  readonly ofNamespace: Holding;
  readonly namespaceWeight: number;
  readonly ofFunction: Holding;
  readonly functionWeight: number;
}

export function dominantShare(holding: Holding, machine: Holding, weight: number): number {
  return Math.max(holding.memoryMb / machine.memoryMb, holding.cpus / machine.cpus) / weight;
}

/**
 * The reason why the holder of an instance should give it up for one that the claimant waits for; undefined where it
 * should not. It never turns the two round: without its instance the holder still has as much as the claimant has with it.
 */
export function reasonToYield(
  holder: Party,
  claimant: Party,
  given: Holding,
  wanted: Holding,
  machine: Holding,
): string | undefined {
  const apart = holder.namespace !== claimant.namespace;
  const [has, gets] = apart
    ? [
        dominantShare(minus(holder.ofNamespace, given), machine, holder.namespaceWeight),
        dominantShare(plus(claimant.ofNamespace, wanted), machine, claimant.namespaceWeight),
      ]
    : [
        dominantShare(minus(holder.ofFunction, given), machine, holder.functionWeight),
        dominantShare(plus(claimant.ofFunction, wanted), machine, claimant.functionWeight),
      ];
  if (has < gets) return undefined;
  const who = apart ? `namespace ${claimant.namespace}` : claimant.name;
  return `the machine is full, and ${who} has less than its share of it`;
}

/** Sorts those who wait: who has least comes first. */
export function byShare(machine: Holding): (a: Party, b: Party) => number {
  const ofNamespace = (party: Party): number => dominantShare(party.ofNamespace, machine, party.namespaceWeight);
  const ofFunction = (party: Party): number => dominantShare(party.ofFunction, machine, party.functionWeight);
  return (a, b) => (a.namespace === b.namespace ? 0 : ofNamespace(a) - ofNamespace(b)) || ofFunction(a) - ofFunction(b);
}

function plus(a: Holding, b: Holding): Holding {
  return { memoryMb: a.memoryMb + b.memoryMb, cpus: a.cpus + b.cpus };
}

function minus(a: Holding, b: Holding): Holding {
  return { memoryMb: a.memoryMb - b.memoryMb, cpus: a.cpus - b.cpus };
}
