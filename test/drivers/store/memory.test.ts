import { createMemoryStore, type MemoryStore } from "../../../src/drivers/store/memory/store.ts";
import { describeBlobs } from "../../contracts/blobs.ts";
import { describeJournal } from "../../contracts/journal.ts";
import type { Opened } from "../../contracts/opened.ts";
import { describeQueue } from "../../contracts/queue.ts";
import { describeRecords } from "../../contracts/records.ts";
import { ManualClock, seededChance } from "../../engine/manual-clock.ts";

function open<Name extends keyof MemoryStore>(port: Name): Opened<MemoryStore[Name]> {
  const clock = new ManualClock();
  return { port: createMemoryStore({ clock, chance: seededChance() })[port], clock, close() {} };
}

describeRecords("memory", () => open("records"));
describeJournal("memory", () => open("journal"));
describeQueue("memory", () => open("queue"));
describeBlobs("memory", () => open("blobs"));
