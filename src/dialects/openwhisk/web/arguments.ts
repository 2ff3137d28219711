/** What a web action is given of its request (contract section 2.4). */
import { headerOf } from "../../../core/headers.ts";
import type { Json } from "../../../core/workflow/definition.ts";
import { WhiskError } from "../errors.ts";

export interface WebRequest {
  readonly method: string;
  /** Flat: name, value, …; names in lower case. */
  readonly headers: readonly string[];
  /** Behind the action. */
  readonly path: string;
  /** Without the question mark. */
  readonly query: string;
  readonly body: Uint8Array;
  /** The namespace whose credentials came with the request. */
  readonly user?: string;
}

export interface WebMode {
  readonly raw: boolean;
  /** Names that the caller may not give: defaults of a `final` action. */
  readonly protected: ReadonlySet<string>;
}

/** Query below body, and what the platform tells about the request above both. Throws 400 for names that are not the caller's to give. */
export function webArguments(request: WebRequest, mode: WebMode): Readonly<Record<string, Json>> {
  const type = headerOf(request.headers, "content-type") ?? "";
  const about: Record<string, Json> = {
    __ow_method: request.method.toLowerCase(),
    __ow_headers: headersOf(request.headers),
    __ow_path: request.path,
    ...(request.user === undefined ? {} : { __ow_user: request.user }),
  };
  if (mode.raw) {
    return { ...about, __ow_query: request.query, __ow_body: bodyText(request.body, type, true) };
  }
  const given = { ...fieldsOf(request.query), ...bodyFields(request.body, type) };
  for (const name of Object.keys(given)) {
    if (name === "__ow_body" && !Object.hasOwn(fieldsOf(request.query), name) && isOpaque(request.body, type)) continue;
    if (reserved.has(name)) throw new WhiskError(400, `The request may not give the reserved property '${name}'.`);
    if (mode.protected.has(name))
      throw new WhiskError(400, `The request may not override the final parameter '${name}'.`);
  }
  return { ...given, ...about };
}

const reserved = new Set(["__ow_method", "__ow_headers", "__ow_path", "__ow_user", "__ow_body", "__ow_query"]);

function headersOf(flat: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let index = 0; index + 1 < flat.length; index += 2) {
    const name = flat[index]!;
    headers[name] = headers[name] === undefined ? flat[index + 1]! : `${headers[name]}, ${flat[index + 1]}`;
  }
  return headers;
}

function bodyFields(body: Uint8Array, type: string): Record<string, Json> {
  if (body.length === 0) return {};
  if (!isOpaque(body, type)) {
    if (isForm(type)) return fieldsOf(textOf(body));
    const parsed = parseJson(body);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return parsed as Record<string, Json>;
  }
  return { __ow_body: bodyText(body, type, false) };
}

/** Neither a form nor a JSON object: it is handed on as one value. */
function isOpaque(body: Uint8Array, type: string): boolean {
  if (isForm(type)) return false;
  if (!isJson(type)) return true;
  const parsed = parseJson(body);
  return typeof parsed !== "object" || parsed === null || Array.isArray(parsed);
}

function parseJson(body: Uint8Array): Json {
  try {
    return JSON.parse(textOf(body)) as Json;
  } catch (thrown) {
    throw new WhiskError(400, `The request content was malformed: ${(thrown as Error).message}`);
  }
}

/** Base64 where the type is binary, and in raw mode for JSON too. */
function bodyText(body: Uint8Array, type: string, raw: boolean): string {
  const binary = isBinaryType(type) || (raw && isJson(type));
  return binary && body.length > 0 ? Buffer.from(body).toString("base64") : textOf(body);
}

function fieldsOf(query: string): Record<string, string> {
  return query === "" ? {} : Object.fromEntries(new URLSearchParams(query));
}

export function isBinaryType(type: string): boolean {
  const bare = bareType(type);
  if (bare === "") return false;
  if (/^(?:text|message|multipart)\//.test(bare)) return bare.startsWith("multipart/");
  return (
    !/^application\/(?:[\w.+-]*json|[\w.+-]*xml|javascript|ecmascript|x-www-form-urlencoded|x-javascript|graphql|yaml|x-yaml)$/.test(
      bare,
    ) && bare !== "image/svg+xml"
  );
}

export function isJson(type: string): boolean {
  return /^application\/(?:[\w.-]+\+)?json$/.test(bareType(type));
}

function isForm(type: string): boolean {
  return bareType(type) === "application/x-www-form-urlencoded";
}

function bareType(type: string): string {
  return type.split(";")[0]!.trim().toLowerCase();
}

function textOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
}
