import type {
  Cursor,
  Source,
  SourceStatus,
  StoredEvent,
  Subscription,
  SubscriptionStatus,
  Topic,
} from "../core/events/model.ts";
import { asVirgaError } from "../core/errors.ts";
import { createTurns } from "../core/turns.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Journal } from "../ports/journal.ts";
import type { Log } from "../ports/log.ts";
import type { Records } from "../ports/records.ts";
import type { Dispatcher, Functions, Workflows } from "./engine.ts";
import { FanOut } from "./fan-out.ts";
import { createSources } from "./sources.ts";
import { createSubscriptions } from "./subscriptions.ts";
import { TimerLoop } from "./timers.ts";
import { createTopics } from "./topics.ts";

/** Topics, what puts events on them, and where those go. Everything is durable before its promise settles. */
export interface Events {
  readonly topics: Topics;
  readonly subscriptions: Subscriptions;
  readonly sources: Sources;
}

export interface Topics {
  /** Makes a topic, or changes its retention. */
  put(wanted: { namespace: string; name: string; retention?: Partial<Topic["retention"]> }): Promise<Topic>;
  get(namespace: string, name: string): Promise<(Topic & TopicBounds) | undefined>;
  list(namespace: string): Promise<Topic[]>;
  /** With its events. Rejects with `conflict` where subscriptions or sources name it; false where there was none. */
  delete(namespace: string, name: string): Promise<boolean>;
  /**
   * All or none, in this order. Rejects with `not_found`, and with `invalid_field` where one is no CloudEvent. One that is
   * published again (the same `source` and `id`) stands on the topic twice, and is delivered once where that comes within 24 h.
   */
  publish(namespace: string, name: string, events: readonly unknown[]): Promise<{ first: number; last: number }>;
  /** Those with sequence ≥ `from`. */
  read(namespace: string, name: string, from: number, limit: number): Promise<StoredEvent[]>;
}

/** Sequences of the oldest event that is kept and the newest; `{ first: last + 1 }` where none is. */
export interface TopicBounds {
  readonly first: number;
  readonly last: number;
}

/** What may be left out has its default: no filter, binary, the function's own policy, no order, enabled. */
export type WantedSubscription = Pick<Subscription, "namespace" | "name" | "topic" | "target"> &
  Partial<Pick<Subscription, "format" | "delivery" | "order" | "enabled">> & {
    readonly filters?: unknown;
    /** Of a new one: where it begins. Default: `newest`. Where that is given, one that is enabled again skips what came meanwhile. */
    readonly from?: StartFrom;
  };

/** `newest`: behind what is there; `oldest`: with all that is kept; or with this sequence. */
export type StartFrom = "newest" | "oldest" | number;

export interface Subscriptions {
  /** Makes or changes it; it keeps its place, and its topic cannot change. The function need not be there yet. */
  put(wanted: WantedSubscription): Promise<Subscription>;
  get(namespace: string, name: string): Promise<(Subscription & { status: SubscriptionStatus }) | undefined>;
  list(namespace: string): Promise<Subscription[]>;
  /** What was handed to its function already still runs. */
  delete(namespace: string, name: string): Promise<boolean>;
  /** The id of the call, or the run, that it makes of an event of its topic; undefined where there is no such subscription. */
  deliveryId(namespace: string, name: string, stored: StoredEvent): Promise<string | undefined>;
  /** Goes on from there; what it had before is delivered again. Rejects with `not_found`. */
  seek(namespace: string, name: string, from: StartFrom): Promise<Cursor>;
}

export type WantedSource = Pick<Source, "namespace" | "name" | "topic"> &
  Partial<Pick<Source, "catchUp" | "event" | "enabled">> & {
    /** An interval without `startAt` begins one interval from now. */
    readonly timer: WantedTimer;
  };

export type WantedTimer = (
  | { readonly kind: "schedule"; readonly cron: string; readonly timezone?: string }
  | { readonly kind: "interval"; readonly everyMs: number }
  | { readonly kind: "once"; readonly at: number }
) & { readonly startAt?: number; readonly endAt?: number };

