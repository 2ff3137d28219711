import { VirgaError } from "../../core/errors.ts";
import type { Subscription, SubscriptionStatus } from "../../core/events/model.ts";
import { confirmed } from "../ask.ts";
import { path } from "../client.ts";
import { command, functionArgument, outputOption, yesOption } from "../command.ts";
import { durationOption, filterText, parseFilter } from "../event-options.ts";
import { exit } from "../exit.ts";
import { printData, printFields, printList } from "../output.ts";

const nameArgument = { kind: "required", summary: "the subscription's name", completes: "subscription" } as const;

export const subscriptionSet = command({
  name: "subscription set",
  summary: "deliver the events of a topic to a function",
  examples: [
    "virga subscription set bill invoice --topic orders --filter type=order.placed",
    "virga subscription set audit log --topic orders --filter '!source=/test*' --from oldest",
    "virga subscription set stock count --topic orders --order-by subject --max-attempts 10",
  ],
  arguments: { name: nameArgument, function: functionArgument },
  options: {
    topic: { kind: "text", summary: "the topic (the subscription's name)" },
    filter: {
      kind: "list",
      placeholder: "attribute=value",
      summary: "all must pass; a* begins with, *a ends with, !… not; may be repeated",
    },
    filters: { kind: "text", placeholder: "json", summary: "filters with all, any and not, as the API has them" },
    from: { kind: "text", summary: "of a new one: newest, oldest or a sequence (newest)" },
    tag: { kind: "text", summary: "a traffic tag of the function" },
    path: { kind: "text", summary: "path and query behind the function's root" },
    format: {
      kind: "text",
      summary: "binary: attributes as headers; structured: all as JSON; data: the data alone",
      choices: ["binary", "structured", "data"],
    },
    ordered: { kind: "flag", summary: "one delivery after another" },
    orderBy: { kind: "text", placeholder: "attribute", summary: "in order among events of the same value" },
    maxAttempts: { kind: "number", summary: "runs in all, the first one included; the function's own where absent" },
    maxAge: { kind: "text", placeholder: "duration", summary: "when a delivery that fails is given up" },
    disabled: { kind: "flag", summary: "keep its place, deliver nothing" },
  },
  async run({ client, namespace, terminal }, given, options) {
    const topic = options.topic ?? given.name;
    const maxAgeMs = durationOption("maxAge", options.maxAge);
    const delivery = {
      ...(options.maxAttempts === undefined ? {} : { maxAttempts: options.maxAttempts }),
      ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
    };
    const filters = [...options.filter.map(parseFilter), ...filtersOf(options.filters)];
    const subscription = {
      topic,
      target: {
        function: given.function,
        ...(options.tag === undefined ? {} : { tag: options.tag }),
        ...(options.path === undefined ? {} : { path: options.path }),
      },
      filters,
      delivery,
      enabled: !options.disabled,
      ...(options.format === undefined ? {} : { format: options.format }),
      ...(options.orderBy !== undefined ? { order: { by: options.orderBy } } : options.ordered ? { order: {} } : {}),
      ...(options.from === undefined ? {} : { from: placeOf(options.from) }),
    };
    await client.json("PUT", path`/v1/namespaces/${namespace}/subscriptions/${given.name}`, { json: subscription });
    const condition = filters.length === 0 ? "" : ` where ${filters.map(filterText).join(" and ")}`;
    terminal.print(`${topic}${condition} → ${given.function}`);
  },
});

export const subscriptionList = command({
  name: "subscription list",
  summary: "list the subscriptions",
  arguments: {},
  options: { output: outputOption },
  async run({ client, namespace, terminal }, _given, options) {
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<Subscription>(path`/v1/namespaces/${namespace}/subscriptions`),
      [
        { title: "NAME", value: ({ name }) => name },
        { title: "TOPIC", value: ({ topic }) => topic },
        { title: "FILTER", value: ({ filters }) => filters.map(filterText).join(" and ") || "*" },
        { title: "FUNCTION", value: ({ target }) => `${target.function}${target.tag ? `:${target.tag}` : ""}` },
        { title: "ENABLED", value: ({ enabled }) => (enabled ? "yes" : "no") },
      ],
      `no subscriptions in namespace ${namespace}`,
    );
  },
});

