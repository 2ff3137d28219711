import { VirgaError, asVirgaError } from "../core/errors.ts";
import type { AsyncResult, CallUsage, FunctionConfig, Invocation, InvocationStatus, Revision } from "../core/model.ts";
import { type AttemptOutcome, comesAgain, nextStep } from "../core/retry.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { Chance, Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Lease, Queue } from "../ports/queue.ts";
import { type AsyncMessage, decodeMessage } from "./async-message.ts";
import { keepAnswer } from "./async-result.ts";
import type { Functions, GatheredAnswer, History, InvocationHandle } from "./engine.ts";
import type { EngineInvoker } from "./invoker.ts";
import type { Lane } from "./lane.ts";
import type { Recent } from "./recent.ts";

/** What an attempt needs of the dispatcher. */
export interface AttemptHost {
  readonly queue: Queue;
  readonly values: Pick<Blobs, "put">;
  readonly functions: Pick<Functions, "resolve">;
  readonly invoker: Pick<EngineInvoker, "attempt">;
  readonly history: Pick<History, "get" | "appendDurably">;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly log: Log;
  /** Messages older than this process may have been half settled by the one before. */
  readonly startedAt: number;
  readonly ledger: AttemptLedger;
  /** When a revived call began anew; undefined where it was not revived. */
  revivedAt(namespace: string, id: string): Promise<number | undefined>;
  /** False where an at-most-once call was begun before. Durable. */
  claim(namespace: string, id: string): Promise<boolean>;
  unclaim(namespace: string, id: string): Promise<void>;
  /** It has its answer, and holds no instance any more. */
  answered(lane: Lane): void;
  /** Tells who waits for the call, durably. */
  settled(record: Invocation): Promise<void> | undefined;
  /** Hands the settled record to the function's destination. */
  deliver(config: FunctionConfig, record: Invocation, chain: number): Promise<void>;
}

/** What is known of calls between their attempts. In memory: after a crash the counts begin anew, on the safe side. */
export interface AttemptLedger {
  /** Attempts that never reached user code. */
  readonly refusals: Recent<number>;
  /** What the failed attempts used. */
  readonly spent: Recent<CallUsage>;
}

