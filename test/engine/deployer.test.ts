import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, mkdtemp, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { packTar } from "modern-tar";
import { VirgaError } from "../../src/core/errors.ts";
import type { Revision } from "../../src/core/model.ts";
import { openFileArtifacts } from "../../src/drivers/artifacts/files/artifacts.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createDeployer } from "../../src/engine/deployer.ts";
import type { DeployEvent, DeployRequest, FunctionSettings } from "../../src/engine/engine.ts";
import { createFunctions } from "../../src/engine/functions.ts";
import type { BuildRequest, Runtime } from "../../src/ports/runtime.ts";
import type { Sandbox } from "../../src/ports/sandbox.ts";
import { recordingLog, seededChance, VirtualClock } from "./virtual-clock.ts";
import { removeTree } from "../removal.ts";

const folder = await mkdtemp(join(tmpdir(), "virga-deployer-"));
after(() => removeTree(folder));
let folders = 0;

const id = { namespace: "default", name: "hello" };
const never = new AbortController().signal;
const failsWith = (code: string, field?: string) => (error: unknown) =>
  error instanceof VirgaError && error.code === code && (field === undefined || error.detail.field === field);

/** A language whose entry file is `entry.EXTENSION`; its build adds a file and fails where the code says so. */
function language(name: string, onBuild: (request: BuildRequest) => Promise<void> = async () => {}): Runtime {
  const handler = `entry.${name}`;
  return {
    name,
    prewarm: name !== "bin",
    versions: async () => ["2", "1"],
    detect: async (directory) =>
      (await readdir(directory)).includes(handler) ? { confidence: 0.6, handler, convention: "native" } : undefined,
    fingerprint: async () => `${name} 1`,
    start: () => Promise.reject(new Error("the deployer starts nothing itself")),
    async build(request) {
      await onBuild(request);
      const code = await readFile(join(request.directory, handler), "utf8");
      request.onLog(`building ${code}`);
      if (code.startsWith("broken")) {
        throw new VirgaError("build_failed", "it is broken", { location: `${handler}:1:1`, log: "line" });
      }
      await writeFile(join(request.directory, "built"), code);
    },
  };
}

async function setting(
  onBuild?: (request: BuildRequest) => Promise<void>,
  limits: { maxBytes?: number; maxFiles?: number } = {},
) {
  const directory = join(folder, String(folders++));
  const clock = new VirtualClock();
  const chance = seededChance();
  const { records, blobs } = createMemoryStore({ clock, chance });
  const artifacts = await openFileArtifacts({ directory: join(directory, "artifacts"), blobs, clock });
  const log = recordingLog();
  const functions = createFunctions({ records, clock, log });
  const builds: string[] = [];
  const runtimes = new Map(
    ["js", "py", "bin"].map((name) => [
      name,
      language(name, async (request) => {
        builds.push(name);
        await onBuild?.(request);
      }),
    ]),
  );
  const started: Revision[] = [];
  let verify: (revision: Revision) => Promise<void> = async (revision) => void started.push(revision);
  const running = new Set<string>();
  const named: string[] = [];
  const deployer = createDeployer({
    functions,
    secrets: { list: async () => [{ name: "KNOWN", updatedAt: 0 }] },
    artifacts,
    blobs,
    records,
    runtimes,
    // The runtimes here build without one.
    sandbox: undefined as unknown as Sandbox,
    verify: (revision) => verify(revision),
    running: () => running,
    named: async function* () {
      yield* named;
    },
    clock,
    log,
    cacheDirectory: join(directory, "cache"),
    limits: { timeoutMs: 1000, maxBytes: 1e6, maxFiles: 100, ...limits },
  });
  const upload = async (files: Record<string, string>): Promise<string> => {
    const entries = Object.entries(files).map(([name, body]) => ({
      header: { name, size: Buffer.byteLength(body), mtime: new Date(0) },
      body,
    }));
    const archive = await packTar(entries);
    const { digest } = await blobs.put(
      (async function* () {
        yield archive;
      })(),
    );
    return digest;
  };
  const deploy = async (
    source: string | undefined,
    settings: FunctionSettings = {},
    more: Partial<DeployRequest> = {},
    signal = never,
  ) => {
    const events: DeployEvent[] = [];
    const result = await deployer.deploy(
      { ...id, ...(source === undefined ? {} : { source }), settings, ...more },
      (event) => events.push(event),
      signal,
    );
    return { ...result, events };
  };
  const unpacked = () => readdir(join(directory, "artifacts", "work"));
  return {
    clock,
    records,
    blobs,
    artifacts,
    functions,
    builds,
    started,
    deployer,
    running,
    named,
    upload,
    deploy,
    unpacked,
    startWith: (start: (revision: Revision) => Promise<void>) => (verify = start),
  };
}

