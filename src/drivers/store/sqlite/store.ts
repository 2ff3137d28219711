import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { VirgaError } from "../../../core/errors.ts";
import type { Chance, Clock } from "../../../ports/clock.ts";
import type { Journal } from "../../../ports/journal.ts";
import type { Queue } from "../../../ports/queue.ts";
import type { Records } from "../../../ports/records.ts";
import { GroupCommit } from "./group-commit.ts";
import { createSqliteJournal } from "./journal.ts";
import { createSqliteQueue } from "./queue.ts";
import { createSqliteRecords } from "./records.ts";
import { schema, schemaVersion } from "./schema.ts";
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
  const database = open(file);
  const holder = `${file}.holder`;
  writeFileSync(holder, `process ${process.pid}`);
  const commit = new GroupCommit(database);
  const records = createSqliteRecords(database, commit, clock);
  return {
    records,
    journal: createSqliteJournal(database, commit),
    queue: createSqliteQueue(database, commit, clock, chance),
    close() {
      commit.flush();
      records.close();
      database.close();
      rmSync(holder, { force: true });
    },
  };
}

function open(file: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    // Exclusive: the file is locked as long as the process lives, and the index of the log stays in memory.
    // 64 MiB of log before a checkpoint; FULL: a commit is on the disk before it is answered.
    database.exec(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 16384; PRAGMA temp_store = MEMORY;",
    );
    const { user_version: version } = database.prepare("PRAGMA user_version").get() as { user_version: number };
    if (version > schemaVersion)
      throw new VirgaError(
        "unavailable",
        `${file} was written by a newer Virga (format ${version}; this one knows ${schemaVersion})`,
        {
          fix: "Install that version, or give this one a data folder of its own.",
        },
      );
    if (version === 0) database.exec(`BEGIN; ${schema} COMMIT;`);
    // Takes the lock now rather than at the first write.
    else database.exec("BEGIN IMMEDIATE; COMMIT;");
    return database;
  } catch (error) {
    database?.close();
    const known = storageError(error, file);
    if (known?.code !== "unavailable") throw known ?? error;
    throw new VirgaError(known.code, `${known.message}${holderOf(file)}`, known.detail);
  }
}

function holderOf(file: string): string {
  try {
    return ` (${readFileSync(`${file}.holder`, "utf8")})`;
  } catch {
    return "";
  }
}
