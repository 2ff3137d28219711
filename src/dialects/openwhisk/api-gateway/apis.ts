/** The APIs of namespaces, and the three web actions by which `wsk api` manages them. */
import type { Json } from "../../../core/workflow/definition.ts";
import type { Records } from "../../../ports/records.ts";
import type { WhiskContext } from "../context.ts";
import { malformed, notFound, WhiskError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { sizeLimits } from "../limits.ts";
import { readPage } from "../listing.ts";
import type { QualifiedName } from "../names.ts";
import type { Extension } from "../web/address.ts";
import { exported, serve } from "../web/web-actions.ts";
import {
  type ApiDocument,
  backendOf,
  findOperation,
  importedApi,
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
  const slash = path.indexOf("/");
  const namespace = slash < 0 ? path : path.slice(0, slash);
  const rest = slash < 0 ? "/" : path.slice(slash);
  let best: ApiDocument | undefined;
  for (const api of await apisOf(context.records, namespace)) {
    const base = api.basePath === "/" ? "" : api.basePath;
    const isBelow = rest === base || rest.startsWith(`${base}/`);
    if (isBelow && (best === undefined || best.basePath.length < api.basePath.length)) best = api;
  }
  if (best === undefined) throw notFound();
  const below = rest.slice(best.basePath === "/" ? 0 : best.basePath.length) || "/";
  const method = exchange.method === "HEAD" ? "GET" : exchange.method;
  if (method === "OPTIONS" && findOperation(best, below, method) === undefined) return preflight(exchange);
  const found = findOperation(best, below, method);
  const backend = found && backendOf(found.operation);
  if (backend === undefined) throw new WhiskError(404, "No operation of the API is at this path for this method.");
  const called: QualifiedName = {
    namespace: backend.namespace === "_" ? namespace : backend.namespace,
    name: backend.action,
    ...(backend.package === "default" || backend.package === "" ? {} : { package: backend.package }),
  };
  await serve(context, exchange, await exported(context, called), {
    extension: backend.extension,
    path: rest,
    isTrusted: true,
  });
}

async function create(context: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const { apidoc } = await exchange.json(sizeLimits.payload);
  const given = typeof apidoc === "string" ? (JSON.parse(apidoc) as Json) : apidoc;
  if (!isObject(given ?? null)) throw malformed("apidoc is no object.");
  const doc = given as Readonly<Record<string, Json>>;
  const { swagger } = doc;
  let api: ApiDocument;
  if (swagger !== undefined && swagger !== "") {
    api = importedApi(typeof swagger === "string" ? parsed(swagger) : swagger);
  } else {
    const { gatewayBasePath, gatewayPath, gatewayMethod, apiName, action } = doc;
    const {
      name,
      namespace: owner,
      backendUrl,
    } = (isObject(action ?? null) ? action : {}) as Readonly<Record<string, Json>>;
    for (const [field, value] of Object.entries({
      gatewayBasePath,
      gatewayPath,
      gatewayMethod,
      "action.name": name,
      "action.backendUrl": backendUrl,
    })) {
      if (typeof value !== "string" || value === "") throw malformed(`apidoc.${field} is missing.`);
    }
    const basePath = gatewayBasePath as string;
    api = withOperation(await apiAt(context.records, namespace, basePath), {
      basePath,
      relPath: gatewayPath as string,
      method: gatewayMethod as string,
      ...(typeof apiName === "string" && apiName !== "" ? { title: apiName } : {}),
      actionName: name as string,
      actionNamespace: owner === "_" || typeof owner !== "string" ? namespace : owner,
      backendUrl: (backendUrl as string).replace("/web/_/", `/web/${encodeURIComponent(namespace)}/`),
      responseType: responseTypeOf(exchange),
    });
  }
  await context.records.put(keyOf(namespace, api.basePath), api);
  exchange.answer(200, valueOf(exchange, namespace, api));
}

async function list(context: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const { query } = exchange;
  const wanted = query.get("basepath");
  const { skip, limit } = readPage(exchange);
  // A name does as well as a base path.
  const all = await apisOf(context.records, namespace);
  const found =
    wanted === null ? all : all.filter(({ basePath, info }) => basePath === wanted || info.title === wanted);
  exchange.answer(200, {
    apis: found.slice(skip, skip + limit).map((api) => ({
      id: `API:${namespace}:${api.basePath}`,
      key: `API:${namespace}:${api.basePath}`,
      value: valueOf(exchange, namespace, api),
    })),
  });
}

async function remove(context: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const { query } = exchange;
  const wanted = query.get("basepath");
  if (wanted === null) throw malformed("basepath is missing.");
  const api = (await apisOf(context.records, namespace)).find(
    ({ basePath, info }) => basePath === wanted || info.title === wanted,
  );
  if (api === undefined) throw new WhiskError(404, `API '${wanted}' does not exist.`);
  const relPath = query.get("relpath");
  const method = query.get("operation") ?? undefined;
  const operations = relPath === null ? undefined : api.paths[relPath];
  if (
    relPath !== null &&
    (operations === undefined || (method !== undefined && operations[method.toLowerCase()] === undefined))
  ) {
    throw new WhiskError(404, `API '${wanted}' has no operation ${method ?? ""} ${relPath}.`);
  }
  const left = relPath === null ? undefined : withoutOperation(api, relPath, method);
  if (left === undefined) await context.records.delete(keyOf(namespace, api.basePath));
  else await context.records.put(keyOf(namespace, api.basePath), left);
  exchange.answer(200, {});
}

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
    gwApiUrl: `${exchange.origin}/api/${encodeURIComponent(namespace)}${api.basePath === "/" ? "" : api.basePath}`,
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

async function apiAt(records: Records, namespace: string, basePath: string): Promise<ApiDocument | undefined> {
  return (await records.get<ApiDocument>(keyOf(namespace, basePath)))?.value;
}

async function apisOf(records: Records, namespace: string): Promise<ApiDocument[]> {
  return (await records.list<ApiDocument>(`${prefix}${namespace}/`)).map(({ value }) => value);
}

function keyOf(namespace: string, basePath: string): string {
  if (!basePath.startsWith("/") || basePath.length > 256)
    throw malformed("the base path does not begin with '/', or is too long.");
  return `${prefix}${namespace}/${encodeURIComponent(basePath)}`;
}

/** For a namespace that is being deleted. */
export async function forgetApis(records: Records, namespace: string): Promise<void> {
  for (const { key } of await records.list(`${prefix}${namespace}/`)) await records.delete(key);
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (thrown) {
    throw malformed(`apidoc.swagger is no JSON: ${(thrown as Error).message}`);
  }
}

function isObject(json: Json): json is { readonly [key: string]: Json } {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}
