import type { Chance, Clock } from "../../../ports/clock.ts";
import type { Lease, Queue } from "../../../ports/queue.ts";
import { checkName, checkSize, messageBytes } from "../checks.ts";
import { defaultRememberMs } from "../remembering.ts";

interface Message {
  readonly id: string;
  readonly body: Uint8Array;
  readonly key: string | undefined;
  readonly enqueuedAt: number;
  /** Order of acceptance. */
  readonly order: number;
  state: "waiting" | "leased" | "dead" | "settled";
  /** Waiting: deliverable from then on. Leased: the lease's end. Settled: forgotten from then on. */
  dueAt: number;
  attempt: number;
  receipt: string;
  reason: string;
  buriedAt: number;
}

export function createMemoryQueue(clock: Clock, chance: Chance): Queue {
  const queues = new Map<string, Map<string, Message>>();
  let order = 0;

  const messages = (queue: string): Map<string, Message> => {
    checkName("queue", queue);
    const found = queues.get(queue) ?? new Map<string, Message>();
    queues.set(queue, found);
    const now = clock.now();
    for (const message of found.values()) {
      if (message.state === "settled" && message.dueAt <= now) found.delete(message.id);
      if (message.state === "leased" && message.dueAt <= now) {
        message.state = "waiting";
        message.receipt = "";
      }
    }
    return found;
  };
  const held = (queue: string, receipt: string): Message | undefined =>
    [...messages(queue).values()].find((message) => message.state === "leased" && message.receipt === receipt);

  return {
    async enqueue(queue, { id, body, delayMs = 0, key }) {
      checkName("id", id);
      if (key !== undefined) checkName("key", key);
      checkSize("message", body, messageBytes);
      const known = messages(queue);
      if (known.has(id)) return { id, accepted: false };
      const now = clock.now();
      known.set(id, {
        id,
        body: new Uint8Array(body),
        key,
        enqueuedAt: now,
        order: ++order,
        state: "waiting",
        dueAt: now + delayMs,
        attempt: 0,
        receipt: "",
        reason: "",
        buriedAt: 0,
      });
      return { id, accepted: true };
    },
    async lease(queue, max, leaseMs) {
      const now = clock.now();
      const known = [...messages(queue).values()];
      return known
        .filter((message) => message.state === "waiting" && message.dueAt <= now && !isHeldBack(message, known))
        .sort((a, b) => a.dueAt - b.dueAt || a.order - b.order)
        .slice(0, max)
        .map((message): Lease => {
          message.state = "leased";
          message.dueAt = now + leaseMs;
          message.attempt++;
          message.receipt = Buffer.from(chance.bytes(12)).toString("hex");
          const { id, receipt, body, attempt, enqueuedAt } = message;
          return { id, receipt, body: new Uint8Array(body), attempt, enqueuedAt };
        });
    },
    async extend(queue, receipt, leaseMs) {
      const message = held(queue, receipt);
      if (message !== undefined) message.dueAt = clock.now() + leaseMs;
      return message !== undefined;
    },
    async settle(queue, receipt, { rememberMs = defaultRememberMs } = {}) {
      const message = held(queue, receipt);
      if (message === undefined) return false;
      message.state = "settled";
      message.dueAt = clock.now() + rememberMs;
      return true;
    },
    async release(queue, receipt, delayMs) {
      const message = held(queue, receipt);
      if (message === undefined) return false;
      message.state = "waiting";
      message.dueAt = clock.now() + delayMs;
      return true;
    },
    async bury(queue, receipt, reason) {
      const message = held(queue, receipt);
      if (message === undefined) return false;
      message.state = "dead";
      message.reason = reason.toWellFormed();
      message.buriedAt = clock.now();
      message.dueAt = message.buriedAt;
      return true;
    },
    async cancel(queue, id) {
      const message = messages(queue).get(id);
      if (message === undefined || message.state === "settled") return message?.state;
      messages(queue).delete(id);
      return message.state;
    },
    async find(queue, id) {
      const message = messages(queue).get(id);
      if (message === undefined) return undefined;
      const { state, attempt, enqueuedAt, dueAt, reason } = message;
      return { id, state, attempt, enqueuedAt, dueAt, ...(state === "dead" && { reason }) };
    },
    async dead(queue, { after, limit }) {
      const buried = [...messages(queue).values()]
        .filter(({ state }) => state === "dead")
        .sort((a, b) => a.buriedAt - b.buriedAt || a.order - b.order);
      const from = after === undefined ? 0 : buried.findIndex(({ id }) => id === after) + 1;
      return buried.slice(from, from + limit).map(({ id, body, attempt, enqueuedAt, buriedAt, reason }) => ({
        id,
        body: new Uint8Array(body),
        attempt,
        enqueuedAt,
        buriedAt,
        reason,
      }));
    },
    async revive(queue, id) {
      const message = messages(queue).get(id);
      if (message?.state !== "dead") return false;
      message.state = "waiting";
      message.attempt = 0;
      message.dueAt = clock.now();
      return true;
    },
    async depth(queue) {
      const depth = { waiting: 0, leased: 0, dead: 0 };
      for (const { state } of messages(queue).values()) if (state !== "settled") depth[state]++;
      return depth;
    },
    async nextDueAt(queue) {
      const known = [...messages(queue).values()];
      const due = known
        .filter((message) => message.state === "leased" || (message.state === "waiting" && !isHeldBack(message, known)))
        .map(({ dueAt }) => dueAt);
      return due.length === 0 ? undefined : Math.min(...due);
    },
    async reclaim(queue) {
      const leased = [...messages(queue).values()].filter(({ state }) => state === "leased");
      for (const message of leased) {
        message.state = "waiting";
        message.dueAt = clock.now();
        message.receipt = "";
      }
      return leased.length;
    },
  };
}

/** One of the same key is older and still to be done, or leased. (A revived letter is older than what was leased meanwhile.) */
function isHeldBack(message: Message, known: readonly Message[]): boolean {
  return (
    message.key !== undefined &&
    known.some(
      ({ key, state, order }) =>
        key === message.key && (state === "leased" || (state === "waiting" && order < message.order)),
    )
  );
}
