/**
 * Append-only streams of events: invocation records, workflow histories.
 *
 * Guarantees
 * - Within a stream, events have gapless sequence numbers from 1, also after trimming and reopening.
 * - An `append` is all or nothing, and durable when its promise settles.
 * - With `expect` (the stream's last sequence, 0 for an empty one) it rejects with `conflict` when another was faster.
 * - `read` gives events in sequence order, `query` in time order (ties by sequence); both see every settled append.
 * - `trim` removes from the old end only: what stands behind the first event to be kept stays. Numbers of trimmed events
 *   are never used again; only a deleted stream begins at 1 anew.
 * - The caller leaves an event's bytes alone until its promise settles. What a reader gets is its own to change.
 *
 * Stream names: 1–256 bytes of UTF-8, no NUL; others reject with `bad_request`. Event data: bytes, up to 16 MiB each
 * (`request_too_large`).
 */
export interface Journal {
  /** Resolves to the sequence number of the last event appended. */
  append(stream: string, events: readonly NewEvent[], options?: { expect?: number }): Promise<number>;
  /** Events with sequence ≥ `from`. */
  read(stream: string, from: number, limit: number): Promise<JournalEvent[]>;
  /** Events with `fromTime` ≤ `at` < `toTime`. */
  query(stream: string, range: JournalRange): Promise<JournalEvent[]>;
  /** First and last sequence numbers kept; `{ first: last + 1, last }` where all are trimmed, `{1, 0}` for a new stream. */
  bounds(stream: string): Promise<{ first: number; last: number }>;
  /** Removes events below sequence `before`, or with `at` < `olderThan`; resolves to how many. */
  trim(stream: string, limit: { before?: number; olderThan?: number }): Promise<number>;
  /** Names of the streams that have ever been given an event and not been deleted, by prefix, sorted by UTF-8 bytes. */
  streams(prefix: string, options?: { after?: string; limit?: number }): Promise<string[]>;
  deleteStream(stream: string): Promise<void>;
}

export interface NewEvent {
  /** Milliseconds since the epoch; given by the caller. */
  readonly at: number;
  readonly data: Uint8Array;
}

export interface JournalEvent extends NewEvent {
  readonly sequence: number;
}

export interface JournalRange {
  readonly fromTime?: number;
  readonly toTime?: number;
  readonly newestFirst?: boolean;
  readonly limit: number;
}
