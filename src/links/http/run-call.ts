import type { Call, CallHandle, CallSink, Specialisation } from "../../ports/runtime.ts";
import { VirgaError } from "../../core/errors.ts";
import { headerOf } from "../../core/headers.ts";
import { cancellation } from "./http-call.ts";
import type { HttpInstance } from "./http-instance.ts";

/** One call as one `POST /run`, sent when its body is whole. */
export class RunCall implements CallHandle {
  onDrain: (() => void) | undefined = undefined;
  readonly #server: HttpInstance;
  readonly #code: Specialisation;
  readonly #call: Call;
  readonly #sink: CallSink;
  readonly #received: () => void;
  readonly #chunks: Uint8Array[] = [];
  #running: CallHandle | undefined;
  #over = false;

  constructor(server: HttpInstance, code: Specialisation, call: Call, sink: CallSink, received: () => void) {
    this.#server = server;
    this.#code = code;
    this.#call = call;
    this.#sink = sink;
    this.#received = received;
  }

  /** The body is whole. */
  begin(body: Uint8Array): void {
    const envelope = this.#envelope(Buffer.from(body).toString("utf8"));
    if (envelope === undefined) {
      this.#over = true;
      this.#received();
      const error = new VirgaError("function_error", "The request's body is no JSON, which is all that /run takes", {
        fix: "Send a JSON object.",
      });
      queueMicrotask(() => this.#sink.fail(error));
      return;
    }
    const headers = ["content-type", "application/json"];
    const request = { ...this.#call, method: "POST", target: "/run", headers, body: Buffer.from(envelope) };
    this.#running = this.#server.invoke(request, this.#sink);
    this.#received();
  }

  write(chunk: Uint8Array): boolean {
    if (!this.#over && this.#running === undefined) this.#chunks.push(chunk);
    return true;
  }

  end(): void {
    if (!this.#over && this.#running === undefined) this.begin(Buffer.concat(this.#chunks));
  }

  resume(): void {
    this.#running?.resume();
  }

  cancel(reason: "cancelled" | "timeout"): void {
    if (this.#running !== undefined) this.#running.cancel(reason);
    else if (!this.#over) {
      this.#over = true;
      this.#received();
      this.#sink.fail(cancellation(reason));
    }
  }

  /** A body that is one already goes as it is. Undefined for what is no JSON. */
  #envelope(text: string): string | undefined {
    const { id, deadline, headers } = this.#call;
    const { namespace, name, revision } = this.#code;
    try {
      const value: unknown = text.trim() === "" ? {} : JSON.parse(text);
      if (headerOf(headers, "content-type") === "application/vnd.openwhisk.run+json") return text;
      return JSON.stringify({
        value,
        namespace,
        action_name: `/${namespace}/${name}`,
        action_version: `0.0.${revision}`,
        activation_id: id,
        transaction_id: id,
        deadline: String(deadline),
      });
    } catch {
      return undefined;
    }
  }
}
