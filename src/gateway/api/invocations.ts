import { z } from "@hono/zod-openapi";
import { catalogue, type ErrorCode, VirgaError } from "../../core/errors.ts";
import type { Invocation, InvocationStatus } from "../../core/model.ts";
import type { AsyncStatus, Engine } from "../../engine/engine.ts";
import type { Blobs } from "../../ports/blobs.ts";
import { answerHead } from "../answer-head.ts";
import { type Endpoint, endpoint, json, noContent, pageFrom } from "./endpoint.ts";
import * as schemas from "./schemas.ts";

const list = "/v1/namespaces/{namespace}/invocations";
const one = `${list}/{id}`;
const letters = "/v1/namespaces/{namespace}/dead-letters";

/** Records of calls, and asynchronous calls that are under way or were given up. */
export function invocationEndpoints(engine: Engine, values: Pick<Blobs, "get">): Endpoint[] {
  const { history, dispatcher } = engine;

  return [
    endpoint({
      method: "get",
      path: list,
      summary: "Records of calls, newest first",
      access: "read",
      query: z.object({
        function: schemas.name.optional(),
        status: schemas.invocationStatus.optional(),
        since: schemas.moment.optional(),
        until: schemas.moment.optional(),
        before: schemas.identifier.optional(),
        after: schemas.identifier.optional().describe("The same as `before`, as other lists call it."),
        limit: schemas.limit,
      }),
      answers: { 200: { description: "Records", schema: schemas.listOf(schemas.invocation) } },
      async run({ params, query }) {
        const before = query.before ?? query.after;
        const records = await history.list(params.namespace, {
          limit: query.limit + 1,
          ...(query.function === undefined ? {} : { name: query.function }),
          ...(query.status === undefined ? {} : { status: query.status }),
          ...(query.since === undefined ? {} : { since: query.since }),
          ...(query.until === undefined ? {} : { until: query.until }),
          ...(before === undefined ? {} : { before }),
        });
        return pageFrom(records, ({ id }) => id, query.limit);
      },
    }),
    endpoint({
      method: "get",
      path: one,
      summary: "The record of a call, or where an asynchronous call stands",
      access: "read",
      answers: {
        200: {
          description: "The record; of an asynchronous call that is not settled its status",
          schema: z.union([schemas.invocation, schemas.asyncStatus]),
        },
      },
      async run({ params: { namespace, id } }) {
        const { status, invocation } = await look(namespace, id);
        return json(invocation ?? status);
      },
    }),
    endpoint({
      method: "get",
      path: `${one}/result`,
      summary: "The kept answer of a settled asynchronous call, with its own status, headers and body",
      access: "read",
      answers: {
        200: { description: "The function's answer, whatever its status and type", type: "*/*", schema: z.any() },
        409: { description: "It is not settled", schema: schemas.error },
      },
      async run({ params: { namespace, id } }) {
        const { status, invocation } = await look(namespace, id);
        if (invocation === undefined) {
          throw new VirgaError("conflict", `invocation ${id} is ${status?.status ?? "running"}`, {
            fix: "ask again when it is settled",
          });
        }
        return resultOf(invocation, values);
      },
    }),
    endpoint({
      method: "delete",
      path: one,
      summary: "Cancels an asynchronous call",
      access: "change",
      answers: { 204: { description: "Cancelled" }, 409: { description: "It was settled", schema: schemas.error } },
      async run({ params: { namespace, id } }) {
        if (await dispatcher.cancel(namespace, id)) return noContent();
        await look(namespace, id);
        throw new VirgaError("conflict", `invocation ${id} is settled already`);
      },
    }),
    endpoint({
      method: "get",
      path: letters,
      summary: "Asynchronous calls that were given up, oldest first",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Dead letters", schema: schemas.listOf(schemas.asyncStatus) } },
      async run({ params, query: { limit, after } }) {
        const dead = await dispatcher.deadLetters(params.namespace, {
          limit: limit + 1,
          ...(after === undefined ? {} : { after }),
        });
        return pageFrom(dead, ({ id }) => id, limit);
      },
    }),
    endpoint({
      method: "post",
      path: `${letters}/{id}/revive`,
      summary: "Runs a dead letter again, with all its attempts",
      access: "change",
      answers: { 204: { description: "It waits to be run" } },
      async run({ params: { namespace, id } }) {
        if (await dispatcher.revive(namespace, id)) return noContent();
        throw new VirgaError("not_found", `there is no dead letter ${id} in namespace ${namespace}`);
      },
    }),
  ];

  /** The record of a settled call, or the status of one that is not. */
  async function look(namespace: string, id: string): Promise<{ status?: AsyncStatus; invocation?: Invocation }> {
    const status = await dispatcher.status(namespace, id);
    if (status !== undefined && status.invocation === undefined && !isSettled(status.status)) return { status };
    const invocation = status?.invocation ?? (await history.get(namespace, id));
    if (invocation !== undefined) return isSettled(invocation.status) ? { invocation } : { ...partial(invocation) };
    if (status !== undefined) return { status };
    throw new VirgaError("not_found", `there is no invocation ${id} in namespace ${namespace}`, {
      fix: "records are kept for a while only; check the id and the namespace",
    });
  }
}

function isSettled(status: InvocationStatus): boolean {
  return status !== "queued" && status !== "running";
}

/** A synchronous call that still runs has a record, but no end. */
function partial(invocation: Invocation): { status: AsyncStatus } {
  const { id, namespace, name, status, attempt, timings } = invocation;
  return { status: { ...invocation, id, namespace, name, status, attempt, acceptedAt: timings.acceptedAt } };
}

async function resultOf(invocation: Invocation, values: Pick<Blobs, "get">): Promise<Response> {
  const { id, result, error } = invocation;
  const trace: [string, string][] = [["x-virga-invocation", id]];
  if (result === undefined) {
    if (error === undefined) {
      throw new VirgaError("not_found", `invocation ${id} has no kept answer`, {
        fix: "only the answers of asynchronous calls are kept",
      });
    }
    const code: ErrorCode = Object.hasOwn(catalogue, error.code) ? (error.code as ErrorCode) : "function_error";
    const thrown = new VirgaError(code, error.message, error.stack === undefined ? {} : { stack: error.stack });
    return json(thrown.toBody(), thrown.status, Object.fromEntries(trace));
  }
  const { status, headers } = answerHead(result.status, result.headers, false);
  const pairs: [string, string][] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    pairs.push([headers[index] as string, headers[index + 1] as string]);
  }
  // It is a function's page on the API's address: a browser must not run it with the API's origin.
  pairs.push(...trace, ["content-security-policy", "sandbox"], ["x-content-type-options", "nosniff"]);
  if (status === 204 || status === 304) return new Response(null, { status, headers: pairs });
  if (result.blob === undefined) {
    return new Response(Buffer.from(result.body ?? "", "base64"), { status, headers: pairs });
  }
  const { content, size } = await values.get(result.blob);
  pairs.push(["content-length", String(size)]);
  return new Response(ReadableStream.from(content), { status, headers: pairs });
}
