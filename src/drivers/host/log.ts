import { pino, type DestinationStream, type Logger } from "pino";
import type { Log, LogFields } from "../../ports/log.ts";

export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  /** One readable line each instead of JSON. */
  readonly pretty: boolean;
  /** Where lines go; standard error by default. */
  readonly destination?: { write(text: string): unknown };
}

/** The operator's log: JSON lines by pino, or lines for people on a terminal. */
export function createLog({ level, pretty, destination = process.stderr }: LogOptions): Log {
  const stream: DestinationStream = {
    write: (line) => void destination.write(withoutControls(pretty ? readable(line) : line)),
  };
  return wrap(pino({ level, base: undefined, serializers: { error: pino.stdSerializers.err } }, stream));
}

function wrap(logger: Logger): Log {
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
    with: (fields: LogFields) => wrap(logger.child(fields)),
  };
}

const levels: Readonly<Record<number, string>> = { 20: "debug", 30: "info", 40: "warning", 50: "error" };

function readable(line: string): string {
  const { level, time, msg, error, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const stack = (error as { stack?: unknown } | undefined)?.stack;
  const clock = new Date(Number(time)).toTimeString().slice(0, 8);
  // What was thrown need not be an Error.
  const rest = Object.entries(typeof stack === "string" || error === undefined ? fields : { ...fields, error }).map(
    ([name, value]) => `${name}=${typeof value === "string" ? printable(value) : JSON.stringify(value)}`,
  );
  const text = [clock, levels[Number(level)] ?? level, printable(String(msg)), ...rest].join(" ");
  return `${text}\n${typeof stack === "string" ? `${stack}\n` : ""}`;
}

/** What could end the line is written as in JSON. */
function printable(text: string): string {
  return /[\r\n]/.test(text) ? JSON.stringify(text) : text;
}

/** What could command the terminal, as JSON would write it. JSON itself leaves U+007F–U+009F as they are. */
function withoutControls(text: string): string {
  return text.replaceAll(/[^\P{Cc}\n]/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
