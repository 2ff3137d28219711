/** `/function/NAME[.NAMESPACE][/path]` and `/async-function/…` (contract section 2.2): the way of every call. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { asVirgaError, VirgaError } from "../../core/errors.ts";
import type { FunctionId, Revision } from "../../core/model.ts";
import type { InvocationRequest } from "../../engine/engine.ts";
import { checkUrl } from "../../gateway/address.ts";
import { Exchange } from "../../gateway/exchange.ts";
import { gather, streamInto } from "../../gateway/request-body.ts";
import { readHead, type RequestHead } from "../../gateway/request-head.ts";
import type { Series } from "./call-counts.ts";
import type { FaasContext } from "./context.ts";
import { authenticate, tokenOf } from "./credential.ts";
import { type CallFailure, callFailure, FaasError } from "./errors.ts";
import type { Exchange as SystemExchange } from "./exchange.ts";
import { functionAddress } from "./names.ts";

/** `rest` is what stands behind `/function/` or `/async-function/`, with the query. Never throws. */
export function serveCall(
  context: FaasContext,
  request: IncomingMessage,
  response: ServerResponse,
  rest: string,
  isAsync: boolean,
): void {
  let head: RequestHead;
  const end = endOfName(rest);
  const id = functionAddress(rest.slice(0, end));
  const call = new Call(context, request, response, id);
  try {
    if (!methods.has(request.method ?? "")) {
      call.refuse(new VirgaError("method_not_allowed", `method ${request.method} is not allowed`));
      return;
    }
    checkUrl(request.url ?? "/");
    head = readHead(request);
    call.read(head);
    const path = rest.slice(end);
    const target = path.startsWith("/") ? path : `/${path}`;
    const revision = context.engine.functions.resolve(id, anyRevision, context.path.random());
    const go = (found: Revision): void => {
      try {
        admit(context, call, head, target, found, isAsync);
      } catch (thrown) {
        call.refuse(asVirgaError(thrown));
      }
    };
    if (revision instanceof Promise) revision.then(go, (thrown: unknown) => call.refuse(asVirgaError(thrown)));
    else go(revision);
  } catch (thrown) {
    call.refuse(asVirgaError(thrown));
  }
}

/** `DELETE /async-function/CALL-ID`. Rejects with 401, and with 404 for a call that neither waits nor runs. */
export async function cancelCall(context: FaasContext, exchange: SystemExchange, callId: string): Promise<void> {
  const { engine, records, namespaces } = context;
  const token = authenticate(engine.access, exchange);
  if (callIds.test(callId)) {
    const known = (await records.get<string>(callKey(callId)))?.value ?? callId;
    for (const { name } of await namespaces.list()) {
      if (!engine.access.allows(token, name, "change") || !(await engine.dispatcher.cancel(name, known))) continue;
      exchange.empty(202);
      return;
    }
  }
  throw new FaasError(404, `there is no call ${callId.slice(0, 128)} that waits or runs`);
}

function admit(
  context: FaasContext,
  call: Call,
  head: RequestHead,
  target: string,
  revision: Revision,
  isAsync: boolean,
): void {
  const { config } = revision;
  const { engine, path } = context;
  const { request } = call;
  const token = tokenOf(engine.access, head.authorization);
  const isOwner = token !== undefined && engine.access.allows(token, call.id.namespace, "invoke");
  if (!config.public && !isOwner) throw new VirgaError("unauthenticated", "this function is not public");
  call.owner = isOwner;
  if (head.authorization !== undefined && token === undefined) head.headers.push("authorization", head.authorization);
  const limit = config.limits.requestBytes;
  if (head.contentLength > limit) throw tooLarge(limit);
  completeHeaders(call, head);
  if (call.gone) return;
  const invocation = (body: Uint8Array | undefined): InvocationRequest => ({
    ...call.id,
    // A call that came without an id has that of its record.
    id: call.isNamed ? undefined : call.requestId,
    revision: revision.number,
    resolved: revision,
    cause: {
      kind: "http",
      requestId: call.requestId,
      ...(head.traceparent === undefined ? {} : { traceparent: head.traceparent }),
    },
    method: request.method ?? "GET",
    target,
    // The watchdog reads path and query of this one.
    url: `http://${head.host || "localhost"}${target}`,
    headers: head.headers,
    body,
  });
  if (isAsync) {
    accept(context, call, head, Math.min(limit, mostAsyncBytes), invocation);
    return;
  }
  refuseWhenFull(context, call, revision);
  if (!head.hasBody) {
    call.handle = engine.invoker.invoke(invocation(empty), call);
  } else if (!head.chunked && head.contentLength <= gatheredBytes) {
    if (head.expectsContinue) call.response.writeContinue();
    gather(path, request, head.contentLength, (body, error) => {
      if (error !== undefined) call.refuse(error);
      else if (!call.gone) call.handle = engine.invoker.invoke(invocation(body), call);
    });
  } else {
    if (head.expectsContinue) call.response.writeContinue();
    const handle = engine.invoker.invoke(invocation(undefined), call);
    call.handle = handle;
    if (!call.done) streamInto(call, handle, limit, () => call.abandon(tooLarge(limit)));
  }
}

