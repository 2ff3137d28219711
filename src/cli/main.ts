import { Argument, Command as Program, CommanderError, Option } from "commander";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import { Client } from "./client.ts";
import { type Command, type Context, optionName, type OptionSpec } from "./command.ts";
import { commands, groups } from "./commands/index.ts";
import { findCredentials } from "./credentials.ts";
import { printError } from "./error-text.ts";
import { exit, exitCodeOf } from "./exit.ts";
import { packageVersion } from "./locations.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

/** Runs one command line (without the program's own name) and resolves to the exit code. Never rejects. */
export async function main(argv: readonly string[], terminal: Terminal = processTerminal()): Promise<number> {
  const outcome = { code: exit.ok as number };
  try {
    await program(terminal, outcome).parseAsync([...argv], { from: "user" });
    return outcome.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.ok : exit.usage;
    throw error;
  }
}

function program(terminal: Terminal, outcome: { code: number }): Program {
  const root = prepared(new Program("virga"), terminal)
    .description("Virga: a serverless platform that starts with one command")
    .version(packageVersion(), "-V, --version")
    .option("--url <url>", "the server's address (VIRGA_URL)")
    .option("--token <token>", "the credential (VIRGA_TOKEN)")
    .option("-n, --namespace <name>", "the namespace (VIRGA_NAMESPACE); `default` where nothing says another")
    .showSuggestionAfterError(true)
    .addHelpText("after", "\nStart here: virga up, then virga new hello && virga deploy hello\n");
  const parents = new Map<string, Program>();
  for (const command of commands) {
    const words = command.name.split(" ");
    const verb = words.pop() ?? "";
    let parent = root;
    for (const [index, noun] of words.entries()) {
      const group = words.slice(0, index + 1).join(" ");
      const above = parent;
      parent = parents.get(group) ?? prepared(above.command(noun), terminal).description(groups[group] ?? group);
      parents.set(group, parent);
    }
    add(parent, verb, command, terminal, outcome);
  }
  return root;
}

function add(parent: Program, word: string, command: Command, terminal: Terminal, outcome: { code: number }): void {
  const made = prepared(parent.command(word, { hidden: command.hidden === true }), terminal).description(
    command.summary,
  );
  const names = Object.keys(command.arguments);
  for (const [name, spec] of Object.entries(command.arguments)) {
    const shape = { required: `<${name}>`, optional: `[${name}]`, rest: `[${name}...]` }[spec.kind];
    const argument = new Argument(shape, spec.summary);
    if (spec.choices !== undefined) argument.choices([...spec.choices]);
    made.addArgument(argument);
  }
  for (const [key, spec] of Object.entries(command.options)) made.addOption(option(key, spec));
  if (command.examples !== undefined) {
    made.addHelpText("after", `\nExamples:\n${command.examples.map((line) => `  ${line}`).join("\n")}\n`);
  }
  made.action(async (...values: unknown[]) => {
    const given = Object.fromEntries(names.map((name, index) => [name, values[index]]));
    const context = new ServerContext(terminal, made.optsWithGlobals());
    outcome.code = await execute(command, context, given, made.opts());
    context.close();
  });
}

async function execute(
  command: Command,
  context: ServerContext,
  given: Readonly<Record<string, unknown>>,
  parsed: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { terminal } = context;
  try {
    const options: Record<string, unknown> = {};
    for (const [key, spec] of Object.entries(command.options)) options[key] = optionValue(key, spec, parsed[key]);
    return (await command.run(context, given as never, options as never)) ?? exit.ok;
  } catch (thrown) {
    terminal.status("");
    if (context.signal.aborted) return exit.interrupted;
    if (terminal.hangup.aborted) return exit.ok;
    const error = asVirgaError(thrown);
    await printError(context, error, command, given);
    return exitCodeOf(error.code);
  }
}

/** Finds the server when a command first needs it: most of `new`, `completion` and `up` never does. */
class ServerContext implements Context {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  readonly namespace: string;
  readonly namespaceGiven: boolean;
  readonly server: Context["server"];
  #client: Client | undefined;

  constructor(terminal: Terminal, options: Readonly<Record<string, unknown>>) {
    const text = (key: string): string | undefined => {
      const value = options[key];
      return typeof value === "string" ? value : undefined;
    };
    this.terminal = terminal;
    this.signal = terminal.signal;
    const named = text("namespace") || terminal.environment["VIRGA_NAMESPACE"];
    this.namespace = named || "default";
    this.namespaceGiven = Boolean(named);
    this.server = { url: text("url"), token: text("token") };
  }

  get client(): Client {
    this.#client ??= new Client(findCredentials(this.server, this.terminal.environment), this.signal);
    return this.#client;
  }

  close(): void {
    this.#client?.close();
  }
}

function prepared(made: Program, terminal: Terminal): Program {
  return made
    .exitOverride()
    .helpOption("-h, --help", "what it does and takes")
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => terminal.print(text.trimEnd()),
      writeErr: (text) => terminal.note(text.trimEnd()),
      getOutHelpWidth: () => terminal.stdout.columns ?? 100,
      getErrHelpWidth: () => terminal.stderr.columns ?? 100,
      outputError: (text, write) => write(text.replace(/^error: /, `${terminal.styleNote("red", "error")}: `)),
    });
}

function option(key: string, spec: OptionSpec): Option {
  const long = `--${optionName(key)}`;
  const flags = spec.short === undefined ? long : `-${spec.short}, ${long}`;
  const made = new Option(
    spec.kind === "flag" ? flags : `${flags} <${spec.placeholder ?? optionName(key)}>`,
    spec.summary,
  );
  if (spec.choices !== undefined) made.choices([...spec.choices]);
  if (spec.kind === "list") {
    made.argParser((value: string, all: readonly string[] | undefined) => [...(all ?? []), value]);
  }
  return made;
}

function optionValue(key: string, spec: OptionSpec, value: unknown): unknown {
  if (spec.kind === "flag") return value === true;
  if (spec.kind === "list") return value ?? [];
  if (spec.kind !== "number" || typeof value !== "string") return value;
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number)) {
    throw new VirgaError("bad_request", `--${optionName(key)} takes a number, not "${value}"`, { field: key });
  }
  return number;
}
