import { VirgaError } from "../core/errors.ts";
import type { FunctionId, Invocation, UsageDay } from "../core/model.ts";
import { isName, quote } from "../core/names.ts";
import { addInvocation, addSums, dayOf, isDay, noUsage, usageDay, type UsageSums } from "../core/usage-days.ts";
import { createTurns } from "../core/turns.ts";
import type { Clock, Timer } from "../ports/clock.ts";
import type { Journal } from "../ports/journal.ts";
import type { Log } from "../ports/log.ts";
import type { RecordChange, Records } from "../ports/records.ts";
import type { UsageLedger } from "./engine.ts";
import { type InvocationLog, recordStream, recordStreams } from "./history.ts";
import { readSegment } from "./segment.ts";

export interface UsageOptions {
  readonly records: Records;
  readonly journal: Journal;
  readonly history: Pick<InvocationLog, "onSegment" | "holdBack" | "flush">;
  readonly clock: Clock;
  readonly log: Log;
  /** Days that sums are kept; they outlive the records that they were made of. */
  readonly keepDays?: number;
}

export interface Usage extends UsageLedger {
  /** Removes the sums of a namespace that is being deleted, after its history. */
  forget(namespace: string): Promise<void>;
  /** Writes what is left and stops; close the history first. */
  close(): Promise<void>;
}

/**
 * Sums per function and day, folded from the segments of invocation records:
 *
 *     usage/NAMESPACE/DAY/FUNCTION    UsageSums
 *     usage-folded/NAMESPACE          { sequence } of the last segment that is in the sums
 *
 * Both change in one atomic batch, so after a crash the segments behind `sequence` are folded again and each counts exactly once.
 * Until then no segment is removed: the sums are those of every record that was ever written.
 */
export async function createUsage(options: UsageOptions): Promise<Usage> {
  const ledger = new Ledger(options);
  await ledger.open();
  return ledger;
}

const saveEveryMs = 5000;
const defaultKeepDays = 400;

interface Account {
  /** Last segment that is in the records' sums. */
  saved: number;
  /** Last segment that is in `fresh` or in the records. */
  folded: number;
  /** Sums since the last save, by `DAY/FUNCTION`. */
  fresh: Map<string, UsageSums>;
}

class Ledger implements Usage {
  readonly #records: Records;
  readonly #journal: Journal;
  readonly #history: UsageOptions["history"];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #keepDays: number;
  readonly #accounts = new Map<string, Account>();
  readonly #turn = createTurns();
  #timer: Timer | undefined;
  #prunedOn = "";
  #unlisten: (() => void) | undefined;

  constructor({ records, journal, history, clock, log, keepDays }: UsageOptions) {
    this.#records = records;
    this.#journal = journal;
    this.#history = history;
    this.#clock = clock;
    this.#log = log;
    this.#keepDays = keepDays ?? defaultKeepDays;
  }

