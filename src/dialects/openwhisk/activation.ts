/** Invocation records as OpenWhisk's activations (contract section 1.7). */
import { isAscii } from "node:buffer";
import type { Invocation } from "../../core/model.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { Activation, ActionLimits, ActivationResponse, KeyValues } from "./entities.ts";
import { qualifiedName, whiskNamespace } from "./names.ts";

/** What the dialect keeps with an invocation's record, under `annotations.whisk`. */
export interface WhiskNote {
  /** `namespace/package/name` of the action whose code ran; of a trigger, its own. */
  readonly path: string;
  /** `nodejs:20`, `sequence`, `trigger`. */
  readonly kind: string;
  readonly version: string;
  readonly limits?: ActionLimits;
  /** `namespace/package` of the binding that it was called through. */
  readonly binding?: string;
  readonly conductor?: true;
  /** Of a sequence, composition or trigger: what stands in place of log lines. */
  readonly logs?: readonly string[];
  /** Of a sequence or composition: milliseconds that its components ran. */
  readonly duration?: number;
}

/**
 * As `activationOf` with this result, as JSON text and without logs: what a blocking call of code is answered. Written by hand,
 * since it is written for every call.
 */
export function blockingText(
  { activationId, record }: { readonly activationId: string; readonly record: Invocation },
  name: string,
  note: WhiskNote,
  result: SuccessText,
): string {
  const { timings, usage } = record;
  const { duration, end, start } = timesOf(record, note);
  const subject = whiskNamespace(record.namespace);
  const waitTime = Math.round(timings.queueMs + timings.coldStartMs);
  const initTime = usage.coldStart ? `,{"key":"initTime","value":${initTimeOf(record)}}` : "";
  return (
    `{"namespace":"${subject}","name":"${name}","version":"${note.version}","subject":"${subject}",` +
    `"activationId":"${activationId}","start":${start},"end":${end},"duration":${duration},` +
    `"response":{"status":"success","statusCode":0,"success":true,"size":${result.bytes},"result":${result.text}},` +
    `"logs":[],"annotations":[${constantText(note)},{"key":"waitTime","value":${waitTime}}${initTime}],"publish":false}`
  );
}

/** The annotations that are the same for all successful calls of an action. */
function constantText(note: WhiskNote): string {
  let text = constants.get(note);
  if (text === undefined) {
    const { path, kind, limits, binding } = note;
    const same = { path, kind, limits, timeout: false, ...(binding === undefined ? {} : { binding }) };
    text = Object.entries(same)
      .map(([key, value]) => JSON.stringify({ key, value }))
      .join(",");
    constants.set(note, text);
  }
  return text;
}

const constants = new WeakMap<WhiskNote, string>();

/** An action's result as JSON text. */
export interface SuccessText {
  readonly text: string;
  /** Its length as UTF-8. */
  readonly bytes: number;
  readonly isAscii: boolean;
}

/** Of an answer that is a plain success: a JSON object of the right size without an `error` anywhere; else undefined. */
export function successText(status: number, body: Uint8Array): SuccessText | undefined {
  if (status !== 200 || body.length > resultBytes || body[0] !== openingBrace) return undefined;
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
  if (text.includes('"error"')) return undefined;
  const ascii = isAscii(body);
  // What is no UTF-8 was replaced by what takes more room.
  return { text, bytes: ascii ? body.length : Buffer.byteLength(text), isAscii: ascii };
}

const openingBrace = 0x7b;

export function activationIdOf(invocationId: string): string {
  return (
    invocationId.slice(0, 8) +
    invocationId.slice(9, 13) +
    invocationId.slice(14, 18) +
    invocationId.slice(19, 23) +
    invocationId.slice(24)
  );
}

/** The way back; undefined for what is no activation id. */
export function invocationIdOf(activationId: string): string | undefined {
  if (!/^[0-9a-f]{32}$/.test(activationId)) return undefined;
  const part = (from: number, to: number): string => activationId.slice(from, to);
  return `${part(0, 8)}-${part(8, 12)}-${part(12, 16)}-${part(16, 20)}-${part(20, 32)}`;
}

