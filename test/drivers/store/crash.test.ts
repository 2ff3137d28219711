import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { systemChance } from "../../../src/drivers/host/clock.ts";
import { openSqliteStore, type SqliteStore } from "../../../src/drivers/store/sqlite/store.ts";
import { text } from "../../contracts/opened.ts";
import { ManualClock } from "../../engine/manual-clock.ts";
import { killedChild } from "../killed-child.ts";
import { propertyRuns } from "../property-runs.ts";

const writer = join(import.meta.dirname, "crash-writer.ts");
const folder = mkdtempSync(join(tmpdir(), "virga-crash-"));
after(() => rmSync(folder, { recursive: true }));

/** What the writers of all rounds have said. */
class Said {
  readonly counts = new Map<string, number>();
  readonly batches = new Map<string, number>();
  readonly appended = new Map<string, number>();
  readonly trimmed = new Map<string, number>();
  readonly enqueued = new Set<string>();
  readonly attempts = new Map<string, number>();
  readonly willSettle = new Set<string>();
  readonly settled = new Set<string>();
  readonly willBury = new Set<string>();
  readonly buried = new Set<string>();

  hear(line: string): void {
    const [tense, what, name = "", number = ""] = line.split(" ");
    const said = `${tense} ${what}`;
    if (said === "did count") this.counts.set(name, Number(number));
    else if (said === "did batch") this.batches.set(name, Number(number));
    else if (said === "did append") this.appended.set(name, Number(number));
    else if (said === "will trim") this.trimmed.set(name, Number(number));
    else if (said === "did enqueue") this.enqueued.add(name);
    else if (said === "did lease") this.attempts.set(name, Number(number));
    else if (said === "will settle") this.willSettle.add(name);
    else if (said === "did settle") this.settled.add(name);
    else if (said === "will bury") this.willBury.add(name);
    else if (said === "did bury") this.buried.add(name);
    else assert.equal(line, "did open");
  }
}

test(
  "what was acknowledged outlives SIGKILL, whole, and unsettled messages come back",
  { timeout: 600_000 },
  async (context) => {
    const file = join(folder, "store.sqlite");
    const said = new Said();
    const rounds = propertyRuns(8);
    for (let round = 0; round < rounds; round++) {
      const lines = await killedChild(writer, [file, String(round), String(round + 1)], 5 + Math.random() * 300);
      for (const line of lines) said.hear(line);
      const clock = new ManualClock();
      const store = openSqliteStore({ file, clock, chance: systemChance });
      try {
        await checkRecords(store, said);
        await checkJournal(store, said);
        // A store that is looked at is as good as one that was not: every other round goes on with its leases.
        if (round % 2 === 1 || round === rounds - 1) await checkQueue(store, said, clock);
      } finally {
        store.close();
      }
    }
    for (const [what, heard] of Object.entries(said)) assert.ok((heard as Set<string>).size > 0, `nothing was ${what}`);
    context.diagnostic(
      `${rounds} kills: ${said.enqueued.size} messages, ${said.settled.size} settled, ${Math.max(...said.appended.values())} events in a stream`,
    );
  },
);

async function checkRecords({ records }: SqliteStore, said: Said): Promise<void> {
  for (const [name, number] of said.counts) {
    const found = (await records.get<number>(`count/${name}`))?.value ?? 0;
    // The one behind the last acknowledged may have been on its way to us.
    assert.ok(found === number || found === number + 1, `count ${name}: ${found} after ${number}`);
    said.counts.set(name, found);
  }
  for (const [name, number] of said.batches) {
    const found = await records.list<number>(`batch/${name}/`);
    const last = found[0]?.value ?? 0;
    assert.ok(last === number || last === number + 1, `batch ${name}: ${last} after ${number}`);
    assert.deepEqual(
      found.map(({ key, value }) => [key, value]),
      [...[0, 1, 2].map((part) => [`batch/${name}/${part}`, last]), [`batch/${name}/extra/${last}`, last]],
    );
    said.batches.set(name, last);
  }
  const all = await records.list("");
  assert.ok((await records.revision()) >= Math.max(...all.map(({ revision }) => revision), 0));
  assert.equal(new Set(all.map(({ revision }) => revision)).size, all.length);
}

async function checkJournal({ journal }: SqliteStore, said: Said): Promise<void> {
  for (const [name, acknowledged] of said.appended) {
    const { first, last } = await journal.bounds(name);
    assert.ok(last >= acknowledged, `stream ${name} ends at ${last} after ${acknowledged}`);
    assert.ok(first <= Math.max(1, said.trimmed.get(name) ?? 1), `stream ${name} begins at ${first}`);
    const events = await journal.read(name, 1, Infinity);
    assert.deepEqual(
      events.map(({ sequence }) => sequence),
      Array.from({ length: last - first + 1 }, (_, index) => first + index),
    );
    assert.equal((await journal.query(name, { limit: Infinity })).length, events.length);
    // Each append is there as a whole, apart from what a trim took off the first.
    let open: { of: string; part: number; size: number } | undefined;
    for (const [index, { data }] of events.entries()) {
      const [of = "", place = ""] = text(data).split(" ");
      const [part = 0, size = 0] = place.split("/").map(Number);
      if (index > 0) assert.deepEqual([of, part], open === undefined ? [of, 1] : [open.of, open.part + 1]);
      open = part === size ? undefined : { of, part, size };
    }
    assert.equal(open, undefined, `the last append of ${name} is not whole`);
  }
}

async function checkQueue({ queue }: SqliteStore, said: Said, clock: ManualClock): Promise<void> {
  const settledBefore = new Set<string>();
  for (const id of said.enqueued) {
    const found = await queue.find("q", id);
    assert.ok(found, `${id} was accepted and is lost`);
    if (said.settled.has(id)) assert.equal(found.state, "settled", id);
    if (said.buried.has(id)) assert.deepEqual([found.state, found.reason], ["dead", "bad"], id);
    if (found.state === "settled") assert.ok(said.willSettle.has(id), `${id} was settled by nobody`);
    if (found.state === "dead") assert.ok(said.willBury.has(id), `${id} was buried by nobody`);
    assert.ok(found.attempt >= (said.attempts.get(id) ?? 0), `${id} has forgotten attempts`);
    if (found.state === "settled" || found.state === "dead") settledBefore.add(id);
  }
  // The dead server's leases hold until they end; then everything that is not done comes again.
  await clock.advance(60_000);
  const delivered = new Map<string, number>();
  for (;;) {
    const leases = await queue.lease("q", 1000, 60_000);
    if (leases.length === 0) break;
    for (const { id, body, attempt, receipt } of leases) {
      assert.equal(text(body), id);
      assert.ok(!delivered.has(id), `${id} was leased twice`);
      delivered.set(id, attempt);
      said.willSettle.add(id);
      assert.equal(await queue.settle("q", receipt), true);
      said.settled.add(id);
    }
  }
  for (const id of said.enqueued) assert.equal(delivered.has(id), !settledBefore.has(id), id);
  for (const [id, attempt] of delivered) assert.ok(attempt > (said.attempts.get(id) ?? 0), id);
  for (const id of delivered.keys()) said.enqueued.add(id);
  const { waiting, leased } = await queue.depth("q");
  assert.deepEqual({ waiting, leased }, { waiting: 0, leased: 0 });
}
