import { OpenAPIHono, z } from "@hono/zod-openapi";
import { type Endpoint, parameters, type ParameterName } from "./endpoint.ts";
import * as schemas from "./schemas.ts";

/** The OpenAPI 3.1 document of the endpoints. */
export function openApiDocument(endpoints: readonly Endpoint[]): object {
  const app = new OpenAPIHono();
  app.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description: "A token of `virga token create`, or the administrator's that the first start wrote.",
  });
  for (const { method, path, summary, query, body, rawBody, answers } of endpoints) {
    const content = requestBody(body, rawBody);
    app.openAPIRegistry.registerPath({
      method,
      path,
      summary,
      operationId: operationId(method, path),
      tags: [tagOf(path)],
      security: [{ token: [] }],
      request: {
        params: z.object(Object.fromEntries(parametersOf(path).map((key) => [key, parameters[key]]))),
        ...(query === undefined ? {} : { query }),
        ...(content === undefined ? {} : { body: content }),
      },
      responses: {
        ...Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, describe(answer)])),
        default: describe({ description: "An error", schema: schemas.error }),
      },
    });
  }
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Virga",
      version: "1",
      description:
        "The native API. Functions themselves are called at `/f/{namespace}/{function}/{path}`, or with a token at " +
        "`/v1/namespaces/{namespace}/functions/{function}/invoke/{path}` with any method.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
  });
}

function requestBody(body: Endpoint["body"], rawBody: string | undefined) {
  if (body !== undefined) {
    const schema = body.documented ?? body.schema;
    return { required: body.optional !== true, content: { "application/json": { schema } } };
  }
  if (rawBody === undefined) return undefined;
  const schema = { type: "string", format: "binary" } as const;
  return { required: true, description: rawBody, content: { "application/octet-stream": { schema } } };
}

function describe({ description, schema, type = "application/json" }: Endpoint["answers"][number]) {
  return { description, ...(schema === undefined ? {} : { content: { [type]: { schema } } }) };
}

function parametersOf(path: string): ParameterName[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as ParameterName);
}

/** `put /v1/namespaces/{namespace}/functions/{function}/traffic` → `putNamespacesFunctionsTraffic`. */
function operationId(method: string, path: string): string {
  const last = path.endsWith("}") ? ["one"] : [];
  const words = path.split("/").filter((word) => word !== "" && word !== "v1" && !word.startsWith("{"));
  const camel = [...words, ...last].map((word) =>
    word.replaceAll(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase()),
  );
  return `${method}${camel.join("") || "Server"}`;
}

function tagOf(path: string): string {
  const words = path.split("/").slice(2);
  return words[0] === "namespaces" && words.length > 2 ? (words[2] ?? "server") : (words[0] ?? "server");
}