export function noteOf({ annotations }: Invocation): WhiskNote | undefined {
  return annotations?.["whisk"] as WhiskNote | undefined;
}

export function activationOf(record: Invocation, response = responseOf(record)): Activation {
  const { id, cause } = record;
  const note = noteOf(record);
  const namespace = whiskNamespace(record.namespace);
  const name = qualifiedName(record.name, namespace)?.name ?? record.name;
  const { start, end, duration } = timesOf(record, note);
  return {
    namespace,
    name,
    version: note?.version ?? "0.0.1",
    subject: namespace,
    activationId: activationIdOf(id),
    start,
    ...(note?.kind === "trigger" ? {} : { end, duration }),
    ...(cause.kind === "workflow" && cause.parent !== undefined ? { cause: activationIdOf(cause.parent) } : {}),
    response,
    logs: note?.logs ?? logLines(record),
    annotations: annotationsOf(record, note),
    publish: false,
  };
}

/** A call of code begins when its instance has it; a run when it was accepted, and its duration is what its components ran. */
function timesOf(
  { timings }: Invocation,
  note: WhiskNote | undefined,
): { start: number; end: number; duration: number } {
  const accepted = Math.floor(timings.acceptedAt);
  const totalMs = Math.round(timings.totalMs);
  if (note?.duration !== undefined) return { start: accepted, end: accepted + totalMs, duration: note.duration };
  const duration = Math.round(timings.initMs + timings.runMs);
  const end = accepted + Math.max(duration, totalMs);
  return { start: Math.max(accepted, end - duration), end, duration };
}

function initTimeOf({ timings }: Invocation): number {
  return Math.max(1, Math.round(timings.initMs));
}

/** What lists show (section 1.7, summary). */
export function summaryOf(activation: Activation): Json {
  const { namespace, name, version, publish, annotations, activationId, start, end, duration, cause } = activation;
  return {
    namespace,
    name,
    version,
    publish,
    annotations: annotations as unknown as Json,
    activationId,
    start,
    ...(end === undefined ? {} : { end }),
    ...(duration === undefined ? {} : { duration }),
    ...(cause === undefined ? {} : { cause }),
    statusCode: activation.response.statusCode,
  };
}

/** Milliseconds with the three digits that OpenWhisk's clocks have beyond ours. */
export function logLines({ logs, logsDropped }: Pick<Invocation, "logs" | "logsDropped">): string[] {
  const lines = logs.map(
    ({ at, stream, text }) => `${new Date(at).toISOString().slice(0, -1)}000000Z ${stream}: ${text}`,
  );
  if (logsDropped !== undefined && logsDropped > 0) {
    const bytes = logs.reduce((sum, { text }) => sum + Buffer.byteLength(text) + 1, 0);
    const at = new Date(logs.at(-1)?.at ?? 0).toISOString().slice(0, -1);
    lines.push(
      `${at}000000Z stderr: Logs were truncated because the total bytes size exceeds the limit of ${bytes} bytes.`,
    );
  }
  return lines;
}

export function responseOf(record: Pick<Invocation, "result" | "error" | "usage" | "annotations">): ActivationResponse {
  const { result, error } = record;
  if (error !== undefined) return failureOf(error.code, error.message, noteLimits(record));
  if (result === undefined) return response(0, {});
  const body = result.body === undefined ? "" : Buffer.from(result.body, "base64");
  return answerOf(result.status, body);
}

/** What a guest's answer means: a result, an application's own error, or a failure of its code. */
export function answerOf(status: number, body: Uint8Array | string): ActivationResponse {
  const text =
    typeof body === "string" ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
  let value: Json;
  try {
    value = text === "" ? {} : (JSON.parse(text) as Json);
  } catch {
    return response(2, { error: messages.invalidJson(text) });
  }
  if (status >= 400) return response(2, hasError(value) ? value : { error: value });
  if (typeof value !== "object" || value === null) return response(2, { error: messages.invalidJson(text) });
  const size = Buffer.byteLength(text);
  if (size > resultBytes) {
    return response(1, { error: messages.tooLarge(size, text.slice(0, truncatedLength)) });
  }
  return response(hasError(value) ? 1 : 0, value, size);
}

