import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemChance } from "../../../src/drivers/host/clock.ts";
import { openSqliteStore, type SqliteStore } from "../../../src/drivers/store/sqlite/store.ts";
import { describeJournal } from "../../contracts/journal.ts";
import type { Opened } from "../../contracts/opened.ts";
import { describeQueue } from "../../contracts/queue.ts";
import { describeRecords } from "../../contracts/records.ts";
import { ManualClock } from "../../engine/manual-clock.ts";

function open<Name extends "records" | "journal" | "queue">(port: Name): Opened<SqliteStore[Name]> {
  const folder = mkdtempSync(join(tmpdir(), "virga-store-"));
  const clock = new ManualClock();
  const start = (): SqliteStore => openSqliteStore({ file: join(folder, "store.sqlite"), clock, chance: systemChance });
  let store = start();
  return {
    port: store[port],
    clock,
    async reopen() {
      store.close();
      store = start();
      return store[port];
    },
    close() {
      store.close();
      rmSync(folder, { recursive: true });
    },
  };
}

describeRecords("sqlite", () => open("records"));
describeJournal("sqlite", () => open("journal"));
describeQueue("sqlite", () => open("queue"));
