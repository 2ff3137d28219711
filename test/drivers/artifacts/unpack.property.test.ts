import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { lstat, realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { VirgaError } from "../../../src/core/errors.ts";
import { openFileArtifacts } from "../../../src/drivers/artifacts/files/artifacts.ts";
import { openFileBlobs } from "../../../src/drivers/blobs/files/blobs.ts";
import type { Artifacts } from "../../../src/ports/artifacts.ts";
import type { Blobs } from "../../../src/ports/blobs.ts";
import { treeOf } from "../../contracts/artifacts.ts";
import { stream } from "../../contracts/blobs.ts";
import { ManualClock } from "../../engine/manual-clock.ts";
import { propertyRuns } from "../property-runs.ts";
import { sealTarHead, tarOf, zipOf, type ArchiveEntry } from "./archives.ts";

/** Whatever is sent as an archive: a folder within the limits, or one clear error; nothing outside, nothing left behind. */

const limits = { maxBytes: 3000, maxFiles: 12 };
const clock = new ManualClock();
// What is looked at here does not depend on the disk, and this one needs no fsync.
const memory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const home = mkdtempSync(join(memory, "virga-unpack-"));
const contents = mkdtempSync(join(memory, "virga-contents-"));
const directory = join(home, "a/b/artifacts");
let blobs: Blobs;
let artifacts: Artifacts;
let filesOpen: number;

before(async () => {
  mkdirSync(directory, { recursive: true });
  blobs = await openFileBlobs({ directory: contents, clock });
  artifacts = await openFileArtifacts({ directory, blobs: { ...blobs, get: inPieces }, clock });
  // In the way of archives that climb.
  for (const path of ["victim", "a/victim", "a/b/victim", "a/b/artifacts/victim", "a/b/artifacts/work/victim"])
    writeFileSync(join(home, path), "untouched");
  filesOpen = openFiles();
});
after(() => {
  const open = openFiles();
  for (const folder of [home, contents]) rmSync(folder, { recursive: true });
  // No reader of a refused archive was left open.
  assert.ok(open <= filesOpen + 2, `${open} open files, ${filesOpen} at the start`);
});

const segment = fc.constantFrom("a", "b", "c", "..", ".", "", "victim", "ä", "a\\b", "x".repeat(120), "\0", "C:");
const path = fc.array(segment, { minLength: 1, maxLength: 5 }).map((segments) => segments.join("/"));
const tamePath = fc
  .array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 3 })
  .map((segments) => segments.join("/"));
const climbing = fc
  .array(fc.constantFrom("..", "..", "a", "b", "."), { minLength: 1, maxLength: 5 })
  .map((segments) => segments.join("/"));
const name = fc.oneof({ weight: 6, arbitrary: tamePath }, { weight: 1, arbitrary: path });
const target = fc.oneof(
  { weight: 3, arbitrary: tamePath },
  { weight: 2, arbitrary: climbing },
  { weight: 1, arbitrary: path },
);
const content = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 300 }) },
  { weight: 1, arbitrary: fc.nat(5000).map((length) => new Uint8Array(length)) },
);
const entry: fc.Arbitrary<ArchiveEntry> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ name, kind: fc.constant("file" as const), content, mode: fc.nat(0o7777) }) },
  { weight: 2, arbitrary: fc.record({ name, kind: fc.constant("folder" as const), mode: fc.nat(0o7777) }) },
  { weight: 3, arbitrary: fc.record({ name, kind: fc.constant("link" as const), target }) },
  { weight: 2, arbitrary: fc.record({ name, kind: fc.constant("hardLink" as const), target }) },
  {
    weight: 1,
    arbitrary: fc.record({
      name,
      kind: fc.constantFrom("characterDevice" as const, "blockDevice" as const, "pipe" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ name, kind: fc.constant("file" as const), content, claimedSize: fc.nat(2 ** 31) }),
  },
);
const entries = fc.array(entry, { maxLength: 14 });
const packers: readonly ((entries: readonly ArchiveEntry[]) => Buffer)[] = [
  tarOf,
  (entries) => gzipSync(tarOf(entries), { level: 1 }),
  (entries) => zipOf(entries),
  (entries) => zipOf(entries, false),
];
const packer = fc.constantFrom(...packers);

test("archives of any entries", async () => {
  let unpacked = 0;
  let refused = 0;
  const runs = propertyRuns(350);
  await fc.assert(
    fc.asyncProperty(entries, packer, async (entries, pack) => {
      if ((await unpack(pack(entries))) === undefined) unpacked++;
      else refused++;
    }),
    { numRuns: runs },
  );
  assert.ok(unpacked > runs / 20 && refused > runs / 20, `${unpacked} unpacked, ${refused} refused`);
});

