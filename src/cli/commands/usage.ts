import type { RateCard, UsageDay } from "../../core/model.ts";
import { VirgaError } from "../../core/errors.ts";
import { path } from "../client.ts";
import { command, outputOption } from "../command.ts";
import { type Column, printData, table } from "../output.ts";
import { formatSize } from "../units.ts";

export const usage = command({
  name: "usage",
  summary: "what functions used and what it costs by the rate card",
  examples: [
    "virga usage",
    "virga usage --from 2026-11-01 --to 2026-11-30 --by day",
    "virga usage --function hello -o json",
  ],
  arguments: {},
  options: {
    from: { kind: "text", placeholder: "YYYY-MM-DD", summary: "first day (UTC); 30 days ago" },
    to: { kind: "text", placeholder: "YYYY-MM-DD", summary: "last day (UTC); today" },
    function: { kind: "text", summary: "only this one" },
    by: { kind: "text", summary: "function (default) or day", choices: ["function", "day"] },
    output: outputOption,
  },
  async run({ client, namespace, terminal }, _given, options) {
    const now = Date.now();
    const from = checkedDay("from", options.from ?? dayOf(now - 29 * 86_400_000));
    const to = checkedDay("to", options.to ?? dayOf(now));
    const { items, rates } = await client.get<{ items: UsageDay[]; rates: RateCard }>(
      path`/v1/namespaces/${namespace}/usage`,
      { from, to, function: options.function },
    );
    const rows = sumBy(items, options.by === "day" ? (one) => one.day : (one) => one.name, rates);
    const total = sumBy(items, () => "total", rates);
    if (options.output === "json" || options.output === "yaml") {
      return printData(terminal, options.output, { from, to, items: rows, total: total[0], rates });
    }
    if (rows.length === 0) return terminal.note(`no calls from ${from} to ${to}`);
    const columns: Column<UsageRow>[] = [
      { title: options.by === "day" ? "DAY" : "FUNCTION", value: ({ key }) => key },
      { title: "REQUESTS", value: ({ requests }) => requests, align: "right" },
      { title: "ERRORS", value: ({ errors }) => errors, align: "right" },
      { title: "COLD", value: ({ coldStarts }) => coldStarts, align: "right" },
      { title: "GB-S", value: ({ gbSeconds }) => gbSeconds.toFixed(3), align: "right" },
      { title: "CPU-S", value: ({ cpuSeconds }) => cpuSeconds.toFixed(3), align: "right" },
      { title: "IN", value: ({ bytesIn }) => formatSize(bytesIn), wide: true, align: "right" },
      { title: "OUT", value: ({ bytesOut }) => formatSize(bytesOut), wide: true, align: "right" },
      { title: `COST ${rates.currency}`, value: ({ cost }) => cost.toFixed(6), align: "right" },
    ];
    for (const line of table(terminal, [...rows, ...total], columns, options.output === "wide")) terminal.print(line);
    terminal.note(
      terminal.styleNote(
        "dim",
        `rates: ${rates.perMillionRequests} for a million requests, ${rates.perGbSecond} for a GB-second, ${rates.perCpuSecond} for a CPU-second`,
      ),
    );
    return undefined;
  },
});

interface UsageRow {
  readonly key: string;
  requests: number;
  errors: number;
  coldStarts: number;
  billedMs: number;
  gbSeconds: number;
  cpuSeconds: number;
  bytesIn: number;
  bytesOut: number;
  cost: number;
}

/** Sums in the order in which the keys sort. */
export function sumBy(days: readonly UsageDay[], keyOf: (day: UsageDay) => string, rates: RateCard): UsageRow[] {
  const rows = new Map<string, UsageRow>();
  for (const day of days) {
    const key = keyOf(day);
    const row = rows.get(key) ?? { key, ...zero };
    rows.set(key, row);
    for (const measure of measures) row[measure] += day[measure];
  }
  for (const row of rows.values()) {
    row.cost =
      (row.requests / 1e6) * rates.perMillionRequests +
      row.gbSeconds * rates.perGbSecond +
      row.cpuSeconds * rates.perCpuSecond;
  }
  return [...rows.values()].sort((left, right) => (left.key < right.key ? -1 : 1));
}

const measures = [
  "requests",
  "errors",
  "coldStarts",
  "billedMs",
  "gbSeconds",
  "cpuSeconds",
  "bytesIn",
  "bytesOut",
] as const;

const zero = {
  requests: 0,
  errors: 0,
  coldStarts: 0,
  billedMs: 0,
  gbSeconds: 0,
  cpuSeconds: 0,
  bytesIn: 0,
  bytesOut: 0,
  cost: 0,
};

function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

function checkedDay(option: string, text: string): string {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(at) && dayOf(at) === text) return text;
  throw new VirgaError("bad_request", `--${option} takes a day such as 2026-11-24, not "${text}"`, { field: option });
}
