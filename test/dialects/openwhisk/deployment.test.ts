import assert from "node:assert/strict";
import { readFile, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import type { FunctionId, Revision } from "../../../src/core/model.ts";
import { Deployments } from "../../../src/dialects/openwhisk/deployment.ts";
import { documentsOf } from "../../../src/dialects/openwhisk/documents.ts";
import type { Action, Package } from "../../../src/dialects/openwhisk/entities.ts";
import { EntityStore, type StoredAction } from "../../../src/dialects/openwhisk/entity-store.ts";
import { engineName, engineNamespace, type QualifiedName } from "../../../src/dialects/openwhisk/names.ts";
import { openFileArtifacts } from "../../../src/drivers/artifacts/files/artifacts.ts";
import { createMemoryStore } from "../../../src/drivers/store/memory/store.ts";
import { createDeployer } from "../../../src/engine/deployer.ts";
import type { Workflows } from "../../../src/engine/engine.ts";
import { createFunctions, type Registry } from "../../../src/engine/functions.ts";
import type { Runtime } from "../../../src/ports/runtime.ts";
import type { Sandbox } from "../../../src/ports/sandbox.ts";
import { recordingLog, seededChance, VirtualClock } from "../../engine/virtual-clock.ts";
import { removeTree } from "../../removal.ts";
import { actionOf } from "./action-bench.ts";

const folder = await mkdtemp(join(tmpdir(), "virga-deployments-"));
after(() => removeTree(folder));
let folders = 0;

/** Real documents, registry, deployer and artifacts; a build fails where the code says so. */
async function world() {
  const clock = new VirtualClock();
  const log = recordingLog();
  const { records, blobs } = createMemoryStore({ clock, chance: seededChance() });
  const directory = join(folder, String(folders++));
  const artifacts = await openFileArtifacts({ directory, blobs, clock });
  let builds = 0;
  let interrupt: (() => void) | undefined;
  const runtime = (name: string): Runtime => ({
    name,
    prewarm: true,
    versions: async () => ["1"],
    detect: async () => undefined,
    fingerprint: async () => name,
    start: () => Promise.reject(new Error("nothing is started here")),
    async build(request) {
      builds++;
      interrupt?.();
      const code = await readFile(join(request.directory, "action.js"), "utf8").catch(() => "");
      if (code.includes("broken"))
        throw new VirgaError("build_failed", "it is broken", { location: "action.js:1:1", log: "the last line" });
    },
  });
  let deployments: Deployments;
  const functions: Registry = createFunctions({ records, clock, log, provide: (id) => deployments.provide(id) });
  const deployer = createDeployer({
    functions,
    secrets: { list: async () => [] },
    artifacts,
    blobs,
    records,
    runtimes: new Map(["node", "python"].map((name) => [name, runtime(name)])),
    // The runtimes here build without one.
    sandbox: undefined as unknown as Sandbox,
    verify: () => Promise.reject(new Error("actions have no first start")),
    running: () => new Set(),
    named: () => entities.namedCode(),
    clock,
    log,
    cacheDirectory: join(directory, "cache"),
    limits: { timeoutMs: 1000, maxBytes: 1e6, maxFiles: 100 },
  });
  const workflows = new Map<string, unknown>();
  const engine = { deployer, functions, workflows: workflowsIn(workflows) };
  const entities = new EntityStore({ records, log });
  const documents = documentsOf({ entities });
  const open = (): Deployments => new Deployments({ engine, documents, entities, blobs, records, log });
  deployments = open();

  const store = async (place: QualifiedName, code: string, changes: Partial<Action> = {}): Promise<void> => {
    const before = await entities.find("action", place);
    const { digest, size } = await blobs.put(
      (async function* () {
        yield Buffer.from(code);
      })(),
    );
    const namespace = place.package === undefined ? place.namespace : `${place.namespace}/${place.package}`;
    const action: StoredAction = actionOf("nodejs:20", {}, { namespace, name: place.name, ...changes });
    const isCode = action.exec.kind !== "sequence";
    await entities.put("action", place, { ...action, ...(isCode ? { code: { digest, size } } : {}) }, before);
  };
  const newest = async (id: FunctionId): Promise<Revision | undefined> => {
    const state = await functions.get(id);
    return state && functions.revision(id, state.latestRevision);
  };
  return {
    records,
    functions,
    workflows,
    store,
    async put(place: QualifiedName, code: string, changes: Partial<Action> = {}): Promise<void> {
      await store(place, code, changes);
      await deployments.ensure(place);
    },
    async putPackage(namespace: string, name: string, changes: Partial<Package> = {}): Promise<void> {
      const before = await entities.find("package", { namespace, name });
      const whole = { namespace, name, version: "0.0.1", publish: true, annotations: [], parameters: [], updated: 0 };
      await entities.put("package", { namespace, name }, { ...whole, ...changes }, before);
    },
    async delete(place: QualifiedName): Promise<void> {
      await entities.delete(place, (await entities.find("action", place))!);
      await deployments.remove(place);
    },
    newest,
    /** As the invoker asks for it. */
    resolve: async (id: FunctionId): Promise<Revision> => functions.resolve(id, {}, 0),
    restart: () => {
      interrupt = undefined;
      deployments = open();
      return deployments;
    },
    /** The next build is the last thing that this process does. */
    killInBuild: () =>
      (interrupt = () => {
        throw new VirgaError("internal", "the server was killed");
      }),
    get deployments() {
      return deployments;
    },
    get builds() {
      return builds;
    },
  };
}

function workflowsIn(kept: Map<string, unknown>): Workflows {
  return {
    put: async (namespace: string, name: string, definition: unknown) => {
      kept.set(`${namespace}/${name}`, definition);
      return {};
    },
    get: async (namespace: string, name: string) => kept.get(`${namespace}/${name}`),
    delete: async (namespace: string, name: string) => kept.delete(`${namespace}/${name}`),
  } as unknown as Workflows;
}

const idOf = (place: QualifiedName, caller = place.namespace): FunctionId => ({
  namespace: engineNamespace(caller),
  name: engineName(place, caller),
});
const hello: QualifiedName = { namespace: "guest", name: "hello" };
const split: QualifiedName = { namespace: "whisk.system", package: "utils", name: "split" };

test("an action is a function of its namespace, and a change of it the next revision", async () => {
  const { put, newest, deployments } = await world();
  await put(hello, "const main = () => ({});");
  const first = await newest(idOf(hello));
  assert.equal(first?.config.dialect, "openwhisk");
  await put(hello, "const main = () => ({ more: true });");
  assert.equal((await newest(idOf(hello)))?.number, 2);
  await deployments.ensure(hello);
  assert.equal((await newest(idOf(hello)))?.number, 2, "nothing has changed");
});

test("limits alone make a revision without a build", async () => {
  const built = await world();
  await built.put(hello, "1");
  const limits = { timeout: 1000, memory: 128, logs: 1, concurrency: 1 };
  await built.put(hello, "1", { limits });
  assert.equal((await built.newest(idOf(hello)))?.config.limits.memoryMb, 128);
  assert.equal(built.builds, 1);
});

test("instances that have a key or a parameter of the start do not outlive its withdrawal; other parameters change nothing", async () => {
  const { put, newest } = await world();
  const number = async () => (await newest(idOf(hello)))?.number;
  const annotations = [{ key: "provide-api-key", value: true }];
  await put(hello, "1", { annotations });
  await put(hello, "1", { annotations, parameters: [{ key: "a", value: 1 }] });
  assert.equal(await number(), 1);
  await put(hello, "1", { annotations, parameters: [{ key: "a", value: 1, init: true }] });
  assert.equal(await number(), 2);
  await put(hello, "1", { annotations });
  assert.equal(await number(), 3);
  await put(hello, "1");
  assert.equal(await number(), 4);
});

test("code that cannot be built is no failure of the deploy; its calls answer why, until it is changed or built again", async () => {
  const broken = await world();
  await broken.put(hello, "broken");
  const revision = await broken.newest(idOf(hello));
  assert.equal(revision?.config.runtime, "node");
  const tries = broken.builds;
  await broken.deployments.ensure(hello);
  assert.ok(broken.builds > tries, "the reason may be gone");
  await broken.put(hello, "whole");
  assert.notEqual((await broken.newest(idOf(hello)))?.source, revision.source);
});

test("a deleted action has no function", async () => {
  const deleted = await world();
  await deleted.put(hello, "1");
  await deleted.delete(hello);
  assert.equal(await deleted.functions.get(idOf(hello)), undefined);
  await assert.rejects(deleted.resolve(idOf(hello)), { code: "not_found" });
});

test("a public action of another namespace becomes a function of the caller's when it is called, and shares its code", async () => {
  const shared = await world();
  await shared.putPackage("whisk.system", "utils");
  await shared.put(split, "1");
  const id = idOf(split, "guest");
  assert.deepEqual(id, { namespace: "guest", name: "@whisk%2Esystem.utils.split" });
  assert.equal(await shared.functions.get(id), undefined);
  const imported = await shared.resolve(id);
  assert.equal(imported.artifact, (await shared.newest(idOf(split)))?.artifact);
  assert.equal(shared.builds, 1);
});

test("a private package is nobody else's", async () => {
  const closed = await world();
  await closed.putPackage("whisk.system", "utils", { publish: false });
  await closed.put(split, "1");
  await assert.rejects(closed.resolve(idOf(split, "guest")), { code: "not_found" });
});

test("imports follow their provider: changed with it, gone with it", async () => {
  const followed = await world();
  await followed.putPackage("whisk.system", "utils");
  await followed.putPackage("guest", "mine", { binding: { namespace: "whisk.system", name: "utils" } });
  await followed.put(split, "1");
  const ids = [idOf(split, "guest"), idOf({ namespace: "guest", package: "mine", name: "split" })];
  for (const id of ids) await followed.resolve(id);
  await followed.put(split, "2");
  const provider = await followed.newest(idOf(split));
  for (const id of ids) assert.equal((await followed.resolve(id)).artifact, provider?.artifact);
  await followed.put(split, "2", { parameters: [{ key: "a", value: 1 }] });
  for (const id of ids) assert.equal((await followed.resolve(id)).number, 2, "nothing has changed for its code");
  await followed.delete(split);
  for (const id of ids) assert.equal(await followed.functions.get(id), undefined);
  assert.deepEqual(await followed.records.list("openwhisk/imports/"), []);
});

test("an import whose namespace is gone is not made again", async () => {
  const gone = await world();
  await gone.putPackage("whisk.system", "utils");
  await gone.put(split, "1");
  const id = idOf(split, "guest");
  await gone.resolve(id);
  await gone.functions.delete(id);
  await gone.put(split, "2");
  assert.equal(await gone.functions.get(id), undefined);
  assert.deepEqual(await gone.records.list("openwhisk/imports/"), []);
});

test("a binding that leads elsewhere brings what is there", async () => {
  const turned = await world();
  const other: QualifiedName = { namespace: "whisk.system", package: "others", name: "split" };
  await turned.putPackage("whisk.system", "utils");
  await turned.putPackage("whisk.system", "others");
  await turned.put(split, "1");
  await turned.put(other, "2");
  await turned.putPackage("guest", "mine", { binding: { namespace: "whisk.system", name: "utils" } });
  const id = idOf({ namespace: "guest", package: "mine", name: "split" });
  assert.equal((await turned.resolve(id)).artifact, (await turned.newest(idOf(split)))?.artifact);
  await turned.putPackage("guest", "mine", { binding: { namespace: "whisk.system", name: "others" } });
  await turned.deployments.unbind("guest", "mine");
  assert.equal((await turned.resolve(id)).artifact, (await turned.newest(idOf(other)))?.artifact);
});

test("a deploy that was cut off is made good at the next call, or when the server starts", async () => {
  const cut = await world();
  await cut.store(hello, "1");
  cut.killInBuild();
  await assert.rejects(cut.deployments.ensure(hello));
  cut.restart();
  assert.equal((await cut.resolve(idOf(hello))).number, 1);

  await cut.store(hello, "2");
  cut.killInBuild();
  await assert.rejects(cut.deployments.ensure(hello));
  const old = await cut.resolve(idOf(hello));
  await cut.restart().resume();
  assert.notEqual((await cut.resolve(idOf(hello))).source, old.source);
  assert.deepEqual(await cut.records.list("openwhisk/deploying/"), []);
});

test("after an upgrade what was made with other adapters is made again, once, and so is what was imported", async () => {
  const upgraded = await world();
  const { functions, records, newest } = upgraded;
  await upgraded.putPackage("whisk.system", "utils");
  for (const place of [hello, split]) await upgraded.put(place, "1");
  const importer = idOf(split, "guest");
  await upgraded.resolve(importer);
  await upgraded.put({ namespace: "guest", name: "sequence" }, "", { exec: { kind: "sequence", components: [] } });
  await upgraded.restart().renew();
  assert.equal((await newest(idOf(hello)))?.number, 1, "nothing has changed");

  const ids = [idOf(hello), idOf(split), importer];
  const before = await Promise.all(ids.map(newest));
  for (const { namespace, name, number: _, config, ...content } of before.map((one) => one!)) {
    const old = { ...config, annotations: { "openwhisk.content": "of the release before" } };
    await functions.addRevision({ namespace, name }, { ...content, config: old });
  }
  await records.put("openwhisk/adapters", "of the release before");
  await upgraded.restart().renew();
  for (const [index, id] of ids.entries()) {
    const { number, config } = (await newest(id))!;
    assert.deepEqual([number, config], [3, before[index]!.config]);
  }
  await upgraded.restart().renew();
  assert.equal((await newest(idOf(hello)))?.number, 3);
});

test("two changes at once end with the document's", async () => {
  const raced = await world();
  await Promise.all([raced.put(hello, "const a = 1;"), raced.deployments.ensure(hello)]);
  await raced.store(hello, "const b = 2;");
  await Promise.all([raced.deployments.ensure(hello), raced.deployments.ensure(hello), raced.resolve(idOf(hello))]);
  assert.equal((await raced.newest(idOf(hello)))?.number, 2);
});

test("a sequence is a workflow, and no function", async () => {
  const sequence = await world();
  await sequence.put(hello, "1");
  await sequence.put(hello, "", { exec: { kind: "sequence", components: ["/guest/other"] } });
  assert.ok(sequence.workflows.has("guest/hello"));
  assert.equal(await sequence.functions.get(idOf(hello)), undefined);
});

test("a conductor is both; without its annotation it is a function alone", async () => {
  const conductor = await world();
  await conductor.put(hello, "1", { annotations: [{ key: "conductor", value: true }] });
  assert.ok(await conductor.functions.get(idOf(hello)));
  assert.ok(conductor.workflows.has("guest/hello"));
  await conductor.put(hello, "1");
  assert.ok(!conductor.workflows.has("guest/hello"));
});
