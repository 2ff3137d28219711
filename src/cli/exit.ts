import type { ErrorCode } from "../core/errors.ts";

/** Exit codes of every command; `docs/cli.md` describes them. */
export const exit = {
  ok: 0,
  /** The function or the operation failed. */
  failed: 1,
  /** The command line or a file was not understood. */
  usage: 2,
  /** The server cannot be reached or is not ready. */
  unreachable: 3,
  /** The credential is missing, unknown or not allowed to do this. */
  denied: 4,
  notFound: 5,
  conflict: 6,
  /** A limit was reached: something is too large, or a queue or disk is full. */
  limit: 7,
  /** Ended by Ctrl-C: 128 + SIGINT. */
  interrupted: 130,
} as const;

/** Codes that are not listed mean that the operation failed. */
const codes: Partial<Record<ErrorCode, number>> = {
  bad_request: exit.usage,
  invalid_field: exit.usage,
  invalid_archive: exit.usage,
  method_not_allowed: exit.usage,
  unavailable: exit.unreachable,
  unauthenticated: exit.denied,
  forbidden: exit.denied,
  not_found: exit.notFound,
  conflict: exit.conflict,
  request_too_large: exit.limit,
  archive_too_large: exit.limit,
  headers_too_large: exit.limit,
  queue_full: exit.limit,
  storage_full: exit.limit,
};

export function exitCodeOf(code: ErrorCode): number {
  return codes[code] ?? exit.failed;
}
