import { VirgaError } from "../../core/errors.ts";

/** Limits of the ports, checked alike by every store. */
export const keyBytes = 512;
export const nameBytes = 256;
export const valueBytes = 2 ** 20;
export const eventBytes = 16 * 2 ** 20;
export const messageBytes = 64 * 2 ** 20;

export function checkKey(key: string): string {
  return checkText("key", key, keyBytes);
}

export function checkName(what: string, name: string): string {
  return checkText(what, name, nameBytes);
}

export function checkSize(what: string, bytes: Uint8Array, most: number): Uint8Array {
  if (bytes.byteLength > most)
    throw new VirgaError("request_too_large", `${what} has ${bytes.byteLength} bytes; at most ${most} are kept`, {
      field: what,
    });
  return bytes;
}

/** A document as JSON text. */
export function encodeValue(key: string, value: unknown): string {
  const text = JSON.stringify(value);
  if (text === undefined)
    throw new VirgaError("bad_request", `the value of ${key} is nothing that JSON can say`, { field: key });
  // A UTF-16 unit is at most three bytes: only long texts need to be measured.
  if (text.length * 3 > valueBytes && Buffer.byteLength(text) > valueBytes)
    throw new VirgaError("request_too_large", `the value of ${key} is over ${valueBytes} bytes as JSON`, {
      field: key,
    });
  return text;
}

/** The order of UTF-8 bytes, which is that of code points. */
export function compareBytes(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function checkText(what: string, text: string, most: number): string {
  const bytes = text.length * 3 <= most ? text.length : Buffer.byteLength(text);
  if (bytes === 0 || bytes > most || text.includes("\0"))
    throw new VirgaError("bad_request", `a ${what} has 1 to ${most} bytes and no NUL; this has ${bytes}`, {
      field: what,
    });
  // Written as UTF-8, texts that differ in such halves only would become the same.
  if (!text.isWellFormed())
    throw new VirgaError("bad_request", `this ${what} holds half a character (a lone surrogate)`, { field: what });
  return text;
}
