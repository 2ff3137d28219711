import { createWriteStream } from "node:fs";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { VirgaError } from "../../core/errors.ts";
import type { InvocationStatusView } from "../api.ts";
import { path } from "../client.ts";
import { command, outputOption } from "../command.ts";
import { exit } from "../exit.ts";
import { type Column, printData, printFields, printList } from "../output.ts";
import { logLine } from "../log-line.ts";
import { timingLines } from "../timing.ts";
import { formatAge, formatDuration, formatSize, parseMoment } from "../units.ts";

const idArgument = { kind: "required", summary: "the invocation's id", completes: "invocation" } as const;

export const invocationList = command({
  name: "invocation list",
  summary: "list calls, newest first",
  examples: ["virga invocation list --function hello --status failed", "virga invocation list --since 10m -o wide"],
  arguments: {},
  options: {
    function: { kind: "text", summary: "only of this one" },
    status: {
      kind: "text",
      summary: "only in this state",
      choices: ["queued", "running", "succeeded", "failed", "timed_out", "cancelled", "dead_letter"],
    },
    since: { kind: "text", placeholder: "when", summary: "10m, 2h, or an ISO date" },
    until: { kind: "text", placeholder: "when", summary: "10m, 2h, or an ISO date" },
    limit: { kind: "number", summary: "at most so many (50)" },
    output: outputOption,
  },
  async run({ client, namespace, terminal }, _given, options) {
    const { items } = await client.get<{ items: InvocationStatusView[] }>(
      path`/v1/namespaces/${namespace}/invocations`,
      {
        function: options.function,
        status: options.status,
        since: moment("since", options.since),
        until: moment("until", options.until),
        limit: options.limit ?? 50,
      },
    );
    const now = Date.now();
    const columns: Column<InvocationStatusView>[] = [
      { title: "ID", value: ({ id }) => id },
      { title: "FUNCTION", value: ({ name, revision }) => `${name ?? "-"}@${revision ?? "-"}` },
      { title: "STATUS", value: ({ status }) => status },
      { title: "HTTP", value: ({ responseStatus }) => responseStatus, align: "right" },
      { title: "AGE", value: ({ timings }) => timings && formatAge(timings.acceptedAt, now), align: "right" },
      { title: "TOOK", value: ({ timings }) => timings && formatDuration(timings.totalMs), align: "right" },
      { title: "START", value: ({ usage }) => usage && (usage.coldStart ? "cold" : "warm") },
      { title: "CAUSE", value: ({ cause }) => cause?.kind, wide: true },
      { title: "BILLED", value: ({ usage }) => usage && `${usage.billedMs} ms`, wide: true, align: "right" },
      { title: "PEAK", value: ({ usage }) => usage && formatSize(usage.memoryPeakBytes), wide: true, align: "right" },
      { title: "ERROR", value: ({ error }) => error?.code },
    ];
    await printList(terminal, options.output ?? "table", items, columns, "no calls");
  },
});

export const invocationGet = command({
  name: "invocation get",
  summary: "where a call stands, or its whole record",
  arguments: { id: idArgument },
  options: { output: outputOption },
  async run({ client, namespace, terminal }, given, options) {
    const view = await client.get<InvocationStatusView>(path`/v1/namespaces/${namespace}/invocations/${given.id}`);
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, view);
    const { timings, usage, logs = [] } = view;
    const acceptedAt = view.acceptedAt ?? timings?.acceptedAt;
    printFields(terminal, {
      id: view.id,
      function:
        view.name === undefined
          ? undefined
          : `${view.name}${view.revision === undefined ? "" : ` revision ${view.revision}`}`,
      status: view.status,
      answer: view.responseStatus === undefined ? undefined : `HTTP ${view.responseStatus}`,
      attempt: view.attempt === undefined ? undefined : String(view.attempt),
      next: view.nextAttemptAt === undefined ? undefined : new Date(view.nextAttemptAt).toISOString(),
      accepted: acceptedAt === undefined ? undefined : new Date(acceptedAt).toISOString(),
      cause: view.cause === undefined ? undefined : causeText(view.cause),
      error:
        view.error === undefined
          ? undefined
          : [`${view.error.code}: ${view.error.message}`, view.error.stack ?? []].flat().join("\n"),
    });
    if (timings !== undefined && usage !== undefined) {
      for (const line of timingLines(terminal, { ...view, timings, usage } as never)) terminal.print(line);
    }
    for (const line of logs) {
      terminal.print(logLine(terminal, { ...line, name: "", revision: 0, instance: "", invocation: view.id }));
    }
    if (view.logsDropped !== undefined) terminal.print(`${view.logsDropped} more lines were over the log limit`);
    return undefined;
  },
});

