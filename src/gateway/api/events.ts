import { z } from "@hono/zod-openapi";
import { VirgaError } from "../../core/errors.ts";
import { passes } from "../../core/events/filter.ts";
import type { AsyncPolicy } from "../../core/model.ts";
import { checkName } from "../../core/names.ts";
import { eventsOf } from "../../engine/event-binding.ts";
import type { Events } from "../../engine/events.ts";
import type { Clock } from "../../ports/clock.ts";
import { received } from "./body.ts";
import { type Endpoint, endpoint, json, noContent, pageFrom, pageOf } from "./endpoint.ts";
import * as documents from "./event-schemas.ts";
import * as schemas from "./schemas.ts";

const namespace = "/v1/namespaces/{namespace}";
const topicPath = `${namespace}/topics/{topic}`;
const subscriptionPath = `${namespace}/subscriptions/{subscription}`;
const sourcePath = `${namespace}/event-sources/{source}`;

export interface EventEndpointsOptions {
  readonly events: Events;
  readonly clock: Clock;
  readonly requestTimeoutMs: number;
}

export function eventEndpoints(options: EventEndpointsOptions): Endpoint[] {
  return [...topicEndpoints(options), ...subscriptionEndpoints(options), ...sourceEndpoints(options)];
}

function topicEndpoints({ events: { topics }, clock, requestTimeoutMs }: EventEndpointsOptions): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: `${namespace}/topics`,
      summary: "Topics",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Topics by name", schema: schemas.listOf(documents.topic) } },
      run: async ({ params, query }) => pageOf(await topics.list(params.namespace), ({ name }) => name, query),
    }),
    endpoint({
      method: "put",
      path: topicPath,
      summary: "Makes a topic, or changes its retention",
      access: "change",
      body: { schema: documents.topicBody, optional: true },
      answers: { 200: { description: "The topic", schema: documents.topic } },
      async run({ params, body: { retention } }) {
        checkName(params.topic, "topic", "topic");
        const wanted = { namespace: params.namespace, name: params.topic };
        return json(await topics.put(retention === undefined ? wanted : { ...wanted, retention: defined(retention) }));
      },
    }),
    endpoint({
      method: "get",
      path: topicPath,
      summary: "A topic, and which events it holds",
      access: "read",
      answers: { 200: { description: "The topic", schema: documents.topicWithBounds } },
      async run({ params }) {
        const topic = await topics.get(params.namespace, params.topic);
        if (topic === undefined) throw unknown("topic", params.topic, params.namespace);
        return json(topic);
      },
    }),
    endpoint({
      method: "delete",
      path: topicPath,
      summary: "Deletes a topic with its events",
      access: "change",
      answers: {
        204: { description: "Gone" },
        409: { description: "Subscriptions or sources name it", schema: schemas.error },
      },
      async run({ params }) {
        if (await topics.delete(params.namespace, params.topic)) return noContent();
        throw unknown("topic", params.topic, params.namespace);
      },
    }),
    endpoint({
      method: "post",
      path: `${topicPath}/events`,
      summary: "Publishes one CloudEvent or a batch; all of them are on disk before the answer",
      access: "invoke",
      rawBody:
        "`application/cloudevents+json`, `application/cloudevents-batch+json`, or the event's data with its attributes " +
        "as `ce-` headers (CloudEvents HTTP binding 1.0.2). Up to 16 MiB and 1000 events.",
      answers: { 202: { description: "Accepted; where the events stand", schema: documents.published } },
      async run({ params, incoming }) {
        const body = await gathered(received(incoming, clock, requestTimeoutMs));
        const headers = Object.fromEntries(
          Object.entries(incoming.headers).map(([name, value]) => [
            name,
            Array.isArray(value) ? value.join(", ") : value,
          ]),
        );
        return json(await topics.publish(params.namespace, params.topic, eventsOf(headers, body)), 202);
      },
    }),
    endpoint({
      method: "get",
      path: `${topicPath}/events`,
      summary: "Events that a topic holds, by sequence",
      access: "read",
      query: z.object(documents.eventPage),
      answers: { 200: { description: "Events", schema: schemas.listOf(documents.storedEvent) } },
      async run({ params, query }) {
        const stored = await topics.read(params.namespace, params.topic, startOf(query), query.limit + 1);
        return pageFrom(stored, ({ sequence }) => String(sequence), query.limit);
      },
    }),
  ];
}

