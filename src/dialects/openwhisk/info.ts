/** What the platform says of itself: `/`, `/api/v1`, `/api/v1/api-docs`, limits (contract section 2.1). */
import { runtimesDocument } from "./kinds.ts";
import { limitRanges, sizeLimits } from "./limits.ts";
import type { ThrottleLimits } from "./throttle.ts";
import { mostComponents } from "./sequence.ts";

const mb = 2 ** 20;

export function rootDocument(limits: ThrottleLimits): unknown {
  const { timeout, memory, logs } = limitRanges;
  return {
    description: "OpenWhisk",
    support: { github: "https://github.com/apache/openwhisk/issues", slack: "http://slack.openwhisk.org" },
    api_paths: ["/api/v1"],
    limits: {
      actions_per_minute: limits.invocationsPerMinute,
      triggers_per_minute: limits.firesPerMinute,
      concurrent_actions: limits.concurrentInvocations,
      sequence_length: mostComponents,
      default_min_action_duration: timeout.min,
      default_max_action_duration: timeout.max,
      default_min_action_memory: memory.min * mb,
      default_max_action_memory: memory.max * mb,
      default_min_action_logs: logs.min * mb,
      default_max_action_logs: logs.max * mb,
      min_action_duration: timeout.min,
      max_action_duration: timeout.max,
      min_action_memory: memory.min * mb,
      max_action_memory: memory.max * mb,
      min_action_logs: logs.min * mb,
      max_action_logs: logs.max * mb,
    },
    runtimes: runtimesDocument(),
  };
}

export function apiDocument(version: string): unknown {
  return {
    description: "OpenWhisk API",
    api_version: "1.0.0",
    api_version_path: "v1",
    build: `virga-${version}`,
    buildno: version,
    swagger_paths: { ui: "/docs/index.html", "api-docs": "/api-docs" },
  };
}

export function limitsDocument(limits: ThrottleLimits): unknown {
  const { timeout, memory, logs, concurrency } = limitRanges;
  return {
    ...limits,
    minActionMemory: memory.min,
    maxActionMemory: memory.max,
    minActionLogs: logs.min,
    maxActionLogs: logs.max,
    minActionTimeout: timeout.min,
    maxActionTimeout: timeout.max,
    minActionConcurrency: concurrency.min,
    maxActionConcurrency: concurrency.max,
    maxParameterSize: sizeLimits.parameters,
    allowedKinds: [],
    storeActivations: true,
  };
}

/** A description of the REST API in Swagger 2.0; its routes are those of `routes.ts`. */
export function swaggerDocument(
  paths: readonly { readonly path: string; readonly methods: readonly string[] }[],
): unknown {
  return {
    swagger: "2.0",
    info: { title: "OpenWhisk REST API", version: "1.0.0" },
    basePath: "/api/v1",
    securityDefinitions: { basicAuth: { type: "basic" } },
    security: [{ basicAuth: [] }],
    paths: Object.fromEntries(
      paths.map(({ path, methods }) => [
        path,
        Object.fromEntries(
          methods.map((method) => [
            method.toLowerCase(),
            {
              parameters: [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
                name,
                in: "path",
                required: true,
                type: "string",
              })),
              responses: { default: { description: "See the error's text." } },
            },
          ]),
        ),
      ]),
    ),
  };
}
