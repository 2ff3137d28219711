/** Calls of actions, blocking and not, of code, sequences and compositions alike (contract sections 1.4, 1.6, 2.3). */
import type { Cause, Invocation } from "../../core/model.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import { asVirgaError } from "../../core/errors.ts";
import { activationIdOf, activationOf, answerOf, failureOf, responseOf, successText } from "./activation.ts";
import { compositeNoteFor } from "./call-adapter.ts";
import { Waits } from "./waits.ts";
import { compositeRecord, workflowOf } from "./composite.ts";
import type { Activation, ActivationResponse } from "./entities.ts";
import { engineName, engineNamespace } from "./names.ts";
import { isComposite, type ResolvedAction } from "./resolution.ts";

export interface InvocationsOptions {
  readonly engine: Pick<Engine, "invoker" | "dispatcher" | "workflows" | "history">;
  readonly clock: Clock;
  readonly log: Log;
  readonly identify: () => string;
}

export interface InvokeRequest {
  readonly action: ResolvedAction;
  /** The namespace that calls, and owns the activation. */
  readonly caller: string;
  /** A JSON object or list, as text. */
  readonly payload: Uint8Array;
  readonly requestId: string;
  readonly cause?: Cause["kind"];
}

/** A blocking call's end, or the word that it goes on behind the caller's patience. */
export type Invoked =
  | { readonly activationId: string; readonly pending: true }
  | {
      readonly activationId: string;
      readonly pending: false;
      /** The result as JSON text, where the call is a plain success. */
      readonly successText: string | undefined;
      readonly record: Invocation;
      readonly response: ActivationResponse;
      readonly activation: Activation;
    };

export interface Invocations {
  /** Waits for up to `waitMs`; the call goes on when the time is over, and when the caller has gone away. */
  invoke(request: InvokeRequest, waitMs: number): Promise<Invoked>;
  /** Resolves to the activation's id when the call is on disk. */
  accept(request: InvokeRequest): Promise<string>;
}

export function createInvocations(options: InvocationsOptions): Invocations {
  const { engine, clock, log, identify } = options;
  const waits = new Waits(clock);

  async function startRun(request: InvokeRequest): Promise<string> {
    const { action, caller } = request;
    const { id } = await engine.workflows.start({
      namespace: engineNamespace(caller),
      workflow: engineName(action.called, caller),
      definition: workflowOf(action.action, action.called, caller),
      input: { json: JSON.parse(Buffer.from(request.payload).toString("utf8") || "{}") as Json },
      id: identify(),
      annotations: { whisk: compositeNoteFor(action) as unknown as Json },
    });
    return id;
  }

  async function invokeComposite(request: InvokeRequest, waitMs: number): Promise<Invoked> {
    const id = await startRun(request);
    const namespace = engineNamespace(request.caller);
    const activationId = activationIdOf(id);
    if (!(await engine.workflows.ended(namespace, id, waitMs))) return { activationId, pending: true };
    const view = await engine.workflows.run(namespace, id);
    if (view === undefined) return { activationId, pending: true };
    const record = await compositeRecord(view, compositeNoteFor(request.action), engine);
    return new Finished(record, () => responseOf(record));
  }

  function invokeCode(request: InvokeRequest, waitMs: number): Promise<Invoked> {
    const id = identify();
    const answer = engine.invoker.call(callOf(request, id));
    return new Promise((resolve, reject) => {
      const timer = waits.after(waitMs, () => resolve({ activationId: activationIdOf(id), pending: true }));
      answer.then(
        ({ invocation, status, body, error }) => {
          timer.cancel();
          if (error !== undefined) {
            const { timeout } = request.action.action.limits;
            resolve(new Finished(invocation, () => failureOf(error.code, error.message, timeout)));
            return;
          }
          const success = successText(status ?? 200, body);
          resolve(new Finished(invocation, () => answerOf(status ?? 200, body), success));
        },
        (thrown: unknown) => {
          timer.cancel();
          const error = asVirgaError(thrown);
          if (error.kind === "system")
            log.error("an action could not be called", { activation: activationIdOf(id), error });
          reject(error);
        },
      );
    });
  }

  return {
    invoke: (request, waitMs) =>
      isComposite(request.action.action) ? invokeComposite(request, waitMs) : invokeCode(request, waitMs),

    async accept(request) {
      if (isComposite(request.action.action)) return activationIdOf(await startRun(request));
      const { id } = await engine.dispatcher.accept({ ...callOf(request, identify()), body: request.payload });
      return activationIdOf(id);
    },
  };
}

function callOf({ action, caller, payload, requestId, cause = "api" }: InvokeRequest, id: string) {
  const namespace = engineNamespace(caller);
  const name = engineName(action.called, caller);
  return {
    id,
    namespace,
    name,
    cause: { kind: cause, requestId },
    method: "POST",
    target: "/",
    url: `http://${name}.${namespace}/`,
    headers: jsonHeaders,
    body: payload,
  };
}

const jsonHeaders = ["content-type", "application/json"] as const;

/** Most of it is worked out where it is asked for: a success is mostly handed on as it came. */
class Finished {
  readonly activationId: string;
  readonly pending = false;
  readonly record: Invocation;
  readonly successText: string | undefined;
  readonly #respond: () => ActivationResponse;
  #response: ActivationResponse | undefined;

  constructor(record: Invocation, respond: () => ActivationResponse, success?: string) {
    this.activationId = activationIdOf(record.id);
    this.record = record;
    this.successText = success;
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
