import { VirgaError } from "../core/errors.ts";
import type { AsyncPolicy, Cause } from "../core/model.ts";
import type { Json } from "../core/workflow/definition.ts";

/** An accepted call as the queue keeps it: a JSON head behind its length (uint32, big-endian), then the body as it came. */
export interface AsyncMessage {
  readonly tag?: string;
  readonly revision?: number;
  readonly cause: Cause;
  readonly method: string;
  readonly target: string;
  readonly url: string;
  readonly headers: readonly string[];
  readonly acceptedAt: number;
  readonly timeoutMs?: number;
  readonly idempotencyKey?: string;
  readonly annotations?: Readonly<Record<string, Json>>;
  /** How many destinations in a row led here. */
  readonly chain?: number;
  /** Over the function's own, for this call. */
  readonly policy?: Partial<AsyncPolicy>;
}

export function encodeMessage(head: AsyncMessage, body: Uint8Array): Uint8Array {
  const text = JSON.stringify(head);
  const length = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(4 + length + body.length);
  bytes.writeUInt32BE(length, 0);
  bytes.write(text, 4);
  bytes.set(body, 4 + length);
  return bytes;
}

/** Throws `storage_corrupt` where the bytes are none of ours. `body` is a view. */
export function decodeMessage(bytes: Uint8Array): { head: AsyncMessage; body: Uint8Array } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const end = 4 + buffer.readUInt32BE(0);
    if (end > buffer.length) throw new RangeError("the head is longer than the message");
    return { head: JSON.parse(buffer.toString("utf8", 4, end)) as AsyncMessage, body: buffer.subarray(end) };
  } catch (thrown) {
    throw new VirgaError("storage_corrupt", "A queued call cannot be read", { cause: thrown });
  }
}
