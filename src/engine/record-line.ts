import type { CallUsage, Cause, Invocation, Timings } from "../core/model.ts";

/**
 * One record as one line of JSON. What the calls of a function share stands once in the segment (a `Frame`); a line has the
 * rest as an array, its times in whole microseconds. That is a fifth of the record as an object, and so is the time to write it.
 * A record that does not fit this form is a line with the object itself.
 */
export type Frame = readonly [
  namespace: string,
  name: string,
  revision: number,
  instance: string | null,
  kind: Cause["kind"],
  status: Invocation["status"],
  attempt: number,
  responseStatus: number | null,
  memoryMb: number,
  coldStart: boolean,
  /** What a dialect keeps: the same object for many calls. */
  annotations: NonNullable<Invocation["annotations"]> | null,
  /** Of the results that stand behind their lines; null where there are none. Segments of earlier versions do not say. */
  resultHeaders?: readonly string[] | null,
];

/** Writes the lines of one segment, and collects their frames. */
export class LineWriter {
  /** As JSON. */
  readonly frames: string[] = [];
  readonly #number = ++writers;

  line(record: Invocation): string {
    const { timings, usage, cause } = record;
    const queue = micros(timings.queueMs);
    const cold = micros(timings.coldStartMs);
    const init = micros(timings.initMs);
    const run = micros(timings.runMs);
    const total = micros(timings.totalMs);
    const cpu = micros(usage.cpuMs);
    // Below 0: a number with more digits than microseconds have.
    if (Math.min(queue, cold, init, run, total, cpu) < 0) return JSON.stringify(record);
    const body = plainResult(record);
    const rest = restOf(record, body === undefined);
    const restText = rest === undefined ? undefined : JSON.stringify(rest);
    const end = body === undefined ? (restText === undefined ? "" : `,${restText}`) : `,${restText ?? "0"},"${body}"`;
    return (
      `[${JSON.stringify(record.id)},${this.#frame(record)},${timings.acceptedAt},${queue},${cold},${init},${run},${total}` +
      `,${usage.billedMs},${usage.memoryPeakBytes},${cpu},${usage.bytesIn},${usage.bytesOut}` +
      `,${textOf(cause.requestId, record.id)},${textOf(cause.traceparent, record.id)}${end}]`
    );
  }

  #frame(record: Invocation): number {
    const known = knownFrame(record);
    if (known.writer !== this.#number) {
      known.writer = this.#number;
      known.place = this.frames.push(known.text) - 1;
    }
    return known.place;
  }
}

let writers = 0;

interface KnownFrame {
  readonly frame: Frame;
  readonly text: string;
  /** Who wrote it last, and where. */
  writer: number;
  place: number;
}

/** By instance: the calls of the next segment mostly have the frames of those before. */
const knownFrames = new Map<string, KnownFrame[]>();
/** Characters that are kept, however many instances there were and whatever headers they answer with. */
const mostKept = 4 * 2 ** 20;
let kept = 0;
const none: readonly KnownFrame[] = [];
/** More have those whose annotations are no two calls' own. */
const mostOfInstance = 16;

function knownFrame(record: Invocation): KnownFrame {
  const instance = record.instance ?? "";
  const headers = plainResult(record) === undefined ? null : record.result!.headers;
  let frames = knownFrames.get(instance);
  for (const known of frames ?? none) if (isOf(record, headers, known.frame)) return known;
  if (frames === undefined || frames.length >= mostOfInstance) knownFrames.set(instance, (frames = []));
  const frame: Frame = [
    record.namespace,
    record.name,
    record.revision,
    record.instance ?? null,
    record.cause.kind,
    record.status,
    record.attempt,
    record.responseStatus ?? null,
    record.usage.memoryMb,
    record.usage.coldStart,
    record.annotations ?? null,
    headers,
  ];
  const known = { frame, text: JSON.stringify(frame), writer: 0, place: 0 };
  frames.push(known);
  kept += known.text.length;
  if (kept > mostKept) {
    knownFrames.clear();
    kept = 0;
  }
  return known;
}

