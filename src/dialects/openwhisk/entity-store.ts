/** OpenWhisk's documents over records: `openwhisk/entities/NAMESPACE/NAME`, where NAME is as in `engineName`. */
import { asVirgaError } from "../../core/errors.ts";
import { everyRecord } from "../../engine/every-record.ts";
import type { Log } from "../../ports/log.ts";
import type { Records } from "../../ports/records.ts";
import type { Action, Package, Rule, Trigger } from "./entities.ts";
import { notFound, WhiskError } from "./errors.ts";
import { nameIn, type QualifiedName, qualifiedName } from "./names.ts";
import type { MaybeSoon } from "./resolution.ts";

/** An action as it is kept: its code lies in the blobs. */
export interface StoredAction extends Action {
  readonly code?: { readonly digest: string; readonly size: number };
}

export type EntityKind = "action" | "package" | "trigger" | "rule";

export interface EntityOf {
  readonly action: StoredAction;
  readonly package: Package;
  readonly trigger: Trigger;
  readonly rule: Rule;
}

export interface Kept<K extends EntityKind = EntityKind> {
  readonly kind: K;
  readonly document: EntityOf[K];
  /** For compare-and-swap. */
  readonly revision: number;
}

export interface EntityStoreOptions {
  readonly records: Records;
  readonly log: Log;
}

/** Which package an action lies in; absent: in none. */
export interface Place {
  readonly namespace: string;
  readonly package?: string | undefined;
  readonly name: string;
}

const prefix = "openwhisk/entities/";

/** All documents of a namespace are in memory from the first question about it on, and kept true by the records' watch. */
export class EntityStore {
  readonly #records: Records;
  readonly #log: Log;
  readonly #namespaces = new Map<string, Map<string, Kept>>();
  readonly #loading = new Map<string, Promise<Map<string, Kept>>>();
  /** Those that are being read. */
  readonly #arriving = new Map<string, Map<string, Kept>>();
  /** Keys of deleted documents, with the revision up to which nothing is believed of them. */
  readonly #deleted = new Map<string, number>();
  readonly #closing = new AbortController();

  constructor({ records, log }: EntityStoreOptions) {
    this.#records = records;
    this.#log = log;
  }

  /** From here on, what other processes change is seen. */
  async start(): Promise<void> {
    const from = await this.#records.revision();
    void this.#watch(from);
  }

  close(): void {
    this.#closing.abort();
  }

  /** At once where the namespace is in memory. Undefined also where another kind has the name. */
  find<K extends EntityKind>(kind: K, place: Place): MaybeSoon<Kept<K> | undefined> {
    const known = this.#namespaces.get(place.namespace);
    if (known !== undefined) return ofKind(known.get(keyName(place)), kind);
    return this.#load(place.namespace).then((all) => ofKind(all.get(keyName(place)), kind));
  }

  /** As `find`. Rejects with 404 for what is not there, and with 409 where another kind has the name. */
  async get<K extends EntityKind>(kind: K, place: Place): Promise<Kept<K>> {
    const kept = await this.#keptAt(place);
    if (kept === undefined) throw notFound();
    checkKind(kept, kind);
    return kept as Kept<K>;
  }

  /** What a change of a document is made from. Rejects with 409 where another kind has the name. */
  async before<K extends EntityKind>(kind: K, place: Place): Promise<Kept<K> | undefined> {
    const kept = await this.#keptAt(place);
    if (kept !== undefined) checkKind(kept, kind);
    return kept as Kept<K> | undefined;
  }

  async list<K extends EntityKind>(kind: K, namespace: string): Promise<EntityOf[K][]> {
    const all = this.#namespaces.get(namespace) ?? (await this.#load(namespace));
    return [...all.values()].filter((kept) => kept.kind === kind).map(({ document }) => document as EntityOf[K]);
  }