function hasError(value: Json): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.hasOwn(value, "error");
}

/** An error of the platform's, in OpenWhisk's words. */
export function failureOf(code: string, message: string, timeoutMs: number | undefined): ActivationResponse {
  switch (code) {
    case "timeout":
      return response(2, { error: messages.timedOut(timeoutMs ?? 0) });
    case "start_failed":
    case "build_failed":
    case "build_timeout":
      return response(2, { error: messages.initFailed(message) });
    case "function_crashed":
      return response(2, { error: messages.exited });
    case "out_of_memory":
      return response(2, { error: messages.outOfMemory });
    case "invalid_response":
      return response(2, { error: messages.invalidJson(message) });
    case "function_error":
      return response(2, { error: message });
    case "response_too_large":
      return response(1, { error: messages.tooLarge(undefined, "") });
    case "bad_request":
    case "invalid_field":
    case "request_too_large":
    case "not_found":
    case "forbidden":
      return response(1, { error: message });
    case "queue_full":
    case "no_instance":
    case "unavailable":
      return response(3, { error: "Failed to provision resources to run the action." });
    default:
      return response(3, { error: message });
  }
}

export const messages = {
  timedOut: (ms: number): string => `The action exceeded its time limits of ${ms} milliseconds.`,
  initFailed: (reason: string): string => `The action did not initialize and exited unexpectedly: ${reason}`,
  exited: "The action did not produce a valid response and exited unexpectedly.",
  outOfMemory: "The action exhausted its memory and was aborted.",
  invalidJson: (text: string): string =>
    `The action did not produce a valid JSON or JSON Array response: ${text.slice(0, truncatedLength)}`,
  tooLarge: (size: number | undefined, prefix: string): string =>
    `The action produced a response that exceeded the allowed length: ${size ?? "unknown"} > ${resultBytes} bytes. The truncated response was: ${prefix}`,
} as const;

/** Section 3.4: what an action may answer. */
export const resultBytes = 2 ** 20;
const truncatedLength = 1024;

const statuses = ["success", "application error", "action developer error", "whisk internal error"] as const;

export function response(statusCode: 0 | 1 | 2 | 3, result: Json, size?: number): ActivationResponse {
  return {
    status: statuses[statusCode],
    statusCode,
    success: statusCode === 0,
    result,
    ...(size === undefined ? {} : { size }),
  };
}

function annotationsOf(record: Invocation, note: WhiskNote | undefined): KeyValues {
  if (note === undefined) return [];
  const { cause, timings, usage, error } = record;
  const isWorkflow = note.duration !== undefined;
  const found: [string, Json | undefined][] =
    note.kind === "trigger"
      ? []
      : [
          ["path", note.path],
          ["kind", note.kind],
          ["limits", note.limits as unknown as Json],
          ["timeout", isWorkflow ? undefined : error?.code === "timeout"],
          ["waitTime", Math.round(timings.queueMs + timings.coldStartMs)],
          ["initTime", usage.coldStart && !isWorkflow ? initTimeOf(record) : undefined],
          ["binding", note.binding],
          ["causedBy", cause.kind === "workflow" && cause.parent !== undefined ? "sequence" : undefined],
          ["topmost", isWorkflow ? cause.kind !== "workflow" : undefined],
          ["conductor", note.conductor],
        ];
  return found.flatMap(([key, value]) => (value === undefined ? [] : [{ key, value }]));
}

function noteLimits(record: Pick<Invocation, "annotations">): number | undefined {
  return (record.annotations?.["whisk"] as WhiskNote | undefined)?.limits?.timeout;
}
