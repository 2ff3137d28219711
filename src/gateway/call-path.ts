/**
 * From a request to a running call: who may, what it is, where its body is. The way of every function call, so it
 * allocates little and takes no promise where the registry has the function in memory.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Revision } from "../core/model.ts";
import type { Engine, InvocationRequest } from "../engine/engine.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { requestId } from "../telemetry/request-id.ts";
import { newTraceparent } from "../telemetry/trace-context.ts";
import type { CallTarget } from "./address.ts";
import { corsHeaders, isPreflight, preflightHeaders } from "./cors.ts";
import { mayInvoke } from "./credential.ts";
import { Exchange } from "./exchange.ts";
import { gather, streamInto } from "./request-body.ts";
import type { RequestHead } from "./request-head.ts";

/** What the call path works with; one object for the life of a gateway. */
export interface CallPath {
  readonly engine: Pick<Engine, "functions" | "invoker" | "dispatcher" | "access">;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Makes ids: `x-request-id` of a request that has none. */
  readonly identify: () => string;
  /** Uniform in [0, 1): the traffic split. */
  readonly random: () => number;
  /** How long a small body may take to arrive. */
  readonly requestTimeoutMs: number;
  /** True behind a proxy whose `x-forwarded-…` headers are to be believed; else they are replaced. */
  readonly trustForwarded: boolean;
}

/** Serves one request for a function. Never throws; answers everything that is wrong. */
export function serveInvocation(
  path: CallPath,
  request: IncomingMessage,
  response: ServerResponse,
  target: CallTarget,
  head: RequestHead,
): void {
  const exchange = new Exchange(path, request, response, requestId(head.requestId, path.identify));
  try {
    const revision = resolve(path, target, head);
    if (revision instanceof Promise) {
      revision.then(
        (found) => admit(path, exchange, target, head, found),
        (thrown: unknown) => exchange.refuse(asVirgaError(thrown)),
      );
    } else {
      admit(path, exchange, target, head, revision);
    }
  } catch (thrown) {
    exchange.refuse(asVirgaError(thrown));
  }
}

/** The revision that a request goes to. Through the invoke API the caller may choose. */
export function resolve(path: CallPath, target: CallTarget, head: RequestHead): Revision | Promise<Revision> {
  if (target.via !== "api" || (head.revision === undefined && head.tag === undefined)) {
    const selector = target.tag === undefined ? anyRevision : { tag: target.tag };
    return path.engine.functions.resolve(target, selector, path.random());
  }
  if (head.revision === undefined) return path.engine.functions.resolve(target, { tag: head.tag }, 0);
  const revision = Number(head.revision);
  if (!Number.isSafeInteger(revision) || revision < 1) {
    throw new VirgaError("bad_request", "x-virga-revision is no revision number", { field: "x-virga-revision" });
  }
  return path.engine.functions.resolve(target, { revision }, 0);
}

/** The call as the engine takes it. `body` is undefined where it follows. */
export function invocationRequest(
  path: CallPath,
  request: IncomingMessage,
  target: CallTarget,
  head: RequestHead,
  revision: Revision,
  ids: { requestId: string; traceparent: string },
  body: Uint8Array | undefined,
): InvocationRequest {
  return {
    // A request without an id of its own is known by its call's.
    id: ids.requestId === head.requestId ? undefined : ids.requestId,
    namespace: target.namespace,
    name: target.name,
    // Pinned: what was checked (public or not, its limits) is what runs, though the traffic be split.
    revision: revision.number,
    resolved: revision,
    cause: { kind: target.via === "api" ? "api" : "http", requestId: ids.requestId, traceparent: ids.traceparent },
    method: request.method ?? "GET",
    target: target.target,
    url: `${protocolOf(path, request, head)}://${head.host}${request.url ?? "/"}`,
    headers: head.headers,
    body,
    ...(head.idempotencyKey === undefined ? {} : { idempotencyKey: head.idempotencyKey }),
  };
}

/** Adds what the platform tells a function about its caller. */
export function completeHeaders(
  path: CallPath,
  request: IncomingMessage,
  target: CallTarget,
  head: RequestHead,
  ids: { requestId: string; traceparent: string },
): void {
  const address = request.socket.remoteAddress ?? "";
  const peer = address.startsWith("::ffff:") ? address.slice(7) : address;
  const trusted = path.trustForwarded;
  head.headers.push(
    "x-forwarded-for",
    trusted && head.forwardedFor !== undefined ? `${head.forwardedFor}, ${peer}` : peer,
    "x-forwarded-host",
    trusted ? (head.forwardedHost ?? head.host) : head.host,
    "x-forwarded-proto",
    protocolOf(path, request, head),
    "x-request-id",
    ids.requestId,
    "traceparent",
    ids.traceparent,
  );
  if (target.parameters === undefined) return;
  for (const [name, value] of Object.entries(target.parameters)) {
    // Encoded again: a decoded parameter may hold what no header may.
    head.headers.push(`x-virga-param-${name.toLowerCase()}`, encodeURIComponent(value.toWellFormed()));
  }
}

