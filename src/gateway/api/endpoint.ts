/** What an endpoint of the native API is: data, from which its route, its checks and its documentation come. */
import type { IncomingMessage } from "node:http";
import { z } from "@hono/zod-openapi";
import type { Token } from "../../core/model.ts";
import { digest, identifier, name, resourceName, variable } from "./schemas.ts";

export interface Endpoint {
  readonly method: "get" | "put" | "post" | "delete" | "head";
  /** With parameters in braces. */
  readonly path: string;
  readonly summary: string;
  /**
   * Who may. `token`: everyone with a token; `administrator`: with one for the whole platform; the others are about
   * the namespace in the path.
   */
  readonly access: "token" | "administrator" | "read" | "change" | "invoke";
  readonly query?: z.ZodObject;
  /** JSON, up to 1 MiB. `optional`: an empty body counts as `{}`. */
  readonly body?: { readonly schema: z.ZodType; readonly documented?: z.ZodType; readonly optional?: boolean };
  /** The body is no JSON; `run` reads it. */
  readonly rawBody?: string;
  readonly answers: Readonly<Record<number, Answer>>;
  run(request: ApiRequest): Response | Promise<Response>;
}

export interface Answer {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** `application/json` where absent. */
  readonly type?: string;
}

export interface ApiRequest<Q = Record<string, unknown>, B = unknown> {
  readonly params: Readonly<Record<ParameterName, string>>;
  readonly query: Q;
  readonly body: B;
  readonly token: Token;
  readonly incoming: IncomingMessage;
  readonly requestId: string;
  /** Aborted when the client leaves before its answer is complete. */
  readonly signal: AbortSignal;
  /** `http://host:port`, as the client reached us. */
  readonly origin: string;
}

export type ParameterName = keyof typeof parameters;

/** What stands in the braces of a path, by name. */
export const parameters = {
  namespace: name,
  function: resourceName,
  sha256: digest,
  number: z.string().regex(/^[1-9]\d{0,8}$/, "is no revision number"),
  id: identifier,
  secret: variable,
  topic: resourceName,
  subscription: resourceName,
  source: resourceName,
  workflow: resourceName,
};

/** Types an endpoint's query and body by its schemas. */
export function endpoint<Q extends z.ZodObject = z.ZodObject<z.core.$ZodShape>, B extends z.ZodType = z.ZodUndefined>(
  definition: Omit<Endpoint, "query" | "body" | "run"> & {
    readonly query?: Q;
    readonly body?: { readonly schema: B; readonly documented?: z.ZodType; readonly optional?: boolean };
    run(request: ApiRequest<z.output<Q>, z.output<B>>): Response | Promise<Response>;
  },
): Endpoint {
  return definition;
}

export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  const body = Buffer.from(JSON.stringify(value));
  return new Response(body, {
    status,
    headers: { "content-type": "application/json", "content-length": String(body.length), ...headers },
  });
}

export function noContent(): Response {
  return new Response(null, { status: 204 });
}

/** One page of a list that is at hand as a whole, sorted by `key`. */
export function pageOf<T>(
  all: readonly T[],
  key: (item: T) => string,
  { after, limit }: { readonly after?: string | undefined; readonly limit: number },
): Response {
  const start = after === undefined ? 0 : all.findIndex((item) => key(item) === after) + 1;
  return pageFrom(after !== undefined && start === 0 ? [] : all.slice(start, start + limit + 1), key, limit);
}

/** One page from up to `limit` + 1 items: the one too many says that there is another page. */
export function pageFrom<T>(items: readonly T[], key: (item: T) => string, limit: number): Response {
  const page = items.slice(0, limit);
  const last = page.at(-1);
  return json({ items: page, ...(items.length > limit && last !== undefined ? { next: key(last) } : {}) });
}
