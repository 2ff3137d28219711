import { VirgaError } from "../../core/errors.ts";
import { headerOf } from "../../core/headers.ts";
import type { Call, CallHandle, CallMeasurement, CallSink } from "../../ports/runtime.ts";

/** What a call asks of its instance. */
export interface Loop {
  send(line: Uint8Array): void;
  release(call: ActionLoopCall, isOpen: boolean): void;
  measure(): Promise<CallMeasurement>;
}

/** One call as one line. */
export class ActionLoopCall implements CallHandle {
  onDrain: (() => void) | undefined = undefined;
  readonly id: string;
  readonly #loop: Loop;
  readonly #call: Call;
  readonly #sink: CallSink;
  #chunks: Uint8Array[] = [];
  #sent = false;
  #settled = false;

  constructor(loop: Loop, call: Call, sink: CallSink) {
    this.#loop = loop;
    this.#call = call;
    this.#sink = sink;
    this.id = call.id;
  }

  begin(): void {
    if (this.#call.body !== undefined) this.#send(this.#call.body);
  }

  write(chunk: Uint8Array): boolean {
    if (!this.#sent && !this.#settled) this.#chunks.push(chunk);
    return true;
  }

  end(): void {
    if (!this.#sent && !this.#settled) this.#send(Buffer.concat(this.#chunks));
  }

  resume(): void {
    // An answer is one line: it is here as a whole or not at all.
  }

  cancel(reason: "cancelled" | "timeout"): void {
    const error =
      reason === "timeout"
        ? new VirgaError("timeout", "The program gave no answer before the deadline", { field: "limits.timeoutMs" })
        : new VirgaError("cancelled", "The caller left before the answer was there");
    this.#fail(error, undefined, this.#sent);
  }

  crash(error: VirgaError): void {
    queueMicrotask(() => this.#fail(error, undefined, false));
  }

  /** Undefined: a line that is too long. */
  answered(line: string | undefined): void {
    if (this.#settled) return;
    // What it printed before comes by other pipes, and is read in this turn too.
    setImmediate(() => void this.#answer(line));
  }

  async #answer(line: string | undefined): Promise<void> {
    const measured = await this.#loop.measure();
    if (this.#settled) return;
    if (line === undefined) {
      const error = new VirgaError("response_too_large", "The program's answer is larger than it may be", {
        field: "limits.responseBytes",
      });
      this.#fail(error, measured, false);
      return;
    }
    this.#settled = true;
    this.#loop.release(this, false);
    const isResult = isObjectOrList(line);
    const body = isResult
      ? line
      : JSON.stringify({ error: `The action did not return a dictionary or array: ${line.slice(0, 200)}` });
    this.#sink.head(isResult ? 200 : 502, ["content-type", "application/json"]);
    this.#sink.data(Buffer.from(body));
    this.#sink.end(measured);
  }

  #send(body: Uint8Array): void {
    this.#sent = true;
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8").trim();
    const isEnvelope = headerOf(this.#call.headers, "content-type") === "application/vnd.openwhisk.run+json";
    const line = isEnvelope ? text : `{"value":${text === "" ? "{}" : text}}`;
    // Line ends between the parts of a document say nothing; those in its texts are written as \n.
    this.#loop.send(Buffer.from(`${line.replaceAll(/[\r\n]+/g, " ")}\n`));
  }

  #fail(error: VirgaError, measured: CallMeasurement | undefined, isOpen: boolean): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#loop.release(this, isOpen);
    this.#sink.fail(error, measured);
  }
}

function isObjectOrList(line: string): boolean {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}
