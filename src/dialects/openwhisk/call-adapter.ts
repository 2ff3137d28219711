/**
 * Every call of an action passes here just before it goes to its instance, whoever makes it: REST, queue, sequence, rule, native
 * API. The caller's body is the plain payload; what the action gets is OpenWhisk's `/run` body (contract section 3.1).
 */
import { VirgaError } from "../../core/errors.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { AdaptedCall, CallAdapter, PreparedCall } from "../../engine/call-adapter.ts";
import { ActionCall } from "./action-call.ts";
import { activationIdOf, type WhiskNote } from "./activation.ts";
import { WhiskError } from "./errors.ts";
import { node } from "./languages/node.ts";
import { pathOf, qualifiedName, whiskNamespace } from "./names.ts";
import { type Payload, readPayload } from "./payload.ts";
import { listOf, listType, objectOf, objectType, type Run, Standing } from "./run-body.ts";
import { type Documents, isConductor, type MaybeSoon, type ResolvedAction, resolveAction, soon } from "./resolution.ts";

export interface CallAdapterOptions {
  /** Where actions reach the platform, such as `http://127.0.0.1:3233`; undefined while nothing listens. */
  apiHost(): string | undefined;
  readonly documents: Documents;
  /** `uuid:key` of a namespace's user, for actions that may call back; undefined where there is none. */
  apiKeyOf(namespace: string): MaybeSoon<string | undefined>;
}

export function createCallAdapter({ documents, apiKeyOf, apiHost }: CallAdapterOptions): CallAdapter {
  return {
    prepare(call) {
      const { known } = call.request;
      if (known instanceof ActionCall) return prepared(call, known);
      return soon(whiskCall(call), (found) => prepared(call, found));
    },
  };

  /** Of a call that came another way than through this dialect's API. */
  function whiskCall({ id, request }: AdaptedCall): MaybeSoon<WhiskCall> {
    const caller = whiskNamespace(request.namespace);
    const called = qualifiedName(request.name, caller);
    if (called === undefined) throw new VirgaError("not_found", `${request.name} is no action`);
    const activationId = activationIdOf(id);
    const transactionId = request.cause.requestId ?? activationId;
    const of = (action: ResolvedAction): WhiskCall => ({ action, caller, activationId, transactionId });
    try {
      const found = resolveAction(documents, called, caller);
      return found instanceof Promise ? found.then(of, rethrow) : of(found);
    } catch (thrown) {
      return rethrow(thrown);
    }
  }

  function prepared(call: AdaptedCall, whisk: WhiskCall): MaybeSoon<PreparedCall> {
    const value = merged(whisk.action, call.body);
    if (!whisk.action.getsKey) return withKey(call, whisk, value, undefined);
    return soon(apiKeyOf(whisk.caller), (apiKey) => withKey(call, whisk, value, apiKey));
  }

  function withKey(
    { revision, deadline }: AdaptedCall,
    { action, caller, activationId, transactionId }: WhiskCall,
    value: string,
    apiKey: string | undefined,
  ): PreparedCall {
    const run: Run = {
      value,
      activation: activationId,
      transaction: transactionId,
      deadline,
      env: action.defaults.isEmpty ? undefined : action.defaults.init,
      standing: standingOf(action, caller, apiHost(), apiKey),
    };
    // What an earlier release deployed has another handler, until `Deployments.renew` has come to it.
    const takesList = revision.config.handler === node.handler;
    return {
      body: Buffer.from(takesList ? listOf(run) : objectOf(run)),
      bodySuffices: takesList,
      headers: takesList ? listHeaders : objectHeaders,
      annotations: annotationsFor(action),
      keepsResult: true,
    };
  }
}

type WhiskCall = Pick<ActionCall, "action" | "caller" | "activationId" | "transactionId">;

const listHeaders = ["content-type", listType] as const;
const objectHeaders = ["content-type", objectType] as const;

/** The newest of each action: most calls of one have the same. */
const standings = new WeakMap<ResolvedAction, Standing>();

function standingOf(
  found: ResolvedAction,
  namespace: string,
  apiHost: string | undefined,
  apiKey: string | undefined,
): Standing {
  const newest = standings.get(found);
  if (newest?.namespace === namespace && newest.apiHost === apiHost && newest.apiKey === apiKey) return newest;
  const standing = new Standing(namespace, pathOf(found.called), found.action.version, apiHost, apiKey);
  standings.set(found, standing);
  return standing;
}

export function noteFor(found: ResolvedAction): WhiskNote {
  return annotationsFor(found)["whisk"] as unknown as WhiskNote;
}

/** For the records of its calls: the same object for all of them, so that what writes them down sees that it is the same. */
function annotationsFor(found: ResolvedAction): Readonly<Record<string, Json>> {
  let annotations = kept.get(found);
  if (annotations === undefined) kept.set(found, (annotations = { whisk: newNote(found) as unknown as Json }));
  return annotations;
}

const kept = new WeakMap<ResolvedAction, Readonly<Record<string, Json>>>();

function newNote({ action, path, binding }: ResolvedAction): WhiskNote {
  return {
    path,
    kind: action.exec.kind,
    version: action.version,
    limits: action.limits,
    ...(binding === undefined ? {} : { binding }),
  };
}

/** Of a run of a sequence or composition. */
export function compositeNoteFor(found: ResolvedAction): WhiskNote {
  return { ...noteFor(found), ...(isConductor(found.action) ? { conductor: true } : {}) };
}

/** The payload over the defaults, as JSON text. A list passes as it is. */
function merged({ defaults }: ResolvedAction, body: Uint8Array): string {
  const { text, value } = read(body);
  if (Array.isArray(value)) return text;
  if (typeof value !== "object" || value === null) {
    throw new VirgaError("bad_request", "An action takes a JSON object or a JSON list", {
      fix: 'send such as {"name": "x"}',
    });
  }
  return defaults.isEmpty ? text : JSON.stringify(Object.assign({}, defaults.values, value));
}

function read(body: Uint8Array): Payload {
  try {
    return readPayload(body);
  } catch (thrown) {
    throw new VirgaError("bad_request", "The payload is no JSON", { cause: thrown, fix: "send a JSON object" });
  }
}

function rethrow(thrown: unknown): never {
  if (!(thrown instanceof WhiskError)) throw thrown;
  throw new VirgaError(thrown.status === 403 ? "forbidden" : "not_found", thrown.message, { cause: thrown });
}
