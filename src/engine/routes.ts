import { VirgaError } from "../core/errors.ts";
import type { FunctionId, Route } from "../core/model.ts";
import { checkName, checkResourceName, isName, quote } from "../core/names.ts";
import { parseTemplate, RouteTree, type Segment } from "../core/route-match.ts";
import { createTurns } from "../core/turns.ts";
import type { Records } from "../ports/records.ts";
import type { Routes } from "./engine.ts";

export interface RoutesOptions {
  readonly records: Records;
  /** Where given, a route to a function that does not exist is refused. */
  readonly functions?: { get(id: FunctionId): Promise<unknown> };
}

export interface RouteTable extends Routes {
  /** Removes all routes of a namespace that is being deleted. */
  forget(namespace: string): Promise<void>;
}

/** What stands at the root of every host and cannot be taken by a route without one. */
const platformPaths: ReadonlySet<string> = new Set(["v1", "f", "healthz", "readyz", "metrics"]);
const methodPattern = /^[A-Z][A-Z-]{0,31}$/;
const hostPattern = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/;
const anyHost = "";

/** Custom routes: kept in the records under `routes/NAMESPACE/ID`, matched from memory. */
export async function createRoutes({ records, functions }: RoutesOptions): Promise<RouteTable> {
  const routes = new Map<string, Route>();
  let trees = new Map<string, RouteTree<Route>>();
  const turn = createTurns();

  for (const { key, value } of await records.list<Route>("routes/")) routes.set(key, value);
  rebuild();

  function rebuild(): void {
    trees = new Map();
    for (const route of routes.values()) treeOf(route.host).add(templateOf(route.path), route.method, route);
  }

  function treeOf(host: string | undefined): RouteTree<Route> {
    let tree = trees.get(host ?? anyHost);
    if (tree === undefined) trees.set(host ?? anyHost, (tree = new RouteTree()));
    return tree;
  }

  /** Changes are rare and one at a time; a removed branch is simply not there in the next tree. */
  function change<T>(action: () => Promise<T>): Promise<T> {
    return turn("", action);
  }

  return {
    put(given) {
      return change(async () => {
        const route = checkRoute(given);
        if (
          functions !== undefined &&
          (await functions.get({ namespace: route.namespace, name: route.function })) === undefined
        ) {
          throw new VirgaError("invalid_field", `namespace ${route.namespace} has no function ${route.function}`, {
            field: "function",
            fix: "deploy it first",
          });
        }
        const key = routeKey(route.namespace, route.id);
        const other = treeOf(route.host).find(templateOf(route.path), route.method);
        if (other !== undefined && routeKey(other.namespace, other.id) !== key) throw taken(route, other);
        await records.put(key, route);
        routes.set(key, route);
        rebuild();
      });
    },

    delete(namespace, id) {
      return change(async () => {
        const key = routeKey(namespace, id);
        if (!routes.has(key)) return false;
        await records.delete(key);
        routes.delete(key);
        rebuild();
        return true;
      });
    },

    async list(namespace) {
      return [...routes.values()]
        .filter((route) => route.namespace === namespace)
        .sort((a, b) => (a.id < b.id ? -1 : 1));
    },

    match(host, method, path) {
      const found = trees.get(bareHost(host))?.match(method, path) ?? trees.get(anyHost)?.match(method, path);
      return found === undefined ? undefined : { route: found.value, parameters: found.parameters };
    },

    get size() {
      return routes.size;
    },

    forget(namespace) {
      return change(async () => {
        const keys = [...routes].filter(([, route]) => route.namespace === namespace).map(([key]) => key);
        if (keys.length === 0) return;
        await records.batch(keys.map((key) => ({ delete: key })));
        for (const key of keys) routes.delete(key);
        rebuild();
      });
    },
  };
}

function checkRoute(given: Route): Route {
  checkName(given.namespace, "namespace", "namespace");
  checkName(given.id, "id", "route");
  checkResourceName(given.function, "function", "function");
  if (given.tag !== undefined) checkName(given.tag, "tag", "tag");
  const host = given.host?.toLowerCase();
  if (host !== undefined && !hostPattern.test(host)) {
    throw new VirgaError("invalid_field", `${quote(given.host)} is no host name`, {
      field: "host",
      fix: "write the host alone, without scheme, port, path or wildcard",
    });
  }
  const method = given.method?.toUpperCase();
  if (method !== undefined && !methodPattern.test(method)) {
    throw new VirgaError("invalid_field", `${quote(given.method)} is no HTTP method`, {
      field: "method",
      fix: "write one, such as GET, or leave it out for any",
    });
  }
  const [first] = templateOf(given.path);
  if (host === undefined && first?.kind === "literal" && platformPaths.has(first.text)) {
    throw new VirgaError("invalid_field", `/${first.text} is the platform's own path`, {
      field: "path",
      fix: "choose another path, or give the route a host of its own",
    });
  }
  return {
    id: given.id,
    namespace: given.namespace,
    ...(host === undefined ? {} : { host }),
    path: given.path,
    ...(method === undefined ? {} : { method }),
    function: given.function,
    ...(given.tag === undefined ? {} : { tag: given.tag }),
  };
}

function templateOf(path: unknown): Segment[] {
  const segments = typeof path === "string" ? parseTemplate(path) : "a path is a text";
  if (typeof segments !== "string") return segments;
  throw new VirgaError("invalid_field", `${quote(path)} is no path template: ${segments}`, {
    field: "path",
    fix: "write it like /users/{id} or /files/{path...}",
  });
}

/** Another tenant's route is not named: its existence alone is told. */
function taken(route: Route, other: Route): VirgaError {
  const whose = other.namespace === route.namespace ? `route ${other.id}` : "a route of another namespace";
  return new VirgaError(
    "conflict",
    `${whose} already has ${route.method ?? "every method"} of ${route.host ?? "any host"}${other.path}`,
    { field: "path", fix: "change the path, the host or the method, or delete the other route" },
  );
}

function routeKey(namespace: string, id: string): string {
  if (!isName(namespace) || !isName(id)) return "";
  return `routes/${namespace}/${id}`;
}

/** `Example.org:8080` → `example.org`. An IPv6 address keeps its brackets; no route can have one. */
function bareHost(host: string): string {
  const colon = host.lastIndexOf(":");
  const bare = colon > 0 && !host.endsWith("]") ? host.slice(0, colon) : host;
  return bare.endsWith(".") ? bare.slice(0, -1).toLowerCase() : bare.toLowerCase();
}
