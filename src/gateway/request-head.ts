import type { IncomingMessage } from "node:http";
import { VirgaError } from "../core/errors.ts";
import { isTraceparent } from "../telemetry/trace-context.ts";

/**
 * A request's headers, read once. Node's `request.headers` is not touched on the call path: it would be built for
 * every request, and functions want the flat list.
 */
export class RequestHead {
  /** For the function: flat, names in lower case, without hop-by-hop headers and what the platform reads or sets itself. */
  readonly headers: string[] = [];
  host = "";
  authorization: string | undefined;
  origin: string | undefined;
  prefer: string | undefined;
  requestId: string | undefined;
  traceparent: string | undefined;
  revision: string | undefined;
  tag: string | undefined;
  idempotencyKey: string | undefined;
  requestedMethod: string | undefined;
  requestedHeaders: string | undefined;
  forwardedFor: string | undefined;
  forwardedHost: string | undefined;
  forwardedProto: string | undefined;
  /** -1 where there is no such header. */
  contentLength = -1;
  chunked = false;
  /** The client waits for `100 Continue` before it sends its body. */
  expectsContinue = false;

  get hasBody(): boolean {
    return this.chunked || this.contentLength > 0;
  }

  /** The client wants the answer later, by `Prefer: respond-async` (RFC 7240). */
  get wantsAsync(): boolean {
    return this.prefer !== undefined && /(?:^|,)\s*respond-async\s*(?:$|[,;])/i.test(this.prefer);
  }
}

/** Throws `bad_request` where a header that we read ourselves makes no sense. */
export function readHead(request: IncomingMessage): RequestHead {
  const head = new RequestHead();
  const raw = request.rawHeaders;
  let connection: string | undefined;
  let tracestate: string | undefined;
  for (let index = 0; index < raw.length; index += 2) {
    const name = nameOf(raw[index] as string);
    const value = raw[index + 1] as string;
    switch (name.role) {
      case Pass:
        head.headers.push(name.lower, value);
        break;
      case Drop:
        break;
      default:
        if (name.lower === "connection") connection = value;
        else if (name.lower === "tracestate") tracestate = value;
        else take(head, name.lower, value);
    }
  }
  // Without a valid `traceparent`, `tracestate` must not be handed on (Trace Context, section 3.3).
  if (head.traceparent !== undefined && tracestate !== undefined) head.headers.push("tracestate", tracestate);
  if (connection !== undefined && connection !== "keep-alive" && connection !== "close")
    dropNamed(head.headers, connection);
  return head;
}

interface HeaderName {
  readonly lower: string;
  readonly role: typeof Pass | typeof Drop | typeof Take;
}

const Pass = 0;
const Drop = 1;
const Take = 2;

/** Hop-by-hop (RFC 9110 section 7.6.1) and what only concerns this connection. */
const dropped = new Set([
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
]);

const taken = new Set([
  "access-control-request-headers",
  "access-control-request-method",
  "authorization",
  "connection",
  "content-length",
  "expect",
  "host",
  "idempotency-key",
  "origin",
  "prefer",
  "traceparent",
  "tracestate",
  "transfer-encoding",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-request-id",
]);

/** Header names as clients write them. Clients write the same few; strangers' inventions must not fill the memory. */
const names = new Map<string, HeaderName>();
const mostNames = 1024;

function nameOf(raw: string): HeaderName {
  return names.get(raw) ?? learn(raw);
}

function learn(raw: string): HeaderName {
  const lower = raw.toLowerCase();
  // All of `x-virga-` is ours: a function may trust what it finds under such a name.
  const ours = lower.startsWith("x-virga-");
  const role = dropped.has(lower) ? Drop : ours || taken.has(lower) ? Take : Pass;
  const name: HeaderName = { lower, role };
  if (names.size < mostNames) names.set(raw, name);
  return name;
}

/** The headers that the platform reads. Those that the function should see too are pushed on here. */
function take(head: RequestHead, name: string, value: string): void {
  switch (name) {
    case "authorization":
      head.authorization = value;
      return;
    case "content-length":
      head.contentLength = Number(value);
      if (!Number.isSafeInteger(head.contentLength)) {
        throw new VirgaError("bad_request", "content-length is no number of bytes", { field: "content-length" });
      }
      break;
    case "host":
      head.host = value;
      break;
    case "idempotency-key":
      head.idempotencyKey = value;
      break;
    case "origin":
      head.origin = value;
      break;
    case "access-control-request-method":
      head.requestedMethod = value;
      break;
    case "access-control-request-headers":
      head.requestedHeaders = value;
      break;
    case "prefer":
      head.prefer = head.prefer === undefined ? value : `${head.prefer},${value}`;
      break;
    case "traceparent":
      if (head.traceparent === undefined && isTraceparent(value)) head.traceparent = value;
      return;
    case "expect":
      head.expectsContinue = true;
      return;
    case "transfer-encoding":
      head.chunked = true;
      return;
    case "x-forwarded-for":
      head.forwardedFor = head.forwardedFor === undefined ? value : `${head.forwardedFor}, ${value}`;
      return;
    case "x-forwarded-host":
      head.forwardedHost ??= value;
      return;
    case "x-forwarded-proto":
      head.forwardedProto ??= value;
      return;
    case "x-request-id":
      head.requestId ??= value;
      return;
    case "x-virga-revision":
      head.revision = value;
      return;
    case "x-virga-tag":
      head.tag = value;
      return;
    default:
      return;
  }
  head.headers.push(name, value);
}

/** Takes out what `Connection: name, name` declares hop-by-hop. */
function dropNamed(headers: string[], connection: string): void {
  for (const option of connection.toLowerCase().split(",")) {
    const name = option.trim();
    // These say something about the message, whatever a client claims.
    if (name === "host" || name === "content-length" || name === "content-type") continue;
    for (let index = headers.length - 2; index >= 0; index -= 2) {
      if (headers[index] === name) headers.splice(index, 2);
    }
  }
}