export interface Sources {
  /** Makes or changes it. With another timer, or enabled again, it begins now: what was due before is not caught up with. */
  put(wanted: WantedSource): Promise<Source>;
  get(namespace: string, name: string): Promise<(Source & { status: SourceStatus }) | undefined>;
  list(namespace: string): Promise<Source[]>;
  delete(namespace: string, name: string): Promise<boolean>;
}

/** With what the composition root needs beyond the engine's contract. */
export interface EventsEngine extends Events {
  /** Before it, events are taken and none is delivered. */
  start(): void;
  stop(): Promise<void>;
  /** Removes everything of a namespace that is being deleted. */
  forget(namespace: string): Promise<void>;
}

export interface EventsOptions {
  readonly records: Records;
  readonly journal: Journal;
  readonly dispatcher: Pick<Dispatcher, "accept" | "status">;
  readonly functions: Pick<Functions, "onChange">;
  readonly workflows: Pick<Workflows, "get" | "start">;
  /** Hears of events that have come onto a topic, whoever put them there. */
  readonly onPublished?: (namespace: string, topic: string, events: readonly StoredEvent[]) => void;
  readonly clock: Clock;
  readonly identify: () => string;
  readonly log: Log;
}

/**
 * Events over records and a journal:
 *
 *     topics/NAMESPACE/NAME               Topic                 journal: events/NAMESPACE/NAME/UID
 *     subscriptions/NAMESPACE/NAME        Subscription
 *     event-cursors/NAMESPACE/NAME        Cursor
 *     event-sources/NAMESPACE/NAME        Source
 *     event-timers/NAMESPACE/NAME         SourceState
 */
export function createEvents(options: EventsOptions): EventsEngine {
  const { functions, clock, log } = options;
  // Who names a topic and who deletes it take turns.
  const turn = createTurns();
  const topics = createTopics({ ...options, turn, namedBy });
  const fanOut = new FanOut({ ...options, topics });
  const subscriptions = createSubscriptions({ ...options, turn, topics, fanOut });
  const timers = new TimerLoop({ ...options, topics });
  const sources = createSources({ ...options, turn, topics, timers });
  let sweep: Timer | undefined;
  let unsubscribe = (): void => undefined;
  let open = false;

  topics.onPublish((namespace, name, events) => {
    options.onPublished?.(namespace, name, events);
    fanOut.wakeTopic(namespace, name);
  });

  async function namedBy(namespace: string, name: string): Promise<string[]> {
    const [named, fed] = [await subscriptions.list(namespace), await sources.list(namespace)];
    return [
      ...named.filter(({ topic }) => topic === name).map((one) => `subscription ${one.name}`),
      ...fed.filter(({ topic }) => topic === name).map((one) => `source ${one.name}`),
    ];
  }

  async function begin(): Promise<void> {
    try {
      await fanOut.start();
      await timers.start();
    } catch (thrown) {
      log.error("events could not be started; trying again", { error: asVirgaError(thrown) });
      sweep = clock.after(troubleMs, () => void begin());
      return;
    }
    await sweepAll();
  }

  /** Retention, and what a wake-up that went wrong left behind. */
  async function sweepAll(): Promise<void> {
    if (!open) return;
    try {
      await topics.sweep((topic) => fanOut.passedByAll(topic));
      fanOut.wakeAll();
    } catch (thrown) {
      log.error("topics could not be swept", { error: asVirgaError(thrown) });
    }
    if (open) sweep = clock.after(sweepMs, () => void sweepAll());
  }

  return {
    topics,
    subscriptions,
    sources,

    start() {
      open = true;
      unsubscribe = functions.onChange((id, state) => {
        if (state !== undefined) fanOut.wakeFunction(id);
      });
      void begin();
    },

    async stop() {
      open = false;
      sweep?.cancel();
      unsubscribe();
      await Promise.all([fanOut.stop(), timers.stop()]);
    },

    async forget(namespace) {
      for (const { name } of await sources.list(namespace)) await sources.delete(namespace, name);
      for (const { name } of await subscriptions.list(namespace)) await subscriptions.delete(namespace, name);
      for (const { name } of await topics.list(namespace)) await topics.delete(namespace, name);
    },
  };
}

const sweepMs = 60_000;
const troubleMs = 1000;
