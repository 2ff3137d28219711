import type { IncomingMessage } from "node:http";
import { VirgaError } from "../../core/errors.ts";
import type { Clock, Timer } from "../../ports/clock.ts";

/** The largest JSON document that the API takes: what one record holds. */
export const mostJsonBytes = 2 ** 20;

/** A request's JSON; undefined for an empty body. Rejects with `bad_request`, `request_too_large`, `request_timeout`. */
export async function readJson(request: IncomingMessage, clock: Clock, timeoutMs: number): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of received(request, clock, timeoutMs)) {
    size += chunk.length;
    if (size > mostJsonBytes) {
      throw new VirgaError("request_too_large", `the body is larger than ${mostJsonBytes} bytes`, {
        fix: "send code as a source archive, and large values in it",
      });
    }
    chunks.push(chunk);
  }
  if (size === 0) return undefined;
  return parseJson(Buffer.concat(chunks));
}

/**
 * A request's body as it comes. Rejects with `request_timeout` after `idleMs` without a byte, with `cancelled` where the
 * client breaks off: a truncated body never ends well. Unlike a stream's own iterator it leaves the connection open when
 * its reader stops early, for the answer to be sent.
 */
export async function* received(request: IncomingMessage, clock: Clock, idleMs: number): AsyncGenerator<Uint8Array> {
  let wake: () => void = () => undefined;
  let timer: Timer | undefined;
  let late = false;
  const on = (): void => wake();
  request.on("readable", on).on("end", on).on("error", on).on("close", on);
  try {
    for (;;) {
      const chunk = request.read() as Buffer | null;
      if (chunk !== null) {
        yield chunk;
        continue;
      }
      if (request.readableEnded) return;
      if (request.destroyed) throw new VirgaError("cancelled", "the client broke off before its body was complete");
      if (late) throw new VirgaError("request_timeout", `nothing of the body came for ${idleMs} ms`);
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = clock.after(idleMs, () => {
          late = true;
          resolve();
        });
      });
      timer?.cancel();
    }
  } finally {
    timer?.cancel();
    request.off("readable", on).off("end", on).off("close", on);
  }
}

function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (thrown) {
    throw new VirgaError("bad_request", "the body is not UTF-8", { fix: "send JSON in UTF-8", cause: thrown });
  }
  try {
    return JSON.parse(text);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new VirgaError("bad_request", `the body is not JSON: ${reason}`, {
      fix: "send a JSON document",
      cause: thrown,
    });
  }
}
