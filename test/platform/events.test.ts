import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { propertyRuns } from "../drivers/property-runs.ts";
import { Platform } from "./harness.ts";

const events = 600;
const kills = propertyRuns(8);

/** Subscription and event → the invocations that ran for them, counted outside of the platform, where a SIGKILL cannot reach. */
const runs = new Map<string, Set<string>>();
const counter = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? "/", "http://counter");
  const key = `${searchParams.get("subscription")} ${searchParams.get("event")}`;
  runs.set(key, (runs.get(key) ?? new Set()).add(searchParams.get("invocation") ?? ""));
  response.end();
});

const namespace = "/v1/namespaces/default";
let platform: Platform;
before(async () => {
  await new Promise<void>((ready) => counter.listen(0, "127.0.0.1", ready));
  platform = await Platform.start();
});
after(async () => {
  await platform.stop();
  counter.close();
});

const put = async (place: string, body: object): Promise<void> => {
  const answer = await platform.request(namespace + place, { method: "PUT", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, answer.text);
};

test(
  `every event accepted with 202 reaches each matching function in one invocation, and a timer fires once per due time, though the server is killed ${kills} times`,
  { timeout: 240_000 },
  async () => {
    const { port } = counter.address() as AddressInfo;
    const code = `
    export default async (request, context) => {
      const query = new URLSearchParams({
        subscription: request.headers.get("x-virga-subscription"),
        event: request.headers.get("ce-id"),
        invocation: context.id,
      });
      await fetch("http://127.0.0.1:${port}/?" + query);
      return "noted";
    };`;
    await platform.deploy(
      "note",
      { "index.mjs": code },
      { runtime: "node", limits: { concurrency: 16 }, scaling: { max: 2 } },
    );
    await put("/topics/orders", {});
    await put("/topics/clock", {});
    const delivery = { maxAttempts: 100, backoffMs: 10 };
    const common = { topic: "orders", target: { function: "note" }, delivery };
    await put("/subscriptions/all", common);
    await put("/subscriptions/even", { ...common, filters: [{ exact: { parity: "even" } }] });
    await put("/subscriptions/ticks", { ...common, topic: "clock" });
    await put("/event-sources/tick", {
      topic: "clock",
      timer: { kind: "interval", everyMs: 1000 },
      catchUp: "all",
    });

    let next = 0;
    let down = Promise.resolve();
    const send = async (number: number): Promise<void> => {
      const event = {
        specversion: "1.0",
        id: `e${number}`,
        source: "/test",
        type: "numbered",
        parity: number % 2 === 0 ? "even" : "odd",
      };
      for (;;) {
        await down;
        try {
          const answer = await platform.request(`${namespace}/topics/orders/events`, {
            method: "POST",
            headers: { "content-type": "application/cloudevents+json" },
            body: JSON.stringify(event),
          });
          assert.equal(answer.status, 202, answer.text);
          return;
        } catch (error) {
          // The server died before it answered: the same event again.
          if (error instanceof assert.AssertionError) throw error;
          await pause(5);
        }
      }
    };
    const senders = Array.from({ length: 8 }, async () => {
      for (let number = next++; number < events; number = next++) {
        await send(number);
        await pause(20);
      }
    });
    for (let kill = 0; kill < kills; kill++) {
      await pause(100 + (kill % 4) * 60);
      await platform.kill();
      down = platform.up();
      await down;
    }
    await Promise.all(senders);

    const missing = (): string[] =>
      Array.from({ length: events }, (_, number) => [
        `all e${number}`,
        ...(number % 2 === 0 ? [`even e${number}`] : []),
      ])
        .flat()
        .filter((key) => !runs.has(key));
    while (missing().length > 0) await pause(50);
    // What would come twice comes soon.
    await pause(1500);
    for (const [key, invocations] of runs) {
      assert.equal(invocations.size, 1, `${key} ran as ${[...invocations].join()}`);
      assert.match([...invocations][0]!, /^[0-9a-f-]{36}$/);
    }
    assert.ok(![...runs.keys()].some((key) => /^even e\d*[13579]$/.test(key)), "the filter holds back odd ones");

    const { items } = (await platform.request(`${namespace}/topics/clock/events?limit=1000`)).json<{
      items: { event: { id: string } }[];
    }>();
    const ticks = items.map(({ event }) => Date.parse(event.id));
    assert.ok(ticks.length >= 3, `only ${ticks.length} ticks`);
    for (const [index, at] of ticks.entries()) {
      assert.equal(at, ticks[0]! + index * 1000, "each due time once, and none left out");
      if (index < ticks.length - 1) assert.equal(runs.get(`ticks ${new Date(at).toISOString()}`)?.size, 1);
    }
  },
);
