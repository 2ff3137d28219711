import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import { World } from "./event-world.ts";

describe("topics", () => {
  test("events are kept in order, with their sequences, across a restart", async (t) => {
    const world = new World(t);
    await world.topic();
    assert.deepEqual(await world.publish(["a", "b"]), { first: 1, last: 2 });
    world.restart();
    assert.deepEqual(await world.publish(["c"]), { first: 3, last: 3 });
    const stored = await world.events.topics.read("default", "orders", 2, 10);
    assert.deepEqual(
      stored.map(({ sequence, event }) => [sequence, event.id]),
      [
        [2, "b"],
        [3, "c"],
      ],
    );
  });

  test("a batch with one event that is none is refused as a whole, and the event is named", async (t) => {
    const world = new World(t);
    await world.topic();
    const good = { specversion: "1.0", id: "1", source: "/s", type: "t" };
    await assert.rejects(world.events.topics.publish("default", "orders", [good, { ...good, type: "" }]), {
      code: "invalid_field",
      message: /^event 1: /,
      detail: { field: "1.type", fix: "give it a text that is not empty" },
    });
    assert.deepEqual(await world.events.topics.read("default", "orders", 1, 10), []);
    await assert.rejects(world.publish(["a"], {}, "none"), { code: "not_found" });
    await assert.rejects(world.events.topics.publish("default", "orders", []), { code: "bad_request" });
  });

  test("put again, a topic keeps its events and what is not said anew", async (t) => {
    const world = new World(t);
    await world.topic("orders", { maxEvents: 5 });
    await world.publish(["a"]);
    await world.topic("orders", { maxAgeMs: 60_000 });
    const topic = await world.events.topics.get("default", "orders");
    assert.deepEqual([topic?.retention, topic?.last], [{ maxEvents: 5, maxAgeMs: 60_000 }, 1]);
    await assert.rejects(world.topic("orders", { maxAgeMs: 1 }), { code: "invalid_field" });
  });

  test("a topic that something names is not deleted; one made anew begins at 1", async (t) => {
    const world = new World(t);
    await world.topic();
    await world.publish(["a"]);
    await world.subscribe("one");
    await assert.rejects(world.events.topics.delete("default", "orders"), {
      code: "conflict",
      message: /subscription one/,
    });
    await world.events.subscriptions.delete("default", "one");
    assert.equal(await world.events.topics.delete("default", "orders"), true);
    assert.equal(await world.events.topics.delete("default", "orders"), false);
    await world.topic();
    assert.deepEqual(await world.publish(["b"]), { first: 1, last: 1 });
  });

  test("the longest name keeps its events, also when those of deleted topics are swept", async (t) => {
    const world = new World(t);
    const name = "t".repeat(420);
    await world.topic(name);
    await world.publish(["a"], {}, name);
    await world.pass(120_000);
    world.restart();
    await world.pass(120_000);
    const [stored] = await world.events.topics.read("default", name, 1, 10);
    assert.equal(stored?.event.id, "a");
    assert.equal(await world.events.topics.delete("default", name), true);
    await world.topic(name);
    assert.deepEqual(await world.publish(["b"], {}, name), { first: 1, last: 1 });
  });

  test("by count, events go once every enabled subscription has passed them; by age they go in any case", async (t) => {
    const world = new World(t);
    await world.topic("orders", { maxEvents: 2, maxAgeMs: 3_600_000 });
    await world.subscribe("waits");
    await world.publish(["a", "b", "c", "d"]);
    await world.pass(120_000);
    assert.equal((await world.events.topics.get("default", "orders"))?.first, 1, "its function is not there yet");
    await world.events.subscriptions.put({
      namespace: "default",
      name: "waits",
      topic: "orders",
      target: { function: "note" },
      enabled: false,
    });
    await world.pass(120_000);
    assert.equal((await world.events.topics.get("default", "orders"))?.first, 3);
    await world.pass(3_700_000);
    assert.deepEqual(await world.events.topics.read("default", "orders", 1, 10), []);
    world.deploy("note");
    await world.subscribe("waits");
    await world.publish(["e"]);
    await world.pass(1000);
    assert.deepEqual(world.ids("waits"), ["e"]);
    assert.equal((await world.status("waits"))?.missed, 4);
  });

  test("forgetting a namespace leaves nothing of it", async (t) => {
    const world = new World(t);
    await world.topic();
    await world.subscribe("one");
    await world.events.sources.put({
      namespace: "default",
      name: "tick",
      topic: "orders",
      timer: { kind: "interval", everyMs: 1000 },
    });
    await world.events.forget("default");
    assert.deepEqual(await world.events.topics.list("default"), []);
    assert.deepEqual(await world.events.subscriptions.list("default"), []);
    assert.deepEqual(await world.events.sources.list("default"), []);
  });
});

