import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { Json, Workflow } from "../../core/workflow/definition.ts";
import type { RunEvent, RunStatus, TaskSpec, TaskTimings, Value } from "../../core/workflow/event.ts";
import { confirmed } from "../ask.ts";
import { path } from "../client.ts";
import { command, type Context, outputOption, yesOption } from "../command.ts";
import { exit } from "../exit.ts";
import { printData, printFields, printList, table } from "../output.ts";
import { formatAge, formatDuration } from "../units.ts";

const workflowArgument = { kind: "required", summary: "the workflow's name", completes: "workflow" } as const;
const runArgument = { kind: "required", summary: "the run's id", completes: "run" } as const;

export const workflowDeploy = command({
  name: "workflow deploy",
  summary: "make or change a workflow from a YAML file",
  examples: ["virga workflow deploy chip.yaml", "virga workflow deploy graph.json --name chip"],
  arguments: { file: { kind: "required", summary: "its definition: YAML or JSON", completes: "file" } },
  options: { name: { kind: "text", summary: "in place of the file's own name" } },
  async run({ client, namespace, terminal }, given, options) {
    const { name, ...definition } = await readDefinition(resolve(terminal.directory, given.file), given.file);
    const chosen = options.name ?? name;
    if (typeof chosen !== "string") {
      throw new VirgaError("invalid_field", `${given.file} has no name`, {
        field: "name",
        fix: "write `name: …` into it, or give --name",
      });
    }
    const target = path`/v1/namespaces/${namespace}/workflows/${chosen}`;
    const { version } = await client.json<Workflow>("PUT", target, { json: definition });
    terminal.print(`${chosen} version ${version}`);
  },
});

export const workflowStart = command({
  name: "workflow start",
  summary: "start a run of a workflow",
  examples: [
    `virga workflow start chip -d '{"design":"alu"}' --follow`,
    "virga workflow start chip -d @input.json --key build-17",
  ],
  arguments: { workflow: workflowArgument },
  options: {
    data: { kind: "text", short: "d", placeholder: "json", summary: "the input: JSON, or @file" },
    key: { kind: "text", summary: "the same key again within a day is the same run" },
    follow: { kind: "flag", short: "f", summary: "show what happens until it is over, then its output" },
  },
  async run(context, given, options) {
    const { client, namespace, terminal } = context;
    const input = readInput(terminal.directory, options.data);
    const { id } = await client.json<{ id: string }>("POST", path`/v1/namespaces/${namespace}/workflow-runs`, {
      json: { workflow: given.workflow, ...(input === undefined ? {} : { input }) },
      headers: options.key === undefined ? {} : { "idempotency-key": options.key },
    });
    if (!options.follow) {
      terminal.print(id);
      return exit.ok;
    }
    terminal.note(`run ${id}`);
    await follow(context, id);
    const answer = await client.request("GET", path`/v1/namespaces/${namespace}/workflow-runs/${id}/result`);
    if (answer.status >= 400) throw await client.errorOf(answer, `run ${id}`);
    for await (const chunk of answer.body) await terminal.write(chunk as Buffer);
    terminal.print("");
    return exit.ok;
  },
});

export const workflowList = command({
  name: "workflow list",
  summary: "list the workflows",
  arguments: {},
  options: { output: outputOption },
  async run({ client, namespace, terminal }, _given, options) {
    const now = Date.now();
    await printList(
      terminal,
      options.output ?? "table",
      await client.list<Workflow>(path`/v1/namespaces/${namespace}/workflows`),
      [
        { title: "NAME", value: ({ name }) => name },
        { title: "VERSION", value: ({ version }) => version, align: "right" },
        { title: "PROGRAM", value: ({ definition }) => programOf(definition) },
        { title: "AGE", value: ({ updatedAt }) => formatAge(updatedAt, now), align: "right" },
        { title: "DESCRIPTION", value: ({ definition }) => definition.description },
      ],
      `no workflows in namespace ${namespace}`,
    );
  },
});

export const workflowDelete = command({
  name: "workflow delete",
  summary: "delete a workflow; its runs go on",
  arguments: { workflow: workflowArgument },
  options: { yes: yesOption },
  async run({ client, namespace, terminal }, given, options) {
    if (!(await confirmed(terminal, `Delete workflow ${given.workflow} of namespace ${namespace}?`, options.yes))) {
      terminal.note("nothing was deleted");
      return exit.failed;
    }
    await client.json("DELETE", path`/v1/namespaces/${namespace}/workflows/${given.workflow}`);
    terminal.print(`deleted ${given.workflow}`);
    return exit.ok;
  },
});

