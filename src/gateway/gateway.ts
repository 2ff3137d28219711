/**
 * The listener: one port for functions, the native API and health. Function calls are told apart by hand and never
 * meet a framework; everything else under `/v1` goes to the API.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { RateCard } from "../core/model.ts";
import type { Engine } from "../engine/engine.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { requestId } from "../telemetry/request-id.ts";
import { type CallTarget, checkUrl, pathOf, readAbsoluteForm, readFunctionUrl, readInvokeUrl } from "./address.ts";
import { createApi, type ServerInfo } from "./api/api.ts";
import type { Endpoint } from "./api/endpoint.ts";
import { type CallPath, serveInvocation } from "./call-path.ts";
import { Health } from "./health.ts";
import { Hosts } from "./hosts.ts";
import { type Listener, openListener } from "./listener.ts";
import { linger, refuse, refuseSocket } from "./refusal.ts";
import { readHead, type RequestHead } from "./request-head.ts";
import { passThrough } from "./upgrade.ts";

export interface GatewayOptions {
  readonly engine: Engine;
  readonly blobs: Blobs;
  /** Large results. */
  readonly values: Pick<Blobs, "get">;
  readonly log: Log;
  readonly clock: Clock;
  /** Makes ids of requests. */
  readonly identify: () => string;
  readonly metrics: Metrics;
  /** Uniform in [0, 1): the traffic split. */
  readonly random?: () => number;
  /** What dialects add to the API: the administration of what is theirs. */
  readonly endpoints?: readonly Endpoint[];
  /** Tries a durable write, for `/readyz`. */
  readonly probe?: () => Promise<void>;
  readonly config: GatewayConfig;
}

export interface GatewayConfig {
  /** `{function}.{namespace}.{domain}` reaches a function; empty: none does. */
  readonly domain: string;
  readonly rates: RateCard;
  readonly maxHeaderBytes: number;
  /** How long a request to the API, or a small one to a function, may take to arrive. */
  readonly requestTimeoutMs: number;
  readonly info: ServerInfo;
  /** Believe `x-forwarded-…` headers: for a platform behind a proxy that sets them. */
  readonly trustForwarded?: boolean;
}

export interface Gateway {
  listen(address: { readonly host: string; readonly port: number }): Promise<Listener>;
  /** One request, from whatever server. */
  handle(request: IncomingMessage, response: ServerResponse): void;
}

export function createGateway(options: GatewayOptions): Gateway {
  const { engine, config, clock, log, metrics } = options;
  const path: CallPath = {
    engine,
    clock,
    log,
    metrics,
    identify: options.identify,
    random: options.random ?? Math.random,
    requestTimeoutMs: config.requestTimeoutMs,
    trustForwarded: config.trustForwarded === true,
  };
  const hosts = new Hosts(config.domain.toLowerCase());
  const health = new Health(path, options.probe ?? (() => Promise.resolve()));
  const api = createApi(options, path);
  metrics.watch(engine.pool);
  engine.functions.onChange((id, state) => {
    if (state === undefined) metrics.forget(id);
  });

  function handle(request: IncomingMessage, response: ServerResponse): void {
    let head: RequestHead | undefined;
    try {
      head = readHead(request);
      const url = readUrl(request, head);
      const target = findTarget(engine, hosts, url, request, head);
      if (target !== undefined) serveInvocation(path, request, response, target, head);
      else if (isApi(url)) api(request, response, head);
      else if (!health.serve(pathOf(url), request, response, head)) throw nothingAt(url);
    } catch (thrown) {
      const error = asVirgaError(thrown);
      if (error.code === "internal") log.error("a request could not be read", { error: thrown });
      metrics.request("health", error.status);
      refuse(response, error, ["x-request-id", requestId(head?.requestId, path.identify)]);
      linger(request, clock);
    }
  }

  function upgrade(request: IncomingMessage, socket: Duplex, early: Buffer): void {
    try {
      const head = readHead(request);
      const target = findTarget(engine, hosts, readUrl(request, head), request, head);
      if (target === undefined) throw new VirgaError("bad_request", "only functions take WebSocket connections");
      void passThrough(path, request, socket, early, target, head);
    } catch (thrown) {
      refuseSocket(socket, clock, thrown);
    }
  }

  return {
    handle,
    listen: (address) =>
      openListener({
        ...address,
        handle,
        upgrade,
        clock,
        maxHeaderBytes: config.maxHeaderBytes,
        requestTimeoutMs: config.requestTimeoutMs,
        draining: () => {
          health.draining = true;
        },
      }),
  };
}

/** The function that a request is for, by host name, function URL, invoke API or custom route, in this order. */
function findTarget(
  engine: Engine,
  hosts: Hosts,
  url: string,
  request: IncomingMessage,
  head: RequestHead,
): CallTarget | undefined {
  const host = hosts.read(head.host);
  if (host.function !== undefined) return { ...host.function, target: url, via: "url" };
  const direct = readFunctionUrl(url) ?? readInvokeUrl(url);
  if (direct !== undefined) return direct;
  // What is ours stays ours: no tenant's route can stand in for the API, where tokens are sent.
  if (engine.routes.size === 0 || isReserved(url)) return undefined;
  const match = engine.routes.match(host.name, request.method ?? "GET", pathOf(url));
  if (match === undefined) return undefined;
  const { route, parameters } = match;
  return {
    namespace: route.namespace,
    name: route.function,
    target: url,
    via: "url",
    parameters,
    ...(route.tag === undefined ? {} : { tag: route.tag }),
  };
}

/** The request target in origin form, checked. */
function readUrl(request: IncomingMessage, head: RequestHead): string {
  let url = request.url ?? "/";
  if (url.charCodeAt(0) !== 47) {
    const absolute = readAbsoluteForm(url);
    if (absolute !== undefined) {
      url = absolute.url;
      request.url = url;
      head.host = absolute.host;
    }
  }
  checkUrl(url);
  // Only HTTP/1.0 may leave it out.
  if (head.host === "") head.host = localHost(request.socket);
  return url;
}

function localHost({ localAddress = "localhost", localPort = 80 }: IncomingMessage["socket"]): string {
  return `${localAddress.includes(":") ? `[${localAddress}]` : localAddress}:${localPort}`;
}

function isApi(url: string): boolean {
  return url.startsWith("/v1") && (url.length === 3 || url.charCodeAt(3) === 47 || url.charCodeAt(3) === 63);
}

function isReserved(url: string): boolean {
  return isApi(url) || url.startsWith("/f/") || /^\/(?:healthz|readyz|metrics)(?:$|\?)/.test(url);
}

function nothingAt(url: string): VirgaError {
  return new VirgaError("not_found", `nothing is at ${pathOf(url).slice(0, 200)}`, {
    fix: "functions are at /f/{namespace}/{function}, the API is at /v1",
  });
}
