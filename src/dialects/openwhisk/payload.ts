import type { Json } from "../../core/workflow/definition.ts";

/** What a call gives its action, read; nothing is an object without members. */
export interface Payload {
  readonly text: string;
  readonly value: Json;
}

let newest: { readonly bytes: Uint8Array; readonly payload: Payload } | undefined;

/**
 * Throws a SyntaxError for what is no JSON. A payload is read when it comes, and again when it goes to its instance, which mostly
 * is at once: the newest is kept.
 */
export function readPayload(bytes: Uint8Array): Payload {
  if (newest?.bytes === bytes) return newest.payload;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8").trim() || "{}";
  const payload = { text, value: JSON.parse(text) as Json };
  newest = { bytes, payload };
  return payload;
}
