import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openFileBlobs } from "../../../src/drivers/blobs/files/blobs.ts";
import { systemClock } from "../../../src/drivers/host/clock.ts";
import { collect, describeBlobs, sha256, stream } from "../../contracts/blobs.ts";
import { bytes, gather, rejects } from "../../contracts/opened.ts";
import { ManualClock } from "../../engine/manual-clock.ts";
import { killedChild } from "../killed-child.ts";
import { propertyRuns } from "../property-runs.ts";
import { cannotMount, SmallDisk } from "../small-disk.ts";

const folder = mkdtempSync(join(tmpdir(), "virga-blobs-"));
after(() => rmSync(folder, { recursive: true }));
let folders = 0;
const freshFolder = (): string => {
  const path = join(folder, String(folders++));
  mkdirSync(path);
  return path;
};
const open = (directory: string, clock = systemClock) => openFileBlobs({ directory, clock });
const pathOf = (directory: string, digest: string): string => join(directory, digest.slice(0, 2), digest.slice(2));

describeBlobs("files", async () => {
  const directory = freshFolder();
  const clock = new ManualClock();
  return { port: await open(directory, clock), clock, reopen: () => open(directory, clock), close() {} };
});

for (const [damage, apply] of [
  ["a changed byte", (path: string) => writeFileSync(path, flipped(readFileSync(path)))],
  ["a cut-off end", (path: string) => truncateSync(path, 700_000)],
  ["a longer end", (path: string) => writeFileSync(path, "more", { flag: "a" })],
  ["nothing left", (path: string) => truncateSync(path, 0)],
] as const)
  test(`${damage} is noticed before the last chunk is given; the content then counts as gone and can be put again`, async () => {
    const directory = freshFolder();
    const blobs = await open(directory);
    const whole = Buffer.alloc(1_000_000, "virga");
    const { digest } = await blobs.put(stream([whole]));
    const path = pathOf(directory, digest);
    apply(path);
    const damaged = readFileSync(path);
    const { content } = await blobs.get(digest);
    let read = 0;
    const error = await rejects(
      (async () => {
        for await (const chunk of content) read += chunk.byteLength;
      })(),
      "storage_corrupt",
      new RegExp(path),
    );
    assert.ok(read < damaged.byteLength || damaged.byteLength === 0, "it was given as a whole");
    // The operator can look at it.
    assert.ok(error.detail.fix?.includes(join(directory, "damaged")));
    assert.ok(damaged.equals(readFileSync(join(directory, "damaged", digest))));
    assert.equal(await blobs.has(digest), false);
    await rejects(blobs.get(digest), "not_found");
    assert.deepEqual(await gather(blobs.list()), []);
    await blobs.put(stream([whole]));
    assert.ok(whole.equals(await collect((await blobs.get(digest)).content)));
  });

test("a damaged content that is put again before anybody read it is whole again", async () => {
  const directory = freshFolder();
  const blobs = await open(directory);
  const { digest } = await blobs.put(stream([bytes("virga")]));
  const reader = await blobs.get(digest);
  writeFileSync(pathOf(directory, digest), "Virga");
  await blobs.put(stream([bytes("virga")]));
  assert.equal(String(await collect(reader.content)), "virga");
  assert.equal(await blobs.has(digest), true);
});

test("a content deleted after it was asked for is not found when it is read", async () => {
  const blobs = await open(freshFolder());
  const { digest } = await blobs.put(stream([bytes("a")]));
  const { content } = await blobs.get(digest);
  await blobs.delete(digest);
  await rejects(collect(content), "not_found");
});

test(
  "what is not read to its end is closed, and what is not read at all never opened",
  { skip: existsSync("/proc/self/fd") ? false : "counts open files in /proc" },
  async () => {
    const blobs = await open(freshFolder());
    const { digest } = await blobs.put(stream([Buffer.alloc(1_000_000)]));
    const before = readdirSync("/proc/self/fd").length;
    for (let round = 0; round < 20; round++) {
      const { content } = await blobs.get(digest);
      if (round % 2 === 0) continue;
      for await (const chunk of content) if (chunk.byteLength > 0) break;
    }
    assert.ok(readdirSync("/proc/self/fd").length <= before + 1);
  },
);

test("files that are no contents are left alone and not listed", async () => {
  const directory = freshFolder();
  const blobs = await open(directory);
  const { digest } = await blobs.put(stream([bytes("a")]));
  writeFileSync(join(directory, digest.slice(0, 2), "note.txt"), "");
  writeFileSync(join(directory, "README"), "");
  assert.deepEqual(
    (await gather(blobs.list())).map((found) => found.digest),
    [digest],
  );
});

test("contents are for the server's user only", async () => {
  const directory = freshFolder();
  const blobs = await open(directory);
  const { digest } = await blobs.put(stream([bytes("secret")]));
  assert.equal(statSync(pathOf(directory, digest)).mode & 0o077, 0);
});

test("a writer killed in the middle leaves nothing that can be seen, and what it acknowledged is whole", async () => {
  const directory = freshFolder();
  const acknowledged: string[] = [];
  let torn = 0;
  for (let round = 0; round < propertyRuns(6); round++) {
    const lines = await killedChild(join(import.meta.dirname, "endless-put.ts"), [directory], Math.random() * 150);
    acknowledged.push(...lines.filter((line) => line.startsWith("did ")).map((line) => line.slice(4)));
    torn += readdirSync(join(directory, "incoming")).length;
    const blobs = await open(directory);
    assert.deepEqual(readdirSync(join(directory, "incoming")), []);
    const listed = new Set<string>();
    for await (const { digest, size } of blobs.list()) {
      const content = await collect((await blobs.get(digest)).content);
      assert.deepEqual([sha256(content), content.byteLength], [digest, size]);
      listed.add(digest);
    }
    for (const digest of acknowledged) assert.ok(listed.has(digest), `${digest} was acknowledged and is lost`);
    for (const digest of listed) await blobs.delete(digest);
    acknowledged.length = 0;
  }
  assert.ok(torn > 0, "no writer was killed in the middle");
});

test(
  "a full disk refuses what does not fit, keeps nothing of it, and takes more once there is room",
  { skip: cannotMount() },
  async () => {
    const disk = new SmallDisk(2 ** 20);
    try {
      const directory = disk.folder("blobs");
      const blobs = await open(directory);
      const { digest } = await blobs.put(stream([bytes("small")]));
      disk.fill(300_000);
      const files = disk.files("blobs");
      const large = (): AsyncIterable<Uint8Array> =>
        stream(Array.from({ length: 10 }, () => Buffer.alloc(50_000, "x")));
      for (let round = 0; round < 3; round++) {
        const error = await rejects(blobs.put(large()), "storage_full", new RegExp(directory));
        assert.ok(error.detail.fix);
        assert.deepEqual(disk.files("blobs"), files);
      }
      disk.fill();
      await rejects(blobs.put(stream([Buffer.alloc(10_000, "y")])), "storage_full");
      assert.equal(String(await collect((await blobs.get(digest)).content)), "small");
      disk.free();
      assert.equal((await blobs.put(large())).size, 500_000);
    } finally {
      disk.remove();
    }
  },
);

function flipped(content: Buffer): Buffer {
  content[500_000]! ^= 1;
  return content;
}