const anyRevision = {};

/**
 * Bodies up to this size are gathered before the call starts, so that a slow client holds a connection and not an
 * instance; larger ones are streamed. One read of a socket is at most this long.
 */
const gatheredBytes = 64 * 2 ** 10;

/** The queue's bound on a message is 64 MiB, its head included. */
export const mostAsyncBytes = 63 * 2 ** 20;

const empty = new Uint8Array(0);

function admit(path: CallPath, exchange: Exchange, target: CallTarget, head: RequestHead, revision: Revision): void {
  try {
    const { config } = revision;
    const { request } = exchange;
    if (config.cors !== undefined) {
      if (isPreflight(request.method, head)) {
        exchange.answerEmpty(204, preflightHeaders(config.cors, head));
        return;
      }
      exchange.cors = corsHeaders(config.cors, head.origin);
    }
    exchange.owner = mayInvoke(path.engine.access, target, head, config.public);
    const limit = config.limits.requestBytes;
    if (head.contentLength > limit) throw tooLarge(limit);
    exchange.traceparent = head.traceparent ?? newTraceparent();
    completeHeaders(path, request, target, head, exchange);
    if (exchange.gone) return;
    if (head.prefer !== undefined && head.wantsAsync) accept(path, exchange, target, head, revision);
    else start(path, exchange, target, head, revision);
  } catch (thrown) {
    exchange.refuse(asVirgaError(thrown));
  }
}

function start(path: CallPath, exchange: Exchange, target: CallTarget, head: RequestHead, revision: Revision): void {
  const { request } = exchange;
  const { invoker } = path.engine;
  if (!head.hasBody) {
    exchange.handle = invoker.invoke(
      invocationRequest(path, request, target, head, revision, exchange, empty),
      exchange,
    );
    return;
  }
  if (!head.chunked && head.contentLength <= gatheredBytes) {
    if (head.expectsContinue) exchange.response.writeContinue();
    gather(path, request, head.contentLength, (body, error) => {
      if (error !== undefined) exchange.refuse(error);
      else if (!exchange.gone) {
        exchange.handle = invoker.invoke(
          invocationRequest(path, request, target, head, revision, exchange, body),
          exchange,
        );
      }
    });
    return;
  }
  if (head.expectsContinue) exchange.response.writeContinue();
  const handle = invoker.invoke(
    invocationRequest(path, request, target, head, revision, exchange, undefined),
    exchange,
  );
  exchange.handle = handle;
  const limit = revision.config.limits.requestBytes;
  if (!exchange.done) streamInto(exchange, handle, limit, () => exchange.abandon(tooLarge(limit)));
}

/** `Prefer: respond-async`: 202 once the call is on disk. */
function accept(path: CallPath, exchange: Exchange, target: CallTarget, head: RequestHead, revision: Revision): void {
  const { request } = exchange;
  const limit = Math.min(revision.config.limits.requestBytes, mostAsyncBytes);
  if (head.contentLength > limit) throw tooLarge(limit);
  const queue = (body: Uint8Array): void => {
    if (exchange.gone) return;
    const {
      resolved: _,
      revision: pinned,
      ...call
    } = invocationRequest(path, request, target, head, revision, exchange, body);
    // It runs on whatever serves when its turn comes, unless the caller chose a revision.
    const chosen = head.revision !== undefined && target.via === "api" ? { revision: pinned } : tagOf(target, head);
    const accepted = { ...call, ...chosen, cause: { ...call.cause, kind: "async" as const }, body };
    path.engine.dispatcher.accept(accepted).then(
      ({ id, duplicate }) => exchange.answerAccepted(target.namespace, id, duplicate),
      (thrown: unknown) => exchange.refuse(asVirgaError(thrown)),
    );
  };
  if (!head.hasBody) {
    queue(empty);
    return;
  }
  if (head.expectsContinue) exchange.response.writeContinue();
  gather(
    path,
    request,
    head.chunked ? -1 : head.contentLength,
    (body, error) => (error === undefined ? queue(body) : exchange.refuse(error)),
    limit,
  );
}

function tagOf(target: CallTarget, head: RequestHead): { tag?: string } {
  const tag = target.tag ?? (target.via === "api" ? head.tag : undefined);
  return tag === undefined ? {} : { tag };
}

function protocolOf(path: CallPath, request: IncomingMessage, head: RequestHead): string {
  if (path.trustForwarded && (head.forwardedProto === "https" || head.forwardedProto === "http")) {
    return head.forwardedProto;
  }
  return "encrypted" in request.socket ? "https" : "http";
}

export function tooLarge(limit: number): VirgaError {
  return new VirgaError("request_too_large", `the request's body is larger than ${limit} bytes`, {
    field: "limits.requestBytes",
    fix: "send less, or raise the function's limits.requestBytes",
  });
}
