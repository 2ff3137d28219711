import { createHash } from "node:crypto";
import { VirgaError, asVirgaError } from "../core/errors.ts";
import type { FunctionConfig, FunctionId, Invocation } from "../core/model.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { Chance, Clock, Timer } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { DeadLetter, Lease, MessageStatus, Queue } from "../ports/queue.ts";
import type { Records } from "../ports/records.ts";
import { type AsyncMessage, decodeMessage, encodeMessage } from "./async-message.ts";
import { Attempt, type AttemptHost, type AttemptLedger } from "./attempt.ts";
import type { AcceptRequest, AsyncStatus, Dispatcher, Functions, History } from "./engine.ts";
import { shuttingDown } from "./fleet.ts";
import type { EngineInvoker } from "./invoker.ts";
import { Lane, type LaneHost, leaseBatch, leaseMs } from "./lane.ts";
import { Recent } from "./recent.ts";

export interface DispatcherOptions {
  readonly queue: Queue;
  readonly records: Records;
  readonly values: Pick<Blobs, "put">;
  readonly invoker: Pick<EngineInvoker, "attempt">;
  readonly functions: Pick<Functions, "resolve">;
  readonly history: Pick<History, "get" | "appendDurably">;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly identify: () => string;
  readonly log: Log;
  /** Attempts at the same time over all functions; each function may run a few beyond it, so that none is shut out. */
  readonly concurrency: number;
  /** Hears of each settled call once its record is durable and before its message goes; again where a crash came between. */
  readonly onSettled?: (record: Invocation) => Promise<void> | undefined;
}

/** Creates it at rest; `start()` lets it run. */
export function createDispatcher(options: DispatcherOptions): Dispatcher {
  return new LaneDispatcher(options);
}

