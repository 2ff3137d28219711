/** Conductor actions as deciders of workflows (contract section 1.6). */
import type { DeciderAnswer, DeciderProtocol } from "../../core/workflow/decider.ts";
import type { Json, WorkflowDefinition } from "../../core/workflow/definition.ts";
import { contentsOf } from "../../core/workflow/expression.ts";
import { episodePrefix, type RunState, type Task } from "../../core/workflow/state.ts";
import { engineName, readReference } from "./names.ts";
import { mostComponents } from "./sequence.ts";

export const conductorProtocolName = "openwhisk";

/** The conductor itself is the function `decider`, and called as such. */
export function conductorWorkflow(decider: string, namespace: string): WorkflowDefinition {
  return { decider: { function: decider, protocol: conductorProtocolName, settings: { namespace } } };
}

/**
 * A conductor answers `{ action?, params?, state? }`: with `action` that runs with `params`, and its result beside `state` is the
 * conductor's next input; without, `params` is the composition's result. An `error` in its answer ends the composition.
 */
export const conductorProtocol: DeciderProtocol = {
  question(state, contents) {
    const { conductor, components } = tasksOf(state);
    const last = conductor.at(-1);
    if (last === undefined) return contentsOf([state.started.input], contents)[0] ?? {};
    const component = components.at(-1);
    const failed = component?.outcome?.ok === false ? component.outcome.error : undefined;
    const [answer = null, output = null] = contentsOf(
      [last.outcome?.value ?? nothing, component?.outcome?.value ?? nothing],
      contents,
    );
    const result = failed === undefined ? boxed(output, "value") : { error: failureText(component, failed, output) };
    return { ...result, ...stateOf(answer) };
  },

  answer(answer, state): DeciderAnswer {
    const { conductor, components } = tasksOf(state);
    if (!isObject(answer)) return { schedule: [], done: { output: { value: answer } } };
    if (answer["error"] !== undefined) return { schedule: [], done: { output: { error: answer["error"] } } };
    const { action, params = {} } = answer;
    if (action === undefined || action === null) return { schedule: [], done: { output: boxed(params, "value") } };
    if (conductor.length > 2 * mostComponents) {
      return { schedule: [], done: { output: { error: "The composition has exceeded its limit of conductor runs." } } };
    }
    const name = typeof action === "string" ? componentName(action, namespaceOf(state)) : undefined;
    // One for each run of the conductor: asked again about the same answer, it is the same task, and the same decision.
    const id = `component/${conductor.length}`;
    const isTooMany = components.filter((task) => task.id !== id).length >= mostComponents;
    const target = isTooMany ? tooMany : (name ?? `${unknown}.${encodeURIComponent(text(action)).slice(0, 300)}`);
    return {
      schedule: [
        {
          id,
          spec: { kind: "call", function: target, preferWorkflow: true, input: { json: boxed(params, "value") } },
        },
      ],
    };
  },
};

/** Names that no action can have: calling them fails, and the conductor is told why. */
const unknown = "%unknown";
const tooMany = "%limit";

function componentName(action: string, namespace: string): string | undefined {
  const reference = readReference(action, namespace);
  return reference === undefined ? undefined : engineName(reference, namespace);
}

function failureText(component: Task | undefined, error: { code: string; message: string }, output: Json): Json {
  const target = component?.spec.kind === "call" ? component.spec.function : "";
  if (target === tooMany) return "The composition has exceeded its limit of components.";
  if (target.startsWith(`${unknown}.`)) {
    return `Failed to parse action name '${decodeURIComponent(target.slice(unknown.length + 1))}' during composition.`;
  }
  if (error.code === "not_found") return `Failed to resolve action with name '${target}' during composition.`;
  return (isObject(output) ? output["error"] : undefined) ?? error.message;
}

function tasksOf(state: RunState): { conductor: Task[]; components: Task[] } {
  const all = [...state.tasks.values()];
  return {
    conductor: all.filter(({ id }) => id.startsWith(episodePrefix)),
    components: all.filter(({ id }) => !id.startsWith(episodePrefix)),
  };
}

function namespaceOf({ started }: RunState): string {
  const settings = started.definition.decider?.settings;
  const namespace = settings !== undefined && isObject(settings) ? settings["namespace"] : undefined;
  return typeof namespace === "string" ? namespace : "_";
}

function stateOf(answer: Json): { readonly [key: string]: Json } {
  const state = isObject(answer) ? answer["state"] : undefined;
  return state === undefined || state === null ? {} : boxed(state, "state");
}

function boxed(value: Json, key: string): { readonly [key: string]: Json } {
  return isObject(value) ? value : { [key]: value };
}

function text(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

const nothing = { json: null };

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
