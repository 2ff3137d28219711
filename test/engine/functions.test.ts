import assert from "node:assert/strict";
import { test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import type { FunctionState, Revision } from "../../src/core/model.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createFunctions, type FunctionsOptions } from "../../src/engine/functions.ts";
import { completeSettings } from "../../src/engine/settings.ts";
import type { Records } from "../../src/ports/records.ts";
import { recordingLog, seededChance, VirtualClock } from "./virtual-clock.ts";

const id = { namespace: "default", name: "hello" };
const config = completeSettings({}, { runtime: "node", handler: "index.js", convention: "native" });

function content(artifact = "a"): Omit<Revision, "number" | "namespace" | "name"> {
  const build = { cached: false, durationMs: 1, sizeBytes: 1, fileCount: 1 };
  return { config, source: "s", artifact, createdAt: 1, build };
}

function registry(
  options: Partial<Pick<FunctionsOptions, "activeFunctions" | "keepRevisions" | "records" | "provide">> = {},
) {
  const clock = new VirtualClock();
  const records = options.records ?? createMemoryStore({ clock, chance: seededChance() }).records;
  return { records, clock, functions: createFunctions({ log: recordingLog(), clock, ...options, records }) };
}

const failsWith = (code: string) => (error: unknown) => error instanceof VirgaError && error.code === code;

test("the first revision makes the function and takes all calls", async () => {
  const { functions } = registry();
  const revision = await functions.addRevision(id, content());
  assert.equal(revision.number, 1);
  const state = await functions.get(id);
  assert.deepEqual(state?.traffic, [{ revision: 1, weight: 100 }]);
  assert.equal(state.followLatest, true);
  assert.deepEqual(await functions.resolve(id, {}, 0.5), revision);
});

test("after the first call, resolving answers at once and without looking at chance", async () => {
  const { functions } = registry();
  await functions.addRevision(id, content());
  await functions.resolve(id, {}, 0);
  const again = functions.resolve(id, {}, Number.NaN);
  assert.ok(!(again instanceof Promise));
  assert.equal(again.number, 1);
});

test("new revisions take the traffic while the function follows the latest, and none after traffic was set by hand", async () => {
  const { functions } = registry();
  for (let index = 0; index < 3; index++) await functions.addRevision(id, content());
  assert.equal((await functions.resolve(id, {}, 0)).number, 3);
  await functions.setTraffic(id, [
    { revision: 1, weight: 90 },
    { revision: 2, weight: 10, tag: "canary" },
  ]);
  await functions.addRevision(id, content());
  assert.equal((await functions.resolve(id, {}, 0.89)).number, 1);
  assert.equal((await functions.resolve(id, {}, 0.9)).number, 2);
  assert.equal((await functions.resolve(id, { tag: "canary" }, 0)).number, 2);
  assert.equal((await functions.resolve(id, { revision: 4 }, 0)).number, 4);
  await functions.addRevision(id, content(), { traffic: "latest", tag: "new" });
  const state = await functions.get(id);
  assert.equal(state?.followLatest, true);
  assert.deepEqual(state.traffic, [
    { revision: 5, weight: 100, tag: "new" },
    { revision: 2, weight: 0, tag: "canary" },
  ]);
});

test("a revision that is to be kept back is reached by its tag and number alone", async () => {
  const { functions } = registry();
  await functions.addRevision(id, content());
  await functions.addRevision(id, content(), { traffic: "keep", tag: "try" });
  assert.equal((await functions.resolve(id, {}, 0.99)).number, 1);
  assert.equal((await functions.resolve(id, { tag: "try" }, 0)).number, 2);
  assert.equal((await functions.get(id))?.followLatest, true);
});

test("traffic to a revision that does not exist is refused and changes nothing", async () => {
  const { functions } = registry();
  await functions.addRevision(id, content());
  await assert.rejects(
    functions.setTraffic(id, [
      { revision: 1, weight: 50 },
      { revision: 7, weight: 50 },
    ]),
    (error: unknown) =>
      failsWith("invalid_field")(error) && (error as VirgaError).detail.field === "targets.1.revision",
  );
  await assert.rejects(
    functions.setTraffic({ ...id, name: "none" }, [{ revision: 1, weight: 100 }]),
    failsWith("not_found"),
  );
  assert.deepEqual((await functions.get(id))?.traffic, [{ revision: 1, weight: 100 }]);
});

test("rolling back goes to the revision before, or to the named one", async () => {
  const { functions } = registry();
  await functions.addRevision(id, content());
  await assert.rejects(functions.rollback(id), failsWith("conflict"));
  await functions.addRevision(id, content());
  await functions.addRevision(id, content());
  assert.deepEqual((await functions.rollback(id)).traffic, [{ revision: 2, weight: 100 }]);
  assert.deepEqual((await functions.rollback(id)).traffic, [{ revision: 1, weight: 100 }]);
  const state = await functions.rollback(id, 3);
  assert.deepEqual(state.traffic, [{ revision: 3, weight: 100 }]);
  assert.equal(state.followLatest, false);
  await assert.rejects(functions.rollback(id, 9), failsWith("invalid_field"));
});

test("a deleted function is gone, and its numbers are not given again", async () => {
  const { functions } = registry();
  await functions.addRevision(id, content());
  await functions.addRevision(id, content());
  await functions.resolve(id, {}, 0);
  assert.equal(await functions.delete(id), true);
  assert.equal(await functions.delete(id), false);
  await assert.rejects(async () => functions.resolve(id, {}, 0), failsWith("not_found"));
  assert.deepEqual(await functions.revisions(id), []);
  assert.equal(await functions.nextNumber(id), 3);
  assert.equal((await functions.addRevision(id, content())).number, 3);
});

test("listeners hear of every change, and one that throws does not stop it", async () => {
  const { functions } = registry();
  const heard: (FunctionState | undefined)[] = [];
  functions.onChange(() => {
    throw new Error("listener");
  });
  const stop = functions.onChange((_, state) => heard.push(state));
  await functions.addRevision(id, content());
  await functions.addRevision(id, content());
  await functions.rollback(id);
  await functions.delete(id);
  stop();
  await functions.addRevision(id, content());
  assert.deepEqual(
    heard.map((state) => state?.latestRevision),
    [1, 2, 2, undefined],
  );
});

test("deploys at the same time, from two processes even, get numbers of their own", async () => {
  const { functions, records } = registry();
  const other = registry({ records }).functions;
  const added = await Promise.all(
    Array.from({ length: 6 }, (_, index) => (index % 2 ? functions : other).addRevision(id, content())),
  );
  assert.deepEqual(
    added.map(({ number }) => number).sort((a, b) => a - b),
    [1, 2, 3, 4, 5, 6],
  );
  assert.equal((await functions.get(id))?.latestRevision, 6);
});

test("a revision whose number was taken meanwhile is refused", async () => {
  const { functions } = registry();
  await functions.addRevision(id, content(), { number: 1 });
  await assert.rejects(functions.addRevision(id, content(), { number: 1 }), failsWith("conflict"));
});

test("a change during a function's loading is not overwritten by what was loaded", async () => {
  const { functions, records } = registry();
  await functions.addRevision(id, content());
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  let held = true;
  const slow: Records = {
    ...records,
    async get<T>(key: string) {
      const entry = await records.get<T>(key);
      if (held && key.startsWith("revisions/")) {
        held = false;
        await gate;
      }
      return entry;
    },
  };
  const watched = registry({ records: slow }).functions;
  const early = watched.resolve(id, {}, 0);
  await watched.addRevision(id, content());
  open();
  assert.equal((await early).number, 1);
  assert.equal((await watched.resolve(id, {}, 0)).number, 2);
});

test("calls that come while a function is loaded share one reading", async () => {
  const { functions, records } = registry();
  await functions.addRevision(id, content());
  let reads = 0;
  const counting: Records = { ...records, get: (key) => (reads++, records.get(key)) };
  const fresh = registry({ records: counting }).functions;
  await Promise.all(Array.from({ length: 50 }, async () => fresh.resolve(id, {}, 0)));
  assert.equal(reads, 2);
});

test("memory holds no more functions than allowed, those called lately first", async () => {
  const { functions, records } = registry();
  for (let index = 0; index < 30; index++) await functions.addRevision({ ...id, name: `f${index}` }, content());
  const small = registry({ records, activeFunctions: 10 }).functions;
  for (let index = 0; index < 30; index++) {
    assert.equal((await small.resolve({ ...id, name: `f${index}` }, {}, 0)).name, `f${index}`);
    await small.resolve({ ...id, name: "f0" }, {}, 0);
  }
  const inMemory = Array.from({ length: 30 }, (_, index) => small.resolve({ ...id, name: `f${index}` }, {}, 0)).filter(
    (resolved) => !(resolved instanceof Promise),
  ).length;
  assert.ok(inMemory > 0 && inMemory <= 10, `${inMemory} in memory`);
});

test("old revisions without traffic or tag are retired", async () => {
  const { functions } = registry({ keepRevisions: 3 });
  for (let index = 0; index < 3; index++)
    await functions.addRevision(id, content(), index === 0 ? { tag: "first" } : {});
  for (let index = 0; index < 20; index++) await functions.addRevision(id, content());
  assert.deepEqual(
    (await functions.revisions(id)).map(({ number }) => number),
    [23, 22, 21, 1],
  );
});

test("what is no name is not found, and never reaches the store", async () => {
  const { functions } = registry();
  for (const name of ["", "-a", "a/b", "x".repeat(5000), "a\0", "..", "__proto__"]) {
    await assert.rejects(async () => functions.resolve({ namespace: "default", name }, {}, 0), failsWith("not_found"));
    await assert.rejects(functions.rollback({ namespace: "default", name }), failsWith("not_found"));
    assert.equal(await functions.get({ namespace: name, name: "x" }), undefined);
    assert.equal(await functions.delete({ namespace: name, name: "x" }), false);
    assert.deepEqual(await functions.list(name), []);
    await assert.rejects(functions.addRevision({ namespace: "default", name }, content()), failsWith("invalid_field"));
  }
  await functions.addRevision(id, content());
  for (const revision of [0, -1, 1.5, Number.NaN, 99]) {
    await assert.rejects(async () => functions.resolve(id, { revision }, 0), failsWith("not_found"));
  }
  await assert.rejects(async () => functions.resolve(id, { tag: "none" }, 0), failsWith("not_found"));
});

test("functions are listed in pages of their namespace alone", async () => {
  const { functions } = registry();
  for (const name of ["a", "b", "c"]) await functions.addRevision({ namespace: "one", name }, content());
  await functions.addRevision({ namespace: "one-more", name: "d" }, content());
  const names = (states: FunctionState[]) => states.map(({ name }) => name);
  assert.deepEqual(names(await functions.list("one")), ["a", "b", "c"]);
  assert.deepEqual(names(await functions.list("one", { limit: 2 })), ["a", "b"]);
  assert.deepEqual(names(await functions.list("one", { after: "b", limit: 2 })), ["c"]);
  const every = [];
  for await (const revision of functions.everyRevision()) every.push(revision.name);
  assert.deepEqual(every.sort(), ["a", "b", "c", "d"]);
});

test("a function that is called and not there is provided, once for all who wait for it", async () => {
  const asked: string[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const { functions } = registry({
    async provide(called) {
      asked.push(`${called.namespace}/${called.name}`);
      await gate;
      await functions.addRevision(called, content("provided"));
      return true;
    },
  });
  const calls = Array.from({ length: 20 }, async () => functions.resolve(id, {}, 0));
  const tagged = Promise.resolve(functions.resolve(id, { tag: "none" }, 0));
  open();
  for (const { artifact, number } of await Promise.all(calls)) assert.deepEqual([artifact, number], ["provided", 1]);
  await assert.rejects(tagged, failsWith("not_found"));
  await functions.resolve(id, {}, 0);
  assert.deepEqual(asked, ["default/hello"]);
});

test("what is there is not asked for; what was deleted is, and its numbers go on", async () => {
  let asked = 0;
  const { functions } = registry({
    async provide(called) {
      asked++;
      await functions.addRevision(called, content("provided"));
      return true;
    },
  });
  await functions.addRevision(id, content("own"));
  assert.equal((await functions.resolve(id, {}, 0)).artifact, "own");
  await assert.rejects(async () => functions.resolve(id, { revision: 9 }, 0), failsWith("not_found"));
  assert.equal(asked, 0);
  await functions.delete(id);
  const { artifact, number } = await functions.resolve(id, {}, 0);
  assert.deepEqual([artifact, number, asked], ["provided", 2, 1]);
});

test("only a call provides: a function that is looked at, listed or changed is not made by it", async () => {
  const { functions } = registry({ provide: () => assert.fail("asked") });
  assert.equal(await functions.get(id), undefined);
  assert.equal(await functions.revision(id, 1), undefined);
  assert.deepEqual(await functions.revisions(id), []);
  assert.deepEqual(await functions.list("default"), []);
  assert.equal(await functions.delete(id), false);
  await assert.rejects(functions.rollback(id), failsWith("not_found"));
});

test("where nothing can be provided the function is not found, and each later call asks anew", async () => {
  let answer: () => Promise<boolean> = () => Promise.resolve(false);
  let asked = 0;
  const { functions } = registry({ provide: () => (asked++, answer()) });
  const resolve = async (): Promise<Revision> => functions.resolve(id, {}, 0);
  await assert.rejects(resolve(), failsWith("not_found"));
  // It says so, and somebody has deleted it again meanwhile.
  answer = () => Promise.resolve(true);
  await assert.rejects(resolve(), failsWith("not_found"));
  answer = () => Promise.reject(new VirgaError("unavailable", "not now"));
  await assert.rejects(resolve(), failsWith("unavailable"));
  answer = async () => {
    await functions.addRevision(id, content());
    return true;
  };
  assert.equal((await resolve()).number, 1);
  assert.equal(asked, 4);
});