describe("subscriptions", () => {
  test("an event that passes the filters calls the function with its attributes as headers and its data as the body", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("placed", { filters: [{ exact: { type: "order.placed" } }] }, { path: "/in?x=1" });
    await world.publish(["ä 1"], { subject: "100%", data: { total: 5 } });
    await world.publish(["b"], { type: "order.paid" });
    await world.pass(1000);
    const [delivery, ...more] = world.deliveries;
    assert.equal(more.length, 0);
    assert.equal(delivery?.body, '{"total":5}');
    assert.deepEqual(delivery.headers, {
      "ce-specversion": "1.0",
      "ce-id": "%C3%A4%201",
      "ce-source": "/shop",
      "ce-type": "order.placed",
      "ce-subject": "100%25",
      "content-type": "application/json",
      "x-virga-subscription": "placed",
      "x-virga-sequence": "1",
    });
    const status = await world.status("placed");
    assert.deepEqual([status?.state, status?.behind, status?.delivered, status?.filtered], ["flowing", 0, 1, 1]);
    const invocation = (await world.dispatcher.status("default", delivery.invocation))?.invocation;
    assert.deepEqual([invocation?.status, invocation?.cause.kind], ["succeeded", "event"]);
  });

  test("structured: the whole event is the body", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("all", { format: "structured" });
    await world.publish(["a"], { data_base64: "AAE=" });
    await world.pass(1000);
    assert.equal(world.deliveries[0]?.headers["content-type"], "application/cloudevents+json");
    assert.equal(JSON.parse(world.deliveries[0].body).data_base64, "AAE=");
  });

  test("a new one begins behind what is there, with all of it, or at a sequence", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.publish(["a", "b", "c"]);
    await world.subscribe("newest");
    await world.subscribe("oldest", { from: "oldest" });
    await world.subscribe("third", { from: 3 });
    await world.publish(["d"]);
    await world.pass(1000);
    assert.deepEqual(world.ids("newest"), ["d"]);
    assert.deepEqual(world.ids("oldest").sort(), ["a", "b", "c", "d"]);
    assert.deepEqual(world.ids("third").sort(), ["c", "d"]);
    await assert.rejects(world.subscribe("wrong", { from: 0 }), { code: "invalid_field" });
  });

  test("without its function it keeps its place and says so, and goes on when the function comes", async (t) => {
    const world = new World(t);
    await world.topic();
    await world.subscribe("early");
    await world.publish(["a", "b"]);
    await world.pass(1000);
    const waiting = await world.status("early");
    assert.deepEqual([waiting?.state, waiting?.behind, waiting?.sequence], ["target_missing", 2, 0]);
    assert.match(waiting?.reason ?? "", /no function note/);
    world.deploy("note");
    await world.pass(10);
    assert.deepEqual(world.ids("early").sort(), ["a", "b"]);
    assert.equal((await world.status("early"))?.state, "flowing");
  });

  test("disabled, it keeps its place; enabled, it has what came meanwhile", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("one", { enabled: false });
    await world.publish(["a"]);
    await world.pass(1000);
    assert.deepEqual([(await world.status("one"))?.state, world.deliveries.length], ["disabled", 0]);
    await world.subscribe("one");
    await world.pass(10);
    assert.deepEqual(world.ids("one"), ["a"]);
  });

  test("deleted in the middle of a delivery, it is gone, and its name can be used again", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    for (let round = 0; round < 20; round++) {
      await world.subscribe("one");
      const publishing = [1, 2, 3].map((part) => world.publish([`${round}.${part}`]));
      if (round % 2 === 0) await publishing[0];
      const deleting = world.events.subscriptions.delete("default", "one");
      // Told of more while it is on its way out.
      publishing.push(world.publish([`${round}.4`]));
      await Promise.all([deleting, ...publishing]);
      await world.pass();
    }
    await world.subscribe("one");
    await world.publish(["last"]);
    await world.pass(1000);
    assert.equal(world.ids("one").at(-1), "last");
  });

  test("sent back, it has everything again", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("one");
    await world.publish(["a", "b"]);
    await world.pass(1000);
    await world.events.subscriptions.seek("default", "one", 2);
    await world.pass(1000);
    assert.deepEqual(world.ids("one").sort(), ["a", "b", "b"]);
    assert.equal(new Set(world.deliveries.map((one) => one.invocation)).size, 3);
    await assert.rejects(world.events.subscriptions.seek("default", "none", 1), { code: "not_found" });
  });

  test("an event published twice is one call; another subscription has a call of its own", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("one");
    await world.subscribe("two");
    await world.publish(["a"]);
    await world.pass(1000);
    await world.publish(["a"]);
    await world.pass(1000);
    assert.deepEqual([world.ids("one"), world.ids("two")], [["a"], ["a"]]);
  });

  test("its delivery policy is over the function's: retries, then a dead letter that can be revived", async (t) => {
    const world = new World(t);
    world.deploy("note", { async: { maxAttempts: 1 } });
    await world.topic();
    await world.subscribe("one", { delivery: { maxAttempts: 3, backoffMs: 10 } });
    world.answer = () => 500;
    await world.publish(["a"]);
    for (let round = 0; round < 6; round++) await world.pass(100);
    assert.deepEqual(world.ids("one"), ["a", "a", "a"]);
    const [letter] = await world.dispatcher.deadLetters("default", { limit: 10 });
    assert.match(letter?.message?.reason ?? "", /after 3 of 3 attempts/);
    world.answer = () => 200;
    assert.equal(await world.dispatcher.revive("default", letter!.id), true);
    await world.pass(100);
    assert.equal((await world.dispatcher.status("default", letter!.id))?.status, "succeeded");
    await assert.rejects(world.subscribe("two", { delivery: { maxAttempts: 0 } }), {
      code: "invalid_field",
      message: /^delivery\.maxAttempts/,
    });
  });

  test("in order by an attribute: a failing event holds back those of its own value alone", async (t) => {
    const world = new World(t);
    world.deploy("note", { scaling: { max: 10 } });
    await world.topic();
    await world.subscribe("one", { order: { by: "subject" }, delivery: { maxAttempts: 5, backoffMs: 200 } });
    let failures = 3;
    world.answer = ({ headers }) => (headers["ce-id"] === "a1" && failures-- > 0 ? 500 : 200);
    await world.publish(["a1", "a2", "a3"], { subject: "a" });
    await world.publish(["b1", "b2"], { subject: "b" });
    await world.pass(1);
    assert.deepEqual(
      world.ids("one").filter((id) => id.startsWith("b")),
      ["b1", "b2"],
    );
    assert.ok(!world.ids("one").includes("a2"));
    for (let round = 0; round < 10; round++) await world.pass(500);
    assert.deepEqual(
      world.ids("one").filter((id) => id.startsWith("a")),
      ["a1", "a1", "a1", "a1", "a2", "a3"],
    );
  });

  test("what the dispatcher cannot take now comes again later, in its place, and the reason is shown", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("one", { order: {} });
    await world.publish(["a"]);
    await world.pass(100);
    world.refusal = new VirgaError("storage_full", "the disk is full");
    await world.publish(["b", "c"]);
    await world.pass(10_000);
    const failing = await world.status("one");
    assert.deepEqual(
      [failing?.state, failing?.reason, failing?.sequence, failing?.behind],
      ["failing", "the disk is full", 1, 2],
    );
    world.refusal = undefined;
    await world.pass(60_000);
    assert.deepEqual(world.ids("one"), ["a", "b", "c"]);
    assert.equal((await world.status("one"))?.state, "flowing");
  });

  test("what the function cannot be called with is passed over and counted", async (t) => {
    const world = new World(t);
    world.deploy("note", { limits: { requestBytes: 10 } });
    await world.topic();
    await world.subscribe("one");
    await world.publish(["large"], { data: "x".repeat(20) });
    await world.publish(["small"], { data: 1 });
    await world.pass(1000);
    assert.deepEqual(world.ids("one"), ["small"]);
    const status = await world.status("one");
    assert.deepEqual([status?.refused, status?.lastRefusal?.sequence], [1, 1]);
  });

  test("its topic cannot change, and what is wrong is named", async (t) => {
    const world = new World(t);
    await world.topic();
    await world.topic("other");
    await world.subscribe("one");
    await assert.rejects(world.subscribe("one", { topic: "other" }), { code: "conflict" });
    await assert.rejects(world.subscribe("two", { topic: "none" }), { code: "not_found" });
    await assert.rejects(world.subscribe("two", {}, { path: "in" }), { code: "invalid_field", message: /is no path/ });
    await assert.rejects(world.subscribe("two", { order: { by: "No" } }), { code: "invalid_field" });
    await assert.rejects(world.subscribe("two", { filters: [{}] }), { code: "invalid_field" });
  });

  test("a crash between the calls and the cursor makes no second call, even when the server comes back after a week", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic("orders", { maxAgeMs: 30 * 86_400_000 });
    await world.subscribe("one", { delivery: { maxAgeMs: 30 * 86_400_000 } });
    for (let calls = 0; calls < 40; calls++) {
      const before = world.deliveries.length;
      const id = `e${calls}`;
      await world.publish([id]);
      world.killAfter(calls);
      await world.pass(100);
      world.kill();
      // The next one runs what was accepted, and dies before it moves the cursor.
      world.open(false);
      await world.pass(1000);
      const ran = world.deliveries.length - before;
      world.kill();
      await world.clock.advance(calls % 2 === 0 ? 10 : 7 * 86_400_000);
      world.open();
      await world.pass(1000);
      const own = world.deliveries.slice(before).filter((one) => one.headers["ce-id"] === id);
      assert.ok(own.length > 0, `${id} was lost`);
      if (ran > 0) assert.equal(own.length, ran, `${id} ran again, though it was settled`);
      assert.equal(new Set(own.map((one) => one.invocation)).size, 1, `${id} was called twice`);
    }
  });
});

