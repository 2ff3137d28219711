import { isDeepStrictEqual } from "node:util";
import type { FunctionId, Revision } from "../core/model.ts";
import type { Fleet } from "./fleet.ts";

/** The fleets of this machine, by revision and by function. */
export class FleetIndex {
  /** Spares the hot path the look-up by name: the registry gives the same object for each call. */
  readonly #byRevision = new WeakMap<Revision, Fleet>();
  readonly #byFunction = new Map<string, Map<number, Fleet>>();
  /** Closed ones too, until they are empty. */
  readonly #all = new Set<Fleet>();

  /** The fleet of this very revision object, where it is in use. */
  known(revision: Revision): Fleet | undefined {
    const fleet = this.#byRevision.get(revision);
    return fleet === undefined || fleet.closed ? undefined : fleet;
  }

  /** The fleet of this revision's number, whatever its program. */
  numbered(revision: Revision): Fleet | undefined {
    return this.#byFunction.get(keyOf(revision))?.get(revision.number);
  }

  add(fleet: Fleet): void {
    const key = keyOf(fleet.revision);
    let siblings = this.#byFunction.get(key);
    if (siblings === undefined) this.#byFunction.set(key, (siblings = new Map()));
    siblings.set(fleet.revision.number, fleet);
    this.#all.add(fleet);
    this.alias(fleet.revision, fleet);
  }

  /** The same revision, as another object. */
  alias(revision: Revision, fleet: Fleet): void {
    this.#byRevision.set(revision, fleet);
  }

  /** No call finds it any more; it stays in `all` until `remove`. */
  close(fleet: Fleet): void {
    fleet.closed = true;
    const key = keyOf(fleet.revision);
    const siblings = this.#byFunction.get(key);
    if (siblings?.get(fleet.revision.number) !== fleet) return;
    siblings.delete(fleet.revision.number);
    if (siblings.size === 0) this.#byFunction.delete(key);
  }

  remove(fleet: Fleet): void {
    this.close(fleet);
    this.#all.delete(fleet);
  }

  of(id: FunctionId): Fleet[] {
    return [...(this.#byFunction.get(keyOf(id))?.values() ?? [])];
  }

  all(): ReadonlySet<Fleet> {
    return this.#all;
  }
}

/** Whether both would run the same program with the same settings. */
export function sameProgram(a: Revision, b: Revision): boolean {
  return a === b || (a.artifact === b.artifact && isDeepStrictEqual(a.config, b.config));
}

function keyOf({ namespace, name }: FunctionId): string {
  return `${namespace}/${name}`;
}
