/** POST `/namespaces/NS/actions/…` (contract sections 1.3, 2.3). */
import type { Json } from "../../core/workflow/definition.ts";
import { ActionCall } from "./action-call.ts";
import { blockingText } from "./activation.ts";
import { noteFor } from "./call-adapter.ts";
import type { WhiskContext } from "./context.ts";
import { malformed, WhiskError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { sizeLimits } from "./limits.ts";
import type { QualifiedName } from "./names.ts";
import { readPayload } from "./payload.ts";
import { annotation, type ResolvedAction, resolveAction } from "./resolution.ts";
import type { Subject } from "./subjects.ts";

/** How long a blocking call may hold its connection; the call itself goes on. */
export const longestWaitMs = 60_000;

export async function invokeAction(
  context: WhiskContext,
  exchange: Exchange,
  name: QualifiedName,
  subject: Subject,
): Promise<void> {
  const caller = subject.namespace;
  const found = resolveAction(context.documents, name, caller);
  const action = found instanceof Promise ? await found : found;
  const isBlocking = exchange.queryText !== "" && exchange.flag("blocking");
  const waitMs = isBlocking ? waitOf(exchange) : 0;
  const over = context.throttles.invocation(caller, subject);
  try {
    const payload = await exchange.body(sizeLimits.payload);
    checkPayload(payload, action);
    const { transactionId } = exchange;
    const { id, activationId } = exchange.callIds();
    const call = new ActionCall({ action, caller, payload, id, activationId, transactionId, cause: "api" });
    const header = ["x-openwhisk-activation-id", activationId];
    if (!isBlocking) {
      await context.invocations.accept(call);
      exchange.answer(202, { activationId }, header);
      return;
    }
    const invoked = await context.invocations.invoke(call, waitMs);
    if (invoked.pending) {
      exchange.answer(202, { activationId }, header);
      return;
    }
    const wantsResult = exchange.flag("result");
    const { success } = invoked;
    if (success !== undefined) {
      const text = wantsResult ? success.text : blockingText(invoked, action.called.name, noteFor(action), success);
      // What stands around the result is ASCII.
      exchange.answerText(200, text, header, success.isAscii ? text.length : undefined);
      return;
    }
    const { statusCode, result } = invoked.response;
    const status = statusCode === 0 ? 200 : statusCode === 3 ? 500 : 502;
    if (wantsResult) exchange.answer(status, result, header);
    else exchange.answer(status, { ...invoked.activation, logs: [] }, header);
  } finally {
    over();
  }
}

/** Throws 400 for what is no object or list, and where it gives what a `final` action keeps to itself. */
export function checkPayload(payload: Uint8Array, action: ResolvedAction): void {
  if (payload.length === 0) return;
  const parsed = valueOf(payload);
  if (typeof parsed !== "object" || parsed === null) throw malformed("The payload is no JSON object or list.");
  const kept = protectedNames(action);
  if (kept.size === 0 || Array.isArray(parsed)) return;
  const taken = Object.keys(parsed).filter((key) => kept.has(key));
  if (taken.length > 0)
    throw new WhiskError(400, `The request may not override the final parameters ${taken.join(", ")}.`);
}

function valueOf(payload: Uint8Array): Json {
  try {
    return readPayload(payload).value;
  } catch (thrown) {
    throw malformed((thrown as Error).message);
  }
}

/** Defaults of a `final` action that have a value. */
export function protectedNames({ action, defaults }: ResolvedAction): ReadonlySet<string> {
  if (defaults.isEmpty || annotation(action.annotations, "final") !== true) return nobody;
  return new Set(
    Object.entries(defaults.values).flatMap(([key, value]: [string, Json]) => (value === null ? [] : [key])),
  );
}

const nobody: ReadonlySet<string> = new Set();

function waitOf(exchange: Exchange): number {
  const given = exchange.query.get("timeout");
  if (given === null) return longestWaitMs;
  if (!/^\d{1,9}$/.test(given)) throw malformed(`The timeout '${given}' is no number of milliseconds.`);
  return Math.min(Number(given), longestWaitMs);
}
