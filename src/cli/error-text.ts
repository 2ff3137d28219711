import type { VirgaError } from "../core/errors.ts";
import { path } from "./client.ts";
import type { Command, Context } from "./command.ts";
import { nearest } from "./suggest.ts";

/** Says on stderr what went wrong, where, and the way out. */
export async function printError(
  context: Context,
  error: VirgaError,
  command?: Command,
  given: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const { terminal } = context;
  for (const line of errorLines(error)) terminal.note(paint(context, line));
  if (error.code === "not_found" && command !== undefined) {
    const suggestion = await suggestName(context, command, given);
    if (suggestion !== undefined) terminal.note(`  did you mean ${terminal.styleNote("bold", suggestion)}?`);
  }
  if (error.code === "internal" && error.cause instanceof Error && terminal.environment["VIRGA_DEBUG"]) {
    terminal.note(error.cause.stack ?? error.cause.message);
  }
}

export function errorLines(error: VirgaError): string[] {
  const { location, field, fix, log, stack } = error.detail;
  const place = location ?? field;
  const lines = [`error: ${place === undefined || error.message.includes(place) ? "" : `${place}: `}${error.message}`];
  if (stack !== undefined) lines.push(...indent(withoutMessage(stack, error.message)));
  if (log !== undefined && !error.message.includes(log)) lines.push(...indent(log));
  if (fix !== undefined) lines.push(`  fix: ${fix}`);
  return lines;
}

function paint(context: Context, line: string): string {
  const { terminal } = context;
  if (line.startsWith("error: ")) return `${terminal.styleNote("red", "error")}${line.slice(5)}`;
  if (line.startsWith("  fix: ")) return `  ${terminal.styleNote("green", "fix")}${line.slice(5)}`;
  return line;
}

function indent(text: string): string[] {
  return text
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => `  ${line}`);
}

/** A stack's own first lines repeat the message. */
function withoutMessage(stack: string, message: string): string {
  const at = stack.indexOf(message);
  return at === -1 || at > 100 ? stack : stack.slice(at + message.length);
}

/** The function whose name is nearest to the one that was not found. */
async function suggestName(
  context: Context,
  command: Command,
  given: Readonly<Record<string, unknown>>,
): Promise<string | undefined> {
  const [key] = Object.entries(command.arguments).find(([, spec]) => spec.completes === "function") ?? [];
  const name = key === undefined ? undefined : given[key];
  if (typeof name !== "string") return undefined;
  try {
    const functions = await context.client.list<{ name: string }>(
      path`/v1/namespaces/${context.namespace}/functions`,
      {},
      1000,
    );
    const names = functions.map((one) => one.name);
    return names.includes(name) ? undefined : nearest(name, names);
  } catch {
    // The first error is what the user needs to see; a suggestion is a courtesy.
    return undefined;
  }
}
