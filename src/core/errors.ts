/**
 * The one error catalogue. A code is a stable name; the kind says whose turn it is:
 * `user` (change the request or the code), `limit` (a limit was reached), `transient` (try again), `system` (our fault).
 * `status` is the HTTP status that the native API answers with. Dialects map codes to their own texts.
 */
export type ErrorKind = "user" | "limit" | "transient" | "system";

interface CatalogueEntry {
  readonly kind: ErrorKind;
  readonly status: number;
}

export const catalogue = {
  // requests
  bad_request: { kind: "user", status: 400 },
  invalid_field: { kind: "user", status: 400 },
  invalid_archive: { kind: "user", status: 400 },
  unauthenticated: { kind: "user", status: 401 },
  forbidden: { kind: "user", status: 403 },
  not_found: { kind: "user", status: 404 },
  method_not_allowed: { kind: "user", status: 405 },
  request_timeout: { kind: "limit", status: 408 },
  conflict: { kind: "user", status: 409 },
  request_too_large: { kind: "limit", status: 413 },
  archive_too_large: { kind: "limit", status: 413 },
  headers_too_large: { kind: "limit", status: 431 },
  queue_full: { kind: "limit", status: 429 },
  // builds
  build_failed: { kind: "user", status: 422 },
  build_timeout: { kind: "limit", status: 422 },
  runtime_unknown: { kind: "user", status: 422 },
  runtime_unavailable: { kind: "system", status: 422 },
  start_failed: { kind: "user", status: 422 },
  // calls
  function_error: { kind: "user", status: 502 },
  function_crashed: { kind: "user", status: 502 },
  invalid_response: { kind: "user", status: 502 },
  response_too_large: { kind: "limit", status: 502 },
  out_of_memory: { kind: "limit", status: 502 },
  timeout: { kind: "limit", status: 504 },
  no_instance: { kind: "transient", status: 503 },
  cancelled: { kind: "user", status: 499 },
  attempt_interrupted: { kind: "transient", status: 503 },
  loop_detected: { kind: "user", status: 508 },
  too_old: { kind: "limit", status: 504 },
  // platform
  unavailable: { kind: "transient", status: 503 },
  storage_full: { kind: "system", status: 507 },
  storage_corrupt: { kind: "system", status: 500 },
  internal: { kind: "system", status: 500 },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;

export interface ErrorDetail {
  /** The way out, in one sentence. */
  readonly fix?: string;
  /** The field at fault, as a path: `limits.memoryMb`. */
  readonly field?: string;
  /** Where in the user's own file: `handler.ts:12:5`. */
  readonly location?: string;
  /** The user's stack, mapped to source. */
  readonly stack?: string;
  /** The last lines of a build's or start's output. */
  readonly log?: string;
  readonly cause?: unknown;
}

/** The only error that rooms throw at each other on purpose. */
export class VirgaError extends Error {
  override readonly name = "VirgaError";
  readonly code: ErrorCode;
  readonly detail: ErrorDetail;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.code = code;
    this.detail = detail;
  }

  get kind(): ErrorKind {
    return catalogue[this.code].kind;
  }

  get status(): number {
    return catalogue[this.code].status;
  }

  /** The body of an API answer: `{ "error": { code, message, fix, field, location, … } }`. */
  toBody(): { error: Record<string, string> } {
    const error: Record<string, string> = { code: this.code, message: this.message };
    for (const key of ["fix", "field", "location", "stack", "log"] as const) {
      const value = this.detail[key];
      if (value !== undefined) error[key] = value;
    }
    return { error };
  }
}

/** Any thrown thing as a VirgaError; what is not one already becomes `internal`. */
export function asVirgaError(thrown: unknown): VirgaError {
  if (thrown instanceof VirgaError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new VirgaError("internal", message, { cause: thrown });
}
