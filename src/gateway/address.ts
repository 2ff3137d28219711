/**
 * Reading a request's target by hand: nothing is decoded or normalised on the way to a function, so that no two readers
 * of one URL can disagree. What could make them disagree (dot segments, NUL, bytes outside of ASCII) is refused.
 */
import { VirgaError } from "../core/errors.ts";
import type { FunctionId } from "../core/model.ts";

/** Where a request wants to go. */
export interface CallTarget extends FunctionId {
  /** Path and query behind the function's root, beginning with `/`. */
  readonly target: string;
  /** `api`: through the invoke API, which always needs a token and may choose a revision. */
  readonly via: "url" | "api";
  readonly tag?: string;
  /** Of a custom route; percent-decoded. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/** `/f/{namespace}/{function}/{path…}`; undefined where the URL is not of that form. */
export function readFunctionUrl(url: string): CallTarget | undefined {
  if (!url.startsWith("/f/")) return undefined;
  const slash = url.indexOf("/", 3);
  if (slash === -1) return undefined;
  const end = endOfSegment(url, slash + 1);
  return { namespace: url.slice(3, slash), name: url.slice(slash + 1, end), target: targetFrom(url, end), via: "url" };
}

/** `/v1/namespaces/{namespace}/functions/{function}/invoke/{path…}`; undefined where the URL is not of that form. */
export function readInvokeUrl(url: string): CallTarget | undefined {
  if (!url.startsWith(namespaces)) return undefined;
  const slash = url.indexOf("/", namespaces.length);
  if (slash === -1 || !url.startsWith(functions, slash)) return undefined;
  const start = slash + functions.length;
  const end = url.indexOf("/", start);
  if (end === -1 || !url.startsWith(invoke, end)) return undefined;
  const root = end + invoke.length;
  if (endOfSegment(url, root) !== root) return undefined;
  return {
    namespace: url.slice(namespaces.length, slash),
    name: url.slice(start, end),
    target: targetFrom(url, root),
    via: "api",
  };
}

/** `{function}.{namespace}.{domain}` → the function; undefined for every other host. `host` is in lower case, without port. */
export function readFunctionHost(host: string, domain: string): FunctionId | undefined {
  const end = host.length - domain.length - 1;
  if (end < 3 || host.charCodeAt(end) !== 46 || !host.endsWith(domain)) return undefined;
  const dot = host.indexOf(".");
  const namespace = host.slice(dot + 1, end);
  if (dot < 1 || dot >= end || namespace === "" || namespace.includes(".")) return undefined;
  return { namespace, name: host.slice(0, dot) };
}

/** A `Host` header in lower case and without its port. */
export function hostName(header: string): string {
  const colon = header.lastIndexOf(":");
  // In `[::1]` the last colon is inside of the brackets.
  const bare = colon === -1 || header.indexOf("]", colon) !== -1 ? header : header.slice(0, colon);
  return bare.toLowerCase();
}

/** The path in front of the query. */
export function pathOf(url: string): string {
  const query = url.indexOf("?");
  return query === -1 ? url : url.slice(0, query);
}

/** Splits what proxies send (`GET http://host/path`, RFC 9112 section 3.2.2); undefined for the usual form. */
export function readAbsoluteForm(url: string): { host: string; url: string } | undefined {
  const match = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url);
  if (match === null) return undefined;
  const rest = match[2] ?? "";
  return { host: match[1] ?? "", url: rest.startsWith("/") ? rest : `/${rest}` };
}

/** Throws `bad_request` for a URL that two readers could read differently. */
export function checkUrl(url: string): void {
  if (url.charCodeAt(0) !== 47) throw malformed("the request target must begin with '/'", "send a path");
  if (!suspicious.test(url)) return;
  if (!/^[\x21-\x7e]*$/.test(url)) throw malformed("the URL has characters outside of ASCII", "percent-encode them");
  const path = pathOf(url);
  if (path.includes("%00")) throw malformed("the path contains a NUL", "leave out %00");
  for (const segment of path.split(/[/\\]/)) {
    const plain = segment.replaceAll(/%2e/gi, ".");
    if (plain === "." || plain === "..") {
      throw malformed(`the path contains the segment "${segment}"`, "resolve the path before sending it");
    }
  }
}

const namespaces = "/v1/namespaces/";
const functions = "/functions/";
const invoke = "/invoke";

/** What a usual URL has none of. */
const suspicious = /[^\x21-\x7e]|%|\/\.|\\/;

function endOfSegment(url: string, start: number): number {
  for (let index = start; index < url.length; index++) {
    const character = url.charCodeAt(index);
    if (character === 47 || character === 63) return index;
  }
  return url.length;
}

function targetFrom(url: string, end: number): string {
  if (end === url.length) return "/";
  return url.charCodeAt(end) === 63 ? `/${url.slice(end)}` : url.slice(end);
}

function malformed(message: string, fix: string): VirgaError {
  return new VirgaError("bad_request", message, { fix });
}