test("a source becomes a built, tried revision that takes the traffic, and the stages are told in order", async () => {
  const { upload, deploy, artifacts, started, unpacked } = await setting();
  const { revision, changed, function: state, events } = await deploy(await upload({ "entry.js": "one" }));
  assert.equal(changed, true);
  assert.deepEqual(state.traffic, [{ revision: 1, weight: 100 }]);
  assert.equal(revision.config.runtime, "js");
  assert.equal(revision.config.handler, "entry.js");
  assert.equal(await readFile(join(await artifacts.locate(revision.artifact), "built"), "utf8"), "one");
  assert.deepEqual(
    events.map((event) => (event.kind === "stage" ? event.stage : event.line)),
    ["unpack", "detect", "build", "building one", "seal", "start", "traffic"],
  );
  assert.deepEqual(
    started.map(({ number, artifact }) => [number, artifact]),
    [[1, revision.artifact]],
  );
  assert.deepEqual(await unpacked(), []);
});

test("the same source and settings again change nothing and build nothing", async () => {
  const { upload, deploy, builds, started } = await setting();
  const source = await upload({ "entry.js": "one" });
  const first = await deploy(source, { limits: { memoryMb: 512 } });
  const again = await deploy(source, { limits: { memoryMb: 512 } });
  assert.equal(again.changed, false);
  assert.deepEqual(again.revision, first.revision);
  assert.deepEqual(again.events, []);
  assert.equal(builds.length, 1);
  assert.equal(started.length, 1);
});

test("an unchanged deploy moves traffic and tag where it is asked to", async () => {
  const { upload, deploy, functions } = await setting();
  const one = await upload({ "entry.js": "one" });
  const two = await upload({ "entry.js": "two" });
  await deploy(one);
  await deploy(two);
  await functions.rollback(id);
  assert.equal((await deploy(two)).changed, false);
  const tagged = await deploy(two, {}, { tag: "next" });
  assert.deepEqual(tagged.function.traffic, [
    { revision: 1, weight: 100 },
    { revision: 2, weight: 0, tag: "next" },
  ]);
  assert.equal(tagged.changed, true);
  const latest = await deploy(two, {}, { traffic: "latest" });
  assert.deepEqual(latest.function.traffic, [{ revision: 2, weight: 100, tag: "next" }]);
  assert.equal(latest.function.followLatest, true);
  assert.equal((await deploy(two, {}, { traffic: "latest", tag: "next" })).changed, false);
});

test("new settings without a source keep the code and use its build", async () => {
  const { upload, deploy, builds } = await setting();
  const first = await deploy(await upload({ "entry.js": "one" }));
  const second = await deploy(undefined, { environment: { A: "1" } });
  assert.equal(second.revision.number, 2);
  assert.equal(second.revision.artifact, first.revision.artifact);
  assert.equal(second.revision.build.cached, true);
  assert.equal(builds.length, 1);
});

test("a build that fails leaves the old revision serving, says where, and leaves no folder behind", async () => {
  const { upload, deploy, functions, unpacked } = await setting();
  await deploy(await upload({ "entry.js": "one" }));
  const before = await functions.get(id);
  await assert.rejects(
    deploy(await upload({ "entry.js": "broken" })),
    (error: unknown) => failsWith("build_failed")(error) && (error as VirgaError).detail.location === "entry.js:1:1",
  );
  assert.deepEqual(await functions.get(id), before);
  assert.equal((await functions.revisions(id)).length, 1);
  assert.deepEqual(await unpacked(), []);
});

