import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { VirgaError } from "../../../core/errors.ts";
import { schema, schemaVersion } from "./schema.ts";
import { isBusy, storageError } from "./storage-error.ts";

/**
 * Opens the store's file for this process alone: it stays locked as long as the process lives.
 * Rejects with `unavailable`, naming the process that has it, where another one was first, with `storage_corrupt` and
 * `storage_full` where the file or its disk is no good.
 */
export function openDatabase(file: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    // Exclusive: the file is locked as long as the process lives, and the index of the log stays in memory.
    // 64 MiB of log before a checkpoint; FULL: a commit is on the disk before it is answered.
    // Pages of 16 KiB: a segment of records lies in few of them, which saves a third of the time to write it; messages cost the same.
    database.exec(
      "PRAGMA page_size = 16384; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096; PRAGMA temp_store = MEMORY;",
    );
    const { user_version: version } = database.prepare("PRAGMA user_version").get() as { user_version: number };
    if (version !== 0 && version !== schemaVersion)
      throw new VirgaError(
        "unavailable",
        `${file} was written by ${version > schemaVersion ? "a newer" : "an older"} Virga (format ${version}; this one knows ${schemaVersion})`,
        { fix: "Install that version, or give this one a data folder of its own." },
      );
    if (version === 0) database.exec(`BEGIN; ${schema} COMMIT;`);
    // Takes the lock now rather than at the first write.
    else database.exec("BEGIN IMMEDIATE; COMMIT;");
    writeHolder(file);
    return database;
  } catch (error) {
    database?.close();
    const known = storageError(error, file);
    if (known === undefined || !isBusy(error)) throw known ?? error;
    throw new VirgaError(known.code, `${known.message}${holderOf(file)}`, known.detail);
  }
}

export function closeDatabase(database: DatabaseSync, file: string): void {
  // Before the lock is gone: the next holder's name must stay.
  rmSync(`${file}.holder`, { force: true });
  database.close();
}

/** Only the lock keeps others out; the name is for the message they get. So a disk too full for it does not keep the server from starting. */
function writeHolder(file: string): void {
  try {
    writeFileSync(`${file}.holder`, `process ${process.pid}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  }
}

function holderOf(file: string): string {
  try {
    const holder = readFileSync(`${file}.holder`, "utf8");
    return holder === "" ? "" : ` (${holder})`;
  } catch (error) {
    // It has the lock and has not written its name yet.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
