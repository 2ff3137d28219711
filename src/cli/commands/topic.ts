import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { StoredEvent, Topic } from "../../core/events/model.ts";
import { confirmed } from "../ask.ts";
import { path, textOf } from "../client.ts";
import { command, type Context, outputOption, yesOption } from "../command.ts";
import { durationOption } from "../event-options.ts";
import { exit } from "../exit.ts";
import { printData, printFields, printList } from "../output.ts";
import { formatAge, formatDuration } from "../units.ts";

const topicArgument = { kind: "required", summary: "the topic's name", completes: "topic" } as const;

export const topicCreate = command({
  name: "topic create",
  summary: "make a topic of events, or change how long it keeps them",
  examples: ["virga topic create orders", "virga topic create orders --max-events 1000000 --max-age 30d"],
  arguments: { name: topicArgument },
  options: {
    maxEvents: { kind: "number", summary: "events beyond so many go once all subscriptions have had them (100000)" },
    maxAge: { kind: "text", placeholder: "duration", summary: "older events go in any case (7d)" },
  },
  async run({ client, namespace, terminal }, given, options) {
    const maxAgeMs = durationOption("maxAge", options.maxAge);
    const retention = {
      ...(options.maxEvents === undefined ? {} : { maxEvents: options.maxEvents }),
      ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
    };
    await client.json("PUT", path`/v1/namespaces/${namespace}/topics/${given.name}`, { json: { retention } });
    terminal.print(given.name);
  },
});

export const topicList = command({
  name: "topic list",
  summary: "list the topics",
  arguments: {},
  options: { output: outputOption },
  async run({ client, namespace, terminal }, _given, options) {
    const now = Date.now();
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<Topic>(path`/v1/namespaces/${namespace}/topics`),
      [
        { title: "NAME", value: ({ name }) => name },
        { title: "KEEPS", value: ({ retention }) => retention.maxEvents, align: "right" },
        { title: "FOR", value: ({ retention }) => formatDuration(retention.maxAgeMs), align: "right" },
        { title: "AGE", value: ({ createdAt }) => formatAge(createdAt, now), align: "right" },
      ],
      `no topics in namespace ${namespace}`,
    );
  },
});

export const topicGet = command({
  name: "topic get",
  summary: "what a topic holds",
  arguments: { name: topicArgument },
  options: { output: outputOption },
  async run({ client, namespace, terminal }, given, options) {
    const topic = await client.get<Topic & { first: number; last: number }>(
      path`/v1/namespaces/${namespace}/topics/${given.name}`,
    );
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, topic);
    const { first, last, retention } = topic;
    printFields(terminal, {
      topic: topic.name,
      events: last < first ? "none" : `${last - first + 1}, sequences ${first} to ${last}`,
      keeps: `${retention.maxEvents} events, for ${formatDuration(retention.maxAgeMs)}`,
      created: new Date(topic.createdAt).toISOString(),
    });
    return undefined;
  },
});

export const topicPublish = command({
  name: "topic publish",
  summary: "put an event on a topic; it is on disk when the command ends",
  examples: [
    `virga topic publish orders --type order.placed -d '{"total":5}'`,
    "virga topic publish orders --event @event.json     a whole CloudEvent, or a list of them",
  ],
  arguments: { name: topicArgument },
  options: {
    type: { kind: "text", summary: "the event's type (virga.message)" },
    source: { kind: "text", summary: "who speaks, as a URI reference (/virga/cli)" },
    id: { kind: "text", summary: "with the source, what tells it from all others; made where absent" },
    subject: { kind: "text", summary: "what it is about" },
    attribute: { kind: "list", placeholder: "name=value", summary: "an extension attribute; may be repeated" },
    data: { kind: "text", short: "d", placeholder: "text", summary: "JSON or text, @file, or - for stdin" },
    event: { kind: "text", placeholder: "json", summary: "CloudEvents in JSON in place of all this, @file, or -" },
  },
  async run(context, given, options) {
    const { client, namespace, terminal } = context;
    const whole = options.event === undefined ? undefined : json("event", await read(context, "event", options.event));
    const event = whole ?? {
      specversion: "1.0",
      id: options.id ?? randomUUID(),
      source: options.source ?? "/virga/cli",
      type: options.type ?? "virga.message",
      time: new Date().toISOString(),
      ...(options.subject === undefined ? {} : { subject: options.subject }),
      ...attributesOf(options.attribute),
      ...(options.data === undefined ? {} : dataOf(await read(context, "data", options.data))),
    };
    const kind = Array.isArray(event) ? "cloudevents-batch+json" : "cloudevents+json";
    const { first, last } = await client.json<{ first: number; last: number }>(
      "POST",
      path`/v1/namespaces/${namespace}/topics/${given.name}/events`,
      { headers: { "content-type": `application/${kind}` }, body: JSON.stringify(event) },
    );
    terminal.print(first === last ? String(first) : `${first}-${last}`);
  },
});

