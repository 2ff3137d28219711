import type { Client } from "./client.ts";
import type { Terminal } from "./terminal.ts";

/**
 * A command is data: `main.ts` makes the command line of it, `completion.ts` what the shell offers,
 * and `run` does the work. Make one with `command()`, which infers the types of what `run` is given.
 */
export interface Command {
  /** Words as they are typed: `deploy`, `secret set`. */
  readonly name: string;
  readonly summary: string;
  /** Shown below the options in `--help`. */
  readonly examples?: readonly string[];
  readonly arguments: Readonly<Record<string, ArgumentSpec>>;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Left out of help and completion. */
  readonly hidden?: boolean;
  readonly run: (context: Context, given: never, options: never) => Promise<number | void>;
}

export interface ArgumentSpec {
  readonly kind: "required" | "optional" | "rest";
  readonly summary: string;
  /** What the shell completes it with, and what a `not_found` is compared with. */
  readonly completes?:
    | "function"
    | "secret"
    | "invocation"
    | "namespace"
    | "route"
    | "topic"
    | "workflow"
    | "run"
    | "subscription"
    | "source"
    | "file";
  readonly choices?: readonly string[];
}

export interface OptionSpec {
  readonly kind: "flag" | "text" | "number" | "list";
  readonly summary: string;
  readonly short?: string;
  /** The placeholder in help; the option's name where absent. */
  readonly placeholder?: string;
  readonly choices?: readonly string[];
}

/** What the platform's commands share. */
export interface Context {
  readonly terminal: Terminal;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** What `--namespace` or VIRGA_NAMESPACE say; `default` where nothing does. */
  readonly namespace: string;
  /** True where the user named it, so that a manifest must not. */
  readonly namespaceGiven: boolean;
  readonly server: { readonly url: string | undefined; readonly token: string | undefined };
  /** The server, found on first use. */
  readonly client: Client;
}

type ArgumentValues<A extends Readonly<Record<string, ArgumentSpec>>> = {
  readonly [K in keyof A]: A[K]["kind"] extends "required"
    ? string
    : A[K]["kind"] extends "rest"
      ? readonly string[]
      : string | undefined;
};

type OptionValues<O extends Readonly<Record<string, OptionSpec>>> = {
  readonly [K in keyof O]: O[K]["kind"] extends "flag"
    ? boolean
    : O[K]["kind"] extends "number"
      ? number | undefined
      : O[K]["kind"] extends "list"
        ? readonly string[]
        : O[K] extends { readonly choices: readonly (infer Choice)[] }
          ? Choice | undefined
          : string | undefined;
};

export function command<
  const A extends Readonly<Record<string, ArgumentSpec>>,
  const O extends Readonly<Record<string, OptionSpec>>,
>(definition: {
  name: string;
  summary: string;
  examples?: readonly string[];
  arguments: A;
  options: O;
  hidden?: boolean;
  run: (context: Context, given: ArgumentValues<A>, options: OptionValues<O>) => Promise<number | void>;
}): Command {
  return definition;
}

/** `--output` of every command that prints data. */
export const outputOption = {
  kind: "text",
  short: "o",
  placeholder: "format",
  summary: "table, wide, json or yaml",
  choices: ["table", "wide", "json", "yaml"],
} as const satisfies OptionSpec;

export const functionArgument = {
  kind: "required",
  summary: "the function's name",
  completes: "function",
} as const satisfies ArgumentSpec;

export const yesOption = { kind: "flag", short: "y", summary: "do not ask" } as const satisfies OptionSpec;

/** `memoryMb` is typed `--memory-mb`. */
export function optionName(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
