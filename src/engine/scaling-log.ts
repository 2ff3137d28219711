import type { FunctionId } from "../core/model.ts";

export interface RecordedDecision {
  readonly at: number;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

/** The newest scaling decisions of each function, and what its policy holds at the moment. */
export class ScalingLog {
  readonly #byFunction = new Map<string, RecordedDecision[]>();
  /** By function, then by revision: the newest verdict of a policy that is asked at intervals. */
  readonly #standing = new Map<string, Map<number, RecordedDecision>>();

  add(id: FunctionId, decision: RecordedDecision): void {
    const key = `${id.namespace}/${id.name}`;
    const known = this.#byFunction.get(key) ?? [];
    known.push(decision);
    if (known.length > keptDecisions) known.shift();
    // To the end: the function that was heard of longest ago is forgotten first.
    this.#byFunction.delete(key);
    this.#byFunction.set(key, known);
    if (this.#byFunction.size > keptFunctions) this.#byFunction.delete(this.#byFunction.keys().next().value!);
  }

  /** Replaces the revision's verdict before; undefined: its policy is not asked any more. */
  stand({ namespace, name, number }: FunctionId & { readonly number: number }, decision?: RecordedDecision): void {
    const key = `${namespace}/${name}`;
    let revisions = this.#standing.get(key);
    if (decision === undefined) {
      revisions?.delete(number);
      if (revisions?.size === 0) this.#standing.delete(key);
      return;
    }
    if (revisions === undefined) this.#standing.set(key, (revisions = new Map()));
    revisions.set(number, decision);
  }

  /** What stands now, then what was done. */
  newestFirst(id: FunctionId): RecordedDecision[] {
    const key = `${id.namespace}/${id.name}`;
    const standing = [...(this.#standing.get(key)?.values() ?? [])].toReversed();
    return [...standing, ...(this.#byFunction.get(key)?.toReversed() ?? [])];
  }

  forget(id: FunctionId): void {
    this.#byFunction.delete(`${id.namespace}/${id.name}`);
    this.#standing.delete(`${id.namespace}/${id.name}`);
  }
}

const keptDecisions = 50;
const keptFunctions = 10_000;