export const workflowRuns = command({
  name: "workflow runs",
  summary: "list runs, newest first",
  examples: ["virga workflow runs --workflow chip --status failed"],
  arguments: {},
  options: {
    workflow: { kind: "text", summary: "only of this one" },
    status: {
      kind: "text",
      summary: "only in this state",
      choices: ["running", "succeeded", "failed", "cancelled", "timed_out"],
    },
    limit: { kind: "number", summary: "at most so many (50)" },
    output: outputOption,
  },
  async run({ client, namespace, terminal }, _given, options) {
    const now = Date.now();
    const runs = await client.list<Run>(
      path`/v1/namespaces/${namespace}/workflow-runs`,
      { workflow: options.workflow, status: options.status },
      options.limit ?? 50,
    );
    await printList(
      terminal,
      options.output ?? "table",
      runs,
      [
        { title: "ID", value: ({ id }) => id },
        { title: "WORKFLOW", value: ({ workflow, version }) => `${workflow}@${version}` },
        { title: "STATUS", value: ({ status }) => status },
        { title: "AGE", value: ({ startedAt }) => formatAge(startedAt, now), align: "right" },
        {
          title: "TOOK",
          value: ({ startedAt, endedAt }) => endedAt && formatDuration(endedAt - startedAt),
          align: "right",
        },
        { title: "ERROR", value: ({ error }) => error?.code },
        { title: "PARENT", value: ({ parent }) => parent, wide: true },
      ],
      "no runs",
    );
  },
});

export const workflowDescribe = command({
  name: "workflow describe",
  summary: "where a run stands: its steps, their calls and timings",
  arguments: { run: runArgument },
  options: { output: outputOption },
  async run({ client, namespace, terminal }, given, options) {
    const run = await client.get<Run>(path`/v1/namespaces/${namespace}/workflow-runs/${given.run}`);
    if (options.output === "json" || options.output === "yaml") return printData(terminal, options.output, run);
    const waiting = run.signals ?? [];
    printFields(terminal, {
      run: run.id,
      workflow: `${run.workflow} version ${run.version}`,
      status: run.status,
      started: new Date(run.startedAt).toISOString(),
      took: run.endedAt === undefined ? undefined : formatDuration(run.endedAt - run.startedAt),
      parent: run.parent,
      error: run.error === undefined ? undefined : `${run.error.code}: ${run.error.message}`,
      output: run.output === undefined ? undefined : shown(run.output),
      signals: waiting.length === 0 ? undefined : waiting.join(", "),
    });
    terminal.print("");
    const lines = table(
      terminal,
      run.tasks ?? [],
      [
        { title: "STEP", value: ({ id }) => id },
        { title: "DOES", value: ({ kind, target }) => [kind, target].filter(Boolean).join(" ") },
        { title: "STATUS", value: ({ status }) => status },
        { title: "AT", value: ({ scheduledAt }) => `+${formatDuration(scheduledAt - run.startedAt)}`, align: "right" },
        {
          title: "TOOK",
          value: ({ scheduledAt, settledAt }) => settledAt && formatDuration(settledAt - scheduledAt),
          align: "right",
        },
        { title: "RAN", value: ({ timings }) => timings && formatDuration(timings.runMs), align: "right" },
        { title: "CALL", value: ({ invocation, run: child }) => invocation ?? child },
        { title: "ERROR", value: ({ error }) => error && `${error.code}: ${error.message}` },
        { title: "WHY", value: ({ reason }) => reason, wide: true },
      ],
      options.output === "wide",
    );
    for (const line of lines) terminal.print(line);
    return undefined;
  },
});

export const workflowSignal = command({
  name: "workflow signal",
  summary: "send an event to a run",
  examples: [`virga workflow signal RUN approval -d '{"by":"ada"}'`],
  arguments: { run: runArgument, event: { kind: "required", summary: "the event's name" } },
  options: {
    data: { kind: "text", short: "d", placeholder: "json", summary: "its value: JSON, or @file" },
    id: { kind: "text", summary: "the same id again is the same signal" },
  },
  async run({ client, namespace, terminal }, given, options) {
    const value = readInput(terminal.directory, options.data);
    const target = path`/v1/namespaces/${namespace}/workflow-runs/${given.run}/signals`;
    const { id } = await client.json<{ id: string }>("POST", target, {
      json: {
        name: given.event,
        ...(value === undefined ? {} : { value }),
        ...(options.id === undefined ? {} : { id: options.id }),
      },
    });
    terminal.print(id);
  },
});