  /**
   * Makes or changes a document. `before` is what the change was made from (undefined: it must be new).
   * Rejects with 409 where somebody else was faster, or another kind has the name.
   */
  async put<K extends EntityKind>(
    kind: K,
    place: Place,
    document: EntityOf[K],
    before: Kept<K> | undefined,
  ): Promise<void> {
    const name = keyName(place);
    const there = await this.#keptAt(place);
    if (there !== undefined) checkKind(there, kind);
    try {
      const revision = await this.#records.put(
        keyOf(place.namespace, name),
        { kind, document },
        { expect: before?.revision ?? 0 },
      );
      this.#apply(place.namespace, name, { kind, document, revision });
    } catch (thrown) {
      if (asVirgaError(thrown).code === "conflict") throw conflict();
      throw thrown;
    }
  }

  async delete(place: Place, before: Kept): Promise<void> {
    const name = keyName(place);
    const key = keyOf(place.namespace, name);
    // The watch may still bring what is deleted here.
    this.#deleted.set(key, before.revision);
    try {
      await this.#records.delete(key, { expect: before.revision });
    } catch (thrown) {
      this.#deleted.delete(key);
      if (asVirgaError(thrown).code === "conflict") throw conflict();
      throw thrown;
    }
    const all = this.#namespaces.get(place.namespace);
    if (all?.get(name)?.revision === before.revision) all.delete(name);
  }

  /** Of all namespaces, past the memory. */
  async *everyAction(): AsyncGenerator<{ readonly place: QualifiedName; readonly action: StoredAction }> {
    for await (const { key, value } of everyRecord<Omit<Kept, "revision">>(this.#records, prefix)) {
      const [namespace = "", name = ""] = key.slice(prefix.length).split("/");
      const place = value.kind === "action" ? qualifiedName(name, namespace) : undefined;
      if (place !== undefined) yield { place, action: value.document as StoredAction };
    }
  }

  /** Digests of all actions' code. */
  async *namedCode(): AsyncGenerator<string> {
    for await (const { action } of this.everyAction()) if (action.code !== undefined) yield action.code.digest;
  }

  /** All of a namespace that is being deleted. */
  async forget(namespace: string): Promise<void> {
    for (const { key } of await this.#records.list(`${prefix}${namespace}/`)) await this.#records.delete(key);
    this.#namespaces.delete(namespace);
  }

  async #keptAt(place: Place): Promise<Kept | undefined> {
    const all = this.#namespaces.get(place.namespace) ?? (await this.#load(place.namespace));
    return all.get(keyName(place));
  }

  #load(namespace: string): Promise<Map<string, Kept>> {
    let loading = this.#loading.get(namespace);
    if (loading !== undefined) return loading;
    loading = this.#read(namespace).finally(() => this.#loading.delete(namespace));
    this.#loading.set(namespace, loading);
    return loading;
  }

  async #read(namespace: string): Promise<Map<string, Kept>> {
    const start = `${prefix}${namespace}/`;
    const all = new Map<string, Kept>();
    // Changes that the watch brings meanwhile find it here.
    this.#arriving.set(namespace, all);
    try {
      for (const { key, value, revision } of await this.#records.list<Omit<Kept, "revision">>(start)) {
        this.#apply(namespace, key.slice(start.length), { ...value, revision });
      }
      // Anybody may ask for any name: what has nothing takes no room.
      if (all.size > 0) this.#namespaces.set(namespace, all);
    } finally {
      this.#arriving.delete(namespace);
      for (const key of this.#deleted.keys()) if (key.startsWith(start)) this.#deleted.delete(key);
    }
    return all;
  }

  #apply(namespace: string, name: string, kept: Kept): void {
    const all = this.#namespaces.get(namespace) ?? this.#arriving.get(namespace);
    const newest = Math.max(all?.get(name)?.revision ?? 0, this.#deleted.get(keyOf(namespace, name)) ?? 0);
    if (newest < kept.revision) all?.set(name, kept);
  }

  /** As the watch tells of it: all that was before has been told. */
  #remove(namespace: string, name: string, revision: number): void {
    const key = keyOf(namespace, name);
    const all = this.#namespaces.get(namespace) ?? this.#arriving.get(namespace);
    if ((all?.get(name)?.revision ?? Infinity) < revision) all?.delete(name);
    // What is being read may be older.
    if (this.#arriving.has(namespace)) this.#deleted.set(key, revision);
    else if ((this.#deleted.get(key) ?? Infinity) < revision) this.#deleted.delete(key);
  }

  async #watch(from: number): Promise<void> {
    try {
      for await (const event of this.#records.watch<Omit<Kept, "revision">>(prefix, from, this.#closing.signal)) {
        const [namespace = "", name = ""] = event.key.slice(prefix.length).split("/");
        if (event.kind === "put") this.#apply(namespace, name, { ...event.value, revision: event.revision });
        else this.#remove(namespace, name, event.revision);
      }
    } catch (thrown) {
      if (this.#closing.signal.aborted) return;
      this.#log.error("changes of OpenWhisk's documents are not seen any more; they are read anew", {
        error: asVirgaError(thrown),
      });
      this.#namespaces.clear();
      void this.start();
    }
  }
}

/** Names are percent-encoded in keys; what is too long for one is refused. */
function keyName(place: Place): string {
  const key = nameIn(place.package, place.name);
  if (key.length > longestKey) {
    throw new WhiskError(
      400,
      `The name is too long: with its package's it may have ${longestKey} characters, where each blank, dot, @ and & counts three.`,
    );
  }
  return key;
}

function keyOf(namespace: string, name: string): string {
  return `${prefix}${namespace}/${name}`;
}

function ofKind<K extends EntityKind>(kept: Kept | undefined, kind: K): Kept<K> | undefined {
  return kept?.kind === kind ? (kept as Kept<K>) : undefined;
}

function checkKind({ kind }: Kept, wanted: EntityKind): void {
  if (kind === wanted) return;
  throw new WhiskError(
    409,
    `Resource by this name already exists but is not in this collection: it is ${kind === "action" ? "an" : "a"} ${kind}.`,
  );
}

function conflict(): WhiskError {
  return new WhiskError(409, "Concurrent modification to resource detected.");
}

/** As `isResourceName` has it. */
const longestKey = 420;
