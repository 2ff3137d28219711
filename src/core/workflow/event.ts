import type { Json, WorkflowDefinition } from "./definition.ts";

/** A JSON value, in place or as a blob of that content. */
export type Value = { readonly json: Json } | BlobValue;

export interface BlobValue {
  readonly blob: string;
  readonly bytes: number;
  /** How the content becomes JSON: parsed, as one text, or as `{ base64 }`. */
  readonly as: "json" | "text" | "bytes";
}

export interface Failure {
  /** One of the error catalogue's, or one that the user's program made up. */
  readonly code: string;
  readonly message: string;
}

export type Outcome =
  | { readonly ok: true; readonly value: Value }
  /** `value`: what a failed call answered all the same. */
  | { readonly ok: false; readonly error: Failure; readonly value?: Value };

/** Something that a run waits for. What it is called outside (`ref`) is fixed before it begins, so that it begins once. */
export type TaskSpec =
  | {
      readonly kind: "call";
      readonly function: string;
      readonly tag?: string;
      readonly input: Value;
      /** Where the namespace has a workflow of that name, a run of it is the task. */
      readonly preferWorkflow?: true;
    }
  | { readonly kind: "workflow"; readonly workflow: string; readonly input: Value }
  | { readonly kind: "timer"; readonly delayMs: number }
  | { readonly kind: "event"; readonly event: string; readonly timeoutMs?: number };

/** What the journal of a run holds. `at`: milliseconds since the epoch. */
export type RunEvent =
  | StartedEvent
  | {
      readonly kind: "scheduled";
      readonly at: number;
      /** Where in the program: `checks/drc/0`, `synth#2` for a second attempt. Once in a generation. */
      readonly task: string;
      /** The invocation's or run's id; of a timer and an event its message's. */
      readonly ref: string;
      readonly spec: TaskSpec;
      readonly reason: string;
    }
  | {
      readonly kind: "settled";
      readonly at: number;
      readonly ref: string;
      readonly outcome: Outcome;
      readonly timings?: TaskTimings;
    }
  | {
      readonly kind: "signalled";
      readonly at: number;
      readonly name: string;
      readonly id: string;
      readonly value: Value;
    }
  | {
      readonly kind: "stopped";
      readonly at: number;
      readonly status: "cancelled" | "timed_out";
      readonly message: string;
    }
  | {
      readonly kind: "ended";
      readonly at: number;
      readonly status: EndStatus;
      readonly output?: Value;
      readonly error?: Failure;
      readonly reason: string;
    };

/** The first event; again, with the next generation, where a decider goes on as a new run under the same id. */
export interface StartedEvent {
  readonly kind: "started";
  readonly at: number;
  readonly workflow: string;
  readonly version: number;
  readonly definition: WorkflowDefinition;
  readonly input: Value;
  /** 0 at first. */
  readonly generation: number;
  readonly depth: number;
  readonly parent?: RunParent;
  readonly annotations?: Readonly<Record<string, Json>>;
}

export interface RunParent {
  readonly run: string;
  /** The task's `ref` in the parent, which is the child's own id. */
  readonly ref: string;
}

export interface TaskTimings {
  readonly queueMs: number;
  readonly coldStartMs: number;
  readonly runMs: number;
  readonly attempt: number;
}

export type EndStatus = "succeeded" | "failed" | "cancelled" | "timed_out";
export type RunStatus = "running" | EndStatus;
