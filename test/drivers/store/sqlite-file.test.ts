import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, describe, test } from "node:test";
import { VirgaError } from "../../../src/core/errors.ts";
import { systemChance, systemClock } from "../../../src/drivers/host/clock.ts";
import { closeDatabase, openDatabase } from "../../../src/drivers/store/sqlite/database.ts";
import { openSqliteStore, type SqliteStore } from "../../../src/drivers/store/sqlite/store.ts";
import { bytes, rejects } from "../../contracts/opened.ts";
import { cannotMount, SmallDisk } from "../small-disk.ts";

/** What concerns SQLite's file rather than the ports. */

const folder = mkdtempSync(join(tmpdir(), "virga-sqlite-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;
const freshFile = (): string => join(folder, `${files++}`, "store.sqlite");
const open = (file: string): SqliteStore => openSqliteStore({ file, clock: systemClock, chance: systemChance });

function fails(file: string): VirgaError {
  try {
    open(file).close();
  } catch (error) {
    assert.ok(error instanceof VirgaError, String(error));
    assert.ok(error.message.includes(file), error.message);
    assert.ok(error.detail.fix, "it names no way out");
    return error;
  }
  return assert.fail(`${file} was opened`);
}

describe("durability", () => {
  test("the database writes ahead, syncs each commit, and is locked as long as it is open", () => {
    const file = freshFile();
    open(file).close();
    const database = openDatabase(file);
    const pragma = (name: string): unknown => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
    assert.equal(pragma("journal_mode"), "wal");
    assert.equal(pragma("synchronous"), 2 /* FULL */);
    assert.equal(pragma("locking_mode"), "exclusive");
    closeDatabase(database, file);
  });

  test("everything asked for in one turn of the event loop is one transaction", async () => {
    const file = freshFile();
    const store = open(file);
    const before = commitsIn(file);
    await Promise.all(
      Array.from({ length: 100 }, (_, index) => [
        store.records.put(`k${index}`, index),
        store.journal.append(`s${index % 3}`, [{ at: index, data: bytes("x") }]),
        store.queue.enqueue("q", { id: `m${index}`, body: bytes("x") }),
      ]).flat(),
    );
    assert.equal(commitsIn(file) - before, 1);
    await store.records.put("k", 1);
    await store.records.put("k", 2);
    assert.equal(commitsIn(file) - before, 3);
    store.close();
  });

  test("a refused change keeps none of its turn from being committed with the others", async () => {
    const file = freshFile();
    const store = open(file);
    const before = commitsIn(file);
    const outcomes = await Promise.allSettled([
      store.records.put("a", 1),
      store.records.put("a", 2, { expect: 7 }),
      store.journal.append("s", [{ at: 1, data: bytes("x") }], { expect: 7 }),
      store.records.put("b", 1),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "rejected", "fulfilled"],
    );
    assert.equal(commitsIn(file) - before, 1);
    store.close();
  });

  test("what SQLite itself cannot take is refused alone", async () => {
    const store = open(freshFile());
    const outcomes = await Promise.allSettled([
      store.records.put("a", 1),
      // NaN is NULL to SQLite, and the column takes none.
      store.journal.append("s", [
        { at: 1, data: bytes("x") },
        { at: Number.NaN, data: bytes("x") },
      ]),
      store.records.put("b", 1),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(await store.journal.streams(""), []);
    assert.equal((await store.records.list("")).length, 2);
    store.close();
  });

  test("closing commits what was asked for before it; afterwards nothing is taken", async () => {
    const file = freshFile();
    const store = open(file);
    const put = store.records.put("a", 1);
    store.close();
    assert.equal(await put, 1);
    await rejects(store.records.put("b", 1), "unavailable", /is closed/);
    await rejects(store.records.get("a"), "unavailable", /is closed/);
    const again = open(file);
    assert.equal((await again.records.get("a"))?.value, 1);
    again.close();
  });
});

describe("one server for each data folder", () => {
  test("a second server is told which process has it, and the first one goes on", async () => {
    const file = freshFile();
    const child = spawn(process.execPath, [join(import.meta.dirname, "hold-store.ts"), file], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      await once(child.stdout, "data");
      const error = fails(file);
      assert.equal(error.code, "unavailable");
      assert.match(error.message, new RegExp(`in use by another server \\(process ${child.pid}\\)`));
      assert.equal(child.exitCode, null);
      // Not for reading either: the log's index is in the other's memory.
      const stranger = new DatabaseSync(file, { timeout: 0 });
      assert.throws(() => stranger.prepare("SELECT * FROM records").all(), /locked/);
      stranger.close();
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    // The name of the dead is still there; its lock is not.
    assert.ok(existsSync(`${file}.holder`));
    const store = open(file);
    assert.match(fails(file).message, new RegExp(`\\(process ${process.pid}\\)`));
    assert.equal(await store.records.put("a", 1), 1);
    store.close();
    assert.ok(!existsSync(`${file}.holder`));
  });

  test("a file of a newer version, or an older one, is left alone", () => {
    const file = freshFile();
    open(file).close();
    for (const [version, age] of [
      [99, "newer"],
      [1, "older"],
    ]) {
      const database = new DatabaseSync(file);
      database.exec(`PRAGMA user_version = ${version}`);
      database.close();
      const error = fails(file);
      assert.equal(error.code, "unavailable");
      assert.match(error.message, new RegExp(`${age} Virga \\(format ${version};`));
    }
  });
});

describe("a damaged file", () => {
  const pageBytes = 16_384;
  const grown = async (): Promise<string> => {
    const file = freshFile();
    const store = open(file);
    for (let index = 0; index < 20; index++) {
      await store.records.put(`k${index}`, "x".repeat(10_000));
      await store.journal.append("s", [{ at: index, data: new Uint8Array(10_000) }]);
      await store.queue.enqueue("q", { id: `m${index}`, body: new Uint8Array(10_000) });
    }
    store.close();
    return file;
  };

  test("is named when it is no database at all, with the way out", async () => {
    const file = await grown();
    writeFileSync(file, "this was a database".repeat(1000));
    const error = fails(file);
    assert.equal(error.code, "storage_corrupt");
    assert.match(error.detail.fix!, /Restore it from a copy, or move it away/);
    // Nothing was made of it, and nothing holds it.
    assert.ok(readFileSync(file, "utf8").startsWith("this was a database"));
    rmSync(file);
    open(file).close();
  });

  test("is named when its table of contents is broken", async () => {
    const file = await grown();
    damage(file, 100, 3000);
    assert.equal(fails(file).code, "storage_corrupt");
  });

  test("is named when it is another program's", () => {
    const file = freshFile();
    open(file).close();
    const database = new DatabaseSync(file);
    database.exec("DROP TABLE records");
    database.close();
    const error = fails(file);
    assert.equal(error.code, "storage_corrupt");
    assert.match(error.message, /no such table: records/);
  });

  test("is named by whatever reads or writes the damaged part; nothing else comes of it", async () => {
    const file = await grown();
    const size = readFileSync(file).byteLength;
    damage(file, pageBytes * 20, size - pageBytes * 20);
    const store = open(file);
    const { records, journal, queue } = store;
    const uses: Record<string, Promise<unknown>> = {
      list: records.list(""),
      read: journal.read("s", 1, 100),
      query: journal.query("s", { limit: 100 }),
      dead: queue.dead("q", { limit: 10 }),
      lease: queue.lease("q", 100, 1000),
      append: journal.append("s", [{ at: 1, data: new Uint8Array(10_000) }]),
      put: records.put("k5", "x".repeat(20_000)),
    };
    let corrupt = 0;
    for (const [what, use] of Object.entries(uses)) {
      const error = await use.then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (error === undefined) continue;
      assert.ok(
        error instanceof VirgaError && error.code === "storage_corrupt",
        `${what}: ${(error as Error).message}`,
      );
      assert.ok(error.message.includes(file), error.message);
      corrupt++;
    }
    assert.ok(corrupt >= 3, `only ${corrupt} uses met the damage`);
    store.close();
  });

  test("is named when it was cut off", async () => {
    const file = await grown();
    truncateSync(file, pageBytes * 20);
    const whole = await Promise.resolve()
      .then(() => open(file))
      .catch((error: unknown) => error);
    if (whole instanceof VirgaError) assert.equal(whole.code, "storage_corrupt");
    else {
      const store = whole as SqliteStore;
      await rejects(store.journal.read("s", 1, 100), "storage_corrupt");
      store.close();
    }
  });
});

describe("a full disk", { skip: cannotMount() }, () => {
  test("refuses what does not fit, with a clear error, and goes on once there is room", async () => {
    const disk = new SmallDisk(2 ** 20);
    const file = join(disk.folder("data"), "store.sqlite");
    const store = open(file);
    try {
      let kept = 0;
      const fill = async (): Promise<VirgaError> => {
        for (;;) {
          const error = await store.records.put(`k${kept}`, "x".repeat(20_000)).then(
            () => undefined,
            (thrown: unknown) => thrown as VirgaError,
          );
          if (error !== undefined) return error;
          kept++;
        }
      };
      disk.fill(200_000);
      const error = await fill();
      assert.equal(error.code, "storage_full");
      assert.ok(error.message.includes(file), error.message);
      assert.ok(error.detail.fix);
      assert.ok(kept > 0);
      disk.fill();
      // Full means full, and still nobody is left without an answer, and everything can be read.
      const many = await Promise.allSettled([
        store.records.put("a", "x".repeat(300_000)),
        store.journal.append("s", [{ at: 1, data: new Uint8Array(300_000) }]),
        store.queue.enqueue("q", { id: "m", body: new Uint8Array(300_000) }),
        store.records.put("k0", 1, { expect: 99 }),
      ]);
      assert.deepEqual(
        many.map((outcome) => outcome.status === "rejected" && (outcome.reason as VirgaError).code),
        ["storage_full", "storage_full", "storage_full", "conflict"],
      );
      assert.equal((await store.records.list("")).length, kept);
      assert.equal((await store.records.get<string>(`k${kept - 1}`))?.value.length, 20_000);
      assert.deepEqual(await store.journal.streams(""), []);

      disk.free();
      assert.equal(await store.records.put("a", 1), kept + 1);
      assert.equal(await store.journal.append("s", [{ at: 1, data: bytes("x") }]), 1);
      assert.deepEqual(await store.queue.enqueue("q", { id: "m", body: bytes("x") }), { id: "m", accepted: true });
      store.close();
      const again = open(file);
      assert.equal((await again.records.list("")).length, kept + 1);
      again.close();
    } finally {
      disk.remove();
    }
  });

  test("does not keep a server from starting, and one that finds no room for a store says so", async () => {
    const disk = new SmallDisk(2 ** 20);
    try {
      const file = join(disk.folder("data"), "store.sqlite");
      const store = open(file);
      await store.records.put("a", 1);
      store.close();
      const empty = join(disk.folder("empty"), "store.sqlite");
      disk.fill();
      const again = open(file);
      assert.equal((await again.records.get("a"))?.value, 1);
      await rejects(again.records.put("b", "x".repeat(9000)), "storage_full");
      assert.equal(fails(empty).code, "storage_full");
      disk.free();
      await again.records.put("b", 1);
      again.close();
      open(empty).close();
    } finally {
      disk.remove();
    }
  });
});

/** Overwrites `length` bytes from `start` with noise. */
function damage(file: string, start: number, length: number): void {
  const content = readFileSync(file);
  for (let index = start; index < start + length; index++) content[index] = (content[index]! * 7 + 13 + index) & 0xff;
  writeFileSync(file, content);
}

/**
 * Transactions in the write-ahead log: frames whose head carries the database's size, which only the last of a commit
 * does (sqlite.org/fileformat2.html, 4.1). Those of an earlier round of the log have other salts.
 */
function commitsIn(file: string): number {
  const log = readFileSync(`${file}-wal`);
  const pageSize = log.readUInt32BE(8);
  const salts = log.subarray(16, 24);
  let commits = 0;
  for (let frame = 32; frame + 24 + pageSize <= log.byteLength; frame += 24 + pageSize)
    if (log.subarray(frame + 8, frame + 16).equals(salts) && log.readUInt32BE(frame + 4) > 0) commits++;
  return commits;
}