/** A queue for each function, so that a slow one's backlog stands in nobody's way. */
class LaneDispatcher implements Dispatcher, LaneHost, AttemptHost {
  readonly queue: Queue;
  readonly values: Pick<Blobs, "put">;
  readonly functions: Pick<Functions, "resolve">;
  readonly invoker: Pick<EngineInvoker, "attempt">;
  readonly history: Pick<History, "get" | "appendDurably">;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly log: Log;
  readonly startedAt: number;
  readonly ledger: AttemptLedger = { refusals: new Recent(betweenAttempts), spent: new Recent(betweenAttempts) };
  readonly #options: DispatcherOptions;
  readonly #lanes = new Map<string, Promise<Lane>>();
  /** Those that are open, by namespace and name. */
  readonly #opened = new Map<string, Map<string, Lane>>();
  /** Lanes with something to do as far as they know, that the total kept from it. */
  readonly #blocked = new Set<Lane>();
  #unblocking = false;
  /** Calls that are being cancelled: their leases are not begun. */
  readonly #cancelling = new Set<string>();
  /** The functions of the calls accepted last; others are looked for. */
  readonly #recent = new Recent<Lane>(recentCalls);
  /** Attempts that were begun and are not settled. */
  #begun = 0;
  /** Of those, the ones that hold an instance or wait for one. */
  #running = 0;
  /** Attempts that lanes are about to lease. */
  #reserved = 0;
  #known: Promise<void> | undefined;
  #renewal: Timer | undefined;
  #whenIdle: (() => void) | undefined;
  #stopped = false;
  open = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.queue = options.queue;
    this.values = options.values;
    this.functions = options.functions;
    this.invoker = options.invoker;
    this.history = options.history;
    this.clock = options.clock;
    this.chance = options.chance;
    this.log = options.log;
    this.startedAt = options.clock.now();
  }

  accept(request: AcceptRequest): Promise<{ id: string; duplicate: boolean }> {
    return this.#accept(request, 0);
  }

  async status(namespace: string, id: string): Promise<AsyncStatus | undefined> {
    const found = await this.#find(namespace, id);
    if (found === undefined || found.message.state === "settled") {
      const invocation = await this.history.get(namespace, id);
      if (
        invocation === undefined ||
        (found === undefined && invocation.cause.kind !== "async" && invocation.result === undefined)
      ) {
        return undefined;
      }
      return settledStatus(invocation);
    }
    const { lane, message } = found;
    const invocation = message.state === "dead" ? await this.history.get(namespace, id) : undefined;
    return {
      ...lane.id,
      id,
      status: message.state === "dead" ? "dead_letter" : message.state === "leased" ? "running" : "queued",
      attempt: message.attempt,
      acceptedAt: message.enqueuedAt,
      nextAttemptAt: message.state === "waiting" ? message.dueAt : undefined,
      message,
      invocation,
    };
  }

  async cancel(namespace: string, id: string): Promise<boolean> {
    const found = await this.#find(namespace, id);
    if (found === undefined || found.message.state === "settled" || found.message.state === "dead") return false;
    const { lane, message } = found;
    this.#cancelling.add(id);
    try {
      const attempt = lane.attempts.get(id);
      if (attempt !== undefined) {
        attempt.interrupt("cancelled");
        await attempt.done;
        if (attempt.final !== undefined) return attempt.final === "cancelled";
      }
      // It waits, perhaps for its next attempt. Nothing begins it any more.
      const record = this.#cancelled(lane, message);
      await this.history.appendDurably(record);
      await this.settled(record);
      await this.queue.cancel(lane.queue, id);
      this.ledger.refusals.delete(id);
      this.ledger.spent.delete(id);
      return true;
    } finally {
      this.#cancelling.delete(id);
    }
  }

  async deadLetters(namespace: string, options: { after?: string; limit: number }): Promise<AsyncStatus[]> {
    let lanes = await this.#lanesOf(namespace);
    let after = options.after;
    if (after !== undefined) {
      const found = await this.#find(namespace, after);
      // A cursor that is gone (revived meanwhile) starts over.
      if (found === undefined) after = undefined;
      else lanes = lanes.slice(lanes.indexOf(found.lane));
    }
    const items: AsyncStatus[] = [];
    for (const lane of lanes) {
      const dead = await this.queue.dead(lane.queue, {
        limit: options.limit - items.length,
        ...(after === undefined ? {} : { after }),
      });
      after = undefined;
      items.push(...(await Promise.all(dead.map((letter) => this.#deadStatus(lane, letter)))));
      if (items.length >= options.limit) break;
    }
    return items;
  }

  async revive(namespace: string, id: string): Promise<boolean> {
    const found = await this.#find(namespace, id);
    if (found?.message.state !== "dead") return false;
    await this.unclaim(namespace, id);
    await this.#options.records.put(revivedKey(namespace, id), this.clock.now(), { ttlMs: longestLifeMs });
    const revived = await this.queue.revive(found.lane.queue, id);
    found.lane.pump();
    return revived;
  }

  async depth(): Promise<{ waiting: number; leased: number; dead: number }> {
    await this.#knowAll();
    const sum = { waiting: 0, leased: 0, dead: 0 };
    for (const lane of await Promise.all(this.#lanes.values())) {
      const { waiting, leased, dead } = await this.queue.depth(lane.queue);
      sum.waiting += waiting;
      sum.leased += leased;
      sum.dead += dead;
    }
    return sum;
  }

  start(): void {
    if (this.open || this.#stopped) return;
    this.open = true;
    this.#renew();
    void this.#openAll();
  }

  async stop(graceMs: number): Promise<void> {
    this.open = false;
    this.#stopped = true;
    const lanes = await Promise.all(this.#lanes.values());
    for (const lane of lanes) lane.close();
    if (this.#running > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#whenIdle = resolve;
      const timer = this.clock.after(graceMs, resolve);
      await promise;
      timer.cancel();
    }
    const attempts = lanes.flatMap((lane) => [...lane.attempts.values()]);
    for (const attempt of attempts) attempt.interrupt("stopping");
    await Promise.all(attempts.map((attempt) => attempt.done));
    this.#renewal?.cancel();
  }

  // For its lanes.

  reserve(lane: Lane): number {
    const own = this.#limitOf(lane) - lane.running;
    const room = Math.max(0, Math.min(own, Math.max(this.#room(), laneFloor - lane.attempts.size), leaseBatch));
    if (room === 0 && own > 0) this.#blocked.add(lane);
    this.#reserved += room;
    return room;
  }

  giveBack(count: number): void {
    this.#reserved -= count;
    this.#unblock();
  }

  begin(lane: Lane, lease: Lease): void {
    // Its canceller takes it out of the queue.
    if (this.#cancelling.has(lease.id)) return;
    this.#begun++;
    this.#running++;
    lane.running++;
    const attempt = new Attempt(this, lane, lease);
    lane.attempts.set(lease.id, attempt);
    void attempt.done.then(() => this.#ended(lane, lease.id));
  }

  // For its attempts.

  answered(lane: Lane): void {
    lane.running--;
    this.#running--;
    if (this.#running === 0) this.#whenIdle?.();
    this.#roomFor(lane);
  }

  async revivedAt(namespace: string, id: string): Promise<number | undefined> {
    return (await this.#options.records.get<number>(revivedKey(namespace, id)))?.value;
  }

  async claim(namespace: string, id: string): Promise<boolean> {
    try {
      await this.#options.records.put(claimKey(namespace, id), 1, { expect: 0, ttlMs: longestLifeMs });
      return true;
    } catch (thrown) {
      if (asVirgaError(thrown).code === "conflict") return false;
      throw thrown;
    }
  }

  async unclaim(namespace: string, id: string): Promise<void> {
    await this.#options.records.delete(claimKey(namespace, id));
  }

  settled(record: Invocation): Promise<void> | undefined {
    return this.#options.onSettled?.(record);
  }

  async deliver(config: FunctionConfig, record: Invocation, chain: number): Promise<void> {
    if (record.status === "cancelled") return;
    const name = record.status === "succeeded" ? config.async.onSuccess : config.async.onFailure;
    if (name === undefined) return;
    const fields = { function: record.name, destination: name, invocation: record.id };
    if (chain >= longestChain) {
      this.log.warn("a chain of destinations was cut", { ...fields, chain });
      return;
    }
    const { cause, namespace, id } = record;
    try {
      await this.#accept(
        {
          namespace,
          name,
          cause: {
            kind: "event",
            parent: id,
            root: cause.root ?? id,
            requestId: cause.requestId,
            traceparent: cause.traceparent,
          },
          method: "POST",
          target: "/",
          url: `http://${name}.${namespace}/`,
          headers: ["content-type", "application/json", "x-virga-destination", record.status],
          body: Buffer.from(JSON.stringify(record)),
          // Settling again after a crash must not deliver again.
          idempotencyKey: `destination/${id}/${record.status}`,
        },
        chain + 1,
      );
    } catch (thrown) {
      const error = asVirgaError(thrown);
      if (error.kind === "system" || error.kind === "transient") throw error;
      this.log.warn("a destination could not take a settled call", { ...fields, error });
    }
  }

  // Accepting.

  async #accept(request: AcceptRequest, chain: number): Promise<{ id: string; duplicate: boolean }> {
    if (this.#stopped) throw shuttingDown();
    const found = this.functions.resolve(request, request, this.chance.random());
    const revision = found instanceof Promise ? await found : found;
    const { requestBytes } = revision.config.limits;
    const limit = Math.min(requestBytes, largestQueued);
    if (request.body.length > limit) {
      throw new VirgaError("request_too_large", `The call's body is larger than ${limit} bytes`, {
        field: "limits.requestBytes",
        fix:
          limit < requestBytes
            ? "Put large inputs into a store and send their name."
            : "Send less, or raise limits.requestBytes.",
      });
    }
    const lane = this.#opened.get(request.namespace)?.get(request.name) ?? (await this.#lane(request, true));
    const { idempotencyKey, cause } = request;
    let id = request.id ?? this.#options.identify();
    if (idempotencyKey !== undefined && request.knownById === undefined) {
      id = await this.#firstId(request, idempotencyKey, id);
    }
    const head: AsyncMessage = {
      tag: request.tag,
      revision: request.revision,
      cause: cause.kind === "http" || cause.kind === "api" ? { ...cause, kind: "async" } : cause,
      method: request.method,
      target: request.target,
      url: request.url,
      headers: request.headers,
      acceptedAt: request.acceptedAt ?? this.clock.now(),
      timeoutMs: request.timeoutMs,
      idempotencyKey,
      chain: chain === 0 ? undefined : chain,
      policy: request.policy,
      annotations: request.annotations,
    };
    // With a key even where its first id is known: a crash may have come between the key's record and the queue.
    const enqueued = this.queue.enqueue(lane.queue, {
      id,
      body: encodeMessage(head, request.body),
      ...(request.order === undefined ? {} : { key: request.order }),
    });
    // A lease asked for now finds it, and lies on the disk with it.
    lane.pump();
    const { accepted } = await enqueued;
    this.#recent.set(id, lane);
    return { id, duplicate: !accepted };
  }

  /** The id that the function's first call with this key had within the last day; `id` where this is the first. */
  async #firstId(fn: FunctionId, key: string, id: string): Promise<string> {
    const { records } = this.#options;
    const hash = createHash("sha256").update(key).digest("hex");
    const record = `async-keys/${fn.namespace}/${fn.name}/${hash}`;
    for (;;) {
      try {
        await records.put(record, id, { expect: 0, ttlMs: rememberKeysMs });
        return id;
      } catch (thrown) {
        if (asVirgaError(thrown).code !== "conflict") throw thrown;
      }
      const first = await records.get<string>(record);
      // Undefined: it expired this moment, and this call is the first of a new day.
      if (first !== undefined) return first.value;
    }
  }

  // Lanes.

  /** The function's lane. `create`: it gets one where it has none yet. */
  #lane(id: FunctionId, create: boolean): Promise<Lane> {
    const key = `${id.namespace}/${id.name}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = this.#openLane(id, create);
      this.#lanes.set(key, lane);
      // A failure is the caller's to see, and not for ever.
      lane.catch(() => this.#lanes.delete(key));
    }
    return lane;
  }

  async #openLane(id: FunctionId, create: boolean): Promise<Lane> {
    const lane = new Lane(this, id);
    let isNew = false;
    if (create) {
      try {
        await this.#options.records.put(laneKey(id), this.clock.now(), { expect: 0 });
        isNew = true;
      } catch (thrown) {
        if (asVirgaError(thrown).code !== "conflict") throw thrown;
      }
    }
    // The leases of the process before this one are nobody's any more.
    if (!isNew) await this.queue.reclaim?.(lane.queue);
    const beside = this.#opened.get(id.namespace) ?? new Map<string, Lane>();
    this.#opened.set(id.namespace, beside.set(id.name, lane));
    return lane;
  }

  /** Learns of the functions that have queued calls from before. */
  #knowAll(): Promise<void> {
    this.#known ??= this.#readLanes().catch((thrown: unknown) => {
      this.#known = undefined;
      throw thrown;
    });
    return this.#known;
  }

  async #readLanes(): Promise<void> {
    let after: string | undefined;
    for (;;) {
      const page = await this.#options.records.list(lanePrefix, {
        limit: 1000,
        ...(after === undefined ? {} : { after }),
      });
      await Promise.all(page.map(({ key }) => this.#lane(functionOf(key), false)));
      after = page.at(-1)?.key;
      if (page.length < 1000) return;
    }
  }

  async #openAll(): Promise<void> {
    try {
      await this.#knowAll();
      for (const lane of await Promise.all(this.#lanes.values())) lane.pump();
    } catch (thrown) {
      this.log.error("queued calls could not be found; trying again", { error: asVirgaError(thrown) });
      this.clock.after(troubleMs, () => {
        if (this.open) void this.#openAll();
      });
    }
  }

  async #lanesOf(namespace: string): Promise<Lane[]> {
    await this.#knowAll();
    const lanes = (await Promise.all(this.#lanes.values())).filter((lane) => lane.id.namespace === namespace);
    return lanes.sort((a, b) => (a.id.name < b.id.name ? -1 : 1));
  }

  async #find(namespace: string, id: string): Promise<{ lane: Lane; message: MessageStatus } | undefined> {
    const recent = this.#recent.get(id);
    const lanes = recent === undefined ? await this.#lanesOf(namespace) : [recent];
    for (const lane of lanes) {
      if (lane.id.namespace !== namespace) continue;
      const message = await this.queue.find(lane.queue, id);
      if (message !== undefined) return { lane, message };
    }
    return undefined;
  }

  // Running.

  /** As many attempts as the function's instances serve at the same time. */
  #limitOf(lane: Lane): number {
    try {
      const revision = this.functions.resolve(lane.id, {}, 0);
      // Where it is not at hand, a few attempts bring it.
      if (revision instanceof Promise) {
        revision.catch(() => undefined);
        return unknownLimit;
      }
      const { scaling, limits } = revision.config;
      return Math.max(1, Math.min(scaling.max * limits.concurrency, limits.queueLength));
    } catch {
      // The function is gone; its calls are leased all the same, to be buried.
      return unknownLimit;
    }
  }

  #ended(lane: Lane, id: string): void {
    lane.attempts.delete(id);
    this.#begun--;
    this.#roomFor(lane);
  }

  #roomFor(lane: Lane): void {
    if (!this.open) return;
    lane.pump();
    if (this.#blocked.size === 0 || this.#unblocking) return;
    this.#unblocking = true;
    process.nextTick(() => this.#unblock());
  }

  /** Lets lanes lease that the total held up, as far as it goes now. */
  #unblock(): void {
    this.#unblocking = false;
    if (!this.open) return;
    for (const lane of [...this.#blocked]) {
      if (this.#room() <= 0) return;
      this.#blocked.delete(lane);
      lane.look();
    }
  }

  /** For attempts of whatever function. Those that are being written down need no instance; a disk that cannot keep up holds the next ones back. */
  #room(): number {
    const { concurrency } = this.#options;
    return Math.min(concurrency - this.#running, concurrency + mostSettling - this.#begun) - this.#reserved;
  }

  #renew(): void {
    this.#renewal = this.clock.after(leaseMs / 3, () => {
      void this.#extendAll();
      this.#renew();
    });
  }

  async #extendAll(): Promise<void> {
    const now = this.clock.monotonic();
    const due: { lane: Lane; attempt: Attempt }[] = [];
    for (const opened of this.#lanes.values()) {
      const lane = await opened;
      for (const attempt of lane.attempts.values())
        if (now - attempt.leasedAt >= leaseMs / 4) due.push({ lane, attempt });
    }
    await Promise.all(due.map(({ lane, attempt }) => this.#extend(lane, attempt)));
  }

  async #extend(lane: Lane, attempt: Attempt): Promise<void> {
    const now = this.clock.monotonic();
    try {
      const held = await this.queue.extend(lane.queue, attempt.lease.receipt, leaseMs);
      if (held) attempt.leasedAt = now;
      // Settled a moment ago, or somebody else's now.
      else if (lane.attempts.get(attempt.lease.id) === attempt) attempt.interrupt("lost");
    } catch (thrown) {
      this.log.warn("a lease could not be renewed", { invocation: attempt.lease.id, error: asVirgaError(thrown) });
    }
  }

  #cancelled(lane: Lane, message: MessageStatus): Invocation {
    const spent = this.ledger.spent.get(message.id);
    return {
      ...lane.id,
      id: message.id,
      revision: 0,
      cause: { kind: "async" },
      status: "cancelled",
      attempt: message.attempt,
      timings: {
        acceptedAt: message.enqueuedAt,
        queueMs: 0,
        coldStartMs: 0,
        initMs: 0,
        runMs: 0,
        totalMs: Math.max(0, this.clock.now() - message.enqueuedAt),
      },
      usage: spent ?? {
        coldStart: false,
        billedMs: 0,
        memoryMb: 0,
        memoryPeakBytes: 0,
        cpuMs: 0,
        bytesIn: 0,
        bytesOut: 0,
      },
      error: { code: "cancelled", message: "The call was cancelled while it waited" },
      logs: [],
    };
  }

  async #deadStatus(lane: Lane, letter: DeadLetter): Promise<AsyncStatus> {
    const { id, attempt, enqueuedAt, buriedAt, reason } = letter;
    let acceptedAt = enqueuedAt;
    try {
      acceptedAt = decodeMessage(letter.body).head.acceptedAt;
    } catch {
      // That it cannot be read is why it lies here; `reason` says so.
    }
    return {
      ...lane.id,
      id,
      status: "dead_letter",
      attempt,
      acceptedAt,
      message: { id, state: "dead", attempt, enqueuedAt, dueAt: buriedAt, reason },
      invocation: await this.history.get(lane.id.namespace, id),
    };
  }
}

function settledStatus(invocation: Invocation): AsyncStatus {
  const { namespace, name, id, status, attempt, timings } = invocation;
  return { namespace, name, id, status, attempt, acceptedAt: timings.acceptedAt, invocation };
}

const lanePrefix = "async-lanes/";

function laneKey({ namespace, name }: FunctionId): string {
  return `${lanePrefix}${namespace}/${name}`;
}

function functionOf(key: string): FunctionId {
  const [namespace, name] = key.slice(lanePrefix.length).split("/") as [string, string];
  return { namespace, name };
}

function claimKey(namespace: string, id: string): string {
  return `async-claims/${namespace}/${id}`;
}

function revivedKey(namespace: string, id: string): string {
  return `async-revived/${namespace}/${id}`;
}

/** What the queue port takes, less the head. */
const largestQueued = 63 * 2 ** 20;
/** As the API promises for idempotency keys. */
const rememberKeysMs = 24 * 3_600_000;
/** Longer than any call lives in the queue. */
const longestLifeMs = 30 * 24 * 3_600_000;
/** Attempts of a function whose limits are not at hand. */
const unknownLimit = 16;
/** Attempts that a function may always run, whatever others hold. */
const laneFloor = 2;
const longestChain = 32;
const recentCalls = 50_000;
/** Attempts whose answers wait to be written down; some milliseconds of work for a disk that keeps up. */
const mostSettling = 2048;
/** Calls remembered between two attempts, some 200 bytes each. */
const betweenAttempts = 100_000;
const troubleMs = 1000;
