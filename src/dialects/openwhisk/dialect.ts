/** OpenWhisk, spoken by this platform: its REST API, web actions and API gateway on a port of its own. **Start here.** */
import type { IncomingMessage, ServerResponse } from "node:http";
import { posix } from "node:path";
import { asVirgaError } from "../../core/errors.ts";
import type { StoredEvent } from "../../core/events/model.ts";
import type { FunctionId } from "../../core/model.ts";
import type { DeciderProtocol } from "../../core/workflow/decider.ts";
import type { CallAdapter } from "../../engine/call-adapter.ts";
import type { Engine, RunView } from "../../engine/engine.ts";
import { checkUrl } from "../../gateway/address.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { Records } from "../../ports/records.ts";
import { forgetApis, manageApis, serveApi } from "./api-gateway/apis.ts";
import type { WhiskNote } from "./activation.ts";
import { compositeNoteFor, createCallAdapter } from "./call-adapter.ts";
import { compositeRecord } from "./composite.ts";
import { conductorProtocol } from "./conductor.ts";
import type { WhiskContext } from "./context.ts";
import { Deployments } from "./deployment.ts";
import { documentsOf } from "./documents.ts";
import { EntityStore } from "./entity-store.ts";
import { notFound, WhiskError } from "./errors.ts";
import { Exchange } from "./exchange.ts";
import { createFiring } from "./fire.ts";
import { apiDocument, rootDocument, swaggerDocument } from "./info.ts";
import { createInvocations } from "./invocation.ts";
import { qualifiedName, whiskNamespace } from "./names.ts";
import { resolveAction } from "./resolution.ts";
import { apiPaths, serveNamespaces } from "./routes.ts";
import { Subjects } from "./subjects.ts";
import { deleteFired, serveAlarms } from "./system/alarms.ts";
import { installSystemPackages } from "./system/install.ts";
import { type ThrottleLimits, Throttles } from "./throttle.ts";
import { serveWebAction } from "./web/web-actions.ts";

export interface OpenWhiskOptions {
  readonly records: Records;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly identify: () => string;
  readonly limits: ThrottleLimits;
  readonly version: string;
  /** How long a request's body may take to arrive. */
  readonly requestTimeoutMs: number;
}

/** Made before the engine, which asks it about its own functions; `open` gives it the engine. */
export interface OpenWhisk {
  readonly adapter: CallAdapter;
  readonly protocol: DeciderProtocol;
  provide(id: FunctionId): Promise<boolean>;
  /** Digests of actions' code, for whoever removes code that nobody names. */
  namedCode(): AsyncIterable<string>;
  runEnded(run: RunView): Promise<void>;
  eventsPublished(namespace: string, topic: string, events: readonly StoredEvent[]): void;
  open(engine: Engine): Promise<OpenedOpenWhisk>;
}

export interface OpenedOpenWhisk {
  readonly subjects: Subjects;
  /** Where it is served, for actions that call back. */
  servedAt(url: string): void;
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Removes what a namespace has that is being deleted. */
  forget(namespace: string): Promise<void>;
  close(): void;
}

export function createOpenWhisk(options: OpenWhiskOptions): OpenWhisk {
  const { records, blobs, clock, log, identify } = options;
  const entities = new EntityStore({ records, log });
  const documents = documentsOf({ entities });
  let context: WhiskContext | undefined;
  let servedAt: string | undefined;

  return {
    protocol: conductorProtocol,
    adapter: createCallAdapter({
      documents,
      apiHost: () => servedAt,
      apiKeyOf: (namespace) => context?.subjects.apiKeyOf(namespace),
    }),
    namedCode: () => entities.namedCode(),
    provide: (id) => context?.deployments.provide(id) ?? Promise.resolve(false),

    async runEnded(run) {
      if (context === undefined) return;
      const { history, workflows } = context.engine;
      const note = await noteOfRun(run);
      if (note === undefined || (await history.get(run.namespace, run.id)) !== undefined) return;
      await history.appendDurably(await compositeRecord(run, note, { workflows, history }));
    },

    eventsPublished(namespace, topic, events) {
      published(namespace, topic, events).catch((thrown: unknown) =>
        log.error("the activation of a trigger could not be written", {
          namespace,
          topic,
          error: asVirgaError(thrown),
        }),
      );
    },

    async open(engine) {
      await entities.start();
      const subjects = await Subjects.open({ records, secrets: engine.secrets, access: engine.access, clock });
      const opened: WhiskContext = {
        engine,
        records,
        blobs,
        clock,
        log,
        entities,
        documents,
        subjects,
        throttles: new Throttles(clock, options.limits),
        deployments: new Deployments({ engine, documents, entities, blobs, records, log }),
        invocations: createInvocations({ engine, clock, log }),
        firing: createFiring({ engine, documents, identify }),
      };
      context = opened;
      await installSystemPackages(opened);
      void opened.deployments.resume().then(() => opened.deployments.renew());
      return {
        subjects,
        servedAt(url) {
          servedAt = url;
        },
        handle: (request, response) => handle(opened, options, request, response),
        async forget(namespace) {
          await entities.forget(whiskNamespace(namespace));
          await forgetApis(records, whiskNamespace(namespace));
          await subjects.forget(namespace);
        },
        close() {
          opened.deployments.close();
          entities.close();
        },
      };
    },
  };

  async function published(namespace: string, topic: string, events: readonly StoredEvent[]): Promise<void> {
    if (context === undefined) return;
    const trigger = await context.firing.published(namespace, topic, events);
    if (trigger === undefined) return;
    for (const stored of events) await deleteFired(context, trigger, stored);
  }

  /** Of a run of ours; undefined for a workflow that is none of OpenWhisk's. */
  async function noteOfRun(run: RunView): Promise<WhiskNote | undefined> {
    const kept = run.annotations?.["whisk"] as WhiskNote | undefined;
    if (kept !== undefined) return kept;
    const caller = whiskNamespace(run.namespace);
    const called = qualifiedName(run.workflow, caller);
    if (called === undefined) return undefined;
    try {
      return compositeNoteFor(await resolveAction(documents, called, caller));
    } catch (thrown) {
      if (thrown instanceof WhiskError) return undefined;
      throw thrown;
    }
  }
}

