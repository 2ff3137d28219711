import { z } from "@hono/zod-openapi";
import { catalogue, type ErrorCode, VirgaError } from "../../core/errors.ts";
import { checkName } from "../../core/names.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { Workflows } from "../../engine/engine.ts";
import { type Endpoint, endpoint, json, noContent, pageFrom } from "./endpoint.ts";
import * as schemas from "./schemas.ts";
import * as documents from "./workflow-schemas.ts";

const namespace = "/v1/namespaces/{namespace}";
const workflowPath = `${namespace}/workflows/{workflow}`;
const runPath = `${namespace}/workflow-runs/{id}`;

/** Workflows and their runs. */
export function workflowEndpoints(workflows: Workflows): Endpoint[] {
  return [...definitionEndpoints(workflows), ...runEndpoints(workflows)];
}

function definitionEndpoints(workflows: Workflows): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: `${namespace}/workflows`,
      summary: "Workflows",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Workflows by name", schema: schemas.listOf(documents.workflow) } },
      async run({ params, query: { after, limit } }) {
        const page = { limit: limit + 1, ...(after === undefined ? {} : { after }) };
        return pageFrom(await workflows.list(params.namespace, page), ({ name }) => name, limit);
      },
    }),
    endpoint({
      method: "put",
      path: workflowPath,
      summary: "Makes or changes a workflow; runs that have begun keep to the definition that they began with",
      access: "change",
      body: { schema: z.unknown(), documented: documents.definition },
      answers: { 200: { description: "The workflow", schema: documents.workflow } },
      async run({ params, body }) {
        checkName(params.workflow, "workflow", "workflow");
        return json(await workflows.put(params.namespace, params.workflow, body));
      },
    }),
    endpoint({
      method: "get",
      path: workflowPath,
      summary: "A workflow",
      access: "read",
      answers: { 200: { description: "The workflow", schema: documents.workflow } },
      async run({ params }) {
        const found = await workflows.get(params.namespace, params.workflow);
        if (found === undefined) throw unknown(params.namespace, params.workflow);
        return json(found);
      },
    }),
    endpoint({
      method: "delete",
      path: workflowPath,
      summary: "Deletes a workflow; its runs go on",
      access: "change",
      answers: { 204: { description: "Gone" } },
      async run({ params }) {
        if (await workflows.delete(params.namespace, params.workflow)) return noContent();
        throw unknown(params.namespace, params.workflow);
      },
    }),
  ];
}