const mutation = fc.record({
  at: fc.nat(),
  how: fc.constantFrom("flip", "set", "remove", "repeat", "cut", "insert"),
  value: fc.nat(255),
  length: fc.integer({ min: 1, max: 600 }),
});

test("whole archives with random damage", async () => {
  await fc.assert(
    fc.asyncProperty(
      entries,
      packer,
      fc.array(mutation, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (entries, pack, mutations, reseal) => {
        let archive = pack(entries);
        for (const mutation of mutations) archive = mutate(archive, mutation);
        // Most damage to a head is seen by its sum alone; half of it must get past that.
        if (reseal && pack === tarOf) sealHeads(archive);
        await unpack(archive);
      },
    ),
    { numRuns: propertyRuns(350) },
  );
});

test("bytes that are no archive", async () => {
  const start = fc.constantFrom("", "PK", "PK\x03\x04", "PK\x05\x06", "\x1f\x8b", "\x1f\x8b\x08\0\0\0\0\0");
  await fc.assert(
    fc.asyncProperty(start, fc.uint8Array({ maxLength: 3000 }), async (start, rest) => {
      const refusal = await unpack(Buffer.concat([Buffer.from(start, "latin1"), rest]));
      assert.equal(refusal?.code, "invalid_archive");
    }),
    { numRuns: propertyRuns(150) },
  );
});

/** The refusal, or undefined where it was unpacked (and is what it must be). */
async function unpack(archive: Buffer): Promise<VirgaError | undefined> {
  const around = await treeOf(home);
  const { digest } = await blobs.put(stream([archive]));
  try {
    const folder = await artifacts.unpack(digest, limits);
    await checkFolder(folder);
    await artifacts.discard(folder);
    return undefined;
  } catch (error) {
    if (!(error instanceof VirgaError)) throw error;
    assert.ok(
      error.code === "invalid_archive" || error.code === "archive_too_large",
      `${error.code}: ${error.message}`,
    );
    assert.ok(error.detail.fix);
    // A name and a target, shortened, each character as JSON writes it at worst.
    assert.ok(error.message.length < 2 * 161 * 6 + 200, `${error.message.length} characters of message`);
    return error;
  } finally {
    await blobs.delete(digest);
    assert.deepEqual(await treeOf(home), around);
  }
}

async function checkFolder(folder: string): Promise<void> {
  assert.equal(dirname(folder), join(directory, "work"));
  const tree = await treeOf(folder);
  let size = 0;
  for (const [path, what] of Object.entries(tree)) {
    assert.notEqual(what, "something else", path);
    if (what.startsWith("link")) {
      const end = await realpath(join(folder, path));
      assert.ok(end === folder || end.startsWith(folder + sep), `${path} leads to ${end}`);
    } else if (what !== "folder") size += (await lstat(join(folder, path))).size;
  }
  assert.ok(size <= limits.maxBytes, `${size} bytes`);
  assert.ok(Object.keys(tree).length <= limits.maxFiles, `${Object.keys(tree).length} files`);
}

function mutate(
  archive: Buffer,
  { at, how, value, length }: { at: number; how: string; value: number; length: number },
): Buffer {
  if (archive.byteLength === 0) return archive;
  const from = at % archive.byteLength;
  const [head, piece, tail] = [
    archive.subarray(0, from),
    archive.subarray(from, from + length),
    archive.subarray(from + length),
  ];
  if (how === "remove") return Buffer.concat([head, tail]);
  if (how === "repeat") return Buffer.concat([head, piece, piece, tail]);
  if (how === "cut") return Buffer.from(head);
  if (how === "insert") return Buffer.concat([head, Buffer.alloc(length, value), piece, tail]);
  const changed = Buffer.from(archive);
  changed[from] = how === "set" ? value : changed[from]! ^ (1 << (value & 7));
  return changed;
}

function sealHeads(archive: Buffer): void {
  for (let block = 0; block + 512 <= archive.byteLength; block += 512) {
    const head = archive.subarray(block, block + 512);
    if (head.subarray(257, 262).equals(Buffer.from("ustar"))) sealTarHead(head);
  }
}

/** Contents in pieces of odd lengths, as other stores may give them. */
async function inPieces(digest: string): ReturnType<Blobs["get"]> {
  const { size, content } = await blobs.get(digest);
  return {
    size,
    content: (async function* () {
      for await (const chunk of content)
        for (let from = 0; from < chunk.byteLength; from += 777) yield chunk.subarray(from, from + 777);
    })(),
  };
}

function openFiles(): number {
  return existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0;
}
