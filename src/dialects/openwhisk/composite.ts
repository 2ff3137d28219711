/** Sequences and compositions: documents as workflows, runs as activations. */
import type { Invocation, InvocationStatus } from "../../core/model.ts";
import type { Json, WorkflowDefinition } from "../../core/workflow/definition.ts";
import type { History, RunView, TaskView, Workflows } from "../../engine/engine.ts";
import { activationIdOf, failureOf, noteOf, type WhiskNote } from "./activation.ts";
import { conductorWorkflow } from "./conductor.ts";
import type { Action } from "./entities.ts";
import { engineName, type QualifiedName } from "./names.ts";
import { sequenceWorkflow } from "./sequence.ts";

/** The workflow that stands for it in the namespace `caller`, where it goes by `called`. */
export function workflowOf(action: Action, called: QualifiedName, caller: string): WorkflowDefinition {
  if (action.exec.kind === "sequence" && "components" in action.exec)
    return sequenceWorkflow(action.exec.components, caller);
  return conductorWorkflow(engineName(called, caller), caller);
}

/** The activation of a run that is over, as a record. `note` is that of its action. */
export async function compositeRecord(
  view: RunView,
  note: WhiskNote,
  { workflows, history }: { workflows: Pick<Workflows, "read">; history: Pick<History, "get"> },
): Promise<Invocation> {
  const { id, namespace, workflow: name, startedAt, endedAt = startedAt, parent } = view;
  const components = view.tasks.filter(({ kind }) => kind === "call" || kind === "workflow");
  const durations = await Promise.all(components.map((task) => durationOf(task, namespace, history)));
  const duration = durations.reduce((sum, one) => sum + one, 0);
  const { status, value, error } = await outcomeOf(view, workflows, note);
  const answer = Buffer.from(JSON.stringify(value));
  return {
    id,
    namespace,
    name,
    revision: 0,
    cause: parent === undefined ? { kind: "api" } : { kind: "workflow", parent },
    status: error === undefined ? "succeeded" : endStatuses[view.status],
    attempt: 1,
    responseStatus: status,
    timings: {
      acceptedAt: startedAt,
      queueMs: 0,
      coldStartMs: 0,
      initMs: 0,
      runMs: duration,
      totalMs: Math.max(0, endedAt - startedAt),
    },
    usage: {
      coldStart: false,
      billedMs: 0,
      memoryMb: 0,
      memoryPeakBytes: 0,
      cpuMs: 0,
      bytesIn: 0,
      bytesOut: answer.length,
    },
    ...(error === undefined ? {} : { error }),
    logs: [],
    result: { status, headers: ["content-type", "application/json"], body: answer.toString("base64") },
    annotations: {
      whisk: {
        ...note,
        kind: "sequence",
        duration,
        logs: components.map((task) => activationIdOf(task.invocation ?? task.run ?? "")),
      } as unknown as Json,
    },
  };
}

const endStatuses: Readonly<Record<RunView["status"], InvocationStatus>> = {
  running: "running",
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "cancelled",
  timed_out: "timed_out",
};

async function outcomeOf(
  view: RunView,
  workflows: Pick<Workflows, "read">,
  note: WhiskNote,
): Promise<{ status: number; value: Json; error?: { code: string; message: string } }> {
  if (view.status === "succeeded") {
    return { status: 200, value: view.output === undefined ? {} : await workflows.read(view.output) };
  }
  const failed = view.tasks.findLast((task) => task.status === "failed");
  if (failed?.output !== undefined) return { status: 502, value: await workflows.read(failed.output) };
  const error = view.error ?? { code: "internal", message: `the run ${view.status}` };
  const { result, statusCode } = failureOf(error.code, error.message, note.limits?.timeout);
  return { status: 502, value: result, ...(statusCode === 3 ? { error } : {}) };
}

async function durationOf(
  { timings, run, invocation }: TaskView,
  namespace: string,
  history: Pick<History, "get">,
): Promise<number> {
  if (timings !== undefined) return Math.round(timings.runMs);
  const id = run ?? invocation;
  const record = id === undefined ? undefined : await history.get(namespace, id);
  if (record === undefined) return 0;
  return noteOf(record)?.duration ?? Math.round(record.timings.runMs);
}
