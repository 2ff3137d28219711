import type { Block, CallStep, Json, MapStep, ParallelStep, Retry, Step } from "./definition.ts";
import { workflowLimits } from "./definition.ts";
import type { Failure, Outcome, TaskSpec, Value } from "./event.ts";
import { contentOf, type Contents, contentsOf, fill, holds, BadReference, type Scope } from "./expression.ts";
import type { RunState } from "./state.ts";

/** A task that is to begin, and why. */
export interface Wanted {
  readonly task: string;
  readonly spec: TaskSpec;
  readonly reason: string;
}

/**
 * How far a list of steps has come, and which tasks it wants next. It is walked from its beginning each time, with the
 * outcomes that the run already has: what it gives depends on these alone, not on the order in which they came.
 * `outcome` is undefined while it waits. Throws `Unloaded`.
 */
export function walk(state: RunState, contents: Contents): { outcome: Outcome | undefined; wanted: Wanted[] } {
  const { definition, input, workflow } = state.started;
  const walker = new Walker(state, contents);
  const env: Env = { roots: { input, workflow: { json: workflow } }, names: new Map(), outer: undefined };
  const outcome = walker.block(definition.steps ?? [], env, input, "", "the run began");
  if (outcome?.ok !== true || definition.output === undefined) return { outcome, wanted: walker.wanted };
  return { outcome: walker.filled(definition.output, env, outcome.value), wanted: walker.wanted };
}

/** What a template sees: `names` of this block, then those of the blocks around it. */
interface Env {
  readonly roots: Readonly<Record<string, Value>>;
  readonly names: Map<string, Value>;
  readonly outer: Env | undefined;
}

class Walker {
  readonly wanted: Wanted[] = [];
  readonly #state: RunState;
  readonly #contents: Contents;

  constructor(state: RunState, contents: Contents) {
    this.#state = state;
    this.#contents = contents;
  }

  block(block: Block, env: Env, input: Value, path: string, why: string): Outcome | undefined {
    let previous = input;
    let reason = why;
    for (const [index, step] of stepsOf(block).entries()) {
      const id = `${path}${step.name ?? index}`;
      const outcome = this.#step(step, env, previous, id, reason);
      if (outcome?.ok !== true) return outcome;
      previous = outcome.value;
      if ("call" in step && this.#stops(step, previous)) return outcome;
      if (step.name !== undefined) env.names.set(step.name, previous);
      reason = `${id} is done`;
    }
    return { ok: true, value: previous };
  }

  filled(template: Json, env: Env, previous: Value): Outcome {
    return this.#guarded(() => okay(fill(template, scopeOf(env, previous), this.#contents)));
  }

  /** A bad reference is a failure of its step. */
  #guarded<T extends Outcome | undefined>(action: () => T): T | (Outcome & { ok: false }) {
    try {
      return action();
    } catch (thrown) {
      if (thrown instanceof BadReference) return failed(thrown.code, thrown.message);
      throw thrown;
    }
  }

  /** All attempts of a step, then the block that catches its failure. */
  #step(step: Step, env: Env, previous: Value, id: string, why: string): Outcome | undefined {
    let reason = why;
    for (let attempt = 1; ; attempt++) {
      const at = attempt === 1 ? id : `${id}#${attempt}`;
      const why = reason;
      const outcome = this.#guarded(() => this.#attempt(step, env, previous, at, why));
      if (outcome === undefined || outcome.ok) return outcome;
      const { retry } = step;
      if (retry === undefined || attempt >= retry.attempts || !fits(retry.codes, outcome.error)) {
        return this.#caught(step, env, previous, id, outcome);
      }
      reason = `attempt ${attempt + 1} of ${retry.attempts}, after ${outcome.error.code}: ${outcome.error.message}`;
      const delayMs = pauseMs(retry, attempt);
      if (delayMs > 0 && this.#task(`${id}~${attempt}`, { kind: "timer", delayMs }, reason) === undefined)
        return undefined;
    }
  }