/** One lease of one queued call, from its look at the message to its settlement. */
export class Attempt {
  readonly lease: Lease;
  readonly done: Promise<void>;
  /** Set before the handle is cancelled, so that the end knows why. */
  ending: "cancelled" | "stopping" | "lost" | undefined;
  /** `clock.monotonic()` of the newest extension. */
  leasedAt: number;
  final: InvocationStatus | undefined;
  readonly #host: AttemptHost;
  readonly #lane: Lane;
  readonly #onStart = (handle: InvocationHandle): void => {
    this.#handle = handle;
  };
  #handle: InvocationHandle | undefined;
  #holdsRoom = true;

  constructor(host: AttemptHost, lane: Lane, lease: Lease) {
    this.#host = host;
    this.#lane = lane;
    this.lease = lease;
    this.leasedAt = host.clock.monotonic();
    this.done = this.#run();
  }

  /** Cuts it off. */
  interrupt(ending: "cancelled" | "stopping" | "lost"): void {
    this.ending ??= ending;
    this.#handle?.cancel("cancelled");
  }

  async #run(): Promise<void> {
    try {
      await this.#attempt();
    } catch (thrown) {
      // The store or the kept values: the message stays, and comes again when its lease is over.
      this.#host.log.error("an attempt could not be settled", {
        invocation: this.lease.id,
        error: asVirgaError(thrown),
      });
    }
    this.#giveRoom();
  }

  /** Of an ordinary call it awaits the answer, then that it is written down, and nothing else. */
  async #attempt(): Promise<void> {
    const { lease } = this;
    let message: { head: AsyncMessage; body: Uint8Array };
    try {
      message = decodeMessage(lease.body);
    } catch (thrown) {
      await this.#host.queue.bury(this.#lane.queue, lease.receipt, asVirgaError(thrown).message);
      return;
    }
    const { head, body } = message;
    const number = Math.max(1, lease.attempt - (this.#host.ledger.refusals.get(lease.id) ?? 0));
    let revision: Revision;
    try {
      const { functions, chance } = this.#host;
      const found = functions.resolve(this.#lane.id, head, chance.random());
      revision = underPolicy(found instanceof Promise ? await found : found, head.policy);
    } catch (thrown) {
      const error = asVirgaError(thrown);
      if (error.kind === "user") await this.#bury({ head, number }, undefined, error);
      else await this.#release(troubleMs);
      return;
    }
    const run: Run = { head, number, revision };
    const policy = revision.config.async;
    if (this.#mayBeSettled() && (await this.#isSettled(run))) return;
    const age = this.#age(run);
    const ageMs = typeof age === "number" ? age : await age;
    const mayRun = ageMs <= policy.maxAgeMs && number <= policy.maxAttempts && policy.delivery !== "at-most-once";
    if (!mayRun && (await this.#mayNotRun(run, ageMs))) return;
    let answer: Ended = cutOff;
    if (this.ending === undefined) {
      try {
        answer = await this.#host.invoker.attempt(
          { ...head, ...this.#lane.id, id: lease.id, body, attempt: number, patienceMs: policy.maxAgeMs - ageMs },
          this.#onStart,
        );
      } catch (thrown) {
        answer = { error: asVirgaError(thrown) };
      }
      this.#handle = undefined;
    }
    this.#giveRoom();
    if (this.ending === "lost") return;
    if (answer.error !== undefined && this.ending !== undefined) await this.#cut(run, answer, answer.error);
    else await this.#conclude(run, answer);
  }

  #giveRoom(): void {
    if (!this.#holdsRoom) return;
    this.#holdsRoom = false;
    this.#host.answered(this.#lane);
  }

  #mayBeSettled(): boolean {
    return this.lease.attempt > 1 || this.lease.enqueuedAt < this.#host.startedAt;
  }

  /** A crash came between the record and the settlement. A dead letter's record may be one from before its revival. */
  async #isSettled(run: Run): Promise<boolean> {
    const record = await this.#host.history.get(this.#lane.id.namespace, this.lease.id);
    if (record === undefined || record.status === "dead_letter") return false;
    await this.#settle(run, record);
    return true;
  }

  /** Too old, begun before where that must not be twice, or cut off too often. */
  async #mayNotRun(run: Run, ageMs: number): Promise<boolean> {
    const { maxAgeMs, maxAttempts, delivery } = run.revision.config.async;
    if (ageMs > maxAgeMs) {
      const error = new VirgaError("too_old", `The call did not succeed within ${maxAgeMs} ms`, {
        field: "async.maxAgeMs",
      });
      await this.#bury(run, undefined, error);
      return true;
    }
    if (delivery === "at-most-once") {
      if (await this.#host.claim(this.#lane.id.namespace, this.lease.id)) return false;
      await this.#settle(run, this.#record(run, undefined, interrupted()));
      return true;
    }
    if (run.number <= maxAttempts) return false;
    const error = new VirgaError("attempt_interrupted", `All of ${maxAttempts} attempts were cut off`);
    await this.#bury({ ...run, number: maxAttempts }, undefined, error);
    return true;
  }

  /** It was cut off from outside. */
  async #cut(run: Run, answer: Ended, error: VirgaError): Promise<void> {
    const once = run.revision.config.async.delivery === "at-most-once";
    if (this.ending === "cancelled") {
      await this.#settle(run, { ...this.#record(run, answer, error), status: "cancelled" });
    } else if (once && answer.invocation?.instance !== undefined) {
      await this.#settle(run, { ...this.#record(run, answer, interrupted()), status: "failed" });
    } else {
      if (once) await this.#host.unclaim(this.#lane.id.namespace, this.lease.id);
      await this.#release(0);
    }
  }

  #conclude(run: Run, answer: Ended): Promise<void> {
    const { status, error } = answer;
    const failed =
      error !== undefined || (status ?? 200) >= 500 || comesAgain(status ?? 200, run.revision.config.async);
    if (failed) return this.#concludeFailure(run, answer);
    const result = keepAnswer(answer, this.#host.values);
    if (!(result instanceof Promise)) return this.#succeed(run, answer, result);
    return result.then(
      (kept) => this.#succeed(run, answer, kept),
      (thrown: unknown) => this.#concludeFailure(run, this.#unkept(answer, asVirgaError(thrown))),
    );
  }

  #succeed(run: Run, answer: Ended, result: AsyncResult | undefined): Promise<void> {
    return this.#settle(run, { ...this.#record(run, answer, undefined), status: "succeeded", result });
  }

  /** The call has run, and nobody will see what it answered. */
  #unkept({ invocation }: Ended, error: VirgaError): Ended {
    this.#host.log.error("what a call answered could not be kept", { invocation: this.lease.id, error });
    return { error, ...(invocation && { invocation: { ...invocation, status: "failed" } }) };
  }

  async #concludeFailure(run: Run, answer: Ended): Promise<void> {
    const { ledger, chance } = this.#host;
    const policy = run.revision.config.async;
    const { error } = answer;
    const outcome: AttemptOutcome =
      error === undefined
        ? {
            kind: "answered",
            status: answer.status ?? 200,
            retryAfterMs: retryAfterMs(answer.headers ?? [], this.#host.clock.now()),
          }
        : { kind: "failed", code: error.code };
    const state = { attempt: run.number, ageMs: await this.#age(run), random: chance.random() };
    const step = nextStep(outcome, state, policy);
    const once = policy.delivery === "at-most-once";
    if (step.kind === "succeed") {
      await this.#succeed(run, answer, await keepAnswer(answer, this.#host.values));
    } else if (step.kind === "fail") {
      await this.#settle(run, await this.#failure(run, answer, error));
    } else if (step.kind === "bury") {
      await this.#bury(run, answer, error, step.reason);
    } else if (once && step.counted) {
      await this.#settle(run, await this.#failure(run, answer, error));
    } else {
      if (once) await this.#host.unclaim(this.#lane.id.namespace, this.lease.id);
      if (!step.counted) ledger.refusals.set(this.lease.id, (ledger.refusals.get(this.lease.id) ?? 0) + 1);
      if (answer.invocation !== undefined) {
        ledger.spent.set(this.lease.id, sumOf(ledger.spent.get(this.lease.id), answer.invocation.usage));
      }
      await this.#release(step.delayMs);
    }
  }

  /** Since its acceptance, or since it was revived from the dead letters. */
  #age(run: Run): number | Promise<number> {
    const now = this.#host.clock.now();
    const age = now - run.head.acceptedAt;
    if (age <= run.revision.config.async.maxAgeMs) return age;
    return this.#host
      .revivedAt(this.#lane.id.namespace, this.lease.id)
      .then((revived) => (revived === undefined ? age : now - revived));
  }

  /** The record is durable before the message goes: a crash between the two settles again, and runs nothing again. */
  async #settle(run: Run, record: Invocation): Promise<void> {
    await this.#host.history.appendDurably(record);
    await this.#host.settled(record);
    await this.#deliver(run, record);
    // Only a call with a key can be sent again under its id.
    const remember = run.head.idempotencyKey === undefined ? forgotten : {};
    await this.#host.queue.settle(this.#lane.queue, this.lease.receipt, remember);
    this.#over(record);
  }

  async #bury(
    run: Omit<Run, "revision"> & Partial<Run>,
    answer: Ended | undefined,
    error: VirgaError | undefined,
    reason: string = error?.message ?? "",
  ): Promise<void> {
    const record: Invocation = { ...(await this.#failure(run, answer, error)), status: "dead_letter" };
    await this.#host.history.appendDurably(record);
    await this.#host.settled(record);
    if (run.revision !== undefined) await this.#deliver({ ...run, revision: run.revision }, record);
    await this.#host.queue.bury(this.#lane.queue, this.lease.receipt, reason);
    this.#over(record);
  }

  #deliver({ revision, head }: Run, record: Invocation): Promise<void> | undefined {
    const { onSuccess, onFailure } = revision.config.async;
    if (onSuccess === undefined && onFailure === undefined) return undefined;
    return this.#host.deliver(revision.config, record, head.chain ?? 0);
  }

  async #release(delayMs: number): Promise<void> {
    await this.#host.queue.release(this.#lane.queue, this.lease.receipt, delayMs);
  }

  #over(record: Invocation): void {
    this.final = record.status;
    this.#host.ledger.refusals.delete(this.lease.id);
    this.#host.ledger.spent.delete(this.lease.id);
  }

  #record(
    { revision, head, number }: Omit<Run, "revision"> & Partial<Run>,
    answer: Ended | undefined,
    error: VirgaError | undefined,
  ): Invocation {
    const { clock, ledger } = this.#host;
    const ran = answer?.invocation;
    const record: Invocation = ran ?? {
      id: this.lease.id,
      ...this.#lane.id,
      revision: revision?.number ?? head.revision ?? 0,
      cause: head.cause,
      status: "failed",
      attempt: number,
      timings: {
        acceptedAt: head.acceptedAt,
        queueMs: 0,
        coldStartMs: 0,
        initMs: 0,
        runMs: 0,
        totalMs: Math.max(0, clock.now() - head.acceptedAt),
      },
      usage: { ...nothingUsed, memoryMb: revision?.config.limits.memoryMb ?? 0 },
      logs: [],
      idempotencyKey: head.idempotencyKey,
      annotations: head.annotations,
    };
    return {
      ...record,
      usage: sumOf(ledger.spent.get(this.lease.id), record.usage),
      ...(error === undefined
        ? {}
        : { error: { code: error.code, message: error.message, stack: error.detail.stack } }),
    };
  }

  /** With what it answered all the same. Where that cannot be kept, the record says so. */
  async #failure(
    run: Omit<Run, "revision"> & Partial<Run>,
    answer: Ended | undefined,
    error: VirgaError | undefined,
  ): Promise<Invocation> {
    try {
      return { ...this.#record(run, answer, error), result: answer && (await keepAnswer(answer, this.#host.values)) };
    } catch (thrown) {
      return this.#record(run, answer, error ?? asVirgaError(thrown));
    }
  }
}

