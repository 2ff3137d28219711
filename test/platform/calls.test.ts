import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { missingTools } from "../tools.ts";
import { Platform } from "./harness.ts";

const functions = {
  add: `export default async (request) => { const { a, b } = await request.json(); return { sum: a + b }; };`,
  echo: `export default async (request) => new Response(await request.arrayBuffer(), { headers: { "x-length": request.headers.get("content-length") ?? "" } });`,
  shout: `def handler(request, context):\n    return request.text().upper()\n`,
};

let platform: Platform;
before(async () => {
  platform = await Platform.start();
});
after(() => platform.stop());

test(
  "10,000 calls at 64 in flight over three functions: each answer right, records and usage add up",
  { skip: missingTools("python"), timeout: 120_000 },
  async () => {
    await platform.deploy(
      "add",
      { "index.mjs": functions.add },
      { runtime: "node", public: true, limits: { concurrency: 8 }, scaling: { max: 3 } },
    );
    await platform.deploy(
      "echo",
      { "index.mjs": functions.echo },
      { runtime: "node", public: true, limits: { concurrency: 1 }, scaling: { max: 4 } },
    );
    await platform.deploy(
      "shout",
      { "handler.py": functions.shout },
      { runtime: "python", public: true, limits: { concurrency: 4 }, scaling: { max: 2 } },
    );

    const total = 10_000;
    const ids = new Map<string, string>();
    const counts: Record<string, number> = { add: 0, echo: 0, shout: 0 };
    let bytesOut = 0;
    let next = 0;
    const caller = async (): Promise<void> => {
      for (let n = next++; n < total; n = next++) {
        const name = (["add", "echo", "shout"] as const)[n % 3] ?? "add";
        const body = name === "add" ? JSON.stringify({ a: n, b: 1 }) : `text number ${n}`;
        const answer = await platform.call(name, { body });
        assert.equal(answer.status, 200, answer.text);
        if (name === "add") assert.deepEqual(answer.json(), { sum: n + 1 });
        if (name === "echo") assert.equal(answer.text, body);
        if (name === "shout") assert.equal(answer.text, body.toUpperCase());
        const id = String(answer.headers["x-virga-invocation"]);
        assert.ok(!ids.has(id), `invocation ${id} answered twice`);
        ids.set(id, name);
        counts[name] = (counts[name] ?? 0) + 1;
        bytesOut += answer.body.length;
      }
    };
    await Promise.all(Array.from({ length: 64 }, caller));
    assert.equal(ids.size, total);

    const records = await allRecords();
    assert.equal(records.length, total);
    for (const record of records) {
      assert.equal(ids.get(record.id), record.name);
      assert.equal(record.status, "succeeded");
      assert.equal(record.usage.billedMs, Math.max(1, Math.ceil(record.timings.runMs)));
      ids.delete(record.id);
    }
    assert.equal(ids.size, 0, "calls without a record");
    assert.equal(
      records.reduce((sum, { usage }) => sum + usage.bytesOut, 0),
      bytesOut,
    );

    const { items } = (await platform.request("/v1/namespaces/default/usage")).json();
    for (const [name, count] of Object.entries(counts)) {
      const own = records.filter((record) => record.name === name);
      const days = items.filter((day: { name: string }) => day.name === name);
      const sum = (field: string): number =>
        days.reduce((total: number, day: Record<string, number>) => total + (day[field] ?? 0), 0);
      assert.equal(sum("requests"), count);
      assert.equal(
        sum("billedMs"),
        own.reduce((total, { usage }) => total + usage.billedMs, 0),
      );
      assert.equal(
        sum("bytesOut"),
        own.reduce((total, { usage }) => total + usage.bytesOut, 0),
      );
      assert.equal(sum("coldStarts"), own.filter(({ usage }) => usage.coldStart).length);
      assert.equal(sum("errors"), 0);
    }
  },
);

// eslint-disable-next-line typescript/no-explicit-any
async function allRecords(): Promise<any[]> {
  const records = [];
  for (let before = ""; ;) {
    const page = (
      await platform.request(`/v1/namespaces/default/invocations?limit=1000${before && `&before=${before}`}`)
    ).json();
    records.push(...page.items);
    if (page.items.length < 1000) return records;
    before = page.items.at(-1).id;
  }
}
