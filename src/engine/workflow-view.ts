import { targetOf } from "../core/workflow/decide.ts";
import type { RunState, Task } from "../core/workflow/state.ts";
import type { RunView, TaskView } from "./engine.ts";
import { timeOf } from "./identifier.ts";

/** A run as it is shown. */
export function runView(namespace: string, id: string, state: RunState): RunView {
  const { started, status, endedAt, output, error, tasks, signals } = state;
  return {
    namespace,
    id,
    workflow: started.workflow,
    version: started.version,
    status,
    startedAt: timeOf(id) ?? started.at,
    ...(endedAt === undefined ? {} : { endedAt }),
    ...(started.parent === undefined ? {} : { parent: started.parent.run }),
    ...(error === undefined ? {} : { error }),
    generation: started.generation,
    input: started.input,
    ...(output === undefined ? {} : { output }),
    ...(started.annotations === undefined ? {} : { annotations: started.annotations }),
    tasks: [...tasks.values()].map(taskView),
    signals: signals.map(({ name }) => name),
  };
}

function taskView({ id, ref, spec, reason, scheduledAt, settledAt, outcome, timings }: Task): TaskView {
  const target = targetOf(spec);
  return {
    id,
    kind: spec.kind,
    ...(target === "" ? {} : { target }),
    status: outcome === undefined ? "open" : outcome.ok ? "succeeded" : "failed",
    reason,
    scheduledAt,
    ...(settledAt === undefined ? {} : { settledAt }),
    ...(spec.kind === "call" ? { invocation: ref } : {}),
    ...(spec.kind === "workflow" ? { run: ref } : {}),
    ...(timings === undefined ? {} : { timings }),
    ...(outcome?.value === undefined ? {} : { output: outcome.value }),
    ...(outcome === undefined || outcome.ok ? {} : { error: outcome.error }),
  };
}
