/** OpenFaaS, spoken by this platform: its gateway, its watchdogs' rules, and `faas-cli up` without Docker. **Start here.** */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Invocation } from "../../core/model.ts";
import { createTurns } from "../../core/turns.ts";
import type { Engine } from "../../engine/engine.ts";
import { checkUrl } from "../../gateway/address.ts";
import type { CallPath } from "../../gateway/call-path.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { Queue } from "../../ports/queue.ts";
import type { Records } from "../../ports/records.ts";
import type { Sandbox } from "../../ports/sandbox.ts";
import { type BuildOptions, createBuilds } from "./builds.ts";
import { cancelCall, serveCall } from "./call.ts";
import { CallCounts } from "./call-counts.ts";
import { Callbacks } from "./callbacks.ts";
import type { FaasContext } from "./context.ts";
import { FaasError } from "./errors.ts";
import { Exchange } from "./exchange.ts";
import { Images, namedCode } from "./images.ts";
import { LooseLines } from "./loose-lines.ts";
import { Namespaces } from "./namespaces.ts";
import { renewGuests } from "./renewal.ts";
import { serveGateway } from "./routes.ts";
import { forgetScales, restoreScales } from "./scale.ts";
import { functionStore } from "./stores/function-store.ts";
import { openTemplateStore } from "./stores/template-store.ts";

export interface OpenFaasOptions {
  readonly records: Records;
  readonly blobs: Blobs;
  /** Large results. */
  readonly values: Pick<Blobs, "get">;
  readonly queue: Queue;
  readonly sandbox: Sandbox;
  readonly clock: Clock;
  readonly log: Log;
  readonly identify: () => string;
  readonly version: string;
  /** Replicas of a function whose labels name no maximum. */
  readonly defaultMax: number;
  /** How long a request's body may take to arrive. */
  readonly requestTimeoutMs: number;
  /** For what can be made anew: the repository of the templates. */
  readonly cacheDirectory: string;
  readonly builds: BuildOptions;
}

/** Made before the engine, which tells it of settled calls; `open` gives it the engine. */
export interface OpenFaas {
  /** Hears of every settled asynchronous call; resolves when its callback, if it has one, is on disk. */
  settled(record: Invocation): Promise<void> | undefined;
  /** Digests of what images hold, for whoever removes code that nobody names. */
  namedCode(): AsyncIterable<string>;
  open(engine: Engine, path: CallPath): Promise<OpenedOpenFaas>;
}

export interface OpenedOpenFaas {
  /** Where it is served. From now on callbacks are sent. */
  servedAt(url: string): void;
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Removes what a namespace has that is being deleted. */
  forget(namespace: string): Promise<void>;
  /** Callbacks on their way have `graceMs`. */
  close(graceMs: number): Promise<void>;
}

export function createOpenFaas(options: OpenFaasOptions): OpenFaas {
  const { records, blobs, queue, clock, log } = options;
  let served: string | undefined;
  let callbacks: Callbacks | undefined;

  return {
    settled: (record) => callbacks?.settled(record),
    namedCode: () => namedCode(records),

    async open(engine, path) {
      const images = new Images(records, blobs, engine.deployer);
      const context: FaasContext = {
        engine,
        records,
        blobs,
        queue,
        clock,
        log,
        identify: options.identify,
        version: `virga/${options.version}`,
        path,
        images,
        defaultMax: options.defaultMax,
        namespaces: new Namespaces(records, engine.access),
        callbacks: (callbacks = new Callbacks({
          queue,
          history: engine.history,
          values: options.values,
          clock,
          log,
          gateway: () => served,
        })),
        counts: new CallCounts(engine),
        turn: createTurns(),
        looseLines: new LooseLines(engine.history),
        follows: new Set(),
        builds: createBuilds(options, images),
        buildKey: options.builds.key,
        templates: openTemplateStore({
          directory: options.cacheDirectory,
          log,
          processors: options.sandbox.processors,
        }),
        functionStore: functionStore(),
      };
      for (const { name } of await context.namespaces.list()) context.looseLines.follow(name);
      const closing = new AbortController();
      const renewed = restoreScales(context)
        .catch((thrown: unknown) =>
          log.error("instances could not be brought to the numbers that were set", { error: thrown }),
        )
        .then(() => renewGuests(context, closing.signal));
      return {
        servedAt(url) {
          served = url;
          void callbacks?.start();
        },
        handle: (request, response) => handle(context, options, request, response),
        async forget(namespace) {
          await context.namespaces.forget(namespace);
          await forgetScales(context, namespace);
          context.looseLines.unfollow(namespace);
        },
        async close(graceMs) {
          for (const response of context.follows) response.end();
          context.looseLines.close();
          closing.abort();
          await Promise.all([callbacks?.stop(graceMs), renewed]);
        },
      };
    },
  };
}

const call = "/function/";
const asyncCall = "/async-function/";

function handle(
  context: FaasContext,
  options: OpenFaasOptions,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = request.url ?? "/";
  // Function calls are told apart by hand.
  if (url.startsWith(call)) {
    serveCall(context, request, response, url.slice(call.length), false);
    return;
  }
  const isAsync = url.startsWith(asyncCall);
  if (isAsync && request.method !== "DELETE") {
    serveCall(context, request, response, url.slice(asyncCall.length), true);
    return;
  }
  const exchange = new Exchange(options, request, response);
  const refuse = (thrown: unknown): void => {
    const isOurs =
      !(thrown instanceof FaasError) && !(thrown instanceof Error && "code" in thrown && thrown.code !== "internal");
    if (isOurs) context.log.error("a request could not be answered", { path: exchange.path, error: thrown });
    exchange.refuse(thrown);
  };
  try {
    checkUrl(url);
    const served = isAsync
      ? cancelCall(context, exchange, exchange.path.slice(asyncCall.length))
      : serveGateway(context, exchange);
    served.catch(refuse);
  } catch (thrown) {
    refuse(thrown);
  }
}
