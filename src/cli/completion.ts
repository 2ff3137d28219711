import { Client, path } from "./client.ts";
import { type ArgumentSpec, type Command, type Context, optionName } from "./command.ts";
import { findCredentials } from "./credentials.ts";

export interface Candidate {
  readonly word: string;
  readonly summary?: string;
}

/** A TAB that takes longer than this feels broken; then the server's names are left out. */
const patienceMs = 700;

/** What may stand for the last of `words`. `:files` leaves it to the shell. */
export async function candidates(context: Context, words: readonly string[]): Promise<Candidate[]> {
  const { commands, groups } = await import("./commands/index.ts");
  const current = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const plain = positional(before, commands);
  const command = commands.find(({ name }) => startsWith(plain, name.split(" ")));
  if (command === undefined) return fitting(nextWords(plain, commands, groups), current);
  const asked = pendingOption(before, command);
  if (asked !== undefined)
    return fitting(
      (asked.choices ?? []).map((word) => ({ word })),
      current,
    );
  if (current.startsWith("-")) return fitting(optionWords(command), current);
  const position = plain.length - command.name.split(" ").length;
  const specs = Object.values(command.arguments);
  const spec = specs[position] ?? (specs.at(-1)?.kind === "rest" ? specs.at(-1) : undefined);
  if (spec?.choices !== undefined)
    return fitting(
      spec.choices.map((word) => ({ word })),
      current,
    );
  if (spec?.completes === "file") return [{ word: ":files" }];
  if (spec?.completes === undefined) return [];
  return fitting(await names(context, spec.completes), current);
}

const globalOptions: Readonly<Record<string, string>> = {
  "--url": "the server's address",
  "--token": "the credential",
  "--namespace": "the namespace",
};

function nextWords(
  plain: readonly string[],
  commands: readonly Command[],
  groups: Readonly<Record<string, string>>,
): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const { name, summary, hidden } of commands) {
    const words = name.split(" ");
    const word = words[plain.length];
    if (hidden === true || word === undefined || !startsWith(words, plain)) continue;
    const group = plain.length + 1 < words.length ? groups[word] : undefined;
    found.set(word, { word, summary: group ?? summary });
  }
  return [...found.values()];
}

function optionWords(command: Command): Candidate[] {
  const own = Object.entries(command.options).map(([key, { summary }]) => ({ word: `--${optionName(key)}`, summary }));
  const shared = Object.entries(globalOptions).map(([word, summary]) => ({ word, summary }));
  return [...own, ...shared, { word: "--help", summary: "what it does and takes" }];
}

/** The words that are neither options nor their values. */
function positional(words: readonly string[], commands: readonly Command[]): string[] {
  const taking = new Set([...Object.keys(globalOptions), "-n"]);
  for (const { options } of commands) {
    for (const [key, spec] of Object.entries(options)) {
      if (spec.kind === "flag") continue;
      taking.add(`--${optionName(key)}`);
      if (spec.short !== undefined) taking.add(`-${spec.short}`);
    }
  }
  return words.filter((word, index) => !word.startsWith("-") && !taking.has(words[index - 1] ?? ""));
}

/** The option whose value the last word is. */
function pendingOption(before: readonly string[], command: Command): { choices?: readonly string[] } | undefined {
  const last = before.at(-1) ?? "";
  if (!last.startsWith("-")) return undefined;
  if (last in globalOptions || last === "-n") return {};
  const [, spec] =
    Object.entries(command.options).find(
      ([key, { short }]) => last === `--${optionName(key)}` || (short !== undefined && last === `-${short}`),
    ) ?? [];
  return spec === undefined || spec.kind === "flag" ? undefined : spec;
}

async function names(
  { server, terminal, namespace }: Context,
  kind: Exclude<NonNullable<ArgumentSpec["completes"]>, "file">,
): Promise<Candidate[]> {
  const places = {
    function: path`/v1/namespaces/${namespace}/functions`,
    secret: path`/v1/namespaces/${namespace}/secrets`,
    invocation: path`/v1/namespaces/${namespace}/invocations`,
    route: path`/v1/namespaces/${namespace}/routes`,
    topic: path`/v1/namespaces/${namespace}/topics`,
    subscription: path`/v1/namespaces/${namespace}/subscriptions`,
    source: path`/v1/namespaces/${namespace}/event-sources`,
    workflow: path`/v1/namespaces/${namespace}/workflows`,
    run: path`/v1/namespaces/${namespace}/workflow-runs`,
    namespace: "/v1/namespaces",
  };
  const client = new Client(findCredentials(server, terminal.environment), AbortSignal.timeout(patienceMs));
  try {
    const items = await client.list<{ name?: string; id?: string }>(places[kind], {}, 1000);
    const byId = kind === "invocation" || kind === "route" || kind === "run";
    return items.flatMap((item) => (byId ? item.id : item.name) ?? []).map((word) => ({ word }));
  } catch {
    // No server, no names: a shell that waits for TAB is not the place to say so.
    return [];
  } finally {
    client.close();
  }
}

function fitting(all: readonly Candidate[], current: string): Candidate[] {
  return all.filter(({ word }) => word.startsWith(current));
}

function startsWith(words: readonly string[], beginning: readonly string[]): boolean {
  return beginning.every((word, index) => words[index] === word);
}
