import { VirgaError } from "../core/errors.ts";
import type { FunctionId, FunctionState, Revision, TrafficTarget } from "../core/model.ts";
import { checkName, checkResourceName, isName, isResourceName } from "../core/names.ts";
import { allTo, checkTraffic, mainRevision, shareAt, sharesOf, tagged } from "../core/traffic.ts";
import { createTurns, type Turns } from "../core/turns.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { RecordChange, Records } from "../ports/records.ts";
import type { Functions } from "./engine.ts";
import { everyRecord } from "./every-record.ts";

export interface FunctionsOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Asked where a called function is not there, once at a time for each; true: it is there now. So dialects make what stands for
   * their own documents when it is needed.
   */
  readonly provide?: (id: FunctionId) => Promise<boolean>;
  /** Functions whose revisions stay parsed in memory; the others wait in the records. */
  readonly activeFunctions?: number;
  /** Revisions kept of one function beside those that traffic or a tag names. */
  readonly keepRevisions?: number;
}

/** The registry, with what the deployer needs beyond the engine's contract. */
export interface Registry extends Functions {
  /** The number that the next revision gets. A deleted function's numbers are not given again. */
  nextNumber(id: FunctionId): Promise<number>;
  /** As `Functions.addRevision`; with `number` it rejects with `conflict` where that is not the next one. */
  addRevision(
    id: FunctionId,
    revision: Omit<Revision, "number" | "namespace" | "name">,
    options?: { tag?: string; traffic?: "latest" | "keep"; number?: number },
  ): Promise<Revision>;
  /** Traffic and tag for a revision that exists, as if it had been added now. */
  point(
    id: FunctionId,
    revision: number,
    options: { tag?: string; traffic?: "latest" | "keep" },
  ): Promise<FunctionState>;
  /** Every revision there is, in pages, for the deployer's sweep. */
  everyRevision(): AsyncIterable<Revision>;
}

/**
 * The registry over records:
 *
 *     functions/NAMESPACE/NAME                  FunctionState
 *     revisions/NAMESPACE/NAME/NNNNNNNNNN       Revision
 *     retired/NAMESPACE/NAME                    { latestRevision } of a deleted function
 *
 * A function that is not called costs no memory: `resolve` loads it at its first call and forgets it when others need the room.
 */
export function createFunctions(options: FunctionsOptions): Registry {
  return new FunctionRegistry(options);
}

/** What one call needs, worked out beforehand. */
interface Active {
  readonly state: FunctionState;
  /** The revision of all calls, where it is one; most functions. */
  readonly only: Revision | undefined;
  readonly shared: readonly Revision[];
  readonly ends: readonly number[];
  readonly tags: ReadonlyMap<string, Revision>;
  readonly revisions: Map<number, Revision>;
  /** Called since the last sweep of the memory. */
  used: boolean;
}

/** 10,000 functions of some 3 KB each. */
const defaultActive = 10_000;
const defaultKept = 100;
/** A loser of a race with another process looks again this many times. */
const attempts = 8;

class FunctionRegistry implements Registry {
  readonly #records: Records;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #provide: FunctionsOptions["provide"];
  readonly #capacity: number;
  readonly #keep: number;
  readonly #turn: Turns = createTurns();
  readonly #active = new Map<string, Map<string, Active>>();
  readonly #loading = new Map<string, Promise<Active>>();
  readonly #listeners = new Set<(id: FunctionId, state: FunctionState | undefined) => void>();
  #activeCount = 0;

  constructor({ records, clock, log, provide, activeFunctions, keepRevisions }: FunctionsOptions) {
    this.#records = records;
    this.#clock = clock;
    this.#log = log;
    this.#provide = provide;
    this.#capacity = activeFunctions ?? defaultActive;
    this.#keep = keepRevisions ?? defaultKept;
  }

  resolve(id: FunctionId, selector: { tag?: string; revision?: number }, pick: number): Revision | Promise<Revision> {
    const active = this.#active.get(id.namespace)?.get(id.name);
    if (active === undefined) return this.#load(id).then((loaded) => this.#choose(id, loaded, selector, pick));
    active.used = true;
    return this.#choose(id, active, selector, pick);
  }

