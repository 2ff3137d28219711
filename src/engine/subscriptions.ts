import { asVirgaError, VirgaError } from "../core/errors.ts";
import { isAttributeName } from "../core/events/event.ts";
import { checkFilters } from "../core/events/filter.ts";
import type { Cursor, Order, Subscription, SubscriptionStatus, Target, Topic } from "../core/events/model.ts";
import type { AsyncPolicy } from "../core/model.ts";
import { checkName, checkResourceName, isName, isResourceName, quote } from "../core/names.ts";
import type { Turns } from "../core/turns.ts";
import type { Clock } from "../ports/clock.ts";
import type { Records } from "../ports/records.ts";
import type { StartFrom, Subscriptions, TopicBounds, WantedSubscription } from "./events.ts";
import { deliveryOf, type FanOut } from "./fan-out.ts";
import { checkSettings } from "./settings.ts";
import { type TopicStore, topicKey } from "./topics.ts";

export interface SubscriptionsOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly identify: () => string;
  readonly turn: Turns;
  readonly topics: TopicStore;
  readonly fanOut: FanOut;
}

export function createSubscriptions(options: SubscriptionsOptions): Subscriptions {
  const { records, clock, identify, turn, topics, fanOut } = options;

  /** Changes the record and the place in one; a competitor's change is looked at anew. */
  async function put(wanted: WantedSubscription, checked: Checked): Promise<Subscription> {
    const { namespace, name } = wanted;
    for (;;) {
      const topic = await topics.require(namespace, wanted.topic);
      const before = await records.get<Subscription>(subscriptionKey(namespace, name));
      if (before !== undefined && before.value.topic !== wanted.topic) {
        throw new VirgaError("conflict", `subscription ${name} is of topic ${before.value.topic}`, {
          field: "topic",
          fix: "delete it first; its place belongs to its topic",
        });
      }
      const now = clock.now();
      const subscription: Subscription = {
        namespace,
        name,
        topic: wanted.topic,
        ...checked,
        uid: before?.value.uid ?? identify(),
        createdAt: before?.value.createdAt ?? now,
        updatedAt: now,
      };
      const key = subscriptionKey(namespace, name);
      try {
        if (before === undefined) {
          await records.batch([
            { put: key, value: subscription, expect: 0 },
            { put: cursorKey(namespace, name), value: newCursor(await place(topic, wanted.from), now) },
          ]);
        } else if (!before.value.enabled && checked.enabled && wanted.from === "newest") {
          const cursor = await records.get<Cursor>(cursorKey(namespace, name));
          // Deleted meanwhile.
          if (cursor === undefined) continue;
          await records.batch([
            { put: key, value: subscription, expect: before.revision },
            {
              put: cursorKey(namespace, name),
              value: moved(cursor.value, await place(topic, "newest"), now),
              expect: cursor.revision,
            },
          ]);
        } else await records.put(key, subscription, { expect: before.revision });
        return subscription;
      } catch (thrown) {
        if (asVirgaError(thrown).code !== "conflict") throw thrown;
      }
    }
  }

  /** The last sequence that is passed over. */
  async function place(topic: Topic, from: StartFrom = "newest"): Promise<number> {
    const { first, last } = await topics.bounds(topic);
    if (from === "newest") return last;
    if (from === "oldest") return first - 1;
    if (Number.isSafeInteger(from) && from >= 1) return Math.min(from - 1, last);
    throw new VirgaError("invalid_field", `${quote(from)} is no place in a topic`, {
      field: "from",
      fix: "use newest, oldest, or a sequence number from 1 on",
    });
  }

  return {
    async put(wanted) {
      checkName(wanted.namespace, "namespace", "namespace");
      checkResourceName(wanted.name, "name", "subscription");
      const checked = checkSubscription(wanted);
      const subscription = await turn(topicKey(wanted.namespace, wanted.topic), () => put(wanted, checked));
      fanOut.keep(subscription);
      return subscription;
    },

    async get(namespace, name) {
      if (!isName(namespace) || !isResourceName(name)) return undefined;
      const [found, cursor] = await Promise.all([
        records.get<Subscription>(subscriptionKey(namespace, name)),
        records.get<Cursor>(cursorKey(namespace, name)),
      ]);
      if (found === undefined || cursor === undefined) return undefined;
      const topic = await topics.get(namespace, found.value.topic);
      const status = statusOf(found.value, cursor.value, topic, fanOut.problemOf(found.value));
      return { ...found.value, status };
    },

    async list(namespace) {
      if (!isName(namespace)) return [];
      return (await records.list<Subscription>(subscriptionKey(namespace, ""))).map(({ value }) => value);
    },

    async delete(namespace, name) {
      if (!isName(namespace) || !isResourceName(name)) return false;
      const key = subscriptionKey(namespace, name);
      if ((await records.get(key)) === undefined) return false;
      await records.batch([{ delete: key }, { delete: cursorKey(namespace, name) }]);
      fanOut.forget(namespace, name);
      return true;
    },

    async deliveryId(namespace, name, stored) {
      const [found, cursor] = await Promise.all([
        records.get<Subscription>(subscriptionKey(namespace, name)),
        records.get<Cursor>(cursorKey(namespace, name)),
      ]);
      return found === undefined || cursor === undefined ? undefined : deliveryOf(found.value, cursor.value, stored).id;
    },

    async seek(namespace, name, from) {
      for (;;) {
        const found = await records.get<Subscription>(subscriptionKey(namespace, name));
        const before = await records.get<Cursor>(cursorKey(namespace, name));
        if (found === undefined || before === undefined) throw unknownSubscription(namespace, name);
        const topic = await topics.require(namespace, found.value.topic);
        const now = clock.now();
        const sequence = await place(topic, from);
        const cursor = moved(before.value, sequence, now);
        try {
          await records.put(cursorKey(namespace, name), cursor, { expect: before.revision });
        } catch (thrown) {
          // It moved on, or was deleted, meanwhile.
          if (asVirgaError(thrown).code === "conflict") continue;
          throw thrown;
        }
        fanOut.keep(found.value);
        return cursor;
      }
    },
  };
}

