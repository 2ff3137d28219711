import { workflowLimits } from "./definition.ts";
import { type DeciderProtocol, nativeProtocol } from "./decider.ts";
import type { BlobValue, EndStatus, Failure, Outcome, TaskSpec, Value } from "./event.ts";
import { BadReference, type Contents, contentOf, Unloaded } from "./expression.ts";
import { episodePrefix, openTasks, type RunState, type Task } from "./state.ts";
import { walk } from "./steps.ts";

export type Command =
  | { readonly kind: "schedule"; readonly task: string; readonly spec: TaskSpec; readonly reason: string }
  | {
      readonly kind: "end";
      readonly status: EndStatus;
      readonly output?: Value;
      readonly error?: Failure;
      readonly reason: string;
    }
  | { readonly kind: "restart"; readonly input: Value; readonly reason: string };

export type Decision =
  | { readonly kind: "commands"; readonly commands: readonly Command[] }
  /** Ask again with the contents of these. */
  | { readonly kind: "load"; readonly blobs: readonly BlobValue[] };

/**
 * What a run does next: a function of its state alone, so the same journal always leads to the same commands. No command
 * means that it waits, or that it is over.
 */
export function decide(
  state: RunState,
  contents: Contents,
  protocols: Readonly<Record<string, DeciderProtocol>> = {},
): Decision {
  try {
    return { kind: "commands", commands: bounded(state, commandsOf(state, contents, protocols)) };
  } catch (thrown) {
    if (thrown instanceof Unloaded) return { kind: "load", blobs: thrown.blobs };
    // Of a decider's question or answer; a step's own are its failure.
    if (thrown instanceof BadReference) return { kind: "commands", commands: [failure(thrown.code, thrown.message)] };
    throw thrown;
  }
}

function commandsOf(
  state: RunState,
  contents: Contents,
  protocols: Readonly<Record<string, DeciderProtocol>>,
): Command[] {
  if (state.status !== "running") return [];
  const { stop, started } = state;
  if (stop !== undefined) {
    const error = { code: stop.status === "timed_out" ? "timeout" : "cancelled", message: stop.message };
    return [{ kind: "end", status: stop.status, error, reason: stop.message }];
  }
  const { decider } = started.definition;
  if (decider === undefined) {
    const { outcome, wanted } = walk(state, contents);
    if (outcome !== undefined) return [endOf(outcome)];
    return wanted.map((one) => ({ kind: "schedule", ...one }));
  }
  const name = decider.protocol ?? "native";
  const protocol = name === "native" ? nativeProtocol : Object.hasOwn(protocols, name) ? protocols[name] : undefined;
  if (protocol === undefined) return [failure("invalid_decision", `there is no protocol ${name}`)];
  return askDecider(state, contents, decider.function, protocol);
}

function askDecider(state: RunState, contents: Contents, fn: string, protocol: DeciderProtocol): Command[] {
  const episodes = [...state.tasks.values()].filter(({ id }) => id.startsWith(episodePrefix));
  const last = episodes.at(-1);
  const ask = (reason: string): Command => ({
    kind: "schedule",
    task: `${episodePrefix}${episodes.length}`,
    spec: { kind: "call", function: fn, input: { json: protocol.question(state, contents) } },
    reason,
  });
  if (last === undefined) return [ask("the run began")];
  if (last.outcome === undefined) return [];
  if (!last.outcome.ok) return [endOf(last.outcome)];
  let answer;
  try {
    answer = protocol.answer(contentOf(last.outcome.value, contents), state);
  } catch (thrown) {
    if (thrown instanceof RangeError) return [failure("invalid_decision", thrown.message)];
    throw thrown;
  }
  if (answer.done !== undefined) {
    const { done } = answer;
    return [endOf("error" in done ? { ok: false, error: done.error } : { ok: true, value: { json: done.output } })];
  }
  if (answer.restart !== undefined) {
    return [{ kind: "restart", input: { json: answer.restart.input }, reason: `${last.id} began anew` }];
  }
  const commands: Command[] = [];
  const named = new Set<string>();
  for (const { id, spec } of answer.schedule) {
    const known = state.tasks.get(id);
    if (known !== undefined && !alike(known.spec, spec)) return [changed(known, spec)];
    if (known !== undefined || named.has(id)) continue;
    named.add(id);
    commands.push({ kind: "schedule", task: id, spec, reason: `${last.id} asked for it` });
  }
  if (state.news > last.newsSeen) {
    // What came in while the decider was at work. First what it has just asked for, so that it sees it as open.
    return commands.length > 0 ? commands : [ask("there is news")];
  }
  if (commands.length === 0 && openTasks(state).length === 0) {
    return [failure("stalled", `${last.id} asked for nothing and there is nothing to wait for`)];
  }
  return commands;
}

/** Same kind and same target: a decider that replays names them all each time, and must not change its mind. */
function alike(a: TaskSpec, b: TaskSpec): boolean {
  return a.kind === b.kind && targetOf(a) === targetOf(b);
}

export function targetOf(spec: TaskSpec): string {
  if (spec.kind === "call") return spec.function;
  if (spec.kind === "workflow") return spec.workflow;
  return spec.kind === "event" ? spec.event : "";
}

function changed(known: Task, spec: TaskSpec): Command {
  const was = `${known.spec.kind} ${targetOf(known.spec)}`.trim();
  return failure("nondeterministic", `${known.id} was ${was} and is now ${`${spec.kind} ${targetOf(spec)}`.trim()}`);
}

function endOf(outcome: Outcome): Command {
  if (outcome.ok) return { kind: "end", status: "succeeded", output: outcome.value, reason: "the program is done" };
  const { error, value } = outcome;
  const output = value === undefined ? {} : { output: value };
  return { kind: "end", status: "failed", error, ...output, reason: `${error.code}: ${error.message}` };
}

function failure(code: string, message: string): Command {
  return endOf({ ok: false, error: { code, message } });
}

function bounded(state: RunState, commands: readonly Command[]): readonly Command[] {
  const wanted = commands.filter(({ kind }) => kind === "schedule").length;
  if (wanted === 0) return commands;
  if (state.tasks.size + wanted > workflowLimits.tasks) {
    return [failure("too_many_tasks", `a run has up to ${workflowLimits.tasks} tasks`)];
  }
  if (state.sequence + wanted > workflowLimits.events) {
    return [failure("history_too_long", `a run's history has up to ${workflowLimits.events} events`)];
  }
  return commands;
}
