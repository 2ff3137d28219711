import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { AsyncResult } from "../core/model.ts";
import { once } from "../core/once.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { GatheredAnswer } from "./engine.ts";

/** An answer as its record has it: a large one kept among the values. Rejects where that fails. */
export function keepAnswer(
  { status, headers, body }: Partial<GatheredAnswer>,
  values: Pick<Blobs, "put">,
): AsyncResult | undefined | Promise<AsyncResult> {
  if (status === undefined || headers === undefined || body === undefined) return undefined;
  if (body.length <= inlineBytes) return { status, headers, body: base64(body) };
  return values.put(once(body)).then(
    ({ digest }) => ({ status, headers, blob: digest }),
    (thrown: unknown) => {
      const { code, message } = asVirgaError(thrown);
      throw new VirgaError(code, `The answer of ${body.length} bytes could not be kept: ${message}`, { cause: thrown });
    },
  );
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** A larger result would make the records that stand with it slow to read. */
const inlineBytes = 2 ** 20;