export const subscriptionPrefix = "subscriptions/";

export function subscriptionKey(namespace: string, name: string): string {
  return `${subscriptionPrefix}${namespace}/${name}`;
}

export function cursorKey(namespace: string, name: string): string {
  return `event-cursors/${namespace}/${name}`;
}

export function unknownSubscription(namespace: string, name: string): VirgaError {
  return new VirgaError("not_found", `namespace ${namespace} has no subscription ${quote(name)}`);
}

type Checked = Omit<Subscription, "namespace" | "name" | "topic" | "uid" | "createdAt" | "updatedAt">;

function checkSubscription({ filters, target, format, delivery, order, enabled }: WantedSubscription): Checked {
  return {
    filters: checkFilters(filters ?? []),
    target: checkTarget(target),
    format: format ?? "binary",
    delivery: checkDelivery(delivery ?? {}),
    ...(order === undefined ? {} : { order: checkOrder(order) }),
    enabled: enabled ?? true,
  };
}

function checkTarget({ function: name, tag, path, preferWorkflow }: Target): Target {
  checkResourceName(name, "target.function", "function");
  if (tag !== undefined) checkName(tag, "target.tag", "tag");
  if (path !== undefined && !/^\/[!-~]{0,2047}$/.test(path)) {
    throw new VirgaError("invalid_field", `${quote(path)} is no path`, {
      field: "target.path",
      fix: "begin with /, and write what is no printable ASCII as %XX",
    });
  }
  return {
    function: name,
    ...(tag === undefined ? {} : { tag }),
    ...(path === undefined ? {} : { path }),
    ...(preferWorkflow === undefined ? {} : { preferWorkflow }),
  };
}

/** By the rules of a function's own policy. */
function checkDelivery(delivery: Partial<AsyncPolicy>): Partial<AsyncPolicy> {
  try {
    return checkSettings({ async: delivery }).async ?? {};
  } catch (thrown) {
    const error = asVirgaError(thrown);
    const renamed = (text: string): string => text.replaceAll("settings.async", "delivery");
    const { field = "", fix = "" } = error.detail;
    throw new VirgaError(error.code, renamed(error.message), { field: renamed(field), fix: renamed(fix) });
  }
}

function checkOrder({ by }: Order): Order {
  if (by === undefined) return {};
  if (isAttributeName(by)) return { by };
  throw new VirgaError("invalid_field", `${quote(by)} is no attribute's name`, {
    field: "order.by",
    fix: "use lower-case letters and digits, or leave it out to keep all events in order",
  });
}

function newCursor(sequence: number, now: number): Cursor {
  return { sequence, epoch: 0, since: now, at: now, delivered: 0, filtered: 0, refused: 0, missed: 0 };
}

/** At another place; what it delivers from there on are new deliveries. */
function moved(cursor: Cursor, sequence: number, now: number): Cursor {
  return { ...cursor, sequence, epoch: cursor.epoch + 1, since: now, at: now };
}

function statusOf(
  { enabled }: Subscription,
  { sequence, delivered, filtered, refused, missed, lastRefusal }: Cursor,
  topic: TopicBounds | undefined,
  problem: { readonly state: "target_missing" | "failing"; readonly reason: string } | undefined,
): SubscriptionStatus {
  return {
    ...(!enabled ? { state: "disabled" } : (problem ?? { state: "flowing" })),
    sequence,
    behind: topic === undefined ? 0 : Math.max(0, topic.last - sequence),
    delivered,
    filtered,
    refused,
    missed,
    ...(lastRefusal === undefined ? {} : { lastRefusal }),
  };
}
