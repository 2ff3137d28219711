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

/** The API with one operation more, or another one in its place. */
export function withOperation(before: ApiDocument | undefined, added: NewOperation): ApiDocument {
  const { basePath, relPath, method, title, responseType } = added;
  const verb = method.toLowerCase();
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
  return withAssembly({
    ...document,
    ...(title === undefined ? {} : { info: { ...document.info, title } }),
    paths: { ...document.paths, [relPath]: { ...document.paths[relPath], [verb]: operation } },
  });
}

/** Without a path, or one of its methods; undefined where nothing is left. */
export function withoutOperation(
  before: ApiDocument,
  relPath: string,
  method: string | undefined,
): ApiDocument | undefined {
  const { [relPath]: operations = {}, ...others } = before.paths;
  const left =
    method === undefined
      ? {}
      : Object.fromEntries(Object.entries(operations).filter(([verb]) => verb !== method.toLowerCase()));
  const paths = Object.keys(left).length === 0 ? others : { ...others, [relPath]: left };
  return Object.keys(paths).length === 0 ? undefined : withAssembly({ ...before, paths });
}

/** A whole API from a client's own document. Rejects with 400 where an operation leads nowhere. */
export function importedApi(given: Json): ApiDocument {
  if (!isObject(given)) throw malformed("the API is no Swagger document.");
  const { basePath = "/", info, paths } = given;
  if (typeof basePath !== "string" || !basePath.startsWith("/")) throw malformed("basePath does not begin with '/'.");
  if (!isObject(paths ?? null)) throw malformed("the API has no paths.");
  const document = {
    swagger: "2.0",
    ...given,
    basePath,
    info: isObject(info ?? null) ? info : { title: basePath, version: "1.0.0" },
  };
  const api = document as unknown as ApiDocument;
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      if (!methods.has(method)) continue;
      if (backendOf(operation) === undefined)
        throw malformed(`the operation ${method} ${path} names no action under x-openwhisk.`);
    }
  }
  const named = Object.entries(api.paths).map(([path, operations]) => [
    path,
    Object.fromEntries(
      Object.entries(operations).map(([method, operation]) => [
        method,
        methods.has(method) ? { operationId: `${method}${path}`, ...operation } : operation,
      ]),
    ),
  ]);
  return withAssembly({ ...api, paths: Object.fromEntries(named) as ApiDocument["paths"] });
}

/** Where an operation leads: by its `x-openwhisk`. */
export function backendOf(operation: Operation): (Backend & { readonly extension: Extension }) | undefined {
  const backend = operation["x-openwhisk"];
  if (backend === undefined || typeof backend.url !== "string") return undefined;
  const web = backend.url.indexOf("/api/v1/web/");
  const address = web < 0 ? undefined : readWebAddress(backend.url.slice(web + "/api/v1/web/".length));
  if (address === undefined) return undefined;
  return {
    action: backend.action ?? address.name,
    namespace: backend.namespace ?? address.namespace,
    package: backend.package ?? address.package ?? "default",
    url: backend.url,
    extension: address.extension,
  };
}

export interface FoundOperation {
  readonly operation: Operation;
  /** The path without the base path. */
  readonly template: string;
}

/** The operation for a path behind the base path: literal segments go before parameters. */
export function findOperation(document: ApiDocument, path: string, method: string): FoundOperation | undefined {
  const segments = path.split("/");
  let best: (FoundOperation & { literals: number }) | undefined;
  for (const [template, operations] of Object.entries(document.paths)) {
    const operation = operations[method.toLowerCase()];
    const parts = template.split("/");
    if (operation === undefined || parts.length !== segments.length) continue;
    const fits = parts.every((part, index) => (isParameter(part) ? segments[index] !== "" : part === segments[index]));
    if (!fits) continue;
    const literals = parts.filter((part) => !isParameter(part)).length;
    if (best === undefined || literals > best.literals) best = { operation, template, literals };
  }
  return best;
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
  const names = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
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

function isParameter(part: string): boolean {
  return part.startsWith("{") && part.endsWith("}");
}

const methods = new Set(["get", "put", "post", "delete", "patch", "head", "options"]);

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
