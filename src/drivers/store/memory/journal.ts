import { VirgaError } from "../../../core/errors.ts";
import type { Journal, JournalEvent } from "../../../ports/journal.ts";
import { checkName, checkSize, compareBytes, eventBytes } from "../checks.ts";

interface Stream {
  events: JournalEvent[];
  last: number;
}

export function createMemoryJournal(): Journal {
  const streams = new Map<string, Stream>();

  return {
    async append(name, events, { expect } = {}) {
      checkName("stream", name);
      for (const { data } of events) checkSize("event", data, eventBytes);
      const stream = streams.get(name) ?? { events: [], last: 0 };
      if (expect !== undefined && expect !== stream.last)
        throw new VirgaError("conflict", `${name} is at sequence ${stream.last}, not ${expect}`, {
          fix: "Read on from there and try again.",
        });
      if (events.length === 0) return stream.last;
      streams.set(name, stream);
      for (const { at, data } of events)
        stream.events.push({ sequence: ++stream.last, at, data: new Uint8Array(data) });
      return stream.last;
    },
    async read(name, from, limit) {
      return (streams.get(checkName("stream", name))?.events ?? [])
        .filter(({ sequence }) => sequence >= from)
        .slice(0, limit)
        .map(copyOf);
    },
    async query(name, { fromTime = -Infinity, toTime = Infinity, newestFirst = false, limit }) {
      const found = (streams.get(checkName("stream", name))?.events ?? [])
        .filter(({ at }) => at >= fromTime && at < toTime)
        .sort((a, b) => a.at - b.at || a.sequence - b.sequence);
      return (newestFirst ? found.toReversed() : found).slice(0, limit).map(copyOf);
    },
    async bounds(name) {
      const { events, last } = streams.get(checkName("stream", name)) ?? { events: [], last: 0 };
      return { first: events[0]?.sequence ?? last + 1, last };
    },
    async trim(name, { before = 0, olderThan = -Infinity }) {
      const stream = streams.get(checkName("stream", name));
      if (stream === undefined) return 0;
      // From the old end only: an old event behind a newer one stays.
      const kept = stream.events.findIndex(({ sequence, at }) => sequence >= before && at >= olderThan);
      const removed = kept === -1 ? stream.events.length : kept;
      stream.events = stream.events.slice(removed);
      return removed;
    },
    async streams(prefix, { after = "", limit = Infinity } = {}) {
      return [...streams.keys()]
        .filter((name) => name.startsWith(prefix) && compareBytes(name, after) > 0)
        .sort(compareBytes)
        .slice(0, limit);
    },
    async deleteStream(name) {
      streams.delete(checkName("stream", name));
    },
  };
}

/** The reader's own: what it does to the bytes changes nothing here. */
function copyOf({ sequence, at, data }: JournalEvent): JournalEvent {
  return { sequence, at, data: new Uint8Array(data) };
}
