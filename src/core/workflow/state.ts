import { workflowLimits } from "./definition.ts";
import type {
  EndStatus,
  Failure,
  Outcome,
  RunEvent,
  RunStatus,
  StartedEvent,
  TaskSpec,
  TaskTimings,
  Value,
} from "./event.ts";

/** A run as its events make it. Immutable to all but `fold`. */
export interface RunState {
  readonly started: StartedEvent;
  readonly status: RunStatus;
  /** Events folded; the journal's last sequence where it was read from its beginning. */
  readonly sequence: number;
  /** In the order of their scheduling. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Task ids by `ref`. */
  readonly refs: ReadonlyMap<string, string>;
  /** Signals that no task has taken yet, the first first. */
  readonly signals: readonly Signal[];
  /** Ids of the signals that have come in this generation. */
  readonly signalIds: ReadonlySet<string>;
  /** Settlements and signals so far, a decider's own episodes not counted: what it has not seen is news. */
  readonly news: number;
  readonly stop?: { readonly status: "cancelled" | "timed_out"; readonly message: string };
  readonly endedAt?: number;
  readonly output?: Value;
  readonly error?: Failure;
}

export interface Task {
  readonly id: string;
  readonly ref: string;
  readonly spec: TaskSpec;
  readonly reason: string;
  readonly scheduledAt: number;
  /** The place of its `scheduled` event in the journal. */
  readonly scheduledBy: number;
  /** `news` when it was scheduled. */
  readonly newsSeen: number;
  readonly settledAt?: number;
  readonly settledBy?: number;
  readonly outcome?: Outcome;
  readonly timings?: TaskTimings;
}

export interface Signal {
  readonly name: string;
  readonly id: string;
  readonly at: number;
  readonly value: Value;
}

/** Tasks of a decider's own: its episodes. */
export const episodePrefix = "~decide/";

/**
 * The state after these events. `undefined` is the state before the first, which must be `started`; throws a
 * `RangeError` on events that no run can have. What comes twice (a settlement of what is settled, a signal with a known id)
 * or too late changes nothing but `sequence`.
 */
export function fold(state: RunState | undefined, events: readonly RunEvent[], after = state?.sequence ?? 0): RunState {
  let next: Draft | undefined = state && draftOf(state);
  let sequence = after;
  for (const event of events) {
    sequence++;
    if (event.kind === "started") next = begin(next, event);
    else if (next === undefined) throw new RangeError(`a run cannot begin with ${event.kind}`);
    else apply(next, event, sequence);
    next.sequence = sequence;
  }
  if (next === undefined) throw new RangeError("a run has at least one event");
  return next;
}

/** Copied once for a batch of events. */
type Draft = { -readonly [K in keyof RunState]: RunState[K] } & {
  tasks: Map<string, Task>;
  refs: Map<string, string>;
  signals: readonly Signal[];
  signalIds: Set<string>;
};

function draftOf(state: RunState): Draft {
  return {
    ...state,
    tasks: new Map(state.tasks),
    refs: new Map(state.refs),
    signalIds: new Set(state.signalIds),
  };
}

/** Signals that wait are taken along into a new generation. */
function begin(before: Draft | undefined, started: StartedEvent): Draft {
  return {
    started,
    status: "running",
    sequence: 0,
    tasks: new Map(),
    refs: new Map(),
    signals: before?.signals ?? [],
    signalIds: new Set(before?.signals.map(({ id }) => id)),
    news: 0,
    ...(before?.stop === undefined ? {} : { stop: before.stop }),
  };
}

function apply(state: Draft, event: Exclude<RunEvent, StartedEvent>, sequence: number): void {
  if (state.status !== "running") return;
  switch (event.kind) {
    case "scheduled": {
      if (state.tasks.has(event.task)) return;
      const { task: id, ref, spec, reason, at } = event;
      state.tasks.set(id, { id, ref, spec, reason, scheduledAt: at, scheduledBy: sequence, newsSeen: state.news });
      state.refs.set(ref, id);
      if (spec.kind === "event") match(state, spec.event, at, sequence);
      return;
    }
    case "settled": {
      const id = state.refs.get(event.ref);
      const task = id === undefined ? undefined : state.tasks.get(id);
      if (task === undefined || task.outcome !== undefined) return;
      settle(state, task, event.outcome, event.at, sequence, event.timings);
      return;
    }
    case "signalled":
      if (state.signalIds.has(event.id)) return;
      state.signalIds.add(event.id);
      state.signals = [...state.signals, { name: event.name, id: event.id, at: event.at, value: event.value }];
      state.news++;
      match(state, event.name, event.at, sequence);
      return;
    case "stopped":
      state.stop ??= { status: event.status, message: event.message };
      return;
    case "ended":
      end(state, event.status, event.at, event.output, event.error);
  }
}

/** The first signal of the name goes to the first task that waits for one. */
function match(state: Draft, name: string, at: number, sequence: number): void {
  const index = state.signals.findIndex((signal) => signal.name === name);
  const signal = state.signals[index];
  if (signal === undefined) return;
  for (const task of state.tasks.values()) {
    if (task.outcome !== undefined || task.spec.kind !== "event" || task.spec.event !== name) continue;
    state.signals = state.signals.toSpliced(index, 1);
    settle(state, task, { ok: true, value: signal.value }, at, sequence);
    return;
  }
}

function settle(
  state: Draft,
  task: Task,
  outcome: Outcome,
  settledAt: number,
  settledBy: number,
  timings?: TaskTimings,
): void {
  state.tasks.set(task.id, { ...task, outcome, settledAt, settledBy, ...(timings === undefined ? {} : { timings }) });
  if (!task.id.startsWith(episodePrefix)) state.news++;
}

function end(state: Draft, status: EndStatus, at: number, output?: Value, error?: Failure): void {
  state.status = status;
  state.endedAt = at;
  if (output !== undefined) state.output = output;
  if (error !== undefined) state.error = error;
}

/** Whether an event would change anything: what would not is not written. */
export function isNews(state: RunState, event: RunEvent): boolean {
  if (state.status !== "running") return false;
  switch (event.kind) {
    case "settled": {
      const id = state.refs.get(event.ref);
      return id !== undefined && state.tasks.get(id)?.outcome === undefined;
    }
    case "signalled":
      return !state.signalIds.has(event.id) && state.signals.length < workflowLimits.bufferedSignals;
    case "stopped":
      return state.stop === undefined;
    default:
      return true;
  }
}

export function openTasks(state: RunState): Task[] {
  return [...state.tasks.values()].filter(({ outcome }) => outcome === undefined);
}
