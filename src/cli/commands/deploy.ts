import { VirgaError } from "../../core/errors.ts";
import type { DeployResult, PlannedChange, Settings } from "../api.ts";
import { confirmed } from "../ask.ts";
import { command, type Context, outputOption, yesOption } from "../command.ts";
import { DeployReport, planLines } from "../deploy-report.ts";
import {
  changedEvents,
  changedRoutes,
  type DeployChoices,
  deployFunction,
  functionUrl,
  planFunction,
  putEventObject,
  putRoute,
  requireSecrets,
} from "../deployment.ts";
import { exit } from "../exit.ts";
import { printData } from "../output.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "../units.ts";
import type { SourceArchive } from "../pack.ts";
import type { ProjectFunction } from "../project.ts";

export const deploy = command({
  name: "deploy",
  summary: "deploy a folder's functions, or a single file",
  examples: [
    "virga deploy                      the folder here, by its virga.yaml where it has one",
    "virga deploy ./hello",
    "virga deploy hello.ts --name hi --public",
    "virga deploy --tag canary --traffic keep",
  ],
  arguments: { path: { kind: "optional", summary: "folder, file or virga.yaml", completes: "file" } },
  options: {
    name: { kind: "text", summary: "the function's name, or which one of the manifest's" },
    tag: { kind: "text", summary: "a traffic tag for the new revision" },
    traffic: {
      kind: "text",
      summary: "latest: the new revision takes the traffic; keep: it gets none",
      choices: ["latest", "keep"],
    },
    public: { kind: "flag", summary: "its URL needs no token" },
    runtime: { kind: "text", summary: "node, python, binary, or with a version; detected where absent" },
    handler: {
      kind: "text",
      placeholder: "file",
      summary: "the file to load, optionally #export; detected where absent",
    },
    memory: { kind: "text", placeholder: "size", summary: "memory of one instance, such as 512MiB" },
    timeout: { kind: "text", placeholder: "duration", summary: "longest run of one call, such as 30s" },
    env: { kind: "list", placeholder: "NAME=value", summary: "an environment variable; may be repeated" },
    dryRun: { kind: "flag", summary: "show what would change and stop" },
    yes: yesOption,
    output: outputOption,
  },
  async run(context, given, options) {
    const { terminal } = context;
    const [{ loadProject, withOverrides }, { packSource }] = await Promise.all([
      import("../project.ts"),
      import("../pack.ts"),
    ]);
    const loaded = loadProject(given.path ?? ".", { name: options.name, from: terminal.directory });
    const project = withOverrides(loaded, overridesOf(options));
    const namespace = context.namespaceGiven ? context.namespace : (project.namespace ?? context.namespace);
    const choices: DeployChoices = { tag: options.tag, traffic: options.traffic };
    await requireSecrets(context.client, namespace, project.secrets);
    const plans: FunctionPlan[] = [];
    try {
      for (const wanted of project.functions) {
        const archive = await packSource(wanted.source);
        plans.push({ wanted, archive, ...emptyPlan });
        const { current, changes } = await planFunction(context.client, namespace, wanted, archive, choices);
        const byHand = current !== undefined && !current.function.followLatest;
        plans[plans.length - 1] = { wanted, archive, changes, isNew: current === undefined, byHand };
      }
      const routes = await changedRoutes(context.client, namespace, project);
      const events = await changedEvents(context.client, namespace, project);
      printPlan(context, plans, routes);
      for (const { wanted, isNew } of events) terminal.note(`  ${isNew ? "+" : "~"} ${eventText(wanted)}`);
      if (options.dryRun) return exit.ok;
      const harm = destructive(plans, routes, choices);
      if (harm.length > 0 && !(await confirmed(terminal, `${harm.join("; ")}. Go on?`, options.yes))) {
        terminal.note("nothing was changed");
        return exit.failed;
      }
      const results: (DeployResult & { url: string })[] = [];
      for (const plan of plans) results.push(await run(context, namespace, plan, choices));
      for (const { wanted } of routes) await putRoute(context.client, namespace, wanted);
      for (const { wanted } of events) await putEventObject(context.client, namespace, wanted);
      if (options.output === "json" || options.output === "yaml") {
        await printData(terminal, options.output, results);
      }
    } finally {
      await Promise.all(plans.map(({ archive }) => archive.discard()));
    }
    if (options.output !== "json" && options.output !== "yaml") {
      for (const { name } of project.functions) terminal.print(functionUrl(context.client, namespace, name));
    }
    return exit.ok;
  },
});

interface SettingOptions {
  readonly public: boolean;
  readonly runtime: string | undefined;
  readonly handler: string | undefined;
  readonly memory: string | undefined;
  readonly timeout: string | undefined;
  readonly env: readonly string[];
}

