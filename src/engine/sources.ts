import { asVirgaError, VirgaError } from "../core/errors.ts";
import { checkEvent } from "../core/events/event.ts";
import type { Source, SourceState } from "../core/events/model.ts";
import { dueTimes, type Timer } from "../core/events/timer.ts";
import { checkName, checkResourceName, isName, isResourceName } from "../core/names.ts";
import type { Turns } from "../core/turns.ts";
import type { Clock } from "../ports/clock.ts";
import type { Records } from "../ports/records.ts";
import type { Sources, WantedSource, WantedTimer } from "./events.ts";
import { eventAt, sourceKey, stateKey, type TimerLoop } from "./timers.ts";
import { type TopicStore, topicKey } from "./topics.ts";

export interface SourcesOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly turn: Turns;
  readonly topics: TopicStore;
  readonly timers: TimerLoop;
}

export function createSources({ records, clock, turn, topics, timers }: SourcesOptions): Sources {
  async function put(wanted: WantedSource): Promise<Source> {
    const { namespace, name } = wanted;
    for (;;) {
      await topics.require(namespace, wanted.topic);
      const [before, state] = await Promise.all([
        records.get<Source>(sourceKey(namespace, name)),
        records.get<SourceState>(stateKey(namespace, name)),
      ]);
      if (state?.value.pending !== undefined) {
        // A due time that is half fired is fired first, as what it was.
        await timers.settle(namespace, name);
        continue;
      }
      const now = clock.now();
      const source: Source = {
        namespace,
        name,
        topic: wanted.topic,
        timer: completeTimer(wanted.timer, before?.value.timer, now),
        catchUp: wanted.catchUp ?? "latest",
        event: wanted.event ?? {},
        enabled: wanted.enabled ?? true,
        createdAt: before?.value.createdAt ?? now,
        updatedAt: now,
      };
      const times = dueTimes(source.timer);
      checkEvent(eventAt(source, now));
      const goesOn =
        before !== undefined &&
        state !== undefined &&
        before.value.enabled &&
        JSON.stringify(before.value.timer) === JSON.stringify(source.timer);
      if (!goesOn && source.enabled && times.next(now) === undefined) {
        throw new VirgaError("invalid_field", "the timer is never due any more", {
          field: "timer",
          fix: "choose times to come",
        });
      }
      const next: SourceState = goesOn
        ? state.value
        : { after: now, fired: state?.value.fired ?? 0, skipped: state?.value.skipped ?? 0 };
      try {
        await records.batch([
          { put: sourceKey(namespace, name), value: source, expect: before?.revision ?? 0 },
          { put: stateKey(namespace, name), value: next, expect: state?.revision ?? 0 },
        ]);
        return source;
      } catch (thrown) {
        if (asVirgaError(thrown).code !== "conflict") throw thrown;
      }
    }
  }

  return {
    async put(wanted) {
      checkName(wanted.namespace, "namespace", "namespace");
      checkResourceName(wanted.name, "name", "source");
      const source = await turn(topicKey(wanted.namespace, wanted.topic), () => put(wanted));
      timers.wake(wanted.namespace, wanted.name);
      return source;
    },

    async get(namespace, name) {
      if (!isName(namespace) || !isResourceName(name)) return undefined;
      const [found, state] = await Promise.all([
        records.get<Source>(sourceKey(namespace, name)),
        records.get<SourceState>(stateKey(namespace, name)),
      ]);
      if (found === undefined || state === undefined) return undefined;
      const { after, pending: _pending, ...counts } = state.value;
      const nextDueAt = found.value.enabled ? dueTimes(found.value.timer).next(after) : undefined;
      const problem = timers.problemOf(namespace, name);
      return {
        ...found.value,
        status: {
          ...counts,
          ...(nextDueAt === undefined ? {} : { nextDueAt }),
          ...(problem === undefined ? {} : { problem }),
        },
      };
    },

    async list(namespace) {
      if (!isName(namespace)) return [];
      return (await records.list<Source>(sourceKey(namespace, ""))).map(({ value }) => value);
    },

    async delete(namespace, name) {
      if (!isName(namespace) || !isResourceName(name)) return false;
      const key = sourceKey(namespace, name);
      if ((await records.get(key)) === undefined) return false;
      await records.batch([{ delete: key }, { delete: stateKey(namespace, name) }]);
      timers.forget(namespace, name);
      return true;
    },
  };
}

/** An interval that is put again as it was keeps its beat. */
function completeTimer(wanted: WantedTimer, before: Timer | undefined, now: number): Timer {
  if (wanted.kind === "schedule") return { ...wanted, timezone: wanted.timezone ?? "UTC" };
  if (wanted.kind === "once") return wanted;
  const kept = before?.kind === "interval" && before.everyMs === wanted.everyMs ? before.startAt : undefined;
  return { ...wanted, startAt: wanted.startAt ?? kept ?? now + wanted.everyMs };
}
