import { z } from "@hono/zod-openapi";
import { VirgaError } from "../../core/errors.ts";
import type { RateCard, Route } from "../../core/model.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import { received } from "./body.ts";
import { type Endpoint, endpoint, json, noContent, pageOf } from "./endpoint.ts";
import * as schemas from "./schemas.ts";

const namespace = "/v1/namespaces/{namespace}";

/** The largest source archive. */
const mostSourceBytes = 512 * 2 ** 20;

export interface BelongingsOptions {
  readonly engine: Engine;
  readonly blobs: Blobs;
  readonly rates: RateCard;
  readonly clock: Clock;
  readonly requestTimeoutMs: number;
}

/** What a namespace has beside functions: source archives, secrets, routes, usage. */
export function belongingEndpoints({ engine, blobs, rates, clock, requestTimeoutMs }: BelongingsOptions): Endpoint[] {
  const { secrets, routes, usage } = engine;
  return [
    endpoint({
      method: "put",
      path: `${namespace}/sources/{sha256}`,
      summary: "Uploads a source archive (tar, tar.gz or zip), checked against its name",
      access: "change",
      rawBody: "The archive, up to 512 MiB.",
      answers: { 200: { description: "It was there" }, 201: { description: "Stored" } },
      async run({ params: { sha256 }, incoming }) {
        if (await blobs.has(sha256)) return json({ digest: sha256 });
        const length = Number(incoming.headers["content-length"] ?? 0);
        if (length > mostSourceBytes) throw sourceTooLarge();
        const stored = await blobs.put(received(incoming, clock, requestTimeoutMs), {
          expect: sha256,
          maxBytes: mostSourceBytes,
        });
        return json(stored, 201);
      },
    }),
    endpoint({
      method: "head",
      path: `${namespace}/sources/{sha256}`,
      summary: "Asks whether a source archive is there",
      access: "change",
      answers: { 200: { description: "It is" }, 404: { description: "It is not" } },
      async run({ params: { sha256 } }) {
        return new Response(null, { status: (await blobs.has(sha256)) ? 200 : 404 });
      },
    }),
    endpoint({
      method: "get",
      path: `${namespace}/secrets`,
      summary: "Names of secrets; values are never given back",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Secrets by name", schema: schemas.listOf(schemas.secret) } },
      run: async ({ params, query }) => pageOf(await secrets.list(params.namespace), ({ name }) => name, query),
    }),
    endpoint({
      method: "put",
      path: `${namespace}/secrets/{secret}`,
      summary: "Sets a secret",
      access: "change",
      body: { schema: schemas.secretValue },
      answers: { 204: { description: "Set" } },
      async run({ params, body }) {
        await secrets.put(params.namespace, params.secret, body.value);
        return noContent();
      },
    }),
    endpoint({
      method: "delete",
      path: `${namespace}/secrets/{secret}`,
      summary: "Deletes a secret",
      access: "change",
      answers: { 204: { description: "Gone" } },
      async run({ params }) {
        if (await secrets.delete(params.namespace, params.secret)) return noContent();
        throw new VirgaError("not_found", `there is no secret ${params.secret} in namespace ${params.namespace}`);
      },
    }),
    endpoint({
      method: "get",
      path: `${namespace}/routes`,
      summary: "Custom routes",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Routes by id", schema: schemas.listOf(schemas.route) } },
      run: async ({ params, query }) => pageOf(await routes.list(params.namespace), ({ id }) => id, query),
    }),
    endpoint({
      method: "put",
      path: `${namespace}/routes/{id}`,
      summary: "Sends requests of a host, path and method to a function",
      access: "change",
      body: { schema: schemas.routeBody },
      answers: {
        200: { description: "The route", schema: schemas.route },
        409: { description: "Another route has this place", schema: schemas.error },
      },
      async run({ params, body }) {
        const route: Route = {
          id: params.id,
          namespace: params.namespace,
          path: body.path,
          function: body.function,
          ...(body.host === undefined ? {} : { host: body.host }),
          ...(body.method === undefined ? {} : { method: body.method }),
          ...(body.tag === undefined ? {} : { tag: body.tag }),
        };
        await routes.put(route);
        return json(route);
      },
    }),
    endpoint({
      method: "delete",
      path: `${namespace}/routes/{id}`,
      summary: "Deletes a route",
      access: "change",
      answers: { 204: { description: "Gone" } },
      async run({ params }) {
        if (await routes.delete(params.namespace, params.id)) return noContent();
        throw new VirgaError("not_found", `there is no route ${params.id} in namespace ${params.namespace}`);
      },
    }),
    endpoint({
      method: "get",
      path: `${namespace}/usage`,
      summary: "What functions used, per function and day (UTC), and the prices",
      access: "read",
      query: z.object({
        from: schemas.day.optional(),
        to: schemas.day.optional(),
        function: schemas.name.optional(),
      }),
      answers: { 200: { description: "Sums", schema: schemas.usage } },
      async run({ params, query }) {
        const items = await usage.days(params.namespace, {
          ...(query.from === undefined ? {} : { from: query.from }),
          ...(query.to === undefined ? {} : { to: query.to }),
          ...(query.function === undefined ? {} : { name: query.function }),
        });
        return json({ items, rates });
      },
    }),
  ];
}

function sourceTooLarge(): VirgaError {
  return new VirgaError("archive_too_large", `the archive is larger than ${mostSourceBytes} bytes`, {
    fix: "leave out what the function does not need; dependencies are installed when it is built",
  });
}
