import type { Cause } from "../../core/model.ts";
import type { ResolvedAction } from "./resolution.ts";

/** One call of an action, as the REST API or the web makes it. The call adapter finds here what was worked out for it before. */
export class ActionCall {
  readonly action: ResolvedAction;
  /** The namespace that calls, and owns the activation. */
  readonly caller: string;
  /** A JSON object or list, as text. */
  readonly payload: Uint8Array;
  /** Its invocation's id, and the same as OpenWhisk writes it. */
  readonly id: string;
  readonly activationId: string;
  readonly transactionId: string;
  readonly cause: Cause["kind"];

  constructor({ action, caller, payload, id, activationId, transactionId, cause }: ActionCall) {
    this.action = action;
    this.caller = caller;
    this.payload = payload;
    this.id = id;
    this.activationId = activationId;
    this.transactionId = transactionId;
    this.cause = cause;
  }
}
