/** Actions as functions of the engine: of the namespace that owns them, and of each that calls them from elsewhere. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { asVirgaError, VirgaError } from "../../core/errors.ts";
import type { FunctionId, Revision } from "../../core/model.ts";
import { once } from "../../core/once.ts";
import { createTurns } from "../../core/turns.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Log } from "../../ports/log.ts";
import type { Records } from "../../ports/records.ts";
import { workflowOf } from "./composite.ts";
import type { EntityStore, StoredAction } from "./entity-store.ts";
import { WhiskError } from "./errors.ts";
import { engineName, engineNamespace, type QualifiedName, qualifiedName, whiskNamespace } from "./names.ts";
import { archiveOf, failingProjection, type Projection, projectionOf } from "./projection.ts";
import { annotation, type Documents, isComposite, resolveAction } from "./resolution.ts";

export interface DeploymentsOptions {
  readonly engine: Pick<Engine, "deployer" | "functions" | "workflows">;
  readonly documents: Documents;
  readonly entities: Pick<EntityStore, "everyAction">;
  readonly blobs: Blobs;
  readonly records: Records;
  readonly log: Log;
}

/**
 * Keeps functions and workflows as the documents are. What it has to know lies in the records:
 *
 *     openwhisk/deploying/ACTION            the action's name, while it is being deployed
 *     openwhisk/imports/ACTION/FUNCTION     the id of a function that shares an action's code, in another namespace
 *     openwhisk/adapters                    a name for the adapters that all functions have been made with
 *
 * ACTION and FUNCTION are hashes: two names do not fit into one key. A function says in its annotations of which content of its
 * action it was made, so what is up to date is left alone.
 */
export class Deployments {
  readonly #options: DeploymentsOptions;
  /** One change at a time of an action and those who import it. */
  readonly #turn = createTurns();
  #isClosed = false;

  constructor(options: DeploymentsOptions) {
    this.#options = options;
  }

