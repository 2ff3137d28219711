import type { Blobs } from "../../../ports/blobs.ts";
import type { Chance, Clock } from "../../../ports/clock.ts";
import type { Journal } from "../../../ports/journal.ts";
import type { Queue } from "../../../ports/queue.ts";
import type { Records } from "../../../ports/records.ts";
import { createMemoryBlobs } from "./blobs.ts";
import { createMemoryJournal } from "./journal.ts";
import { createMemoryQueue } from "./queue.ts";
import { createMemoryRecords } from "./records.ts";

export interface MemoryStore {
  readonly records: Records;
  readonly journal: Journal;
  readonly queue: Queue;
  readonly blobs: Blobs;
}

/** The ports' executable specification: simple, and gone with the process. */
export function createMemoryStore({ clock, chance }: { clock: Clock; chance: Chance }): MemoryStore {
  return {
    records: createMemoryRecords(clock),
    journal: createMemoryJournal(),
    queue: createMemoryQueue(clock, chance),
    blobs: createMemoryBlobs(clock),
  };
}
