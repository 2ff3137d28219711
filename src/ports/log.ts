/**
 * The platform's own log: structured lines for its operator. Functions' output goes to their invocation records instead.
 * A call is one line (with an `error`'s stack below it where people read it), whatever the texts hold, and never throws.
 */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with fields on every line. */
  with(fields: LogFields): Log;
}

/** Never a secret, never a body. An `error` field is written with its stack. `level`, `time` and `msg` are the line's own names. */
export type LogFields = Readonly<Record<string, unknown>>;
