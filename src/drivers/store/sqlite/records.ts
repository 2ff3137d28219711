import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../../../ports/clock.ts";
import type { RecordChange, RecordEntry, RecordEvent, Records } from "../../../ports/records.ts";
import { ChangeFeed, type Change } from "../change-feed.ts";
import { checkKey } from "../checks.ts";
import { checkRevision, prepareChange } from "../record-change.ts";
import { untilSweep } from "../sweeping.ts";
import { rowLimit, type GroupCommit } from "./group-commit.ts";
import { endOfPrefix } from "./prefix.ts";

interface Row {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

export function createSqliteRecords(
  database: DatabaseSync,
  commit: GroupCommit,
  clock: Clock,
): Records & { close(): void } {
  const select = database.prepare(
    "SELECT key, value, revision FROM records WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)",
  );
  // One bound on each side: with more, all that lies behind the prefix is read.
  const range = database.prepare(
    "SELECT key, value, revision FROM records WHERE key >= max(?, ?) AND key <> ? AND key < ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?",
  );
  const upsert = database.prepare(
    "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision, expires_at = excluded.expires_at",
  );
  const remove = database.prepare("DELETE FROM records WHERE key = ?");
  const bury = database.prepare(
    "INSERT INTO deletions VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET revision = excluded.revision",
  );
  const unbury = database.prepare("DELETE FROM deletions WHERE key = ?");
  const count = database.prepare("UPDATE counters SET value = value + 1 WHERE name = 'revision' RETURNING value");
  const counted = database.prepare("SELECT value FROM counters WHERE name = 'revision'");
  const expired = database.prepare("SELECT key FROM records WHERE expires_at <= ? ORDER BY expires_at, key");
  const anyExpiry = database.prepare("SELECT 1 FROM records WHERE expires_at IS NOT NULL LIMIT 1");
  const since = database.prepare(
    "SELECT key, value, revision FROM records WHERE revision > ?1 UNION ALL SELECT key, NULL, revision FROM deletions WHERE revision > ?1 ORDER BY revision",
  );

  const feed = new ChangeFeed();
  let sweeping = false;
  let closed = false;

  const find = (key: string): Row | undefined => select.get(key, clock.now()) as Row | undefined;
  const nextRevision = (): number => (count.get() as { value: number }).value;
  const currentRevision = (): number => (counted.get() as { value: number }).value;

  const takeOut = (key: string): void => {
    if (remove.run(key).changes === 0) return;
    const revision = nextRevision();
    bury.run(key, revision);
    commit.afterCommit(() => feed.publish({ key, text: undefined, revision }));
  };

  const plan = (): void => {
    if (sweeping || closed) return;
    sweeping = true;
    clock.after(untilSweep(clock), () => {
      sweeping = false;
      if (closed) return;
      const done = commit.run(() => {
        for (const { key } of expired.all(clock.now()) as { key: string }[]) takeOut(key);
        return anyExpiry.get() !== undefined;
      });
      // A full disk keeps expired keys on it for a while; no reader sees them, and the next sweep tries again.
      done.then((more) => more && plan(), plan);
    });
  };
  if (anyExpiry.get() !== undefined) plan();

  const apply = (changes: readonly RecordChange[]): Promise<{ revision: number; wasThere: boolean }> => {
    const prepared = changes.map(prepareChange);
    return commit.run(() => {
      // Every condition before the first write: a batch is all or nothing, and its failure leaves nothing behind.
      const changed = new Map<string, number>();
      let wasThere = false;
      for (const { key, expect, text } of prepared) {
        const current = changed.get(key) ?? find(key)?.revision ?? 0;
        wasThere = current !== 0;
        checkRevision(key, current, expect);
        changed.set(key, text === undefined ? 0 : -1);
      }
      for (const { key, text, ttlMs } of prepared) {
        if (text === undefined) {
          takeOut(key);
          continue;
        }
        const revision = nextRevision();
        upsert.run(key, text, revision, ttlMs === undefined ? null : clock.now() + ttlMs);
        unbury.run(key);
        if (ttlMs !== undefined) plan();
        commit.afterCommit(() => feed.publish({ key, text, revision }));
      }
      return { revision: currentRevision(), wasThere };
    });
  };

  const past = (prefix: string, from: number): Change[] =>
    (since.all(from) as unknown as (Omit<Row, "value"> & { value: string | null })[])
      .filter(({ key }) => key.startsWith(prefix))
      .map(({ key, value, revision }) => ({ key, text: value ?? undefined, revision }));

  return {
    async get<T>(key: string) {
      checkKey(key);
      const row = commit.read(() => find(key));
      return row === undefined ? undefined : entry<T>(row);
    },
    async put(key, value, options = {}) {
      return (await apply([{ put: key, value, ...options }])).revision;
    },
    async delete(key, options = {}) {
      return (await apply([{ delete: key, ...options }])).wasThere;
    },
    async batch(changes) {
      return (await apply(changes)).revision;
    },
    async list<T>(prefix: string, { after = "", limit = Infinity }: { after?: string; limit?: number } = {}) {
      const end = endOfPrefix(prefix);
      const found = commit.read(() => range.all(prefix, after, after, end, clock.now(), rowLimit(limit)));
      return (found as unknown as Row[]).map((row) => entry<T>(row));
    },
    watch: <T>(prefix: string, from: number, signal: AbortSignal) =>
      feed.watch(prefix, () => commit.read(() => past(prefix, from)), signal) as AsyncIterable<RecordEvent<T>>,
    async revision() {
      return commit.read(currentRevision);
    },
    close() {
      closed = true;
    },
  };
}

function entry<T>({ key, value, revision }: Row): RecordEntry<T> {
  return { key, value: JSON.parse(value) as T, revision };
}