/** Settings from the command line, checked as those of a manifest are. */
function overridesOf(options: SettingOptions): Settings {
  const memory = options.memory === undefined ? undefined : parseSize(options.memory);
  if (options.memory !== undefined && (memory === undefined || memory === 0 || memory % 2 ** 20 !== 0)) {
    throw refused("memory", `takes a whole number of MiB such as 512MiB, not "${options.memory}"`);
  }
  const timeout = options.timeout === undefined ? undefined : parseDuration(options.timeout);
  if (options.timeout !== undefined && timeout === undefined) {
    throw refused("timeout", `takes a duration such as 30s or 5m, not "${options.timeout}"`);
  }
  const environment: Record<string, string> = {};
  for (const text of options.env) {
    const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined) throw refused("env", `takes NAME=value, not "${text}"`);
    environment[name] = value;
  }
  const limits = {
    ...(memory === undefined ? {} : { memoryMb: memory / 2 ** 20 }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
  };
  return {
    ...(options.public ? { public: true } : {}),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...(options.handler === undefined ? {} : { handler: options.handler }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(options.env.length === 0 ? {} : { environment }),
  };
}

function refused(option: string, problem: string): VirgaError {
  return new VirgaError("bad_request", `--${option} ${problem}`, { field: option });
}

interface FunctionPlan {
  readonly wanted: ProjectFunction;
  readonly archive: SourceArchive;
  readonly changes: readonly PlannedChange[];
  readonly isNew: boolean;
  /** Its traffic was set by hand, so that a new revision gets none of itself. */
  readonly byHand: boolean;
}

type RouteChanges = Awaited<ReturnType<typeof changedRoutes>>;

const emptyPlan = { changes: [], isNew: false, byHand: false };

function printPlan({ terminal }: Context, plans: readonly FunctionPlan[], routes: RouteChanges): void {
  for (const { wanted, archive, changes, isNew } of plans) {
    const size = `${archive.fileCount} ${archive.fileCount === 1 ? "file" : "files"}, ${formatSize(archive.size)}`;
    if (isNew) terminal.note(terminal.styleNote("green", `  + ${wanted.name}: new function (${size})`));
    else if (changes.length === 0) terminal.note(`  = ${wanted.name}: unchanged`);
    else terminal.note(terminal.styleNote("yellow", `  ~ ${wanted.name} (${size})`));
    for (const line of planLines(terminal, changes)) terminal.note(line);
  }
  for (const { wanted, current } of routes) {
    const place = routeText(wanted);
    if (current === undefined) {
      terminal.note(terminal.styleNote("green", `  + route ${place} → ${wanted.function}`));
    } else {
      terminal.note(
        terminal.styleNote(
          "yellow",
          `  ~ route ${wanted.id}: ${routeText(current)} → ${current.function} becomes ${place} → ${wanted.function}`,
        ),
      );
    }
  }
}

function routeText(route: { method?: string | undefined; host?: string | undefined; path: string }): string {
  return `${route.method ?? "ANY"} ${route.host ?? ""}${route.path}`;
}

function eventText({ kind, name, body }: Parameters<typeof putEventObject>[2]): string {
  const words = { topics: "topic", subscriptions: "subscription", "event-sources": "source" };
  return `${words[kind]} ${name}${kind === "topics" ? "" : `, of topic ${String(body["topic"])}`}`;
}

/** Changes that take something away from those who use the functions now. */
function destructive(plans: readonly FunctionPlan[], routes: RouteChanges, choices: DeployChoices): string[] {
  const harm: string[] = [];
  for (const { wanted, byHand, changes } of plans) {
    if (byHand && choices.traffic === "latest") harm.push(`the traffic of ${wanted.name}, split by hand, is given up`);
    if (changes.some(({ field, from, to }) => field === "public" && from === false && to === true)) {
      harm.push(`${wanted.name} becomes public`);
    }
  }
  for (const { wanted, current } of routes) {
    if (current !== undefined && current.function !== wanted.function) {
      harm.push(`route ${wanted.id} leaves ${current.function}`);
    }
  }
  return harm;
}

async function run(
  context: Context,
  namespace: string,
  { wanted, archive }: FunctionPlan,
  choices: DeployChoices,
): Promise<DeployResult & { url: string }> {
  const { client, terminal, signal } = context;
  const report = new DeployReport(terminal, wanted.name);
  const started = performance.now();
  let result: DeployResult;
  try {
    result = await deployFunction(client, namespace, wanted, archive, choices, report, signal);
  } finally {
    report.end();
  }
  const took = formatDuration(performance.now() - started);
  const { number } = result.revision;
  if (result.changed) terminal.note(`${terminal.styleNote("green", "✓")} ${wanted.name} revision ${number} (${took})`);
  else terminal.note(`${terminal.styleNote("green", "✓")} ${wanted.name} is unchanged at revision ${number}`);
  const share = result.function.traffic.find(({ revision }) => revision === number)?.weight ?? 0;
  if (share === 0 && choices.traffic !== "keep") {
    terminal.note(
      `  revision ${number} gets no traffic, since it was set by hand: \`virga traffic ${wanted.name} ${number}=100\` moves it`,
    );
  }
  return { ...result, url: functionUrl(client, namespace, wanted.name) };
}
