import type { IncomingMessage } from "node:http";
import { VirgaError } from "../core/errors.ts";
import type { CallHandle } from "../ports/runtime.ts";
import type { Clock } from "../ports/clock.ts";

/**
 * Gathers a body of `length` bytes (-1: not known), at most `limit`. A body that came in one piece with the head is
 * taken without listeners: Node's parser has read all of it by the next tick.
 * `done` is called once; not at all where the client goes away first.
 */
export function gather(
  options: { readonly clock: Clock; readonly requestTimeoutMs: number },
  request: IncomingMessage,
  length: number,
  done: (body: Uint8Array, error?: VirgaError) => void,
  limit: number = length,
): void {
  process.nextTick(() => {
    // The parser runs this tick before it says that the message is complete.
    if (length >= 0 && (request.complete || request.readableLength >= length))
      done((request.read() as Buffer | null) ?? nothing);
    else gatherSlowly(options, request, limit, done);
  });
}

/** Hands a body on as it comes, at the pace of the receiver; what comes after the answer is thrown away. */
export function streamInto(
  exchange: { readonly request: IncomingMessage; readonly done: boolean },
  handle: CallHandle,
  limit: number,
  tooLarge: () => void,
): void {
  const { request } = exchange;
  let received = 0;
  const onData = (chunk: Buffer): void => {
    if (exchange.done) return;
    received += chunk.length;
    if (received > limit) {
      tooLarge();
    } else if (!handle.write(chunk)) {
      request.pause();
    }
  };
  handle.onDrain = () => request.resume();
  request.on("data", onData);
  // A request that breaks off has no `end`; the response's `close` then cancels the call.
  request.on("end", () => {
    if (!exchange.done) handle.end();
  });
}

const nothing = new Uint8Array(0);

function gatherSlowly(
  { clock, requestTimeoutMs }: { readonly clock: Clock; readonly requestTimeoutMs: number },
  request: IncomingMessage,
  limit: number,
  done: (body: Uint8Array, error?: VirgaError) => void,
): void {
  const chunks: Buffer[] = [];
  let received = 0;
  const onData = (chunk: Buffer): void => {
    received += chunk.length;
    chunks.push(chunk);
    if (received > limit) settle(tooMuch(limit));
  };
  const onEnd = (): void => settle();
  const onClose = (): void => timer.cancel();
  const settle = (error?: VirgaError): void => {
    timer.cancel();
    request.off("data", onData).off("end", onEnd).off("close", onClose);
    done(error === undefined ? (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)) : nothing, error);
  };
  const timer = clock.after(requestTimeoutMs, () =>
    settle(
      new VirgaError("request_timeout", `the request's body did not arrive within ${requestTimeoutMs} ms`, {
        fix: "send it without pauses",
      }),
    ),
  );
  request.on("data", onData).on("end", onEnd).on("close", onClose);
}

function tooMuch(limit: number): VirgaError {
  return new VirgaError("request_too_large", `the request's body is larger than ${limit} bytes`, { fix: "send less" });
}
