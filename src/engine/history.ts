import { setImmediate as others } from "node:timers/promises";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Invocation } from "../core/model.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Journal } from "../ports/journal.ts";
import type { Log } from "../ports/log.ts";
import type { FollowedLine, History, HistoryFilter } from "./engine.ts";
import { everyStream } from "./every-stream.ts";
import { timeOf } from "./identifier.ts";
import { valuesNamedIn } from "./named-values.ts";
import { SegmentIndex } from "./segment-index.ts";
import {
  acceptedTime,
  findInSegment,
  nameBit,
  newerFirst,
  readSegment,
  type Segment,
  statusBit,
  toSegments,
} from "./segment.ts";

export interface HistoryOptions {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly retention: {
    /** Records kept of one namespace; up to a twentieth more before the oldest go. */
    readonly maxPerNamespace: number;
    readonly maxAgeMs: number;
  };
}

/** History with what usage needs beyond the engine's contract. */
export interface InvocationLog extends History {
  /** Called for each segment once it is durable, in order of sequence, before anybody who waits for it goes on. */
  onSegment(listener: (namespace: string, sequence: number, invocations: readonly Invocation[]) => void): () => void;
  /** Segments after the number that `through` gives for a namespace are not removed, however old. */
  holdBack(through: (namespace: string) => number): void;
  /** Removes what retention lets go. */
  sweep(): Promise<void>;
  /** Digests of the kept values that records name, any number of times. */
  namedValues(): AsyncIterable<string>;
  /** Removes all records of a namespace that is being deleted. */
  forget(namespace: string): Promise<void>;
  /** Writes what is left and stops. */
  close(): Promise<void>;
}

/** The journal stream of a namespace's records. */
export function recordStream(namespace: string): string {
  return `${recordStreams}${namespace}`;
}

export const recordStreams = "invocations/";
const pageStreams = "invocation-pages/";

/**
 * Records of calls. `append` only pushes; every 100 ms, or 1,000 records, each namespace's new ones become one write.
 *
 * When the platform itself crashes, records of synchronous calls of the last 100 ms may be lost; those whose
 * `appendDurably` settled are not. Usage is computed from what was written, so the two always agree.
 */
export function createHistory(options: HistoryOptions): InvocationLog {
  return new JournalHistory(options);
}

const flushAfterMs = 100;
const flushRecords = 1000;
/** Records taken into one write; more wait for the next. */
const batchRecords = 4096;
/** While the disk does not take records they wait here; beyond this the oldest are dropped, and the log says how many. */
const waitingRecords = 50_000;
const retryAfterMs = 1000;
/** As long as a queue's ids may be. */
const longestId = 256;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: VirgaError) => void;
}

/** One namespace's records: the index of those on disk, those on their way, those that wait. */
interface Stream {
  readonly namespace: string;
  readonly name: string;
  index: Promise<SegmentIndex> | undefined;
  waiting: Invocation[];
  writing: Invocation[];
  /** Who waits for which record to be durable. */
  readonly waiters: Map<Invocation, Waiter>;
  flushing: Promise<void> | undefined;
  scheduled: boolean;
  gone: boolean;
}

class JournalHistory implements InvocationLog {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #retention: HistoryOptions["retention"];
  readonly #streams = new Map<string, Stream>();
  readonly #followers = new Map<string, Set<Follower>>();
  readonly #segmentListeners = new Set<
    (namespace: string, sequence: number, invocations: readonly Invocation[]) => void
  >();
  #foldedThrough: (namespace: string) => number = () => Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;
  #closed = false;

  constructor({ journal, clock, log, retention }: HistoryOptions) {
    this.#journal = journal;
    this.#clock = clock;
    this.#log = log;
    this.#retention = retention;
  }

