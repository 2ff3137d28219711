import { z } from "@hono/zod-openapi";
import { asVirgaError, VirgaError } from "../../core/errors.ts";
import type { FunctionId, FunctionState, Revision } from "../../core/model.ts";
import { checkName } from "../../core/names.ts";
import { mainRevision } from "../../core/traffic.ts";
import type { DeployEvent, DeployRequest, Engine } from "../../engine/engine.ts";
import { checkSettings } from "../../engine/settings.ts";
import type { Clock } from "../../ports/clock.ts";
import type { DeployOutcome, Metrics } from "../../telemetry/metrics.ts";
import { unknownFunction } from "../credential.ts";
import { type ApiRequest, type Endpoint, endpoint, json, noContent, pageFrom, pageOf } from "./endpoint.ts";
import { LineStream } from "./line-stream.ts";
import * as schemas from "./schemas.ts";

const list = "/v1/namespaces/{namespace}/functions";
const one = `${list}/{function}`;

/** Functions: deploying, describing, their revisions and traffic. */
export function functionEndpoints(engine: Engine, metrics: Metrics, clock: Clock): Endpoint[] {
  const { functions, deployer, pool } = engine;

  async function existing(id: FunctionId): Promise<FunctionState> {
    const state = await functions.get(id);
    if (state === undefined) throw unknownFunction(id);
    return state;
  }

  async function deploy(
    request: DeployRequest,
    onEvent: (event: DeployEvent) => void,
    signal: AbortSignal,
  ): ReturnType<Engine["deployer"]["deploy"]> {
    let outcome: DeployOutcome = "failed";
    try {
      const result = await deployer.deploy(request, onEvent, signal);
      outcome = !result.changed ? "unchanged" : result.revision.build.cached ? "cached" : "built";
      return result;
    } finally {
      metrics.deployed(outcome);
    }
  }

  return [
    endpoint({
      method: "get",
      path: list,
      summary: "The functions of a namespace, with the settings of the revision that has most traffic",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Functions by name", schema: schemas.listOf(schemas.listedFunction) } },
      async run({ params, query }) {
        const { limit, after } = query;
        const states = await functions.list(params.namespace, {
          limit: limit + 1,
          ...(after === undefined ? {} : { after }),
        });
        const listed = await Promise.all(
          states.map(async (state) => {
            const config = (await functions.revision(state, mainOf(state)))?.config;
            return config === undefined ? state : { ...state, config };
          }),
        );
        return pageFrom(listed, ({ name }) => name, limit);
      },
    }),
    endpoint({
      method: "put",
      path: one,
      summary: "Deploys: builds and starts a new revision. Streams its progress to who accepts application/x-ndjson",
      access: "change",
      body: { schema: schemas.checkedDeployment, documented: schemas.deployment },
      answers: {
        200: { description: "Deployed, or as it was", schema: schemas.deployResult },
        422: { description: "The build or the first start failed; what served before goes on", schema: schemas.error },
      },
      async run(request) {
        const wanted = deployRequest(request);
        if (!acceptsLines(request)) return json(await deploy(wanted, () => undefined, request.signal));
        const gone = new AbortController();
        const lines = new LineStream(
          clock,
          (count) => ({ kind: "log", line: `[${count} lines were dropped: this reader is too slow]` }),
          () => gone.abort(),
        );
        deploy(wanted, (event) => lines.push(event), AbortSignal.any([request.signal, gone.signal])).then(
          (result) => lines.last({ kind: "done", result }),
          (thrown: unknown) => lines.last({ kind: "error", ...asVirgaError(thrown).toBody() }),
        );
        return lines.response;
      },
    }),
    endpoint({
      method: "post",
      path: `${one}/plan`,
      summary: "What a deploy would change",
      access: "change",
      body: { schema: schemas.checkedDeployment, documented: schemas.deployment },
      answers: { 200: { description: "Changes, none of them made", schema: schemas.listOf(schemas.plannedChange) } },
      run: async (request) => json({ items: await deployer.plan(deployRequest(request)) }),
    }),
    endpoint({
      method: "get",
      path: one,
      summary: "A function with its instances and the newest scaling decisions",
      access: "read",
      answers: { 200: { description: "The function", schema: schemas.functionDescription } },
      async run({ params, origin }) {
        const id = idOf(params);
        const state = await existing(id);
        const revision = await functions.revision(id, mainOf(state));
        return json({
          function: state,
          revision,
          instances: pool.instances(id),
          waiting: pool.waiting(id),
          decisions: pool.decisions(id),
          url: `${origin}/f/${id.namespace}/${id.name}`,
        });
      },
    }),
    endpoint({
      method: "delete",
      path: one,
      summary: "Deletes a function and its revisions",
      access: "change",
      answers: { 204: { description: "Gone" } },
      async run({ params }) {
        if (!(await functions.delete(idOf(params)))) throw unknownFunction(idOf(params));
        return noContent();
      },
    }),
    endpoint({
      method: "get",
      path: `${one}/revisions`,
      summary: "A function's revisions, newest first",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Revisions", schema: schemas.listOf(schemas.revision) } },
      async run({ params, query }) {
        await existing(idOf(params));
        const revisions = (await functions.revisions(idOf(params))).toSorted((a, b) => b.number - a.number);
        return pageOf(revisions, ({ number }) => String(number), query);
      },
    }),
    endpoint({
      method: "get",
      path: `${one}/revisions/{number}`,
      summary: "One revision",
      access: "read",
      answers: { 200: { description: "The revision", schema: schemas.revision } },
      async run({ params }) {
        const revision: Revision | undefined = await functions.revision(idOf(params), Number(params.number));
        if (revision !== undefined) return json(revision);
        throw new VirgaError(
          "not_found",
          `there is no revision ${params.number} of ${params.namespace}/${params.function}`,
        );
      },
    }),
    endpoint({
      method: "post",
      path: `${one}/rollback`,
      summary: "All traffic to a revision, or to the one before the one that has most",
      access: "change",
      body: { schema: schemas.rollback, optional: true },
      answers: { 200: { description: "The function", schema: schemas.functionState } },
      async run({ params, body }) {
        await existing(idOf(params));
        return json(await functions.rollback(idOf(params), body.revision));
      },
    }),
    endpoint({
      method: "put",
      path: `${one}/traffic`,
      summary: "Splits the traffic over revisions by weight; the weights add up to 100",
      access: "change",
      body: { schema: schemas.trafficSplit },
      answers: { 200: { description: "The function", schema: schemas.functionState } },
      async run({ params, body }) {
        await existing(idOf(params));
        const targets = body.targets.map(({ revision, weight, tag }) => ({
          revision,
          weight,
          ...(tag === undefined ? {} : { tag }),
        }));
        return json(await functions.setTraffic(idOf(params), targets));
      },
    }),
  ];
}

function idOf(params: ApiRequest["params"]): FunctionId {
  return { namespace: params.namespace, name: params.function };
}

function deployRequest({
  params,
  body,
}: ApiRequest<unknown, z.output<typeof schemas.checkedDeployment>>): DeployRequest {
  checkName(params.function, "function", "function");
  const settings = checkSettings(body.settings ?? {});
  if (settings.dialect !== undefined) {
    throw new VirgaError("invalid_field", "A function of a dialect is deployed by that dialect's own clients", {
      field: "settings.dialect",
      fix: "Leave it out.",
    });
  }
  return {
    ...idOf(params),
    settings,
    ...(body.source === undefined ? {} : { source: body.source }),
    ...(body.tag === undefined ? {} : { tag: body.tag }),
    ...(body.traffic === undefined ? {} : { traffic: body.traffic }),
  };
}

function acceptsLines({ incoming }: { incoming: ApiRequest["incoming"] }): boolean {
  return incoming.headers.accept?.includes("application/x-ndjson") === true;
}

/** The revision that has most traffic. */
function mainOf({ traffic, latestRevision }: FunctionState): number {
  return mainRevision(traffic) ?? latestRevision;
}
