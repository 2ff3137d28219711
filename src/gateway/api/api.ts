/**
 * The native API under `/v1` (`docs/api.md`): who asks, may they, is what they send well formed; then the endpoint runs.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Hono, type Context } from "hono";
import { asVirgaError, VirgaError } from "../../core/errors.ts";
import type { Token } from "../../core/model.ts";
import { requestId } from "../../telemetry/request-id.ts";
import type { CallPath } from "../call-path.ts";
import { authenticate, sees } from "../credential.ts";
import type { GatewayOptions } from "../gateway.ts";
import type { RequestHead } from "../request-head.ts";
import { belongingEndpoints } from "./belongings.ts";
import { readJson } from "./body.ts";
import { type Binding, bridge } from "./bridge.ts";
import { callEndpoints } from "./calls.ts";
import { type ApiRequest, type Endpoint, endpoint, json, type ParameterName, parameters } from "./endpoint.ts";
import { check } from "./field-error.ts";
import { eventEndpoints } from "./events.ts";
import { functionEndpoints } from "./functions.ts";
import { invocationEndpoints } from "./invocations.ts";
import { openApiDocument } from "./openapi.ts";
import * as schemas from "./schemas.ts";
import { tenantEndpoints } from "./tenants.ts";
import { workflowEndpoints } from "./workflows.ts";

export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly node: string;
  readonly sandbox: string;
  readonly startedAt: number;
}

export type Api = (request: IncomingMessage, response: ServerResponse, head: RequestHead) => void;

export function createApi(options: GatewayOptions, path: CallPath): Api {
  const { clock, config, identify, log, metrics } = options;
  const endpoints = apiEndpoints(options, path);
  let document: string | undefined;
  const app = new Hono<{ Bindings: Binding }>();

  app.get("/v1/openapi.json", (context) => {
    authenticate(options.engine.access, context.env.head.authorization);
    // Made at the first question: a start of the platform has no time for it.
    document ??= JSON.stringify(openApiDocument(endpoints));
    return new Response(document, { headers: { "content-type": "application/json" } });
  });
  for (const one of endpoints) {
    // Hono answers HEAD from GET; where GET is nothing of its own, its place is for HEAD alone.
    const method = one.method === "head" ? "get" : one.method;
    app.on(method, one.path.replaceAll(/\{(\w+)\}/g, ":$1"), (context) =>
      one.method === "head" && context.req.method !== "HEAD" ? notAllowed(one.path) : serve(one, context),
    );
  }
  for (const path of new Set(endpoints.map((one) => one.path))) {
    app.all(path.replaceAll(/\{(\w+)\}/g, ":$1"), () => notAllowed(path));
  }
  app.notFound((context) => {
    authenticate(options.engine.access, context.env.head.authorization);
    throw new VirgaError("not_found", `the API has nothing at ${context.req.path.slice(0, 200)}`, {
      fix: "its paths are at /v1/openapi.json",
    });
  });
  app.onError((thrown) => {
    const error = asVirgaError(thrown);
    if (error.kind === "system") log.error("the API failed", { error: thrown });
    const headers: Record<string, string> = {};
    if (error.code === "unauthenticated") headers["www-authenticate"] = 'Bearer realm="virga"';
    if (error.kind === "transient") headers["retry-after"] = "1";
    return json(error.toBody(), error.status, headers);
  });

  function notAllowed(path: string): Response {
    const methods = endpoints.filter((one) => one.path === path).map((one) => one.method.toUpperCase());
    const error = new VirgaError("method_not_allowed", `this path takes ${methods.join(", ")}`);
    return json(error.toBody(), error.status, { allow: methods.join(", ") });
  }

  async function serve(one: Endpoint, context: Context<{ Bindings: Binding }>): Promise<Response> {
    const { incoming, head, id } = context.env;
    const token = authenticate(options.engine.access, head.authorization);
    const params = readParameters(context.req.param());
    permit(options, one, token, params.namespace);
    const query = one.query === undefined ? noQuery(context) : check(one.query.strict(), readQuery(context));
    let body: unknown;
    if (one.body !== undefined) {
      body = await readJson(incoming, clock, config.requestTimeoutMs);
      if (body === undefined && one.body.optional === true) body = {};
      if (body === undefined) throw new VirgaError("bad_request", "a JSON body is missing", { fix: "send one" });
      body = check(one.body.schema, body);
    }
    const origin = `${"encrypted" in incoming.socket ? "https" : "http"}://${head.host}`;
    const request: ApiRequest = {
      params,
      query,
      body,
      token,
      incoming,
      requestId: id,
      signal: context.req.raw.signal,
      origin,
    };
    return one.run(request);
  }

  return (request, response, head) => {
    const id = requestId(head.requestId, identify);
    bridge(app, request, response, head, id, clock).then(
      () => metrics.request("api", response.statusCode),
      (thrown: unknown) => {
        log.error("an answer of the API could not be sent", { error: thrown });
        response.destroy();
      },
    );
  };
}

/** Everything under `/v1` but the invoke API, which is the call path's. */
export function apiEndpoints(options: GatewayOptions, path: CallPath): Endpoint[] {
  const { engine, blobs, clock, metrics, config } = options;
  const { rates, requestTimeoutMs } = config;
  return [
    endpoint({
      method: "get",
      path: "/v1",
      summary: "The server",
      access: "token",
      answers: { 200: { description: "What it is", schema: schemas.serverInfo } },
      run: () => json(config.info),
    }),
    ...tenantEndpoints(engine.access),
    ...functionEndpoints(engine, metrics, clock),
    ...callEndpoints(engine, path, clock),
    ...invocationEndpoints(engine, options.values),
    ...workflowEndpoints(engine.workflows),
    ...eventEndpoints({ events: engine.events, clock, requestTimeoutMs }),
    ...belongingEndpoints({ engine, blobs, rates, clock, requestTimeoutMs }),
    ...(options.endpoints ?? []),
  ];
}

