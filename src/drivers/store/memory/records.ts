import type { Clock } from "../../../ports/clock.ts";
import type { RecordChange, RecordEntry, RecordEvent, Records } from "../../../ports/records.ts";
import { ChangeFeed, type Change } from "../change-feed.ts";
import { checkKey, compareBytes } from "../checks.ts";
import { checkRevision, prepareChange } from "../record-change.ts";
import { untilSweep } from "../sweeping.ts";

interface Kept {
  readonly text: string;
  readonly revision: number;
  readonly expiresAt: number;
}

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
    const expired = [...kept].filter(([, { expiresAt }]) => expiresAt <= now);
    expired.sort(([a, { expiresAt: first }], [b, { expiresAt: second }]) => first - second || compareBytes(a, b));
    for (const [key] of expired) remove(key);
    plan();
  };
  const plan = (): void => {
    if (sweeping || ![...kept.values()].some(({ expiresAt }) => expiresAt < Infinity)) return;
    sweeping = true;
    clock.after(untilSweep(clock), sweep);
  };

  const remove = (key: string): void => {
    kept.delete(key);
    revision++;
    changes.set(key, revision);
    feed.publish({ key, text: undefined, revision });
  };

  const apply = (list: readonly RecordChange[]): boolean[] => {
    const prepared = list.map(prepareChange);
    // All conditions are checked before the first change: a batch is all or nothing.
    const seen = new Map<string, number>();
    for (const { key, expect, text } of prepared) {
      checkRevision(key, seen.get(key) ?? alive(key)?.revision ?? 0, expect);
      seen.set(key, text === undefined ? 0 : -1);
    }
    return prepared.map(({ key, text, ttlMs }) => {
      const there = alive(key) !== undefined;
      if (text !== undefined) {
        revision++;
        kept.set(key, { text, revision, expiresAt: ttlMs === undefined ? Infinity : clock.now() + ttlMs });
        changes.set(key, revision);
        feed.publish({ key, text, revision });
      } else if (kept.has(key)) remove(key);
      plan();
      return there;
    });
  };

  const snapshot = (prefix: string, from: number): Change[] =>
    [...changes]
      .filter(([key, at]) => at > from && key.startsWith(prefix))
      .sort(([, a], [, b]) => a - b)
      .map(([key, at]) => ({ key, text: kept.get(key)?.text, revision: at }));

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
