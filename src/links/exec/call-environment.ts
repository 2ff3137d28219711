import type { Call, Specialisation } from "../../ports/runtime.ts";

/**
 * A call as environment variables: the request in the manner of CGI (RFC 3875, section 4.1.18) under the names that
 * programs of this kind already look for, and what the platform knows of the call.
 */
export function callEnvironment(code: Specialisation, call: Call): Record<string, string> {
  const query = call.target.indexOf("?");
  const environment: Record<string, string> = {
    VIRGA_INVOCATION_ID: call.id,
    VIRGA_DEADLINE: String(call.deadline),
    VIRGA_ATTEMPT: String(call.attempt),
    VIRGA_NAMESPACE: code.namespace,
    VIRGA_FUNCTION: code.name,
    VIRGA_REVISION: String(code.revision),
    HTTP_METHOD: call.method,
    HTTP_PATH: query < 0 ? call.target : call.target.slice(0, query),
    HTTP_QUERY: query < 0 ? "" : call.target.slice(query + 1),
    HTTP_URL: call.url,
  };
  if (call.traceparent !== undefined) environment.TRACEPARENT = call.traceparent;
  if (call.idempotencyKey !== undefined) environment.VIRGA_IDEMPOTENCY_KEY = call.idempotencyKey;
  const { headers } = call;
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = `HTTP_${headers[index]!.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`;
    // `Proxy:` would become HTTP_PROXY, which libraries take for their own (CVE-2016-5385); METHOD, PATH, QUERY and URL are ours.
    if (reserved.has(name)) continue;
    const value = headers[index + 1]!.replaceAll("\0", "");
    const before = environment[name];
    environment[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return environment;
}

const reserved = new Set(["HTTP_PROXY", "HTTP_METHOD", "HTTP_PATH", "HTTP_QUERY", "HTTP_URL"]);
