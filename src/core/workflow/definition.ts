/**
 * What a workflow is written as. Two forms: a list of steps, which the platform decides by itself, and a decider, a
 * function that is asked after each completion what comes next. Peers' sequences and graphs become the first,
 * conductors and orchestrations that replay become the second.
 *
 * Templates are JSON in which a string that begins with `$.` is a reference (`expression.ts`); `$$` begins a plain `$`.
 */
export interface WorkflowDefinition {
  readonly description?: string;
  /** The program: exactly one of the two. */
  readonly steps?: readonly Step[];
  readonly decider?: Decider;
  /** What the run answers; the last step's output where absent. */
  readonly output?: Json;
  /** The run ends as `timed_out` after this; absent: never. */
  readonly timeoutMs?: number;
}

/** A stored definition. `version` grows by one with each change; a run keeps to the one that it began with. */
export interface Workflow {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly definition: WorkflowDefinition;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface Decider {
  readonly function: string;
  /** How it is asked and how its answer is read: `native`, or one that a dialect brings. */
  readonly protocol?: string;
  /** For the protocol. */
  readonly settings?: Json;
}

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export type Step =
  | CallStep
  | ParallelStep
  | MapStep
  | ChooseStep
  | WaitStep
  | EventStep
  | WorkflowStep
  | SetStep
  | FailStep;

interface StepBase {
  /** Later steps of the block refer to its output as `$.steps.NAME`. */
  readonly name?: string;
  readonly retry?: Retry;
  /** The first whose codes fit runs in the failed step's place; `$.error` is what went wrong. */
  readonly catch?: readonly Catch[];
}

/** An asynchronous call of a function of the same namespace. Its input is the output before it, where none is given. */
export interface CallStep extends StepBase {
  readonly call: string;
  readonly tag?: string;
  readonly input?: Json;
  /** Its answer (as `$`) counts as a failure where this holds. */
  readonly failWhen?: Condition;
  /** The block ends with its answer (as `$`) where this holds; the steps after it do not run. */
  readonly stopWhen?: Condition;
  /** Where the namespace has a workflow of that name, a run of it takes the call's place. */
  readonly preferWorkflow?: true;
}

/** All branches at once, or `concurrency` of them; gives their outputs under the same keys. */
export interface ParallelStep extends StepBase {
  readonly parallel: readonly Block[] | { readonly [key: string]: Block };
  readonly concurrency?: number;
}

/** The block once for each item of a list, as `$.item` and `$.index`; gives the list of outputs. */
export interface MapStep extends StepBase {
  readonly map: Json;
  readonly do: Block;
  readonly concurrency?: number;
}

/** The first branch whose condition holds. With none and no `otherwise` the output before it stays. */
export interface ChooseStep extends StepBase {
  readonly choose: readonly { readonly when: Condition; readonly do: Block }[];
  readonly otherwise?: Block;
}

/** Until a time has passed. The output before it stays. */
export interface WaitStep extends StepBase {
  /** Milliseconds, or a reference to a number of them; at the latest `longestWaitMs`. */
  readonly wait: number | string;
}

/** Until a signal of this name has come, before or after; gives its value. */
export interface EventStep extends StepBase {
  readonly event: string;
  /** Fails with `timeout` after this. */
  readonly timeoutMs?: number;
}

/** A run of another workflow of the namespace. */
export interface WorkflowStep extends StepBase {
  readonly workflow: string;
  readonly input?: Json;
}

export interface SetStep extends StepBase {
  readonly set: Json;
}

export interface FailStep extends StepBase {
  readonly fail: { readonly code?: string; readonly message: string };
}

export type Block = Step | readonly Step[];

/** Whole-step attempts, beside those that the function's own `async` policy makes of each call. */
export interface Retry {
  /** All in all, the first one counted. */
  readonly attempts: number;
  /** Before the second attempt; doubles each time up to `maxBackoffMs`. */
  readonly backoffMs?: number;
  readonly maxBackoffMs?: number;
  /** Only these error codes; any where absent. */
  readonly codes?: readonly string[];
}

export interface Catch {
  readonly codes?: readonly string[];
  readonly do: Block;
}

/** A test of the value at `path`, or several. An absent value passes none but `exists: false` and `not`. */
export type Condition =
  | { readonly all: readonly Condition[] }
  | { readonly any: readonly Condition[] }
  | { readonly not: Condition }
  | PathTest;

export interface PathTest {
  readonly path: string;
  readonly exists?: boolean;
  readonly equals?: Json;
  readonly in?: readonly Json[];
  /** Numbers by size, texts by code units; never a number with a text. */
  readonly above?: number | string;
  readonly below?: number | string;
  readonly atLeast?: number | string;
  readonly atMost?: number | string;
}

/** Bounds of one definition and one run. */
export const workflowLimits = {
  /** A definition as JSON text. */
  definitionBytes: 256 * 1024,
  /** Steps of a definition, nested ones counted. */
  steps: 2000,
  /** Blocks in blocks. */
  depth: 12,
  /** Tasks of one run: calls, timers, events, runs of other workflows. */
  tasks: 10_000,
  /** Events of one run that its journal may hold. */
  events: 50_000,
  /** Runs in runs. */
  runDepth: 16,
  /** One input or output as JSON text. */
  valueBytes: 16 * 2 ** 20,
  /** Larger values are kept as blobs beside the journal. */
  inlineBytes: 256 * 1024,
  longestWaitMs: 366 * 86_400_000,
  bufferedSignals: 1000,
} as const;
