import { createHash } from "node:crypto";
import { asVirgaError, type VirgaError } from "../core/errors.ts";
import { attributeOf, type CloudEvent } from "../core/events/event.ts";
import { passes } from "../core/events/filter.ts";
import type { Cursor, StoredEvent, Subscription, Topic } from "../core/events/model.ts";
import type { FunctionId } from "../core/model.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Records } from "../ports/records.ts";
import type { Json } from "../core/workflow/definition.ts";
import type { AcceptRequest, Dispatcher, Workflows } from "./engine.ts";
import { binaryRequest, dataRequest, structuredRequest } from "./event-binding.ts";
import { cursorKey, subscriptionKey, subscriptionPrefix } from "./subscriptions.ts";
import { type TopicStore, topicKey } from "./topics.ts";

export interface FanOutOptions {
  readonly records: Records;
  readonly topics: TopicStore;
  readonly dispatcher: Pick<Dispatcher, "accept" | "status">;
  readonly workflows: Pick<Workflows, "get" | "start">;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Hands the events of topics to the dispatcher, subscription by subscription.
 *
 * The order is always: calls accepted, then cursor moved, by compare-and-swap. A crash between the two accepts them again, and
 * the idempotency key (subscription, epoch, the event's source and id) makes that no second call. So any number of processes
 * may do it at once.
 */
export class FanOut {
  readonly #options: FanOutOptions;
  /** By `NAMESPACE/NAME`. */
  readonly #lines = new Map<string, Line>();
  readonly #byTopic = new Map<string, Set<Line>>();
  #open = false;

  constructor(options: FanOutOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { records } = this.#options;
    let after: string | undefined;
    do {
      const page = await records.list<Subscription>(subscriptionPrefix, {
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      for (const { value } of page) this.#line(value);
      after = page.length < pageSize ? undefined : page.at(-1)?.key;
    } while (after !== undefined);
    this.#open = true;
    this.wakeAll();
  }

  async stop(): Promise<void> {
    this.#open = false;
    for (const { timer } of this.#lines.values()) timer?.cancel();
    await Promise.all([...this.#lines.values()].map(({ run }) => run ?? Promise.resolve()));
  }

  /** A subscription is new, or changed. */
  keep(subscription: Subscription): void {
    const line = this.#line(subscription);
    line.function = subscription.target.function;
    line.problem = undefined;
    this.#wake(line);
  }

  forget(namespace: string, name: string): void {
    const line = this.#lines.get(`${namespace}/${name}`);
    if (line === undefined) return;
    line.timer?.cancel();
    line.gone = true;
    this.#lines.delete(`${namespace}/${name}`);
    this.#byTopic.get(line.topic)?.delete(line);
  }

  wakeTopic(namespace: string, name: string): void {
    for (const line of this.#byTopic.get(topicKey(namespace, name)) ?? []) {
      // One with a problem is tried at its own time.
      if (line.problem === undefined) this.#wake(line);
    }
  }

  wakeFunction({ namespace, name }: FunctionId): void {
    for (const line of this.#lines.values()) {
      if (line.function === name && line.namespace === namespace && line.problem !== undefined) this.#wake(line);
    }
  }

  wakeAll(): void {
    for (const line of this.#lines.values()) this.#wake(line);
  }

  problemOf({ namespace, name }: Subscription): Problem | undefined {
    return this.#lines.get(`${namespace}/${name}`)?.problem;
  }

  /** The highest sequence that every enabled subscription of a topic has passed. */
  async passedByAll({ namespace, name }: Topic): Promise<number> {
    const { records } = this.#options;
    let lowest = Infinity;
    for (const line of this.#byTopic.get(topicKey(namespace, name)) ?? []) {
      const [subscription, cursor] = await Promise.all([
        records.get<Subscription>(subscriptionKey(line.namespace, line.name)),
        records.get<Cursor>(cursorKey(line.namespace, line.name)),
      ]);
      if (subscription?.value.enabled === true) lowest = Math.min(lowest, cursor?.value.sequence ?? Infinity);
    }
    return lowest;
  }

  #line({ namespace, name, topic, target }: Subscription): Line {
    let line = this.#lines.get(`${namespace}/${name}`);
    if (line !== undefined) return line;
    line = { namespace, name, topic: topicKey(namespace, topic), function: target.function, again: false, tries: 0 };
    this.#lines.set(`${namespace}/${name}`, line);
    const siblings = this.#byTopic.get(line.topic) ?? new Set<Line>();
    this.#byTopic.set(line.topic, siblings.add(line));
    return line;
  }

  #wake(line: Line): void {
    if (!this.#open || line.gone === true) return;
    line.again = true;
    line.run ??= this.#run(line).finally(() => {
      line.run = undefined;
      // It was woken while it went to sleep.
      if (line.again) this.#wake(line);
    });
  }

  async #run(line: Line): Promise<void> {
    line.timer?.cancel();
    while (line.again && this.#open && !line.gone) {
      line.again = false;
      try {
        for (let more = true; more && this.#open && !line.gone;) more = await this.#step(line);
      } catch (thrown) {
        this.#fail(line, { state: "failing", reason: asVirgaError(thrown).message });
      }
    }
  }

  /** One batch. True where there may be more. */
  async #step(line: Line): Promise<boolean> {
    const { records, topics, clock, log } = this.#options;
    const subscription = (await records.get<Subscription>(subscriptionKey(line.namespace, line.name)))?.value;
    const entry = await records.get<Cursor>(cursorKey(line.namespace, line.name));
    if (subscription === undefined || entry === undefined || !subscription.enabled) return false;
    const cursor = entry.value;
    const topic = await topics.require(line.namespace, subscription.topic);
    const { first, last } = await topics.bounds(topic);
    if (cursor.sequence >= last) {
      line.recovered = true;
      line.problem = undefined;
      return false;
    }
    const from = Math.max(first, cursor.sequence + 1);
    const events = await topics.readStream(topic, from, batchSize);
    const tally = await this.#deliver(line, subscription, cursor, events);
    const missed = from - cursor.sequence - 1;
    if (missed > 0) {
      log.warn("a subscription was overtaken by its topic's retention", {
        namespace: line.namespace,
        subscription: line.name,
        missed,
      });
    }
    const sequence = tally.passed ?? from - 1;
    if (sequence > cursor.sequence) {
      const next: Cursor = {
        ...cursor,
        sequence,
        at: clock.now(),
        delivered: cursor.delivered + tally.delivered,
        filtered: cursor.filtered + tally.filtered,
        refused: cursor.refused + tally.refused,
        missed: cursor.missed + missed,
        ...(tally.lastRefusal === undefined ? {} : { lastRefusal: tally.lastRefusal }),
      };
      try {
        await records.put(cursorKey(line.namespace, line.name), next, { expect: entry.revision });
      } catch (thrown) {
        // Somebody moved it, or the subscription is gone: look again.
        if (asVirgaError(thrown).code === "conflict") return true;
        throw thrown;
      }
    }
    if (tally.problem !== undefined) {
      this.#fail(line, tally.problem);
      return false;
    }
    line.recovered = true;
    line.tries = 0;
    line.problem = undefined;
    return true;
  }

  /** Hands over what passes the filters, side by side as far as the order allows. */
  async #deliver(
    line: Line,
    subscription: Subscription,
    cursor: Cursor,
    events: readonly StoredEvent[],
  ): Promise<Tally> {
    // Keys are remembered for a day; a process that comes back later than that looks for the calls themselves.
    const look = line.recovered !== true && this.#options.clock.now() - cursor.at > longestTrustMs;
    const chains = new Map<string, Promise<Outcome>>();
    const outcomes = await Promise.all(
      events.map((stored): Promise<Outcome> => {
        if (!passes(subscription.filters, stored.event).passes) return filtered;
        const order = orderKey(subscription, stored.event);
        if (order === undefined) return this.#hand(subscription, cursor, stored, look, order);
        const before = chains.get(order) ?? Promise.resolve<Outcome>("delivered");
        const own = before.then((outcome) =>
          typeof outcome === "object" && "state" in outcome
            ? outcome
            : this.#hand(subscription, cursor, stored, look, order),
        );
        chains.set(order, own);
        return own;
      }),
    );
    return tallyOf(subscription, events, outcomes, this.#options.log);
  }

  async #hand(
    subscription: Subscription,
    cursor: Cursor,
    stored: StoredEvent,
    look: boolean,
    order: string | undefined,
  ): Promise<Outcome> {
    const { namespace, name, target, delivery, format } = subscription;
    const { sequence, event } = stored;
    const { headers, body } = requestForms[format](event);
    const path = target.path ?? "/";
    const { id, key } = deliveryOf(subscription, cursor, stored);
    const request: AcceptRequest = {
      namespace,
      name: target.function,
      ...(target.tag === undefined ? {} : { tag: target.tag }),
      id,
      cause: { kind: "event", traceparent: attributeOf(event, "traceparent") },
      method: "POST",
      target: path,
      url: `http://${target.function}.${namespace}${path}`,
      headers: [...headers, "x-virga-subscription", name, "x-virga-sequence", String(sequence)],
      body,
      idempotencyKey: key,
      ...(Object.keys(delivery).length === 0 ? {} : { policy: delivery }),
      ...(order === undefined ? {} : { order }),
    };
    try {
      if (look && (await this.#options.dispatcher.status(namespace, request.id!)) !== undefined) return "delivered";
      if (target.preferWorkflow === true && (await this.#startRun(namespace, target.function, id, event))) {
        return "delivered";
      }
      await this.#options.dispatcher.accept(request);
      return "delivered";
    } catch (thrown) {
      const error = asVirgaError(thrown);
      if (error.code === "not_found") return { state: "target_missing", reason: error.message };
      if (error.kind === "transient" || error.kind === "system") return { state: "failing", reason: error.message };
      return { refusal: error };
    }
  }

  /** False where there is no workflow of that name. The same id begins the same run. Binary data comes as its Base64 text. */
  async #startRun(namespace: string, workflow: string, id: string, event: CloudEvent): Promise<boolean> {
    const { workflows } = this.#options;
    if ((await workflows.get(namespace, workflow)) === undefined) return false;
    await workflows.start({
      namespace,
      workflow,
      id,
      input: { json: (event.data ?? event.data_base64 ?? null) as Json },
    });
    return true;
  }

  #fail(line: Line, problem: Problem): void {
    const { clock, log } = this.#options;
    if (line.problem?.reason !== problem.reason) {
      log.warn("a subscription cannot go on", { namespace: line.namespace, subscription: line.name, ...problem });
    }
    line.problem = problem;
    line.tries++;
    line.timer?.cancel();
    if (!this.#open) return;
    const delayMs = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(line.tries - 1, 10));
    line.timer = clock.after(delayMs, () => this.#wake(line));
  }
}

/** What is at hand of a subscription between its batches. */
interface Line {
  readonly namespace: string;
  readonly name: string;
  /** The topic's key. */
  readonly topic: string;
  function: string;
  again: boolean;
  tries: number;
  run?: Promise<void> | undefined;
  timer?: Timer | undefined;
  problem?: Problem | undefined;
  gone?: boolean;
  /** The batch that the process before this one may have left half done is over. */
  recovered?: boolean;
}

const filtered = Promise.resolve<Outcome>("filtered");

interface Problem {
  readonly state: "target_missing" | "failing";
  readonly reason: string;
}

type Outcome = "delivered" | "filtered" | { readonly refusal: VirgaError } | Problem;

/** What became of a batch up to its first problem. */
interface Tally {
  /** The last event before the first problem; undefined where the first one has it. */
  readonly passed?: number;
  readonly delivered: number;
  readonly filtered: number;
  readonly refused: number;
  readonly lastRefusal?: NonNullable<Cursor["lastRefusal"]>;
  readonly problem?: Problem;
}

function tallyOf(
  { namespace, name }: Subscription,
  events: readonly StoredEvent[],
  outcomes: readonly Outcome[],
  log: Log,
): Tally {
  const counts = { delivered: 0, filtered: 0, refused: 0 };
  let passed: number | undefined;
  let lastRefusal: Tally["lastRefusal"];
  for (const [index, outcome] of outcomes.entries()) {
    const { sequence } = events[index]!;
    if (typeof outcome === "string") counts[outcome]++;
    else if ("refusal" in outcome) {
      counts.refused++;
      lastRefusal = { sequence, reason: outcome.refusal.message };
      log.warn("an event was refused", { namespace, subscription: name, sequence, error: outcome.refusal });
    } else {
      return { ...counts, problem: outcome, ...optional(passed, lastRefusal) };
    }
    passed = sequence;
  }
  return { ...counts, ...optional(passed, lastRefusal) };
}

function optional(
  passed: number | undefined,
  lastRefusal: Tally["lastRefusal"],
): Pick<Tally, "passed" | "lastRefusal"> {
  return { ...(passed === undefined ? {} : { passed }), ...(lastRefusal === undefined ? {} : { lastRefusal }) };
}

/** The queue's key of an event: keys are short, and one subscription's are not another's. */
function orderKey({ uid, order }: Subscription, event: CloudEvent): string | undefined {
  if (order === undefined) return undefined;
  if (order.by === undefined) return uid;
  const value = attributeOf(event, order.by);
  return value === undefined ? undefined : `${uid}/${createHash("sha256").update(value).digest("hex")}`;
}

/** What one delivery is known by: the same event to the same subscription, unless that was sent to another place meanwhile. */
export function deliveryOf(
  { uid }: Subscription,
  { epoch, since }: Cursor,
  { at, event }: StoredEvent,
): { id: string; key: string } {
  const key = `event/${uid}/${epoch}/${event.source}\n${event.id}`;
  return { id: deliveryId(key, Math.max(at, since)), key };
}

const requestForms = { binary: binaryRequest, structured: structuredRequest, data: dataRequest } as const;

/**
 * A UUID of version 7 of the time at which the event came, otherwise made of the key: the same for the same delivery. It lies in
 * the later half of its millisecond, behind what was made first in it: the event itself, where a dialect records that.
 */
function deliveryId(key: string, at: number): string {
  const hash = createHash("sha256").update(key).digest("hex");
  const time = Math.floor(at).toString(16).padStart(12, "0");
  const variant = ((Number.parseInt(hash[3]!, 16) & 0x3) | 0x8).toString(16);
  const late = (Number.parseInt(hash[0]!, 16) | 0x8).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${late}${hash.slice(1, 3)}-${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
}

const batchSize = 100;
const pageSize = 500;
const firstPauseMs = 1000;
const longestPauseMs = 60_000;
/** Less than the day for which the dispatcher remembers keys. */
const longestTrustMs = 20 * 3_600_000;
