import { createHmac, timingSafeEqual } from "node:crypto";
import { createWriteStream } from "node:fs";
import type { IncomingMessage } from "node:http";
import { finished } from "node:stream/promises";
import { cancelled } from "./build-program.ts";

export interface UploadLimits {
  /** Keys, any of which the body may be signed with. */
  readonly secrets: readonly string[];
  readonly pauseMs: number;
  /** For all of it. */
  readonly mostMs: number;
  readonly maxBytes: number;
}

export interface Refusal {
  readonly status: number;
  readonly text: string;
}

/**
 * Writes a signed body to a file. Resolves to why it is refused: no fitting `X-Build-Signature` (401), a pause too long or too slow a
 * sender (408), too large (413). Rejects where the disk fails or the client goes away.
 */
export async function receiveUpload(
  request: IncomingMessage,
  file: string,
  { secrets, pauseMs, mostMs, maxBytes }: UploadLimits,
): Promise<Refusal | undefined> {
  const header = request.headers["x-build-signature"];
  const given = /^sha256=([0-9a-f]{64})$/i.exec(typeof header === "string" ? header.trim() : "")?.[1];
  if (given === undefined)
    return {
      status: 401,
      text: "X-Build-Signature is missing: give --payload-secret with the file of the payload secret",
    };
  const keys = secrets.map((secret) => secret.trim()).filter((secret) => secret !== "");
  if (keys.length === 0)
    return { status: 401, text: "no payload secret is set on this platform, so no build can be signed" };
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return tooLarge(maxBytes);

  const signatures = keys.map((key) => createHmac("sha256", key));
  const sink = createWriteStream(file, { flags: "wx", mode: 0o600 });
  const stored = finished(sink);
  stored.catch(() => undefined);
  const refusal = await new Promise<Refusal | undefined>((resolve, reject) => {
    let received = 0;
    const pause = setTimeout(
      () => settle({ status: 408, text: `the request's body paused for more than ${pauseMs} ms` }),
      pauseMs,
    );
    const whole = setTimeout(
      () => settle({ status: 408, text: `the request's body took more than ${mostMs} ms` }),
      mostMs,
    );
    const onData = (chunk: Buffer): void => {
      pause.refresh();
      received += chunk.length;
      if (received > maxBytes) return settle(tooLarge(maxBytes));
      for (const signature of signatures) signature.update(chunk);
      if (!sink.write(chunk)) request.pause();
    };
    const onDrain = (): void => {
      pause.refresh();
      request.resume();
    };
    const onEnd = (): void => settle(undefined);
    const onClose = (): void => {
      release();
      sink.destroy();
      reject(cancelled());
    };
    const release = (): void => {
      clearTimeout(pause);
      clearTimeout(whole);
      request.off("data", onData).off("end", onEnd).off("close", onClose);
      sink.off("drain", onDrain);
    };
    const settle = (found: Refusal | undefined): void => {
      release();
      resolve(found);
    };
    stored.catch((error: unknown) => {
      release();
      reject(error);
    });
    sink.on("drain", onDrain);
    request.on("data", onData).once("end", onEnd).once("close", onClose);
  });
  sink.end();
  await stored;
  if (refusal !== undefined) return refusal;
  const wanted = Buffer.from(given, "hex");
  // All are looked at, so that the time tells nothing about which one it was.
  const fitting = signatures.filter((signature) => timingSafeEqual(signature.digest(), wanted));
  return fitting.length > 0
    ? undefined
    : { status: 401, text: "X-Build-Signature does not fit the body: --payload-secret is not this platform's" };
}

function tooLarge(maxBytes: number): Refusal {
  return {
    status: 413,
    text: `the build context is larger than ${maxBytes} bytes: leave out what the function does not need`,
  };
}
