/**
 * Small documents under string keys: functions, revisions, routes, secrets, tokens.
 *
 * Guarantees
 * - Every change gets a store-wide, strictly growing revision number (first: 1); nothing else changes it.
 * - `put` and `delete` are durable when their promise settles, and atomic.
 * - `expect` makes a change conditional: the key's current revision, or 0 for "must not exist". Where it does not hold,
 *   the promise rejects with `conflict` and nothing is written. In a batch it speaks of the changes before it, too.
 * - Reads see every write whose promise has settled. `list` is one consistent snapshot, in key order (by UTF-8 bytes).
 * - `watch` yields each change after `from` exactly once, in revision order, deletions and expiries included, then goes on live.
 *   Changes to one key may be compacted to the newest one when the watcher starts in the past; a live watcher sees each.
 * - With `ttlMs` a key is gone after that time (a `get` never returns it later; the `watch` deletion may come up to 1 s late,
 *   and not at all where a `put` of the same key comes before it).
 * - Values are read as they were at the call of `put`; what a reader or watcher gets is its own to change.
 *
 * Keys: 1–512 bytes of UTF-8, no NUL. Values: JSON values, up to 1 MiB as text.
 * Others reject with `bad_request`, what is too large with `request_too_large`, and nothing is written.
 */
export interface Records {
  get<T = unknown>(key: string): Promise<RecordEntry<T> | undefined>;
  put(key: string, value: unknown, options?: { expect?: number; ttlMs?: number }): Promise<number>;
  /** Resolves to false when there was no such key. */
  delete(key: string, options?: { expect?: number }): Promise<boolean>;
  /** Several changes in their order, all or none. Resolves to the store's revision after the last one. */
  batch(changes: readonly RecordChange[]): Promise<number>;
  list<T = unknown>(prefix: string, options?: { after?: string; limit?: number }): Promise<RecordEntry<T>[]>;
  watch<T = unknown>(prefix: string, from: number, signal: AbortSignal): AsyncIterable<RecordEvent<T>>;
  /** The newest revision number of the store. */
  revision(): Promise<number>;
}

export interface RecordEntry<T> {
  readonly key: string;
  readonly value: T;
  readonly revision: number;
}

export type RecordChange =
  | { readonly put: string; readonly value: unknown; readonly expect?: number; readonly ttlMs?: number }
  | { readonly delete: string; readonly expect?: number };

export type RecordEvent<T> =
  | { readonly kind: "put"; readonly key: string; readonly value: T; readonly revision: number }
  | { readonly kind: "delete"; readonly key: string; readonly revision: number };