describe("timer sources", () => {
  const minutes = (world: World) => world.events.topics.read("default", "orders", 1, 1000);
  const source = (world: World, more: object = {}) =>
    world.events.sources.put({
      namespace: "default",
      name: "tick",
      topic: "orders",
      timer: { kind: "schedule", cron: "* * * * *" },
      ...more,
    });

  test("a schedule puts an event on its topic at each due time, whose id it is", async (t) => {
    const world = new World(t);
    await world.topic();
    await source(world, { event: { type: "tick", subject: "s", data: { a: 1 }, extensions: { region: "north" } } });
    await world.pass(3 * 60_000);
    const stored = await minutes(world);
    assert.equal(stored.length, 3);
    const { event } = stored[0]!;
    assert.equal(Date.parse(event.id) % 60_000, 0);
    assert.deepEqual(
      { ...event, id: "", time: "" },
      {
        specversion: "1.0",
        id: "",
        time: "",
        source: "/v1/namespaces/default/event-sources/tick",
        type: "tick",
        subject: "s",
        region: "north",
        datacontenttype: "application/json",
        data: { a: 1 },
      },
    );
    const status = (await world.events.sources.get("default", "tick"))?.status;
    assert.deepEqual([status?.fired, status?.skipped], [3, 0]);
    assert.equal(status!.nextDueAt! - status!.lastDueAt!, 60_000);
  });

  test("once fires once; an interval at its beat, which putting it again does not move", async (t) => {
    const world = new World(t);
    await world.topic();
    const at = world.clock.now() + 5000;
    await source(world, { name: "one", timer: { kind: "once", at } });
    await source(world, { name: "beat", timer: { kind: "interval", everyMs: 10_000 } });
    await world.pass(15_000);
    await source(world, { name: "beat", timer: { kind: "interval", everyMs: 10_000 } });
    await world.pass(10_000);
    const fired = (await minutes(world)).map(({ event }) => Date.parse(event.id) - at);
    assert.deepEqual(fired, [0, 5000, 15_000]);
    await assert.rejects(source(world, { name: "late", timer: { kind: "once", at } }), { code: "invalid_field" });
    assert.equal((await world.events.sources.get("default", "one"))?.status.nextDueAt, undefined);
  });

  for (const [rule, expected] of [
    ["latest", 1],
    ["all", 60],
    ["none", 0],
  ] as const) {
    test(`after an hour's outage in the middle of a minute, ${rule} fires ${expected} of those that were missed`, async (t) => {
      const world = new World(t);
      await world.topic();
      await source(world, { catchUp: rule });
      await world.pass(61_000 - (world.clock.now() % 60_000));
      const before = (await minutes(world)).length;
      world.kill();
      await world.clock.advance(3_600_000 + 40_000);
      world.open();
      for (let round = 0; round < 40; round++) await world.pass();
      assert.equal((await minutes(world)).length - before, expected);
      const { status } = (await world.events.sources.get("default", "tick"))!;
      assert.equal(status.skipped, 60 - expected);
    });
  }

  test("disabled it is silent; enabled again it does not catch up", async (t) => {
    const world = new World(t);
    await world.topic();
    await source(world, { catchUp: "all", enabled: false });
    await world.pass(600_000);
    await source(world, { catchUp: "all" });
    await world.pass(60_000);
    assert.equal((await minutes(world)).length, 1);
    await world.events.sources.delete("default", "tick");
    await world.pass(600_000);
    assert.equal((await minutes(world)).length, 1);
  });

  test("what is wrong with it is named", async (t) => {
    const world = new World(t);
    await world.topic();
    const wrong = [
      { topic: "none" },
      { timer: { kind: "schedule", cron: "hourly" } },
      { timer: { kind: "schedule", cron: "@daily", timezone: "Mars" } },
      { timer: { kind: "interval", everyMs: 5 } },
      { event: { extensions: { Upper: "x" } } },
    ];
    for (const one of wrong) await assert.rejects(source(world, one), /topic|cron|zone|less than|attribute/);
  });
});