test("a revision that does not start gets no number and no traffic", async () => {
  const { upload, deploy, functions, startWith } = await setting();
  await deploy(await upload({ "entry.js": "one" }));
  startWith(() => Promise.reject(new VirgaError("start_failed", "boom", { location: "entry.js:3" })));
  const source = await upload({ "entry.js": "two" });
  await assert.rejects(deploy(source), failsWith("start_failed"));
  assert.equal((await functions.get(id))?.latestRevision, 1);
  startWith(async () => {});
  const { revision } = await deploy(source);
  assert.equal(revision.number, 2);
  assert.equal(revision.build.cached, true);
});

test("code that no runtime, or more than one, could run is refused with what was found", async () => {
  const { upload, deploy, functions } = await setting();
  await assert.rejects(
    deploy(await upload({ "readme.md": "x" })),
    (error: unknown) => failsWith("runtime_unknown")(error) && (error as VirgaError).message.includes("readme.md"),
  );
  const both = await upload({ "entry.js": "x", "entry.py": "x" });
  await assert.rejects(
    deploy(both),
    (error: unknown) =>
      failsWith("runtime_unknown")(error) &&
      /js \(entry\.js\) and py \(entry\.py\)/.test((error as VirgaError).message),
  );
  assert.equal(await functions.get(id), undefined);
  assert.equal((await deploy(both, { runtime: "py:1" })).revision.config.runtime, "py:1");
});

test("runtimes, versions and handlers that do not exist are refused with those that do", async () => {
  const { upload, deploy } = await setting();
  const source = await upload({ "entry.js": "x" });
  await assert.rejects(
    deploy(source, { runtime: "jss" }),
    (error: unknown) =>
      failsWith("runtime_unknown")(error) && /did you mean js/.test((error as VirgaError).detail.fix!),
  );
  await assert.rejects(
    deploy(source, { runtime: "js:9" }),
    (error: unknown) => failsWith("runtime_unavailable")(error) && /2, 1/.test((error as VirgaError).detail.fix!),
  );
  await assert.rejects(deploy(source, { runtime: "py" }), failsWith("runtime_unknown", "settings.handler"));
});

test("a program that is named by hand is called over stdin, a module natively", async () => {
  const { upload, deployer } = await setting();
  const source = await upload({ "entry.bin": "x", other: "x" });
  const planned = async (settings: FunctionSettings) =>
    Object.fromEntries((await deployer.plan({ ...id, source, settings })).map(({ field, to }) => [field, to]));
  assert.equal((await planned({ runtime: "bin", handler: "other" }))["convention"], "stdio");
  assert.equal((await planned({ runtime: "js", handler: "other" }))["convention"], "native");
  assert.equal((await planned({}))["convention"], "native");
});

test("a missing source, secret or name is refused before anything is built", async () => {
  const { upload, deploy, builds, records } = await setting();
  const source = await upload({ "entry.js": "x" });
  await assert.rejects(deploy(undefined), failsWith("invalid_field", "source"));
  await assert.rejects(deploy("abc"), failsWith("invalid_field", "source"));
  await assert.rejects(deploy(createHash("sha256").digest("hex")), failsWith("not_found", "source"));
  await assert.rejects(
    deploy(source, { secrets: ["KNOWN", "NONE"] }),
    failsWith("invalid_field", "settings.secrets.1"),
  );
  await assert.rejects(
    deploy(source, { limits: { memoryMb: -1 } }),
    failsWith("invalid_field", "settings.limits.memoryMb"),
  );
  await assert.rejects(deploy(source, {}, { name: "-no" }), failsWith("invalid_field", "name"));
  await assert.rejects(deploy(source, {}, { tag: "No" }), failsWith("invalid_field", "tag"));
  assert.deepEqual(builds, []);
  assert.deepEqual(await records.list("functions/"), []);
});

test("an archive that is none is refused and leaves nothing behind", async () => {
  const { blobs, deploy, unpacked } = await setting();
  const { digest } = await blobs.put(
    (async function* () {
      yield Buffer.from("this is no archive");
    })(),
  );
  await assert.rejects(deploy(digest), failsWith("invalid_archive"));
  assert.deepEqual(await unpacked(), []);
});

test("deploys of one function run one after another, those of others beside them", async () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const running: string[] = [];
  const { upload, deploy } = await setting(async ({ directory }) => {
    running.push(await readFile(join(directory, "entry.js"), "utf8"));
    await gate;
  });
  const sources = await Promise.all(["a", "b", "c"].map((text) => upload({ "entry.js": text })));
  const first = deploy(sources[0]);
  const second = deploy(sources[1]);
  const beside = deploy(sources[2], {}, { name: "other" });
  while (running.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(running.toSorted(), ["a", "c"]);
  open();
  assert.deepEqual(
    [(await first).revision.number, (await second).revision.number, (await beside).revision.number],
    [1, 2, 1],
  );
});