function handle(
  context: WhiskContext,
  options: OpenWhiskOptions,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const exchange = new Exchange(options, request, response);
  const refuse = (thrown: unknown): void => {
    if (!(thrown instanceof WhiskError)) {
      const error = asVirgaError(thrown);
      if (error.kind === "system")
        context.log.error("a request could not be answered", { path: exchange.path, error: thrown });
    }
    exchange.refuse(thrown);
  };
  try {
    serve(context, options, exchange)?.catch(refuse);
  } catch (thrown) {
    refuse(thrown);
  }
}

const api = "/api/v1";
const namespaces = `${api}/namespaces`;
const web = `${api}/web/`;
const alarms = `${api}/alarms/`;
const apiManagement = `${web}whisk.system/apimgmt/`;

/** Throws, or rejects, what is to be refused. */
function serve(context: WhiskContext, options: OpenWhiskOptions, exchange: Exchange): Promise<void> | undefined {
  const path = pathOf(exchange);
  if (path.startsWith(namespaces) && (path.length === namespaces.length || path.charCodeAt(namespaces.length) === 47)) {
    if (exchange.method === "OPTIONS") {
      exchange.answerEmpty(200);
      return undefined;
    }
    const subject = context.subjects.authenticate(exchange.header("authorization"));
    if (subject === undefined) throw new WhiskError(401, "The supplied authentication is invalid.");
    return serveNamespaces(context, exchange, path.slice(namespaces.length), subject);
  }
  if (path.startsWith(apiManagement)) return manageApis(context, exchange, path.slice(apiManagement.length));
  if (path.startsWith(alarms)) return serveAlarms(context, exchange, path.slice(alarms.length));
  if (path.startsWith(web)) return serveWebAction(context, exchange, path.slice(web.length));
  if (path.startsWith("/api/") && path !== "/api/info" && path !== api && !path.startsWith(`${api}/`)) {
    return serveApi(context, exchange, path.slice("/api/".length));
  }
  serveInfo(options, exchange, path);
  return undefined;
}

/** `wsk` doubles a slash; `wskdeploy export` asks for feeds by `…/_/actions/../../whisk.system/actions/…`, which a proxy resolves. */
function pathOf({ path, queryText, request: { url = "/" } }: Exchange): string {
  if (path.startsWith(namespaces) && path.includes("/../")) {
    const resolved = posix.normalize(path);
    checkUrl(`${resolved}?${queryText}`);
    return resolved;
  }
  checkUrl(url);
  return path.startsWith("//") ? path.slice(1) : path;
}

function serveInfo({ limits, version }: OpenWhiskOptions, exchange: Exchange, path: string): void {
  const origin = exchange.origin;
  switch (path) {
    case "/":
    case "/api/info":
      return exchange.answer(200, rootDocument(limits));
    case api:
    case `${api}/`:
      return exchange.answer(200, apiDocument(version));
    case `${api}/api-docs`:
      return exchange.answer(200, swaggerDocument(apiPaths));
    case `${api}/docs`:
      return exchange.send(302, undefined, ["location", `${origin}${api}/api-docs`]);
    case "/ping":
      return exchange.send(200, Buffer.from("pong"), ["content-type", "text/plain; charset=UTF-8"]);
    case "/invokers":
      return exchange.answer(200, { "invoker0/0": "up" });
    case "/invokers/healthy/count":
      return exchange.answer(200, 1);
    case "/invokers/ready":
      return exchange.answer(200, { healthy: "1/1" });
    default:
      throw notFound();
  }
}
