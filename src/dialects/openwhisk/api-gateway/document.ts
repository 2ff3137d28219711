/** An API of `wsk api` as a Swagger 2.0 document, with what each operation leads to under `x-openwhisk` (contract section 2.5). */
import type { Json } from "../../../core/workflow/definition.ts";
import { malformed } from "../errors.ts";
import { type Extension, readWebAddress } from "../web/address.ts";

export interface ApiDocument {
  readonly swagger: string;
  readonly basePath: string;
  readonly info: { readonly title: string; readonly version: string };
  /** Operations by path and method in lower case. */
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly [more: string]: unknown;
}

export interface Operation {
  readonly operationId?: string;
  readonly "x-openwhisk"?: Backend;
  readonly [more: string]: unknown;
}

/** The action behind an operation. */
export interface Backend {
  readonly action: string;
  readonly namespace: string;
  /** `default` where the action lies in none. */
  readonly package: string;
  /** The web action's URL, its extension the response type. */
  readonly url: string;
}

/** What `wsk api create` sends for one operation. */
export interface NewOperation {
  readonly basePath: string;
  readonly relPath: string;
  readonly method: string;
  readonly title?: string;
  readonly actionName: string;
  readonly actionNamespace: string;
  readonly backendUrl: string;
  readonly responseType: Extension;
}

/** The API with one operation more, or another one in its place. Throws 400 for one that leads nowhere. */
export function withOperation(before: ApiDocument | undefined, added: NewOperation): ApiDocument {
  const { basePath, relPath, method, title, responseType } = added;
  const verb = method.toLowerCase();
  if (!methods.has(verb)) throw malformed(`'${method}' is no method: ${[...methods].join(", ")} are.`);
  const slash = added.actionName.lastIndexOf("/");
  const backend: Backend = {
    action: added.actionName.slice(slash + 1),
    namespace: added.actionNamespace,
    package:
      slash < 0
        ? "default"
        : added.actionName
            .slice(added.actionName.startsWith("/") ? 1 : 0, slash)
            .split("/")
            .at(-1)!,
    url: added.backendUrl.replace(/\.(?:http|json|html|svg|text)$/, `.${responseType}`),
  };
  const operation: Operation = {
    operationId: `${verb}${relPath.replaceAll(/[^A-Za-z0-9]+(.?)/g, (_, next: string) => next.toUpperCase())}`,
    ...pathParameters(relPath),
    responses: { default: { description: "Default response" } },
    "x-openwhisk": backend,
  };
  const document: ApiDocument = before ?? {
    swagger: "2.0",
    basePath,
    info: { title: title ?? basePath, version: "1.0.0" },
    paths: {},
  };
  const after: ApiDocument = {
    ...document,
    ...(title === undefined ? {} : { info: { ...document.info, title } }),
    paths: { ...document.paths, [relPath]: { ...document.paths[relPath], [verb]: operation } },
  };
  operationsOf(after.paths);
  return withAssembly(after);
}

/** Without a path, or one of its methods; undefined where no operation is left. */
export function withoutOperation(
  before: ApiDocument,
  relPath: string,
  method: string | undefined,
): ApiDocument | undefined {
  const paths: Record<string, Readonly<Record<string, Operation>>> = {};
  for (const [path, operations] of Object.entries(before.paths)) {
    const left = Object.entries(operations).filter(([verb]) => path !== relPath || (method ?? verb) !== verb);
    if (left.some(([verb]) => methods.has(verb)) || path !== relPath) paths[path] = Object.fromEntries(left);
  }
  const after = { ...before, paths };
  return Object.keys(paths).some((path) => hasOperation(after, path)) ? withAssembly(after) : undefined;
}

/** Any at this path, or the one of a method. */
export function hasOperation({ paths }: ApiDocument, relPath: string, method?: string): boolean {
  if (!Object.hasOwn(paths, relPath)) return false;
  return Object.keys(paths[relPath]!).some((verb) => methods.has(verb) && (method ?? verb) === verb);
}