  append(invocation: Invocation): void {
    const stream = this.#streams.get(invocation.namespace) ?? this.#stream(invocation.namespace);
    if (stream.waiting.push(invocation) >= flushRecords) this.#schedule(stream);
    else if (this.#timer === undefined) this.#arm(flushAfterMs);
  }

  appendDurably(invocation: Invocation): Promise<void> {
    const stream = this.#stream(invocation.namespace);
    stream.waiting.push(invocation);
    this.#schedule(stream);
    return new Promise((resolve, reject) => stream.waiters.set(invocation, { resolve, reject }));
  }

  async flush(): Promise<void> {
    const failures: unknown[] = [];
    await Promise.all(
      [...this.#streams.values()].map((stream) => this.#drain(stream).catch((error: unknown) => failures.push(error))),
    );
    if (failures.length > 0) throw asVirgaError(failures[0]);
  }

  async get(namespace: string, id: string): Promise<Invocation | undefined> {
    if (id === "" || id.length > longestId) return undefined;
    const stream = this.#stream(namespace);
    const waiting = findNewest(stream.waiting, id) ?? findNewest(stream.writing, id);
    if (waiting !== undefined) return waiting;
    const index = await this.#index(stream);
    const time = timeOf(id);
    const candidates = index.candidates({
      from: time ?? 0,
      to: time ?? 0,
      names: everyBit,
      statuses: everyBit,
      untimed: time === undefined,
    });
    for (const sequence of candidates) {
      const data = await this.#read(stream, sequence);
      const found = data && findInSegment(data, id);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async list(namespace: string, filter: HistoryFilter): Promise<Invocation[]> {
    const stream = this.#stream(namespace);
    const before = filter.before === undefined ? undefined : await this.#cursor(namespace, filter.before);
    const index = await this.#index(stream);
    const from = filter.since ?? 0;
    const to = Math.min((filter.until ?? Number.POSITIVE_INFINITY) - 1, before?.at ?? Number.POSITIVE_INFINITY);
    const wanted = (invocation: Invocation): boolean => {
      const at = acceptedTime(invocation);
      if (at < from || at > to) return false;
      if (before !== undefined && at === before.at && invocation.id >= before.id) return false;
      if (filter.name !== undefined && invocation.name !== filter.name) return false;
      return filter.status === undefined || invocation.status === filter.status;
    };
    const candidates = index
      .candidates({
        from,
        to,
        names: filter.name === undefined ? everyBit : nameBit(filter.name),
        statuses: filter.status === undefined ? everyBit : statusBit(filter.status),
        untimed: false,
      })
      .map((sequence) => ({ sequence, max: index.max(sequence) }))
      .sort((a, b) => b.max - a.max || b.sequence - a.sequence);

    // A record may be given out once no segment left to read can hold a newer one.
    const given = new Map<string, Invocation>();
    let held = [...stream.waiting.toReversed(), ...stream.writing.toReversed()].filter(wanted);
    const giveNewerThan = (time: number): void => {
      held.sort(newerFirst);
      let taken = 0;
      while (taken < held.length && given.size < filter.limit && acceptedTime(held[taken]!) > time) {
        const record = held[taken++]!;
        const twin = given.get(record.id);
        // An id has a record for each attempt; the last one tells how it stands.
        if (twin === undefined || record.attempt > twin.attempt) given.set(record.id, record);
      }
      held = held.slice(taken);
    };
    for (const { sequence, max } of candidates) {
      giveNewerThan(max);
      if (given.size >= filter.limit) break;
      const data = await this.#read(stream, sequence);
      if (data !== undefined) for (const record of readSegment(data)) if (wanted(record)) held.push(record);
    }
    giveNewerThan(Number.NEGATIVE_INFINITY);
    return [...given.values()];
  }

  follow(
    filter: { namespace: string; name?: string; invocation?: string },
    listener: (line: FollowedLine) => void,
  ): () => void {
    const follower: Follower = { ...filter, listener };
    let followers = this.#followers.get(filter.namespace);
    if (followers === undefined) this.#followers.set(filter.namespace, (followers = new Set()));
    followers.add(follower);
    return () => {
      followers.delete(follower);
      if (followers.size === 0 && this.#followers.get(filter.namespace) === followers) {
        this.#followers.delete(filter.namespace);
      }
    };
  }

  logged(line: FollowedLine): void {
    if (this.#followers.size === 0) return;
    const followers = this.#followers.get(line.namespace);
    if (followers === undefined) return;
    for (const follower of followers) {
      if (follower.name !== undefined && follower.name !== line.name) continue;
      if (follower.invocation !== undefined && follower.invocation !== line.invocation) continue;
      try {
        follower.listener(line);
      } catch (error) {
        this.#log.warn("a follower of log lines failed and is left out from now on", { error });
        followers.delete(follower);
      }
    }
  }

  onSegment(listener: (namespace: string, sequence: number, invocations: readonly Invocation[]) => void): () => void {
    this.#segmentListeners.add(listener);
    return () => this.#segmentListeners.delete(listener);
  }

  holdBack(through: (namespace: string) => number): void {
    this.#foldedThrough = through;
  }

  async sweep(): Promise<void> {
    for await (const stream of this.#everyStream()) await this.#retire(stream, true);
  }

  async *namedValues(): AsyncGenerator<string> {
    // A full disk may have kept them from the journal for as long as it liked. What is written meanwhile is found there.
    const unwritten = [...this.#streams.values()].flatMap(({ waiting, writing }) => [...writing, ...waiting]);
    for (const { result } of unwritten) if (result?.blob !== undefined) yield result.blob;
    for await (const stream of this.#everyStream()) {
      for (const sequence of (await this.#index(stream)).withValues()) {
        const data = await this.#read(stream, sequence);
        if (data !== undefined) yield* valuesNamedIn(data);
        await others();
      }
    }
  }

  async forget(namespace: string): Promise<void> {
    const stream = this.#stream(namespace);
    stream.gone = true;
    stream.waiting = [];
    await stream.flushing?.catch(() => undefined);
    const error = new VirgaError("not_found", `namespace ${namespace} was deleted`);
    for (const waiter of stream.waiters.values()) waiter.reject(error);
    stream.waiters.clear();
    this.#streams.delete(namespace);
    await this.#journal.deleteStream(stream.name);
    await this.#journal.deleteStream(pageStreams + namespace);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.flush();
  }

  async *#everyStream(): AsyncGenerator<Stream> {
    for await (const name of everyStream(this.#journal, recordStreams)) {
      yield this.#stream(name.slice(recordStreams.length));
    }
  }

  #stream(namespace: string): Stream {
    let stream = this.#streams.get(namespace);
    if (stream === undefined) {
      stream = {
        namespace,
        name: recordStream(namespace),
        index: undefined,
        waiting: [],
        writing: [],
        waiters: new Map(),
        flushing: undefined,
        scheduled: false,
        gone: false,
      };
      this.#streams.set(namespace, stream);
    }
    return stream;
  }

  #index(stream: Stream): Promise<SegmentIndex> {
    if (stream.index === undefined) {
      const opening = SegmentIndex.open(this.#journal, stream.name, pageStreams + stream.namespace);
      stream.index = opening;
      opening.catch(() => {
        if (stream.index === opening) stream.index = undefined;
      });
    }
    return stream.index;
  }

  async #read(stream: Stream, sequence: number): Promise<Uint8Array | undefined> {
    const [event] = await this.#journal.read(stream.name, sequence, 1);
    // Gone since the index was asked.
    return event?.sequence === sequence ? event.data : undefined;
  }

  async #cursor(namespace: string, id: string): Promise<{ id: string; at: number }> {
    const at = timeOf(id) ?? (await this.get(namespace, id))?.timings.acceptedAt;
    if (at !== undefined) return { id, at };
    throw new VirgaError("invalid_field", `there is no record ${JSON.stringify(id)} to list before`, {
      field: "before",
      fix: "give the id of the last record of the page before",
    });
  }

  #arm(delayMs: number): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = undefined;
      for (const stream of this.#streams.values()) if (stream.waiting.length > 0) this.#flushBehind(stream);
    });
  }

  /** At the end of this turn of the event loop, with whatever else it brings. */
  #schedule(stream: Stream): void {
    if (stream.scheduled || stream.flushing !== undefined) return;
    stream.scheduled = true;
    setImmediate(() => {
      stream.scheduled = false;
      this.#flushBehind(stream);
    });
  }

  #flushBehind(stream: Stream): void {
    this.#flush(stream).catch((error: unknown) => {
      this.#log.error("invocation records could not be written; trying again", {
        namespace: stream.namespace,
        waiting: stream.waiting.length,
        error,
      });
    });
  }

  async #drain(stream: Stream): Promise<void> {
    while (stream.flushing !== undefined || (stream.waiting.length > 0 && !stream.gone)) await this.#flush(stream);
  }

  /** Writes what waits. */
  #flush(stream: Stream): Promise<void> {
    if (stream.flushing !== undefined) return stream.flushing;
    if (stream.waiting.length === 0 || stream.gone) return Promise.resolve();
    stream.flushing = this.#write(stream);
    return stream.flushing;
  }

  async #write(stream: Stream): Promise<void> {
    try {
      // What came meanwhile is worth a write of its own where somebody waits for it, or where it is much.
      do await this.#writeBatch(stream);
      while (this.#isUrgent(stream));
    } finally {
      stream.flushing = undefined;
      if (stream.waiting.length > 0 && this.#timer === undefined) this.#arm(flushAfterMs);
    }
  }

  #isUrgent({ gone, waiting, waiters }: Stream): boolean {
    return !gone && waiting.length > 0 && (waiters.size > 0 || waiting.length >= flushRecords);
  }

  async #writeBatch(stream: Stream): Promise<void> {
    const batch = stream.waiting.length <= batchRecords ? stream.waiting : stream.waiting.slice(0, batchRecords);
    stream.waiting = stream.waiting === batch ? [] : stream.waiting.slice(batchRecords);
    stream.writing = batch;
    let index: SegmentIndex;
    let segments: Segment[];
    let last: number;
    try {
      index = await this.#index(stream);
      const at = this.#clock.now();
      segments = toSegments(batch);
      last = await this.#journal.append(
        stream.name,
        segments.map(({ data }) => ({ at, data })),
      );
    } catch (error) {
      this.#putBack(stream, batch, asVirgaError(error));
      throw error;
    }
    try {
      await index.add(
        segments.map(({ summary }) => summary),
        last,
      );
    } catch (error) {
      stream.index = undefined;
      this.#log.warn("the index of invocation records is read anew", { namespace: stream.namespace, error });
    }
    stream.writing = [];
    this.#tell(stream, segments, last);
    for (const invocation of batch) {
      if (stream.waiters.size === 0) break;
      stream.waiters.get(invocation)?.resolve();
      stream.waiters.delete(invocation);
    }
    await this.#retire(stream, false);
  }

  #tell(stream: Stream, segments: readonly Segment[], last: number): void {
    for (const [offset, segment] of segments.entries()) {
      const sequence = last - segments.length + 1 + offset;
      for (const listener of this.#segmentListeners) {
        try {
          listener(stream.namespace, sequence, segment.invocations);
        } catch (error) {
          // The records are written: whoever waits for them must hear so.
          this.#log.error("a listener to invocation records failed", { namespace: stream.namespace, sequence, error });
        }
      }
    }
  }

  /** Who asked for durability is told and decides; the other records wait for the next try. */
  #putBack(stream: Stream, batch: readonly Invocation[], error: VirgaError): void {
    const kept: Invocation[] = [];
    for (const invocation of batch) {
      const waiter = stream.waiters.get(invocation);
      if (waiter === undefined) {
        kept.push(invocation);
        continue;
      }
      stream.waiters.delete(invocation);
      waiter.reject(error);
    }
    stream.writing = [];
    stream.waiting = [...kept, ...stream.waiting];
    const over = stream.waiting.length - waitingRecords;
    if (this.#timer === undefined) this.#arm(retryAfterMs);
    if (over <= 0) return;
    for (const invocation of stream.waiting.splice(0, over)) {
      stream.waiters.get(invocation)?.reject(error);
      stream.waiters.delete(invocation);
    }
    this.#log.error(`dropped the ${over} oldest invocation records that could not be written`, {
      namespace: stream.namespace,
    });
  }

  /** The records are safe by now: trouble here is logged, and the next write or sweep tries again. */
  async #retire(stream: Stream, byAge: boolean): Promise<void> {
    try {
      const index = await this.#index(stream);
      if (stream.gone) return;
      const { maxPerNamespace, maxAgeMs } = this.#retention;
      let first = index.first;
      let left = index.records;
      if (left > maxPerNamespace * 1.05) {
        while (first < index.next && left - index.count(first) >= maxPerNamespace) left -= index.count(first++);
      }
      if (byAge) {
        const oldest = this.#clock.now() - maxAgeMs;
        while (first < index.next && index.max(first) < oldest) first++;
      }
      first = Math.min(first, this.#foldedThrough(stream.namespace) + 1);
      if (first > index.first) {
        await this.#journal.trim(stream.name, { before: first });
        index.trim(first);
      }
      await index.save(this.#clock.now());
    } catch (error) {
      this.#log.warn("could not tidy up invocation records", { namespace: stream.namespace, error });
    }
  }
}

interface Follower {
  readonly namespace: string;
  readonly name?: string;
  readonly invocation?: string;
  readonly listener: (line: FollowedLine) => void;
}

const everyBit = -1;

function findNewest(records: readonly Invocation[], id: string): Invocation | undefined {
  return records.findLast((record) => record.id === id);
}
