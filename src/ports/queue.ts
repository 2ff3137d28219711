/**
 * Durable work queues: accepted asynchronous calls, event deliveries, timers.
 *
 * Guarantees
 * - `enqueue` is durable when its promise settles; a message is then delivered at least once.
 * - A message is leased to one holder at a time. A lease that runs out makes it deliverable again with a new receipt;
 *   the old receipt is then worthless: `settle`, `release`, `extend` and `bury` with it resolve to false and change nothing.
 * - `attempt` counts the leases given, 1 for the first.
 * - Messages become deliverable in order of their due time, then of acceptance. With a `key`, at most one message of
 *   that key is leased at a time, in order of acceptance (a delayed or leased one holds back those behind it). A revived
 *   letter takes its old place, once the one leased meanwhile is back.
 * - With an `id`: enqueueing an id that the queue still knows (waiting, leased, dead, or settled less than
 *   `remember` ago) changes nothing and resolves to `{ accepted: false }`.
 * - Everything that changes a message is durable when its promise settles. Leases outlive a restart.
 * - Changes take effect in the order in which they are asked for: a `lease` finds what was enqueued just before, awaited or not.
 * - The caller leaves a body's bytes alone until its promise settles. What a holder gets is its own to change.
 *
 * Queue names, ids and keys: 1–256 bytes of UTF-8, no NUL; `enqueue` rejects others with `bad_request`. Bodies: bytes,
 * up to 64 MiB (`request_too_large`).
 */
export interface Queue {
  enqueue(queue: string, message: NewMessage): Promise<{ id: string; accepted: boolean }>;
  /** Up to `max` deliverable messages, leased for `leaseMs`. Resolves at once, with none where none is due. */
  lease(queue: string, max: number, leaseMs: number): Promise<Lease[]>;
  /** The lease ends `leaseMs` from now. */
  extend(queue: string, receipt: string, leaseMs: number): Promise<boolean>;
  /** Done: the message is gone; its id is remembered for `rememberMs` (default 24 h). */
  settle(queue: string, receipt: string, options?: { rememberMs?: number }): Promise<boolean>;
  /** Not done: deliverable again after `delayMs`. */
  release(queue: string, receipt: string, delayMs: number): Promise<boolean>;
  /** Given up: kept as a dead letter with its reason. */
  bury(queue: string, receipt: string, reason: string): Promise<boolean>;
  /** Removes a message in whatever state but settled; a lease on it becomes worthless. Resolves to what it was in. */
  cancel(queue: string, id: string): Promise<MessageState | undefined>;
  find(queue: string, id: string): Promise<MessageStatus | undefined>;
  /** Dead letters, the one buried first first; those behind the letter with id `after`, or all where there is none of it. */
  dead(queue: string, options: { after?: string; limit: number }): Promise<DeadLetter[]>;
  /** Makes a dead letter deliverable again with its attempts at 0; false where there is none of that id. */
  revive(queue: string, id: string): Promise<boolean>;
  depth(queue: string): Promise<{ waiting: number; leased: number; dead: number }>;
  /**
   * When, if nothing else happens, `lease` may next give something: a due time or the end of a lease, held back messages
   * left out. It may lie in the past; undefined where nothing waits and nothing is leased.
   */
  nextDueAt(queue: string): Promise<number | undefined>;
  /**
   * Ends every lease on the queue: its messages are deliverable at once (attempts keep counting), the receipts are worthless.
   * For a server that starts as the only holder and finds the leases of its dead predecessor. Resolves to how many.
   */
  reclaim?(queue: string): Promise<number>;
}

export interface NewMessage {
  readonly id: string;
  readonly body: Uint8Array;
  readonly delayMs?: number;
  readonly key?: string;
}

export interface Lease {
  readonly id: string;
  readonly receipt: string;
  readonly body: Uint8Array;
  readonly attempt: number;
  readonly enqueuedAt: number;
}

export type MessageState = "waiting" | "leased" | "dead" | "settled";

export interface MessageStatus {
  readonly id: string;
  readonly state: MessageState;
  readonly attempt: number;
  readonly enqueuedAt: number;
  /** When a waiting message becomes deliverable, or a lease ends. */
  readonly dueAt: number;
  readonly reason?: string;
}

export interface DeadLetter {
  readonly id: string;
  readonly body: Uint8Array;
  readonly attempt: number;
  readonly enqueuedAt: number;
  readonly buriedAt: number;
  readonly reason: string;
}