function runEndpoints(workflows: Workflows): Endpoint[] {
  const runs = `${namespace}/workflow-runs`;
  return [
    endpoint({
      method: "post",
      path: runs,
      summary: "Starts a run. `idempotency-key` makes its repetition harmless for 24 h",
      access: "invoke",
      body: { schema: documents.start },
      answers: { 202: { description: "It is on disk and will run", schema: documents.started } },
      async run({ params, body, incoming }) {
        const key = incoming.headers["idempotency-key"];
        const { id, duplicate } = await workflows.start({
          namespace: params.namespace,
          workflow: body.workflow,
          input: { json: (body.input ?? null) as Json },
          ...(typeof key === "string" ? { idempotencyKey: key } : {}),
        });
        const status = `/v1/namespaces/${params.namespace}/workflow-runs/${id}`;
        return json({ id, duplicate, status }, 202, { location: status });
      },
    }),
    endpoint({
      method: "get",
      path: runs,
      summary: "Runs, newest first",
      access: "read",
      query: z.object({
        ...schemas.page,
        after: schemas.identifier.optional(),
        workflow: schemas.name.optional(),
        status: documents.runStatus.optional(),
      }),
      answers: { 200: { description: "Runs", schema: schemas.listOf(documents.runSummary) } },
      async run({ params, query: { limit, after, workflow, status } }) {
        const found = await workflows.runs(params.namespace, {
          limit: limit + 1,
          ...(after === undefined ? {} : { after }),
          ...(workflow === undefined ? {} : { workflow }),
          ...(status === undefined ? {} : { status }),
        });
        return pageFrom(found, ({ id }) => id, limit);
      },
    }),
    endpoint({
      method: "get",
      path: runPath,
      summary: "Where a run stands, with its tasks and their invocations; with `waitMs` once it is over, or then",
      access: "read",
      query: z.object({ waitMs: documents.waitMs.optional() }),
      answers: { 200: { description: "The run", schema: documents.run } },
      async run({ params, query }) {
        if (query.waitMs !== undefined) await workflows.ended(params.namespace, params.id, query.waitMs);
        return json(await runOf(params));
      },
    }),
    endpoint({
      method: "get",
      path: `${runPath}/history`,
      summary: "What happened in a run, event by event",
      access: "read",
      query: z.object({ from: documents.sequence.default(1), limit: schemas.limit }),
      answers: {
        200: {
          description: "Events by sequence number; `next` is the `from` of the next page",
          schema: schemas.listOf(documents.event),
        },
      },
      async run({ params, query: { from, limit } }) {
        const items = await workflows.history(params.namespace, params.id, { from, limit });
        if (items.length === 0) await runOf(params);
        const last = items.at(-1);
        return json({
          items,
          ...(items.length === limit && last !== undefined ? { next: String(last.sequence + 1) } : {}),
        });
      },
    }),
    endpoint({
      method: "get",
      path: `${runPath}/result`,
      summary: "The output of a run that is over, or its error",
      access: "read",
      answers: {
        200: { description: "The output, as JSON", schema: z.unknown() },
        409: { description: "It is not over", schema: schemas.error },
      },
      async run({ params }) {
        const { id, status, output, error } = await runOf(params);
        if (status === "running") {
          throw new VirgaError("conflict", `run ${id} is running`, { fix: "ask again when it is over" });
        }
        if (error !== undefined) {
          const code: ErrorCode = Object.hasOwn(catalogue, error.code) ? (error.code as ErrorCode) : "function_error";
          const thrown = new VirgaError(code, error.message);
          return json({ error: { ...thrown.toBody().error, code: error.code } }, thrown.status, {
            "x-virga-workflow-run": id,
          });
        }
        const content = output === undefined ? null : await workflows.read(output);
        return json(content, 200, { "x-virga-workflow-run": id });
      },
    }),
    endpoint({
      method: "post",
      path: `${runPath}/signals`,
      summary: "Sends an event to a run, for the step that waits for it or will",
      access: "invoke",
      body: { schema: documents.signal },
      answers: {
        202: { description: "It is on disk", schema: documents.signalled },
        409: { description: "The run is over", schema: schemas.error },
      },
      async run({ params, body }) {
        const value = { json: (body.value ?? null) as Json };
        const id = body.id === undefined ? {} : { id: body.id };
        return json(await workflows.signal(params.namespace, params.id, { name: body.name, value, ...id }), 202);
      },
    }),
    endpoint({
      method: "delete",
      path: runPath,
      summary: "Cancels a run; its calls are cut off",
      access: "invoke",
      answers: {
        204: { description: "It is cancelled" },
        409: { description: "It was over", schema: schemas.error },
      },
      async run({ params }) {
        if (await workflows.cancel(params.namespace, params.id)) return noContent();
        const { id, status } = await runOf(params);
        throw new VirgaError("conflict", `run ${id} is over: ${status}`);
      },
    }),
  ];

  async function runOf({ namespace, id }: { namespace: string; id: string }) {
    const run = await workflows.run(namespace, id);
    if (run !== undefined) return run;
    throw new VirgaError("not_found", `there is no workflow run ${id} in namespace ${namespace}`, {
      fix: "runs are kept for a while only; list them with: virga workflow runs",
    });
  }
}

function unknown(namespace: string, name: string): VirgaError {
  return new VirgaError("not_found", `there is no workflow ${name} in namespace ${namespace}`, {
    fix: "list them with: virga workflow list",
  });
}
