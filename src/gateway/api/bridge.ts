import type { IncomingMessage, ServerResponse } from "node:http";
import type { Hono } from "hono";
import { VirgaError } from "../../core/errors.ts";
import type { Clock } from "../../ports/clock.ts";
import { linger, refuse } from "../refusal.ts";
import type { RequestHead } from "../request-head.ts";

/** What endpoints need of a request beside its URL: they read bodies from Node's own stream. */
export interface Binding {
  readonly incoming: IncomingMessage;
  readonly head: RequestHead;
  readonly id: string;
}

/** Lets a Hono application answer a request of Node's. Resolves when the answer is sent or the client is gone. */
export async function bridge(
  app: Hono<{ Bindings: Binding }>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  head: RequestHead,
  id: string,
  clock: Clock,
): Promise<void> {
  const gone = new AbortController();
  outgoing.on("close", () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  const { method } = incoming;
  if (method === undefined || !methods.has(method)) {
    refuse(outgoing, new VirgaError("method_not_allowed", `the API has no method ${method ?? ""}`), [
      "x-request-id",
      id,
    ]);
    return;
  }
  if (head.expectsContinue) outgoing.writeContinue();
  // The host is the client's word and may be anything; routing needs the path alone.
  const request = new Request(`http://api.invalid${incoming.url ?? "/"}`, { method, signal: gone.signal });
  const response = await app.fetch(request, { incoming, head, id });
  await send(response, outgoing, id, method === "HEAD");
  if (!incoming.complete) linger(incoming, clock);
}

const methods = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]);

async function send(response: Response, outgoing: ServerResponse, id: string, isHead: boolean): Promise<void> {
  const { body } = response;
  if (outgoing.destroyed) {
    await body?.cancel();
    return;
  }
  outgoing.writeHead(response.status, [...[...response.headers].flat(), "x-request-id", id]);
  if (body === null || isHead) {
    await body?.cancel();
    outgoing.end();
    return;
  }
  if (!response.headers.has("content-length")) outgoing.flushHeaders();
  const reader = body.getReader();
  // A client that leaves must be noticed between two chunks, too: a followed log may be silent for hours.
  const leave = (): void => void reader.cancel().catch(() => outgoing.destroy());
  outgoing.on("close", leave);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || outgoing.destroyed) break;
      if (!outgoing.write(value)) await drained(outgoing);
    }
    outgoing.end();
  } catch (thrown) {
    outgoing.destroy();
    throw thrown;
  } finally {
    outgoing.off("close", leave);
  }
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      outgoing.off("drain", go).off("close", go);
      resolve();
    };
    outgoing.on("drain", go).on("close", go);
  });
}
