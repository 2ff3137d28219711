import type { DatabaseSync } from "node:sqlite";
import { VirgaError } from "../../../core/errors.ts";
import type { Journal, JournalEvent } from "../../../ports/journal.ts";
import { checkName, checkSize, eventBytes } from "../checks.ts";
import { rowLimit, type GroupCommit } from "./group-commit.ts";
import { endOfPrefix } from "./prefix.ts";

interface StreamRow {
  readonly id: number;
  readonly last: number;
}

export function createSqliteJournal(database: DatabaseSync, commit: GroupCommit): Journal {
  const findStream = database.prepare("SELECT id, last FROM streams WHERE name = ?");
  const addStream = database.prepare("INSERT INTO streams (name, last) VALUES (?, 0) RETURNING id, last");
  const advance = database.prepare("UPDATE streams SET last = ? WHERE id = ?");
  const insert = database.prepare("INSERT INTO events VALUES (?, ?, ?, ?)");
  const fromSequence = database.prepare(
    "SELECT sequence, at, data FROM events WHERE stream = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
  );
  const oldestFirst = database.prepare(
    "SELECT sequence, at, data FROM events WHERE stream = ? AND at >= ? AND at < ? ORDER BY at, sequence LIMIT ?",
  );
  const newestFirstQuery = database.prepare(
    "SELECT sequence, at, data FROM events WHERE stream = ? AND at >= ? AND at < ? ORDER BY at DESC, sequence DESC LIMIT ?",
  );
  const firstKept = database.prepare("SELECT min(sequence) AS first FROM events WHERE stream = ?");
  const firstToKeep = database.prepare(
    "SELECT sequence FROM events WHERE stream = ? AND sequence >= ? AND at >= ? ORDER BY sequence LIMIT 1",
  );
  const removeBelow = database.prepare("DELETE FROM events WHERE stream = ? AND sequence < ?");
  // One bound on each side: with more, all that lies behind the prefix is read.
  const names = database.prepare(
    "SELECT name FROM streams WHERE name >= max(?, ?) AND name <> ? AND name < ? ORDER BY name LIMIT ?",
  );
  const removeStream = database.prepare("DELETE FROM streams WHERE id = ?");

  const find = (name: string): StreamRow | undefined =>
    findStream.get(checkName("stream", name)) as StreamRow | undefined;

  return {
    async append(name, events, { expect } = {}) {
      checkName("stream", name);
      for (const { data } of events) checkSize("event", data, eventBytes);
      return await commit.run(() => {
        const found = find(name);
        const before = found?.last ?? 0;
        if (expect !== undefined && expect !== before)
          throw new VirgaError("conflict", `${name} is at sequence ${before}, not ${expect}`, {
            fix: "Read on from there and try again.",
          });
        if (events.length === 0) return before;
        const { id } = found ?? (addStream.get(name) as unknown as StreamRow);
        let sequence = before;
        for (const { at, data } of events) insert.run(id, ++sequence, at, data);
        advance.run(sequence, id);
        return sequence;
      });
    },
    async read(name, from, limit) {
      return commit.read(() => {
        const stream = find(name);
        return stream === undefined ? [] : rows(fromSequence.all(stream.id, from, rowLimit(limit)));
      });
    },
    async query(name, { fromTime = -Infinity, toTime = Infinity, newestFirst = false, limit }) {
      return commit.read(() => {
        const stream = find(name);
        if (stream === undefined) return [];
        return rows((newestFirst ? newestFirstQuery : oldestFirst).all(stream.id, fromTime, toTime, rowLimit(limit)));
      });
    },
    async bounds(name) {
      return commit.read(() => {
        const stream = find(name);
        if (stream === undefined) return { first: 1, last: 0 };
        const { first } = firstKept.get(stream.id) as { first: number | null };
        return { first: first ?? stream.last + 1, last: stream.last };
      });
    },
    trim(name, { before = 0, olderThan = -Infinity }) {
      return commit.run(() => {
        const stream = find(name);
        if (stream === undefined) return 0;
        // From the old end only: an old event behind a newer one stays.
        const kept = firstToKeep.get(stream.id, before, olderThan) as { sequence: number } | undefined;
        return Number(removeBelow.run(stream.id, kept?.sequence ?? stream.last + 1).changes);
      });
    },
    async streams(prefix, { after = "", limit = Infinity } = {}) {
      const end = endOfPrefix(prefix);
      const found = commit.read(() => names.all(prefix, after, after, end, rowLimit(limit))) as { name: string }[];
      return found.map(({ name }) => name);
    },
    deleteStream(name) {
      return commit.run(() => {
        const stream = find(name);
        if (stream === undefined) return;
        removeBelow.run(stream.id, stream.last + 1);
        removeStream.run(stream.id);
      });
    },
  };
}

function rows(found: unknown[]): JournalEvent[] {
  return (found as JournalEvent[]).map(({ sequence, at, data }) => ({ sequence, at, data }));
}
