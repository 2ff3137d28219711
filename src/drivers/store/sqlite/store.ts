import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { VirgaError } from "../../../core/errors.ts";
import type { Chance, Clock } from "../../../ports/clock.ts";
import type { Journal } from "../../../ports/journal.ts";
import type { Queue } from "../../../ports/queue.ts";
import type { Records } from "../../../ports/records.ts";
import { closeDatabase, openDatabase } from "./database.ts";
import { GroupCommit } from "./group-commit.ts";
import { createSqliteJournal } from "./journal.ts";
import { createSqliteQueue } from "./queue.ts";
import { createSqliteRecords } from "./records.ts";
import { storageError } from "./storage-error.ts";

export interface SqliteStore {
  readonly records: Records;
  readonly journal: Journal;
  readonly queue: Queue;
  /** Commits what is pending and closes the file. */
  close(): void;
}

export interface SqliteOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Records, journal and queue in one SQLite file, which this process alone may use while it is open. */
export function openSqliteStore({ file, clock, chance }: SqliteOptions): SqliteStore {
  mkdirSync(dirname(file), { recursive: true });
  const database = openDatabase(file);
  try {
    const commit = new GroupCommit(database, file);
    const records = createSqliteRecords(database, commit, clock);
    return {
      records,
      journal: createSqliteJournal(database, commit),
      queue: createSqliteQueue(database, commit, clock, chance),
      close() {
        commit.flush();
        records.close();
        closeDatabase(database, file);
      },
    };
  } catch (error) {
    // Damage shows here, too: preparing the statements reads the file's table of contents.
    closeDatabase(database, file);
    const known = storageError(error, file);
    if (known?.code !== "internal") throw known ?? error;
    throw new VirgaError("storage_corrupt", `${file} is no store of this program: ${(error as Error).message}`, {
      cause: error,
      fix: "Restore it from a copy, or move it away to start with an empty one.",
    });
  }
}
