import type { CorsPolicy } from "../core/model.ts";
import type { RequestHead } from "./request-head.ts";

/** The headers that let a page of `origin` read the answer (Fetch standard, CORS protocol); empty where the policy does not. */
export function corsHeaders(policy: CorsPolicy, origin: string | undefined): string[] {
  if (origin === undefined) return policy.origins.includes("*") ? [] : ["vary", "origin"];
  const headers = allowedOrigin(policy, origin);
  if (headers.length === 0) return ["vary", "origin"];
  if (policy.exposeHeaders !== undefined && policy.exposeHeaders.length > 0) {
    headers.push("access-control-expose-headers", policy.exposeHeaders.join(", "));
  }
  return headers;
}

/** Whether the request is the question that a browser asks before the real one. */
export function isPreflight(method: string | undefined, head: RequestHead): boolean {
  return method === "OPTIONS" && head.origin !== undefined && head.requestedMethod !== undefined;
}

export function preflightHeaders(policy: CorsPolicy, head: RequestHead): string[] {
  const vary = ["vary", "origin, access-control-request-method, access-control-request-headers"];
  const headers = head.origin === undefined ? [] : allowedOrigin(policy, head.origin);
  if (headers.length === 0) return vary;
  headers.push("access-control-allow-methods", (policy.methods ?? [head.requestedMethod ?? "GET"]).join(", "));
  // Without a list, what the page asks for is allowed: `*` would not cover `authorization`.
  const allowed = policy.headers?.join(", ") ?? head.requestedHeaders;
  if (allowed !== undefined && allowed !== "") headers.push("access-control-allow-headers", allowed);
  if (policy.maxAgeSeconds !== undefined) headers.push("access-control-max-age", String(policy.maxAgeSeconds));
  return [...headers.filter((_, index) => !isVary(headers, index)), ...vary];
}

function allowedOrigin(policy: CorsPolicy, origin: string): string[] {
  const any = policy.origins.includes("*");
  if (!any && !policy.origins.includes(origin)) return [];
  if (any && policy.credentials !== true) return ["access-control-allow-origin", "*"];
  const headers = ["access-control-allow-origin", origin, "vary", "origin"];
  if (policy.credentials === true) headers.push("access-control-allow-credentials", "true");
  return headers;
}

function isVary(headers: readonly string[], index: number): boolean {
  return headers[index - (index % 2)] === "vary";
}
