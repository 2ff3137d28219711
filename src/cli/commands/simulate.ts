import { closeSync, openSync, readdirSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { VirgaError } from "../../core/errors.ts";
import { policyNames, policyOf } from "../../core/keep-alive/policies.ts";
import { type AzureFile, AzureTrace } from "../../simulator/azure.ts";
import { picture } from "../../simulator/picture.ts";
import { type ScalingReport, simulateScaling } from "../../simulator/scaling.ts";
import { type Contestant, type PolicyReport, simulate as run } from "../../simulator/simulate.ts";
import { SyntheticTrace } from "../../simulator/synthetic.ts";
import type { Trace } from "../../simulator/trace.ts";
import { command, outputOption } from "../command.ts";
import { scalingContestants, scalingNames, simulateInParts } from "../scaling-simulation.ts";
import { type Column, printData, table } from "../output.ts";
import { formatDuration, parseDuration, parseSize } from "../units.ts";

export const simulate = command({
  name: "simulate",
  summary:
    "replays a trace of calls in virtual time for each keep-alive or scaling policy, by the code that the server runs",
  examples: [
    "virga simulate --functions 5000 --picture policies.svg",
    "virga simulate ./azurefunctions-dataset2019 --days 3",
    "virga simulate --policy learned:2% --policy fixed:30m -o json",
    "virga simulate --scaling demand --scaling kpa --functions 500 --days 1",
  ],
  arguments: {
    trace: {
      kind: "optional",
      summary:
        "folder with the files of the Azure 2019 data set; a synthetic trace of its published distributions where absent",
      completes: "file",
    },
  },
  options: {
    policy: {
      kind: "list",
      placeholder: "policy",
      summary:
        "fixed:TIME, hybrid, greedy-dual, learned or learned:SHARE of cold starts; may be given again; all of them",
    },
    scaling: {
      kind: "list",
      placeholder: "policy",
      summary: `${scalingNames.join(", ")} or expression:FORMULA, in place of keep-alive policies; may be given again`,
    },
    concurrency: { kind: "number", summary: "with --scaling: calls that an instance takes at the same time; 1" },
    max: { kind: "number", summary: "with --scaling: instances of a function at most; as many as its policy wants" },
    functions: { kind: "number", summary: "functions of the synthetic trace; 2000" },
    days: { kind: "number", summary: "how many; 14" },
    seed: { kind: "number", summary: "of all that is drawn; 1" },
    memory: { kind: "text", placeholder: "size", summary: "what greedy-dual has; what fixed:10m held on average" },
    picture: { kind: "text", placeholder: "file", summary: "writes an SVG of the policies" },
    output: outputOption,
  },
  async run({ terminal, signal }, given, options) {
    const days = whole("days", options.days ?? 14, 1, 14);
    const seed = whole("seed", options.seed ?? 1, 0, 2 ** 31 - 1);
    const functions = whole("functions", options.functions ?? 2000, 1, 1_000_000);
    const bytes = options.memory === undefined ? undefined : parseSize(options.memory);
    if (options.memory !== undefined && bytes === undefined) throw unclear("memory", options.memory, "4GiB");
    const begun = performance.now();
    const onDay = async (done: number, of: number): Promise<void> => {
      terminal.status(`day ${done} of ${of}`);
      // So that Ctrl-C is heard.
      await setImmediate();
      signal.throwIfAborted();
    };
    const note = (text: string): void => {
      const took = `${days === 1 ? "1 day" : `${days} days`} in ${formatDuration(performance.now() - begun)}`;
      terminal.note(terminal.styleNote("dim", `${text}; ${took}`));
    };
    const contestants = (options.policy.length > 0 ? options.policy : usualPolicies).map(contestant);
    const open = (): Trace =>
      given.trace === undefined
        ? new SyntheticTrace({ functions, days, seed })
        : new AzureTrace(folder(given.trace), days, seed);
    if (options.scaling.length > 0) {
      for (const field of ["policy", "memory", "picture"] as const) {
        if (options[field] === undefined || options[field].length === 0) continue;
        throw new VirgaError("bad_request", `--${field} is of keep-alive policies`, {
          field,
          fix: "Leave --scaling out.",
        });
      }
      const concurrency = whole("concurrency", options.concurrency ?? 1, 1, 10_000);
      const max = whole("max", options.max ?? 1_000_000, 1, 1_000_000);
      const policies = { policies: options.scaling, concurrency, max };
      const results =
        given.trace === undefined && functions * days >= worthParts
          ? await simulateInParts({ functions, days, seed }, policies, signal, (share) =>
              terminal.status(`${Math.floor(100 * share)} %`),
            )
          : await simulateScaling(open(), scalingContestants(policies), onDay);
      terminal.status("");
      if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, results);
      for (const line of table(terminal, results, scalingColumns, options.output === "wide")) terminal.print(line);
      note("waited: for a start or in line; instances: of all functions on average, and of one at most");
      return undefined;
    }
    const reports = await run(open, contestants, {
      cacheMb: bytes === undefined ? undefined : bytes / 2 ** 20,
      onDay,
    });
    terminal.status("");
    if (options.picture !== undefined) writeFileSync(options.picture, picture(reports));
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, reports);
    for (const line of table(terminal, reports, columns, options.output === "wide")) terminal.print(line);
    note(
      "cold starts: of all calls, and of the application at that percentile; wasted: memory held idle ÷ that of 10 minutes fixed",
    );
    return undefined;
  },
});

/** Functions × days: below, threads take longer to come up than they save. */
const worthParts = 10_000;

const usualPolicies = ["fixed:10m", "fixed:1h", "hybrid", "greedy-dual", "learned"];

