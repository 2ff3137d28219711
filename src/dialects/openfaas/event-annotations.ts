/** `topic` and `schedule` of a function's annotations, on topics, timers and subscriptions of the engine. */
import { dueTimes } from "../../core/events/timer.ts";
import type { FunctionId } from "../../core/model.ts";
import { isResourceName } from "../../core/names.ts";
import type { WantedTimer } from "../../engine/events.ts";
import type { FaasContext } from "./context.ts";
import { durationMs } from "./deployment.ts";
import { FaasError } from "./errors.ts";

export interface TopicAnnotations {
  readonly timers: readonly WantedTimer[];
  readonly topics: readonly string[];
}

/**
 * `topic: cron-function` with `schedule: "<cron>[; <cron>]"`, else names of the namespace's topics, separated by commas; what
 * cannot be the name of one is another system's, which a connector of its own follows. Throws 400 for a wrong schedule.
 */
export function readTopicAnnotations(annotations: Readonly<Record<string, string>> = {}): TopicAnnotations {
  const topics = split(annotations["topic"], ",");
  const isCron = topics.includes(cronTopic);
  const timers = isCron ? split(annotations["schedule"], ";").map(timerOf) : [];
  if (isCron && timers.length === 0)
    throw new FaasError(
      400,
      `annotation topic is ${cronTopic}, and annotation schedule is missing: give such as "*/5 * * * *"`,
    );
  const isOurs = (topic: string): boolean => topic.length <= longestTopic && isResourceName(topic);
  return { timers, topics: topics.filter((topic) => topic !== cronTopic && isOurs(topic)) };
}

/**
 * As the cron connector reads them: five fields or `@hourly` and such, by UTC where no `TZ=Europe/Paris` stands before them, or
 * `@every 90s`.
 */
function timerOf(schedule: string): WantedTimer {
  try {
    const every = /^@every +(\S+)$/.exec(schedule)?.[1];
    if (every !== undefined) {
      const timer = { kind: "interval", everyMs: durationMs(every, "@every") } as const;
      dueTimes({ ...timer, startAt: 0 });
      return timer;
    }
    const [, timezone = "UTC", cron = ""] = /^(?:(?:CRON_)?TZ=(\S+) +)?(.*)$/.exec(schedule) ?? [];
    if (cron.split(/\s+/).length === 6) throw new Error("it has six fields instead of five");
    const timer = { kind: "schedule", cron, timezone } as const;
    dueTimes(timer);
    return timer;
  } catch (thrown) {
    throw new FaasError(400, `annotation schedule: ${JSON.stringify(schedule)}: ${(thrown as Error).message}`);
  }
}

/** Brings what delivers to the function in line with its annotations. */
export async function followAnnotations(
  context: FaasContext,
  id: FunctionId,
  annotations: Readonly<Record<string, string>> | undefined,
): Promise<void> {
  const { timers, topics } = readTopicAnnotations(annotations);
  const { events } = context.engine;
  const { namespace, name } = id;
  const own = ownNames(name);
  const wanted = new Set(topics.map((topic) => own.subscription(topic)));
  if (timers.length > 0) wanted.add(own.subscription(own.topic));
  await dropSubscriptions(context, id, wanted);
  if (timers.length > 0) {
    await events.topics.put({ namespace, name: own.topic });
    const target = { function: name };
    await events.subscriptions.put({
      namespace,
      name: own.subscription(own.topic),
      topic: own.topic,
      target,
      format: "data",
    });
  }
  for (const [index, timer] of timers.entries())
    await events.sources.put({
      namespace,
      name: own.source(index),
      topic: own.topic,
      timer,
      event: { type: "openfaas.cron" },
    });
  await dropTimers(context, id, timers.length);
  for (const topic of topics) {
    if ((await events.topics.get(namespace, topic)) === undefined) await events.topics.put({ namespace, name: topic });
    await events.subscriptions.put({ namespace, name: own.subscription(topic), topic, target: { function: name } });
  }
}

export async function dropEvents(context: FaasContext, id: FunctionId): Promise<void> {
  await dropSubscriptions(context, id, new Set());
  await dropTimers(context, id, 0);
}

async function dropSubscriptions({ engine }: FaasContext, { namespace, name }: FunctionId, but: ReadonlySet<string>) {
  const { prefix } = ownNames(name);
  for (const subscription of await engine.events.subscriptions.list(namespace)) {
    if (subscription.name.startsWith(prefix) && !but.has(subscription.name))
      await engine.events.subscriptions.delete(namespace, subscription.name);
  }
}

/** Those from a number on; the topic goes with the last one. */
async function dropTimers({ engine }: FaasContext, { namespace, name }: FunctionId, from: number): Promise<void> {
  const own = ownNames(name);
  for (let index = from; await engine.events.sources.delete(namespace, own.source(index)); index++);
  if (from === 0) await engine.events.topics.delete(namespace, own.topic);
}

function ownNames(name: string) {
  const prefix = `openfaas.${name}.`;
  return {
    prefix,
    topic: `${prefix}cron`,
    source: (index: number) => `${prefix}cron.${index}`,
    subscription: (topic: string) => `${prefix}on.${topic}`,
  };
}

function split(text: string | undefined, separator: string): string[] {
  return (text ?? "")
    .split(separator)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

const cronTopic = "cron-function";
/** With the function's name it becomes the name of a subscription. */
const longestTopic = 300;
