// of-watchdog's mode `http`: the function's own server, started once, and requests handed on to it.
import { spawn } from "node:child_process";
import { Agent, request as send } from "node:http";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { OpenCalls } from "./open-calls.mjs";
import { untilReady, watchHealth } from "./probes.mjs";
import { durationMs, eachLine, say, stamp, summarise } from "./said.mjs";

/** Resolves when the server accepts connections: no call comes before. Rejects where it ends instead. */
export async function serverHandler(place) {
  const { environment } = place;
  const upstream = new URL(environment.upstream_url || environment.http_upstream_url || "http://127.0.0.1:3000");
  const address = { host: upstream.hostname, port: Number(upstream.port || 80) };
  const calls = new OpenCalls();
  const end = await startServer(place, address, calls);
  const { health, ready } = place.settings;
  const readyPath = ready?.path ?? environment.ready_path;
  if (readyPath) await untilReady(address, { initialDelayMs: 0, timeoutMs: 1000, ...ready, path: readyPath });
  if (health !== undefined) watchHealth(address, health, end);
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const prefix = upstream.pathname === "/" ? "" : upstream.pathname.replace(/\/$/, "");
  const timeoutMs = durationMs(environment.exec_timeout, 30_000);

  return async (request, context) => {
    const seat = calls.add(context);
    const began = performance.now();
    try {
      const body = await smallBody(request);
      const answer = await forward({ address, agent, prefix, timeoutMs }, request, body, context);
      summarise(context, request, answer.status, Number(answer.headers.get("content-length") ?? -1), began);
      return answer;
    } finally {
      calls.remove(seat);
    }
  };
}

async function startServer({ environment, directory, command: [command, ...args] }, address, calls) {
  if (command === undefined) throw new Error("the environment variable fprocess is empty: there is no server to start");
  const line = [command, ...args].join(" ");
  const child = spawn(command, args, { cwd: directory, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  const prefixed = environment.prefix_logs !== "false";
  const log = (name, text) => {
    // A line belongs to the call that runs, where exactly one does.
    const { only } = calls;
    if (only !== undefined) only.log[name === "stdout" ? "info" : "error"](text);
    else process[name].write(`${text}\n`);
  };
  for (const name of ["stdout", "stderr"])
    eachLine(child[name], (text) => log(name, prefixed ? `${stamp()} ${name}: ${text}` : text));
  let ended;
  child.once("error", (error) => (ended = `it could not be started: ${error.message}`));
  child.once(
    "exit",
    (code, signal) => (ended = signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`),
  );
  while (!(await accepts(address))) {
    if (ended !== undefined) throw new Error(`the function's server (${line}) is not there: ${String(ended)}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  // A container ends with its server, whose last lines are on their way; the platform starts another.
  const end = (why) => {
    const reason = `the function's server (${line}) is gone: ${why}`;
    log("stderr", `${stamp()} ${reason}`);
    throw new Error(reason);
  };
  if (ended !== undefined) end(ended);
  child.once("exit", () => setTimeout(() => end(ended), lastLinesMs));
  return end;
}

function accepts({ host, port }) {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const settle = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

/** All of it where it is small, so that no stream is made for it; undefined for one that is to be streamed. */
async function smallBody(request) {
  if (request.method === "GET" || request.method === "HEAD") return Buffer.alloc(0);
  const length = request.headers.get("content-length") ?? (request.headers.has("transfer-encoding") ? null : "0");
  return length !== null && Number(length) <= wholeBytes ? Buffer.from(await request.arrayBuffer()) : undefined;
}

function forward({ address, agent, prefix, timeoutMs }, request, body, context) {
  return new Promise((resolve) => {
    const { pathname, search } = new URL(request.url);
    const limitMs = Math.min(
      timeoutMs || Number.POSITIVE_INFINITY,
      durationMs(request.headers.get("x-timeout") ?? undefined, 0) || Number.POSITIVE_INFINITY,
    );
    let timer;
    const settle = (answer) => {
      clearTimeout(timer);
      resolve(answer);
    };
    const sent = send({
      ...address,
      agent,
      method: request.method,
      path: `${prefix}${pathname}${search}`,
      headers: headersFor(request, body),
      maxHeaderSize: 65_536,
    });
    sent.once("response", (response) => {
      const { statusCode, rawHeaders } = response;
      const headers = new Headers();
      for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
        const name = rawHeaders[index].toLowerCase();
        if (!connectionHeaders.has(name)) headers.append(name, rawHeaders[index + 1]);
      }
      const isEmpty = statusCode === 204 || statusCode === 205 || statusCode === 304;
      if (isEmpty) response.resume();
      settle(new Response(isEmpty ? null : response, { status: statusCode, headers }));
    });
    sent.once("error", (error) => {
      if (sent.reusedSocket && error.code === "ECONNRESET" && repeatable.has(request.method) && body !== undefined) {
        settle(forward({ address, agent, prefix, timeoutMs }, request, body, context));
        return;
      }
      say(context, `Upstream HTTP request error: ${error.message}`);
      // Where the server has ended this instance ends, too, and no call comes to it behind this one.
      setTimeout(() => settle(failed(500)), lastLinesMs * 4);
    });
    if (Number.isFinite(limitMs)) {
      timer = setTimeout(() => {
        say(context, `Upstream HTTP killed due to exec_timeout: ${limitMs / 1000}s`);
        settle(failed(504));
        sent.destroy();
      }, limitMs);
    }
    request.signal.addEventListener("abort", () => sent.destroy(), { once: true });
    if (body !== undefined) sent.end(body.length === 0 ? undefined : body);
    else
      Readable.fromWeb(request.body)
        .on("error", () => sent.destroy())
        .pipe(sent);
  });
}

function headersFor(request, body) {
  const headers = [];
  let hasHost = false;
  for (const [name, value] of request.headers) {
    if (connectionHeaders.has(name)) continue;
    hasHost ||= name === "host";
    headers.push(name, value);
  }
  if (!hasHost) headers.push("host", new URL(request.url).host);
  if (!headers.includes("content-length")) {
    if (body === undefined) headers.push("transfer-encoding", "chunked");
    else if (body.length > 0 || request.method === "POST") headers.push("content-length", `${body.length}`);
  }
  return headers;
}

function failed(status) {
  return new Response("", { status, headers: { "x-openfaas-internal": "of-watchdog" } });
}

/** They speak of one connection, not of the call (RFC 9110 section 7.6.1). */
const connectionHeaders = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** What may be sent again where a kept connection closed under it (RFC 9110 section 9.2.2). */
const repeatable = new Set(["DELETE", "GET", "HEAD", "OPTIONS", "PUT"]);
const wholeBytes = 65_536;
const pauseMs = 5;
const lastLinesMs = 10;
