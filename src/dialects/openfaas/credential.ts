import type { Token } from "../../core/model.ts";
import type { Access } from "../../engine/engine.ts";
import { bearer } from "../../gateway/credential.ts";
import { FaasError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";

/**
 * The platform's token behind `Authorization`: as the password of HTTP Basic, whatever the user's name, or as a bearer. Clients that
 * were never logged in send an empty bearer.
 */
export function tokenOf(access: Access, authorization: string | undefined): Token | undefined {
  if (authorization === undefined) return undefined;
  const basic = /^basic +([A-Za-z0-9+/=_-]+)$/i.exec(authorization)?.[1];
  const secret = basic === undefined ? bearer(authorization) : passwordOf(basic);
  return secret === undefined || secret === "" ? undefined : access.authenticate(secret);
}

/** Throws 401 where there is none that is good. */
export function authenticate(access: Access, exchange: Exchange): Token {
  const token = tokenOf(access, exchange.header("authorization"));
  if (token === undefined) throw new FaasError(401, "invalid credentials");
  return token;
}

/** Throws 403 where the caller's token does not open the namespace for this. */
export function permit(access: Access, exchange: Exchange, namespace: string, action: "read" | "change"): void {
  if (exchange.token !== undefined && access.allows(exchange.token, namespace, action)) return;
  throw new FaasError(403, `these credentials are not for namespace ${namespace}`);
}

function passwordOf(encoded: string): string | undefined {
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : text.slice(colon + 1);
}