const columns: Column<PolicyReport>[] = [
  { title: "POLICY", value: ({ policy }) => policy },
  { title: "COLD", value: ({ coldShare }) => percent(coldShare, 3), align: "right" },
  { title: "P50", value: ({ applications }) => percent(applications.p50), align: "right" },
  { title: "P75", value: ({ applications }) => percent(applications.p75), align: "right" },
  { title: "P90", value: ({ applications }) => percent(applications.p90), align: "right" },
  { title: "P99", value: ({ applications }) => percent(applications.p99), align: "right" },
  { title: "MEAN", value: ({ applications }) => percent(applications.mean), align: "right" },
  { title: "WASTED", value: ({ wasted }) => wasted.toFixed(3), align: "right" },
  { title: "GB-S IDLE", value: ({ wastedGbSeconds }) => Math.round(wastedGbSeconds), align: "right" },
  { title: "WAIT P99.9", value: ({ waitMs }) => formatDuration(waitMs.p999), align: "right" },
  { title: "LATENCY P50", value: ({ latencyMs }) => formatDuration(latencyMs.p50), align: "right" },
  { title: "P99", value: ({ latencyMs }) => formatDuration(latencyMs.p99), align: "right" },
  { title: "CALLS", value: ({ calls }) => calls, wide: true, align: "right" },
  { title: "COLD STARTS", value: ({ coldStarts }) => coldStarts, wide: true, align: "right" },
  { title: "MADE AHEAD", value: ({ prewarmed }) => prewarmed, wide: true, align: "right" },
  { title: "WAIT P99.99", value: ({ waitMs }) => formatDuration(waitMs.p9999), wide: true, align: "right" },
];

const scalingColumns: Column<ScalingReport>[] = [
  { title: "POLICY", value: ({ policy }) => policy },
  { title: "WAITED", value: ({ waitedShare }) => percent(waitedShare, 3), align: "right" },
  { title: "WAIT P99", value: ({ waitMs }) => formatDuration(waitMs.p99), align: "right" },
  { title: "P99.9", value: ({ waitMs }) => formatDuration(waitMs.p999), align: "right" },
  { title: "LATENCY P50", value: ({ latencyMs }) => formatDuration(latencyMs.p50), align: "right" },
  { title: "P95", value: ({ latencyMs }) => formatDuration(latencyMs.p95), align: "right" },
  { title: "P99", value: ({ latencyMs }) => formatDuration(latencyMs.p99), align: "right" },
  { title: "INSTANCES", value: ({ meanInstances }) => meanInstances.toFixed(1), align: "right" },
  { title: "MOST", value: ({ mostInstances }) => mostInstances, align: "right" },
  { title: "STARTS", value: ({ starts }) => starts, align: "right" },
  { title: "GB-S", value: ({ gbSeconds }) => Math.round(gbSeconds), align: "right" },
  { title: "GB-S IDLE", value: ({ wastedGbSeconds }) => Math.round(wastedGbSeconds), align: "right" },
  { title: "REFUSED", value: ({ refused }) => refused, align: "right" },
  { title: "CALLS", value: ({ calls }) => calls, wide: true, align: "right" },
  { title: "WAIT P95", value: ({ waitMs }) => formatDuration(waitMs.p95), wide: true, align: "right" },
  { title: "LATENCY P99.9", value: ({ latencyMs }) => formatDuration(latencyMs.p999), wide: true, align: "right" },
];

function contestant(text: string): Contestant {
  const [word = "", detail] = text.split(":");
  const name = policyNames.find((known) => known === word);
  if (name === undefined) throw unclear("policy", text, policyNames.join(", "));
  const keepMs = detail === undefined ? 600_000 : parseDuration(detail);
  if (name === "fixed") {
    if (keepMs === undefined) throw unclear("policy", text, "fixed:10m");
    return { label: detail === undefined ? "fixed:10m" : text, policy: policyOf("fixed", { keepMs }) };
  }
  if (detail === undefined) return { label: text, policy: policyOf(name, { keepMs: 0 }) };
  const coldShare = detail.endsWith("%") ? Number(detail.slice(0, -1)) / 100 : Number(detail);
  if (name !== "learned" || !(coldShare > 0 && coldShare < 1)) throw unclear("policy", text, "learned:5%");
  return { label: text, policy: policyOf("learned", { keepMs: 0, coldShare }) };
}

/** Finds the data set's files by the beginnings and the days of their names. */
function folder(path: string): (file: AzureFile, day: number) => Iterable<string> | undefined {
  const names = readdirSync(path);
  return (file, day) => {
    const end = `.d${String(day + 1).padStart(2, "0")}.csv`;
    const name = names.find((one) => one.startsWith(file) && one.endsWith(end));
    return name === undefined ? undefined : lines(join(path, name));
  };
}

/** A file of 100 MB and more, a line at a time. */
function* lines(path: string): Generator<string> {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(1 << 20);
    let rest = "";
    for (;;) {
      const length = readSync(file, buffer);
      if (length === 0) break;
      // The data set is ASCII: no letter is cut in two.
      const parts = (rest + buffer.toString("latin1", 0, length)).split(/\r?\n/);
      rest = parts.pop()!;
      yield* parts;
    }
    if (rest !== "") yield rest;
  } finally {
    closeSync(file);
  }
}

function whole(field: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw unclear(field, String(value), `a whole number from ${least} to ${most}`);
}

function unclear(field: string, value: string, instead: string): VirgaError {
  return new VirgaError("bad_request", `--${field} does not take "${value}"`, { field, fix: `Use ${instead}.` });
}

function percent(share: number, digits = 1): string {
  return `${(share * 100).toFixed(digits)} %`;
}
