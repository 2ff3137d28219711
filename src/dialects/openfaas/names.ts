import type { FunctionId } from "../../core/model.ts";
import { FaasError } from "./errors.ts";

export const defaultNamespace = "openfaas-fn";

/** `NAME` or `NAME.NAMESPACE`, as paths have it: what stands behind the last dot is the namespace (contract section 2). */
export function functionAddress(text: string): FunctionId {
  const dot = text.lastIndexOf(".");
  if (dot < 0) return { namespace: defaultNamespace, name: text };
  return { namespace: text.slice(dot + 1), name: text.slice(0, dot) };
}

/** A DNS-1123 label. Throws 400. */
export function checkLabel(text: unknown, field: string): asserts text is string {
  if (typeof text === "string" && /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return;
  throw new FaasError(
    400,
    `${field}: (${String(text).slice(0, 80)}) is not valid: use at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit`,
  );
}

/** A DNS-1123 subdomain. Throws 400. */
export function checkSecretName(text: unknown, field = "name"): asserts text is string {
  const isName =
    typeof text === "string" && text.length <= longestSecretName && /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.test(text);
  if (isName) return;
  throw new FaasError(
    400,
    `${field}: (${String(text).slice(0, 80)}) is not valid for a secret: use at most ${longestSecretName} lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit`,
  );
}

/** With what stands in front of it and its escapes, an engine's name of a secret has 128 characters at most. */
const longestSecretName = 63;
const secretPrefix = "OPENFAAS_SECRET_";

/** The engine's secrets are named as environment variables; `guest/place.mjs` reads the name out of it again. */
export function secretVariable(name: string): string {
  return secretPrefix + name.replace(/[^a-zA-Z0-9]/g, (sign) => `_${sign.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** Undefined for a secret that is none of OpenFaaS's. */
export function secretName(variable: string): string | undefined {
  if (!variable.startsWith(secretPrefix)) return undefined;
  return variable
    .slice(secretPrefix.length)
    .replace(/_([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}
