import type { Chance, Clock } from "../ports/clock.ts";

/**
 * Makes invocation ids: UUIDs of version 7 (RFC 9562, section 5.7), growing even within one millisecond.
 *
 * 48 bits of milliseconds, a 26-bit counter that begins each millisecond at a random number below 2^25 (method 1 of section 6.2,
 * wide enough never to run over within one), 48 random bits. Ids are not secrets: random bytes come from a pool.
 */
export function createIdentifier(clock: Clock, chance: Chance): () => string {
  let pool = chance.bytes(poolBytes);
  let digits = hex(pool);
  let used = 0;
  let time = -1;
  let prefix = "";
  let counter = 0;

  return function identify() {
    if (used + bytesPerId > pool.length) {
      pool = chance.bytes(poolBytes);
      digits = hex(pool);
      used = 0;
    }
    const now = clock.now();
    // A host's clock that is set back a little must not make ids shrink; one that was far ahead must not rule for ever.
    if (now > time || now < time - steppedBackMs) {
      time = now;
      const hex = Math.floor(now).toString(16).padStart(12, "0");
      prefix = `${hex.slice(0, 8)}-${hex.slice(8)}-7`;
      counter = ((pool[used]! << 16) | (pool[used + 1]! << 8) | pool[used + 2]!) & 0x1ff_ffff;
      used += 3;
    } else {
      counter++;
    }
    const id =
      prefix +
      hexByte[(counter >> 22) & 0xf]!.slice(1) +
      hexByte[(counter >> 14) & 0xff]! +
      "-" +
      hexByte[0x80 | ((counter >> 8) & 0x3f)]! +
      hexByte[counter & 0xff]! +
      "-" +
      digits.slice(2 * used, 2 * used + 12);
    used += 6;
    return id;
  };
}

const version7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** The milliseconds since the epoch that an id carries; undefined for what is no UUID of version 7 in lower case. */
export function timeOf(id: string): number | undefined {
  if (!version7.test(id)) return undefined;
  // Calls come many in a millisecond.
  const text = id.slice(0, 13);
  if (text !== lastText) {
    lastText = text;
    lastTime = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  }
  return lastTime;
}

let lastText = "";
let lastTime = 0;

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

const hexByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const bytesPerId = 9;
const poolBytes = 4096;
const steppedBackMs = 10_000;
