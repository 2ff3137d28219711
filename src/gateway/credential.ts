import { VirgaError } from "../core/errors.ts";
import type { FunctionId, Token } from "../core/model.ts";
import type { Access } from "../engine/engine.ts";
import type { CallTarget } from "./address.ts";
import type { RequestHead } from "./request-head.ts";

/** The secret in `Authorization: Bearer SECRET`; undefined for other schemes. */
export function bearer(authorization: string | undefined): string | undefined {
  if (authorization === undefined || authorization.length < 8) return undefined;
  if (!authorization.startsWith("Bearer ") && authorization.slice(0, 7).toLowerCase() !== "bearer ") return undefined;
  return authorization.slice(7).trim();
}

/** The token of a request; throws `unauthenticated` where there is none that is good. */
export function authenticate(access: Access, authorization: string | undefined): Token {
  const secret = bearer(authorization);
  const token = secret === undefined ? undefined : access.authenticate(secret);
  if (token !== undefined) return token;
  throw new VirgaError(
    "unauthenticated",
    authorization === undefined ? "this needs a token" : "the token is unknown or has expired",
    { fix: "send the header `Authorization: Bearer TOKEN`" },
  );
}

/**
 * Lets a call through or throws. A token of ours is taken out of what the function sees; any other `authorization`
 * that comes to a public function is between the caller and the function, and is handed on.
 * True where the caller holds a token for the function's namespace: it may see how its code failed.
 */
export function mayInvoke(access: Access, target: CallTarget, head: RequestHead, isPublic: boolean): boolean {
  const { authorization } = head;
  if (isPublic && target.via !== "api") {
    if (authorization === undefined) return false;
    const secret = bearer(authorization);
    const token = secret === undefined ? undefined : access.authenticate(secret);
    if (token !== undefined) return access.allows(token, target.namespace, "invoke");
    head.headers.push("authorization", authorization);
    return false;
  }
  const token = authenticate(access, authorization);
  if (access.allows(token, target.namespace, "invoke")) return true;
  // The same answer as for a function that does not exist: a token learns nothing about others' namespaces.
  throw unknownFunction(target);
}

export function unknownFunction({ namespace, name }: FunctionId): VirgaError {
  return new VirgaError("not_found", `there is no function ${namespace}/${name}`);
}

/** Whether a token is for this namespace at all. */
export function sees(token: Token, namespace: string): boolean {
  return token.namespaces === "*" || token.namespaces.includes(namespace);
}
