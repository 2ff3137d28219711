/**
 * Large immutable contents, named by their SHA-256: source archives, artifacts, large results.
 *
 * Guarantees
 * - `put` reads the whole content, verifies it against `expect` where given (rejects with `bad_request` on a mismatch),
 *   and is durable when its promise settles. Content that is already there is not stored twice.
 *   A broken or rejected stream leaves nothing behind; its own error is passed on.
 * - `get` streams exactly the bytes put; a content that no longer fits its name ends the stream with `storage_corrupt`,
 *   before the last chunk is given. From then on it is not there, and can be put again.
 * - `put` rejects with `request_too_large` past `maxBytes`, with `storage_full` when the disk is.
 * - `put` and `has` renew `storedAt`: who relies on a content keeps it from those who remove what is old and unused.
 *
 * Digests: 64 digits of lower-case hex. Anything else is the name of nothing.
 */
export interface Blobs {
  put(
    content: AsyncIterable<Uint8Array>,
    options?: { expect?: string; maxBytes?: number },
  ): Promise<{ digest: string; size: number }>;
  /** Rejects with `not_found`. Holds nothing open until `content` is read. */
  get(digest: string): Promise<{ size: number; content: AsyncIterable<Uint8Array> }>;
  has(digest: string): Promise<boolean>;
  /**
   * Does nothing where there is none. `unusedSince`, in milliseconds since the epoch: only what was stored before. A `put` or `has`
   * at the same time either keeps the content, or does not find it. Resolves to whether it is not there any more.
   */
  delete(digest: string, options?: { unusedSince?: number }): Promise<boolean>;
  /** In no order. `storedAt`: milliseconds since the epoch. */
  list(): AsyncIterable<{ digest: string; size: number; storedAt: number }>;
}