  async get(id: FunctionId): Promise<FunctionState | undefined> {
    // What cannot be a name is no key either: it may hold a slash, or be longer than a key can.
    if (!isName(id.namespace) || !isResourceName(id.name)) return undefined;
    return (await this.#records.get<FunctionState>(functionKey(id)))?.value;
  }

  async list(namespace: string, options: { after?: string; limit?: number } = {}): Promise<FunctionState[]> {
    if (!isName(namespace)) return [];
    const prefix = `functions/${namespace}/`;
    const entries = await this.#records.list<FunctionState>(prefix, {
      ...(options.after === undefined ? {} : { after: prefix + options.after }),
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    });
    return entries.map((entry) => entry.value);
  }

  async revision(id: FunctionId, number: number): Promise<Revision | undefined> {
    if (!Number.isSafeInteger(number) || number < 1 || !isName(id.namespace) || !isResourceName(id.name))
      return undefined;
    const known = this.#active.get(id.namespace)?.get(id.name)?.revisions.get(number);
    return known ?? (await this.#records.get<Revision>(revisionKey(id, number)))?.value;
  }

  async revisions(id: FunctionId): Promise<Revision[]> {
    if (!isName(id.namespace) || !isResourceName(id.name)) return [];
    const entries = await this.#records.list<Revision>(revisionPrefix(id));
    return entries.map((entry) => entry.value).toReversed();
  }

  async *everyRevision(): AsyncIterable<Revision> {
    for await (const { value } of everyRecord<Revision>(this.#records, "revisions/")) yield value;
  }

  async nextNumber(id: FunctionId): Promise<number> {
    const state = await this.get(id);
    return (state?.latestRevision ?? (await this.#retired(id)) ?? 0) + 1;
  }

  async addRevision(
    id: FunctionId,
    content: Omit<Revision, "number" | "namespace" | "name">,
    options: { tag?: string; traffic?: "latest" | "keep"; number?: number } = {},
  ): Promise<Revision> {
    checkName(id.namespace, "namespace", "namespace");
    checkResourceName(id.name, "name", "function");
    if (options.tag !== undefined) checkName(options.tag, "tag", "tag");
    return this.#change(id, async (before, expect) => {
      const number = (before?.latestRevision ?? (await this.#retired(id)) ?? 0) + 1;
      if (options.number !== undefined && options.number !== number) {
        throw new VirgaError(
          "conflict",
          `revision ${options.number} of ${id.name} was taken by another deploy meanwhile`,
          {
            fix: "deploy again",
          },
        );
      }
      const revision: Revision = { ...content, namespace: id.namespace, name: id.name, number };
      const now = this.#clock.now();
      const base: FunctionState = before ?? {
        namespace: id.namespace,
        name: id.name,
        latestRevision: 0,
        followLatest: true,
        traffic: [],
        createdAt: now,
        updatedAt: now,
      };
      const state: FunctionState = {
        ...pointed(base, number, options),
        latestRevision: number,
        updatedAt: now,
      };
      const changes: RecordChange[] = [
        { put: functionKey(id), value: state, expect },
        { put: revisionKey(id, number), value: revision, expect: 0 },
      ];
      for (const key of await this.#outlived(id, state)) changes.push({ delete: key });
      return { changes, state, result: revision };
    });
  }

  async point(
    id: FunctionId,
    revision: number,
    options: { tag?: string; traffic?: "latest" | "keep" },
  ): Promise<FunctionState> {
    if (options.tag !== undefined) checkName(options.tag, "tag", "tag");
    return this.#changeState(id, (before) => pointed(before, revision, options));
  }

  async setTraffic(id: FunctionId, targets: readonly TrafficTarget[]): Promise<FunctionState> {
    checkTraffic(targets);
    return this.#changeState(id, async (before) => {
      for (const [index, { revision }] of targets.entries()) {
        if ((await this.revision(id, revision)) !== undefined) continue;
        throw new VirgaError("invalid_field", `${id.name} has no revision ${revision}`, {
          field: `targets.${index}.revision`,
          fix: `its revisions are listed by: virga revisions ${id.name}`,
        });
      }
      const traffic = targets.map(({ revision, weight, tag }) =>
        tag === undefined ? { revision, weight } : { revision, weight, tag },
      );
      return { ...before, followLatest: false, traffic };
    });
  }

  rollback(id: FunctionId, wanted?: number): Promise<FunctionState> {
    return this.#changeState(id, async (before) => {
      const number = wanted ?? (await this.#previous(id, before));
      if ((await this.revision(id, number)) === undefined) {
        throw new VirgaError("invalid_field", `${id.name} has no revision ${number}`, {
          field: "revision",
          fix: `its revisions are listed by: virga revisions ${id.name}`,
        });
      }
      return { ...before, followLatest: false, traffic: allTo(number, before.traffic) };
    });
  }

  async delete(id: FunctionId): Promise<boolean> {
    if (!isName(id.namespace) || !isResourceName(id.name)) return false;
    return this.#turn(turnKey(id), async () => {
      const entry = await this.#records.get<FunctionState>(functionKey(id));
      if (entry === undefined) return false;
      const revisions = await this.#records.list(revisionPrefix(id));
      await this.#records.batch([
        { delete: functionKey(id), expect: entry.revision },
        ...revisions.map(({ key }) => ({ delete: key })),
        { put: retiredKey(id), value: { latestRevision: entry.value.latestRevision } },
      ]);
      this.#changed(id, undefined);
      return true;
    });
  }

  onChange(listener: (id: FunctionId, state: FunctionState | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #choose(
    id: FunctionId,
    active: Active,
    selector: { tag?: string; revision?: number },
    pick: number,
  ): Revision | Promise<Revision> {
    if (selector.revision !== undefined) {
      return active.revisions.get(selector.revision) ?? this.#loadRevision(id, active, selector.revision);
    }
    if (selector.tag !== undefined) {
      const revision = active.tags.get(selector.tag);
      if (revision !== undefined) return revision;
      throw new VirgaError("not_found", `${id.name} has no tag ${JSON.stringify(selector.tag)}`, {
        fix: `its tags are shown by: virga describe ${id.name}`,
      });
    }
    return active.only ?? active.shared[shareAt(active.ends, pick)]!;
  }

  async #loadRevision(id: FunctionId, active: Active, number: number): Promise<Revision> {
    const revision = await this.revision(id, number);
    if (revision === undefined) {
      throw new VirgaError("not_found", `${id.name} has no revision ${number}`, {
        fix: `its revisions are listed by: virga revisions ${id.name}`,
      });
    }
    // A handful of others beside those with traffic: somebody who walks through all of them must not fill the memory.
    if (active.revisions.size < active.state.traffic.length + 8) active.revisions.set(number, revision);
    return revision;
  }

  /** Loads a function once, however many calls wait for it. A change that comes in between makes the result stale; it is then not kept. */
  #load(id: FunctionId): Promise<Active> {
    const key = turnKey(id);
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = this.#readOrProvide(id).then(
        (active) => {
          if (this.#loading.get(key) === loading) {
            this.#loading.delete(key);
            this.#keepActive(id, active);
          }
          return active;
        },
        (error: unknown) => {
          if (this.#loading.get(key) === loading) this.#loading.delete(key);
          throw error;
        },
      );
      this.#loading.set(key, loading);
    }
    return loading;
  }

  async #readOrProvide(id: FunctionId): Promise<Active> {
    try {
      return await this.#read(id);
    } catch (thrown) {
      if (!(thrown instanceof VirgaError) || thrown.code !== "not_found") throw thrown;
      if (this.#provide === undefined || !(await this.#provide(id))) throw thrown;
      return this.#read(id);
    }
  }

  async #read(id: FunctionId): Promise<Active> {
    const state = await this.get(id);
    if (state === undefined) throw notFound(id);
    const revisions = new Map<number, Revision>();
    const tags = new Map<string, Revision>();
    for (const target of state.traffic) {
      const revision =
        revisions.get(target.revision) ?? (await this.#records.get<Revision>(revisionKey(id, target.revision)))?.value;
      if (revision === undefined) {
        // Deleted between the two reads, unless the store has lost it.
        if ((await this.get(id)) === undefined) throw notFound(id);
        throw new VirgaError(
          "storage_corrupt",
          `revision ${target.revision} of ${id.name} has traffic, but no record`,
          {
            fix: `deploy ${id.name} again, or move its traffic: virga traffic ${id.name}`,
          },
        );
      }
      revisions.set(target.revision, revision);
      if (target.tag !== undefined) tags.set(target.tag, revision);
    }
    const shares = sharesOf(state.traffic);
    const shared = shares.revisions.map((number) => revisions.get(number)!);
    const only = shared.every((revision) => revision === shared[0]) ? shared[0] : undefined;
    return { state, only, shared, ends: shares.ends, tags, revisions, used: true };
  }

  #keepActive(id: FunctionId, active: Active): void {
    if (this.#activeCount >= this.#capacity) this.#makeRoom();
    let names = this.#active.get(id.namespace);
    if (names === undefined) this.#active.set(id.namespace, (names = new Map()));
    if (!names.has(id.name)) this.#activeCount++;
    names.set(id.name, active);
  }

  /** Second chance: those that were not called since the last time go, until a tenth is free. */
  #makeRoom(): void {
    const target = Math.floor(this.#capacity * 0.9);
    for (const spare of [false, true]) {
      for (const [namespace, names] of this.#active) {
        for (const [name, active] of names) {
          if (this.#activeCount <= target) return;
          if (active.used && !spare) active.used = false;
          else this.#drop(namespace, name);
        }
      }
    }
  }

  #drop(namespace: string, name: string): void {
    const names = this.#active.get(namespace);
    if (names === undefined || !names.delete(name)) return;
    this.#activeCount--;
    if (names.size === 0) this.#active.delete(namespace);
  }

  async #changeState(
    id: FunctionId,
    change: (before: FunctionState) => FunctionState | Promise<FunctionState>,
  ): Promise<FunctionState> {
    return this.#change(id, async (before, expect) => {
      if (before === undefined) throw notFound(id);
      const state = { ...(await change(before)), updatedAt: this.#clock.now() };
      return { changes: [{ put: functionKey(id), value: state, expect }], state, result: state };
    });
  }

  /** One change at a time in this process; compare-and-swap against others. */
  #change<T>(
    id: FunctionId,
    prepare: (
      before: FunctionState | undefined,
      expect: number,
    ) => Promise<{ changes: RecordChange[]; state: FunctionState; result: T }>,
  ): Promise<T> {
    if (!isName(id.namespace) || !isResourceName(id.name)) return Promise.reject(notFound(id));
    return this.#turn(turnKey(id), async () => {
      for (let attempt = 1; ; attempt++) {
        const entry = await this.#records.get<FunctionState>(functionKey(id));
        const prepared = await prepare(entry?.value, entry?.revision ?? 0);
        try {
          await this.#records.batch(prepared.changes);
        } catch (error) {
          if (!(error instanceof VirgaError) || error.code !== "conflict" || attempt === attempts) throw error;
          continue;
        }
        this.#changed(id, prepared.state);
        return prepared.result;
      }
    });
  }

  #changed(id: FunctionId, state: FunctionState | undefined): void {
    this.#loading.delete(turnKey(id));
    this.#drop(id.namespace, id.name);
    for (const listener of this.#listeners) {
      try {
        listener(id, state);
      } catch (error) {
        // The change is made; one listener's trouble must not look like its failure, nor keep it from the others.
        this.#log.error("a listener to changes of functions failed", { ...id, error });
      }
    }
  }

  async #retired(id: FunctionId): Promise<number | undefined> {
    return (await this.#records.get<{ latestRevision: number }>(retiredKey(id)))?.value.latestRevision;
  }

  /** The revision that stood before the one with most traffic. */
  async #previous(id: FunctionId, state: FunctionState): Promise<number> {
    const current = mainRevision(state.traffic) ?? state.latestRevision;
    const before = (await this.revisions(id)).find((revision) => revision.number < current);
    if (before !== undefined) return before.number;
    throw new VirgaError("conflict", `${id.name} has no revision before ${current}`, {
      fix: `name one of its revisions: virga revisions ${id.name}`,
    });
  }

  /** Keys of revisions beyond the newest `keep` that no target names. */
  async #outlived(id: FunctionId, state: FunctionState): Promise<string[]> {
    const newestGone = state.latestRevision - this.#keep;
    if (newestGone < 1) return [];
    const named = new Set(state.traffic.map((target) => target.revision));
    // Those that traffic kept longer stand in front, so the page holds all of them and a few more.
    const oldest = await this.#records.list<Revision>(revisionPrefix(id), { limit: named.size + 16 });
    return oldest.filter(({ value }) => value.number <= newestGone && !named.has(value.number)).map(({ key }) => key);
  }
}

