/** Calls of actions, blocking and not, of code, sequences and compositions alike (contract sections 1.4, 1.6, 2.3). */
import type { VirgaError } from "../../core/errors.ts";
import type { Invocation } from "../../core/model.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { Engine, InvocationRequest, InvocationSink } from "../../engine/engine.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { ActionCall } from "./action-call.ts";
import { activationOf, answerOf, failureOf, responseOf, type SuccessText, successText } from "./activation.ts";
import { compositeNoteFor } from "./call-adapter.ts";
import { compositeRecord, workflowOf } from "./composite.ts";
import type { Activation, ActivationResponse } from "./entities.ts";
import { engineNamespace } from "./names.ts";
import { Waits } from "./waits.ts";

export interface InvocationsOptions {
  readonly engine: Pick<Engine, "invoker" | "dispatcher" | "workflows" | "history">;
  readonly clock: Clock;
  readonly log: Log;
}

/** A blocking call's end, or the word that it goes on behind the caller's patience. */
export type Invoked =
  | { readonly activationId: string; readonly pending: true }
  | {
      readonly activationId: string;
      readonly pending: false;
      /** The result as JSON text, where the call is a plain success. */
      readonly success: SuccessText | undefined;
      readonly record: Invocation;
      readonly response: ActivationResponse;
      readonly activation: Activation;
    };

export interface Invocations {
  /** Waits for up to `waitMs`; the call goes on when the time is over, and when the caller has gone away. */
  invoke(call: ActionCall, waitMs: number): Promise<Invoked>;
  /** Resolves when the call is on disk. */
  accept(call: ActionCall): Promise<void>;
}

export function createInvocations({ engine, clock, log }: InvocationsOptions): Invocations {
  const waits = new Waits(clock);

  function startRun({ action, caller, payload, id }: ActionCall): Promise<unknown> {
    return engine.workflows.start({
      namespace: engineNamespace(caller),
      workflow: action.engineName,
      definition: workflowOf(action.action, action.called, caller),
      input: { json: JSON.parse(Buffer.from(payload).toString("utf8") || "{}") as Json },
      id,
      annotations: { whisk: compositeNoteFor(action) as unknown as Json },
    });
  }

  async function invokeComposite(call: ActionCall, waitMs: number): Promise<Invoked> {
    await startRun(call);
    const { id, activationId } = call;
    const namespace = engineNamespace(call.caller);
    if (!(await engine.workflows.ended(namespace, id, waitMs))) return { activationId, pending: true };
    const view = await engine.workflows.run(namespace, id);
    if (view === undefined) return { activationId, pending: true };
    const record = await compositeRecord(view, compositeNoteFor(call.action), engine);
    return new Finished(activationId, record, () => responseOf(record), undefined);
  }

  function invokeCode(call: ActionCall, waitMs: number): Promise<Invoked> {
    return new Promise((resolve, reject) => {
      const blocking = new BlockingCall(call, log, resolve, reject);
      blocking.patience = waits.after(waitMs, () => resolve({ activationId: call.activationId, pending: true }));
      engine.invoker.invoke(callOf(call), blocking);
    });
  }

  return {
    invoke: (call, waitMs) => (call.action.isComposite ? invokeComposite(call, waitMs) : invokeCode(call, waitMs)),

    async accept(call) {
      if (call.action.isComposite) await startRun(call);
      else await engine.dispatcher.accept(callOf(call));
    },
  };
}

function callOf(call: ActionCall): InvocationRequest & { readonly body: Uint8Array } {
  const { action, caller, payload, id, transactionId, cause } = call;
  const namespace = engineNamespace(caller);
  const name = action.engineName;
  return {
    id,
    namespace,
    name,
    cause: { kind: cause, requestId: transactionId },
    method: "POST",
    target: "/",
    url: `http://${name}.${namespace}/`,
    headers: jsonHeaders,
    body: payload,
    known: call,
  };
}

const jsonHeaders = ["content-type", "application/json"] as const;

/** Gathers the answer of a call of code for whoever waits for it. */
class BlockingCall implements InvocationSink {
  /** Runs until the caller is told that the call goes on without him. */
  patience: Timer | undefined = undefined;
  readonly #call: ActionCall;
  readonly #log: Log;
  readonly #resolve: (invoked: Invoked) => void;
  readonly #reject: (error: VirgaError) => void;
  readonly #chunks: Uint8Array[] = [];
  #status = 200;

  constructor(call: ActionCall, log: Log, resolve: (invoked: Invoked) => void, reject: (error: VirgaError) => void) {
    this.#call = call;
    this.#log = log;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  head(status: number): void {
    this.#status = status;
  }

  data(chunk: Uint8Array): boolean {
    this.#chunks.push(chunk);
    return true;
  }

  end(invocation: Invocation): void {
    this.patience?.cancel();
    const status = this.#status;
    const body = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    const success = successText(status, body);
    this.#resolve(new Finished(this.#call.activationId, invocation, () => answerOf(status, body), success));
  }

  fail(error: VirgaError, invocation: Invocation | undefined): void {
    this.patience?.cancel();
    const { activationId, action } = this.#call;
    if (invocation === undefined) {
      if (error.kind === "system")
        this.#log.error("an action could not be called", { activation: activationId, error });
      this.#reject(error);
    } else {
      const { timeout } = action.action.limits;
      const failure = (): ActivationResponse => failureOf(error.code, error.message, timeout);
      this.#resolve(new Finished(activationId, invocation, failure, undefined));
    }
  }
}

/** Most of it is worked out where it is asked for: a success is mostly handed on as it came. */
class Finished {
  readonly pending = false;
  readonly activationId: string;
  readonly record: Invocation;
  readonly success: SuccessText | undefined;
  readonly #respond: () => ActivationResponse;
  #response: ActivationResponse | undefined;

  constructor(
    activationId: string,
    record: Invocation,
    respond: () => ActivationResponse,
    success: SuccessText | undefined,
  ) {
    this.activationId = activationId;
    this.record = record;
    this.success = success;
    this.#respond = respond;
  }

  get response(): ActivationResponse {
    this.#response ??= this.#respond();
    return this.#response;
  }

  get activation(): Activation {
    return activationOf(this.record, this.response);
  }
}
