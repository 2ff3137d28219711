import { VirgaError } from "../../core/errors.ts";

export interface HostUserRange {
  readonly first: number;
  readonly count: number;
}

/**
 * Behind Debian's own (0–65533) and before the ranges that `useradd` hands out in /etc/subuid by default (from 100000,
 * 65536 each) would collide for one account; nothing of the host lies here.
 */
export const defaultHostUsers: HostUserRange = { first: 200_000, count: 50_000 };

/**
 * Unprivileged user ids of the host, one for each program, so that no two programs share a file owner, a process limit
 * or a keyring. The first half is for programs that own nothing; the second for those with writable folders, whose
 * files keep their owner when the program has ended.
 */
export class HostUsers {
  readonly #first: number;
  readonly #transient: number;
  readonly #owners: number;
  readonly #inUse = new Map<number, number>();
  #next: number;

  constructor(range: HostUserRange) {
    if (range.first < 1000 || range.count < 4) {
      throw new VirgaError("invalid_field", `The range of user ids ${range.first}+${range.count} is not usable`, {
        field: "users",
        fix: "Name at least 4 ids from 1000 up that no account of the host has",
      });
    }
    this.#first = range.first;
    this.#transient = Math.floor(range.count / 2);
    this.#owners = range.count - this.#transient;
    // Two servers on one host begin at different places, so that they share ids as late as possible.
    this.#next = (process.pid * 131) % this.#transient;
  }

  /** Of the second half. */
  isOwner(uid: number): boolean {
    return uid >= this.#first + this.#transient && uid < this.#first + this.#transient + this.#owners;
  }

  /** An id that no program has. Rejects with `unavailable` where all are in use. */
  take(): number {
    return this.#takeFrom(this.#first, this.#transient);
  }

  /** As `take`, for a program that will own files. */
  takeOwner(): number {
    return this.#takeFrom(this.#first + this.#transient, this.#owners);
  }

  /** Joins an owner that was taken before: two builds with one cache. */
  share(uid: number): void {
    this.#inUse.set(uid, (this.#inUse.get(uid) ?? 0) + 1);
  }

  /** Only once no process of it is left. */
  giveBack(uid: number): void {
    const users = (this.#inUse.get(uid) ?? 1) - 1;
    if (users === 0) this.#inUse.delete(uid);
    else this.#inUse.set(uid, users);
  }

  #takeFrom(first: number, count: number): number {
    for (let tried = 0; tried < count; tried += 1) {
      const uid = first + (this.#next % count);
      this.#next = (this.#next + 1) % 2 ** 30;
      if (this.#inUse.has(uid)) continue;
      this.#inUse.set(uid, 1);
      return uid;
    }
    throw new VirgaError("unavailable", `All ${count} user ids for programs are in use`, {
      fix: "Give the sandbox a wider range of user ids",
    });
  }
}
