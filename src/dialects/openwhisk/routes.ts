/** The REST API's paths (contract section 2.1). Matched by hand: a blocking call's way is no place for a framework. */
import { deleteAction, getAction, listActions, putAction } from "./actions.ts";
import { getActivation, getLogs, getResult, listActivations } from "./activations.ts";
import type { WhiskContext } from "./context.ts";
import { forbidden, malformed, notFound, WhiskError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { limitsDocument } from "./info.ts";
import { invokeAction } from "./invoke.ts";
import { isEntityName, type QualifiedName } from "./names.ts";
import { deletePackage, getPackage, listPackages, putPackage, visible } from "./packages.ts";
import { deleteRule, getRule, listRules, putRule, setRuleStatus } from "./rules.ts";
import type { Subject } from "./subjects.ts";
import { deleteTrigger, fireTrigger, getTrigger, listTriggers, putTrigger } from "./triggers.ts";

/** What `api-docs` shows. */
export const apiPaths = [
  { path: "/namespaces", methods: ["GET"] },
  { path: "/namespaces/{namespace}/limits", methods: ["GET"] },
  { path: "/namespaces/{namespace}/actions", methods: ["GET"] },
  { path: "/namespaces/{namespace}/actions/{action}", methods: ["GET", "PUT", "DELETE", "POST"] },
  { path: "/namespaces/{namespace}/actions/{package}/{action}", methods: ["GET", "PUT", "DELETE", "POST"] },
  { path: "/namespaces/{namespace}/triggers", methods: ["GET"] },
  { path: "/namespaces/{namespace}/triggers/{trigger}", methods: ["GET", "PUT", "DELETE", "POST"] },
  { path: "/namespaces/{namespace}/rules", methods: ["GET"] },
  { path: "/namespaces/{namespace}/rules/{rule}", methods: ["GET", "PUT", "DELETE", "POST"] },
  { path: "/namespaces/{namespace}/packages", methods: ["GET"] },
  { path: "/namespaces/{namespace}/packages/{package}", methods: ["GET", "PUT", "DELETE"] },
  { path: "/namespaces/{namespace}/activations", methods: ["GET"] },
  { path: "/namespaces/{namespace}/activations/{activation}", methods: ["GET"] },
  { path: "/namespaces/{namespace}/activations/{activation}/logs", methods: ["GET"] },
  { path: "/namespaces/{namespace}/activations/{activation}/result", methods: ["GET"] },
] as const;

/** `path` is what stands behind `/api/v1/namespaces`. */
export function serveNamespaces(
  context: WhiskContext,
  exchange: Exchange,
  path: string,
  subject: Subject,
): Promise<void> | undefined {
  const caller = subject.namespace;
  if (path === "" || path === "/") {
    only(exchange, "GET");
    exchange.answer(200, [caller]);
    return undefined;
  }
  const [given, collection, first, second] = partsOf(path);
  const namespace = given === "_" ? caller : given;
  switch (collection) {
    case "limits":
      own(namespace, caller);
      only(exchange, "GET");
      exchange.answer(200, limitsDocument(context.throttles.limitsOf(subject)));
      return undefined;
    case "actions":
      return serveActions(context, exchange, namespace, first, second, subject);
    case "packages":
      return servePackages(context, exchange, namespace, first, caller, second);
    case "triggers":
      own(namespace, caller);
      return serveTriggers(context, exchange, namespace, first, subject, second);
    case "rules":
      own(namespace, caller);
      return serveRules(context, exchange, namespace, first, second);
    case "activations":
      own(namespace, caller);
      return serveActivations(context, exchange, namespace, first, second);
    default:
      throw notFound();
  }
}

/** `actions`, `actions/NAME`, `actions/PACKAGE/` and `actions/PACKAGE/NAME`. */
function serveActions(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  first: string | undefined,
  second: string | undefined,
  subject: Subject,
): Promise<void> {
  const caller = subject.namespace;
  if (first === undefined || first === "") {
    own(namespace, caller);
    only(exchange, "GET");
    return listActions(context, exchange, namespace, undefined);
  }
  if (second === "") {
    only(exchange, "GET");
    return listPackage(context, exchange, namespace, first, caller);
  }
  const name: QualifiedName =
    second === undefined ? { namespace, name: first } : { namespace, package: first, name: second };
  switch (exchange.method) {
    case "POST":
      return invokeAction(context, exchange, name, subject);
    case "GET":
    case "HEAD":
      return getAction(context, exchange, name, caller);
    case "PUT":
      own(namespace, caller);
      return putAction(context, exchange, name);
    case "DELETE":
      own(namespace, caller);
      return deleteAction(context, exchange, name);
    default:
      throw notAllowed(exchange);
  }
}

async function listPackage(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
  caller: string,
): Promise<void> {
  await visible(context.entities, namespace, name, caller);
  return listActions(context, exchange, namespace, name);
}

function servePackages(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string | undefined,
  caller: string,
  more: string | undefined,
): Promise<void> {
  if (name === undefined || name === "") {
    only(exchange, "GET");
    return listPackages(context, exchange, namespace, caller);
  }
  if (more !== undefined) throw notFound();
  switch (exchange.method) {
    case "GET":
    case "HEAD":
      return getPackage(context, exchange, namespace, name, caller);
    case "PUT":
      own(namespace, caller);
      return putPackage(context, exchange, namespace, name);
    case "DELETE":
      own(namespace, caller);
      return deletePackage(context, exchange, namespace, name);
    default:
      throw notAllowed(exchange);
  }
}

function serveTriggers(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string | undefined,
  subject: Subject,
  more: string | undefined,
): Promise<void> {
  if (name === undefined || name === "") {
    only(exchange, "GET");
    return listTriggers(context, exchange, namespace);
  }
  if (more !== undefined) throw notFound();
  switch (exchange.method) {
    case "GET":
    case "HEAD":
      return getTrigger(context, exchange, namespace, name);
    case "PUT":
      return putTrigger(context, exchange, namespace, name);
    case "DELETE":
      return deleteTrigger(context, exchange, namespace, name);
    case "POST":
      return fireTrigger(context, exchange, namespace, name, subject);
    default:
      throw notAllowed(exchange);
  }
}

function serveRules(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string | undefined,
  more: string | undefined,
): Promise<void> {
  if (name === undefined || name === "") {
    only(exchange, "GET");
    return listRules(context, exchange, namespace);
  }
  if (more !== undefined) throw notFound();
  switch (exchange.method) {
    case "GET":
    case "HEAD":
      return getRule(context, exchange, namespace, name);
    case "PUT":
      return putRule(context, exchange, namespace, name);
    case "DELETE":
      return deleteRule(context, exchange, namespace, name);
    case "POST":
      return setRuleStatus(context, exchange, namespace, name);
    default:
      throw notAllowed(exchange);
  }
}

function serveActivations(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  id: string | undefined,
  part: string | undefined,
): Promise<void> {
  only(exchange, "GET");
  if (id === undefined || id === "") return listActivations(context, exchange, namespace);
  switch (part) {
    case undefined:
    case "":
      return getActivation(context, exchange, namespace, id);
    case "logs":
      return getLogs(context, exchange, namespace, id);
    case "result":
      return getResult(context, exchange, namespace, id);
    default:
      throw notFound();
  }
}

/** Others' namespaces are open as far as their packages are public. */
function own(namespace: string, caller: string): void {
  if (namespace !== caller) throw forbidden();
}

function only(exchange: Exchange, method: string): void {
  if (exchange.method !== method && !(method === "GET" && exchange.method === "HEAD")) throw notAllowed(exchange);
}

function notAllowed({ method }: Exchange): WhiskError {
  return new WhiskError(405, `HTTP method not allowed: ${method} is nothing for this resource.`);
}

/** The parts behind `/namespaces/`; an empty last one is a slash at the end. */
type Parts = readonly [namespace: string, collection: string, first?: string, second?: string];

/** Clients ask for the same few again and again. */
const knownParts = new Map<string, Parts>();
const mostKnownParts = 10_000;
const longestKnownPath = 256;

function partsOf(path: string): Parts {
  const known = knownParts.get(path);
  if (known !== undefined) return known;
  if (path.length > longestKnownPath) return readParts(path);
  // A slice would keep the whole URL.
  const copy = Buffer.from(path, "latin1").toString("latin1");
  const parts = readParts(copy);
  if (knownParts.size >= mostKnownParts) knownParts.clear();
  knownParts.set(copy, parts);
  return parts;
}

function readParts(path: string): Parts {
  const [namespace, collection, first, second, ...rest] = split(path);
  if (namespace === undefined || collection === undefined || rest.length > 0 || !isEntityName(namespace))
    throw notFound();
  for (const name of [first, second]) {
    if (name === undefined || name === "" || isEntityName(name)) continue;
    throw malformed(
      `${JSON.stringify(name.slice(0, 64))} is no name of an entity: use at most 256 letters, digits and _ @ . & - or blanks, with a letter, a digit or _ first and no blank last.`,
    );
  }
  return [namespace, collection, first, second];
}

/** The decoded parts behind the first slash. */
function split(path: string): string[] {
  try {
    return path
      .slice(1)
      .split("/")
      .map((part) => (part.includes("%") ? decodeURIComponent(part) : part));
  } catch {
    throw notFound();
  }
}
