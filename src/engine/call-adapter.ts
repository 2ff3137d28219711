import type { Revision } from "../core/model.ts";
import type { Json } from "../core/workflow/definition.ts";
import type { InvocationRequest } from "./engine.ts";

/**
 * How a dialect puts calls to its functions, whoever makes them: the gateway, the queue, a workflow, an event. What its programs
 * are given and what an answer means is the dialect's, so the engine asks it by `FunctionConfig.dialect`.
 */
export interface CallAdapter {
  /**
   * Just before the call goes to its instance. A promise only where it has to read; throws or rejects with a VirgaError for a call
   * that may not be made.
   */
  prepare(call: AdaptedCall): PreparedCall | Promise<PreparedCall>;
}

export interface AdaptedCall {
  readonly id: string;
  readonly request: InvocationRequest;
  /** The whole body. */
  readonly body: Uint8Array;
  readonly revision: Revision;
  /** When the call is killed, in milliseconds since the epoch. */
  readonly deadline: number;
}

export interface PreparedCall {
  readonly body: Uint8Array;
  /** See `Call.bodySuffices`. */
  readonly bodySuffices?: boolean;
  /** In place of the request's. Flat: name, value, …; names in lower case. */
  readonly headers: readonly string[];
  /** For the record, over the request's. */
  readonly annotations?: Readonly<Record<string, Json>>;
  /** The answer is kept in the record, up to 1 MiB of it, as that of an asynchronous call is. */
  readonly keepsResult?: boolean;
}
