import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { VirgaError } from "../core/errors.ts";
import type { Clock } from "../ports/clock.ts";
import { parserError, refuseSocket } from "./refusal.ts";

export interface ListenerOptions {
  readonly host: string;
  /** 0 is any free port. */
  readonly port: number;
  /** A socket in the file system in their place, for every user of the host. */
  readonly path?: string;
  /** Answers one request; never throws. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void;
  /** A WebSocket handshake. Absent: such a request is an ordinary one. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, early: Buffer) => void;
  readonly clock: Clock;
  readonly maxHeaderBytes: number;
  /** How long a request's head may take to arrive. */
  readonly requestTimeoutMs: number;
  /** Heard when `close` begins. */
  readonly draining?: () => void;
}

/** An open port, with the limits and timeouts that every port of the platform has. */
export interface Listener {
  readonly host: string;
  readonly port: number;
  /** Takes no new connections, waits up to `graceMs` for what runs, then cuts it off. */
  close(graceMs: number): Promise<void>;
}

/** Rejects with `unavailable` where the address cannot be had. */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const { handle, upgrade, clock, maxHeaderBytes, requestTimeoutMs } = options;
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      // Slow heads are cut off; bodies have limits of their own: a function may be sent data for an hour.
      headersTimeout: Math.min(10_000, requestTimeoutMs),
      requestTimeout: 0,
      connectionsCheckingInterval: 2000,
      // Longer than the 60 s that load balancers keep theirs, so that it is not we who close under a request.
      keepAliveTimeout: 75_000,
      optimizeEmptyRequests: true,
      // `Upgrade: h2c` and other offers that we do not take up leave an ordinary request (RFC 9110 section 7.8).
      shouldUpgradeCallback: (request) =>
        upgrade !== undefined && request.headers.upgrade?.toLowerCase() === "websocket",
    },
    handle,
  );
  // The size of the head is what is limited. Node would silently forget headers beyond 2000.
  server.maxHeadersCount = 0;
  server.on("checkContinue", handle);
  if (upgrade !== undefined) server.on("upgrade", upgrade);
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    answerParserError(error, socket, clock, maxHeaderBytes);
  });
  return open(server, options);
}

async function open(server: Server, { host, port, path, clock, draining }: ListenerOptions): Promise<Listener> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(path === undefined ? cannotListen(error, host, port) : error),
    );
    if (path === undefined) server.listen(port, host, resolve);
    else server.listen({ path, readableAll: true, writableAll: true }, resolve);
  });
  const address = path === undefined ? (server.address() as AddressInfo) : { address: path, port: 0 };
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
      draining?.();
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

function answerParserError(error: NodeJS.ErrnoException, socket: Duplex, clock: Clock, maxHeaderBytes: number): void {
  // Where an answer has begun, more bytes would be taken for its body. Node keeps the current answer under this name.
  const { _httpMessage: current } = socket as Duplex & { _httpMessage?: ServerResponse };
  if (error.code === "ECONNRESET" || current?.headersSent === true) socket.destroy();
  else refuseSocket(socket, clock, parserError(error, maxHeaderBytes));
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): VirgaError {
  const taken = error.code === "EADDRINUSE";
  return new VirgaError("unavailable", `cannot listen on ${host}:${port}: ${error.message}`, {
    fix: taken ? "another program has this port; choose another with --port" : "choose another address with --host",
    cause: error,
  });
}
