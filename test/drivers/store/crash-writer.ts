/**
 * Writes to a store until it is killed, and says so on standard output: `will …;` before what must not happen unasked,
 * `did …;` for each promise that has settled. Started with the file, a round and a seed.
 */
import { writeSync } from "node:fs";
import { systemChance } from "../../../src/drivers/host/clock.ts";
import { openSqliteStore } from "../../../src/drivers/store/sqlite/store.ts";
import { bytes } from "../../contracts/opened.ts";
import { ManualClock, seededChance } from "../../engine/manual-clock.ts";

const [file = "", round = "", seed = ""] = process.argv.slice(2);
const { records, journal, queue } = openSqliteStore({ file, clock: new ManualClock(), chance: systemChance });
const { random } = seededChance(Number(seed));
const upTo = (most: number): number => Math.floor(random() * most);
const say = (line: string): void => void writeSync(1, `${line};\n`);

/** Counts up under one key. */
async function count(name: string): Promise<never> {
  const key = `count/${name}`;
  let entry = await records.get<number>(key);
  for (let number = (entry?.value ?? 0) + 1; ; number++) {
    const revision = await records.put(key, number, { expect: entry?.revision ?? 0 });
    say(`did count ${name} ${number}`);
    entry = { key, value: number, revision };
  }
}

/** Writes the same number under several keys, and removes what the batch before it added. */
async function batch(name: string): Promise<never> {
  let last = (await records.get<number>(`batch/${name}/0`))?.value ?? 0;
  for (;;) {
    const next = last + 1;
    await records.batch([
      ...[0, 1, 2].map((part) => ({ put: `batch/${name}/${part}`, value: next })),
      { put: `batch/${name}/extra/${next}`, value: next },
      { delete: `batch/${name}/extra/${last}` },
    ]);
    say(`did batch ${name} ${next}`);
    last = next;
  }
}

/** Appends events that say where in which append they stand. */
async function append(name: string): Promise<never> {
  for (let number = 0; ; number++) {
    const size = 1 + upTo(5);
    const events = Array.from({ length: size }, (_, part) => ({
      at: number,
      data: bytes(`${round}.${number} ${part + 1}/${size} ${"x".repeat(upTo(2000))}`),
    }));
    const last = await journal.append(name, events);
    say(`did append ${name} ${last}`);
    if (random() < 0.02) {
      say(`will trim ${name} ${last - 20}`);
      await journal.trim(name, { before: last - 20 });
    }
  }
}

async function enqueue(name: string): Promise<never> {
  for (let number = 0; ; number++) {
    const id = `${name}-${round}-${number}`;
    const key = random() < 0.3 ? { key: `key-${upTo(3)}` } : {};
    await queue.enqueue("q", { id, body: bytes(id), ...key });
    say(`did enqueue ${id}`);
  }
}

/** Leases, and settles, buries, releases or forgets what it got. */
async function work(): Promise<never> {
  for (;;) {
    const leases = await queue.lease("q", 4, 60_000);
    if (leases.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all(
      leases.map(async ({ id, receipt, attempt }) => {
        say(`did lease ${id} ${attempt}`);
        const choice = random();
        if (choice < 0.6) {
          say(`will settle ${id}`);
          if (await queue.settle("q", receipt)) say(`did settle ${id}`);
        } else if (choice < 0.7) {
          say(`will bury ${id}`);
          if (await queue.bury("q", receipt, "bad")) say(`did bury ${id}`);
        } else if (choice < 0.8) await queue.release("q", receipt, 0);
        else if (choice < 0.9) await queue.extend("q", receipt, 60_000);
      }),
    );
  }
}

say("did open");
await Promise.all([
  ...["a", "b", "c"].map(count),
  ...["a", "b"].map(batch),
  ...["a", "b", "c"].map(append),
  ...["a", "b"].map(enqueue),
  work(),
  work(),
]);
