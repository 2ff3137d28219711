import type { Readable, Writable } from "node:stream";
import { VirgaError } from "../core/errors.ts";
import type { Terminal } from "./terminal.ts";

/** True where the user says yes. Without a terminal, or with `yes`, nothing is asked and it goes on. */
export async function confirmed(terminal: Terminal, question: string, yes: boolean): Promise<boolean> {
  if (yes || !terminal.interactive) return true;
  const { confirm, isCancel } = await import("@clack/prompts");
  const answer = await confirm({ message: question, initialValue: false, ...streams(terminal) });
  return !isCancel(answer) && answer;
}

/** A secret typed without being shown; undefined where the user gives up. */
export async function askSecret(terminal: Terminal, question: string): Promise<string | undefined> {
  const { isCancel, password } = await import("@clack/prompts");
  const answer = await password({ message: question, ...streams(terminal) });
  return isCancel(answer) ? undefined : answer;
}

/** One of several; without a terminal the caller must know already. */
export async function askChoice(
  terminal: Terminal,
  question: string,
  choices: readonly { value: string; hint: string }[],
): Promise<string | undefined> {
  if (!terminal.interactive) {
    throw new VirgaError("bad_request", `${question} Choose one of ${choices.map(({ value }) => value).join(", ")}`);
  }
  const { isCancel, select } = await import("@clack/prompts");
  const answer = await select({
    message: question,
    options: choices.map(({ value, hint }) => ({ value, label: value, hint })),
    ...streams(terminal),
  });
  return isCancel(answer) ? undefined : answer;
}

/** Questions are about the work, so they go to stderr. */
function streams(terminal: Terminal): { input: Readable; output: Writable } {
  return { input: terminal.stdin, output: terminal.stderr };
}