/** `max_inflight`: where each instance that is there has as many calls as it takes, the caller is told, and does not wait. */
function refuseWhenFull({ engine }: FaasContext, { id }: Call, { config, number }: Revision): void {
  const most = config.environment["max_inflight"];
  if (most === undefined || Number(most) <= 0) return;
  const there = engine.pool.instances(id).filter((one) => one.revision === number);
  const ready = there.filter(({ state }) => state === "idle" || state === "busy");
  // While one starts, calls are held for it.
  if (ready.length === 0 || ready.length < there.length) return;
  if (ready.every(({ running }) => running >= config.limits.concurrency)) throw new ConcurrencyExceeded(Number(most));
}

function accept(
  context: FaasContext,
  call: Call,
  head: RequestHead,
  limit: number,
  invocation: (body: Uint8Array) => InvocationRequest,
): void {
  const { engine, path, records } = context;
  const callback = callbackOf(head);
  const queue = async (body: Uint8Array): Promise<void> => {
    if (call.gone) return;
    const { resolved: _, revision: _pinned, ...request } = invocation(body);
    const note = { callId: call.requestId, ...(callback === undefined ? {} : { callback }) };
    const { id } = await engine.dispatcher.accept({
      ...request,
      // Whatever it came by: the queue's worker sends everything so.
      method: "POST",
      cause: { ...request.cause, kind: "async" },
      body,
      annotations: { openfaas: note },
    });
    if (call.isNamed) await records.put(callKey(call.requestId), id, { ttlMs: callMs });
    call.answerEmpty(202, [...call.signed(), "content-length", "0"]);
  };
  if (head.contentLength > limit) throw tooLarge(limit);
  const go = (body: Uint8Array): void => void queue(body).catch((thrown: unknown) => call.refuse(asVirgaError(thrown)));
  if (!head.hasBody) {
    go(empty);
    return;
  }
  if (head.expectsContinue) call.response.writeContinue();
  const length = head.chunked ? -1 : head.contentLength;
  gather(path, call.request, length, (body, error) => (error === undefined ? go(body) : call.refuse(error)), limit);
}

/** Throws 400 for a callback that is no address. */
function callbackOf(head: RequestHead): string | undefined {
  const at = head.headers.findIndex((name, index) => index % 2 === 0 && name === "x-callback-url");
  const text = at < 0 ? "" : head.headers[at + 1]!.trim();
  if (text === "") return undefined;
  if (URL.canParse(text) && /^https?:/.test(text)) return text;
  throw new VirgaError(
    "bad_request",
    `x-callback-url: ${JSON.stringify(text.slice(0, 200))} is no address such as http://host/path`,
  );
}

function completeHeaders(call: Call, head: RequestHead): void {
  const { remoteAddress = "", remotePort = 0 } = call.request.socket;
  const peer = remoteAddress.startsWith("::ffff:") ? remoteAddress.slice(7) : remoteAddress;
  // A connection of the functions' own socket has no address.
  const address = peer === "" ? "127.0.0.1:0" : `${peer.includes(":") ? `[${peer}]` : peer}:${remotePort}`;
  head.headers.push(
    "x-forwarded-for",
    head.forwardedFor === undefined ? address : `${head.forwardedFor}, ${address}`,
    "x-forwarded-host",
    head.forwardedHost ?? head.host,
    "x-start-time",
    call.startTime,
  );
  if (!call.isNamed) head.headers.push("x-call-id", call.requestId);
  // The watchdogs tell a body whose length is not known from none.
  if (head.chunked) head.headers.push("transfer-encoding", "chunked");
}

