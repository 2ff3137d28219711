/** Users of OpenWhisk, in the native API: `virga openwhisk user …`. */
import { z } from "@hono/zod-openapi";
import { VirgaError } from "../../core/errors.ts";
import { type Endpoint, endpoint, json, noContent } from "../../gateway/api/endpoint.ts";
import { name } from "../../gateway/api/schemas.ts";
import type { Subjects } from "./subjects.ts";

const count = z.number().int().min(0);
const limits = z
  .strictObject({
    invocationsPerMinute: count.optional(),
    concurrentInvocations: count.optional(),
    firesPerMinute: count.optional(),
  })
  .describe("Over the platform's own.");

const user = z
  .object({ namespace: z.string(), uuid: z.string(), createdAt: z.number(), limits: limits.optional() })
  .openapi("OpenWhiskUser");

const created = z
  .object({ namespace: z.string(), credential: z.string().describe("`uuid:key`.") })
  .openapi("OpenWhiskCredential");

const list = "/v1/openwhisk/users";
const one = "/v1/openwhisk/users/{namespace}";

export function userEndpoints(subjects: Subjects): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: list,
      summary: "All users of OpenWhisk, without their keys",
      access: "administrator",
      answers: { 200: { description: "Users", schema: z.object({ items: z.array(user) }) } },
      run: () => json({ items: subjects.list() }),
    }),
    endpoint({
      method: "put",
      path: one,
      summary: "Makes a user of OpenWhisk with a namespace of its name, or gives it another key",
      access: "administrator",
      body: {
        schema: z.strictObject({
          credential: z.string().optional().describe("`uuid:key` from another OpenWhisk; a new one where absent."),
          limits: limits.optional(),
        }),
        optional: true,
      },
      answers: { 201: { description: "Its credential", schema: created } },
      async run({ params: { namespace }, body }) {
        checkUser(namespace);
        const credential = await subjects.create(namespace, {
          ...(body.credential === undefined ? {} : { credential: body.credential }),
          ...(body.limits === undefined ? {} : { limits: definedOnly(body.limits) }),
        });
        return json({ namespace, credential }, 201, { "cache-control": "no-store" });
      },
    }),
    endpoint({
      method: "get",
      path: `${one}/credential`,
      summary: "The key of a user of OpenWhisk",
      access: "administrator",
      answers: { 200: { description: "Its credential", schema: created } },
      async run({ params: { namespace } }) {
        const credential = await subjects.apiKeyOf(namespace);
        if (credential === undefined) throw unknownUser(namespace);
        return json({ namespace, credential }, 200, { "cache-control": "no-store" });
      },
    }),
    endpoint({
      method: "delete",
      path: one,
      summary: "Takes a user's key away; its namespace stays",
      access: "administrator",
      answers: { 204: { description: "Gone" } },
      async run({ params: { namespace } }) {
        if (await subjects.delete(namespace)) return noContent();
        throw unknownUser(namespace);
      },
    }),
  ];
}

function checkUser(namespace: string): void {
  if (name.safeParse(namespace).success) return;
  throw new VirgaError("invalid_field", `${JSON.stringify(namespace)} cannot be the name of a namespace`, {
    field: "namespace",
    fix: "use 1 to 63 lower-case letters, digits, '-' and '_'",
  });
}

function unknownUser(namespace: string): VirgaError {
  return new VirgaError("not_found", `there is no OpenWhisk user ${namespace}`, {
    fix: `make it: virga openwhisk user create ${namespace}`,
  });
}

function definedOnly<T extends object>(given: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