function subscriptionEndpoints({ events: { topics, subscriptions } }: EventEndpointsOptions): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: `${namespace}/subscriptions`,
      summary: "Subscriptions",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Subscriptions by name", schema: schemas.listOf(documents.subscription) } },
      run: async ({ params, query }) => pageOf(await subscriptions.list(params.namespace), ({ name }) => name, query),
    }),
    endpoint({
      method: "put",
      path: subscriptionPath,
      summary: "Makes a subscription, or changes it; it keeps its place",
      access: "change",
      body: { schema: documents.checkedSubscription, documented: documents.subscriptionBody },
      answers: { 200: { description: "The subscription", schema: documents.subscription } },
      async run({ params, body }) {
        checkName(params.subscription, "subscription", "subscription");
        const { target, order, delivery, ...rest } = body;
        const wanted = {
          ...defined(rest),
          topic: rest.topic,
          namespace: params.namespace,
          name: params.subscription,
          target: { ...defined(target), function: target.function },
          ...(order === undefined ? {} : { order: defined(order) }),
          // Checked by the engine.
          ...(delivery === undefined ? {} : { delivery: delivery as Partial<AsyncPolicy> }),
        };
        return json(await subscriptions.put(wanted));
      },
    }),
    endpoint({
      method: "get",
      path: subscriptionPath,
      summary: "A subscription, and how far it has come",
      access: "read",
      answers: { 200: { description: "The subscription", schema: documents.subscriptionWithStatus } },
      async run({ params }) {
        const found = await subscriptions.get(params.namespace, params.subscription);
        if (found === undefined) throw unknown("subscription", params.subscription, params.namespace);
        return json(found);
      },
    }),
    endpoint({
      method: "delete",
      path: subscriptionPath,
      summary: "Deletes a subscription; what its function was handed already still runs",
      access: "change",
      answers: { 204: { description: "Gone" } },
      async run({ params }) {
        if (await subscriptions.delete(params.namespace, params.subscription)) return noContent();
        throw unknown("subscription", params.subscription, params.namespace);
      },
    }),
    endpoint({
      method: "post",
      path: `${subscriptionPath}/seek`,
      summary: "Sends a subscription to another place; what it had before is delivered again",
      access: "change",
      body: { schema: documents.seek },
      answers: { 200: { description: "Its place", schema: documents.place } },
      async run({ params, body }) {
        const { sequence, epoch } = await subscriptions.seek(params.namespace, params.subscription, body.from);
        return json({ sequence, epoch });
      },
    }),
    endpoint({
      method: "get",
      path: `${subscriptionPath}/verdicts`,
      summary: "What a subscription's filters say of the events that its topic holds, and why",
      access: "read",
      query: z.object(documents.eventPage),
      answers: { 200: { description: "Verdicts by sequence", schema: schemas.listOf(documents.verdict) } },
      async run({ params, query }) {
        const found = await subscriptions.get(params.namespace, params.subscription);
        if (found === undefined) throw unknown("subscription", params.subscription, params.namespace);
        const stored = await topics.read(params.namespace, found.topic, startOf(query), query.limit + 1);
        const verdicts = stored.map(({ sequence, event }) => ({ sequence, ...passes(found.filters, event) }));
        return pageFrom(verdicts, ({ sequence }) => String(sequence), query.limit);
      },
    }),
  ];
}

function sourceEndpoints({ events: { sources } }: EventEndpointsOptions): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: `${namespace}/event-sources`,
      summary: "Timer sources",
      access: "read",
      query: z.object(schemas.page),
      answers: { 200: { description: "Sources by name", schema: schemas.listOf(documents.source) } },
      run: async ({ params, query }) => pageOf(await sources.list(params.namespace), ({ name }) => name, query),
    }),
    endpoint({
      method: "put",
      path: sourcePath,
      summary: "Makes a source that puts an event on a topic at each due time, or changes it",
      access: "change",
      body: { schema: documents.sourceBody },
      answers: { 200: { description: "The source", schema: documents.source } },
      async run({ params, body }) {
        checkName(params.source, "source", "source");
        const { timer, event, ...rest } = body;
        const source = await sources.put({
          ...defined(rest),
          topic: rest.topic,
          namespace: params.namespace,
          name: params.source,
          timer: defined(timer),
          ...(event === undefined ? {} : { event: defined(event) }),
        });
        return json(source);
      },
    }),
    endpoint({
      method: "get",
      path: sourcePath,
      summary: "A source, and when it is due",
      access: "read",
      answers: { 200: { description: "The source", schema: documents.sourceWithStatus } },
      async run({ params }) {
        const found = await sources.get(params.namespace, params.source);
        if (found === undefined) throw unknown("source", params.source, params.namespace);
        return json(found);
      },
    }),
    endpoint({
      method: "delete",
      path: sourcePath,
      summary: "Deletes a source",
      access: "change",
      answers: { 204: { description: "Gone" } },
      async run({ params }) {
        if (await sources.delete(params.namespace, params.source)) return noContent();
        throw unknown("source", params.source, params.namespace);
      },
    }),
  ];
}

function startOf({ from, after }: { from?: number | undefined; after?: number | undefined }): number {
  return Math.max(from ?? 1, (after ?? 0) + 1);
}

function unknown(what: string, name: string, namespace: string): VirgaError {
  return new VirgaError("not_found", `there is no ${what} ${name} in namespace ${namespace}`);
}

async function gathered(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of content) {
    size += chunk.length;
    if (size > mostPublishedBytes) {
      throw new VirgaError("request_too_large", `the events are larger than ${mostPublishedBytes} bytes`, {
        fix: "publish in parts, and put large data into a store",
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

type Defined<T> = T extends unknown ? { [K in keyof T]: Exclude<T[K], undefined> } : never;

/** Without members that are undefined. */
function defined<T extends object>(given: T): Defined<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** What one event of the journal may have. */
const mostPublishedBytes = 16 * 2 ** 20;
