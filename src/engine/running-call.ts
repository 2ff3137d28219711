import { VirgaError, asVirgaError } from "../core/errors.ts";
import { billedMs } from "../core/metering.ts";
import type { AsyncResult, Cause, Invocation, InvocationStatus, LogLine, Revision } from "../core/model.ts";
import type { Clock } from "../ports/clock.ts";
import type { Call, CallHandle, CallMeasurement, CallSink } from "../ports/runtime.ts";
import type { ProgramUsage } from "../ports/sandbox.ts";
import type { CallAdapter, PreparedCall } from "./call-adapter.ts";
import type { Deadline, Deadlines } from "./deadlines.ts";
import type { InvocationHandle, InvocationRequest, InvocationSink } from "./engine.ts";
import type { Fleet } from "./fleet.ts";
import type { PoolCall, Worker } from "./worker.ts";

/** What a call needs of the invoker. */
export interface CallHost {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** By `FunctionConfig.dialect`. */
  readonly adapters: Readonly<Record<string, CallAdapter>>;
  fleetOf(revision: Revision): Fleet;
  /** The call is over and its record complete. */
  settled(call: RunningCall, invocation: Invocation): void;
}

/** One call from its acceptance to its record. The same object is what waits in line, what the instance is given, and what takes its answer. */
export class RunningCall implements PoolCall, Call, CallSink, Deadline {
  // What the instance sees.
  readonly id: string;
  readonly method: string;
  readonly target: string;
  readonly url: string;
  /** Its dialect may put others in their place. */
  headers: readonly string[];
  bodySuffices = false;
  body: Uint8Array | undefined;
  readonly attempt: number;
  readonly traceparent: string | undefined;
  readonly idempotencyKey: string | undefined;
  deadline = 0;
  // What the pool and the wheel keep here.
  waitingSince = 0;
  chain: object | undefined = undefined;
  nextInChain: PoolCall | undefined = undefined;
  previousInChain: PoolCall | undefined = undefined;
  clean = false;
  dueTick = -1;
  nextDue: Deadline | undefined = undefined;
  previousDue: Deadline | undefined = undefined;

  readonly handle: CallerSide;
  readonly cause: Cause;
  /** How many calls led to this one from inside functions. */
  readonly depth: number;
  /** False: whoever made the call writes the record. */
  readonly recorded: boolean;
  readonly namespace: string;
  readonly name: string;
  /** Calls made from inside this one that run. */
  children: Set<CallHandle> | undefined = undefined;

  readonly #host: CallHost;
  readonly #request: InvocationRequest;
  readonly #sink: InvocationSink;
  readonly #acceptedAt: number;
  /** Accepted earlier than it was handed in, by this much. */
  readonly #olderMs: number;
  readonly #beganAt: number;
  readonly #began: number;
  readonly #totalLimitMs: number;
  readonly #patienceMs: number | undefined;
  #phase: Phase = accepted;
  #revision: Revision | undefined = undefined;
  #fleet: Fleet | undefined = undefined;
  #worker: Worker | undefined = undefined;
  #link: CallHandle | undefined = undefined;
  /** What of the body came before the instance did. */
  #early: Uint8Array[] | undefined = undefined;
  #bodyEnded: boolean;
  #grantedAt = 0;
  #runLimitMs = 0;
  #cold = false;
  #coldStartMs = 0;
  #initMs = 0;
  #status = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #logs: LogLine[] | undefined = undefined;
  #logLength = 0;
  #logsDropped = 0;
  #annotations: Invocation["annotations"];
  /** The answer, where the record is to have it. */
  #kept: KeptAnswer | undefined = undefined;

  constructor(
    host: CallHost,
    request: InvocationRequest,
    sink: InvocationSink,
    id: string,
    depth: number,
    recorded: boolean,
  ) {
    this.#host = host;
    this.#request = request;
    this.#sink = sink;
    this.id = id;
    this.depth = depth;
    this.recorded = recorded;
    this.namespace = request.namespace;
    this.name = request.name;
    this.method = request.method;
    this.target = request.target;
    this.url = request.url;
    this.headers = request.headers;
    this.body = request.body;
    this.attempt = request.attempt ?? 1;
    this.cause = request.cause;
    this.traceparent = request.cause.traceparent;
    this.idempotencyKey = request.idempotencyKey;
    this.#bodyEnded = request.body !== undefined;
    this.#bytesIn = request.body === undefined ? 0 : request.body.length;
    this.#beganAt = host.clock.now();
    this.#began = host.clock.monotonic();
    this.#acceptedAt = request.acceptedAt ?? this.#beganAt;
    this.#olderMs = Math.max(0, this.#beganAt - this.#acceptedAt);
    this.#totalLimitMs = request.timeoutMs ?? Number.POSITIVE_INFINITY;
    this.#patienceMs = request.patienceMs;
    this.#annotations = request.annotations;
    this.handle = new CallerSide(this);
  }

