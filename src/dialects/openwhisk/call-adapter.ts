/**
 * Every call of an action passes here just before it goes to its instance, whoever makes it: REST, queue, sequence, rule, native
 * API. The caller's body is the plain payload; what the action gets is OpenWhisk's `/run` body (contract section 3.1).
 */
import { VirgaError } from "../../core/errors.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { CallAdapter, PreparedCall } from "../../engine/call-adapter.ts";
import { activationIdOf, type WhiskNote } from "./activation.ts";
import { WhiskError } from "./errors.ts";
import { node } from "./languages/node.ts";
import { pathOf, qualifiedName, whiskNamespace } from "./names.ts";
import { type Payload, readPayload } from "./payload.ts";
import { listOf, listType, objectOf, objectType, type Run } from "./run-body.ts";
import {
  annotation,
  type Documents,
  isConductor,
  isTruthy,
  type MaybeSoon,
  type ResolvedAction,
  resolveAction,
  soon,
} from "./resolution.ts";

export interface CallAdapterOptions {
  /** Where actions reach the platform, such as `http://127.0.0.1:3233`; undefined while nothing listens. */
  apiHost(): string | undefined;
  readonly documents: Documents;
  /** `uuid:key` of a namespace's user, for actions that may call back; undefined where there is none. */
  apiKeyOf(namespace: string): MaybeSoon<string | undefined>;
}

export function createCallAdapter({ documents, apiKeyOf, apiHost }: CallAdapterOptions): CallAdapter {
  return {
    prepare({ id, request, body, deadline, revision }) {
      const caller = whiskNamespace(request.namespace);
      const called = qualifiedName(request.name, caller);
      if (called === undefined) throw new VirgaError("not_found", `${request.name} is no action`);
      try {
        const found = resolveAction(documents, called, caller);
        if (found instanceof Promise) return found.then((later) => finish(later), rethrow);
        return finish(found);
      } catch (thrown) {
        return rethrow(thrown);
      }

      function finish(found: ResolvedAction): PreparedCall | Promise<PreparedCall> {
        const { action, defaults } = found;
        const value = merged(found, body);
        const runWith = (apiKey: string | undefined): Run => ({
          value,
          namespace: caller,
          action: pathOf(found.called),
          version: action.version,
          activation: activationIdOf(id),
          transaction: request.cause.requestId ?? id,
          deadline,
          apiHost: apiHost(),
          apiKey,
          env: defaults.isEmpty ? undefined : defaults.init,
        });
        // What an earlier release deployed has another handler, until `Deployments.renew` has come to it.
        const takesList = revision.config.handler === node.handler;
        const key = annotation(action.annotations, "provide-api-key");
        if (key !== undefined && !isTruthy(key)) return prepared(found, runWith(undefined), takesList);
        return soon(apiKeyOf(caller), (apiKey) => prepared(found, runWith(apiKey), takesList));
      }
    },
  };
}

function prepared(found: ResolvedAction, run: Run, takesList: boolean): PreparedCall {
  return {
    body: Buffer.from(takesList ? listOf(run) : objectOf(run)),
    bodySuffices: takesList,
    headers: ["content-type", takesList ? listType : objectType],
    annotations: annotationsFor(found),
    keepsResult: true,
  };
}

export function noteFor(found: Omit<ResolvedAction, "defaults">): WhiskNote {
  let note = notes.get(found);
  if (note === undefined) notes.set(found, (note = newNote(found)));
  return note;
}

/** The same object for the same action: what writes it down many times sees that it is the same. */
const notes = new WeakMap<object, WhiskNote>();

function newNote({ action, path, binding }: Omit<ResolvedAction, "defaults">): WhiskNote {
  return {
    path,
    kind: action.exec.kind,
    version: action.version,
    limits: action.limits,
    ...(binding === undefined ? {} : { binding }),
  };
}

function annotationsFor(found: ResolvedAction): Readonly<Record<string, Json>> {
  let annotations = kept.get(found);
  if (annotations === undefined) kept.set(found, (annotations = { whisk: noteFor(found) as unknown as Json }));
  return annotations;
}

const kept = new WeakMap<ResolvedAction, Readonly<Record<string, Json>>>();

/** Of a run of a sequence or composition. */
export function compositeNoteFor(found: Omit<ResolvedAction, "defaults">): WhiskNote {
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
