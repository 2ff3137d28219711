/** Documents of workflows and their runs. Definitions are the engine's to check, which knows where a reference leads. */
import { z } from "@hono/zod-openapi";
import { identifier, name } from "./schemas.ts";

const time = z.number().describe("Milliseconds since the Unix epoch.");
const text = z.string();
const whole = z.number().int();

const step = z.looseObject({
  stopWhen: z
    .unknown()
    .optional()
    .describe("Of a call: a condition on its answer as `$`; where it holds, the block ends with the answer."),
  preferWorkflow: z
    .unknown()
    .optional()
    .describe(
      "Of a call, `true`: where the namespace has a workflow of the function's name, a run of it begins instead.",
    ),
});

export const definition = z
  .object({
    description: text.optional(),
    steps: z.array(step).optional().describe("Steps, as docs/workflows.md has them."),
    decider: z.object({ function: name, protocol: text.optional() }).optional(),
    output: z.unknown().optional().describe("A template of the run's output."),
    timeoutMs: whole.optional(),
  })
  .openapi("WorkflowDefinition", { description: "A list of steps, or the function that decides." });

export const workflow = z
  .object({ namespace: text, name: text, version: whole, definition, createdAt: time, updatedAt: time })
  .openapi("Workflow");

export const value = z
  .union([
    z.object({ json: z.unknown() }),
    z.object({ blob: text, bytes: whole, as: z.enum(["json", "text", "bytes"]) }),
  ])
  .openapi("WorkflowValue", { description: "In place; or, over 256 KiB, as a blob." });

export const runStatus = z.enum(["running", "succeeded", "failed", "cancelled", "timed_out"]);
const failure = z.object({ code: text, message: text });

export const runSummary = z
  .object({
    namespace: text,
    id: text,
    workflow: text,
    version: whole,
    status: runStatus,
    startedAt: time,
    endedAt: time.optional(),
    parent: text.optional().describe("The run that this one is a task of."),
    error: failure.optional(),
  })
  .openapi("WorkflowRunSummary");

const timings = z.object({ queueMs: z.number(), coldStartMs: z.number(), runMs: z.number(), attempt: whole });

const task = z
  .object({
    id: text.describe("Where in the program: `checks/drc/0`, `synth#2` for a second attempt."),
    kind: z.enum(["call", "workflow", "timer", "event"]),
    target: text.optional().describe("The function, workflow or event."),
    status: z.enum(["open", "succeeded", "failed"]),
    reason: text,
    scheduledAt: time,
    settledAt: time.optional(),
    invocation: text.optional(),
    run: text.optional(),
    timings: timings.optional(),
    output: value.optional(),
    error: failure.optional(),
  })
  .openapi("WorkflowTask");

export const run = runSummary
  .extend({
    generation: whole,
    input: value,
    output: value.optional(),
    tasks: z.array(task),
    signals: z.array(text).describe("Names of signals that no task has taken."),
  })
  .openapi("WorkflowRun");

export const event = z
  .looseObject({
    sequence: whole,
    kind: z.enum(["started", "scheduled", "settled", "signalled", "stopped", "ended"]),
    at: time,
  })
  .openapi("WorkflowEvent");

export const start = z
  .strictObject({ workflow: name, input: z.unknown().optional() })
  .openapi("StartWorkflow", { description: "`input` is null where absent." });

export const started = z
  .object({ id: text, duplicate: z.boolean(), status: text.describe("Path of the run.") })
  .openapi("StartedWorkflow");

export const signal = z
  .strictObject({ name: identifier, value: z.unknown().optional(), id: identifier.optional() })
  .openapi("WorkflowSignal", { description: "The same `id` again is the same signal." });

export const signalled = z.object({ id: text, duplicate: z.boolean() }).openapi("SentWorkflowSignal");

export const waitMs = z.coerce.number().int("is no whole number").min(0, "is below 0").max(60_000, "is above 60000");
export const sequence = z.coerce.number().int("is no whole number").min(1, "is below 1");
