import { z } from "@hono/zod-openapi";
import { VirgaError } from "../../core/errors.ts";
import type { Access } from "../../engine/engine.ts";
import { type Endpoint, endpoint, json, noContent, pageOf } from "./endpoint.ts";
import * as schemas from "./schemas.ts";

/** Namespaces and credentials: the administration of the whole platform. */
export function tenantEndpoints(access: Access): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/namespaces",
      summary: "All namespaces",
      access: "administrator",
      query: z.object(schemas.page),
      answers: { 200: { description: "Namespaces by name", schema: schemas.listOf(schemas.namespace) } },
      run: async ({ query }) => pageOf(await access.namespaces(), ({ name }) => name, query),
    }),
    endpoint({
      method: "put",
      path: "/v1/namespaces/{namespace}",
      summary: "Makes a namespace",
      access: "administrator",
      answers: {
        200: { description: "It was there", schema: schemas.namespace },
        201: { description: "Made", schema: schemas.namespace },
      },
      async run({ params }) {
        const status = access.hasNamespace(params.namespace) ? 200 : 201;
        return json(await access.createNamespace(params.namespace), status);
      },
    }),
    endpoint({
      method: "delete",
      path: "/v1/namespaces/{namespace}",
      summary: "Deletes a namespace that has no functions left",
      access: "administrator",
      answers: { 204: { description: "Gone" }, 409: { description: "It has functions", schema: schemas.error } },
      async run({ params }) {
        if (await access.deleteNamespace(params.namespace)) return noContent();
        throw new VirgaError("not_found", `there is no namespace ${params.namespace}`);
      },
    }),
    endpoint({
      method: "get",
      path: "/v1/tokens",
      summary: "All credentials, without their secrets",
      access: "administrator",
      query: z.object(schemas.page),
      answers: { 200: { description: "Tokens", schema: schemas.listOf(schemas.token) } },
      run: async ({ query }) => pageOf(await access.tokens(), ({ id }) => id, query),
    }),
    endpoint({
      method: "post",
      path: "/v1/tokens",
      summary: "Makes a credential",
      access: "administrator",
      body: { schema: schemas.newToken },
      answers: { 201: { description: "The credential, its secret shown this once", schema: schemas.createdToken } },
      async run({ body: { expiresAt, ...wanted } }) {
        const created = await access.createToken({ ...wanted, ...(expiresAt === undefined ? {} : { expiresAt }) });
        return json(created, 201, { "cache-control": "no-store" });
      },
    }),
    endpoint({
      method: "delete",
      path: "/v1/tokens/{id}",
      summary: "Revokes a credential at once",
      access: "administrator",
      answers: { 204: { description: "Revoked" } },
      async run({ params }) {
        if (await access.revokeToken(params.id)) return noContent();
        throw new VirgaError("not_found", `there is no token ${params.id}`);
      },
    }),
  ];
}