  /** The revision is known: on to an instance. */
  admit(revision: Revision): void {
    if (this.#phase !== accepted) return;
    this.#revision = revision;
    const { limits, dialect } = revision.config;
    if (this.#bytesIn > limits.requestBytes) {
      this.#phase = over;
      this.#sink.fail(requestTooLarge(limits.requestBytes), undefined);
      return;
    }
    // A dialect reads the body; it comes before anything is held for the call.
    if (dialect !== undefined && this.body === undefined) {
      if (this.#bodyEnded) this.body = Buffer.concat(this.#early ?? []);
      else this.handle.onDrain?.();
      if (!this.#bodyEnded) return;
    }
    this.#acquire(revision);
  }

  #acquire(revision: Revision): void {
    const { limits } = revision.config;
    let worker: Worker | undefined;
    this.#phase = waiting;
    try {
      this.#fleet = this.#host.fleetOf(revision);
      worker = this.#fleet.acquire(this);
    } catch (thrown) {
      this.#phase = over;
      this.#sink.fail(asVirgaError(thrown), undefined);
      return;
    }
    if (worker !== undefined) {
      this.granted(worker);
    } else if (this.#isWaiting()) {
      const patience = Math.min(this.#patienceMs ?? limits.timeoutMs + limits.startTimeoutMs, this.#totalLimitMs);
      this.#host.deadlines.set(this, patience, this.#began);
    }
  }

  /** It cannot be made at all. */
  reject(error: VirgaError): void {
    if (this.#phase === over) return;
    this.#phase = over;
    this.#sink.fail(error, undefined);
  }

  // The pool's side.

  granted(worker: Worker): void {
    const now = this.#host.clock.monotonic();
    const waitedMs = now - this.#began;
    if (worker.fresh) {
      worker.fresh = false;
      this.#cold = true;
      // A start that began before the call did is only its own as far as it waited.
      this.#initMs = Math.min(worker.birth.initMs, waitedMs);
      this.#coldStartMs = Math.min(worker.birth.coldStartMs, waitedMs - this.#initMs);
    }
    this.#worker = worker;
    this.#phase = running;
    this.#grantedAt = now;
    this.#runLimitMs = Math.min(worker.fleet.revision.config.limits.timeoutMs, this.#totalLimitMs - waitedMs);
    this.deadline = this.#beganAt + waitedMs + this.#runLimitMs;
    this.#host.deadlines.set(this, this.#runLimitMs, now);
    const { dialect } = worker.fleet.revision.config;
    if (dialect === undefined) this.#hand(worker);
    else this.#adapt(dialect, worker);
  }

  /** As its dialect wants it. */
  #adapt(dialect: string, worker: Worker): void {
    const put = (prepared: PreparedCall): void => {
      if (this.#phase !== running) return;
      this.body = prepared.body;
      this.headers = prepared.headers;
      this.bodySuffices = prepared.bodySuffices === true;
      const { annotations } = prepared;
      // An object that stands for many calls stays the same one: records write it once.
      if (annotations !== undefined)
        this.#annotations = this.#annotations === undefined ? annotations : { ...this.#annotations, ...annotations };
      // Who writes the record of all attempts together has the answer itself.
      if (prepared.keepsResult === true && this.recorded) this.#kept = { headers: [], chunks: [], bytes: 0 };
      this.#hand(worker);
    };
    const refuse = (thrown: unknown): void => this.fail(asVirgaError(thrown), unused);
    const { id, deadline } = this;
    try {
      const adapter = this.#host.adapters[dialect];
      if (adapter === undefined) throw new VirgaError("unavailable", `the dialect ${dialect} is not there`);
      const body = this.body ?? Buffer.alloc(0);
      const prepared = adapter.prepare({ id, request: this.#request, body, revision: this.#revision!, deadline });
      if (prepared instanceof Promise) prepared.then(put, refuse);
      else put(prepared);
    } catch (thrown) {
      refuse(thrown);
    }
  }

  #hand(worker: Worker): void {
    try {
      this.#link = worker.instance.invoke(this, this);
    } catch (thrown) {
      const { message } = asVirgaError(thrown);
      this.fail(
        new VirgaError("function_crashed", `The call could not be handed to its instance: ${message}`, {
          cause: thrown,
        }),
      );
      return;
    }
    if (this.body === undefined) this.#passEarly();
  }

  refused(error: VirgaError): void {
    if (this.#phase === waiting) this.#finish(error, undefined);
  }

  logged(line: LogLine): boolean {
    this.#logLength += line.text.length;
    if (this.#logLength > this.#revision!.config.limits.logBytes) {
      this.#logsDropped++;
      return false;
    }
    this.#logs ??= [];
    this.#logs.push(line);
    return true;
  }

  lost(error: VirgaError): void {
    if (this.#phase === running) this.fail(error);
  }

  expired(): void {
    if (this.#phase === waiting) {
      const obstacle = this.#fleet?.obstacle;
      this.#fleet?.leave(this);
      const waited = Math.round(this.#host.clock.monotonic() - this.#began);
      this.#finish(
        new VirgaError(
          "no_instance",
          `No instance of ${this.name} was free within ${waited} ms${obstacle === undefined ? "" : `: ${obstacle}`}`,
          { fix: "Call again later, or raise scaling.max, limits.concurrency or the platform's budget." },
        ),
        undefined,
      );
    } else if (this.#phase === running) {
      this.#abort(
        new VirgaError("timeout", `The function ran longer than ${Math.round(this.#runLimitMs)} ms`, {
          field: "limits.timeoutMs",
          fix: "Raise limits.timeoutMs, do less in one call, or call it asynchronously.",
        }),
        "timeout",
      );
    }
  }

  // The instance's side.

  head(status: number, headers: readonly string[]): void {
    if (this.#phase !== running) return;
    const limit = this.#revision!.config.limits.responseBytes;
    for (let index = 0; index < headers.length; index += 2) {
      // Known to be too large before a byte of it is passed on. An answer to HEAD announces what it does not bring.
      if (headers[index] === "content-length" && Number(headers[index + 1]) > limit && this.method !== "HEAD") {
        this.#abort(responseTooLarge(limit), "cancelled");
        return;
      }
    }
    this.#status = status;
    if (this.#kept !== undefined) this.#kept.headers = headers;
    this.#sink.head(status, headers);
  }

  data(chunk: Uint8Array): boolean {
    if (this.#phase !== running) return true;
    this.#bytesOut += chunk.length;
    const limit = this.#revision!.config.limits.responseBytes;
    if (this.#bytesOut > limit) {
      this.#bytesOut -= chunk.length;
      this.#abort(responseTooLarge(limit), "cancelled");
      return true;
    }
    if (this.#kept !== undefined) keep(this.#kept, chunk);
    return this.#sink.data(chunk);
  }

  end(measured: CallMeasurement): void {
    if (this.#phase !== running) return;
    const runMs = this.#host.clock.monotonic() - this.#grantedAt;
    const worker = this.#worker!;
    const invocation = this.#close(undefined, measured);
    worker.accountedCpuMicros += measured.cpuMicros;
    worker.release(this, runMs);
    this.#sink.end(invocation);
    this.#host.settled(this, invocation);
  }

  fail(error: VirgaError, measured?: CallMeasurement): void {
    if (this.#phase !== running) return;
    const worker = this.#worker!;
    // Its program is gone or not to be trusted any more, whether the pool knows it yet or not.
    if (condemning.has(error.code)) worker.condemn("its program failed");
    this.#finish(error, measured);
  }

  // The caller's side.

  write(chunk: Uint8Array): boolean {
    if (this.#phase === over || this.#bodyEnded) return true;
    this.#bytesIn += chunk.length;
    const limit = this.#revision?.config.limits.requestBytes;
    if (limit !== undefined && this.#bytesIn > limit) {
      this.#abort(requestTooLarge(limit), "cancelled");
      return true;
    }
    if (this.#link !== undefined) return this.#link.write(chunk);
    this.#early ??= [];
    this.#early.push(chunk);
    return this.#isGathered();
  }

  endBody(): void {
    if (this.#phase === over || this.#bodyEnded) return;
    this.#bodyEnded = true;
    if (this.#phase === accepted && this.#isGathered()) {
      this.body = Buffer.concat(this.#early ?? []);
      this.#early = undefined;
      this.#acquire(this.#revision!);
    } else this.#link?.end();
  }

  resume(): void {
    if (this.#phase === running) this.#link?.resume();
  }

  cancel(reason: "cancelled" | "timeout"): void {
    if (this.#phase === over) return;
    const error =
      reason === "cancelled"
        ? new VirgaError("cancelled", "The call was cancelled before it was answered")
        : new VirgaError("timeout", "The caller's time was over", { fix: "Allow the call more time." });
    this.#abort(error, reason);
  }

  // Ends.

  /** Ends it from this side, wherever it is. */
  #abort(error: VirgaError, reason: "cancelled" | "timeout"): void {
    if (this.#phase === accepted) {
      this.reject(error);
      return;
    }
    if (this.#phase === waiting) {
      this.#fleet?.leave(this);
      this.#finish(error, undefined);
      return;
    }
    if (this.#phase !== running) return;
    const worker = this.#worker!;
    const link = this.#link;
    if (reason === "timeout") worker.condemn("a call ran past its deadline");
    this.#finish(error, undefined, reason === "cancelled");
    link?.cancel(reason);
  }

  /** `lingers`: the program may go on with it for a while, and its slot with it. */
  #finish(error: VirgaError, measured: CallMeasurement | undefined, lingers = false): void {
    const worker = this.#worker;
    const invocation = this.#close(error, measured);
    for (const child of this.children ?? []) child.cancel("cancelled");
    this.#sink.fail(error, invocation);
    if (worker === undefined) {
      this.#host.settled(this, invocation);
    } else if (measured === undefined && worker.capacity === 1 && worker.state !== "gone") {
      void this.#measure(worker, invocation, lingers);
    } else {
      if (measured !== undefined) worker.accountedCpuMicros += measured.cpuMicros;
      this.#leave(worker, lingers);
      this.#host.settled(this, invocation);
    }
  }

  #leave(worker: Worker, lingers: boolean): void {
    if (lingers) worker.abandon(this);
    else worker.release(this, undefined);
  }

  /** The instance gave no measurement with a failure; being alone on it, the call used what its counters say beyond the others'. */
  async #measure(worker: Worker, invocation: Invocation, lingers: boolean): Promise<void> {
    let complete = invocation;
    if (lingers) this.#leave(worker, true);
    try {
      const { cpuMicros, memoryPeakBytes } = await this.#counters(worker);
      const used = cpuMicros - worker.startCpuMicros;
      const cpuMs = Math.max(0, used - worker.accountedCpuMicros) / 1000;
      worker.accountedCpuMicros = Math.max(used, worker.accountedCpuMicros);
      complete = { ...invocation, usage: { ...invocation.usage, cpuMs, memoryPeakBytes } };
    } catch {
      // It died with its counters; the record says 0.
    }
    if (!lingers) this.#leave(worker, false);
    this.#host.settled(this, complete);
  }

  /** A program that is to be killed must not live on because its counters cannot be read. */
  #counters(worker: Worker): Promise<ProgramUsage> {
    return new Promise((resolve, reject) => {
      const timer = this.#host.clock.after(countersWithinMs, () => reject(new Error("no counters in time")));
      worker.instance
        .usage()
        .then(resolve, reject)
        .finally(() => timer.cancel());
    });
  }

  #close(error: VirgaError | undefined, measured: CallMeasurement | undefined): Invocation {
    const { clock, deadlines } = this.#host;
    deadlines.clear(this);
    const ran = this.#phase === running;
    const now = clock.monotonic();
    const runMs = ran ? toMicroseconds(now - this.#grantedAt) : 0;
    const waitedMs = (ran ? this.#grantedAt : now) - this.#began;
    this.#phase = over;
    this.#early = undefined;
    const revision = this.#revision!;
    return {
      id: this.id,
      namespace: this.namespace,
      name: this.name,
      revision: revision.number,
      instance: this.#worker?.id,
      cause: this.cause,
      status: error !== undefined ? statusOf(error) : this.#status >= 500 ? "failed" : "succeeded",
      attempt: this.attempt,
      responseStatus: this.#status === 0 ? undefined : this.#status,
      timings: {
        acceptedAt: this.#acceptedAt,
        queueMs: toMicroseconds(Math.max(0, waitedMs - this.#coldStartMs - this.#initMs)),
        coldStartMs: toMicroseconds(this.#coldStartMs),
        initMs: toMicroseconds(this.#initMs),
        runMs,
        totalMs: toMicroseconds(this.#olderMs + now - this.#began),
      },
      usage: {
        coldStart: this.#cold,
        billedMs: billedMs(runMs),
        memoryMb: revision.config.limits.memoryMb,
        memoryPeakBytes: measured === undefined ? 0 : measured.memoryPeakBytes,
        cpuMs: measured === undefined ? 0 : measured.cpuMicros / 1000,
        bytesIn: this.#bytesIn,
        bytesOut: this.#bytesOut,
      },
      error: error === undefined ? undefined : { code: error.code, message: error.message, stack: error.detail.stack },
      logs: this.#logs ?? noLogs,
      logsDropped: this.#logsDropped === 0 ? undefined : this.#logsDropped,
      result: this.#kept === undefined ? undefined : resultOf(this.#kept, this.#status),
      idempotencyKey: this.idempotencyKey,
      annotations: this.#annotations,
    };
  }

  /** Its body is waited for as a whole. */
  #isGathered(): boolean {
    return this.#revision?.config.dialect !== undefined;
  }

  #passEarly(): void {
    const link = this.#link!;
    link.onDrain = () => this.handle.onDrain?.();
    const limit = this.#revision!.config.limits.requestBytes;
    if (this.#bytesIn > limit) {
      // It came while the revision was still being looked up.
      this.#abort(requestTooLarge(limit), "cancelled");
      return;
    }
    let open = true;
    for (const chunk of this.#early ?? []) open = link.write(chunk);
    const hadEarly = this.#early !== undefined;
    this.#early = undefined;
    if (this.#bodyEnded) link.end();
    else if (hadEarly && open) this.handle.onDrain?.();
  }

  #isWaiting(): boolean {
    return this.#phase === waiting;
  }
}

/** The caller's end of a call. Apart from the call itself, since `end` means another thing on either side. */
class CallerSide implements InvocationHandle {
  onDrain: (() => void) | undefined = undefined;
  readonly #call: RunningCall;

  constructor(call: RunningCall) {
    this.#call = call;
  }

  get id(): string {
    return this.#call.id;
  }

  write(chunk: Uint8Array): boolean {
    return this.#call.write(chunk);
  }

  end(): void {
    this.#call.endBody();
  }

  resume(): void {
    this.#call.resume();
  }

  cancel(reason: "cancelled" | "timeout"): void {
    this.#call.cancel(reason);
  }
}

/** Milliseconds to three decimals: what the clock tells beyond is noise, and would be a third of a record's size. */
function toMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

type Phase = 0 | 1 | 2 | 3;
const accepted = 0;
const waiting = 1;
const running = 2;
const over = 3;

interface KeptAnswer {
  headers: readonly string[];
  readonly chunks: Uint8Array[];
  bytes: number;
}

/** What is beyond a record's share is left out, and the record says so by having no body. */
function keep(kept: KeptAnswer, chunk: Uint8Array): void {
  kept.bytes += chunk.length;
  if (kept.bytes <= keptBytes) kept.chunks.push(chunk);
  else kept.chunks.length = 0;
}

function resultOf({ headers, chunks, bytes }: KeptAnswer, status: number): AsyncResult | undefined {
  if (status === 0) return undefined;
  if (bytes > keptBytes) return { status, headers };
  const [first] = chunks;
  const body =
    chunks.length === 1 && first !== undefined
      ? Buffer.from(first.buffer, first.byteOffset, first.byteLength)
      : Buffer.concat(chunks);
  return { status, headers, body: body.toString("base64") };
}

/** As of the answers of asynchronous calls, which are kept as a blob beyond it. */
const keptBytes = 2 ** 20;
/** The call never reached its program. */
const unused: CallMeasurement = { cpuMicros: 0, memoryPeakBytes: 0 };
const countersWithinMs = 100;
const noLogs: readonly LogLine[] = [];

/** After these the instance gets no other call. */
const condemning: ReadonlySet<string> = new Set(["function_crashed", "out_of_memory", "invalid_response", "timeout"]);

export function statusOf(error: VirgaError): InvocationStatus {
  if (error.code === "timeout") return "timed_out";
  if (error.code === "cancelled") return "cancelled";
  return "failed";
}

function requestTooLarge(limit: number): VirgaError {
  return new VirgaError(
    "request_too_large",
    `The request's body is larger than the ${limit} bytes that the function takes`,
    {
      field: "limits.requestBytes",
      fix: "Send less, or raise limits.requestBytes.",
    },
  );
}

function responseTooLarge(limit: number): VirgaError {
  return new VirgaError(
    "response_too_large",
    `The answer is larger than the ${limit} bytes that the function may send`,
    {
      field: "limits.responseBytes",
      fix: "Answer less, or raise limits.responseBytes.",
    },
  );
}
