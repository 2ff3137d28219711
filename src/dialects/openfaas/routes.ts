/** The gateway's paths (contract section 2.1). */
import { serveBuild } from "./builder/endpoint.ts";
import type { FaasContext } from "./context.ts";
import { authenticate } from "./credential.ts";
import { deployedIn } from "./deployed.ts";
import { FaasError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { deleteFunction, getFunction, listFunctions, putFunction, scaleFunction } from "./functions.ts";
import { serveLogs } from "./logs.ts";
import { functionAddress } from "./names.ts";
import { createNamespace, listNamespaces, serveNamespace } from "./namespaces.ts";
import { serveAlert } from "./scale.ts";
import { serveSecrets } from "./secrets.ts";
import { page } from "./ui/page.ts";

/** Throws, or rejects with, what is to be refused. */
export async function serveGateway(context: FaasContext, exchange: Exchange): Promise<void> {
  const { path } = exchange;
  if (path.startsWith("/system/")) {
    exchange.token = authenticate(context.engine.access, exchange);
    return serveSystem(context, exchange, path.slice("/system/".length));
  }
  if (path === "/ui" || path.startsWith("/ui/")) {
    exchange.token = authenticate(context.engine.access, exchange);
    only(exchange, "GET", "HEAD");
    exchange.send(200, page(context.version), "text/html; charset=utf-8");
    return;
  }
  if (path.startsWith("/stores/")) return serveStores(context, exchange, path.slice("/stores/".length));
  switch (path) {
    case "/healthz":
      only(exchange, "GET", "HEAD");
      exchange.empty(200);
      return;
    case "/metrics":
      only(exchange, "GET");
      return serveMetrics(context, exchange);
    case "/build":
      only(exchange, "POST");
      return serveBuild(context.builds, exchange.request, exchange.response);
    case "/publickey":
      only(exchange, "GET");
      return exchange.answer(200, context.buildKey.document);
    case "/":
      // Builders of old were asked at the root.
      if (exchange.method === "POST") return serveBuild(context.builds, exchange.request, exchange.response);
      only(exchange, "GET", "HEAD");
      exchange.send(307, "", undefined, ["location", "/ui/"]);
      return;
    default:
      throw new FaasError(404, "404 page not found");
  }
}

async function serveSystem(context: FaasContext, exchange: Exchange, path: string): Promise<void> {
  const [collection = "", name, ...rest] = path.split("/");
  if (rest.length > 0) throw new FaasError(404, "404 page not found");
  switch (collection) {
    case "info":
      only(exchange, "GET");
      return exchange.answer(200, infoOf(context));
    case "functions":
      only(exchange, "GET", "POST", "PUT", "DELETE");
      if (exchange.method === "GET") return listFunctions(context, exchange);
      return exchange.method === "DELETE" ? deleteFunction(context, exchange) : putFunction(context, exchange);
    case "function":
      only(exchange, "GET");
      return getFunction(context, exchange, named(name));
    case "scale-function":
      only(exchange, "POST");
      return scaleFunction(context, exchange, named(name));
    case "secrets":
      only(exchange, "GET", "POST", "PUT", "DELETE");
      return serveSecrets(context, exchange);
    case "logs":
      only(exchange, "GET");
      return serveLogs(context, exchange);
    case "namespaces":
      only(exchange, "GET");
      return listNamespaces(context, exchange);
    case "namespace":
      if (name === undefined || name === "") {
        only(exchange, "POST");
        return createNamespace(context, exchange);
      }
      only(exchange, "GET", "PUT", "DELETE");
      return serveNamespace(context, exchange, name);
    case "alert":
      only(exchange, "POST");
      return serveAlert(context, exchange);
    case "telemetry":
      only(exchange, "GET");
      return exchange.answer(200, {});
    default:
      throw new FaasError(404, "404 page not found");
  }
}

/** Templates and functions to begin with, for clients without a way to the internet. */
async function serveStores({ templates, functionStore }: FaasContext, exchange: Exchange, path: string): Promise<void> {
  const git = "templates.git/";
  if (path.startsWith(git)) return templates.serveGit(exchange.request, exchange.response, path.slice(git.length));
  only(exchange, "GET", "HEAD");
  if (path === "templates.json") exchange.answer(200, templates.document(exchange.origin));
  else if (path === "functions.json") exchange.answer(200, functionStore);
  else throw new FaasError(404, "404 page not found");
}

async function serveMetrics(context: FaasContext, exchange: Exchange): Promise<void> {
  const { access } = context.engine;
  const token = authenticate(access, exchange);
  const sees = (namespace: string): boolean => access.allows(token, namespace, "read");
  const deployed = [];
  for (const { name } of await context.namespaces.list()) {
    if (!sees(name)) continue;
    for await (const { revision } of deployedIn(context, name)) deployed.push(revision);
  }
  const { text, type } = await context.counts.render(deployed, (label) => sees(functionAddress(label).namespace));
  exchange.send(200, text, type);
}

/** Clients read into every part of it. */
function infoOf({ version }: FaasContext) {
  const release = version.split("/").at(-1)!;
  const build = { sha: release, release, commit_message: "" };
  const arch = { x64: "x86_64", arm64: "aarch64" }[process.arch as string] ?? process.arch;
  return { provider: { provider: "virga", orchestration: "virga", version: build }, version: build, arch };
}

function only(exchange: Exchange, ...methods: string[]): void {
  if (!methods.includes(exchange.method))
    throw new FaasError(405, `method ${exchange.method} is not allowed here: use ${methods.join(", ")}`);
}

function named(name: string | undefined): string {
  if (name === undefined || name === "") throw new FaasError(404, "404 page not found");
  return name;
}
