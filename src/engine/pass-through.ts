import { VirgaError } from "../core/errors.ts";
import { billedMs } from "../core/metering.ts";
import type { Invocation, LogLine, Revision } from "../core/model.ts";
import type { Deadline } from "./deadlines.ts";
import type { InvocationRequest, PassThrough } from "./engine.ts";
import type { Fleet } from "./fleet.ts";
import { type CallHost, statusOf } from "./running-call.ts";
import type { PoolCall, Worker } from "./worker.ts";

/** A slot for a connection that the gateway pipes by itself. It has the function's timeout like any call. */
export class PassThroughCall implements PoolCall, PassThrough, Deadline {
  readonly id: string;
  readonly recorded = true;
  host = "";
  port = 0;
  onEnd: ((error: VirgaError) => void) | undefined = undefined;
  waitingSince = 0;
  chain: object | undefined = undefined;
  nextInChain: PoolCall | undefined = undefined;
  previousInChain: PoolCall | undefined = undefined;
  /** Its program has no part in it once the connection is closed. */
  clean = true;
  dueTick = -1;
  nextDue: Deadline | undefined = undefined;
  previousDue: Deadline | undefined = undefined;
  readonly #host: Pick<CallHost, "clock" | "deadlines" | "fleetOf"> & PassThroughHost;
  readonly #request: InvocationRequest;
  readonly #revision: Revision;
  readonly #fleet: Fleet;
  readonly #acceptedAt: number;
  readonly #began: number;
  readonly #opened = Promise.withResolvers<PassThrough>();
  readonly #logs: LogLine[] = [];
  #logLength = 0;
  #logsDropped = 0;
  #worker: Worker | undefined;
  #grantedAt = 0;
  #cold = false;
  #ended: VirgaError | undefined;
  #closed = false;

  constructor(
    host: Pick<CallHost, "clock" | "deadlines" | "fleetOf"> & PassThroughHost,
    request: InvocationRequest,
    id: string,
    revision: Revision,
  ) {
    this.id = id;
    this.#host = host;
    this.#request = request;
    this.#revision = revision;
    this.#fleet = host.fleetOf(revision);
    this.#acceptedAt = request.acceptedAt ?? host.clock.now();
    this.#began = host.clock.monotonic();
  }

  /** Resolves when an instance has a slot and an address for it. */
  open(): Promise<PassThrough> {
    const worker = this.#fleet.acquire(this);
    if (worker === undefined) {
      const { timeoutMs, startTimeoutMs } = this.#revision.config.limits;
      this.#host.deadlines.set(this, this.#request.patienceMs ?? timeoutMs + startTimeoutMs, this.#began);
    } else {
      this.granted(worker);
    }
    return this.#opened.promise;
  }

  close(bytesIn: number, bytesOut: number, error: VirgaError | undefined = this.#ended): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.deadlines.clear(this);
    const now = this.#host.clock.monotonic();
    const runMs = now - this.#grantedAt;
    const worker = this.#worker!;
    worker.release(this, undefined);
    const { namespace, name, number, config } = this.#revision;
    const waitedMs = this.#grantedAt - this.#began;
    const coldMs = this.#cold ? waitedMs : 0;
    const initMs = Math.min(coldMs, worker.birth.initMs);
    this.#host.settled(this, {
      id: this.id,
      namespace,
      name,
      revision: number,
      instance: worker.id,
      cause: this.#request.cause,
      status: error === undefined ? "succeeded" : statusOf(error),
      attempt: 1,
      responseStatus: error === undefined ? 101 : undefined,
      timings: {
        acceptedAt: this.#acceptedAt,
        queueMs: waitedMs - coldMs,
        coldStartMs: coldMs - initMs,
        initMs,
        runMs,
        totalMs: now - this.#began,
      },
      usage: {
        coldStart: this.#cold,
        billedMs: billedMs(runMs),
        memoryMb: config.limits.memoryMb,
        memoryPeakBytes: 0,
        cpuMs: 0,
        bytesIn,
        bytesOut,
      },
      error: error === undefined ? undefined : { code: error.code, message: error.message },
      logs: this.#logs,
      logsDropped: this.#logsDropped === 0 ? undefined : this.#logsDropped,
    });
  }

  granted(worker: Worker): void {
    const { deadlines, clock } = this.#host;
    const address = worker.instance.upgradeAddress();
    if (address === undefined) {
      deadlines.clear(this);
      worker.release(this, undefined);
      this.#opened.reject(
        new VirgaError("bad_request", `Function ${this.#revision.name} takes no connections of its own`, {
          fix: "Use convention `http` with a server on $PORT for WebSockets.",
        }),
      );
      return;
    }
    this.#cold = worker.fresh;
    worker.fresh = false;
    this.#worker = worker;
    this.host = address.host;
    this.port = address.port;
    this.#grantedAt = clock.monotonic();
    deadlines.set(this, this.#revision.config.limits.timeoutMs, this.#grantedAt);
    this.#opened.resolve(this);
  }

  refused(error: VirgaError): void {
    this.#host.deadlines.clear(this);
    this.#opened.reject(error);
  }

  logged(line: LogLine): boolean {
    this.#logLength += line.text.length;
    if (this.#logLength > this.#revision.config.limits.logBytes) {
      this.#logsDropped++;
      return false;
    }
    this.#logs.push(line);
    return true;
  }

  lost(error: VirgaError): void {
    this.#end(error);
  }

  expired(): void {
    if (this.#worker !== undefined) {
      const { timeoutMs } = this.#revision.config.limits;
      this.#end(
        new VirgaError("timeout", `The connection was open for ${timeoutMs} ms`, {
          field: "limits.timeoutMs",
          fix: "Raise limits.timeoutMs, or connect again.",
        }),
      );
      return;
    }
    this.#fleet.leave(this);
    const obstacle = this.#fleet.obstacle;
    this.#opened.reject(
      new VirgaError("no_instance", `No instance was free${obstacle === undefined ? "" : `: ${obstacle}`}`, {
        fix: "Call again later, or raise scaling.max or limits.concurrency.",
      }),
    );
  }

  #end(error: VirgaError): void {
    if (this.#closed || this.#ended !== undefined) return;
    this.#ended = error;
    this.onEnd?.(error);
    if (this.#closed) return;
    this.#host.clock.after(closeGraceMs, () => {
      if (this.#closed) return;
      // Whoever holds the connection had its chance; with the instance gone, the connection is.
      this.#worker!.condemn("a connection stayed open past its end");
      this.close(0, 0, error);
    });
  }
}

const closeGraceMs = 1000;

interface PassThroughHost {
  settled(call: { readonly recorded: boolean }, invocation: Invocation): void;
}
