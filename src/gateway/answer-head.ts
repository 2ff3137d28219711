import { VirgaError } from "../core/errors.ts";

/** What a function's answer begins with, made fit for the wire. */
export interface AnswerHead {
  readonly status: number;
  /** Flat. Hop-by-hop headers, `content-length` and `x-virga-…` are taken out. */
  readonly headers: string[];
  /** The function's own `content-length`; -1 where it gave none. */
  readonly declaredLength: number;
}

/**
 * Throws `invalid_response` for a status outside of 200–599 and a `content-length` that is no number.
 * Names and values are checked by `writeHead`, which would do it in any case.
 */
export function answerHead(status: number, headers: readonly string[], withCors: boolean): AnswerHead {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new VirgaError("invalid_response", `the function answered with status ${status}`, {
      fix: "answer with a status from 200 to 599",
    });
  }
  const kept: string[] = [];
  let declaredLength = -1;
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] as string;
    const value = headers[index + 1] as string;
    switch (roleOf(name)) {
      case Pass:
        kept.push(name, value);
        break;
      case Length:
        declaredLength = Number(value);
        if (!Number.isSafeInteger(declaredLength) || declaredLength < 0) {
          throw new VirgaError("invalid_response", "the function's content-length is no number of bytes", {
            fix: "leave it out; it is computed",
          });
        }
        break;
      case Cors:
        // The function's declared policy is the one that holds.
        if (!withCors) kept.push(name, value);
        break;
      default:
    }
  }
  return { status, headers: kept, declaredLength };
}

/** Answers of these statuses have no body (RFC 9110 section 6.4.1). */
export function isBodiless(method: string | undefined, status: number): boolean {
  return status === 204 || status === 304 || method === "HEAD";
}

const Pass = 0;
const Drop = 1;
const Length = 2;
const Cors = 3;

const dropped = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-request-id",
]);

/** Roles by name as functions write it; bounded, as names may come from user code. */
const roles = new Map<string, number>();
const mostNames = 1024;

function roleOf(name: string): number {
  const known = roles.get(name);
  if (known !== undefined) return known;
  const lower = name.toLowerCase();
  let role = Pass;
  if (lower === "content-length") role = Length;
  else if (dropped.has(lower) || lower.startsWith("x-virga-")) role = Drop;
  else if (lower.startsWith("access-control-")) role = Cors;
  if (roles.size < mostNames) roles.set(name, role);
  return role;
}
