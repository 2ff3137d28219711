import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { CloudEvent } from "../core/events/event.ts";
import type { Source, SourceState } from "../core/events/model.ts";
import { dueTimes, planFires } from "../core/events/timer.ts";
import { createTurns } from "../core/turns.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { RecordEntry, Records } from "../ports/records.ts";
import type { TopicStore } from "./topics.ts";

export interface TimerLoopOptions {
  readonly records: Records;
  readonly topics: TopicStore;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Puts the events of timer sources on their topics, one for each due time, across crashes and with any number of processes:
 *
 * 1. the due time is written into the source's state, with the topic's last sequence, by compare-and-swap;
 * 2. the event, whose id is the due time, is appended behind exactly the sequence up to which the topic was searched for it;
 * 3. the state says that it is done.
 *
 * Whoever finds a due time between 1 and 3 searches the topic from there on, and appends only what is not there.
 */
export class TimerLoop {
  readonly #options: TimerLoopOptions;
  readonly #turn = createTurns();
  readonly #alarms = new Map<string, Timer>();
  readonly #problems = new Map<string, { readonly reason: string; readonly tries: number }>();
  readonly #running = new Set<Promise<void>>();
  #open = false;

  constructor(options: TimerLoopOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#open = true;
    let after: string | undefined;
    do {
      const page = await this.#options.records.list<Source>(sourcePrefix, {
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      for (const { value } of page) this.wake(value.namespace, value.name);
      after = page.length < pageSize ? undefined : page.at(-1)?.key;
    } while (after !== undefined);
    // Before retention can take away an event that is about to be searched for.
    await Promise.all(this.#running);
  }

  async stop(): Promise<void> {
    this.#open = false;
    for (const alarm of this.#alarms.values()) alarm.cancel();
    this.#alarms.clear();
    await Promise.all(this.#running);
  }

  /** Looks what is due, and sets the alarm for what comes next. */
  wake(namespace: string, name: string): void {
    if (!this.#open) return;
    const key = sourceKey(namespace, name);
    this.#alarms.get(key)?.cancel();
    this.#alarms.delete(key);
    const run = this.#turn(key, () => this.#look(namespace, name, key)).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /** Fires a due time that was begun. */
  async settle(namespace: string, name: string): Promise<void> {
    await this.#turn(sourceKey(namespace, name), async () => {
      const found = await this.#read(namespace, name);
      if (found?.state.value.pending !== undefined) await this.#complete(found.source, found.state);
    });
  }

  forget(namespace: string, name: string): void {
    const key = sourceKey(namespace, name);
    this.#alarms.get(key)?.cancel();
    this.#alarms.delete(key);
    this.#problems.delete(key);
  }

  problemOf(namespace: string, name: string): string | undefined {
    return this.#problems.get(sourceKey(namespace, name))?.reason;
  }

  async #look(namespace: string, name: string, key: string): Promise<void> {
    let delayMs: number | undefined;
    try {
      delayMs = await this.#fireDue(namespace, name);
      this.#problems.delete(key);
    } catch (thrown) {
      const error = asVirgaError(thrown);
      const tries = (this.#problems.get(key)?.tries ?? 0) + 1;
      if (tries === 1) this.#options.log.warn("a source cannot fire", { namespace, source: name, error });
      this.#problems.set(key, { reason: error.message, tries });
      delayMs = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(tries - 1, 10));
    }
    if (delayMs === undefined || !this.#open) return;
    this.#alarms.get(key)?.cancel();
    // The host's clock may be set: look from time to time.
    const alarm = this.#options.clock.after(Math.min(Math.max(0, delayMs), longestSleepMs), () =>
      this.wake(namespace, name),
    );
    this.#alarms.set(key, alarm);
  }

  /** Fires what is due; resolves to the time until the next look, undefined where none is needed. */
  async #fireDue(namespace: string, name: string): Promise<number | undefined> {
    const { clock, log } = this.#options;
    while (this.#open) {
      const found = await this.#read(namespace, name);
      if (found === undefined) return undefined;
      const { source, state } = found;
      if (state.value.pending !== undefined) {
        await this.#complete(source, state);
        continue;
      }
      if (!source.enabled) return undefined;
      const times = dueTimes(source.timer);
      const now = clock.now();
      const plan = planFires(times, state.value.after, now, source.catchUp, 1);
      const [due] = plan.fire;
      if (due !== undefined) {
        if (plan.skipped > 0) log.info("a source was late", { namespace, source: name, ...plan, fire: due });
        await this.#begin(source, state, due, plan.skipped);
      } else if (plan.skipped > 0) {
        log.info("a source was late", { namespace, source: name, reason: plan.reason, skipped: plan.skipped });
        const skipped = state.value.skipped + plan.skipped;
        await this.#write(source, state, { ...state.value, after: plan.through, skipped });
      } else {
        const next = times.next(state.value.after);
        return next === undefined ? undefined : next - now;
      }
    }
    return undefined;
  }

  async #begin(source: Source, state: RecordEntry<SourceState>, due: number, skipped: number): Promise<void> {
    const { topics } = this.#options;
    const topic = await topics.require(source.namespace, source.topic);
    const { last } = await topics.bounds(topic);
    const pending = { due, from: last };
    await this.#write(source, state, { ...state.value, pending, skipped: state.value.skipped + skipped });
  }

