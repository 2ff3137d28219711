import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Platform } from "./harness.ts";

const calls = 2000;
const kills = 20;

/** Counts the runs of each call outside of the platform, where a SIGKILL cannot reach. */
const runs = new Map<string, number>();
const counter = createServer((request, response) => {
  const key = request.url?.slice(1) ?? "";
  runs.set(key, (runs.get(key) ?? 0) + 1);
  response.end("counted");
});

let platform: Platform;
before(async () => {
  await new Promise<void>((ready) => counter.listen(0, "127.0.0.1", ready));
  platform = await Platform.start();
});
after(async () => {
  await platform.stop();
  counter.close();
});

test(
  `every call accepted with 202 settles, though the server is killed ${kills} times`,
  { timeout: 240_000 },
  async () => {
    const { port } = counter.address() as AddressInfo;
    const code = `
    export default async (request) => {
      const name = await request.text();
      await fetch("http://127.0.0.1:${port}/" + name);
      return name;
    };`;
    const settings = {
      runtime: "node",
      limits: { concurrency: 16 },
      scaling: { max: 2 },
      async: { maxAttempts: 100, backoffMs: 10 },
    };
    await platform.deploy("note", { "index.mjs": code }, settings);
    await platform.deploy(
      "note-once",
      { "index.mjs": code },
      { ...settings, async: { ...settings.async, delivery: "at-most-once" } },
    );

    /** Call → the id that its 202 named. Even calls have an idempotency key and are sent again until they get one. */
    const accepted = new Map<string, string>();
    let next = 0;
    let down = Promise.resolve();
    const send = async (call: number): Promise<void> => {
      const name = `call-${call}`;
      const keyed = call % 2 === 0;
      for (;;) {
        await down;
        try {
          const answer = await platform.request(
            `/v1/namespaces/default/functions/${keyed ? "note-once" : "note"}/invocations`,
            {
              method: "POST",
              body: name,
              headers: keyed ? { "idempotency-key": name } : {},
            },
          );
          assert.equal(answer.status, 202, answer.text);
          accepted.set(name, answer.json().id);
          return;
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          // The server died before it answered. Without a key the call may or may not have been accepted: leave it.
          if (!keyed) return;
          await pause(5);
        }
      }
    };
    const senders = Array.from({ length: 16 }, async () => {
      for (let call = next++; call < calls; call = next++) {
        await send(call);
        await pause(8);
      }
    });

    for (let kill = 0; kill < kills; kill++) {
      await pause(60 + (kill % 5) * 40);
      await platform.kill();
      down = platform.up();
      await down;
    }
    await Promise.all(senders);
    assert.ok(accepted.size >= calls / 2, `only ${accepted.size} calls accepted`);

    const open = new Map(accepted);
    while (open.size > 0) {
      for (const [name, id] of open) {
        const record = await platform.record(id);
        assert.ok(record, `${name} was accepted as ${id} and is not known any more`);
        if (record.status === "queued" || record.status === "running") continue;
        const interrupted = record.status === "failed" && record.error?.code === "attempt_interrupted";
        assert.ok(
          record.status === "succeeded" || (interrupted && Number(name.slice(5)) % 2 === 0),
          `${name}: ${record.status} ${record.error?.message}`,
        );
        if (record.status === "succeeded") assert.ok((runs.get(name) ?? 0) >= 1, `${name} succeeded without running`);
        open.delete(name);
      }
      await pause(50);
    }

    const keyed = [...accepted].filter(([name]) => Number(name.slice(5)) % 2 === 0);
    assert.equal(keyed.length, calls / 2);
    assert.equal(new Set(accepted.values()).size, accepted.size, "two calls share an id");
    for (const [name] of keyed)
      assert.ok((runs.get(name) ?? 0) <= 1, `${name} has a key and ran ${runs.get(name)} times`);

    // A key sent again long after it settled is still the same call.
    const again = await platform.request("/v1/namespaces/default/functions/note-once/invocations", {
      method: "POST",
      body: "call-0",
      headers: { "idempotency-key": "call-0" },
    });
    assert.deepEqual([again.json().id, again.json().duplicate], [accepted.get("call-0"), true]);
  },
);
