import { VirgaError, asVirgaError } from "../core/errors.ts";
import type { Invocation, Revision } from "../core/model.ts";
import type { Chance, Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { NestedAnswer, NestedCall } from "../ports/runtime.ts";
import type { CallAdapter } from "./call-adapter.ts";
import { Deadlines } from "./deadlines.ts";
import type {
  Functions,
  GatheredAnswer,
  History,
  InvocationHandle,
  InvocationRequest,
  InvocationSink,
  Invoker,
  PassThrough,
} from "./engine.ts";
import { type Fleet, shuttingDown } from "./fleet.ts";
import { Gathering } from "./gathering.ts";
import { nestedRequest } from "./nested.ts";
import { PassThroughCall } from "./pass-through.ts";
import type { Pool } from "./pool.ts";
import { type CallHost, RunningCall } from "./running-call.ts";
import type { PoolCall } from "./worker.ts";

export interface InvokerOptions {
  readonly functions: Pick<Functions, "resolve">;
  readonly pool: Pick<Pool, "fleetOf" | "drain">;
  readonly history: Pick<History, "append">;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly identify: () => string;
  readonly log: Log;
  /** How dialects put calls to their functions, by `FunctionConfig.dialect`. */
  readonly adapters?: Readonly<Record<string, CallAdapter>>;
}

/** The invoker as the rest of the engine sees it. */
export interface EngineInvoker extends Invoker {
  /** As `call`, without a record: its caller writes one for all attempts together. `onStart` hears the way to cut it off. */
  attempt(request: InvocationRequest, onStart: (handle: InvocationHandle) => void): Promise<GatheredAnswer>;
  /** A call from inside a running one: what the pool's `callFunction` leads to. */
  callFunction(parent: PoolCall | undefined, request: NestedCall): Promise<NestedAnswer>;
}

export function createInvoker(options: InvokerOptions): EngineInvoker {
  return new CallInvoker(options);
}

class CallInvoker implements EngineInvoker, CallHost {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly adapters: Readonly<Record<string, CallAdapter>>;
  readonly #options: InvokerOptions;
  #draining = false;

  constructor(options: InvokerOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.deadlines = new Deadlines(options.clock);
    this.adapters = options.adapters ?? {};
  }

  invoke(request: InvocationRequest, sink: InvocationSink): InvocationHandle {
    return this.#begin(request, sink, 0, true).handle;
  }

  call(request: InvocationRequest, signal?: AbortSignal): Promise<GatheredAnswer> {
    const gathering = new Gathering();
    const { handle } = this.#begin(request, gathering, 0, true);
    if (request.body === undefined) handle.end();
    if (signal === undefined) return gathering.answer;
    const cancel = (): void => handle.cancel("cancelled");
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
    return gathering.answer.finally(() => signal.removeEventListener("abort", cancel));
  }

  attempt(request: InvocationRequest, onStart: (handle: InvocationHandle) => void): Promise<GatheredAnswer> {
    const gathering = new Gathering();
    onStart(this.#begin(request, gathering, 0, false).handle);
    return gathering.answer;
  }

  async callFunction(parent: PoolCall | undefined, request: NestedCall): Promise<NestedAnswer> {
    if (!(parent instanceof RunningCall)) {
      throw new VirgaError("bad_request", "A function can be called only from inside a call that runs", {
        fix: "Call it before the handler ends, through that call's own context.",
      });
    }
    const gathering = new Gathering();
    const nested = nestedRequest(parent, request, this.clock.now());
    const { handle } = this.#begin(nested, gathering, parent.depth + 1, true);
    parent.children ??= new Set();
    parent.children.add(handle);
    try {
      const { status, headers, body, error } = await gathering.answer;
      if (error !== undefined) throw error;
      return { status: status ?? 200, headers, body };
    } finally {
      parent.children.delete(handle);
    }
  }

  async connect(request: InvocationRequest): Promise<PassThrough> {
    if (this.#draining) throw shuttingDown();
    const { functions, chance, identify } = this.#options;
    const revision = await functions.resolve(request, request, chance.random());
    return new PassThroughCall(this, request, request.id ?? identify(), revision).open();
  }

  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    await this.#options.pool.drain(graceMs);
  }

  // For its calls.

  fleetOf(revision: Revision): Fleet {
    return this.#options.pool.fleetOf(revision);
  }

  settled(call: { readonly recorded: boolean }, invocation: Invocation): void {
    if (call.recorded) this.#options.history.append(invocation);
  }

  #begin(request: InvocationRequest, sink: InvocationSink, depth: number, recorded: boolean): RunningCall {
    const { functions, chance, identify } = this.#options;
    const call = new RunningCall(this, request, sink, request.id ?? identify(), depth, recorded);
    if (this.#draining) {
      rejectSoon(call, shuttingDown());
      return call;
    }
    let revision: Revision | Promise<Revision>;
    try {
      revision = functions.resolve(request, request, chance.random());
    } catch (thrown) {
      rejectSoon(call, asVirgaError(thrown));
      return call;
    }
    if (revision instanceof Promise) void this.#admitLater(call, revision);
    else call.admit(revision);
    return call;
  }

  async #admitLater(call: RunningCall, revision: Promise<Revision>): Promise<void> {
    let known: Revision;
    try {
      known = await revision;
    } catch (thrown) {
      call.reject(asVirgaError(thrown));
      return;
    }
    call.admit(known);
  }
}

/** Not before the caller has the handle. */
function rejectSoon(call: RunningCall, error: VirgaError): void {
  queueMicrotask(() => call.reject(error));
}
