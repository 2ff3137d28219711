import { VirgaError } from "../core/errors.ts";
import { checkEvent, type CloudEvent } from "../core/events/event.ts";
import type { Retention, StoredEvent, Topic } from "../core/events/model.ts";
import { checkName, checkResourceName, isName, isResourceName, quote } from "../core/names.ts";
import type { Turns } from "../core/turns.ts";
import type { Clock } from "../ports/clock.ts";
import type { Journal, JournalEvent } from "../ports/journal.ts";
import type { Records } from "../ports/records.ts";
import type { TopicBounds, Topics } from "./events.ts";

export interface TopicsOptions {
  readonly records: Records;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly identify: () => string;
  readonly turn: Turns;
  /** Subscriptions and sources that name a topic, in words. */
  namedBy(namespace: string, name: string): Promise<string[]>;
}

/** The topics, with what fan-out and timers need beyond the engine's contract. */
export interface TopicStore extends Topics {
  /** Rejects with `not_found`. */
  require(namespace: string, name: string): Promise<Topic>;
  bounds(topic: Topic): Promise<TopicBounds>;
  /** As `read`, of a topic that is at hand. */
  readStream(topic: Topic, from: number, limit: number): Promise<StoredEvent[]>;
  /** Appends one event behind sequence `expect`; rejects with `conflict` where the topic has gone on. */
  appendBehind(topic: Topic, expect: number, event: CloudEvent): Promise<void>;
  onPublish(listener: PublishListener): void;
  /** Applies every topic's retention; `passed` tells the lowest sequence that all enabled subscriptions have passed. */
  sweep(passed: (topic: Topic) => Promise<number>): Promise<void>;
}

export type PublishListener = (namespace: string, name: string, events: readonly StoredEvent[]) => void;

export const topicPrefix = "topics/";

export function createTopics({ records, journal, clock, identify, turn, namedBy }: TopicsOptions): TopicStore {
  const listeners: PublishListener[] = [];

  const published = ({ namespace, name }: Topic, events: readonly StoredEvent[]): void => {
    for (const listener of listeners) listener(namespace, name, events);
  };

  async function find(namespace: string, name: string): Promise<Topic | undefined> {
    if (!isName(namespace) || !isResourceName(name)) return undefined;
    return (await records.get<Topic>(topicKey(namespace, name)))?.value;
  }

  async function required(namespace: string, name: string): Promise<Topic> {
    const topic = await find(namespace, name);
    if (topic !== undefined) return topic;
    throw new VirgaError("not_found", `namespace ${namespace} has no topic ${quote(name)}`, {
      field: "topic",
      fix: "make it first: virga topic create NAME",
    });
  }

  async function trim(topic: Topic, passed: number): Promise<void> {
    const { first, last } = await journal.bounds(streamOf(topic));
    if (first > last) return;
    const { maxEvents, maxAgeMs } = topic.retention;
    const before = Math.min(last - maxEvents, passed) + 1;
    const olderThan = clock.now() - maxAgeMs;
    const [oldest] = await journal.read(streamOf(topic), first, 1);
    if (before > first || (oldest !== undefined && oldest.at < olderThan)) {
      await journal.trim(streamOf(topic), { before, olderThan });
    }
  }

  return {
    require: required,
    bounds: (topic) => journal.bounds(streamOf(topic)),
    readStream: async (topic, from, limit) => (await journal.read(streamOf(topic), from, limit)).map(storedEvent),
    onPublish: (listener) => void listeners.push(listener),

    async put({ namespace, name, retention }) {
      checkName(namespace, "namespace", "namespace");
      checkResourceName(name, "name", "topic");
      return turn(topicKey(namespace, name), async () => {
        const before = await records.get<Topic>(topicKey(namespace, name));
        const wanted = checkRetention({ ...(before?.value.retention ?? defaultRetention), ...retention });
        const topic: Topic =
          before === undefined
            ? { namespace, name, retention: wanted, uid: identify(), createdAt: clock.now() }
            : { ...before.value, retention: wanted };
        await records.put(topicKey(namespace, name), topic, { expect: before?.revision ?? 0 });
        return topic;
      });
    },

    async get(namespace, name) {
      const topic = await find(namespace, name);
      return topic === undefined ? undefined : { ...topic, ...(await journal.bounds(streamOf(topic))) };
    },

    async list(namespace) {
      if (!isName(namespace)) return [];
      return (await records.list<Topic>(topicKey(namespace, ""))).map(({ value }) => value);
    },

    async delete(namespace, name) {
      return turn(topicKey(namespace, name), async () => {
        const topic = await find(namespace, name);
        if (topic === undefined) return false;
        const [one, ...more] = await namedBy(namespace, name);
        if (one !== undefined) {
          const others = more.length === 0 ? "" : ` and ${more.length} more`;
          throw new VirgaError("conflict", `topic ${name} is used by ${one}${others}`, { fix: "delete them first" });
        }
        await records.delete(topicKey(namespace, name));
        await journal.deleteStream(streamOf(topic));
        return true;
      });
    },

    async publish(namespace, name, given) {
      if (given.length === 0 || given.length > mostInBatch) {
        throw new VirgaError("bad_request", `a batch has 1 to ${mostInBatch} events, not ${given.length}`, {
          fix: "send it in parts",
        });
      }
      const checked = given.map((event, index) => checkedAt(event, given.length === 1 ? undefined : index));
      const topic = await required(namespace, name);
      const at = clock.now();
      const last = await journal.append(
        streamOf(topic),
        checked.map((event) => ({ at, data: encode(event) })),
      );
      const first = last - given.length + 1;
      published(
        topic,
        checked.map((event, index) => ({ sequence: first + index, at, event })),
      );
      return { first, last };
    },

    async appendBehind(topic, expect, event) {
      const at = clock.now();
      const sequence = await journal.append(streamOf(topic), [{ at, data: encode(event) }], { expect });
      published(topic, [{ sequence, at, event }]);
    },

    async read(namespace, name, from, limit) {
      const topic = await required(namespace, name);
      return (await journal.read(streamOf(topic), from, limit)).map(storedEvent);
    },

    async sweep(passed) {
      // A publisher may have been faster than the deletion of its topic. A stream has its topic's record before it, so those
      // that are read first and named by no record after that are nobody's.
      const nobodys = new Set(await journal.streams(streamPrefix));
      let after: string | undefined;
      do {
        const page = await records.list<Topic>(topicPrefix, {
          limit: pageSize,
          ...(after === undefined ? {} : { after }),
        });
        for (const { value: topic } of page) {
          nobodys.delete(streamOf(topic));
          await trim(topic, await passed(topic));
        }
        after = page.length < pageSize ? undefined : page.at(-1)?.key;
      } while (after !== undefined);
      for (const stream of nobodys) await journal.deleteStream(stream);
    },
  };
}