/** One call's answer, with OpenFaaS's headers and texts. */
class Call extends Exchange {
  readonly id: FunctionId;
  /** Nanoseconds since the epoch. */
  readonly startTime: string;
  /** The client gave the call its id. */
  readonly isNamed: boolean;
  readonly #context: FaasContext;
  readonly #series: Series;
  readonly #began = performance.now();
  #requestType: string | undefined;
  #failure: CallFailure | undefined;

  constructor(context: FaasContext, request: IncomingMessage, response: ServerResponse, id: FunctionId) {
    const given = givenCallId(request.rawHeaders);
    super(context.path, request, response, given ?? context.identify());
    this.isNamed = given !== undefined;
    this.id = id;
    this.#context = context;
    this.#series = context.counts.started(id);
    this.startTime = `${Math.round(context.clock.now() * 1000)}000`;
  }

  read(head: RequestHead): void {
    const at = head.headers.indexOf("content-type");
    if (at >= 0 && at % 2 === 0) this.#requestType = head.headers[at + 1];
  }

  override head(status: number, headers: readonly string[]): void {
    const isTyped = headers.some(
      (name, index) => index % 2 === 0 && (name === "content-type" || name.toLowerCase() === "content-type"),
    );
    super.head(status, isTyped ? headers : [...headers, "content-type", this.#requestType ?? "text/plain"]);
  }

  signed(): string[] {
    const headers: string[] = [];
    this.sign(headers);
    return headers;
  }

  protected override sign(headers: string[]): void {
    headers.push("x-call-id", this.requestId, "x-start-time", this.startTime, "x-served-by", this.#context.version);
  }

  override refuse(error: VirgaError, invocation?: string): void {
    this.#failure ??= error instanceof ConcurrencyExceeded ? error : callFailure(error, this.id);
    super.refuse(error, invocation);
  }

  protected override refuseWith(error: VirgaError, headers: string[]): void {
    if (error.code === "internal") this.#context.log.error("a call could not be made", { ...this.id, error });
    const failure = this.#failure!;
    const { status, internal } = failure;
    // Why it is so is for the function's owner.
    const text =
      this.owner && !failure.text.includes(error.message) ? `${failure.text}\n${error.message}\n` : failure.text;
    const { response } = this;
    if (response.headersSent || response.destroyed) {
      response.destroy();
      return;
    }
    if (status === 401) headers.push("www-authenticate", 'Basic realm="Restricted"');
    if (status === 429 || status === 503) headers.push("retry-after", "1");
    headers.push("x-openfaas-internal", internal, "content-type", "text/plain; charset=utf-8");
    headers.push("content-length", String(Buffer.byteLength(text)));
    response.writeHead(status, headers);
    response.end(text);
  }

  protected override settled(status: number): void {
    const answered = this.#failure?.status ?? status;
    super.settled(answered);
    this.#context.counts.ended(this.#series, answered, (performance.now() - this.#began) / 1000);
  }
}

/** In of-watchdog's words. */
class ConcurrencyExceeded extends VirgaError {
  readonly text: string;
  readonly internal = "faas-middleware";

  constructor(most: number) {
    const text = `Concurrent request limit exceeded. Max concurrent requests: ${most}`;
    super("queue_full", text);
    this.text = text;
  }
}

function givenCallId(raw: readonly string[]): string | undefined {
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index]!;
    if (name.length !== 9 || name.toLowerCase() !== "x-call-id") continue;
    const value = raw[index + 1]!;
    return callIds.test(value) ? value : undefined;
  }
  return undefined;
}

function endOfName(rest: string): number {
  for (let index = 0; index < rest.length; index++) {
    const code = rest.charCodeAt(index);
    if (code === 47 || code === 63) return index;
  }
  return rest.length;
}

function tooLarge(limit: number): VirgaError {
  return new VirgaError("request_too_large", `the request's body is larger than ${limit} bytes`);
}

function callKey(callId: string): string {
  return `openfaas/calls/${callId}`;
}

const callIds = /^[\w.:-]{1,128}$/;
const methods = new Set(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]);
const anyRevision = {};
const empty = new Uint8Array(0);
/** Larger bodies are streamed; these are here before an instance is held for them. */
const gatheredBytes = 64 * 2 ** 10;
/** The queue's bound on a message is 64 MiB, its head included. */
const mostAsyncBytes = 63 * 2 ** 20;
const callMs = 24 * 3_600_000;
