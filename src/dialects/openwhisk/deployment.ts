/** Actions as functions of the engine: of the namespace that owns them, and of each that calls them from elsewhere. */
import { createHash } from "node:crypto";
import { asVirgaError, VirgaError } from "../../core/errors.ts";
import type { FunctionId, Revision } from "../../core/model.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Log } from "../../ports/log.ts";
import type { Records } from "../../ports/records.ts";
import { workflowOf } from "./composite.ts";
import type { EntityStore, StoredAction } from "./entity-store.ts";
import { engineName, engineNamespace, type QualifiedName, qualifiedName, whiskNamespace } from "./names.ts";
import { archiveOf, failingProjection, type Projection, projectionOf } from "./projection.ts";
import { type Documents, isComposite, resolveAction } from "./resolution.ts";

export interface DeploymentsOptions {
  readonly engine: Pick<Engine, "deployer" | "functions" | "workflows">;
  readonly entities: EntityStore;
  readonly documents: Documents;
  readonly blobs: Blobs;
  readonly records: Records;
  readonly log: Log;
}

/** The record of an import, so that a change of the provider reaches it: `openwhisk/imports/PROVIDER/CALLER`, by their hashes. */
const importPrefix = "openwhisk/imports/";

export class Deployments {
  readonly #options: DeploymentsOptions;

  constructor(options: DeploymentsOptions) {
    this.#options = options;
  }

  /**
   * Deploys an action's code, and brings those up to date who imported it. Code that cannot be built is no failure of this: its
   * calls answer why.
   */
  async ensure(action: StoredAction, place: QualifiedName): Promise<void> {
    const { engine } = this.#options;
    const namespace = engineNamespace(place.namespace);
    const name = engineName(place, place.namespace);
    if (isComposite(action)) await engine.workflows.put(namespace, name, workflowOf(action, place, place.namespace));
    else await engine.workflows.delete(namespace, name);
    if (action.exec.kind === "sequence") await engine.functions.delete({ namespace, name });
    else await this.#deploy(action, { namespace, name });
    for (const importer of await this.#importers({ namespace, name })) await this.#bring(importer, action, place);
  }

  /** With it go the functions of those who imported it. */
  async remove(place: QualifiedName): Promise<void> {
    const { engine, records } = this.#options;
    const own = { namespace: engineNamespace(place.namespace), name: engineName(place, place.namespace) };
    for (const id of [own, ...(await this.#importers(own))]) {
      await engine.workflows.delete(id.namespace, id.name);
      await engine.functions.delete(id);
      await records.delete(importKey(own, id));
    }
  }

  /** For the registry: a function that is called and is not there. True: it is now. */
  async provide(id: FunctionId): Promise<boolean> {
    const caller = whiskNamespace(id.namespace);
    const called = qualifiedName(id.name, caller);
    if (called === undefined) return false;
    try {
      const found = await resolveAction(this.#options.documents, called, caller);
      const action = found.action as StoredAction;
      if (action.exec.kind === "sequence") return false;
      const isOwn = found.provider.namespace === caller && found.provider.package === called.package;
      // Its deploy was cut off.
      if (isOwn) await this.#deploy(action, id);
      else await this.#bring(id, action, found.provider);
      return true;
    } catch (thrown) {
      if (thrown instanceof VirgaError && thrown.kind !== "user") throw thrown;
      return false;
    }
  }

  /** A sequence or composition of elsewhere, so that rules and other sequences can name it. */
  async importComposite(called: QualifiedName, caller: string): Promise<void> {
    const found = await resolveAction(this.#options.documents, called, caller);
    if (!isComposite(found.action) || found.binding === undefined) return;
    await this.#bring(
      { namespace: engineNamespace(caller), name: engineName(called, caller) },
      found.action,
      found.provider,
    );
  }

  async #deploy(action: StoredAction, id: FunctionId): Promise<void> {
    const { blobs, log } = this.#options;
    if (action.code === undefined) return;
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await blobs.get(action.code.digest)).content) chunks.push(chunk);
    try {
      await this.#put(id, projectionOf(action, Buffer.concat(chunks)));
    } catch (thrown) {
      const error = asVirgaError(thrown);
      if (error.kind !== "user" && error.code !== "build_timeout" && error.code !== "runtime_unavailable") throw thrown;
      log.info("an action's code cannot be built", { ...id, error });
      const { log: output, location, fix } = error.detail;
      const reason = [error.message, location, output, fix].filter((part) => part !== undefined).join("\n");
      await this.#put(id, failingProjection(action, reason));
    }
  }

  async #put(id: FunctionId, { source, layer, settings }: Projection): Promise<void> {
    const { engine, blobs } = this.#options;
    const archive = "archive" in source ? source.archive : await archiveOf(source.files);
    const [whole, over] = [await keep(blobs, archive), await keep(blobs, await archiveOf(layer))];
    await engine.deployer.deploy(
      { ...id, source: whole, layers: [over], settings, trial: false, traffic: "latest" },
      () => undefined,
      new AbortController().signal,
    );
  }

  /** The provider's code as a function of another namespace, under that one's name for it. */
  async #bring(id: FunctionId, action: StoredAction, provider: QualifiedName): Promise<void> {
    const { engine, records } = this.#options;
    const own = { namespace: engineNamespace(provider.namespace), name: engineName(provider, provider.namespace) };
    if (isComposite(action)) {
      const called = qualifiedName(id.name, whiskNamespace(id.namespace));
      if (called !== undefined) {
        await engine.workflows.put(id.namespace, id.name, workflowOf(action, called, whiskNamespace(id.namespace)));
      }
    }
    if (action.exec.kind !== "sequence") {
      const { number: _, namespace: _n, name: _m, ...content } = await this.#revisionOf(own, action);
      await engine.functions.addRevision(id, content, { traffic: "latest" });
    }
    await records.put(importKey(own, id), id);
  }

  async #revisionOf(own: FunctionId, action: StoredAction): Promise<Revision> {
    const { functions } = this.#options.engine;
    let state = await functions.get(own);
    if (state === undefined) {
      await this.#deploy(action, own);
      state = await functions.get(own);
    }
    const revision = state && (await functions.revision(own, state.latestRevision));
    if (revision === undefined) throw new VirgaError("not_found", `there is no code of ${own.namespace}/${own.name}`);
    return revision;
  }

  async #importers({ namespace, name }: FunctionId): Promise<FunctionId[]> {
    const entries = await this.#options.records.list<FunctionId>(`${importPrefix}${shortOf({ namespace, name })}/`);
    return entries.map(({ value }) => value);
  }
}

function importKey(own: FunctionId, id: FunctionId): string {
  return `${importPrefix}${shortOf(own)}/${shortOf(id)}`;
}

/** Two names of functions do not fit into one key. */
function shortOf({ namespace, name }: FunctionId): string {
  return createHash("sha256").update(`${namespace}/${name}`).digest("hex");
}

async function keep(blobs: Blobs, bytes: Uint8Array): Promise<string> {
  const { digest } = await blobs.put(
    (async function* () {
      yield bytes;
    })(),
  );
  return digest;
}