test("a deploy whose caller leaves changes nothing and leaves no folder behind", async () => {
  const controller = new AbortController();
  const { upload, deploy, functions, unpacked } = await setting(async () => controller.abort());
  await assert.rejects(deploy(await upload({ "entry.js": "one" }), {}, {}, controller.signal), failsWith("cancelled"));
  assert.equal(await functions.get(id), undefined);
  assert.deepEqual(await unpacked(), []);
});

test("a plan names the fields that would change, builds nothing, and needs no upload", async () => {
  const { upload, deploy, deployer, builds, functions } = await setting();
  const source = await upload({ "entry.js": "one" });
  const fresh = await deployer.plan({ ...id, source, settings: { limits: { memoryMb: 512 } } });
  assert.deepEqual(fresh, [
    { field: "function", to: "hello" },
    { field: "runtime", to: "js" },
    { field: "handler", to: "entry.js" },
    { field: "convention", to: "native" },
    { field: "limits.memoryMb", from: 256, to: 512 },
    { field: "source", to: source },
  ]);
  await deploy(source, { environment: { A: "1" } });
  assert.deepEqual(await deployer.plan({ ...id, source, settings: { environment: { A: "1" } } }), []);
  const elsewhere = "a".repeat(64);
  assert.deepEqual(await deployer.plan({ ...id, source: elsewhere, settings: { environment: { B: "2" } }, tag: "t" }), [
    { field: "environment.A", from: "1" },
    { field: "environment.B", to: "2" },
    { field: "source", from: source, to: elsewhere },
    { field: "tag t", to: 2 },
  ]);
  await assert.rejects(deployer.plan({ ...id, settings: { limits: { cpus: 0 } } }), failsWith("invalid_field"));
  assert.equal(builds.length, 1);
  assert.equal((await functions.revisions(id)).length, 1);
});

test("a sweep removes code that nothing uses any more, and only the deployer's", async () => {
  const { upload, deploy, deployer, blobs, clock, functions, artifacts } = await setting();
  const kept = await upload({ "entry.js": "kept" });
  const gone = await upload({ "entry.js": "gone" });
  const { digest: foreign } = await blobs.put(
    (async function* () {
      yield Buffer.from("a large result");
    })(),
  );
  const keptRevision = (await deploy(kept, {}, { name: "kept" })).revision;
  const goneRevision = (await deploy(gone)).revision;
  await functions.delete(id);
  await deployer.sweep();
  assert.ok(await blobs.has(gone), "spared for a while");
  clock.advance(2 * 3_600_000);
  await deployer.sweep();
  assert.deepEqual([await blobs.has(kept), await blobs.has(gone), await blobs.has(foreign)], [true, false, true]);
  await artifacts.locate(keptRevision.artifact);
  await assert.rejects(artifacts.locate(goneRevision.artifact), failsWith("not_found"));
  assert.equal((await deploy(await upload({ "entry.js": "gone" }))).revision.number, 2);
});

test("a sweep spares what instances run from and what others name, as long as they do", async () => {
  const { upload, deploy, deployer, blobs, clock, functions, artifacts, running, named } = await setting();
  const source = await upload({ "entry.js": "one" });
  const { artifact } = (await deploy(source)).revision;
  await functions.delete(id);
  clock.advance(2 * 3_600_000);
  running.add(artifact);
  named.push(source);
  await deployer.sweep();
  await artifacts.locate(artifact);
  assert.equal((await blobs.get(source)).size > 0, true);
  running.clear();
  named.pop();
  await deployer.sweep();
  await assert.rejects(artifacts.locate(artifact), failsWith("not_found"));
  await assert.rejects(blobs.get(source), failsWith("not_found"));
});

