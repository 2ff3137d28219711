/** The documents of the native API about events. */
import { z } from "@hono/zod-openapi";
import { asyncPolicy, name, resourceName } from "./schemas.ts";

const time = z.number().describe("Milliseconds since the Unix epoch.");
const text = z.string();
const whole = z.number().int();
const amount = whole.min(0, "is below 0");

export const retention = z
  .strictObject({
    maxEvents: whole.describe("Events beyond so many go once every enabled subscription has passed them."),
    maxAgeMs: whole.describe("Older ones go, whoever has not had them."),
  })
  .openapi("Retention");

export const topicBody = z.strictObject({ retention: retention.partial().optional() }).openapi("TopicBody");
export const topic = z.object({ namespace: text, name: text, retention, uid: text, createdAt: time }).openapi("Topic");
export const topicWithBounds = topic
  .extend({ first: whole.describe("Sequence of the oldest event that is kept."), last: whole })
  .openapi("TopicWithBounds");

export const cloudEvent = z
  .looseObject({
    specversion: z.literal("1.0"),
    id: text,
    source: text,
    type: text,
    datacontenttype: text.optional(),
    dataschema: text.optional(),
    subject: text.optional(),
    time: text.optional(),
    data: z.unknown().optional(),
    data_base64: text.optional(),
  })
  .openapi("CloudEvent", { description: "CloudEvents 1.0 in the JSON format; other members are extensions." });

export const storedEvent = z.object({ sequence: whole, at: time, event: cloudEvent }).openapi("StoredEvent");
export const published = z
  .object({ first: whole.describe("Sequence of the first event of the batch."), last: whole })
  .openapi("Published");

const attributes = z.record(text, text);

interface FilterDocument {
  exact?: Record<string, string> | undefined;
  prefix?: Record<string, string> | undefined;
  suffix?: Record<string, string> | undefined;
  all?: FilterDocument[] | undefined;
  any?: FilterDocument[] | undefined;
  not?: FilterDocument | undefined;
}

type FilterSchema = z.ZodType<FilterDocument>;

const filter: FilterSchema = z
  .strictObject({
    exact: attributes.optional(),
    prefix: attributes.optional(),
    suffix: attributes.optional(),
    get all(): z.ZodOptional<z.ZodArray<FilterSchema>> {
      return z.array(filter).optional();
    },
    get any(): z.ZodOptional<z.ZodArray<FilterSchema>> {
      return z.array(filter).optional();
    },
    get not(): z.ZodOptional<FilterSchema> {
      return filter.optional();
    },
  })
  .openapi("EventFilter", { description: "One of its members, about the event's attributes." });

const target = z
  .strictObject({
    function: resourceName,
    tag: name.optional(),
    path: text.optional(),
    preferWorkflow: z
      .literal(true)
      .optional()
      .describe("Where the namespace has a workflow of the function's name, a run of it begins instead."),
  })
  .openapi("EventTarget");
const format = z.enum(["binary", "structured", "data"]);
const order = z
  .strictObject({ by: text.optional().describe("The attribute by which events are kept in order; absent: all are.") })
  .openapi("EventOrder");
const from = z.union([z.enum(["newest", "oldest"]), whole.min(1, "is below 1")]);

const subscriptionSettings = {
  topic: name,
  target,
  format: format.optional(),
  order: order.optional(),
  enabled: z.boolean().optional(),
  from: from
    .optional()
    .describe(
      "Of a new one: where it begins. Default: newest. With newest, one that is enabled again skips what came meanwhile.",
    ),
};

export const subscriptionBody = z
  .strictObject({
    ...subscriptionSettings,
    filters: z.array(filter).optional().describe("All must pass. Default: none."),
    delivery: asyncPolicy.partial().optional().describe("Over the function's own policy."),
  })
  .openapi("SubscriptionBody");

/** As `subscriptionBody`; filters and policy are the engine's to check, which knows their rules. */
export const checkedSubscription = z.strictObject({
  ...subscriptionSettings,
  filters: z.unknown().optional(),
  delivery: z.record(text, z.unknown()).optional(),
});

export const subscription = z
  .object({
    namespace: text,
    name: text,
    topic: text,
    filters: z.array(filter),
    target,
    format,
    delivery: asyncPolicy.partial(),
    order: order.optional(),
    enabled: z.boolean(),
    uid: text,
    createdAt: time,
    updatedAt: time,
  })
  .openapi("Subscription");

const refusal = z.object({ sequence: whole, reason: text });

export const subscriptionWithStatus = subscription
  .extend({
    status: z.object({
      state: z.enum(["flowing", "disabled", "target_missing", "failing"]),
      reason: text.optional(),
      sequence: whole.describe("The last event that it has passed."),
      behind: whole,
      delivered: whole,
      filtered: whole,
      refused: whole.describe("Events that its function cannot be called with."),
      missed: whole.describe("Events that retention removed before their turn."),
      lastRefusal: refusal.optional(),
    }),
  })
  .openapi("SubscriptionWithStatus");

export const seek = z.strictObject({ from }).openapi("Seek");
export const place = z.object({ sequence: whole, epoch: whole }).openapi("SubscriptionPlace");

export const verdict = z.object({ sequence: whole, passes: z.boolean(), reason: text }).openapi("FilterVerdict");

const bounds = { startAt: time.optional(), endAt: time.optional() };

export const timer = z
  .union([
    z.strictObject({ kind: z.literal("schedule"), cron: text, timezone: text.optional(), ...bounds }),
    z.strictObject({ kind: z.literal("interval"), everyMs: whole, ...bounds }),
    z.strictObject({ kind: z.literal("once"), at: time, ...bounds }),
  ])
  .openapi("Timer");

const catchUp = z
  .enum(["latest", "all", "none"])
  .describe("What becomes of due times that an outage missed: the newest fires, all do, or none. Default: latest.");

const template = z
  .strictObject({
    type: text.optional().describe("Default: virga.timer."),
    subject: text.optional(),
    data: z.unknown().optional(),
    extensions: z.record(text, z.union([text, whole, z.boolean()])).optional(),
  })
  .openapi("EventTemplate");

export const sourceBody = z
  .strictObject({
    topic: name,
    timer,
    catchUp: catchUp.optional(),
    event: template.optional(),
    enabled: z.boolean().optional(),
  })
  .openapi("EventSourceBody");

export const source = z
  .object({
    namespace: text,
    name: text,
    topic: text,
    timer,
    catchUp,
    event: template,
    enabled: z.boolean(),
    createdAt: time,
    updatedAt: time,
  })
  .openapi("EventSource");

export const sourceWithStatus = source
  .extend({
    status: z.object({
      fired: amount,
      skipped: amount.describe("Due times that were given up."),
      lastDueAt: time.optional(),
      nextDueAt: time.optional(),
      problem: text.optional(),
    }),
  })
  .openapi("EventSourceWithStatus");

const sequence = z.coerce.number().int("is no whole number").min(0, "is below 0");
const limit = z.coerce.number().int("is no whole number").min(1, "is below 1").max(1000, "is above 1000").default(100);

/** `from` is the first sequence wanted, `after` the last one not wanted any more. */
export const eventPage = { from: sequence.optional(), after: sequence.optional(), limit };
