import type { Json } from "./definition.ts";
import type { Failure, TaskSpec, Value } from "./event.ts";
import { type Contents, contentsOf } from "./expression.ts";
import { episodePrefix, type RunState, type Task } from "./state.ts";

/**
 * How a deciding function is asked, and how its answer is read. A dialect brings its own: a conductor's result, or the
 * action list of an orchestrator that replays. Both are pure; what they need of the past is in the state.
 */
export interface DeciderProtocol {
  /** The question. Throws `Unloaded` for outputs that it has to hold. */
  question(state: RunState, contents: Contents): Json;
  /** Throws a `RangeError`, saying what is wrong, for what is no answer. */
  answer(answer: Json, state: RunState): DeciderAnswer;
}

export interface DeciderAnswer {
  /** Tasks by ids that the decider makes up. One that it named before is the same task and begins once. */
  readonly schedule: readonly { readonly id: string; readonly spec: TaskSpec }[];
  readonly done?: { readonly output: Json } | { readonly error: Failure };
  /** The run begins anew under its id with this input; its history so far goes. */
  readonly restart?: { readonly input: Json };
}

/**
 * Question: `{ workflow, generation, episode, input, state, tasks: { ID: { kind, status, output?, error? } }, news, signals }`.
 * `news` names the tasks settled since the last question; `signals` are those that no task has taken.
 * Answer: `{ schedule?: [{ id, call | workflow | wait | event, input?, tag?, timeoutMs? }], state?, done?, output?, error?, restart? }`.
 */
export const nativeProtocol: DeciderProtocol = {
  question(state, contents) {
    const { started } = state;
    const own = [...state.tasks.values()].filter(({ id }) => id.startsWith(episodePrefix));
    const others = [...state.tasks.values()].filter(({ id }) => !id.startsWith(episodePrefix));
    const last = own.at(-1);
    const lastAnswer = last?.outcome?.ok === true ? last.outcome.value : undefined;
    const values = [
      started.input,
      lastAnswer ?? nothing,
      ...others.map(valueOf),
      ...state.signals.map(({ value }) => value),
    ];
    const [input = null, answer = null, ...rest] = contentsOf(values, contents);
    const outputs = rest.slice(0, others.length);
    return {
      workflow: started.workflow,
      generation: started.generation,
      episode: own.length,
      input,
      state: (isObject(answer) ? answer["state"] : undefined) ?? null,
      tasks: Object.fromEntries(others.map((task, index) => [task.id, described(task, outputs[index] ?? null)])),
      news: others.filter((task) => (task.settledBy ?? 0) > (last?.scheduledBy ?? 0)).map(({ id }) => id),
      signals: state.signals.map(({ name, id }, index) => ({ name, id, value: rest[others.length + index] ?? null })),
    };
  },

  answer(answer) {
    if (!isObject(answer)) throw new RangeError("the decider's answer is no object");
    const { schedule = [], done, output = null, error, restart } = answer;
    if (!Array.isArray(schedule)) throw new RangeError("`schedule` is no list");
    const wanted = (schedule as readonly Json[]).map((one, index) => readTask(one, `schedule.${index}`));
    if (error !== undefined && error !== null) return { schedule: wanted, done: { error: readFailure(error) } };
    if (done === true) return { schedule: wanted, done: { output } };
    return { schedule: wanted, ...(restart === undefined ? {} : { restart: { input: restart } }) };
  },
};

function readTask(json: Json, where: string): { id: string; spec: TaskSpec } {
  if (!isObject(json)) throw new RangeError(`${where} is no object`);
  const { id, call, workflow, wait, event, tag, timeoutMs } = json;
  if (typeof id !== "string" || !/^[\w.:-]{1,128}$/.test(id)) throw new RangeError(`${where}.id is no identifier`);
  const input = { json: json["input"] ?? null };
  if (typeof call === "string") {
    return { id, spec: { kind: "call", function: call, ...(typeof tag === "string" ? { tag } : {}), input } };
  }
  if (typeof workflow === "string") return { id, spec: { kind: "workflow", workflow, input } };
  if (typeof wait === "number" && wait >= 0) return { id, spec: { kind: "timer", delayMs: Math.floor(wait) } };
  if (typeof event === "string") {
    return { id, spec: { kind: "event", event, ...(typeof timeoutMs === "number" ? { timeoutMs } : {}) } };
  }
  throw new RangeError(`${where} needs call, workflow, wait or event`);
}

function readFailure(error: Json): Failure {
  const { code, message } = isObject(error) ? error : { code: undefined, message: error };
  return {
    code: typeof code === "string" ? code : "failed",
    message: typeof message === "string" ? message : "the decider gave up",
  };
}

const nothing: Value = { json: null };

function valueOf({ outcome }: Task): Value {
  return outcome?.value ?? nothing;
}

function described({ spec, outcome }: Task, output: Json): Json {
  if (outcome === undefined) return { kind: spec.kind, status: "open" };
  if (outcome.ok) return { kind: spec.kind, status: "succeeded", output };
  const { code, message } = outcome.error;
  return { kind: spec.kind, status: "failed", error: { code, message } };
}

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