  /**
   * Deploys an action as its document stands, and brings those up to date who imported it. Code that cannot be built is no failure
   * of this: its calls answer why.
   */
  ensure(place: QualifiedName): Promise<void> {
    const own = ownId(place);
    const mark = deployingPrefix + shortOf(own);
    return this.#turn(shortOf(own), async () => {
      const { records } = this.#options;
      const action = await this.#actionAt(place);
      // Deleted meanwhile, by somebody whose turn is next.
      if (action === undefined) return;
      await records.put(mark, place);
      await this.#deploy(action, place, own);
      for (const importer of await this.#importers(own)) await this.#renew(importer, action, place);
      await records.delete(mark);
    });
  }

  /** As `ensure`, of an action that is deployed already; others are when they are first called. */
  async refresh(place: QualifiedName): Promise<void> {
    if ((await this.#options.engine.functions.get(ownId(place))) !== undefined) await this.ensure(place);
  }

  /** Does again what a killed server had begun. What cannot be done is logged, and tried again at the next start. */
  async resume(): Promise<void> {
    const { records, log } = this.#options;
    const failed = (thrown: unknown, action?: QualifiedName): void =>
      log.error("a deploy that was cut off could not be done again", { action, error: asVirgaError(thrown) });
    try {
      for (const { key, value } of await records.list<QualifiedName>(deployingPrefix)) {
        const isThere = (await this.#actionAt(value)) !== undefined;
        if (isThere) await this.ensure(value).catch((thrown: unknown) => failed(thrown, value));
        else await records.delete(key);
      }
    } catch (thrown) {
      failed(thrown);
    }
  }

  /**
   * After an upgrade of the platform: deploys again, one after another, whose functions have other adapters than this release's.
   * What cannot be done is logged, and tried again at the next start.
   */
  async renew(): Promise<void> {
    const { records, entities, log } = this.#options;
    try {
      if ((await records.get<string>(adaptersKey))?.value === adapters()) return;
      let isWhole = true;
      for await (const { place, action } of entities.everyAction()) {
        if (this.#isClosed) return;
        const own = ownId(place);
        const isThere = action.code !== undefined && (await this.#newestOf(own)) !== undefined;
        if (!isThere || (await this.#isUpToDate(action, own))) continue;
        await this.ensure(place).then(
          () => log.info("an action has this release's adapter now", { ...own }),
          (thrown: unknown) => {
            isWhole = false;
            log.error("an action could not be given this release's adapter", { ...own, error: asVirgaError(thrown) });
          },
        );
      }
      if (isWhole) await records.put(adaptersKey, adapters());
    } catch (thrown) {
      if (!this.#isClosed) log.error("actions could not be looked through", { error: asVirgaError(thrown) });
    }
  }

  /** Nothing more is begun of what runs by itself. */
  close(): void {
    this.#isClosed = true;
  }

  /** Of a deleted action. With its function go those of who imported it. */
  remove(place: QualifiedName): Promise<void> {
    const own = ownId(place);
    return this.#turn(shortOf(own), async () => {
      // Made anew meanwhile.
      if ((await this.#actionAt(place)) !== undefined) return;
      for (const importer of await this.#importers(own)) await this.#drop(importer, own);
      await this.#drop(own, own);
    });
  }

  /** For the registry: a function that is called and is not there. True: it is now. */
  async provide(id: FunctionId): Promise<boolean> {
    const caller = whiskNamespace(id.namespace);
    const called = qualifiedName(id.name, caller);
    if (called === undefined) return false;
    let provider: QualifiedName;
    try {
      ({ provider } = await resolveAction(this.#options.documents, called, caller));
    } catch (thrown) {
      if (thrown instanceof WhiskError) return false;
      throw thrown;
    }
    const own = ownId(provider);
    return this.#turn(shortOf(own), async () => {
      const action = await this.#actionAt(provider);
      if (action === undefined || action.exec.kind === "sequence") return false;
      if (isSame(own, id)) await this.#deploy(action, provider, own);
      else await this.#import(id, action, provider);
      return true;
    });
  }

  /** A sequence or composition of elsewhere, so that rules and other sequences can name it. */
  async importComposite(called: QualifiedName, caller: string): Promise<void> {
    const { action, provider, binding } = await resolveAction(this.#options.documents, called, caller);
    if (!isComposite(action) || (binding === undefined && provider.namespace === caller)) return;
    const id = { namespace: engineNamespace(caller), name: engineName(called, caller) };
    await this.#turn(shortOf(ownId(provider)), () => this.#import(id, action as StoredAction, provider));
  }

  /** A binding leads elsewhere from now on, or nowhere: what was imported through it goes, and is imported anew when it is called. */
  async unbind(namespace: string, inPackage: string): Promise<void> {
    for (const { key, value } of await this.#options.records.list<FunctionId>(importPrefix)) {
      const called = qualifiedName(value.name, whiskNamespace(value.namespace));
      if (called?.namespace !== namespace || called.package !== inPackage) continue;
      await this.#dropFunction(value);
      await this.#options.records.delete(key);
    }
  }

  async #deploy(action: StoredAction, place: QualifiedName, id: FunctionId): Promise<void> {
    const { engine } = this.#options;
    if (isComposite(action))
      await engine.workflows.put(id.namespace, id.name, workflowOf(action, place, place.namespace));
    else await engine.workflows.delete(id.namespace, id.name);
    if (action.code === undefined) await engine.functions.delete(id);
    else if (!(await this.#isUpToDate(action, id))) await this.#build(action, id);
  }

  async #isUpToDate(action: StoredAction, id: FunctionId): Promise<boolean> {
    return (await this.#newestOf(id))?.config.annotations[contentNote] === contentOf(action);
  }

  async #build(action: StoredAction, id: FunctionId): Promise<void> {
    try {
      const projection = await projectionOf(action, await this.#read(action));
      const annotations = { [contentNote]: contentOf(action) };
      await this.#put(id, { ...projection, settings: { ...projection.settings, annotations } });
    } catch (thrown) {
      const error = asVirgaError(thrown);
      if (!isOfTheCode(error)) throw thrown;
      this.#options.log.info("an action's code cannot be built", { ...id, error });
      const { log, location, fix } = error.detail;
      const reason = [error.message, location, log, fix].filter((part) => part !== undefined).join("\n");
      await this.#put(id, failingProjection(action, reason));
    }
  }

  async #read({ code }: StoredAction): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await this.#options.blobs.get(code!.digest)).content) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async #put(id: FunctionId, { source, layer, settings }: Projection): Promise<void> {
    const { engine, blobs } = this.#options;
    const whole = await keep(blobs, "archive" in source ? source.archive : await archiveOf(source.files));
    const over = await keep(blobs, await archiveOf(layer));
    await engine.deployer.deploy(
      { ...id, source: whole, layers: [over], settings, trial: false, traffic: "latest" },
      () => undefined,
      new AbortController().signal,
    );
  }

  /** The provider's code as a function of another namespace, under that one's name for it. */
  async #import(id: FunctionId, action: StoredAction, provider: QualifiedName): Promise<void> {
    const { engine, records } = this.#options;
    const own = ownId(provider);
    // First: a function that nobody knows of would outlive its provider.
    await records.put(importKey(own, id), id);
    const caller = whiskNamespace(id.namespace);
    const called = qualifiedName(id.name, caller);
    if (called !== undefined && isComposite(action))
      await engine.workflows.put(id.namespace, id.name, workflowOf(action, called, caller));
    else await engine.workflows.delete(id.namespace, id.name);
    if (action.code === undefined) {
      await engine.functions.delete(id);
      return;
    }
    const { number: _, namespace: _n, name: _m, ...content } = await this.#codeOf(own, action, provider);
    const there = await this.#newestOf(id);
    if (there?.artifact === content.artifact && isDeepStrictEqual(there.config, content.config)) return;
    await engine.functions.addRevision(id, content, { traffic: "latest" });
  }

  /** One whose namespace is gone is not made again. */
  async #renew(importer: FunctionId, action: StoredAction, provider: QualifiedName): Promise<void> {
    const { functions, workflows } = this.#options.engine;
    const isThere =
      (await functions.get(importer)) !== undefined ||
      (await workflows.get(importer.namespace, importer.name)) !== undefined;
    if (isThere) await this.#import(importer, action, provider);
    else await this.#options.records.delete(importKey(ownId(provider), importer));
  }

  async #codeOf(own: FunctionId, action: StoredAction, place: QualifiedName): Promise<Revision> {
    if ((await this.#newestOf(own)) === undefined) await this.#deploy(action, place, own);
    const revision = await this.#newestOf(own);
    if (revision !== undefined) return revision;
    throw new VirgaError("not_found", `there is no code of ${own.namespace}/${own.name}`);
  }

  async #newestOf(id: FunctionId): Promise<Revision | undefined> {
    const { functions } = this.#options.engine;
    const state = await functions.get(id);
    return state && functions.revision(id, state.latestRevision);
  }

  async #drop(id: FunctionId, own: FunctionId): Promise<void> {
    await this.#dropFunction(id);
    await this.#options.records.delete(importKey(own, id));
  }

  async #dropFunction({ namespace, name }: FunctionId): Promise<void> {
    await this.#options.engine.workflows.delete(namespace, name);
    await this.#options.engine.functions.delete({ namespace, name });
  }

  async #importers(own: FunctionId): Promise<FunctionId[]> {
    const entries = await this.#options.records.list<FunctionId>(`${importPrefix}${shortOf(own)}/`);
    return entries.map(({ value }) => value);
  }

  async #actionAt({ namespace, package: inPackage, name }: QualifiedName): Promise<StoredAction | undefined> {
    return this.#options.documents.action(namespace, inPackage, name);
  }
}

const deployingPrefix = "openwhisk/deploying/";
const importPrefix = "openwhisk/imports/";
const adaptersKey = "openwhisk/adapters";
const contentNote = "openwhisk.content";

/**
 * All that makes a difference to an action's function: its document's part in it, and this release's adapters. What an instance is
 * given once for its life is part of it: instances that have a key, or a parameter of the start, do not outlive its withdrawal.
 */
function contentOf({ exec, code, limits, annotations, parameters, namespace }: StoredAction): string {
  const [description, key] = ["description", "provide-api-key"].map((name) => annotation(annotations, name));
  const atStart = parameters.filter(({ init }) => init === true);
  const content = [exec, code?.digest, limits, namespace, description, key, atStart, adapters()];
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
}

/** A name for what lies in `guest/`. */
function adapters(): string {
  if (adaptersDigest !== undefined) return adaptersDigest;
  const folder = new URL("guest/", import.meta.url);
  const hash = createHash("sha256");
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted()) {
    const file = new URL(path, folder);
    if (statSync(file).isFile()) hash.update(`${path}\0`).update(readFileSync(file));
  }
  return (adaptersDigest = hash.digest("hex"));
}

let adaptersDigest: string | undefined;

/** Something that its author has to change, and not the operator of this platform. */
function isOfTheCode({ kind, code }: VirgaError): boolean {
  return ((kind === "user" || kind === "limit") && code !== "conflict") || code === "runtime_unavailable";
}

function ownId(place: QualifiedName): FunctionId {
  return { namespace: engineNamespace(place.namespace), name: engineName(place, place.namespace) };
}

function isSame(one: FunctionId, other: FunctionId): boolean {
  return one.namespace === other.namespace && one.name === other.name;
}

function importKey(own: FunctionId, id: FunctionId): string {
  return `${importPrefix}${shortOf(own)}/${shortOf(id)}`;
}

function shortOf({ namespace, name }: FunctionId): string {
  return createHash("sha256").update(`${namespace}/${name}`).digest("hex");
}

async function keep(blobs: Blobs, bytes: Uint8Array): Promise<string> {
  const { digest } = await blobs.put(once(bytes));
  return digest;
}
