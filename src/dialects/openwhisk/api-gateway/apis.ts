/** The APIs of namespaces, and the three web actions by which `wsk api` manages them. */
import { asVirgaError } from "../../../core/errors.ts";
import type { Json } from "../../../core/workflow/definition.ts";
import type { Records } from "../../../ports/records.ts";
import type { WhiskContext } from "../context.ts";
import { malformed, notFound, WhiskError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { sizeLimits } from "../limits.ts";
import { readPage } from "../listing.ts";
import { isEntityName, type QualifiedName } from "../names.ts";
import type { Extension } from "../web/address.ts";
import { exported, serve } from "../web/web-actions.ts";
import {
  type ApiDocument,
  backendOf,
  findOperation,
  hasOperation,
  importedApi,
  type NewOperation,
  type Operation,
  readBasePath,
  segmentsBelow,
  segmentsOf,
  withOperation,
  withoutOperation,
} from "./document.ts";

const prefix = "openwhisk/apis/";

/** What stands behind `/api/v1/web/whisk.system/apimgmt/`. */
export async function manageApis(context: WhiskContext, exchange: Exchange, action: string): Promise<void> {
  const subject = context.subjects.authenticate(exchange.header("authorization"));
  if (subject === undefined) throw new WhiskError(401, "The supplied authentication is invalid.");
  const { namespace } = subject;
  switch (`${exchange.method} ${action.replace(/\.(?:http|json)$/, "")}`) {
    case "POST createApi":
      return create(context, exchange, namespace);
    case "GET getApi":
      return list(context, exchange, namespace);
    case "DELETE deleteApi":
      return remove(context, exchange, namespace);
    default:
      throw notFound();
  }
}

/** `path` is what stands behind `/api/`: `NAMESPACE/BASE/PATH`. */
export async function serveApi(context: WhiskContext, exchange: Exchange, path: string): Promise<void> {
  const [namespace = "", ...segments] = segmentsOf(path) ?? [];
  if (!isEntityName(namespace)) throw notFound();
  const apis = (await apisOf(context.records, namespace))
    .map((api) => ({ api, below: segmentsBelow(api, segments) }))
    .filter((one): one is { api: ApiDocument; below: readonly string[] } => one.below !== undefined)
    .sort((a, b) => b.api.basePath.length - a.api.basePath.length);
  if (apis.length === 0) throw notFound();
  // The API with the longest base path goes first; where it has nothing at the path, one that contains it may have.
  const find = (method: string): Operation | undefined => {
    for (const { api, below } of apis) {
      const found = findOperation(api, below, method);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const { method } = exchange;
  const operation = find(method) ?? (method === "HEAD" ? find("GET") : undefined);
  if (operation === undefined && method === "OPTIONS") return preflight(exchange);
  const backend = operation && backendOf(operation);
  if (backend === undefined) throw new WhiskError(404, "No operation of the API is at this path for this method.");
  const called: QualifiedName = {
    namespace: backend.namespace === "_" ? namespace : backend.namespace,
    name: backend.action,
    ...(backend.package === "default" || backend.package === "" ? {} : { package: backend.package }),
  };
  await serve(context, exchange, await exported(context, called), {
    extension: backend.extension,
    path: `/${segments.join("/")}`,
    isTrusted: called.namespace === namespace,
  });
}

async function create(context: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const { apidoc = null } = await exchange.json(sizeLimits.payload);
  const given = typeof apidoc === "string" ? parsed(apidoc, "apidoc") : apidoc;
  if (!isObject(given)) throw malformed("apidoc is no object.");
  const { swagger } = given;
  let api: ApiDocument;
  if (swagger !== undefined && swagger !== "") {
    api = importedApi(typeof swagger === "string" ? parsed(swagger, "apidoc.swagger") : swagger);
    await context.records.put(keyOf(namespace, api.basePath), api);
  } else {
    const added = newOperation(given, exchange, namespace);
    api = await change(context.records, namespace, added.basePath, (before) => withOperation(before, added));
  }
  exchange.answer(200, valueOf(exchange, namespace, api));
}

function newOperation(doc: Readonly<Record<string, Json>>, exchange: Exchange, namespace: string): NewOperation {
  const { apiName, action = null } = doc;
  const { namespace: owner, ...target } = isObject(action) ? action : {};
  const text = (from: Readonly<Record<string, Json>>, field: string, path = field): string => {
    const value = from[field];
    if (typeof value !== "string" || value === "") throw malformed(`apidoc.${path} is missing.`);
    return value;
  };
  return {
    basePath: readBasePath(text(doc, "gatewayBasePath")),
    relPath: text(doc, "gatewayPath"),
    method: text(doc, "gatewayMethod"),
    ...(typeof apiName === "string" && apiName !== "" ? { title: apiName } : {}),
    actionName: text(target, "name", "action.name"),
    actionNamespace: owner === "_" || typeof owner !== "string" ? namespace : owner,
    backendUrl: text(target, "backendUrl", "action.backendUrl").replace(
      "/web/_/",
      `/web/${encodeURIComponent(namespace)}/`,
    ),
    responseType: responseTypeOf(exchange),
  };
}

async function list(context: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const wanted = exchange.query.get("basepath") ?? "";
  const { skip, limit } = readPage(exchange);
  const all = await apisOf(context.records, namespace);
  const found = wanted === "" ? all : named(all, wanted);
  exchange.answer(200, {
    apis: found.slice(skip, skip + limit).map((api) => ({
      id: `API:${namespace}:${api.basePath}`,
      key: `API:${namespace}:${api.basePath}`,
      value: valueOf(exchange, namespace, api),
    })),
  });
}

async function remove({ records }: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const { query } = exchange;
  const wanted = query.get("basepath") ?? "";
  if (wanted === "") throw malformed("basepath is missing.");
  const relPath = query.get("relpath") ?? "";
  const method = query.get("operation")?.toLowerCase() || undefined;
  if (method !== undefined && relPath === "") throw malformed("relpath is missing: an operation is one of a path.");
  const [api, ...others] = named(await apisOf(records, namespace), wanted);
  const absent = new WhiskError(404, `API '${wanted}' does not exist.`);
  if (api === undefined) throw absent;
  if (others.length > 0)
    throw new WhiskError(409, `Several APIs are called '${wanted}': name one of them by its base path.`);
  await change(records, namespace, api.basePath, (before) => {
    if (before === undefined) throw absent;
    if (relPath === "") return undefined;
    if (!hasOperation(before, relPath, method))
      throw new WhiskError(404, `API '${wanted}' has no operation ${method ?? ""} ${relPath}.`);
    return withoutOperation(before, relPath, method);
  });
  exchange.answer(200, {});
}

/** A name does as well as a base path, where no API has that base path. */
function named(apis: readonly ApiDocument[], wanted: string): readonly ApiDocument[] {
  const basePath = wanted.replace(/(?<=.)\/+$/, "");
  const at = apis.filter((api) => api.basePath === basePath);
  return at.length > 0 ? at : apis.filter(({ info }) => info.title === wanted);
}

/** What `next` makes of the API, also where others change it at the same time; undefined removes it. */
async function change<T extends ApiDocument | undefined>(
  records: Records,
  namespace: string,
  basePath: string,
  next: (before: ApiDocument | undefined) => T,
): Promise<T> {
  const key = keyOf(namespace, basePath);
  for (let attempt = 1; ; attempt++) {
    const kept = await records.get<ApiDocument>(key);
    const after = next(kept?.value);
    const expect = kept?.revision ?? 0;
    try {
      if (after === undefined) await records.delete(key, { expect });
      else await records.put(key, after, { expect });
      return after;
    } catch (thrown) {
      if (asVirgaError(thrown).code !== "conflict" || attempt === attempts) throw thrown;
    }
  }
}

const attempts = 16;

function preflight(exchange: Exchange): void {
  const wanted = exchange.header("access-control-request-headers");
  exchange.sendBare(204, new Uint8Array(0), [
    "access-control-allow-origin",
    "*",
    "access-control-allow-methods",
    "GET, DELETE, POST, PUT, HEAD, PATCH, OPTIONS",
    ...(wanted === undefined ? [] : ["access-control-allow-headers", wanted]),
  ]);
}

function valueOf(exchange: Exchange, namespace: string, api: ApiDocument): unknown {
  return {
    namespace,
    gwApiUrl: `${exchange.origin}/api/${encodeURIComponent(namespace)}${api.basePath === "/" ? "" : encodeURI(api.basePath)}`,
    gwApiActivated: true,
    tenantId: namespace,
    apidoc: api,
  };
}

function responseTypeOf(exchange: Exchange): Extension {
  const given = exchange.query.get("responsetype") ?? "json";
  if (given === "http" || given === "json" || given === "html" || given === "svg" || given === "text") return given;
  throw malformed(`the response type '${given}' is none of http, json, html, svg and text.`);
}

async function apisOf(records: Records, namespace: string): Promise<ApiDocument[]> {
  return (await records.list<ApiDocument>(`${prefix}${namespace}/`)).map(({ value }) => value);
}

function keyOf(namespace: string, basePath: string): string {
  return `${prefix}${namespace}/${encodeURIComponent(basePath)}`;
}

/** For a namespace that is being deleted. */
export async function forgetApis(records: Records, namespace: string): Promise<void> {
  for (const { key } of await records.list(`${prefix}${namespace}/`)) await records.delete(key);
}

function parsed(text: string, field: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (thrown) {
    throw malformed(`${field} is no JSON: ${(thrown as Error).message}`);
  }
}

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
