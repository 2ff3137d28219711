import { z } from "@hono/zod-openapi";
import { VirgaError } from "../../core/errors.ts";
import type { FunctionId } from "../../core/model.ts";
import type { Engine, FollowedLine } from "../../engine/engine.ts";
import type { Clock } from "../../ports/clock.ts";
import { type CallPath, completeHeaders, invocationRequest, mostAsyncBytes, tooLarge } from "../call-path.ts";
import { unknownFunction } from "../credential.ts";
import { readHead } from "../request-head.ts";
import { newTraceparent } from "../../telemetry/trace-context.ts";
import { received } from "./body.ts";
import { type Endpoint, endpoint, json } from "./endpoint.ts";
import { LineStream } from "./line-stream.ts";
import * as schemas from "./schemas.ts";

const one = "/v1/namespaces/{namespace}/functions/{function}";

/** Asynchronous calls and the lines that functions write. Calls that wait for their answer take the call path. */
export function callEndpoints(engine: Engine, path: CallPath, clock: Clock): Endpoint[] {
  return [
    endpoint({
      method: "post",
      path: `${one}/invocations`,
      summary: "Accepts an asynchronous call with this body. `idempotency-key` makes its repetition harmless for 24 h",
      access: "invoke",
      rawBody: "The function's request body, of whatever type.",
      answers: { 202: { description: "It is on disk and will run", schema: schemas.accepted } },
      async run({ params, incoming, requestId }) {
        const head = readHead(incoming);
        const target = { namespace: params.namespace, name: params.function, target: "/", via: "api" as const };
        const revision = await engine.functions.resolve(target, {}, path.random());
        const limit = Math.min(revision.config.limits.requestBytes, mostAsyncBytes);
        if (head.contentLength > limit) throw tooLarge(limit);
        const body = await gathered(received(incoming, clock, path.requestTimeoutMs), limit);
        const ids = { requestId, traceparent: head.traceparent ?? newTraceparent() };
        completeHeaders(path, incoming, target, head, ids);
        const {
          resolved: _resolved,
          revision: _revision,
          ...call
        } = invocationRequest(path, incoming, target, head, revision, ids, body);
        const { id, duplicate } = await engine.dispatcher.accept({
          ...call,
          ...chosen(head.revision, head.tag),
          cause: { ...call.cause, kind: "async" },
          body,
        });
        const status = `/v1/namespaces/${params.namespace}/invocations/${id}`;
        return json({ id, duplicate, status }, 202, { location: status, "x-virga-invocation": id });
      },
    }),
    endpoint({
      method: "get",
      path: `${one}/logs`,
      summary: "Lines that a function wrote, oldest first; with `follow` those that it writes from now on, too",
      access: "read",
      query: z.object({
        follow: z.enum(["true", "false"]).optional(),
        since: schemas.moment.optional(),
      }),
      answers: {
        200: {
          description: "A FollowedLine of JSON on each line; empty lines say that the answer goes on",
          type: "application/x-ndjson",
          schema: schemas.followedLine,
        },
      },
      async run({ params, query }) {
        const id = { namespace: params.namespace, name: params.function };
        if ((await engine.functions.get(id)) === undefined) throw unknownFunction(id);
        return logs(engine, clock, id, query.follow === "true", query.since);
      },
    }),
  ];
}

/** Records that are looked at for past lines. */
const mostRecords = 1000;

async function logs(
  engine: Engine,
  clock: Clock,
  id: FunctionId,
  follow: boolean,
  since: number | undefined,
): Promise<Response> {
  let live: FollowedLine[] | undefined = [];
  let unfollow = (): void => undefined;
  const lines = new LineStream(
    clock,
    (count) => lostLine(id, count, clock.now()),
    () => unfollow(),
  );
  // First the ear, then the past: a line between the two is in one of them, or in both and then left out of the first.
  if (follow) {
    unfollow = engine.history.follow(id, (line) => {
      if (live === undefined) lines.push(line);
      else live.push(line);
    });
  }
  try {
    const records = await engine.history.list(id.namespace, {
      name: id.name,
      limit: mostRecords,
      ...(since === undefined ? {} : { since }),
    });
    const seen = new Set<string>();
    for (const record of records.toReversed()) {
      seen.add(record.id);
      for (const line of record.logs) {
        lines.push({
          ...line,
          ...id,
          revision: record.revision,
          instance: record.instance ?? "",
          invocation: record.id,
        } satisfies FollowedLine);
      }
    }
    for (const line of live) if (line.invocation === undefined || !seen.has(line.invocation)) lines.push(line);
    live = undefined;
  } catch (thrown) {
    lines.last();
    throw thrown;
  }
  if (!follow) lines.last();
  return lines.response;
}

function lostLine(id: FunctionId, count: number, at: number): FollowedLine {
  const text = `[${count} lines were dropped: this reader is too slow]`;
  return { ...id, at, stream: "stderr", text, revision: 0, instance: "" };
}

async function gathered(content: AsyncIterable<Uint8Array>, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of content) {
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function chosen(revision: string | undefined, tag: string | undefined): { revision?: number; tag?: string } {
  if (revision === undefined) return tag === undefined ? {} : { tag };
  const number = Number(revision);
  if (Number.isSafeInteger(number) && number > 0) return { revision: number };
  throw new VirgaError("bad_request", "x-virga-revision is no revision number", { field: "x-virga-revision" });
}
