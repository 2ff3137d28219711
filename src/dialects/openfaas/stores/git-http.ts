/** Git's smart HTTP for reading: what `git clone` and `git fetch` ask, answered by `git upload-pack`. */
import type { ChildProcess } from "node:child_process";
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { Git } from "./git.ts";

export interface UploadPack {
  /** Behind the repository's address. */
  readonly path: string;
  readonly repository: string;
  readonly git: Pick<Git, "spawn">;
}

/** Settles when the response is done or the client has gone; fails where git does, with the response as far as it came. */
export async function serveUploadPack(
  request: IncomingMessage,
  response: ServerResponse,
  at: UploadPack,
): Promise<void> {
  const path = `/${at.path.replace(/^\//, "").replace(/\?.*$/s, "")}`;
  if (path === "/info/refs") await advertise(request, response, at);
  else if (path === "/git-upload-pack") await answer(request, response, at);
  else refuse(response, 404, "There is no such file: this repository speaks git's smart HTTP only.");
}

/** A plain answer, unless one is under way. */
export function refuse(response: ServerResponse, status: number, text: string): void {
  if (response.headersSent) response.destroy();
  else
    response
      .writeHead(status, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-cache" })
      .end(`${text}\n`);
}

const largestBody = 1 << 20;
const longestMs = 60_000;
/** Each is a process, and anyone may ask. */
const mostAtOnce = 16;
let running = 0;

async function advertise(request: IncomingMessage, response: ServerResponse, at: UploadPack): Promise<void> {
  if (request.method !== "GET") {
    response.setHeader("allow", "GET");
    refuse(response, 405, "Only GET.");
    return;
  }
  const service = new URL(request.url ?? "/", "http://localhost").searchParams.get("service");
  if (service !== "git-upload-pack") {
    refuse(response, 403, "This repository can be read by git's smart HTTP, and by nothing else.");
    return;
  }
  // Of the older protocols the answer begins with the service's name.
  const prefix = protocolOf(request)?.includes("version=2") === true ? "" : "001e# service=git-upload-pack\n0000";
  await uploadPack(request, response, { ...at, parameters: ["--advertise-refs"], kind: "advertisement", prefix });
}

async function answer(request: IncomingMessage, response: ServerResponse, at: UploadPack): Promise<void> {
  if (request.method !== "POST") {
    response.setHeader("allow", "POST");
    refuse(response, 405, "Only POST.");
    return;
  }
  if (request.headers["content-type"] !== "application/x-git-upload-pack-request") {
    refuse(response, 415, "Only application/x-git-upload-pack-request.");
    return;
  }
  const body = await readBody(request);
  if (typeof body === "number") {
    response.setHeader("connection", "close");
    refuse(response, body, body === 413 ? `A request has at most ${largestBody} bytes.` : "The body cannot be read.");
  } else await uploadPack(request, response, { ...at, parameters: [], kind: "result", prefix: "", body });
}

interface Exchange extends UploadPack {
  readonly parameters: readonly string[];
  readonly kind: "advertisement" | "result";
  readonly prefix: string;
  readonly body?: Buffer;
}

async function uploadPack(request: IncomingMessage, response: ServerResponse, exchange: Exchange): Promise<void> {
  if (response.destroyed || response.closed) return;
  if (running >= mostAtOnce) {
    response.setHeader("retry-after", "1");
    refuse(response, 503, "Too many clients read the templates; try again.");
    return;
  }
  const { git, repository, parameters, kind, prefix, body } = exchange;
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  response.once("close", leave);
  running++;
  try {
    const protocol = protocolOf(request);
    const child = git.spawn(["upload-pack", "--strict", "--stateless-rpc", ...parameters, repository], {
      stdio: ["pipe", "pipe", "pipe"],
      signal: AbortSignal.any([gone.signal, AbortSignal.timeout(longestMs)]),
      ...(protocol === undefined ? {} : { env: { GIT_PROTOCOL: protocol } }),
    });
    await hand(child, response, { kind, prefix, body });
  } catch (error) {
    if (!gone.signal.aborted) throw error;
  } finally {
    running--;
    response.off("close", leave);
  }
}

/** Gives the child its input and its output to the client; the head waits for the first of it, so that a failure has a status. */
async function hand(
  child: ChildProcess,
  response: ServerResponse,
  { kind, prefix, body }: Pick<Exchange, "kind" | "prefix" | "body">,
): Promise<void> {
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) throw new Error("git has no pipes");
  let complaint = "";
  stderr.setEncoding("utf8").on("data", (text: string) => (complaint = (complaint + text).slice(-1000)));
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`git upload-pack ended with ${String(code ?? signal)}: ${complaint.trim()}`));
    });
  });
  ended.catch(() => {});
  // It may end before it has read all; its code says whether that was right.
  stdin.on("error", () => {}).end(body);

  try {
    const chunks = (stdout as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    const first = await chunks.next();
    if (first.done === true) await ended;
    begin(response, kind);
    await pipeline(async function* () {
      yield Buffer.from(prefix);
      if (first.done !== true) yield first.value;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
      await ended;
    }, response);
  } finally {
    child.kill();
    await ended.catch(() => {});
  }
}

function begin(response: ServerResponse, kind: Exchange["kind"]): void {
  response.writeHead(200, {
    "content-type": `application/x-git-upload-pack-${kind}`,
    "cache-control": "no-cache, max-age=0, must-revalidate",
  });
}

/** What the client says of protocol versions, as a variable of git's. */
function protocolOf(request: IncomingMessage): string | undefined {
  const given = request.headers["git-protocol"];
  return typeof given === "string" && /^[\w.=:-]{1,64}$/.test(given) ? given : undefined;
}

/** The body, unpacked; or the status that refuses it. */
async function readBody(request: IncomingMessage): Promise<Buffer | 400 | 413> {
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (!["identity", "gzip", "x-gzip"].includes(encoding)) return 400;
  const chunks: Buffer[] = [];
  let size = 0;
  const late = setTimeout(() => request.destroy(), longestMs);
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > largestBody) return 413;
      chunks.push(chunk);
    }
  } catch {
    return 400;
  } finally {
    clearTimeout(late);
  }
  const body = Buffer.concat(chunks);
  if (encoding === "identity") return body;
  try {
    return await promisify(gunzip)(body, { maxOutputLength: largestBody });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE" ? 413 : 400;
  }
}