test("code that was adopted and never deployed goes, and not while somebody still asks for it", async () => {
  const { upload, deployer, blobs, clock, records } = await setting();
  const [gone, wanted] = [await upload({ "entry.js": "gone" }), await upload({ "entry.js": "wanted" })];
  for (const source of [gone, wanted]) await deployer.adopt(source);
  await deployer.sweep();
  clock.advance(2 * 3_600_000);
  assert.ok(await blobs.has(wanted));
  await deployer.sweep();
  assert.deepEqual([await blobs.has(gone), await blobs.has(wanted)], [false, true]);
  assert.deepEqual(
    (await records.list("sources/")).map(({ key }) => key),
    [`sources/${wanted}`],
  );
});

test("a deploy in the middle of a sweep has its code", async () => {
  const { upload, deploy, deployer, clock, functions, artifacts, blobs } = await setting();
  for (let round = 0; round < 20; round++) {
    const source = await upload({ "entry.js": `round ${round}` });
    await deploy(source);
    await functions.delete(id);
    clock.advance(2 * 3_600_000);
    const sweeping = deployer.sweep();
    for (let turn = 0; turn < round; turn++) await new Promise(setImmediate);
    const deployed = deploy(source).catch((thrown: unknown) => thrown);
    await sweeping;
    const outcome = await deployed;
    // Its source may have gone before it was asked for; then the deploy says so.
    if (outcome instanceof Error) assert.ok(failsWith("not_found")(outcome), outcome.message);
    else {
      await artifacts.locate((outcome as Awaited<ReturnType<typeof deploy>>).revision.artifact);
      assert.ok(await blobs.has(source));
    }
    await functions.delete(id);
  }
});

test("an artifact that was lost is built again by the next deploy of the same", async () => {
  const { upload, deploy, artifacts, clock, builds } = await setting();
  const source = await upload({ "entry.js": "one" });
  await deploy(source);
  clock.advance(7_200_000);
  await artifacts.sweep(new Set(), 0);
  const again = await deploy(source);
  assert.equal(again.changed, true);
  assert.equal(builds.length, 2);
  await artifacts.locate(again.revision.artifact);
});

/** What a sealed artifact holds. */
async function filesOf(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const contents = await Promise.all(files.map((file) => readFile(file, "utf8")));
  return Object.fromEntries(files.map((file, index) => [file.slice(folder.length + 1), contents[index]!]));
}

test("layers are laid over the source in their order, the later over the earlier", async () => {
  const { upload, deploy, artifacts, unpacked } = await setting();
  const source = await upload({ "entry.js": "source", "lib/a": "source", "lib/b": "source", "lib/c": "source" });
  const one = await upload({ "lib/a": "one", "lib/b": "one", "lib/d/e": "one" });
  const two = await upload({ "entry.js": "two", "lib/b": "two" });
  const { revision } = await deploy(source, {}, { layers: [one, two] });
  assert.deepEqual(revision.layers, [one, two]);
  const files = {
    "entry.js": "two",
    built: "two",
    "lib/a": "one",
    "lib/b": "two",
    "lib/c": "source",
    "lib/d/e": "one",
  };
  assert.deepEqual(await filesOf(await artifacts.locate(revision.artifact)), files);
  const turned = await deploy(source, {}, { layers: [two, one] });
  assert.equal(turned.changed, true);
  assert.equal((await filesOf(await artifacts.locate(turned.revision.artifact)))["lib/b"], "one");
  assert.deepEqual(await unpacked(), []);
});

test("what a runtime is found by may lie in a layer", async () => {
  const { upload, deploy, deployer } = await setting();
  const source = await upload({ "notes.md": "x" });
  const layers = [await upload({ "entry.py": "x" })];
  const planned = await deployer.plan({ ...id, source, layers, settings: {} });
  assert.deepEqual(planned.find(({ field }) => field === "runtime")?.to, "py");
  assert.equal((await deploy(source, {}, { layers })).revision.config.runtime, "py");
});

test("layers stay where the code does, and are the source's: another source has its own", async () => {
  const { upload, deploy, builds } = await setting();
  const source = await upload({ "entry.js": "one" });
  const layers = [await upload({ extra: "x" })];
  const first = await deploy(source, {}, { layers });
  assert.equal((await deploy(source, {}, { layers })).changed, false);
  const settled = await deploy(undefined, { environment: { A: "1" } });
  assert.deepEqual(settled.revision.layers, layers);
  assert.equal(settled.revision.artifact, first.revision.artifact);
  assert.equal(builds.length, 1);
  const bare = await deploy(source);
  assert.equal(bare.revision.layers, undefined);
  assert.notEqual(bare.revision.artifact, first.revision.artifact);
  const emptied = await deploy(undefined, {}, { layers: [] });
  assert.equal(emptied.changed, false);
});

