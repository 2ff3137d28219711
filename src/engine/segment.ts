import { VirgaError } from "../core/errors.ts";
import type { Invocation, InvocationStatus, LogLine } from "../core/model.ts";
import { timeOf } from "./identifier.ts";
import { type Frame, LineWriter, readLine } from "./record-line.ts";

/**
 * A segment is one journal event that holds the records of many calls: a line of JSON that describes the segment (its
 * summary, and the frames of its lines), then a line for each record. One write for many calls is what makes a record cheap; a line each lets a lookup parse one alone.
 */
export interface Segment {
  readonly summary: SegmentSummary;
  readonly invocations: readonly Invocation[];
  readonly data: Uint8Array;
}

/** What a search needs to know to pass a segment by. */
export interface SegmentSummary {
  /** The earliest and latest time of acceptance. */
  readonly min: number;
  readonly max: number;
  readonly count: number;
  /** Bit `nameBit(name)` for each function in it: a clear bit says that the function is not. */
  readonly names: number;
  /** Bit `statusBit(status)` for each status in it. */
  readonly statuses: number;
  /** 1: some of its ids do not carry their time, so they may be of any. */
  readonly untimed: number;
  /** 1: some of its results are values kept beside the records. Segments of earlier versions do not say. */
  readonly values?: number;
}

/** A journal event holds 16 MiB; large segments make single lookups dear. */
const segmentBytes = 512 * 1024;
const segmentRecords = 256;
/**
 * Records of one segment were accepted within this time. So a call that ran for an hour does not stretch a segment over
 * that hour, and the search for an id looks into few.
 */
const segmentSpanMs = 1000;
/** What is kept of one record's log and of its error; with the result (1 MiB in base64) it fits an event by far. */
const longestLogBytes = 8 * 2 ** 20;
const longestErrorText = 64 * 1024;

/** When a record counts as accepted: what its id says, so that an id alone finds it. */
export function acceptedTime(invocation: Invocation): number {
  return timeOf(invocation.id) ?? invocation.timings.acceptedAt;
}

/** Newest first; ids settle what happened within one millisecond. */
export function newerFirst(a: Invocation, b: Invocation): number {
  return acceptedTime(b) - acceptedTime(a) || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}

export function toSegments(invocations: readonly Invocation[]): Segment[] {
  const timed = invocations.map((invocation) => ({ invocation, own: timeOf(invocation.id) }));
  const timeIn = ({ own, invocation }: (typeof timed)[number]): number => own ?? invocation.timings.acceptedAt;
  timed.sort((a, b) => timeIn(a) - timeIn(b));
  const segments: Segment[] = [];
  let draft = new Draft();
  for (const entry of timed) {
    const { invocation } = entry;
    const at = timeIn(entry);
    if (!draft.takes(at)) {
      segments.push(draft.finish());
      draft = new Draft();
    }
    draft.add(invocation, at, entry.own !== undefined);
  }
  if (draft.invocations.length > 0) segments.push(draft.finish());
  return segments;
}

export function readSummary(data: Uint8Array): SegmentSummary {
  const bytes = asBuffer(data);
  const end = bytes.indexOf(newline);
  const { frames: _, ...summary } = parse<Description>(bytes.toString("utf8", 0, end < 0 ? bytes.length : end));
  return summary;
}

export function readSegment(data: Uint8Array): Invocation[] {
  const [first, ...lines] = asBuffer(data).toString("utf8").split("\n");
  const { frames } = parse<Description>(first!);
  return lines.map((line) => recordOf(line, frames));
}

/** The newest record of this id in a segment, without parsing the others. */
export function findInSegment(data: Uint8Array, id: string): Invocation | undefined {
  const bytes = asBuffer(data);
  let end = bytes.length;
  for (;;) {
    const hit = bytes.lastIndexOf(id, end, "latin1");
    if (hit < 0) return undefined;
    const from = bytes.lastIndexOf(newline, hit) + 1;
    if (from === 0) return undefined;
    const until = bytes.indexOf(newline, hit);
    const line = bytes.toString("utf8", from, until < 0 ? bytes.length : until);
    const { frames } = parse<Description>(bytes.toString("utf8", 0, bytes.indexOf(newline)));
    // The same id stands in the records of calls that this one made, too.
    const invocation = recordOf(line, frames);
    if (invocation.id === id) return invocation;
    end = from - 1;
  }
}

