import type { DatabaseSync, StatementSync } from "node:sqlite";
import { asVirgaError } from "../../../core/errors.ts";
import { storageError } from "./storage-error.ts";

interface Pending {
  /** Changes the database. Throws before its first write where a condition does not hold. */
  readonly change: () => unknown;
  readonly settle: (value: never) => void;
  readonly refuse: (error: unknown) => void;
  /** What the change gave or threw, until it is committed. */
  value: unknown;
  error: unknown;
}

/**
 * All changes asked for in one turn of the event loop, in one transaction: one fsync for any number of writers.
 * A promise settles after its COMMIT, and reads see nothing uncommitted, because a transaction begins and ends in one call.
 */
export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #end: StatementSync;
  /** Named in errors. */
  readonly #file: string;
  #afterCommit: (() => void)[] = [];
  #pending: Pending[] = [];

  constructor(database: DatabaseSync, file: string) {
    this.#database = database;
    this.#begin = database.prepare("BEGIN IMMEDIATE");
    this.#end = database.prepare("COMMIT");
    this.#file = file;
  }

  /** A query, with SQLite's errors as ours. */
  read<T>(query: () => T): T {
    try {
      return query();
    } catch (error) {
      throw storageError(error, this.#file) ?? error;
    }
  }

  run<T>(change: () => T): Promise<T> {
    return new Promise<T>((settle, refuse) => {
      if (this.#pending.length === 0) setImmediate(() => this.flush());
      this.#pending.push({ change, settle, refuse, value: undefined, error: undefined });
    });
  }

  /** For a change to call: done once it is committed, forgotten when it is rolled back. */
  afterCommit(action: () => void): void {
    this.#afterCommit.push(action);
  }

  flush(): void {
    const group = this.#pending;
    this.#pending = [];
    if (group.length === 0) return;
    const failure = this.#commit(group);
    if (failure === undefined) return;
    if (group.length === 1) group[0]?.refuse(failure);
    // One of them is at fault, or the disk is full: alone, those that can still succeed do.
    else
      for (const one of group) {
        const own = this.#commit([one]);
        if (own !== undefined) one.refuse(own);
      }
  }

  /** Undefined where it is committed and every promise has its answer. */
  #commit(group: readonly Pending[]): Error | undefined {
    try {
      this.#begin.run();
      for (const one of group) {
        const notes = this.#afterCommit.length;
        try {
          one.value = one.change();
          one.error = undefined;
        } catch (error) {
          // SQLite's own errors may leave half a change behind; a condition that does not hold leaves none.
          if (storageError(error, this.#file) !== undefined) throw error;
          this.#afterCommit.length = notes;
          one.error = asVirgaError(error);
        }
      }
      this.#end.run();
    } catch (error) {
      this.#afterCommit.length = 0;
      return this.#rollBack() ?? storageError(error, this.#file) ?? asVirgaError(error);
    }
    const actions = this.#afterCommit;
    this.#afterCommit = [];
    for (const action of actions) action();
    for (const { settle, refuse, value, error } of group) {
      if (error === undefined) settle(value as never);
      else refuse(error);
    }
    return undefined;
  }

  /** Undefined where no transaction is open any more. SQLite itself rolls back on some errors, a full disk among them. */
  #rollBack(): Error | undefined {
    try {
      if (this.#database.isOpen && this.#database.isTransaction) this.#database.exec("ROLLBACK");
      return undefined;
    } catch (error) {
      return storageError(error, this.#file) ?? asVirgaError(error);
    }
  }
}

/** SQLite takes whole numbers only. */
export function rowLimit(limit: number): number {
  return Math.min(limit, Number.MAX_SAFE_INTEGER);
}
