import type { AsyncPolicy } from "../../core/model.ts";
import { durationMs } from "./deployment.ts";
import { FaasError } from "./errors.ts";

/**
 * `com.openfaas.retry.…` (contract section 1). A function without them is not run again for what it answered, but for 429: that is
 * how a full one asks for patience. What never reached the function comes again in any case.
 */
export function readRetryAnnotations(annotations: Readonly<Record<string, string>> = {}): Partial<AsyncPolicy> {
  const [attempts, codes, least, most] = ["attempts", "codes", "min_wait", "max_wait"].map((name) => {
    const text = annotations[prefix + name]?.trim();
    return text === "" ? undefined : text;
  });
  const isAsked = [attempts, codes, least, most].some((text) => text !== undefined);
  const maxAttempts = Number(attempts ?? 10);
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1 || maxAttempts > 1000)
    throw new FaasError(400, `annotation ${prefix}attempts: ${JSON.stringify(attempts)} is no number from 1 to 1000`);
  const backoffMs = durationMs(least ?? "10s", `annotation ${prefix}min_wait`);
  const maxBackoffMs = durationMs(most ?? "120s", `annotation ${prefix}max_wait`);
  if (backoffMs > maxBackoffMs)
    throw new FaasError(400, `annotation ${prefix}min_wait is longer than ${prefix}max_wait`);
  const retryStatuses = codes === undefined ? (isAsked ? defaultCodes : [429]) : codes.split(",").map(codeOf);
  return { maxAttempts, backoffMs, maxBackoffMs, retryStatuses };
}

function codeOf(text: string): number {
  const code = Number(text.trim());
  if (Number.isInteger(code) && code >= 100 && code <= 599) return code;
  throw new FaasError(400, `annotation ${prefix}codes: ${JSON.stringify(text.trim())} is no status of HTTP`);
}

const prefix = "com.openfaas.retry.";
const defaultCodes = [408, 429, 500, 502, 504];
