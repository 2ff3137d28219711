import { asVirgaError, VirgaError } from "../../core/errors.ts";

/** What is wrong with a request, as OpenFaaS answers it: a status and a text. */
export class FaasError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The engine's errors in the control plane's words. */
export function asFaasError(thrown: unknown): FaasError {
  if (thrown instanceof FaasError) return thrown;
  const error = asVirgaError(thrown);
  const { fix, location, log } = error.detail;
  const text = [error.message, location, fix, log].filter((part) => part !== undefined && part !== "").join("\n");
  return new FaasError(error.code === "internal" ? 500 : error.status, text);
}

/** A call that could not be made, or did not end well (contract section 2.2). `internal` names who says so. */
export interface CallFailure {
  readonly status: number;
  readonly text: string;
  readonly internal: string;
}

export function callFailure(error: VirgaError, { name, namespace }: { name: string; namespace: string }): CallFailure {
  switch (error.code) {
    case "not_found":
      return {
        status: 404,
        text: `error finding function ${name}.${namespace}: ${error.message}`,
        internal: "gateway",
      };
    case "unauthenticated":
    case "forbidden":
      return { status: 401, text: "invalid credentials", internal: "gateway" };
    case "timeout":
      return {
        status: 502,
        text: `${name} did not answer in time: raise its environment variables exec_timeout and write_timeout`,
        internal: "gateway",
      };
    case "start_failed":
    case "function_crashed":
    case "out_of_memory":
      return { status: 500, text: `Can't reach service for: ${name}.`, internal: "proxy" };
    case "function_error":
      return { status: 500, text: error.message, internal: "of-watchdog" };
    case "queue_full":
      return { status: 429, text: error.message, internal: "gateway" };
    case "no_instance":
    case "unavailable":
      return { status: 503, text: `No endpoints available for: ${name}.`, internal: "proxy" };
    default:
      return { status: error.status, text: error.message, internal: "gateway" };
  }
}