type Ended = Partial<GatheredAnswer>;

interface Run {
  readonly head: AsyncMessage;
  /** 1 for the first attempt that reached user code. */
  readonly number: number;
  readonly revision: Revision;
}

/** The revision as this call's sender wants it tried. */
function underPolicy(revision: Revision, policy: AsyncMessage["policy"]): Revision {
  if (policy === undefined) return revision;
  const { config } = revision;
  return { ...revision, config: { ...config, async: { ...config.async, ...policy } } };
}

function interrupted(): VirgaError {
  return new VirgaError("attempt_interrupted", "The platform stopped while the call ran; it is not run twice");
}

/** Whole seconds, or a date (RFC 9110 section 10.2.3); a day at most. */
function retryAfterMs(headers: readonly string[], now: number): number {
  const at = headers.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === "retry-after");
  if (at < 0) return 0;
  const text = headers[at + 1] ?? "";
  const wished = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isFinite(wished) ? Math.max(0, Math.min(wished, 86_400_000)) : 0;
}

/** It was told to end before it had begun. */
const cutOff: Ended = { error: new VirgaError("cancelled", "The call was cancelled before it ran") };

/** A retried call is metered once, with what all its attempts used. */
function sumOf(before: CallUsage | undefined, now: CallUsage): CallUsage {
  if (before === undefined) return now;
  return {
    coldStart: before.coldStart || now.coldStart,
    billedMs: before.billedMs + now.billedMs,
    memoryMb: now.memoryMb,
    memoryPeakBytes: Math.max(before.memoryPeakBytes, now.memoryPeakBytes),
    cpuMs: before.cpuMs + now.cpuMs,
    bytesIn: before.bytesIn + now.bytesIn,
    bytesOut: before.bytesOut + now.bytesOut,
  };
}

const nothingUsed: CallUsage = {
  coldStart: false,
  billedMs: 0,
  memoryMb: 0,
  memoryPeakBytes: 0,
  cpuMs: 0,
  bytesIn: 0,
  bytesOut: 0,
};
const troubleMs = 1000;
const forgotten = { rememberMs: 0 };