export const workflowCancel = command({
  name: "workflow cancel",
  summary: "cancel a run; its calls are cut off",
  arguments: { run: runArgument },
  options: {},
  async run({ client, namespace, terminal }, given) {
    await client.json("DELETE", path`/v1/namespaces/${namespace}/workflow-runs/${given.run}`);
    terminal.print(`cancelled ${given.run}`);
  },
});

interface Run {
  readonly id: string;
  readonly workflow: string;
  readonly version: number;
  readonly status: RunStatus;
  readonly startedAt: number;
  readonly endedAt?: number;
  readonly parent?: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly output?: Value;
  readonly signals?: readonly string[];
  readonly tasks?: readonly {
    readonly id: string;
    readonly kind: TaskSpec["kind"];
    readonly target?: string;
    readonly status: string;
    readonly reason: string;
    readonly scheduledAt: number;
    readonly settledAt?: number;
    readonly invocation?: string;
    readonly run?: string;
    readonly timings?: TaskTimings;
    readonly error?: { readonly code: string; readonly message: string };
  }[];
}

/** Says what happens, event by event, until the run is over. */
async function follow({ client, namespace, terminal, signal }: Context, id: string): Promise<void> {
  const run = path`/v1/namespaces/${namespace}/workflow-runs/${id}`;
  const tasks = new Map<string, { task: string; at: number }>();
  for (let from = 1; !signal.aborted;) {
    const { items } = await client.get<{ items: (RunEvent & { sequence: number })[] }>(`${run}/history`, { from });
    for (const event of items) {
      if (event.kind === "scheduled") tasks.set(event.ref, { task: event.task, at: event.at });
      const line = lineOf(event, tasks);
      if (line !== undefined) terminal.note(line);
      if (event.kind === "ended") return;
      from = event.sequence + 1;
    }
    // Answers at once when the run is over; else it is time to look at what happened.
    if (items.length === 0) await client.get<Run>(run, { waitMs: lookEveryMs });
  }
}

function lineOf(event: RunEvent, tasks: ReadonlyMap<string, { task: string; at: number }>): string | undefined {
  switch (event.kind) {
    case "scheduled":
      return `→ ${event.task}  ${event.spec.kind}  (${event.reason})`;
    case "settled": {
      const { task, at } = tasks.get(event.ref) ?? { task: event.ref, at: event.at };
      const took = formatDuration(event.at - at);
      if (event.outcome.ok) return `✓ ${task}  ${took}`;
      return `✗ ${task}  ${took}  ${event.outcome.error.code}: ${event.outcome.error.message}`;
    }
    case "signalled":
      return `• ${event.name}`;
    case "stopped":
      return `■ ${event.message}`;
    default:
      return undefined;
  }
}

async function readDefinition(file: string, written: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new VirgaError("bad_request", `${written} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  const { parse } = await import("yaml");
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new VirgaError("bad_request", `${written} is no YAML: ${(error as Error).message}`, { cause: error });
  }
  if (typeof document === "object" && document !== null && !Array.isArray(document)) {
    return document as Record<string, unknown>;
  }
  throw new VirgaError("bad_request", `${written} is no definition of a workflow`, { fix: "see docs/workflows.md" });
}

function readInput(directory: string, data: string | undefined): Json | undefined {
  if (data === undefined) return undefined;
  try {
    return JSON.parse(data.startsWith("@") ? readFileSync(resolve(directory, data.slice(1)), "utf8") : data) as Json;
  } catch (error) {
    throw new VirgaError("bad_request", `--data takes JSON or @file: ${(error as Error).message}`, {
      field: "data",
      cause: error,
    });
  }
}

function programOf({ steps, decider }: Workflow["definition"]): string {
  return decider === undefined ? `${steps?.length ?? 0} steps` : `decided by ${decider.function}`;
}

function shown(value: Value): string {
  if ("blob" in value) return `${value.bytes} bytes`;
  const text = JSON.stringify(value.json);
  return text.length > 200 ? `${text.slice(0, 199)}…` : text;
}

const lookEveryMs = 300;
