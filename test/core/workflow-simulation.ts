import type { DeciderProtocol } from "../../src/core/workflow/decider.ts";
import { decide } from "../../src/core/workflow/decide.ts";
import type { Json, WorkflowDefinition } from "../../src/core/workflow/definition.ts";
import type { Outcome, RunEvent, TaskSpec } from "../../src/core/workflow/event.ts";
import { fold, openTasks, type RunState } from "../../src/core/workflow/state.ts";

/** What functions answer: by name, input and task. Throw `{ code, message }` for a failure. */
export type Functions = (name: string, input: Json, task: string) => Json;

export interface Simulation {
  readonly state: RunState;
  readonly events: readonly RunEvent[];
  /** Most calls that were open at the same time. */
  readonly widest: number;
}

/** Runs a workflow to its end, or to where nothing is open but events, without any engine. `pick` chooses what settles next. */
export function simulate(
  definition: WorkflowDefinition,
  input: Json,
  functions: Functions,
  pick: (open: number) => number = () => 0,
  given: { signals?: readonly { name: string; value: Json }[]; protocols?: Record<string, DeciderProtocol> } = {},
): Simulation {
  const events: RunEvent[] = [];
  let state: RunState | undefined;
  let now = 0;
  let refs = 0;
  let widest = 0;
  const signals = [...(given.signals ?? [])];
  const happen = (event: RunEvent): void => {
    events.push(event);
    state = fold(state, [event]);
  };
  happen({
    kind: "started",
    at: 0,
    workflow: "test",
    version: 1,
    definition,
    input: { json: input },
    generation: 0,
    depth: 0,
  });
  for (;;) {
    now++;
    const decision = decide(state!, new Map(), given.protocols);
    if (decision.kind === "load") throw new Error("nothing here is a blob");
    for (const command of decision.commands) {
      if (command.kind === "schedule") {
        const { task, spec, reason } = command;
        happen({ kind: "scheduled", at: now, task, ref: `r${refs++}`, spec, reason });
      } else if (command.kind === "end") {
        const { status, output, error, reason } = command;
        happen({ kind: "ended", at: now, status, reason, ...(output && { output }), ...(error && { error }) });
      } else {
        happen({ ...state!.started, at: now, input: command.input, generation: state!.started.generation + 1 });
      }
    }
    if (decision.commands.length > 0) continue;
    if (state!.status !== "running") return { state: state!, events, widest };
    const open = openTasks(state!).filter(({ spec }) => spec.kind !== "event");
    widest = Math.max(widest, open.length);
    // A signal is one of the things that may happen next.
    const chosen = pick(open.length + signals.length);
    if (chosen >= open.length) {
      const signal = signals.shift();
      if (signal === undefined) return { state: state!, events, widest };
      happen({ kind: "signalled", at: now, name: signal.name, id: `s${now}`, value: { json: signal.value } });
      continue;
    }
    const task = open[chosen]!;
    happen({ kind: "settled", at: now, ref: task.ref, outcome: outcomeOf(task.spec, task.id, functions) });
  }
}

function outcomeOf(spec: TaskSpec, task: string, functions: Functions): Outcome {
  if (spec.kind === "timer" || spec.kind === "event") return { ok: true, value: { json: null } };
  if (!("json" in spec.input)) throw new Error("nothing here is a blob");
  try {
    return {
      ok: true,
      value: { json: functions(spec.kind === "call" ? spec.function : spec.workflow, spec.input.json, task) },
    };
  } catch (thrown) {
    if (thrown instanceof Error) throw thrown;
    return { ok: false, error: thrown as { code: string; message: string } };
  }
}
