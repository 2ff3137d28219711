/** Events as types: a source puts events on a topic, a subscription filters a topic and delivers to a function. */
import type { AsyncPolicy } from "../model.ts";
import type { CloudEvent } from "./event.ts";
import type { Filter } from "./filter.ts";
import type { CatchUp, Timer } from "./timer.ts";

/** A durable, numbered sequence of events. */
export interface Topic {
  readonly namespace: string;
  readonly name: string;
  readonly retention: Retention;
  /** Tells it from one of the same name that was deleted. */
  readonly uid: string;
  readonly createdAt: number;
}

/** What is removed from a topic's old end. */
export interface Retention {
  /** Events beyond so many go once every enabled subscription has passed them. */
  readonly maxEvents: number;
  /** Older ones go, whoever has not had them. */
  readonly maxAgeMs: number;
}

/** An event as a topic keeps it. */
export interface StoredEvent {
  /** 1 for the topic's first. */
  readonly sequence: number;
  /** When it was accepted. */
  readonly at: number;
  readonly event: CloudEvent;
}

/** Delivers the events of a topic that pass its filters. */
export interface Subscription {
  readonly namespace: string;
  readonly name: string;
  readonly topic: string;
  /** All of them must pass; none: every event does. */
  readonly filters: readonly Filter[];
  readonly target: Target;
  /**
   * How an event becomes a request (CloudEvents HTTP binding, section 3): its attributes as `ce-` headers, or all of it as JSON.
   * `data`: its data alone, for functions that know of no events.
   */
  readonly format: "binary" | "structured" | "data";
  /** Over the function's own policy. */
  readonly delivery: Partial<AsyncPolicy>;
  /** Absent: deliveries run side by side. */
  readonly order?: Order;
  readonly enabled: boolean;
  readonly uid: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A function of the subscription's namespace. */
export interface Target {
  readonly function: string;
  readonly tag?: string;
  /** Path and query behind the function's root; `/` where absent. */
  readonly path?: string;
  /** Where the namespace has a workflow of the function's name, a run of it begins instead, with the event's data as its input. */
  readonly preferWorkflow?: true;
}

/** One delivery after another, a failing one's retries included. */
export interface Order {
  /** The attribute whose events of the same value are kept in order; those without it are not. Absent: all events. */
  readonly by?: string;
}

/** How far a subscription has come. */
export interface Cursor {
  /** The last event that it has passed. */
  readonly sequence: number;
  /** Grows when the subscription is sent to another place, so that what it had before is delivered again. */
  readonly epoch: number;
  /** When the epoch began. */
  readonly since: number;
  readonly at: number;
  readonly delivered: number;
  readonly filtered: number;
  /** Events that the target cannot be called with, such as one larger than its `limits.requestBytes`. */
  readonly refused: number;
  /** Events that retention removed before their turn. */
  readonly missed: number;
  readonly lastRefusal?: { readonly sequence: number; readonly reason: string };
}

export interface SubscriptionStatus extends Omit<Cursor, "epoch" | "since" | "at"> {
  /**
   * `target_missing`: its function is not there; it keeps its place and goes on when the function comes.
   * `failing`: something else is in the way, and tried again.
   */
  readonly state: "flowing" | "disabled" | "target_missing" | "failing";
  readonly reason?: string;
  /** Events of the topic that it has not passed. */
  readonly behind: number;
}

/** Puts an event on a topic at each due time of its timer. */
export interface Source {
  readonly namespace: string;
  readonly name: string;
  readonly topic: string;
  readonly timer: Timer;
  readonly catchUp: CatchUp;
  readonly event: EventTemplate;
  readonly enabled: boolean;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** What a source's events have beside `id` and `time` (the due time) and `source` (its path). */
export interface EventTemplate {
  /** Default: `virga.timer`. */
  readonly type?: string;
  readonly subject?: string;
  readonly data?: unknown;
  readonly extensions?: Readonly<Record<string, string | number | boolean>>;
}

/** How far a source has come. */
export interface SourceState {
  /** Due times up to this one have fired or are given up. */
  readonly after: number;
  /** A due time whose event is, or is about to be, on the topic, behind sequence `from`. */
  readonly pending?: { readonly due: number; readonly from: number };
  readonly fired: number;
  readonly skipped: number;
  readonly lastDueAt?: number;
}

export interface SourceStatus extends Omit<SourceState, "after" | "pending"> {
  readonly nextDueAt?: number;
  /** Why a due event could not be put on its topic; it is tried again. */
  readonly problem?: string;
}
