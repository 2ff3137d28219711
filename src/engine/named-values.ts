import { setImmediate as others } from "node:timers/promises";
import type { Journal } from "../ports/journal.ts";

/** Whether JSON, that of a record or of a run's event, names a value that is kept beside it. */
export function namesValue(json: Uint8Array): boolean {
  return asBuffer(json).includes(member, "latin1");
}

/** The digests of the values that JSON names. */
export function valuesNamedIn(json: Uint8Array): string[] {
  if (!namesValue(json)) return [];
  return [...asBuffer(json).toString("latin1").matchAll(naming)].map(([, digest]) => digest!);
}

/** The digests of the values that the events of a stream name, in pages. Calls go on between the pages. */
export async function* valuesNamedInStream(journal: Pick<Journal, "read">, stream: string): AsyncGenerator<string> {
  for (let from = 1; ;) {
    const page = await journal.read(stream, from, pageSize);
    for (const { data, sequence } of page) {
      yield* valuesNamedIn(data);
      from = sequence + 1;
    }
    await others();
    if (page.length < pageSize) return;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** `AsyncResult.blob` and `BlobValue.blob`, as `JSON.stringify` writes them. Text of users can only name too much by it. */
const member = '"blob":"';
const naming = /"blob":"([0-9a-f]{64})"/g;
/** An event of a run may hold some hundred KiB. */
const pageSize = 16;