describe("events: what dialects need", () => {
  test("with the format `data` a function gets the data alone, and the delivery's id is known beforehand", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("plain", { format: "data" });
    const event = { data: { n: 1 }, datacontenttype: "application/json" };
    const { first } = await world.publish(["a"], event);
    const [stored] = await world.events.topics.read("default", "orders", first, 1);
    const id = await world.events.subscriptions.deliveryId("default", "plain", stored!);
    await world.pass();
    const [delivery] = world.deliveries;
    assert.deepEqual(
      [delivery?.invocation, delivery?.body, delivery?.headers["content-type"]],
      [id, '{"n":1}', "application/json"],
    );
    assert.deepEqual(
      Object.keys(delivery?.headers ?? {}).filter((header) => header.startsWith("ce-")),
      [],
    );
    assert.equal(await world.events.subscriptions.deliveryId("default", "none", stored!), undefined);
  });

  test("enabled again from the newest, a subscription skips what came meanwhile", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("one", { enabled: false });
    await world.publish(["meanwhile"]);
    await world.subscribe("one", { enabled: true, from: "newest" });
    await world.publish(["after"]);
    await world.subscribe("one", { enabled: true, from: "newest" });
    await world.pass();
    assert.deepEqual(world.ids("one"), ["after"], "put again while enabled, it keeps its place");
  });
});

describe("subscriptions that prefer a workflow", () => {
  test("an event begins one run with its data where there is a workflow, else a call", async (t) => {
    const world = new World(t);
    world.deploy("note");
    await world.topic();
    await world.subscribe("one", {}, { preferWorkflow: true });
    await world.publish(["called"]);
    await world.pass(1000);
    world.workflowNames.add("note");
    await world.publish(["json"], { data: { a: 1 } });
    await world.publish(["none"]);
    await world.publish(["bytes"], { data_base64: "AP8=" });
    await world.pass(1000);
    world.restart();
    await world.pass(1000);
    assert.deepEqual(world.ids("one"), ["called"]);
    assert.deepEqual(
      new Set([...world.runs.values()].map(({ workflow, input }) => JSON.stringify([workflow, input]))),
      new Set(
        [
          ["note", { json: { a: 1 } }],
          ["note", { json: null }],
          ["note", { json: "AP8=" }],
        ].map((run) => JSON.stringify(run)),
      ),
    );
  });
});
