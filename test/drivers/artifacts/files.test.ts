import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gzipSync } from "node:zlib";
import { openFileArtifacts } from "../../../src/drivers/artifacts/files/artifacts.ts";
import { openFileBlobs } from "../../../src/drivers/blobs/files/blobs.ts";
import { systemClock } from "../../../src/drivers/host/clock.ts";
import { describeArtifacts, treeOf, type ArtifactsAndBlobs } from "../../contracts/artifacts.ts";
import { stream } from "../../contracts/blobs.ts";
import { rejects } from "../../contracts/opened.ts";
import { ManualClock } from "../../engine/manual-clock.ts";
import { killedChild } from "../killed-child.ts";
import { propertyRuns } from "../property-runs.ts";
import { cannotMount, SmallDisk } from "../small-disk.ts";
import { tarOf, zipOf } from "./archives.ts";
import { makeWritable, removeTree } from "../../removal.ts";

// What is tested here does not depend on the disk, and this one needs no fsync.
const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "virga-artifacts-"));
after(() => removeTree(folder));
let folders = 0;

describeArtifacts("files", async () => {
  const home = join(folder, String(folders++));
  mkdirSync(home);
  const clock = new ManualClock();
  const directory = join(home, "artifacts");
  const start = async (): Promise<ArtifactsAndBlobs> => {
    const blobs = await openFileBlobs({ directory: join(home, "blobs"), clock });
    return {
      blobs,
      artifacts: await openFileArtifacts({ directory, blobs, clock }),
      directory,
      async lose() {
        removeTree(join(directory, "sealed"));
        mkdirSync(join(directory, "sealed"));
      },
    };
  };
  return { port: await start(), clock, reopen: start, close() {} };
});

async function openIn(home: string) {
  const blobs = await openFileBlobs({ directory: join(home, "blobs"), clock: systemClock });
  const directory = join(home, "artifacts");
  return { blobs, directory, artifacts: await openFileArtifacts({ directory, blobs, clock: systemClock }) };
}

async function sealed(home: string) {
  const opened = await openIn(home);
  const folder = await opened.artifacts.workspace();
  writeFileSync(join(folder, "a"), "whole");
  mkdirSync(join(folder, "b"));
  writeFileSync(join(folder, "b/c"), "whole");
  const tree = await treeOf(folder);
  const { digest } = await opened.artifacts.seal(folder);
  return { ...opened, digest, tree, seal: join(opened.directory, "sealed", `${digest}.json`) };
}

test("a seal that a power failure tore counts as none: the artifact is rebuilt", async () => {
  for (const torn of ["", '{"digest":"', "\0\0\0\0"]) {
    const home = join(folder, String(folders++));
    const { artifacts, digest, seal, tree } = await sealed(home);
    writeFileSync(seal, torn);
    assert.equal((await artifacts.info(digest)).fileCount, 2);
    assert.deepEqual(await treeOf(await artifacts.locate(digest)), tree);
    writeFileSync(seal, torn);
    const reopened = await openIn(home);
    assert.deepEqual(await treeOf(await reopened.artifacts.locate(digest)), tree);
    assert.equal(JSON.parse(readFileSync(seal, "utf8")).digest, digest);
  }
});

test("after the machine was started anew a folder is not trusted: its files were never synced", async () => {
  const home = join(folder, String(folders++));
  const { artifacts, digest, seal, tree } = await sealed(home);
  const place = await artifacts.locate(digest);
  makeWritable(place);
  removeTree(join(place, "b"));
  writeFileSync(seal, JSON.stringify({ ...JSON.parse(readFileSync(seal, "utf8")), boot: "an earlier one" }));
  const reopened = await openIn(home);
  assert.deepEqual(await treeOf(await reopened.artifacts.locate(digest)), tree);
});

test("an artifact whose folder is lost and whose blob is damaged says so, and leaves nothing", async () => {
  const { artifacts, blobs, directory, digest } = await sealed(join(folder, String(folders++)));
  const blob = join(directory, "../blobs", digest.slice(0, 2), digest.slice(2));
  const content = readFileSync(blob);
  content[600]! ^= 1;
  writeFileSync(blob, content);
  removeTree(join(directory, "sealed", digest));
  await rejects(artifacts.locate(digest), "storage_corrupt", new RegExp(digest.slice(2)));
  assert.deepEqual(readdirSync(join(directory, "work")), []);
  // It counts as gone now: deploying again makes it anew.
  await rejects(artifacts.locate(digest), "not_found");
  assert.equal(await blobs.has(digest), false);
});

test("files in the store that are no artifacts are left alone", async () => {
  const { artifacts, directory, digest } = await sealed(join(folder, String(folders++)));
  mkdirSync(join(directory, "sealed/lost+found"));
  assert.equal(await artifacts.sweep(new Set([digest]), 0), 0);
  assert.equal(await artifacts.sweep(new Set(), 0), 1);
  assert.deepEqual(readdirSync(join(directory, "sealed")), ["lost+found"]);
});

