/**
 * The listener: one port for functions, the native API and health. Function calls are told apart by hand and never
 * meet a framework; everything else under `/v1` goes to the API.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
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
import { type CallPath, serveInvocation } from "./call-path.ts";
import { Health } from "./health.ts";
import { Hosts } from "./hosts.ts";
import { linger, parserError, refuse, refuseSocket } from "./refusal.ts";
import { readHead, type RequestHead } from "./request-head.ts";
import { passThrough } from "./upgrade.ts";

export interface GatewayOptions {
  readonly engine: Engine;
  readonly blobs: Blobs;
  readonly log: Log;
  readonly clock: Clock;
  /** Makes ids of requests. */
  readonly identify: () => string;
  readonly metrics: Metrics;
  /** Uniform in [0, 1): the traffic split. */
  readonly random?: () => number;
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

export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Says `503` on `/readyz`, takes no new connections, waits up to `graceMs` for what runs, then cuts it off. */
  close(graceMs: number): Promise<void>;
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
    async listen({ host, port }) {
      const server = createServer(
        {
          maxHeaderSize: config.maxHeaderBytes,
          // Slow heads are cut off; bodies have limits of their own: a function may be sent data for an hour.
          headersTimeout: Math.min(10_000, config.requestTimeoutMs),
          requestTimeout: 0,
          connectionsCheckingInterval: 2000,
          // Longer than the 60 s that load balancers keep theirs, so that it is not we who close under a request.
          keepAliveTimeout: 75_000,
          optimizeEmptyRequests: true,
          // `Upgrade: h2c` and other offers that we do not take up leave an ordinary request (RFC 9110 section 7.8).
          shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === "websocket",
        },
        handle,
      );
      // The size of the head is what is limited. Node would silently forget headers beyond 2000.
      server.maxHeadersCount = 0;
      server.on("checkContinue", handle);
      server.on("upgrade", upgrade);
      server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
        answerParserError(error, socket, clock, config.maxHeaderBytes);
      });
      return open(server, host, port, health, clock);
    },
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

function answerParserError(error: NodeJS.ErrnoException, socket: Duplex, clock: Clock, maxHeaderBytes: number): void {
  // Where an answer has begun, more bytes would be taken for its body. Node keeps the current answer under this name.
  const { _httpMessage: current } = socket as Duplex & { _httpMessage?: ServerResponse };
  if (error.code === "ECONNRESET" || current?.headersSent === true) socket.destroy();
  else refuseSocket(socket, clock, parserError(error, maxHeaderBytes));
}

async function open(server: Server, host: string, port: number, health: Health, clock: Clock): Promise<Listener> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(cannotListen(error, host, port)));
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  // The server forgets a connection that is upgraded.
  const upgraded = new Set<Duplex>();
  server.on("upgrade", (_request, socket: Duplex) => {
    upgraded.add(socket);
    socket.once("close", () => upgraded.delete(socket));
  });
  return {
    host: address.address,
    port: address.port,
    close(graceMs) {
      health.draining = true;
      return new Promise((resolve) => {
        const timer = clock.after(graceMs, () => {
          for (const socket of upgraded) socket.destroy();
          server.closeAllConnections();
        });
        // A connection that was busy becomes idle with its answer, and would stay for the whole keep-alive time.
        const sweep = setInterval(() => server.closeIdleConnections(), 50);
        server.close(() => {
          clearInterval(sweep);
          timer.cancel();
          for (const socket of upgraded) socket.destroy();
          resolve();
        });
      });
    },
  };
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): VirgaError {
  const taken = error.code === "EADDRINUSE";
  return new VirgaError("unavailable", `cannot listen on ${host}:${port}: ${error.message}`, {
    fix: taken ? "another program has this port; choose another with --port" : "choose another address with --host",
    cause: error,
  });
}
