import { connect, type Socket } from "node:net";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { PassThrough } from "../engine/engine.ts";
import { requestId } from "../telemetry/request-id.ts";
import { newTraceparent } from "../telemetry/trace-context.ts";
import type { CallTarget } from "./address.ts";
import { type CallPath, completeHeaders, invocationRequest, resolve } from "./call-path.ts";
import { mayInvoke } from "./credential.ts";
import { refuseSocket, withoutInternals } from "./refusal.ts";
import type { RequestHead } from "./request-head.ts";

/**
 * Pipes a WebSocket connection through to a function's own server on `$PORT`. The handshake is the function's: we hand
 * its request on, with the same headers that a call would have, and then look at no byte.
 * Settles when the connection has ended. Never rejects.
 */
export async function passThrough(
  path: CallPath,
  request: IncomingMessage,
  socket: Duplex,
  early: Buffer,
  target: CallTarget,
  head: RequestHead,
): Promise<void> {
  const ids = {
    requestId: requestId(head.requestId, path.identify),
    traceparent: head.traceparent ?? newTraceparent(),
  };
  let owner = false;
  try {
    const revision = await resolve(path, target, head);
    owner = mayInvoke(path.engine.access, target, head, revision.config.public);
    completeHeaders(path, request, target, head, ids);
    if (socket.destroyed) return;
    const call = invocationRequest(path, request, target, head, revision, ids, new Uint8Array(0));
    const slot = await path.engine.invoker.connect(call);
    await pipe(slot, request, socket as Socket, early, target, head, path);
    path.metrics.request("function", 101);
  } catch (thrown) {
    const error = asVirgaError(thrown);
    path.metrics.request("function", error.status);
    refuseSocket(socket, path.clock, owner ? error : withoutInternals(error), ["x-request-id", ids.requestId]);
  }
}

/** Rejects only where nothing has been sent to the client yet. The slot is given back in every case, once. */
function pipe(
  slot: PassThrough,
  request: IncomingMessage,
  client: Socket,
  early: Buffer,
  target: CallTarget,
  head: RequestHead,
  path: CallPath,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (client.destroyed) {
      slot.close(0, 0);
      resolve();
      return;
    }
    const bytesBefore = client.bytesWritten;
    let failure: Error | undefined;
    let open = 2;
    const server = connect(slot.port, slot.host);
    const closed = (): void => {
      if (--open > 0) return;
      slot.close(server.bytesWritten, client.bytesWritten - bytesBefore, failure && crashed(failure));
      resolve();
    };
    const refusedBeforeConnect = (error: Error): void => {
      slot.close(0, 0, crashed(error));
      reject(crashed(error));
    };
    server.once("error", refusedBeforeConnect);
    server.once("connect", () => {
      server.off("error", refusedBeforeConnect);
      server.on("error", (error) => (failure ??= error));
      server.write(handshake(request, target, head));
      if (early.length > 0) server.write(early);
      server.setNoDelay(true);
      client.setNoDelay(true);
      client.pipe(server).pipe(client);
      client.on("close", () => {
        server.destroy();
        closed();
      });
      server.on("close", () => {
        client.destroySoon();
        closed();
      });
    });
    // A client that resets its connection has left; that is not the function's fault.
    client.on("error", (error) => path.log.debug("a passed-through connection broke", { id: slot.id, error }));
  });
}

function handshake(request: IncomingMessage, target: CallTarget, head: RequestHead): string {
  const lines = [`${request.method ?? "GET"} ${target.target} HTTP/1.1`, "connection: upgrade", "upgrade: websocket"];
  for (let index = 0; index + 1 < head.headers.length; index += 2) {
    lines.push(`${head.headers[index]}: ${head.headers[index + 1]}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function crashed(error: Error): VirgaError {
  return new VirgaError("function_crashed", `the function's server does not take the connection: ${error.message}`, {
    fix: "let it listen on $PORT and accept WebSocket connections",
    cause: error,
  });
}
