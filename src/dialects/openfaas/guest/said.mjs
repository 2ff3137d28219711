// Log lines in the watchdogs' form.
import { StringDecoder } from "node:string_decoder";

/** `YYYY/MM/DD hh:mm:ss `, as Go's log package begins a line; UTC. */
export function stamp() {
  const second = Math.floor(Date.now() / 1000);
  if (second !== stamped.second) {
    stamped.text = new Date(second * 1000).toISOString().slice(0, 19).replace("T", " ").replaceAll("-", "/");
    stamped.second = second;
  }
  return stamped.text;
}

/** The same for all lines of a second. */
const stamped = { second: -1, text: "" };

export function say(context, text) {
  context.log.error(`${stamp()} ${text}`);
}

/** What of-watchdog says of each request to a server: `POST / - 200 OK - ContentLength: 8B (0.0023s)`. `bytes` below 0: not known. */
export function summarise(context, { method, url, headers }, status, bytes, began) {
  const at = url.indexOf("/", url.indexOf("//") + 2);
  const seconds = ((performance.now() - began) / 1000).toFixed(4);
  const reason = reasons[status] ?? "";
  const size = humanSize(bytes);
  const id = process.env.log_callid === "true" ? ` [${headers.get("x-call-id") ?? "none"}]` : "";
  const path = at < 0 ? "/" : url.slice(at);
  say(context, `${method} ${path} - ${status} ${reason} - ContentLength: ${size} (${seconds}s)${id}`);
}

/** As Docker's units package writes it: four digits at most, in powers of 1000. */
function humanSize(bytes) {
  if (bytes < 1000) return `${bytes}B`;
  let [size, unit] = [bytes, 0];
  for (; size >= 1000 && unit < units1000.length - 1; unit++) size /= 1000;
  return `${Number(size.toPrecision(4))}${units1000[unit]}`;
}

const units1000 = ["B", "kB", "MB", "GB", "TB"];

/** Node's own list comes with its HTTP, which takes longer to load than most functions run. */
const reasons = {
  200: "OK",
  201: "Created",
  202: "Accepted",
  204: "No Content",
  206: "Partial Content",
  301: "Moved Permanently",
  302: "Found",
  303: "See Other",
  304: "Not Modified",
  307: "Temporary Redirect",
  308: "Permanent Redirect",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  412: "Precondition Failed",
  413: "Request Entity Too Large",
  415: "Unsupported Media Type",
  418: "I'm a teapot",
  422: "Unprocessable Entity",
  429: "Too Many Requests",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** Calls `line` for each line of what is pushed, and at the end for what has no end of line. */
export function lineSplitter(line) {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  const take = (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    if (rest.length > longestLine) {
      lines.push(rest);
      rest = "";
    }
    for (const one of lines) line(one.endsWith("\r") ? one.slice(0, -1) : one);
  };
  return {
    push: (chunk) => take(decoder.write(chunk)),
    end() {
      take(decoder.end());
      if (rest !== "") line(rest);
    },
  };
}

/** Calls `line` for each line of a stream, the last one without its end too. */
export function eachLine(stream, line) {
  const lines = lineSplitter(line);
  stream.on("data", (chunk) => lines.push(chunk));
  stream.once("end", () => lines.end());
}

const longestLine = 65_536;

/** `1.5s`, `2m`, or a whole number of seconds, in milliseconds; 0 for none. */
export function durationMs(text, fallbackMs) {
  if (text === undefined || text === "") return fallbackMs;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)) total += Number(amount) * units[unit];
  return total;
}

const units = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
