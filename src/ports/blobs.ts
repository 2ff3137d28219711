/**
 * Large immutable contents, named by their SHA-256: source archives, artifacts, large results.
 *
 * Guarantees
 * - `put` reads the whole content, verifies it against `expect` where given (rejects with `bad_request` on a mismatch),
 *   and is durable when its promise settles. Content that is already there is not stored twice.
 *   A broken or rejected stream leaves nothing behind.
 * - `get` streams exactly the bytes put; a content that no longer fits its name ends the stream with `storage_corrupt`,
 *   before the last chunk is given.
 * - `put` rejects with `request_too_large` past `maxBytes`, with `storage_full` when the disk is.
 */
export interface Blobs {
  put(
    content: AsyncIterable<Uint8Array>,
    options?: { expect?: string; maxBytes?: number },
  ): Promise<{ digest: string; size: number }>;
  /** Rejects with `not_found`. */
  get(digest: string): Promise<{ size: number; content: AsyncIterable<Uint8Array> }>;
  has(digest: string): Promise<boolean>;
  delete(digest: string): Promise<void>;
  list(): AsyncIterable<{ digest: string; size: number; storedAt: number }>;
}
