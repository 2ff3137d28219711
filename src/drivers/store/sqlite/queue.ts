import type { DatabaseSync } from "node:sqlite";
import type { Chance, Clock } from "../../../ports/clock.ts";
import type { DeadLetter, Lease, MessageState, Queue } from "../../../ports/queue.ts";
import { checkName, checkSize, messageBytes } from "../checks.ts";
import { defaultRememberMs } from "../remembering.ts";
import { rowLimit, type GroupCommit } from "./group-commit.ts";

const states: readonly MessageState[] = ["waiting", "leased", "dead", "settled"];
/** How often ids that need no more be remembered are removed. */
const forgetEveryMs = 60_000;

interface MessageRow {
  readonly state: number;
  readonly attempt: number;
  readonly enqueued_at: number;
  readonly due_at: number;
  readonly reason: string | null;
}

export function createSqliteQueue(database: DatabaseSync, commit: GroupCommit, clock: Clock, chance: Chance): Queue {
  const insert = database.prepare(
    "INSERT INTO messages (queue, id, body, key, enqueued_at, state, due_at, attempt) VALUES (?, ?, ?, ?, ?, 0, ?, 0) ON CONFLICT DO NOTHING",
  );
  const forget = database.prepare("DELETE FROM messages WHERE queue = ? AND id = ? AND state = 3 AND due_at <= ?");
  const forgetAll = database.prepare("DELETE FROM messages WHERE queue = ? AND state = 3 AND due_at <= ?");
  const giveBack = database.prepare(
    "UPDATE messages SET state = 0, receipt = NULL WHERE queue = ? AND state = 1 AND due_at <= ?",
  );
  // Held back: one of the same key is older and still to be done, or leased. (A revived letter is older than what was leased meanwhile.)
  const heldBack = `EXISTS (SELECT 1 FROM messages AS k WHERE k.queue = m.queue AND k.key = m.key AND k.key IS NOT NULL
    AND k.state < 2 AND (k.position < m.position OR (k.position > m.position AND k.state = 1 AND k.due_at > :now)))`;
  const deliverable = database.prepare(
    `SELECT position, id, body, attempt, enqueued_at FROM messages AS m WHERE queue = :queue AND state = 0 AND due_at <= :now
     AND (key IS NULL OR NOT ${heldBack}) ORDER BY due_at, position LIMIT :max`,
  );
  const take = database.prepare(
    "UPDATE messages SET state = 1, due_at = ?, attempt = attempt + 1, receipt = ? WHERE position = ?",
  );
  const held = "receipt = ? AND queue = ? AND state = 1 AND due_at > ?";
  const extend = database.prepare(`UPDATE messages SET due_at = ? WHERE ${held}`);
  const settle = database.prepare(
    `UPDATE messages SET state = 3, due_at = ?, receipt = NULL, body = x'' WHERE ${held}`,
  );
  const settleForGood = database.prepare(`DELETE FROM messages WHERE ${held}`);
  const release = database.prepare(`UPDATE messages SET state = 0, due_at = ?, receipt = NULL WHERE ${held}`);
  const bury = database.prepare(
    `UPDATE messages SET state = 2, due_at = ?, receipt = NULL, reason = ?, buried_at = ? WHERE ${held}`,
  );
  const findOne = database.prepare(
    "SELECT state, attempt, enqueued_at, due_at, reason FROM messages WHERE queue = ? AND id = ? AND NOT (state = 3 AND due_at <= ?)",
  );
  const remove = database.prepare("DELETE FROM messages WHERE queue = ? AND id = ? AND state < 3");
  const placeOfDead = database.prepare(
    "SELECT buried_at, position FROM messages WHERE queue = ? AND id = ? AND state = 2",
  );
  const deadAfter = database.prepare(
    "SELECT id, body, attempt, enqueued_at, buried_at, reason FROM messages WHERE queue = ? AND state = 2 AND (due_at, position) > (?, ?) ORDER BY due_at, position LIMIT ?",
  );
  const revive = database.prepare(
    "UPDATE messages SET state = 0, attempt = 0, due_at = ?, reason = NULL WHERE queue = ? AND id = ? AND state = 2",
  );
  const counts = database.prepare(
    "SELECT sum(state = 0 OR (state = 1 AND due_at <= ?)) AS waiting, sum(state = 1 AND due_at > ?) AS leased, sum(state = 2) AS dead FROM messages WHERE queue = ? AND state < 3",
  );
  // Two walks along an index, each to the first that counts. A lease that has run out is a waiting message.
  const firstOf = (state: number): string =>
    `SELECT * FROM (SELECT due_at FROM messages AS m WHERE queue = :queue AND state = ${state}
     AND (key IS NULL OR (state = 1 AND due_at > :now) OR NOT ${heldBack}) ORDER BY due_at LIMIT 1)`;
  const firstDue = database.prepare(`SELECT min(due_at) AS due FROM (${firstOf(0)} UNION ALL ${firstOf(1)})`);
  const reclaim = database.prepare(
    "UPDATE messages SET state = 0, due_at = ?, receipt = NULL WHERE queue = ? AND state = 1",
  );

  const forgotten = new Map<string, number>();
  /** Random once for this server, counted within it: cheap, and never given twice. */
  const receiptPrefix = Buffer.from(chance.bytes(12)).toString("hex");
  let receipts = 0;

  const changed = (result: { changes: number | bigint }): boolean => Number(result.changes) > 0;

  return {
    async enqueue(queue, { id, body, delayMs = 0, key }) {
      checkName("queue", queue);
      checkName("id", id);
      if (key !== undefined) checkName("key", key);
      checkSize("message", body, messageBytes);
      return await commit.run(() => {
        const now = clock.now();
        const add = (): boolean => changed(insert.run(queue, id, body, key ?? null, now, now + delayMs));
        const accepted = add() || (changed(forget.run(queue, id, now)) && add());
        return { id, accepted };
      });
    },
    lease(queue, max, leaseMs) {
      return commit.run(() => {
        const now = clock.now();
        if (now - (forgotten.get(queue) ?? 0) >= forgetEveryMs) {
          forgotten.set(queue, now);
          forgetAll.run(queue, now);
        }
        giveBack.run(queue, now);
        const found = deliverable.all({ queue, now, max: rowLimit(max) }) as unknown as {
          position: number;
          id: string;
          body: Uint8Array;
          attempt: number;
          enqueued_at: number;
        }[];
        return found.map(({ position, id, body, attempt, enqueued_at }): Lease => {
          const receipt = `${receiptPrefix}-${++receipts}`;
          take.run(now + leaseMs, receipt, position);
          return { id, receipt, body, attempt: attempt + 1, enqueuedAt: enqueued_at };
        });
      });
    },
    extend: (queue, receipt, leaseMs) =>
      commit.run(() => changed(extend.run(clock.now() + leaseMs, receipt, queue, clock.now()))),
    settle: (queue, receipt, { rememberMs = defaultRememberMs } = {}) =>
      commit.run(() => {
        const now = clock.now();
        return changed(
          rememberMs > 0 ? settle.run(now + rememberMs, receipt, queue, now) : settleForGood.run(receipt, queue, now),
        );
      }),
    release: (queue, receipt, delayMs) =>
      commit.run(() => changed(release.run(clock.now() + delayMs, receipt, queue, clock.now()))),
    bury: (queue, receipt, reason) =>
      commit.run(() => {
        const now = clock.now();
        return changed(bury.run(now, reason, now, receipt, queue, now));
      }),
    cancel: (queue, id) =>
      commit.run(() => {
        const row = findOne.get(queue, id, clock.now()) as MessageRow | undefined;
        remove.run(queue, id);
        return row === undefined ? undefined : stateOf(row, clock.now());
      }),
    async find(queue, id) {
      const now = clock.now();
      const row = commit.read(() => findOne.get(queue, id, now)) as MessageRow | undefined;
      if (row === undefined) return undefined;
      const { attempt, enqueued_at: enqueuedAt, due_at: dueAt, reason } = row;
      return { id, state: stateOf(row, now), attempt, enqueuedAt, dueAt, ...(reason !== null && { reason }) };
    },
    async dead(queue, { after, limit }) {
      const rows = commit.read(() => {
        const from = (after === undefined ? undefined : placeOfDead.get(queue, after)) as
          | { buried_at: number; position: number }
          | undefined;
        return deadAfter.all(queue, from?.buried_at ?? -1, from?.position ?? -1, rowLimit(limit));
      }) as unknown as (DeadLetter & { enqueued_at: number; buried_at: number })[];
      return rows.map(({ id, body, attempt, enqueued_at, buried_at, reason }) => ({
        id,
        body,
        attempt,
        enqueuedAt: enqueued_at,
        buriedAt: buried_at,
        reason,
      }));
    },
    revive: (queue, id) => commit.run(() => changed(revive.run(clock.now(), queue, id))),
    async depth(queue) {
      const now = clock.now();
      const row = commit.read(() => counts.get(now, now, queue)) as {
        waiting: number | null;
        leased: number | null;
        dead: number | null;
      };
      return { waiting: row.waiting ?? 0, leased: row.leased ?? 0, dead: row.dead ?? 0 };
    },
    async nextDueAt(queue) {
      const { due } = commit.read(() => firstDue.get({ queue, now: clock.now() })) as { due: number | null };
      return due ?? undefined;
    },
    reclaim: (queue) =>
      commit.run(() => {
        const now = clock.now();
        giveBack.run(queue, now);
        return Number(reclaim.run(now, queue).changes);
      }),
  };
}

/** A lease that has run out is a waiting message, whether that is written down yet or not. */
function stateOf(row: MessageRow, now: number): MessageState {
  const state = states[row.state] ?? "waiting";
  return state === "leased" && row.due_at <= now ? "waiting" : state;
}
