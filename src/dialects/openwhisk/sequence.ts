import type { WorkflowDefinition } from "../../core/workflow/definition.ts";
import { engineName, readReference } from "./names.ts";

/** Section 3.4: components of a sequence or composition, those of sequences in it counted. */
export const mostComponents = 50;

/**
 * A sequence as a workflow: each component's output is the next one's input, up to the first that answers an `error`.
 * `components` are fully qualified; one that is a sequence or a composition itself is a run of its own.
 */
export function sequenceWorkflow(components: readonly string[], namespace: string): WorkflowDefinition {
  return {
    steps: components.map((component) => ({
      call: engineName(readReference(component, namespace)!, namespace),
      preferWorkflow: true,
      stopWhen: { path: "$.error", exists: true },
    })),
  };
}