  /** Before the first call: what the last run wrote and did not fold is folded here. */
  async open(): Promise<void> {
    this.#history.holdBack((namespace) => this.#accounts.get(namespace)?.saved ?? 0);
    for (const { key, value } of await this.#records.list<{ sequence: number }>(foldedPrefix)) {
      const { sequence } = value;
      this.#accounts.set(key.slice(foldedPrefix.length), { saved: sequence, folded: sequence, fresh: new Map() });
    }
    for (const stream of await this.#journal.streams(recordStreams))
      await this.#replay(stream.slice(recordStreams.length));
    this.#unlisten = this.#history.onSegment((namespace, sequence, invocations) => {
      this.#fold(this.#account(namespace), sequence, invocations);
      this.#timer ??= this.#clock.after(saveEveryMs, () => this.#saveBehind());
    });
  }

  async days(namespace: string, range: { from?: string; to?: string; name?: string }): Promise<UsageDay[]> {
    for (const field of ["from", "to"] as const) {
      const day = range[field];
      if (day === undefined || isDay(day)) continue;
      throw new VirgaError("invalid_field", `${quote(day)} is no day`, { field, fix: "write it as YYYY-MM-DD" });
    }
    if (!isName(namespace)) return [];
    await this.#history.flush();
    return this.#turn(namespace, async () => {
      await this.#save(namespace);
      const prefix = `${sumsPrefix}${namespace}/`;
      const days: UsageDay[] = [];
      let after = prefix + (range.from ?? "");
      for (;;) {
        const page = await this.#records.list<UsageSums>(prefix, { after, limit: 1000 });
        for (const { key, value } of page) {
          const [day, name] = split(key.slice(prefix.length));
          if (range.to !== undefined && day > range.to) return days;
          if (range.name === undefined || range.name === name) days.push(usageDay({ namespace, name }, day, value));
        }
        if (page.length < 1000) return days;
        after = page.at(-1)!.key;
      }
    });
  }

  async forget(namespace: string): Promise<void> {
    await this.#turn(namespace, async () => {
      this.#accounts.delete(namespace);
      await this.#records.delete(foldedPrefix + namespace);
      await this.#deleteSums(namespace, undefined);
    });
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#unlisten?.();
    await this.#saveAll();
  }

  #account(namespace: string): Account {
    let account = this.#accounts.get(namespace);
    if (account === undefined) {
      account = { saved: 0, folded: 0, fresh: new Map() };
      this.#accounts.set(namespace, account);
    }
    return account;
  }

  async #replay(namespace: string): Promise<void> {
    const account = this.#account(namespace);
    const { last } = await this.#journal.bounds(recordStream(namespace));
    if (account.folded > last) {
      this.#log.warn("usage knows of more records than the journal has; it goes on from the journal's end", {
        namespace,
      });
      account.folded = account.saved = last;
    }
    for (;;) {
      const events = await this.#journal.read(recordStream(namespace), account.folded + 1, 16);
      if (events.length === 0) return;
      for (const event of events) this.#fold(account, event.sequence, readSegment(event.data));
    }
  }

  #fold(account: Account, sequence: number, invocations: readonly Invocation[]): void {
    if (sequence <= account.folded) return;
    for (const invocation of invocations) {
      // No function ran: there is nothing to pay for.
      if (invocation.revision === 0 && invocation.usage.billedMs === 0) continue;
      const key = `${dayOf(invocation.timings.acceptedAt)}/${invocation.name}`;
      let sums = account.fresh.get(key);
      if (sums === undefined) account.fresh.set(key, (sums = noUsage()));
      addInvocation(sums, invocation);
    }
    account.folded = sequence;
  }

  #saveBehind(): void {
    this.#timer = undefined;
    this.#saveAll()
      .then(() => this.#prune())
      .catch((error: unknown) => {
        this.#log.error("usage could not be saved; nothing is lost, it is computed again from the records", { error });
        this.#timer ??= this.#clock.after(saveEveryMs, () => this.#saveBehind());
      });
  }

  async #saveAll(): Promise<void> {
    for (const namespace of this.#accounts.keys()) await this.#turn(namespace, () => this.#save(namespace));
  }

  /** Within the namespace's turn. */
  async #save(namespace: string): Promise<void> {
    const account = this.#accounts.get(namespace);
    if (account === undefined || account.folded === account.saved) return;
    const { fresh, folded } = account;
    account.fresh = new Map();
    try {
      const changes: RecordChange[] = [{ put: foldedPrefix + namespace, value: { sequence: folded } }];
      for (const [key, more] of fresh) {
        const entry = await this.#records.get<UsageSums>(`${sumsPrefix}${namespace}/${key}`);
        const sums = noUsage();
        if (entry !== undefined) addSums(sums, entry.value);
        addSums(sums, more);
        changes.push({ put: `${sumsPrefix}${namespace}/${key}`, value: sums });
      }
      await this.#records.batch(changes);
    } catch (error) {
      for (const [key, sums] of account.fresh) {
        const older = fresh.get(key);
        if (older === undefined) fresh.set(key, sums);
        else addSums(older, sums);
      }
      account.fresh = fresh;
      throw error;
    }
    account.saved = folded;
  }

  /** Once a day. */
  async #prune(): Promise<void> {
    const now = this.#clock.now();
    const today = dayOf(now);
    if (today === this.#prunedOn) return;
    const oldest = dayOf(now - this.#keepDays * 86_400_000);
    for (const namespace of this.#accounts.keys())
      await this.#turn(namespace, () => this.#deleteSums(namespace, oldest));
    this.#prunedOn = today;
  }

  /** The sums of days before `oldest`, or all. */
  async #deleteSums(namespace: string, oldest: string | undefined): Promise<void> {
    const prefix = `${sumsPrefix}${namespace}/`;
    for (;;) {
      const page = await this.#records.list(prefix, { limit: 500 });
      const gone = page.filter(({ key }) => oldest === undefined || split(key.slice(prefix.length))[0] < oldest);
      if (gone.length > 0) await this.#records.batch(gone.map(({ key }) => ({ delete: key })));
      if (page.length < 500 || gone.length < page.length) return;
    }
  }
}

const foldedPrefix = "usage-folded/";
const sumsPrefix = "usage/";

function split(key: string): [day: string, name: FunctionId["name"]] {
  const slash = key.indexOf("/");
  return [key.slice(0, slash), key.slice(slash + 1)];
}
