/** OpenWhisk's documents as types, as they are stored and as they go over the wire (REST API v1). */
import type { Json } from "../../core/workflow/definition.ts";

/** Parameters and annotations are lists of these. */
export interface KeyValue {
  readonly key: string;
  readonly value: Json;
  /** Parameters: handed to the action's start, as environment variables, and not to each run. */
  readonly init?: boolean;
}

export type KeyValues = readonly KeyValue[];

interface Entity {
  /** The owner's; of an action in a package `NAMESPACE/PACKAGE`. */
  readonly namespace: string;
  readonly name: string;
  /** `0.0.1`, and a patch more with each change. */
  readonly version: string;
  readonly publish: boolean;
  readonly annotations: KeyValues;
  /** Milliseconds since the epoch. */
  readonly updated: number;
}

export interface ActionLimits {
  /** Milliseconds. */
  readonly timeout: number;
  /** MB. */
  readonly memory: number;
  /** MB. */
  readonly logs: number;
  readonly concurrency: number;
}

export type Exec = CodeExec | SequenceExec;

export interface CodeExec {
  /** `nodejs:20`, resolved; `blackbox` for native programs. */
  readonly kind: string;
  /** Source text, or Base64 where `binary`. Kept apart from the document (`StoredAction.code`). */
  readonly code?: string;
  readonly binary: boolean;
  readonly main?: string;
  /** `blackbox` alone. */
  readonly image?: string;
}

export interface SequenceExec {
  readonly kind: "sequence";
  /** Fully qualified: `/namespace/package/action`. */
  readonly components: readonly string[];
}

export interface Action extends Entity {
  readonly exec: Exec;
  readonly parameters: KeyValues;
  readonly limits: ActionLimits;
}

export interface Package extends Entity {
  readonly binding?: { readonly namespace: string; readonly name: string };
  readonly parameters: KeyValues;
}

export interface Trigger extends Entity {
  readonly parameters: KeyValues;
}

export interface Rule extends Entity {
  readonly status: "active" | "inactive";
  readonly trigger: EntityPath;
  readonly action: EntityPath;
}

/** `path` is a namespace, or for an action in a package `NAMESPACE/PACKAGE`. */
export interface EntityPath {
  readonly path: string;
  readonly name: string;
}

/** The record of one invocation. */
export interface Activation {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly subject: string;
  /** 32 hexadecimal digits: the invocation's id without its hyphens. */
  readonly activationId: string;
  readonly start: number;
  /** Absent for triggers. */
  readonly end?: number;
  readonly duration?: number;
  readonly cause?: string;
  readonly response: ActivationResponse;
  readonly logs: readonly string[];
  readonly annotations: KeyValues;
  readonly publish: false;
}

export interface ActivationResponse {
  readonly status: "success" | "application error" | "action developer error" | "whisk internal error";
  /** 0 to 3, for `status` in that order. */
  readonly statusCode: 0 | 1 | 2 | 3;
  readonly success: boolean;
  readonly result: Json;
  readonly size?: number;
}