/** Throws `forbidden`, or `not_found` where the token is not even to know whether the namespace exists. */
function permit({ engine }: GatewayOptions, { access }: Endpoint, token: Token, namespace: string): void {
  switch (access) {
    case "token":
      return;
    case "administrator":
      if (token.namespaces === "*" && token.role === "admin") return;
      throw new VirgaError("forbidden", "this is for administrators of the platform", {
        fix: "use a token that opens all namespaces",
      });
    default:
      if (!sees(token, namespace) || !engine.access.hasNamespace(namespace)) {
        throw new VirgaError("not_found", `there is no namespace ${namespace}`, {
          fix: "check its name, and that the token opens it",
        });
      }
      if (engine.access.allows(token, namespace, access)) return;
      throw new VirgaError("forbidden", "this token may only call functions", { fix: "use one with the role admin" });
  }
}

function readParameters(given: Record<string, string>): Record<ParameterName, string> {
  for (const [key, value] of Object.entries(given)) {
    const parsed = parameters[key as ParameterName].safeParse(value);
    if (!parsed.success) {
      throw new VirgaError("invalid_field", `${key} ${parsed.error.issues[0]?.message ?? "is wrong"}`, {
        field: key,
        fix: "check the path",
      });
    }
  }
  return given;
}

function readQuery(context: Context): Record<string, string> {
  const query: Record<string, string> = {};
  for (const [key, values] of Object.entries(context.req.queries())) {
    if (values.length > 1) {
      throw new VirgaError("invalid_field", `${key} is given ${values.length} times`, {
        field: key,
        fix: "give it once",
      });
    }
    query[key] = values[0] ?? "";
  }
  return query;
}

function noQuery(context: Context): Record<string, never> {
  const [unknown] = Object.keys(readQuery(context));
  if (unknown === undefined) return {};
  throw new VirgaError("invalid_field", `there is no query parameter ${unknown} here`, {
    field: unknown,
    fix: "leave it out",
  });
}