export const subscriptionGet = command({
  name: "subscription get",
  summary: "how far a subscription has come, and what is in its way",
  arguments: { name: nameArgument },
  options: { output: outputOption },
  async run({ client, namespace, terminal }, given, options) {
    const found = await client.get<Subscription & { status: SubscriptionStatus }>(
      path`/v1/namespaces/${namespace}/subscriptions/${given.name}`,
    );
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, found);
    const { status, order, target, delivery, filters } = found;
    const { lastRefusal } = status;
    printFields(terminal, {
      subscription: found.name,
      topic: found.topic,
      function: [target.function, target.tag && `tag ${target.tag}`, target.path].filter(Boolean).join(", "),
      filter: filters.length === 0 ? undefined : filters.map(filterText).join(" and "),
      order: order && (order.by === undefined ? "all events" : `by ${order.by}`),
      delivery: Object.keys(delivery).length === 0 ? undefined : JSON.stringify(delivery),
      state: [status.state, status.reason].filter(Boolean).join(": "),
      place: `sequence ${status.sequence}, ${status.behind} behind`,
      delivered: String(status.delivered),
      filtered: String(status.filtered),
      refused: status.refused === 0 ? undefined : String(status.refused),
      "last refused": lastRefusal && `sequence ${lastRefusal.sequence}: ${lastRefusal.reason}`,
      missed: status.missed === 0 ? undefined : `${status.missed}, removed by the topic's retention`,
    });
    return undefined;
  },
});

export const subscriptionSeek = command({
  name: "subscription seek",
  summary: "send a subscription to another place; what it had before is delivered again",
  examples: ["virga subscription seek bill oldest", "virga subscription seek bill 1042"],
  arguments: { name: nameArgument, from: { kind: "required", summary: "newest, oldest or a sequence" } },
  options: {},
  async run({ client, namespace, terminal }, given) {
    const { sequence } = await client.json<{ sequence: number }>(
      "POST",
      path`/v1/namespaces/${namespace}/subscriptions/${given.name}/seek`,
      { json: { from: placeOf(given.from) } },
    );
    terminal.print(`${given.name} goes on with sequence ${sequence + 1}`);
  },
});

export const subscriptionExplain = command({
  name: "subscription explain",
  summary: "say which events of its topic pass a subscription's filters, and why",
  arguments: { name: nameArgument },
  options: {
    from: { kind: "number", summary: "from this sequence on (the oldest)" },
    limit: { kind: "number", summary: "at most so many (100)" },
    output: outputOption,
  },
  async run({ client, namespace, terminal }, given, options) {
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<{ sequence: number; passes: boolean; reason: string }>(
        path`/v1/namespaces/${namespace}/subscriptions/${given.name}/verdicts`,
        { from: options.from },
        options.limit ?? 100,
      ),
      [
        { title: "SEQUENCE", value: ({ sequence }) => sequence, align: "right" },
        { title: "PASSES", value: ({ passes }) => (passes ? "yes" : "no") },
        { title: "REASON", value: ({ reason }) => reason },
      ],
      "no events",
    );
  },
});

export const subscriptionDelete = command({
  name: "subscription delete",
  summary: "delete a subscription",
  arguments: { name: nameArgument },
  options: { yes: yesOption },
  async run({ client, namespace, terminal }, given, options) {
    if (!(await confirmed(terminal, `Delete subscription ${given.name} of namespace ${namespace}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/namespaces/${namespace}/subscriptions/${given.name}`);
    terminal.print(`deleted ${given.name}`);
    return exit.ok;
  },
});

function placeOf(text: string): string | number {
  if (text === "newest" || text === "oldest") return text;
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new VirgaError("bad_request", `"${text}" is no place: use newest, oldest or a sequence`, { field: "from" });
}

function filtersOf(text: string | undefined): unknown[] & ReturnType<typeof parseFilter>[] {
  if (text === undefined) return [];
  try {
    const filters: unknown = JSON.parse(text);
    if (Array.isArray(filters)) return filters as ReturnType<typeof filtersOf>;
  } catch (error) {
    throw new VirgaError("bad_request", `--filters is not JSON: ${(error as Error).message}`, {
      field: "filters",
      cause: error,
    });
  }
  throw new VirgaError("bad_request", "--filters takes a JSON list", { field: "filters" });
}