/** Throws a SyntaxError for what is no JSON. */
export function readLine(line: string, frames: readonly Frame[]): Invocation {
  const parsed = JSON.parse(line) as Invocation | Line;
  if (!Array.isArray(parsed)) return parsed;
  const [
    id,
    frame,
    acceptedAt,
    queue,
    cold,
    init,
    run,
    total,
    billedMs,
    peak,
    cpu,
    bytesIn,
    bytesOut,
    request,
    trace,
    rest,
    body,
  ] = parsed;
  const [
    namespace,
    name,
    revision,
    instance,
    kind,
    status,
    attempt,
    responseStatus,
    memoryMb,
    coldStart,
    annotations,
    headers,
  ] = frames[frame]!;
  const { cause, ...more } = rest === undefined || rest === 0 ? {} : rest;
  return {
    id,
    namespace,
    name,
    revision,
    ...(instance !== null && { instance }),
    cause: {
      kind,
      ...cause,
      ...(request !== null && { requestId: request === 0 ? id : request }),
      ...(trace !== null && { traceparent: trace === 0 ? id : trace }),
    },
    status,
    attempt,
    ...(responseStatus !== null && { responseStatus }),
    timings: {
      acceptedAt,
      queueMs: queue / 1000,
      coldStartMs: cold / 1000,
      initMs: init / 1000,
      runMs: run / 1000,
      totalMs: total / 1000,
    },
    usage: { coldStart, billedMs, memoryMb, memoryPeakBytes: peak, cpuMs: cpu / 1000, bytesIn, bytesOut },
    logs: [],
    ...(annotations !== null && annotations !== undefined && { annotations }),
    ...more,
    ...(body !== undefined && { result: { status: responseStatus!, headers: headers!, body } }),
  };
}

type Line = [
  id: string,
  frame: number,
  acceptedAt: number,
  queue: number,
  coldStart: number,
  init: number,
  run: number,
  total: number,
  billedMs: number,
  memoryPeakBytes: number,
  cpu: number,
  bytesIn: number,
  bytesOut: number,
  requestId: string | 0 | null,
  traceparent: string | 0 | null,
  rest?: Rest | 0,
  /** Of a plain result, in base64. */
  body?: string,
];

/** What few records have. */
type Rest = Partial<Pick<Invocation, "error" | "logs" | "logsDropped" | "result" | "idempotencyKey">> & {
  cause?: Pick<Cause, "parent" | "root">;
};

/** A field that the model gains must be written here too: these lines do not compile without it. */
type Written<Whole, Names extends keyof Whole> = Exclude<keyof Whole, Names> extends never ? true : never;
true satisfies Written<
  Invocation,
  | keyof Rest
  | "id"
  | "namespace"
  | "name"
  | "revision"
  | "instance"
  | "status"
  | "attempt"
  | "responseStatus"
  | "timings"
  | "usage"
  | "annotations"
>;
true satisfies Written<Cause, "kind" | "parent" | "root" | "requestId" | "traceparent">;
true satisfies Written<Timings, "acceptedAt" | "queueMs" | "coldStartMs" | "initMs" | "runMs" | "totalMs">;
true satisfies Written<
  CallUsage,
  "coldStart" | "billedMs" | "memoryMb" | "memoryPeakBytes" | "cpuMs" | "bytesIn" | "bytesOut"
>;

function isOf(record: Invocation, headers: readonly string[] | null, frame: Frame): boolean {
  return (
    record.instance === (frame[3] ?? undefined) &&
    record.name === frame[1] &&
    record.namespace === frame[0] &&
    record.revision === frame[2] &&
    record.status === frame[5] &&
    record.usage.coldStart === frame[9] &&
    record.responseStatus === (frame[7] ?? undefined) &&
    record.annotations === (frame[10] ?? undefined) &&
    record.cause.kind === frame[4] &&
    record.attempt === frame[6] &&
    record.usage.memoryMb === frame[8] &&
    areSame(headers, frame[11] ?? null)
  );
}

function areSame(some: readonly string[] | null, others: readonly string[] | null): boolean {
  if (some === others) return true;
  return some?.length === others?.length && some?.every((text, index) => text === others![index]) === true;
}

/** The body of a result whose head the frame has; undefined where there is no result, or it stands in the line's rest. */
function plainResult({ result, responseStatus }: Invocation): string | undefined {
  if (result === undefined || result.blob !== undefined || result.status !== responseStatus) return undefined;
  return result.body;
}

function restOf(record: Invocation, withResult: boolean): Rest | undefined {
  const { cause, error, logs, logsDropped, idempotencyKey } = record;
  const result = withResult ? record.result : undefined;
  const { parent, root } = cause;
  const caused = parent !== undefined || root !== undefined;
  if (
    logs.length === 0 &&
    !caused &&
    error === undefined &&
    result === undefined &&
    idempotencyKey === undefined &&
    logsDropped === undefined
  ) {
    return undefined;
  }
  return {
    ...(caused && { cause: { parent, root } }),
    ...(logs.length > 0 && { logs }),
    ...(error !== undefined && { error }),
    ...(result !== undefined && { result }),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(logsDropped !== undefined && { logsDropped }),
  };
}

/** Whole microseconds; -1 where the number has digits below them. */
function micros(ms: number): number {
  const whole = Math.round(ms * 1000);
  return whole >= 0 && whole / 1000 === ms ? whole : -1;
}

/** JSON; `null` where there is none, 0 where it is the record's own id. */
function textOf(text: string | undefined, id: string): string {
  return text === undefined ? "null" : text === id ? "0" : JSON.stringify(text);
}
