import { randomFillSync } from "node:crypto";

/**
 * W3C Trace Context (level 1), the `traceparent` header. Virga records no spans of its own yet, so a valid header is handed
 * on as it came (section 4.3: forwarding unmodified), which keeps the caller's span the parent of the function's.
 */
export interface TraceContext {
  readonly version: number;
  /** 32 lower-case hexadecimal digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits, not all zero. */
  readonly parentId: string;
  readonly sampled: boolean;
}

/** Undefined where the header breaks the specification's rules; it must then be dealt with as if it were absent. */
export function parseTraceparent(header: string): TraceContext | undefined {
  if (!isTraceparent(header)) return undefined;
  return {
    version: Number.parseInt(header.slice(0, 2), 16),
    traceId: header.slice(3, 35),
    parentId: header.slice(36, 52),
    sampled: (Number.parseInt(header.slice(53, 55), 16) & 1) === 1,
  };
}

/** The check alone, for the call path. */
export function isTraceparent(header: string): boolean {
  if (header.length < 55 || !shape.test(header)) return false;
  // Version 00 is exactly 55 long; a later one may go on after a dash.
  return header.length === 55 || (!header.startsWith("00") && header.charCodeAt(55) === 45);
}

/** The start of a new trace, not sampled: nobody asked for one. `random` gives `length` bytes as hexadecimal digits. */
export function newTraceparent(random: (length: number) => string = randomHex): string {
  return `00-${nonZero(random(16))}-${nonZero(random(8))}-00`;
}

const shape = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}/;

/** An id of zeros is invalid by the specification; chance gives one in 2^64 at best, a test's fake may give it at once. */
function nonZero(id: string): string {
  return id.startsWith("0000") && /^0+$/.test(id) ? `${id.slice(1)}1` : id;
}

/** Random bytes are drawn, and made into digits, a page at a time: one system call for 170 traces. */
const pool = Buffer.allocUnsafe(4096);
let digits = "";
let used = 0;

function randomHex(length: number): string {
  if (used + 2 * length > digits.length) {
    digits = randomFillSync(pool).toString("hex");
    used = 0;
  }
  used += 2 * length;
  return digits.slice(used - 2 * length, used);
}
