/** The platform's own log: structured lines for its operator. Functions' output goes to their invocation records instead. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with fields on every line. */
  with(fields: LogFields): Log;
}

/** Never a secret, never a body. An `error` field is written with its stack. */
export type LogFields = Readonly<Record<string, unknown>>;