export function nameBit(name: string): number {
  let hash = 0;
  for (let index = 0; index < name.length; index++) hash = (Math.imul(hash, 31) + name.charCodeAt(index)) | 0;
  return 1 << (Math.imul(hash, 0x9e37_79b1) >>> 27);
}

export function statusBit(status: InvocationStatus): number {
  return 1 << statusOrder.indexOf(status);
}

const newline = 0x0a;
const statusOrder: readonly InvocationStatus[] = [
  "queued",
  "running",
  "succeeded",
  "failed",
  "timed_out",
  "cancelled",
  "dead_letter",
];

/** A segment's first line. */
type Description = SegmentSummary & { readonly frames: readonly Frame[] };

class Draft {
  readonly invocations: Invocation[] = [];
  readonly #writer = new LineWriter();
  readonly #lines: string[] = [];
  #length = 0;
  #min = 0;
  #max = 0;
  #names = 0;
  #statuses = 0;
  #untimed = 0;
  #values = 0;

  takes(at: number): boolean {
    if (this.#lines.length === 0) return true;
    return this.#lines.length < segmentRecords && this.#length < segmentBytes && at - this.#min <= segmentSpanMs;
  }

  add(invocation: Invocation, at: number, timed: boolean): void {
    if (this.#lines.length === 0) this.#min = at;
    this.#max = at;
    this.#names |= nameBit(invocation.name);
    this.#statuses |= statusBit(invocation.status);
    if (!timed) this.#untimed = 1;
    if (invocation.result?.blob !== undefined) this.#values = 1;
    const whole = this.#writer.line(invocation);
    const line = whole.length <= segmentBytes ? whole : this.#writer.line(fitted(invocation));
    this.#length += line.length;
    this.#lines.push(line);
    this.invocations.push(invocation);
  }

  finish(): Segment {
    const summary: SegmentSummary = {
      min: this.#min,
      max: this.#max,
      count: this.#lines.length,
      names: this.#names,
      statuses: this.#statuses,
      untimed: this.#untimed,
      values: this.#values,
    };
    const description = `${JSON.stringify(summary).slice(0, -1)},"frames":[${this.#writer.frames.join(",")}]}`;
    const data = Buffer.from(`${description}\n${this.#lines.join("\n")}`);
    return { summary, invocations: this.invocations, data };
  }
}

/** A record that an event can hold: log lines from the first on, the others counted as dropped. */
function fitted(invocation: Invocation): Invocation {
  const logs: LogLine[] = [];
  let bytes = 0;
  for (const line of invocation.logs) {
    bytes += Buffer.byteLength(JSON.stringify(line)) + 1;
    if (bytes > longestLogBytes) break;
    logs.push(line);
  }
  const dropped = (invocation.logsDropped ?? 0) + invocation.logs.length - logs.length;
  const { error } = invocation;
  return {
    ...invocation,
    logs,
    ...(dropped === 0 ? {} : { logsDropped: dropped }),
    ...(error === undefined
      ? {}
      : {
          error: {
            code: error.code,
            message: error.message.slice(0, longestErrorText),
            ...(error.stack === undefined ? {} : { stack: error.stack.slice(0, longestErrorText) }),
          },
        }),
  };
}

function recordOf(line: string, frames: readonly Frame[]): Invocation {
  try {
    return readLine(line, frames);
  } catch (cause) {
    throw corrupt(cause);
  }
}

function parse<T>(line: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (cause) {
    throw corrupt(cause);
  }
}

function corrupt(cause: unknown): VirgaError {
  return new VirgaError("storage_corrupt", "a segment of invocation records cannot be read", {
    fix: "the journal was changed from outside; restore it from a backup",
    cause,
  });
}

function asBuffer(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