test("a layer that a revision uses outlives the sweep, another does not", async () => {
  const { upload, deploy, deployer, blobs, clock } = await setting();
  const source = await upload({ "entry.js": "one" });
  const [kept, gone] = [await upload({ a: "kept" }), await upload({ a: "gone" })];
  await deploy(source, {}, { layers: [kept] });
  await assert.rejects(
    deploy(await upload({ "entry.js": "broken" }), {}, { name: "other", layers: [gone] }),
    failsWith("build_failed"),
  );
  clock.advance(2 * 3_600_000);
  await deployer.sweep();
  assert.deepEqual([await blobs.has(source), await blobs.has(kept), await blobs.has(gone)], [true, true, false]);
});

test("layers that are too many, no digests, not there or no archives are refused by their place, before anything is built", async () => {
  const { upload, deploy, blobs, builds, functions, unpacked } = await setting();
  const source = await upload({ "entry.js": "one" });
  const layer = await upload({ a: "x" });
  const many = Array.from({ length: 17 }, () => layer);
  await assert.rejects(
    deploy(source, {}, { layers: many }),
    (error: unknown) =>
      failsWith("invalid_field", "layers")(error) && /at most 16 layers/.test((error as Error).message),
  );
  await assert.rejects(deploy(source, {}, { layers: [layer, "abc"] }), failsWith("invalid_field", "layers.1"));
  const absent = createHash("sha256").digest("hex");
  await assert.rejects(deploy(source, {}, { layers: [layer, absent] }), failsWith("not_found", "layers.1"));
  const { digest } = await blobs.put(
    (async function* () {
      yield Buffer.from("this is no archive");
    })(),
  );
  await assert.rejects(deploy(source, {}, { layers: [digest] }), failsWith("invalid_archive", "layers.0"));
  assert.deepEqual(builds, []);
  assert.equal(await functions.get(id), undefined);
  assert.deepEqual(await unpacked(), []);
  assert.equal((await deploy(source, {}, { layers: many.slice(1) })).revision.layers?.length, 16);
});

test("source and layers together unpack to no more than one source may", async () => {
  const { upload, deploy, functions, unpacked } = await setting(undefined, { maxBytes: 1000, maxFiles: 6 });
  const source = await upload({ "entry.js": "x".repeat(400) });
  const refuses = async (layers: string[], field: string): Promise<void> =>
    assert.rejects(
      deploy(source, {}, { layers }),
      (error: unknown) =>
        failsWith("archive_too_large", field)(error) &&
        /the source and its layers unpack to more than 1000 bytes or 6 files and folders/.test(
          (error as Error).message,
        ),
    );
  const [large, larger] = [await upload({ a: "a".repeat(400) }), await upload({ b: "b".repeat(201) })];
  await refuses([large, larger], "layers.1");
  const files = Object.fromEntries(["f/1", "f/2", "f/3", "f/4", "f/5"].map((name) => [name, ""]));
  await refuses([await upload(files)], "layers.0");
  assert.equal(await functions.get(id), undefined);
  assert.deepEqual(await unpacked(), []);
  // What is laid over something takes its place.
  const again = await upload({ a: "c".repeat(200) });
  assert.equal((await deploy(source, {}, { layers: [large, again, again] })).changed, true);
});

test("without a trial a revision takes the traffic unstarted, and what is wrong is left to its calls", async () => {
  const { upload, deploy, started, startWith } = await setting();
  startWith(() => Promise.reject(new VirgaError("start_failed", "boom")));
  const source = await upload({ "entry.js": "one" });
  await assert.rejects(deploy(source), failsWith("start_failed"));
  const { revision, function: state, events } = await deploy(source, {}, { trial: false });
  assert.deepEqual(state.traffic, [{ revision: revision.number, weight: 100 }]);
  assert.ok(!events.some((event) => event.kind === "stage" && event.stage === "start"));
  assert.deepEqual(started, []);
  await assert.rejects(
    deploy(await upload({ "entry.js": "broken" }), {}, { trial: false }),
    failsWith("build_failed"),
    "a build is no trial",
  );
});