/** Where traffic goes once `revision` is there. A first revision takes all of it: there is nothing to keep. */
function pointed(
  before: FunctionState,
  revision: number,
  { tag, traffic }: { tag?: string; traffic?: "latest" | "keep" },
): FunctionState {
  const takes = traffic === "latest" || before.traffic.length === 0 || (traffic === undefined && before.followLatest);
  let targets = takes ? allTo(revision, before.traffic) : before.traffic;
  if (tag !== undefined) targets = tagged(tag, revision, targets);
  return { ...before, followLatest: traffic === "latest" || before.followLatest, traffic: targets };
}

function notFound(id: FunctionId): VirgaError {
  return new VirgaError("not_found", `there is no function ${id.name} in namespace ${id.namespace}`, {
    fix: "the functions there are listed by: virga list",
  });
}

function turnKey(id: FunctionId): string {
  return `${id.namespace}/${id.name}`;
}

function functionKey(id: FunctionId): string {
  return `functions/${id.namespace}/${id.name}`;
}

function retiredKey(id: FunctionId): string {
  return `retired/${id.namespace}/${id.name}`;
}

function revisionPrefix(id: FunctionId): string {
  return `revisions/${id.namespace}/${id.name}/`;
}

/** Ten digits, so that the order of keys is the order of numbers. */
function revisionKey(id: FunctionId, number: number): string {
  return revisionPrefix(id) + String(number).padStart(10, "0");
}