export function topicKey(namespace: string, name: string): string {
  return `${topicPrefix}${namespace}/${name}`;
}

function streamOf({ namespace, name, uid }: Topic): string {
  const stream = `${streamPrefix}${namespace}/${name}/${uid}`;
  // A topic's name may be longer than a stream's.
  return stream.length <= longestStream ? stream : `${streamPrefix}${namespace}//${uid}`;
}

function storedEvent({ sequence, at, data }: JournalEvent): StoredEvent {
  return { sequence, at, event: JSON.parse(Buffer.from(data).toString("utf8")) as CloudEvent };
}

function encode(event: CloudEvent): Uint8Array {
  return Buffer.from(JSON.stringify(event));
}

/** The event, or why it is none; in a batch with its place. */
function checkedAt(given: unknown, index: number | undefined): CloudEvent {
  try {
    return checkEvent(given);
  } catch (thrown) {
    if (!(thrown instanceof VirgaError) || index === undefined) throw thrown;
    const { field } = thrown.detail;
    throw new VirgaError(thrown.code, `event ${index}: ${thrown.message}`, {
      ...thrown.detail,
      ...(field === undefined ? {} : { field: `${index}.${field}` }),
    });
  }
}

function checkRetention(retention: Retention): Retention {
  const { maxEvents, maxAgeMs } = retention;
  if (!Number.isSafeInteger(maxEvents) || maxEvents < 1) {
    throw new VirgaError("invalid_field", `a topic cannot keep ${quote(maxEvents)} events`, {
      field: "retention.maxEvents",
      fix: "use a whole number from 1 on",
    });
  }
  if (!Number.isSafeInteger(maxAgeMs) || maxAgeMs < 1000) {
    throw new VirgaError("invalid_field", `events cannot be kept for ${quote(maxAgeMs)} ms`, {
      field: "retention.maxAgeMs",
      fix: "use 1000 or more",
    });
  }
  return { maxEvents, maxAgeMs };
}

export const defaultRetention: Retention = { maxEvents: 100_000, maxAgeMs: 7 * 86_400_000 };
const streamPrefix = "events/";
/** As the journal takes them; all of it is ASCII. */
const longestStream = 256;
const mostInBatch = 1000;
const pageSize = 500;