/** A whole API from a client's own document. Throws 400 where that is none, or one of its operations leads nowhere. */
export function importedApi(given: Json): ApiDocument {
  if (!isObject(given)) throw malformed("the API is no Swagger document.");
  const { basePath, info = null, paths = null } = given;
  if (basePath === undefined) throw malformed("the API has no basePath.");
  if (!isObject(paths)) throw malformed("the API has no paths.");
  const base = readBasePath(basePath);
  const operations = operationsOf(paths);
  if (operations.length === 0) throw malformed("the API has no operation.");
  const named = new Map(Object.entries(paths) as [string, Record<string, Operation>][]);
  for (const { path, verb, operation } of operations)
    named.set(path, { ...named.get(path), [verb]: { operationId: `${verb}${path}`, ...operation } });
  return withAssembly({
    swagger: "2.0",
    ...given,
    basePath: base,
    info: { title: base, version: "1.0.0", ...(isObject(info) ? info : {}) },
    paths: Object.fromEntries(named),
  });
}

/** Without the slash at its end. Throws 400 for what is no base path. */
export function readBasePath(given: Json): string {
  if (typeof given !== "string") throw malformed("basePath is no text.");
  checkPath(given, "basePath");
  const base = given.replace(/\/+$/, "");
  if (base.includes("{")) throw malformed("basePath cannot have parameters: only the paths below it can.");
  if (encodeURIComponent(base).length > longestBasePath) throw malformed("basePath is too long.");
  return base === "" ? "/" : base;
}

/** Of a document's paths. Throws 400 for one that leads nowhere, and for two that would answer the same requests. */
function operationsOf(paths: object): { path: string; verb: string; operation: Operation }[] {
  const seen = new Map<string, string>();
  return Object.entries(paths).flatMap(([path, given]: [string, Json]) => {
    if (path.startsWith("x-")) return [];
    checkPath(path, "the path");
    if (!isObject(given)) throw malformed(`the path ${path} has no operations.`);
    return Object.entries(given).flatMap(([verb, operation]) => {
      if (!methods.has(verb)) return [];
      if (!isObject(operation) || backendOf(operation) === undefined)
        throw malformed(`the operation ${verb} ${path} names no action under x-openwhisk.`);
      const shape = `${verb} ${path.replaceAll(parameter, "{}")}`;
      const twin = seen.get(shape);
      if (twin !== undefined) throw malformed(`the operations ${verb} ${twin} and ${verb} ${path} are the same.`);
      seen.set(shape, path);
      return [{ path, verb, operation: operation }];
    });
  });
}