  /** Steps 2 and 3. */
  async #complete(source: Source, state: RecordEntry<SourceState>): Promise<void> {
    const { topics } = this.#options;
    const { due, from } = state.value.pending!;
    const topic = await topics.require(source.namespace, source.topic);
    const event = eventAt(source, due);
    let searched = from;
    for (let there = false; !there;) {
      const page = await topics.readStream(topic, searched + 1, pageSize);
      there = page.some((stored) => stored.event.id === event.id && stored.event.source === event.source);
      searched = page.at(-1)?.sequence ?? searched;
      if (there || page.length === pageSize) continue;
      try {
        await topics.appendBehind(topic, searched, event);
        there = true;
      } catch (thrown) {
        // Somebody published meanwhile; it may have been this event.
        if (asVirgaError(thrown).code !== "conflict") throw thrown;
      }
    }
    const { pending: _done, ...rest } = state.value;
    await this.#write(source, state, { ...rest, after: due, fired: rest.fired + 1, lastDueAt: due });
  }

  async #read(
    namespace: string,
    name: string,
  ): Promise<{ source: Source; state: RecordEntry<SourceState> } | undefined> {
    const { records } = this.#options;
    const [source, state] = await Promise.all([
      records.get<Source>(sourceKey(namespace, name)),
      records.get<SourceState>(stateKey(namespace, name)),
    ]);
    return source === undefined || state === undefined ? undefined : { source: source.value, state };
  }

  /** A competitor's change is as good: the next look sees it. */
  async #write({ namespace, name }: Source, before: RecordEntry<SourceState>, state: SourceState): Promise<void> {
    try {
      await this.#options.records.put(stateKey(namespace, name), state, { expect: before.revision });
    } catch (thrown) {
      if (!(thrown instanceof VirgaError) || thrown.code !== "conflict") throw thrown;
    }
  }
}

/** The event of one due time, which is its id. */
export function eventAt({ namespace, name, event }: Source, due: number): CloudEvent {
  const time = new Date(due).toISOString();
  return {
    ...event.extensions,
    specversion: "1.0",
    id: time,
    source: `/v1/namespaces/${namespace}/event-sources/${name}`,
    type: event.type ?? "virga.timer",
    time,
    ...(event.subject === undefined ? {} : { subject: event.subject }),
    ...(event.data === undefined ? {} : { datacontenttype: "application/json", data: event.data }),
  };
}

export const sourcePrefix = "event-sources/";

export function sourceKey(namespace: string, name: string): string {
  return `${sourcePrefix}${namespace}/${name}`;
}

export function stateKey(namespace: string, name: string): string {
  return `event-timers/${namespace}/${name}`;
}

const pageSize = 500;
const firstPauseMs = 1000;
const longestPauseMs = 60_000;
const longestSleepMs = 5 * 60_000;
