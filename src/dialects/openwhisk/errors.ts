import { asVirgaError, type VirgaError } from "../../core/errors.ts";

/** A refusal in OpenWhisk's words: its body is `{ error, code }`, where `code` is the transaction's id. */
export class WhiskError extends Error {
  override readonly name = "WhiskError";
  readonly status: number;

  constructor(status: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
  }
}

/** Any thrown thing as OpenWhisk would say it. */
export function asWhiskError(thrown: unknown): WhiskError {
  if (thrown instanceof WhiskError) return thrown;
  const error = asVirgaError(thrown);
  return new WhiskError(statusOf(error), textOf(error), error);
}

export function notFound(): WhiskError {
  return new WhiskError(404, "The requested resource does not exist.");
}

export function forbidden(): WhiskError {
  return new WhiskError(403, "The supplied authentication is not authorized to access this resource.");
}

export function malformed(reason: string): WhiskError {
  return new WhiskError(400, `The request content was malformed: ${reason}`);
}

function statusOf(error: VirgaError): number {
  switch (error.code) {
    case "queue_full":
      return 429;
    case "no_instance":
    case "unavailable":
    case "storage_full":
      return 503;
    default:
      // What an action did is told in its activation; what comes this way is ours or the caller's.
      return error.status >= 500 ? 500 : error.status;
  }
}

function textOf({ code, message, detail: { fix } }: VirgaError): string {
  if (code === "not_found") return "The requested resource does not exist.";
  if (code === "internal") return "There was an internal server error.";
  return fix === undefined ? message : `${message} (${fix})`;
}