/** Of a base path, or a path below one, as it is written in documents: not percent-encoded. */
function checkPath(path: string, what: string): void {
  if (!path.startsWith("/")) throw malformed(`${what} '${path}' does not begin with '/'.`);
  const text = path.replaceAll(parameter, "");
  if (
    path.length > longestPath ||
    !path.isWellFormed() ||
    /[\p{Cc}?#%{}\\]/u.test(text) ||
    /\/\.\.?(?:\/|$)/.test(path)
  )
    throw malformed(`${what} '${path.slice(0, 256)}' cannot be one.`);
}

const longestBasePath = 256;
const longestPath = 2048;
/** Where a template leaves a segment, or a part of one, open. */
const parameter = /\{[^{}/]+\}/g;

/** Where an operation leads: by its `x-openwhisk`. */
export function backendOf(operation: Operation): (Backend & { readonly extension: Extension }) | undefined {
  const { action, namespace, package: inPackage, url } = { ...operation["x-openwhisk"] } as Partial<Backend>;
  if (typeof url !== "string") return undefined;
  const web = url.indexOf("/api/v1/web/");
  const address = web < 0 ? undefined : readWebAddress(url.slice(web + "/api/v1/web/".length));
  if (address === undefined) return undefined;
  const backend = {
    action: action ?? address.name,
    namespace: namespace ?? address.namespace,
    package: inPackage ?? address.package ?? "default",
    url,
    extension: address.extension,
  };
  return Object.values(backend).every((part) => typeof part === "string") ? backend : undefined;
}

/** The decoded segments of a request's path; undefined where a percent sign begins no character. */
export function segmentsOf(path: string): string[] | undefined {
  try {
    return path.split("/").map((segment) => decodeURIComponent(segment));
  } catch {
    return undefined;
  }
}

/** What stands behind the base path; undefined for a path that is not below it. */
export function segmentsBelow({ basePath }: ApiDocument, segments: readonly string[]): readonly string[] | undefined {
  const base = basePath === "/" ? [] : basePath.slice(1).split("/");
  if (!base.every((part, index) => part === segments[index])) return undefined;
  const below = segments.slice(base.length);
  return below.length === 0 ? [""] : below;
}

/** The operation for the path behind the base path: the one that leaves least of it open, or leaves it open last. */
export function findOperation(
  { paths }: ApiDocument,
  segments: readonly string[],
  method: string,
): Operation | undefined {
  const verb = method.toLowerCase();
  let best: { readonly operation: Operation; readonly openness: string } | undefined;
  for (const [template, operations] of Object.entries(paths)) {
    const operation = operations[verb];
    if (operation === undefined) continue;
    const openness = opennessOf(template.slice(1).split("/"), segments);
    if (openness !== undefined && (best === undefined || openness < best.openness)) best = { operation, openness };
  }
  return best?.operation;
}

/** Text that is less for a template that is more specific; undefined where the template does not fit. */
function opennessOf(template: readonly string[], segments: readonly string[]): string | undefined {
  if (template.length !== segments.length) return undefined;
  let open = 0;
  let where = "";
  for (const [index, part] of template.entries()) {
    const texts = part.split(parameter);
    if (!fits(texts, segments[index]!)) return undefined;
    open += texts.length - 1;
    where += texts.length === 1 ? "0" : texts.join("") === "" ? "2" : "1";
  }
  return `${String(open).padStart(4, "0")} ${where}`;
}

/** `texts` stand in the segment in this order, from its beginning to its end, with something between each two. */
function fits(texts: readonly string[], segment: string): boolean {
  const [first = "", ...others] = texts;
  const last = others.pop();
  if (last === undefined) return first === segment;
  if (!segment.startsWith(first)) return false;
  let at = first.length;
  for (const text of others) {
    const found = segment.indexOf(text, at + 1);
    if (found < 0) return false;
    at = found + text.length;
  }
  return segment.endsWith(last) && segment.length - last.length > at;
}

/** What gateways that execute such documents read, and clients show. */
function withAssembly(document: ApiDocument): ApiDocument {
  const cases = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([verb, operation]) => {
      const backend = backendOf(operation);
      if (backend === undefined) return [];
      const suffix = path.includes("{") ? "$(request.path)" : "";
      return [
        {
          operations: [{ verb, path }],
          execute: [{ invoke: { "target-url": `${backend.url}${suffix}`, verb: "keep" } }],
        },
      ];
    }),
  );
  return {
    ...document,
    "x-ibm-configuration": {
      assembly: { execute: [{ "operation-switch": { case: cases } }] },
      cors: { enabled: true },
      enforced: true,
    },
  };
}

function pathParameters(path: string): { parameters?: readonly unknown[] } {
  const names = path.match(parameter)?.map((name) => name.slice(1, -1)) ?? [];
  if (names.length === 0) return {};
  return {
    parameters: names.map((name) => ({
      name,
      in: "path",
      required: true,
      type: "string",
      description: `Default description for '${name}'`,
    })),
  };
}

const methods = new Set(["get", "put", "post", "delete", "patch", "head", "options"]);

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