export const topicEvents = command({
  name: "topic events",
  summary: "show the events that a topic holds",
  examples: ["virga topic events orders --from 100 --limit 20", "virga topic events orders -o json"],
  arguments: { name: topicArgument },
  options: {
    from: { kind: "number", summary: "from this sequence on (the oldest)" },
    limit: { kind: "number", summary: "at most so many (100)" },
    output: outputOption,
  },
  async run({ client, namespace, terminal }, given, options) {
    const now = Date.now();
    const events = await client.list<StoredEvent>(
      path`/v1/namespaces/${namespace}/topics/${given.name}/events`,
      { from: options.from },
      options.limit ?? 100,
    );
    await printList(
      terminal,
      options.output ?? "table",
      events,
      [
        { title: "SEQUENCE", value: ({ sequence }) => sequence, align: "right" },
        { title: "AGE", value: ({ at }) => formatAge(at, now), align: "right" },
        { title: "TYPE", value: ({ event }) => event.type },
        { title: "SOURCE", value: ({ event }) => event.source },
        { title: "SUBJECT", value: ({ event }) => event.subject },
        { title: "ID", value: ({ event }) => event.id },
        { title: "DATA", value: ({ event }) => shortened(event.data ?? event.data_base64), wide: true },
      ],
      "no events",
    );
  },
});

export const topicDelete = command({
  name: "topic delete",
  summary: "delete a topic with its events",
  arguments: { name: topicArgument },
  options: { yes: yesOption },
  async run({ client, namespace, terminal }, given, options) {
    if (!(await confirmed(terminal, `Delete topic ${given.name} of namespace ${namespace}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/namespaces/${namespace}/topics/${given.name}`);
    terminal.print(`deleted ${given.name}`);
    return exit.ok;
  },
});

async function read({ terminal }: Context, option: string, value: string): Promise<string> {
  if (value === "-") return textOf(terminal.stdin);
  if (!value.startsWith("@")) return value;
  try {
    return readFileSync(resolve(terminal.directory, value.slice(1)), "utf8");
  } catch (error) {
    throw new VirgaError("bad_request", `--${option}: ${(error as Error).message}`, { field: option, cause: error });
  }
}

function json(option: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new VirgaError("bad_request", `--${option} is not JSON: ${(error as Error).message}`, {
      field: option,
      cause: error,
    });
  }
}

/** JSON where it is JSON, else a text. */
function dataOf(text: string): { datacontenttype: string; data: unknown } {
  try {
    return { datacontenttype: "application/json", data: JSON.parse(text) };
  } catch {
    return { datacontenttype: "text/plain", data: text };
  }
}

function attributesOf(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((text) => {
      const [, name, value] = /^([a-z0-9]+)=(.*)$/s.exec(text) ?? [];
      if (name !== undefined && value !== undefined) return [name, value];
      throw new VirgaError("bad_request", `--attribute takes name=value, not "${text}"`, { field: "attribute" });
    }),
  );
}

function shortened(data: unknown): string | undefined {
  const text = data === undefined ? undefined : JSON.stringify(data);
  return text !== undefined && text.length > 60 ? `${text.slice(0, 59)}…` : text;
}
