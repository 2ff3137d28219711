/** Whether this machine has room for one more instance, and what has to go for it. */
export interface MachineState {
  readonly usedMb: number;
  /** Held by instances that are on their way out. */
  readonly leavingMb: number;
  readonly budgetMb: number;
  readonly instances: number;
  readonly leavingInstances: number;
  readonly budgetInstances: number;
}

export interface Evictable<T> {
  readonly item: T;
  readonly memoryMb: number;
  /** See `worthOfKeeping`. */
  readonly worth: number;
  /** See `inOrderOfPriority`. */
  readonly priority?: number;
}

export type Placement<T> =
  | { readonly kind: "start" }
  /** Stop these; there is room when they, and those already leaving, are gone. */
  | { readonly kind: "wait"; readonly evict: readonly T[]; readonly reason: string }
  /** More than the whole machine has. */
  | { readonly kind: "never"; readonly reason: string };

/** `idle` is asked for only where there is no room: looking at all idle instances costs. */
export function place<T>(memoryMb: number, machine: MachineState, idle: () => Evictable<T>[]): Placement<T> {
  if (memoryMb > machine.budgetMb)
    return { kind: "never", reason: `it asks for ${memoryMb} MB and the machine's budget is ${machine.budgetMb} MB` };
  if (machine.budgetInstances < 1) return { kind: "never", reason: "the machine's budget is 0 instances" };
  if (machine.usedMb + memoryMb <= machine.budgetMb && machine.instances < machine.budgetInstances)
    return { kind: "start" };
  let missingMb = machine.usedMb - machine.leavingMb + memoryMb - machine.budgetMb;
  let missingInstances = machine.instances - machine.leavingInstances + 1 - machine.budgetInstances;
  const evict: T[] = [];
  if (missingMb > 0 || missingInstances > 0) {
    for (const candidate of idle().sort((a, b) => a.worth - b.worth)) {
      if (missingMb <= 0 && missingInstances <= 0) break;
      evict.push(candidate.item);
      missingMb -= candidate.memoryMb;
      missingInstances -= 1;
    }
    // Stopping some helps nobody where even all are not enough.
    if (missingMb > 0 || missingInstances > 0) evict.length = 0;
  }
  const what =
    machine.instances >= machine.budgetInstances
      ? `all ${machine.budgetInstances} instances of the machine are there`
      : `${machine.usedMb} of ${machine.budgetMb} MB are in use`;
  return { kind: "wait", evict, reason: what };
}
