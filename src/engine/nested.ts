import { VirgaError } from "../core/errors.ts";
import { headerOf } from "../core/headers.ts";
import type { NestedCall } from "../ports/runtime.ts";
import type { InvocationRequest } from "./engine.ts";
import type { RunningCall } from "./running-call.ts";

/** A call from inside `parent` as a request: the same namespace, the rest of the parent's time. */
export function nestedRequest(parent: RunningCall, request: NestedCall, now: number): InvocationRequest {
  const { namespace, name } = target(parent, request.function);
  if (parent.depth >= deepest) {
    throw new VirgaError("loop_detected", `Functions called each other ${deepest} deep, ${name} last`, {
      fix: "Look for functions that call each other in a circle; break long chains with asynchronous calls.",
    });
  }
  const path = request.path.startsWith("/") ? request.path : `/${request.path}`;
  return {
    namespace,
    name,
    cause: {
      kind: "function",
      parent: parent.id,
      root: parent.cause.root ?? parent.id,
      requestId: parent.cause.requestId,
      traceparent: headerOf(request.headers, "traceparent") ?? parent.traceparent,
    },
    method: request.method,
    target: path,
    url: `http://${name}.${namespace}${path}`,
    headers: request.headers,
    body: request.body,
    timeoutMs: Math.max(0, parent.deadline - now),
  };
}

function target(parent: RunningCall, written: string): { namespace: string; name: string } {
  const slash = written.indexOf("/");
  if (slash < 0) return { namespace: parent.namespace, name: written };
  const namespace = written.slice(0, slash);
  if (namespace === parent.namespace) return { namespace, name: written.slice(slash + 1) };
  throw new VirgaError("forbidden", `A function of ${parent.namespace} may not call into ${namespace}`, {
    fix: "Call functions of the same namespace by name; reach others through their URL with a token.",
  });
}

/** Deeper than programs call each other on purpose. */
const deepest = 64;
