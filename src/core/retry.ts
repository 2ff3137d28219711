import type { ErrorCode } from "./errors.ts";
import type { AsyncPolicy } from "./model.ts";

/** How one attempt of an asynchronous call ended. */
export type AttemptOutcome =
  /** `retryAfterMs`: what it asks for by `Retry-After`. */
  | { readonly kind: "answered"; readonly status: number; readonly retryAfterMs?: number }
  | { readonly kind: "failed"; readonly code: ErrorCode };

export type NextStep =
  | { readonly kind: "succeed" }
  /** It has failed, and that is its end. */
  | { readonly kind: "fail" }
  /** `counted`: false where user code was never reached; such an attempt uses up none of `maxAttempts`. */
  | { readonly kind: "retry"; readonly delayMs: number; readonly counted: boolean }
  | { readonly kind: "bury"; readonly reason: string; readonly code: ErrorCode };

/**
 * What follows an attempt. Answers below 500 are successes (the function spoke; a 4xx would be the same again);
 * 5xx answers and failures of the run come again; failures that another run cannot change do not.
 */
export function nextStep(
  outcome: AttemptOutcome,
  state: { readonly attempt: number; readonly ageMs: number; readonly random: number },
  policy: AsyncPolicy,
): NextStep {
  if (outcome.kind === "answered" && !comesAgain(outcome.status, policy)) {
    return { kind: outcome.status < 500 ? "succeed" : "fail" };
  }
  const code = outcome.kind === "failed" ? outcome.code : "function_error";
  const what = outcome.kind === "failed" ? outcome.code : `answered ${outcome.status}`;
  const counted = !neverRan.has(code);
  if (counted && policy.retry === "interruptions") return { kind: "fail" };
  if (permanent.has(code)) return { kind: "bury", reason: what, code };
  if (counted && state.attempt >= policy.maxAttempts) {
    return { kind: "bury", reason: `${what}, after ${state.attempt} of ${policy.maxAttempts} attempts`, code };
  }
  const wishedMs = outcome.kind === "answered" ? (outcome.retryAfterMs ?? 0) : 0;
  const delayMs = Math.max(retryDelayMs(state.attempt, policy, state.random), wishedMs);
  if (state.ageMs + delayMs > policy.maxAgeMs) {
    return {
      kind: "bury",
      reason: `${what}, and older than ${policy.maxAgeMs} ms before the next attempt`,
      code: "too_old",
    };
  }
  return { kind: "retry", delayMs, counted };
}

/** Whether an answer of this status is a failed attempt. */
export function comesAgain(status: number, { retryStatuses }: AsyncPolicy): boolean {
  return retryStatuses === undefined ? status >= 500 : retryStatuses.includes(status);
}

/** Full jitter: uniform in [0, the exponential step), so that calls that failed together do not come back together. */
export function retryDelayMs(attempt: number, policy: AsyncPolicy, random: number): number {
  const step = Math.min(policy.maxBackoffMs, policy.backoffMs * 2 ** Math.min(attempt - 1, 40));
  return Math.floor(step * random);
}

/** Another run would end the same. */
const permanent: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "bad_request",
  "invalid_field",
  "unauthenticated",
  "forbidden",
  "not_found",
  "method_not_allowed",
  "request_too_large",
  "headers_too_large",
  "response_too_large",
  "loop_detected",
  "cancelled",
  "too_old",
]);

/** The call did not reach user code. */
const neverRan: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["queue_full", "no_instance", "unavailable"]);
