import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Clock } from "../ports/clock.ts";

/** Answers with an error's status and JSON body. `headers` is flat; what it holds is sent too. */
export function refuse(response: ServerResponse, error: VirgaError, headers: readonly string[] = []): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = Buffer.from(JSON.stringify(error.toBody()));
  response.writeHead(error.status, [
    ...headers,
    ...headersFor(error),
    "content-type",
    "application/json",
    "content-length",
    String(body.length),
  ]);
  response.end(body);
}

/**
 * An error as a caller without a token may see it: the words, stack and files of the user's own code are for the
 * function's owner, who finds them in the invocation's record.
 */
export function withoutInternals(error: VirgaError): VirgaError {
  const { stack, log, location, fix, field } = error.detail;
  const ownWords = error.code === "function_error" || error.code === "start_failed" || error.code === "build_failed";
  if (!ownWords && stack === undefined && log === undefined && location === undefined) return error;
  const message = ownWords ? "the function failed" : error.message;
  return new VirgaError(error.code, message, {
    ...(field === undefined ? {} : { field }),
    fix: ownWords ? "its owner finds the reason in the invocation's record" : (fix ?? "ask its owner"),
  });
}

/**
 * After an answer that came before the request's body was complete: reads the rest and throws it away for a while, since
 * closing a socket with unread data resets the connection and can take the answer with it (RFC 9112 section 9.6).
 * A client that is then still sending is cut off.
 */
export function linger(request: IncomingMessage, clock: Clock): void {
  // In the tick of its head a request is never complete, though all of it be here.
  if (!request.complete) process.nextTick(lingerOn, request, clock);
}

function lingerOn(request: IncomingMessage, clock: Clock): void {
  if (request.complete || request.destroyed) return;
  const timer = clock.after(lingerMs, () => {
    if (!request.complete) request.socket.destroy();
  });
  request.once("close", () => timer.cancel());
  request.resume();
}

/** Answers on a bare socket, for what never became a request; ends the connection. */
export function refuseSocket(socket: Duplex, clock: Clock, thrown: unknown, headers: readonly string[] = []): void {
  // What still comes after the refusal is no request either, and refused already.
  if (refused.has(socket)) return;
  if (!socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  refused.add(socket);
  const error = asVirgaError(thrown);
  const body = JSON.stringify(error.toBody());
  const lines = [`HTTP/1.1 ${error.status} ${error.code}`, "connection: close", "content-type: application/json"];
  lines.push(`content-length: ${Buffer.byteLength(body)}`);
  const all = [...headers, ...headersFor(error)];
  for (let index = 0; index + 1 < all.length; index += 2) lines.push(`${all[index]}: ${all[index + 1]}`);
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
  // As in `linger`, for a shorter time: who sends no HTTP may send it without end.
  const timer = clock.after(socketLingerMs, () => socket.destroy());
  socket.once("end", () => socket.destroy()).once("close", () => timer.cancel());
  socket.resume();
}

/** The error behind what Node's HTTP parser refuses. */
export function parserError(error: NodeJS.ErrnoException & { reason?: string }, maxHeaderBytes: number): VirgaError {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return new VirgaError("headers_too_large", `the request's headers are larger than ${maxHeaderBytes} bytes`, {
        fix: "send fewer or shorter headers",
      });
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return new VirgaError("request_too_large", "the extensions of a chunk are too long", { fix: "leave them out" });
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new VirgaError("request_timeout", "the request did not arrive in time", { fix: "send it without pauses" });
    default:
      return new VirgaError("bad_request", `this is no HTTP/1.1 request: ${error.reason ?? error.message}`);
  }
}

/** What nginx grants by default is 30 s in all; a client on this side of the world needs less. */
const lingerMs = 10_000;
const socketLingerMs = 1000;

const refused = new WeakSet<Duplex>();

function headersFor(error: VirgaError): string[] {
  if (error.code === "unauthenticated") return ["www-authenticate", 'Bearer realm="virga"'];
  if (error.kind === "transient" || error.code === "queue_full") return ["retry-after", "1"];
  return [];
}
