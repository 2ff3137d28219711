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
  const findQueue = database.prepare("SELECT id FROM queues WHERE name = ?");
  const addQueue = database.prepare("INSERT INTO queues (name) VALUES (?) RETURNING id");
  const insert = database.prepare(
    "INSERT INTO messages (queue, id, body, key, enqueued_at, state, due_at, attempt) VALUES (?, ?, ?, ?, ?, 0, ?, 0) ON CONFLICT DO NOTHING",
  );
  const forget = database.prepare("DELETE FROM messages WHERE queue = ? AND id = ? AND state = 3 AND due_at <= ?");
  const forgetAll = database.prepare("DELETE FROM messages WHERE state = 3 AND due_at <= ?");
  // Held back: one of the same key is older and still to be done, or leased. (A revived letter is older than what was leased meanwhile.)
  const heldBack = `EXISTS (SELECT 1 FROM messages AS k WHERE k.queue = m.queue AND k.key = m.key AND k.key IS NOT NULL
    AND k.state < 2 AND (k.position < m.position OR (k.position > m.position AND k.state = 1 AND k.due_at > :now)))`;
  const deliverable = database.prepare(
    `SELECT position, id, body, attempt, enqueued_at FROM messages AS m WHERE queue = :queue AND state < 2 AND due_at <= :now
     AND (key IS NULL OR NOT ${heldBack}) ORDER BY due_at, position LIMIT :max`,
  );
  const take = database.prepare(
    "UPDATE messages SET state = 1, due_at = ?, attempt = attempt + 1, receipt = ? WHERE position = ?",
  );
  const held = "position = ? AND receipt = ? AND queue = ? AND state = 1 AND due_at > ?";
  const extend = database.prepare(`UPDATE messages SET due_at = ? WHERE ${held}`);
  const settle = database.prepare(
    `UPDATE messages SET state = 3, due_at = ?, receipt = NULL, body = x'' WHERE ${held}`,
  );
  const settleForGood = database.prepare(`DELETE FROM messages WHERE ${held}`);
  const release = database.prepare(`UPDATE messages SET state = 0, due_at = ?, receipt = NULL WHERE ${held}`);
  const bury = database.prepare(`UPDATE messages SET state = 2, due_at = ?, receipt = NULL, reason = ? WHERE ${held}`);
  const findOne = database.prepare(
    "SELECT state, attempt, enqueued_at, due_at, reason FROM messages WHERE queue = ? AND id = ? AND NOT (state = 3 AND due_at <= ?)",
  );
  const remove = database.prepare("DELETE FROM messages WHERE queue = ? AND id = ? AND state < 3");
  const placeOfDead = database.prepare(
    "SELECT due_at, position FROM messages WHERE queue = ? AND id = ? AND state = 2",
  );
  const deadAfter = database.prepare(
    "SELECT id, body, attempt, enqueued_at, due_at, reason FROM messages WHERE queue = ? AND state = 2 AND (due_at, position) > (?, ?) ORDER BY due_at, position LIMIT ?",
  );
  const revive = database.prepare(
    "UPDATE messages SET state = 0, attempt = 0, due_at = ?, reason = NULL WHERE queue = ? AND id = ? AND state = 2",
  );
  const counts = database.prepare(
    `SELECT (SELECT count(*) FROM messages WHERE queue = ?1 AND state < 2) AS open,
     (SELECT count(*) FROM messages WHERE queue = ?1 AND state < 2 AND due_at > ?2 AND state = 1) AS leased,
     (SELECT count(*) FROM messages WHERE queue = ?1 AND state = 2) AS dead`,
  );
  // A walk along the index to the first that counts. A lease that has run out is a waiting message.
  const firstDue = database.prepare(
    `SELECT due_at FROM messages AS m WHERE queue = :queue AND state < 2
     AND (key IS NULL OR (state = 1 AND due_at > :now) OR NOT ${heldBack}) ORDER BY due_at LIMIT 1`,
  );
  const reclaim = database.prepare(
    "UPDATE messages SET state = 0, due_at = ?1, receipt = NULL WHERE queue = ?2 AND state < 2 AND due_at > ?1 AND state = 1",
  );

  let forgotAt = 0;
  /** Random once for this server, counted within it: cheap, and never given twice. */
  const receiptPrefix = Buffer.from(chance.bytes(12)).toString("base64url");
  let receipts = 0;

  const queueIds = new Map<string, number>();
  /** Undefined for a queue that never had a message. */
  const known = (queue: string): number | undefined => {
    const id = queueIds.get(queue);
    return id ?? (findQueue.get(queue) as { id: number } | undefined)?.id;
  };
  /** Within a change. */
  const idOf = (queue: string): number => {
    const cached = queueIds.get(queue);
    if (cached !== undefined) return cached;
    const { id } = (findQueue.get(queue) ?? addQueue.get(queue)) as { id: number };
    // Not before: the row that another change of this transaction has added may go again.
    commit.afterCommit(() => queueIds.set(queue, id));
    return id;
  };

  const changed = (result: { changes: number | bigint }): boolean => Number(result.changes) > 0;
  /** What the end of `held` asks for. A receipt is the message's position and what its lease was given. */
  const holder = (queue: string, receipt: string): [position: number, lease: string, queue: number, now: number] => {
    const split = receipt.indexOf(".");
    const position = Number(receipt.slice(0, Math.max(0, split)));
    return [Number.isSafeInteger(position) ? position : 0, receipt.slice(split + 1), known(queue) ?? 0, clock.now()];
  };

  return {
    async enqueue(queue, { id, body, delayMs = 0, key }) {
      checkName("queue", queue);
      checkName("id", id);
      if (key !== undefined) checkName("key", key);
      checkSize("message", body, messageBytes);
      return await commit.run(() => {
        const now = clock.now();
        const number = idOf(queue);
        const add = (): boolean => changed(insert.run(number, id, body, key ?? null, now, now + delayMs));
        const accepted = add() || (changed(forget.run(number, id, now)) && add());
        return { id, accepted };
      });
    },
    lease(queue, max, leaseMs) {
      return commit.run(() => {
        const now = clock.now();
        if (now - forgotAt >= forgetEveryMs) {
          forgotAt = now;
          forgetAll.run(now);
        }
        const found = deliverable.all({ queue: known(queue) ?? 0, now, max: rowLimit(max) }) as unknown as {
          position: number;
          id: string;
          body: Uint8Array;
          attempt: number;
          enqueued_at: number;
        }[];
        const lease = `${receiptPrefix}-${++receipts}`;
        return found.map(({ position, id, body, attempt, enqueued_at }): Lease => {
          take.run(now + leaseMs, lease, position);
          return { id, receipt: `${position}.${lease}`, body, attempt: attempt + 1, enqueuedAt: enqueued_at };
        });
      });
    },
    extend: (queue, receipt, leaseMs) =>
      commit.run(() => changed(extend.run(clock.now() + leaseMs, ...holder(queue, receipt)))),
    settle: (queue, receipt, { rememberMs = defaultRememberMs } = {}) =>
      commit.run(() => {
        const by = holder(queue, receipt);
        return changed(rememberMs > 0 ? settle.run(clock.now() + rememberMs, ...by) : settleForGood.run(...by));
      }),
    release: (queue, receipt, delayMs) =>
      commit.run(() => changed(release.run(clock.now() + delayMs, ...holder(queue, receipt)))),
    bury: (queue, receipt, reason) =>
      commit.run(() => changed(bury.run(clock.now(), reason, ...holder(queue, receipt)))),
    cancel: (queue, id) =>
      commit.run(() => {
        const number = known(queue) ?? 0;
        const row = findOne.get(number, id, clock.now()) as MessageRow | undefined;
        remove.run(number, id);
        return row === undefined ? undefined : stateOf(row, clock.now());
      }),
    async find(queue, id) {
      const now = clock.now();
      const row = commit.read(() => findOne.get(known(queue) ?? 0, id, now)) as MessageRow | undefined;
      if (row === undefined) return undefined;
      const { attempt, enqueued_at: enqueuedAt, due_at: dueAt, reason } = row;
      return { id, state: stateOf(row, now), attempt, enqueuedAt, dueAt, ...(reason !== null && { reason }) };
    },
    async dead(queue, { after, limit }) {
      const rows = commit.read(() => {
        const number = known(queue) ?? 0;
        const from = (after === undefined ? undefined : placeOfDead.get(number, after)) as
          | { due_at: number; position: number }
          | undefined;
        return deadAfter.all(number, from?.due_at ?? -1, from?.position ?? -1, rowLimit(limit));
      }) as unknown as (DeadLetter & { enqueued_at: number; due_at: number })[];
      return rows.map(({ id, body, attempt, enqueued_at, due_at, reason }) => ({
        id,
        body,
        attempt,
        enqueuedAt: enqueued_at,
        buriedAt: due_at,
        reason,
      }));
    },
    revive: (queue, id) => commit.run(() => changed(revive.run(clock.now(), known(queue) ?? 0, id))),
    async depth(queue) {
      const { open, leased, dead } = commit.read(() => counts.get(known(queue) ?? 0, clock.now())) as {
        open: number;
        leased: number;
        dead: number;
      };
      return { waiting: open - leased, leased, dead };
    },
    async nextDueAt(queue) {
      const row = commit.read(() => firstDue.get({ queue: known(queue) ?? 0, now: clock.now() }));
      return (row as { due_at: number } | undefined)?.due_at;
    },
    reclaim: (queue) => commit.run(() => Number(reclaim.run(clock.now(), known(queue) ?? 0).changes)),
  };
}

/** A lease that has run out is a waiting message, whether that is written down yet or not. */
function stateOf(row: MessageRow, now: number): MessageState {
  const state = states[row.state] ?? "waiting";
  return state === "leased" && row.due_at <= now ? "waiting" : state;
}