  #caught(step: Step, env: Env, previous: Value, id: string, outcome: Outcome & { ok: false }): Outcome | undefined {
    const { error } = outcome;
    const index = step.catch?.findIndex(({ codes }) => fits(codes, error)) ?? -1;
    const handler = step.catch?.[index];
    if (handler === undefined) return outcome;
    const described = { json: { code: error.code, message: error.message } };
    return this.block(
      handler.do,
      inner(env, { error: described }),
      previous,
      `${id}!${index}/`,
      `${id} failed: ${error.code}`,
    );
  }

  #attempt(step: Step, env: Env, previous: Value, id: string, reason: string): Outcome | undefined {
    if ("call" in step) return this.#call(step, env, previous, id, reason);
    if ("parallel" in step) return this.#parallel(step, env, previous, id, reason);
    if ("map" in step) return this.#map(step, env, previous, id, reason);
    if ("choose" in step) {
      const scope = scopeOf(env, previous);
      const index = step.choose.findIndex(({ when }) => holds(when, scope, this.#contents));
      const block = step.choose[index]?.do ?? step.otherwise;
      if (block === undefined) return { ok: true, value: previous };
      const key = index < 0 ? "otherwise" : String(index);
      return this.block(block, inner(env, {}), previous, `${id}/${key}/`, `${id} chose ${key}`);
    }
    if ("wait" in step) return this.#wait(step.wait, env, previous, id, reason);
    if ("event" in step) {
      const { event, timeoutMs } = step;
      return this.#task(id, { kind: "event", event, ...(timeoutMs === undefined ? {} : { timeoutMs }) }, reason);
    }
    if ("workflow" in step) {
      const input = step.input === undefined ? okay(previous) : this.filled(step.input, env, previous);
      if (!input.ok) return input;
      return this.#task(id, { kind: "workflow", workflow: step.workflow, input: input.value }, reason);
    }
    if ("set" in step) return this.filled(step.set, env, previous);
    return failed(step.fail.code ?? "failed", step.fail.message);
  }

  #call(step: CallStep, env: Env, previous: Value, id: string, reason: string): Outcome | undefined {
    const input = step.input === undefined ? okay(previous) : this.filled(step.input, env, previous);
    if (!input.ok) return input;
    const { call, tag, preferWorkflow } = step;
    const outcome = this.#task(
      id,
      {
        kind: "call",
        function: call,
        ...(tag === undefined ? {} : { tag }),
        ...(preferWorkflow === undefined ? {} : { preferWorkflow }),
        input: input.value,
      },
      reason,
    );
    if (outcome?.ok !== true || step.failWhen === undefined) return outcome;
    const { value } = outcome;
    if (!holds(step.failWhen, answerScope(value), this.#contents)) return outcome;
    return { ...failed("failed", `the answer of ${call} counts as a failure`), value };
  }

  #stops({ stopWhen }: CallStep, answer: Value): boolean {
    return stopWhen !== undefined && holds(stopWhen, answerScope(answer), this.#contents);
  }

  #wait(wait: number | string, env: Env, previous: Value, id: string, reason: string): Outcome | undefined {
    const found = this.filled(wait, env, previous);
    if (!found.ok) return found;
    const delayMs = contentOf(found.value, this.#contents);
    if (typeof delayMs !== "number" || !(delayMs >= 0 && delayMs <= workflowLimits.longestWaitMs)) {
      return failed("invalid_wait", `${id} cannot wait for ${short(delayMs)} ms`);
    }
    return this.#task(id, { kind: "timer", delayMs: Math.floor(delayMs) }, reason) && okay(previous);
  }

  #parallel(step: ParallelStep, env: Env, previous: Value, id: string, reason: string): Outcome | undefined {
    const branches = Object.entries(step.parallel);
    const outputs = this.#join(branches.length, step.concurrency, (index) => {
      const [key, block] = branches[index]!;
      return this.block(block, inner(env, {}), previous, `${id}/${key}/`, reason);
    });
    if (outputs?.ok !== true || Array.isArray(step.parallel)) return outputs;
    const list = contentOf(outputs.value, this.#contents) as readonly Json[];
    return okay({ json: Object.fromEntries(branches.map(([key], index) => [key, list[index] ?? null])) });
  }

  #map(step: MapStep, env: Env, previous: Value, id: string, reason: string): Outcome | undefined {
    const found = this.filled(step.map, env, previous);
    if (!found.ok) return found;
    const items = contentOf(found.value, this.#contents);
    if (!Array.isArray(items)) return failed("invalid_map", `${id} needs a list, not ${short(items)}`);
    const list = items as readonly Json[];
    if (list.length > workflowLimits.tasks) return failed("too_many_tasks", `${id} has ${list.length} items`);
    return this.#join(list.length, step.concurrency, (index) => {
      const item = { json: list[index]! };
      return this.block(step.do, inner(env, { item, index: { json: index } }), item, `${id}/${index}/`, reason);
    });
  }

  /**
   * Branches begin in order, up to `concurrency` unfinished ones; all that were begun go on to their end, also when one
   * fails. The failure is then that of the first by order: which one came first is chance.
   */
  #join(
    count: number,
    concurrency = Number.POSITIVE_INFINITY,
    branch: (index: number) => Outcome | undefined,
  ): Outcome | undefined {
    const values: Value[] = [];
    let failure: Outcome | undefined;
    let unfinished = 0;
    for (let index = 0; index < count && unfinished < concurrency; index++) {
      const outcome = branch(index);
      if (outcome === undefined) unfinished++;
      else if (outcome.ok) values.push(outcome.value);
      else failure ??= outcome;
    }
    if (unfinished > 0) return undefined;
    if (failure !== undefined) return failure;
    const bytes = values.reduce((sum, value) => sum + ("blob" in value ? value.bytes : 0), 0);
    if (bytes > workflowLimits.valueBytes) {
      return failed("payload_too_large", `the outputs together are larger than ${workflowLimits.valueBytes} bytes`);
    }
    return okay({ json: contentsOf(values, this.#contents) });
  }

  /** Its outcome; where there is no such task yet it is wanted. */
  #task(id: string, spec: TaskSpec, reason: string): Outcome | undefined {
    const task = this.#state.tasks.get(id);
    if (task === undefined) this.wanted.push({ task: id, spec, reason });
    return task?.outcome;
  }
}

/** `$` is the answer. */
function answerScope(answer: Value): Scope {
  return (root) => (root === "" ? answer : undefined);
}

export function stepsOf(block: Block): readonly Step[] {
  return Array.isArray(block) ? (block as readonly Step[]) : [block as Step];
}

function inner(outer: Env, roots: Readonly<Record<string, Value>>): Env {
  return { roots, names: new Map(), outer };
}

function scopeOf(env: Env, previous: Value): Scope {
  return (root) => {
    if (root === "previous") return previous;
    const name = root.startsWith("steps.") ? root.slice("steps.".length) : undefined;
    for (let at: Env | undefined = env; at !== undefined; at = at.outer) {
      const found = name === undefined ? own(at.roots, root) : at.names.get(name);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

function own(roots: Readonly<Record<string, Value>>, root: string): Value | undefined {
  return Object.hasOwn(roots, root) ? roots[root] : undefined;
}

function fits(codes: readonly string[] | undefined, error: Failure): boolean {
  return codes === undefined || codes.includes(error.code);
}

/** No jitter: it would have to be kept for the walk to be the same again. */
function pauseMs({ backoffMs = 0, maxBackoffMs = 3_600_000 }: Retry, attempt: number): number {
  return Math.min(maxBackoffMs, backoffMs * 2 ** Math.min(attempt - 1, 40));
}

function okay(value: Value): Outcome & { ok: true } {
  return { ok: true, value };
}

function failed(code: string, message: string): Outcome & { ok: false } {
  return { ok: false, error: { code, message } };
}

function short(json: Json): string {
  const text = JSON.stringify(json);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
