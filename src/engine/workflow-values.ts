import type { Invocation } from "../core/model.ts";
import { once } from "../core/once.ts";
import { type Json, workflowLimits } from "../core/workflow/definition.ts";
import type { BlobValue, Failure, Outcome, TaskTimings, Value } from "../core/workflow/event.ts";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Blobs } from "../ports/blobs.ts";

/** Inputs and outputs between the journal, the blobs beside it, and the calls. */
export class WorkflowValues {
  readonly #blobs: Pick<Blobs, "put" | "get" | "has">;

  constructor(blobs: Pick<Blobs, "put" | "get" | "has">) {
    this.#blobs = blobs;
  }

  /** As the journal keeps it. Rejects with `request_too_large`. */
  async keep(value: Value): Promise<Value> {
    if ("blob" in value) return value;
    const text = JSON.stringify(value.json);
    const bytes = Buffer.byteLength(text);
    if (bytes <= workflowLimits.inlineBytes) return value;
    if (bytes > workflowLimits.valueBytes) {
      throw new VirgaError(
        "request_too_large",
        `a value of ${bytes} bytes is larger than ${workflowLimits.valueBytes}`,
        {
          fix: "Put large data into a store and send its name.",
        },
      );
    }
    return this.#store(Buffer.from(text), "json");
  }

  async read(value: Value): Promise<Json> {
    if ("json" in value) return value.json;
    return decode(await this.#content(value), value.as);
  }

  /** A call's body. */
  async body(value: Value): Promise<{ type: string; bytes: Buffer }> {
    if ("json" in value) return { type: "application/json", bytes: Buffer.from(JSON.stringify(value.json)) };
    const bytes = await this.#content(value);
    if (value.as === "json") return { type: "application/json", bytes };
    return { type: "application/json", bytes: Buffer.from(JSON.stringify(decode(bytes, value.as))) };
  }

  /** What a settled call means to its step: an answer below 400 is its output, the rest are failures. */
  async outcomeOf(record: Invocation): Promise<Outcome> {
    const { status, result, error } = record;
    const value = result === undefined ? undefined : await this.#answer(result.headers, result.body, result.blob);
    if (status === "succeeded" && result !== undefined && value !== undefined && result.status < 400) {
      return { ok: true, value };
    }
    const failure: Failure = error ??
      ownFailure(value) ?? {
        code: "function_error",
        message: result === undefined ? `the call ${status}` : `answered ${result.status}`,
      };
    const { code, message } = failure;
    return { ok: false, error: { code, message }, ...(value === undefined ? {} : { value }) };
  }

  async #answer(headers: readonly string[], body: string | undefined, blob: string | undefined): Promise<Value> {
    const type = typeOf(headers);
    if (blob !== undefined) {
      // Renewed: the run relies on it from now on, and its record may go before the run has written that down.
      await this.#blobs.has(blob);
      const { size } = await this.#blobs.get(blob);
      return { blob, bytes: size, as: type.includes("json") ? "json" : type.startsWith("text/") ? "text" : "bytes" };
    }
    const bytes = Buffer.from(body ?? "", "base64");
    const as = kindOf(type, bytes);
    if (bytes.length <= workflowLimits.inlineBytes) return { json: decode(bytes, as) };
    return this.#store(bytes, as);
  }

  async #store(bytes: Buffer, as: BlobValue["as"]): Promise<BlobValue> {
    const { digest, size } = await this.#blobs.put(once(bytes));
    return { blob: digest, bytes: size, as };
  }

  async #content(value: BlobValue): Promise<Buffer> {
    if (value.bytes > mostReadBytes) {
      throw new VirgaError("request_too_large", `a value of ${value.bytes} bytes is larger than ${mostReadBytes}`, {
        fix: "Put large data into a store and send its name.",
      });
    }
    const { content } = await this.#blobs.get(value.blob);
    const chunks: Uint8Array[] = [];
    for await (const chunk of content) chunks.push(chunk);
    return Buffer.concat(chunks);
  }
}

export function timingsOf({ timings, attempt }: Invocation): TaskTimings {
  const { queueMs, coldStartMs, runMs } = timings;
  return { queueMs, coldStartMs, runMs, attempt };
}

/** What cannot begin for a reason of the user's; undefined where trying again may help. */
export function failureOf(thrown: unknown): Outcome | undefined {
  const { kind, code, message } = asVirgaError(thrown);
  if (kind === "system" || kind === "transient" || code === "queue_full") return undefined;
  return { ok: false, error: { code, message } };
}

/** A function may name its failure: `{ "error": { "code", "message" } }`. */
function ownFailure(value: Value | undefined): Failure | undefined {
  if (value === undefined || !("json" in value) || !isObject(value.json)) return undefined;
  const { error } = value.json;
  if (error === undefined || !isObject(error) || typeof error["code"] !== "string") return undefined;
  const { message } = error;
  const code = error["code"];
  return { code: code.slice(0, 128), message: typeof message === "string" ? message.slice(0, 4096) : "" };
}

function kindOf(type: string, bytes: Buffer): BlobValue["as"] {
  if (bytes.length === 0) return "json";
  if (type.includes("json")) {
    try {
      JSON.parse(bytes.toString("utf8"));
      return "json";
    } catch {
      // It says that it is JSON and is not: then it is what it is.
    }
  }
  return isUtf8(bytes) ? "text" : "bytes";
}

function decode(bytes: Buffer, as: BlobValue["as"]): Json {
  if (as === "bytes") return { base64: bytes.toString("base64") };
  const text = bytes.toString("utf8");
  if (as === "text") return text;
  if (text === "") return null;
  try {
    return JSON.parse(text) as Json;
  } catch {
    // A large answer is taken for what its type says, unread.
    return text;
  }
}

function isUtf8(bytes: Buffer): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function typeOf(headers: readonly string[]): string {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index]?.toLowerCase() === "content-type") return (headers[index + 1] ?? "").toLowerCase();
  }
  return "";
}

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}

/** What a call's body may be in the queue. */
const mostReadBytes = 63 * 2 ** 20;
