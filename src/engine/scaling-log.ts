import type { FunctionId } from "../core/model.ts";

export interface RecordedDecision {
  readonly at: number;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

/** The newest scaling decisions of each function. */
export class ScalingLog {
  readonly #byFunction = new Map<string, RecordedDecision[]>();

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

  newestFirst(id: FunctionId): RecordedDecision[] {
    return this.#byFunction.get(`${id.namespace}/${id.name}`)?.toReversed() ?? [];
  }

  forget(id: FunctionId): void {
    this.#byFunction.delete(`${id.namespace}/${id.name}`);
  }
}

const keptDecisions = 50;
const keptFunctions = 10_000;
