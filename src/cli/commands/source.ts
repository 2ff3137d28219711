import { VirgaError } from "../../core/errors.ts";
import type { Source, SourceStatus } from "../../core/events/model.ts";
import type { Timer } from "../../core/events/timer.ts";
import { confirmed } from "../ask.ts";
import { path } from "../client.ts";
import { command, outputOption, yesOption } from "../command.ts";
import { durationOption } from "../event-options.ts";
import { exit } from "../exit.ts";
import { printData, printFields, printList } from "../output.ts";
import { formatDuration } from "../units.ts";

const nameArgument = { kind: "required", summary: "the source's name", completes: "source" } as const;

export const sourceSet = command({
  name: "source set",
  summary: "put an event on a topic at each due time: by a schedule, at an interval, or once",
  examples: [
    "virga source set nightly --topic jobs --cron '0 2 * * *' --timezone Europe/Berlin",
    `virga source set tick --topic jobs --every 30s --type tick -d '{"a":1}'`,
    "virga source set launch --topic jobs --at 2027-01-01T00:00:00Z",
  ],
  arguments: { name: nameArgument },
  options: {
    topic: { kind: "text", summary: "the topic (the source's name)" },
    cron: { kind: "text", summary: "minute, hour, day of the month, month, day of the week; or @daily and such" },
    timezone: { kind: "text", summary: "of the schedule (UTC)" },
    every: { kind: "text", placeholder: "duration", summary: "an interval, 1s or more" },
    at: { kind: "text", placeholder: "date", summary: "once, at this ISO date" },
    start: { kind: "text", placeholder: "date", summary: "not due before" },
    end: { kind: "text", placeholder: "date", summary: "not due after" },
    catchUp: {
      kind: "text",
      summary: "of due times that an outage missed: the newest fires, all do, or none (latest)",
      choices: ["latest", "all", "none"],
    },
    type: { kind: "text", summary: "the events' type (virga.timer)" },
    subject: { kind: "text", summary: "the events' subject" },
    data: { kind: "text", short: "d", placeholder: "json", summary: "the events' data" },
    disabled: { kind: "flag", summary: "never due" },
  },
  async run({ client, namespace, terminal }, given, options) {
    const source = {
      topic: options.topic ?? given.name,
      timer: timerOf(options),
      enabled: !options.disabled,
      event: {
        ...(options.type === undefined ? {} : { type: options.type }),
        ...(options.subject === undefined ? {} : { subject: options.subject }),
        ...(options.data === undefined ? {} : { data: jsonOf(options.data) }),
      },
      ...(options.catchUp === undefined ? {} : { catchUp: options.catchUp }),
    };
    const made = await client.json<Source>("PUT", path`/v1/namespaces/${namespace}/event-sources/${given.name}`, {
      json: source,
    });
    terminal.print(`${timerText(made.timer)} → ${made.topic}`);
  },
});

export const sourceList = command({
  name: "source list",
  summary: "list the sources",
  arguments: {},
  options: { output: outputOption },
  async run({ client, namespace, terminal }, _given, options) {
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<Source>(path`/v1/namespaces/${namespace}/event-sources`),
      [
        { title: "NAME", value: ({ name }) => name },
        { title: "TOPIC", value: ({ topic }) => topic },
        { title: "DUE", value: ({ timer }) => timerText(timer) },
        { title: "ENABLED", value: ({ enabled }) => (enabled ? "yes" : "no") },
      ],
      `no sources in namespace ${namespace}`,
    );
  },
});

export const sourceGet = command({
  name: "source get",
  summary: "when a source was due, and when it will be",
  arguments: { name: nameArgument },
  options: { output: outputOption },
  async run({ client, namespace, terminal }, given, options) {
    const found = await client.get<Source & { status: SourceStatus }>(
      path`/v1/namespaces/${namespace}/event-sources/${given.name}`,
    );
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, found);
    const { status, event } = found;
    const shown = (at: number | undefined): string | undefined => (at === undefined ? undefined : dateOf(at));
    printFields(terminal, {
      source: found.name,
      topic: found.topic,
      due: timerText(found.timer),
      "catch-up": found.catchUp,
      event: Object.keys(event).length === 0 ? undefined : JSON.stringify(event),
      enabled: found.enabled ? "yes" : "no",
      next: shown(status.nextDueAt) ?? "never",
      last: shown(status.lastDueAt),
      fired: String(status.fired),
      skipped: String(status.skipped),
      problem: status.problem,
    });
    return undefined;
  },
});

export const sourceDelete = command({
  name: "source delete",
  summary: "delete a source",
  arguments: { name: nameArgument },
  options: { yes: yesOption },
  async run({ client, namespace, terminal }, given, options) {
    if (!(await confirmed(terminal, `Delete source ${given.name} of namespace ${namespace}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/namespaces/${namespace}/event-sources/${given.name}`);
    terminal.print(`deleted ${given.name}`);
    return exit.ok;
  },
});

function timerOf(options: {
  readonly cron: string | undefined;
  readonly timezone: string | undefined;
  readonly every: string | undefined;
  readonly at: string | undefined;
  readonly start: string | undefined;
  readonly end: string | undefined;
}): object {
  const { cron, timezone, every, at } = options;
  const bounds = {
    ...(options.start === undefined ? {} : { startAt: momentOf("start", options.start) }),
    ...(options.end === undefined ? {} : { endAt: momentOf("end", options.end) }),
  };
  if ([cron, every, at].filter((text) => text !== undefined).length !== 1) {
    throw new VirgaError("bad_request", "a source needs one of --cron, --every and --at", { field: "timer" });
  }
  if (cron !== undefined) return { kind: "schedule", cron, timezone: timezone ?? "UTC", ...bounds };
  if (every !== undefined) return { kind: "interval", everyMs: durationOption("every", every), ...bounds };
  return { kind: "once", at: momentOf("at", at ?? ""), ...bounds };
}

function momentOf(option: string, text: string): number {
  const at = Date.parse(text);
  if (!Number.isNaN(at)) return at;
  throw new VirgaError("bad_request", `--${option} takes an ISO date such as 2027-01-01T00:00:00Z, not "${text}"`, {
    field: option,
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new VirgaError("bad_request", `--data is not JSON: ${(error as Error).message}`, {
      field: "data",
      fix: `write a text as '"text"'`,
      cause: error,
    });
  }
}

function timerText(timer: Timer): string {
  switch (timer.kind) {
    case "schedule":
      return `${timer.cron} (${timer.timezone})`;
    case "interval":
      return `every ${formatDuration(timer.everyMs)}`;
    case "once":
      return `once, ${dateOf(timer.at)}`;
  }
}

function dateOf(at: number): string {
  return new Date(at).toISOString();
}