export const invocationResult = command({
  name: "invocation result",
  summary: "the answer of an asynchronous call",
  arguments: { id: idArgument },
  options: { output: { kind: "text", short: "o", placeholder: "file", summary: "write it to a file" } },
  async run({ client, namespace, terminal }, given, options) {
    const target = path`/v1/namespaces/${namespace}/invocations/${given.id}/result`;
    const answer = await client.request("GET", target);
    // The kept answer comes with the function's own status; only the platform's refusals have no invocation behind them.
    const kept = answer.status < 400 || answer.headers["x-virga-invocation"] !== undefined;
    if (!kept) throw await client.errorOf(answer, `GET ${target}`);
    if (options.output !== undefined) {
      await pipeline(answer.body, createWriteStream(resolve(terminal.directory, options.output)));
    } else {
      for await (const chunk of answer.body) await terminal.write(chunk as Buffer);
    }
    return answer.status < 400 ? exit.ok : exit.failed;
  },
});

export const invocationCancel = command({
  name: "invocation cancel",
  summary: "cancel an asynchronous call that is not settled",
  arguments: { id: idArgument },
  options: {},
  async run({ client, namespace, terminal }, given) {
    await client.json("DELETE", path`/v1/namespaces/${namespace}/invocations/${given.id}`);
    terminal.print(`cancelled ${given.id}`);
  },
});

export const deadLetters = command({
  name: "invocation dead-letters",
  summary: "list asynchronous calls that were given up",
  arguments: {},
  options: { limit: { kind: "number", summary: "at most so many (100)" }, output: outputOption },
  async run({ client, namespace, terminal }, _given, options) {
    const letters = await client.list<InvocationStatusView & { message?: { reason?: string } }>(
      path`/v1/namespaces/${namespace}/dead-letters`,
      {},
      options.limit ?? 100,
    );
    await printList(
      terminal,
      options.output ?? "table",
      letters,
      [
        { title: "ID", value: ({ id }) => id },
        { title: "FUNCTION", value: ({ name }) => name },
        { title: "ATTEMPTS", value: ({ attempt }) => attempt, align: "right" },
        { title: "AGE", value: ({ acceptedAt }) => acceptedAt && formatAge(acceptedAt, Date.now()), align: "right" },
        { title: "REASON", value: ({ message, error }) => message?.reason ?? error?.message },
      ],
      "no dead letters",
    );
  },
});

export const invocationRevive = command({
  name: "invocation revive",
  summary: "run a dead letter again, with all its attempts",
  arguments: { id: idArgument },
  options: {},
  async run({ client, namespace, terminal }, given) {
    await client.json("POST", path`/v1/namespaces/${namespace}/dead-letters/${given.id}/revive`);
    terminal.print(`revived ${given.id}`);
  },
});

function moment(option: string, text: string | undefined): number | undefined {
  const at = text === undefined ? undefined : parseMoment(text, Date.now());
  if (text === undefined || at !== undefined) return at;
  throw new VirgaError("bad_request", `--${option} takes 10m, 2h or a date, not "${text}"`, { field: option });
}

function causeText(cause: NonNullable<InvocationStatusView["cause"]>): string {
  return [cause.kind, cause.parent && `called by ${cause.parent}`, cause.requestId && `request ${cause.requestId}`]
    .filter((part) => part !== undefined)
    .join(", ");
}
