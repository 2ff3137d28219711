import { VirgaError } from "../../../core/errors.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { RecordChange, RecordEntry, RecordEvent, Records } from "../../../ports/records.ts";
import { ChangeFeed } from "../change-feed.ts";
import { checkKey, compareBytes, encodeValue } from "../checks.ts";

interface Kept {
  readonly text: string;
  readonly revision: number;
  readonly expiresAt: number;
}

/** How late an expiry may be told to watchers. */
const sweepMs = 500;

export function createMemoryRecords(clock: Clock): Records {
  const kept = new Map<string, Kept>();
  /** Newest change of each key that was ever changed; deletions included. */
  const changes = new Map<string, number>();
  const feed = new ChangeFeed();
  let revision = 0;
  let sweeping = false;

  const alive = (key: string): Kept | undefined => {
    const found = kept.get(key);
    return found === undefined || found.expiresAt <= clock.now() ? undefined : found;
  };

  const sweep = (): void => {
    sweeping = false;
    const now = clock.now();
    for (const [key, { expiresAt }] of kept) if (expiresAt <= now) remove(key);
    plan();
  };
  const plan = (): void => {
    if (sweeping || ![...kept.values()].some(({ expiresAt }) => expiresAt < Infinity)) return;
    sweeping = true;
    clock.after(sweepMs, sweep);
  };

  const remove = (key: string): void => {
    kept.delete(key);
    revision++;
    changes.set(key, revision);
    feed.publish({ kind: "delete", key, revision });
  };

  const apply = (list: readonly RecordChange[]): boolean[] => {
    // All conditions are checked before the first change: a batch is all or nothing.
    const seen = new Map<string, number>();
    const prepared = list.map((change) => {
      const key = checkKey("put" in change ? change.put : change.delete);
      const current = seen.get(key) ?? alive(key)?.revision ?? 0;
      if (change.expect !== undefined && change.expect !== current)
        throw new VirgaError("conflict", `${key} is at revision ${current}, not ${change.expect}`, {
          fix: "Read it again and repeat the change.",
        });
      seen.set(key, "put" in change ? -1 : 0);
      return { key, change, text: "put" in change ? encodeValue(key, change.value) : "" };
    });
    return prepared.map(({ key, change, text }) => {
      const there = alive(key) !== undefined;
      if ("put" in change) {
        revision++;
        kept.set(key, {
          text,
          revision,
          expiresAt: change.ttlMs === undefined ? Infinity : clock.now() + change.ttlMs,
        });
        changes.set(key, revision);
        feed.publish({ kind: "put", key, value: JSON.parse(text), revision });
      } else if (kept.has(key)) remove(key);
      plan();
      return there;
    });
  };

  const snapshot = (prefix: string, from: number): RecordEvent<unknown>[] =>
    [...changes]
      .filter(([key, at]) => at > from && key.startsWith(prefix))
      .sort(([, a], [, b]) => a - b)
      .map(([key, at]) => {
        const found = kept.get(key);
        return found === undefined
          ? { kind: "delete", key, revision: at }
          : { kind: "put", key, value: JSON.parse(found.text), revision: at };
      });

  return {
    async get<T>(key: string) {
      const found = alive(checkKey(key));
      return found === undefined ? undefined : { key, value: JSON.parse(found.text) as T, revision: found.revision };
    },
    async put(key, value, options = {}) {
      apply([{ put: key, value, ...options }]);
      return revision;
    },
    async delete(key, options = {}) {
      return apply([{ delete: key, ...options }])[0] ?? false;
    },
    async batch(list) {
      apply(list);
      return revision;
    },
    async list<T>(prefix: string, { after, limit = Infinity }: { after?: string; limit?: number } = {}) {
      return [...kept.keys()]
        .filter(
          (key) =>
            key.startsWith(prefix) && alive(key) !== undefined && (after === undefined || compareBytes(key, after) > 0),
        )
        .sort(compareBytes)
        .slice(0, limit)
        .map((key): RecordEntry<T> => {
          const { text, revision: at } = kept.get(key) as Kept;
          return { key, value: JSON.parse(text) as T, revision: at };
        });
    },
    watch: <T>(prefix: string, from: number, signal: AbortSignal) =>
      feed.watch(prefix, () => snapshot(prefix, from), signal) as AsyncIterable<RecordEvent<T>>,
    async revision() {
      return revision;
    },
  };
}