test(
  "a refused archive leaves no file open",
  { skip: existsSync("/proc/self/fd") ? false : "counts open files in /proc" },
  async () => {
    const { artifacts, blobs } = await openIn(join(folder, String(folders++)));
    const entries = [
      { name: "../evil", kind: "file" as const },
      { name: "large", kind: "file" as const, content: randomBytes(3_000_000) },
    ];
    const archives = [
      tarOf(entries),
      gzipSync(tarOf(entries)),
      gzipSync(tarOf(entries.slice(0, 1))),
      Buffer.from("\x1f\x8b no gzip", "latin1"),
      Buffer.from("no tar".repeat(1000)),
      zipOf(entries.toReversed()),
      zipOf([...entries, ...entries]),
    ];
    const sources: string[] = [];
    for (const archive of archives) sources.push((await blobs.put(stream([archive]))).digest);
    for (const [index, source] of sources.entries()) {
      // Few and at once: what is forgotten is closed when memory is next tidied up.
      const before = readdirSync("/proc/self/fd").length;
      for (let round = 0; round < 4; round++)
        await rejects(artifacts.unpack(source, { maxBytes: 10_000_000, maxFiles: 9 }), "invalid_archive");
      const left = readdirSync("/proc/self/fd").length - before;
      assert.ok(left <= 0, `${left} files left open by archive ${index}`);
    }
  },
);

test(
  "a name that is no UTF-8 is refused when it is sealed, by its path",
  { skip: process.platform === "linux" ? false : "this file system takes UTF-8 only" },
  async () => {
    const { artifacts } = await openIn(join(folder, String(folders++)));
    const work = await artifacts.workspace();
    writeFileSync(Buffer.concat([Buffer.from(`${work}/caf`), Buffer.from([0xe9])]), "");
    const error = await rejects(artifacts.seal(work), "build_failed", /caf/);
    assert.match(error.detail.fix!, /Rename it/);
    await artifacts.discard(work);
  },
);

test("a server killed while it seals leaves each artifact wholly there or not at all", async () => {
  const home = join(folder, String(folders++));
  let torn = 0;
  for (let round = 0; round < propertyRuns(5); round++) {
    const lines = await killedChild(join(import.meta.dirname, "endless-seal.ts"), [home], Math.random() * 250);
    torn += readdirSync(join(home, "artifacts/work")).length;
    const { artifacts, blobs, directory } = await openIn(home);
    assert.deepEqual(readdirSync(join(directory, "work")), []);
    const acknowledged = lines.filter((line) => line.startsWith("did ")).map((line) => line.slice(4));
    const there = readdirSync(join(directory, "sealed")).map((name) => name.slice(0, 64));
    for (const digest of acknowledged) assert.ok(there.includes(digest), `${digest} was acknowledged and is lost`);
    for (const digest of new Set(there)) {
      const copy = await artifacts.workspace();
      assert.equal(spawnSync("cp", ["-a", `${await artifacts.locate(digest)}/.`, copy]).status, 0);
      assert.equal(spawnSync("chmod", ["-R", "u+w", copy]).status, 0);
      assert.equal((await artifacts.seal(copy)).digest, digest);
      assert.equal(await blobs.has(digest), true);
    }
    await artifacts.sweep(new Set(), 0);
    assert.deepEqual(readdirSync(join(directory, "sealed")), []);
  }
  assert.ok(torn > 0, "no server was killed in the middle");
});

test(
  "a full disk refuses what does not fit, keeps nothing of it, and takes it once there is room",
  { skip: cannotMount() },
  async () => {
    const disk = new SmallDisk(2 ** 21);
    try {
      const { artifacts, blobs, directory } = await openIn(disk.path);
      const limits = { maxBytes: 10_000_000, maxFiles: 100 };
      const content = Buffer.alloc(800_000, "x");
      for (const archive of [
        tarOf([{ name: "a", kind: "file", content }]),
        zipOf([{ name: "a", kind: "file", content }]),
      ]) {
        const { digest: source } = await blobs.put(stream([archive]));
        disk.fill(400_000);
        const files = disk.files("artifacts");
        await rejects(artifacts.unpack(source, limits), "storage_full");
        assert.deepEqual(disk.files("artifacts"), files);
        disk.free();
        const work = await artifacts.unpack(source, limits);
        disk.fill(10_000);
        await rejects(artifacts.seal(work), "storage_full");
        assert.deepEqual(readdirSync(join(directory, "sealed")), []);
        assert.equal(readFileSync(join(work, "a")).byteLength, content.byteLength);
        await blobs.delete(source);
        disk.free();
        const { digest } = await artifacts.seal(work);
        removeTree(join(directory, "sealed", digest));
        disk.fill(10_000);
        await rejects(artifacts.locate(digest), "storage_full");
        assert.deepEqual(readdirSync(join(directory, "work")), []);
        disk.free();
        assert.equal(readFileSync(join(await artifacts.locate(digest), "a")).byteLength, content.byteLength);
        await artifacts.sweep(new Set(), 0);
      }
    } finally {
      disk.remove();
    }
  },
);
