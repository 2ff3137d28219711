// Log lines in the watchdogs' form.
import { StringDecoder } from "node:string_decoder";

/** `YYYY/MM/DD hh:mm:ss `, as Go's log package begins a line; UTC. */
export function stamp() {
  return new Date().toISOString().slice(0, 19).replace("T", " ").replaceAll("-", "/");
}

export function say(context, text) {
  context.log.error(`${stamp()} ${text}`);
}

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
