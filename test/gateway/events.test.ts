import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Rig, startRig } from "./rig.ts";

const path = "/v1/namespaces/default";
const event = { specversion: "1.0", id: "1", source: "/shop", type: "order.placed", data: { total: 5 } };

describe("the API's events", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    await put("/topics/orders", {});
  });
  after(() => rig[Symbol.asyncDispose]());

  const put = (place: string, body: unknown) => rig.fetch(path + place, { method: "PUT", body: JSON.stringify(body) });
  const publish = (headers: Record<string, string>, body: string | Uint8Array<ArrayBuffer>) =>
    rig.fetch(`${path}/topics/orders/events`, { method: "POST", headers, body });
  const last = async () => {
    const { items } = (await (await rig.fetch(`${path}/topics/orders/events?limit=1000`)).json()) as {
      items: { sequence: number; event: object }[];
    };
    return items.at(-1);
  };

  test("an event as JSON, a batch, and one in binary mode are published", async () => {
    const one = await publish({ "content-type": "application/cloudevents+json" }, JSON.stringify(event));
    assert.deepEqual([one.status, await one.json()], [202, { first: 1, last: 1 }]);
    assert.deepEqual(await last(), { ...(await last()), sequence: 1, event });

    const batch = await publish(
      { "content-type": "application/cloudevents-batch+json" },
      JSON.stringify([event, event]),
    );
    assert.deepEqual(await batch.json(), { first: 2, last: 3 });

    const attributes = {
      "ce-specversion": "1.0",
      "ce-id": "%C3%A4%201",
      "ce-source": "/s",
      "ce-type": "t",
      "ce-region": "x",
    };
    const expected = { specversion: "1.0", id: "ä 1", source: "/s", type: "t", region: "x" };
    await publish({ ...attributes, "content-type": "application/json; charset=utf-8" }, '{"a":1}');
    assert.deepEqual((await last())?.event, {
      ...expected,
      datacontenttype: "application/json; charset=utf-8",
      data: { a: 1 },
    });
    await publish({ ...attributes, "content-type": "text/plain" }, "grüß");
    assert.deepEqual((await last())?.event, { ...expected, datacontenttype: "text/plain", data: "grüß" });
    await publish({ ...attributes, "content-type": "image/png" }, new Uint8Array([0, 255]));
    assert.deepEqual((await last())?.event, { ...expected, datacontenttype: "image/png", data_base64: "AP8=" });
  });

  const refused: [string, Record<string, string>, string, number, string][] = [
    ["plain JSON", { "content-type": "application/json" }, "{}", 400, "bad_request"],
    ["another format", { "content-type": "application/cloudevents+avro" }, "x", 400, "bad_request"],
    ["a batch that is no list", { "content-type": "application/cloudevents-batch+json" }, "{}", 400, "bad_request"],
    ["broken JSON", { "content-type": "application/cloudevents+json" }, "{", 400, "bad_request"],
    [
      "an event without a type",
      { "content-type": "application/cloudevents+json" },
      JSON.stringify({ ...event, type: undefined }),
      400,
      "invalid_field",
    ],
    [
      "a header that is not percent-encoded",
      { "ce-specversion": "1.0", "ce-id": "%", "ce-source": "/s", "ce-type": "t" },
      "",
      400,
      "bad_request",
    ],
  ];
  for (const [what, headers, body, status, code] of refused) {
    test(`${what} is refused`, async () => {
      const answer = await publish(headers, body);
      assert.deepEqual(
        [answer.status, ((await answer.json()) as { error: { code: string } }).error.code],
        [status, code],
      );
    });
  }

  test("events are read page by page, by sequence", async () => {
    await put("/topics/pages", {});
    await rig.fetch(`${path}/topics/pages/events`, {
      method: "POST",
      headers: { "content-type": "application/cloudevents-batch+json" },
      body: JSON.stringify([event, event, event]),
    });
    const page = async (query: string) =>
      (await (await rig.fetch(`${path}/topics/pages/events?${query}`)).json()) as {
        items: { sequence: number }[];
        next?: string;
      };
    const first = await page("limit=2");
    assert.deepEqual([first.items.map(({ sequence }) => sequence), first.next], [[1, 2], "2"]);
    const second = await page(`limit=2&after=${first.next}`);
    assert.deepEqual([second.items.map(({ sequence }) => sequence), second.next], [[3], undefined]);
    assert.deepEqual((await page("from=3")).items.length, 1);
  });

  test("a subscription is made, described, sent elsewhere, explained and deleted", async () => {
    const filters = [{ any: [{ exact: { type: "order.placed" } }, { not: { prefix: { source: "/" } } }] }];
    const body = {
      topic: "orders",
      target: { function: "note" },
      filters,
      delivery: { maxAttempts: 5 },
      from: "oldest",
    };
    const made = await put("/subscriptions/one", body);
    assert.equal(made.status, 200, await made.clone().text());
    const shown = (await (await rig.fetch(`${path}/subscriptions/one`)).json()) as Record<string, unknown>;
    assert.deepEqual([shown["filters"], shown["delivery"]], [filters, { maxAttempts: 5 }]);
    assert.equal((shown["status"] as { sequence: number }).sequence, 0);
    const moved = await rig.fetch(`${path}/subscriptions/one/seek`, { method: "POST", body: '{"from":3}' });
    assert.deepEqual(await moved.json(), { sequence: 2, epoch: 1 });
    const verdicts = (await (await rig.fetch(`${path}/subscriptions/one/verdicts?from=3&limit=2`)).json()) as {
      items: { passes: boolean; reason: string }[];
    };
    assert.deepEqual(
      verdicts.items.map(({ passes, reason }) => [passes, reason]),
      [
        [true, 'type is "order.placed"'],
        [false, 'type is "t"; wanted: is "order.placed" and not: source begins with "/"'],
      ],
    );
    assert.equal((await rig.fetch(`${path}/subscriptions/one`, { method: "DELETE" })).status, 204);
    assert.equal((await rig.fetch(`${path}/subscriptions/one`)).status, 404);
  });

  test("a source is made, described and deleted; its topic is kept meanwhile", async () => {
    const made = await put("/event-sources/nightly", {
      topic: "orders",
      timer: { kind: "schedule", cron: "0 2 * * *", timezone: "Europe/Berlin" },
      event: { type: "night", data: [1] },
    });
    assert.equal(made.status, 200, await made.clone().text());
    const { status } = (await (await rig.fetch(`${path}/event-sources/nightly`)).json()) as {
      status: { nextDueAt: number };
    };
    assert.ok(status.nextDueAt > Date.now());
    assert.equal((await rig.fetch(`${path}/topics/orders`, { method: "DELETE" })).status, 409);
    assert.equal((await rig.fetch(`${path}/event-sources/nightly`, { method: "DELETE" })).status, 204);
  });

  test("what is wrong is named", async () => {
    const wrong: [string, unknown, string][] = [
      ["/subscriptions/two", { topic: "orders", target: {} }, "target.function"],
      [
        "/subscriptions/two",
        { topic: "orders", target: { function: "f" }, filters: [{ exact: {} }] },
        "filters.0.exact",
      ],
      ["/subscriptions/two", { topic: "none", target: { function: "f" } }, "topic"],
      ["/subscriptions/two", { topic: "orders", target: { function: "f" }, delivery: { tries: 1 } }, "delivery.tries"],
      ["/event-sources/two", { topic: "orders", timer: { kind: "hourly" } }, "timer"],
      ["/topics/two", { retention: { maxEvents: 0 } }, "retention.maxEvents"],
    ];
    for (const [place, body, field] of wrong) {
      const answer = await put(place, body);
      const { error } = (await answer.json()) as { error: { field?: string } };
      assert.ok(answer.status === 400 || answer.status === 404);
      assert.equal(error.field, field, JSON.stringify(error));
    }
  });

  test("a token that may only call may publish, and change nothing", async () => {
    const { secret } = await rig.engine.access.createToken({
      description: "publisher",
      namespaces: ["default"],
      role: "invoke",
    });
    const answer = await rig.fetch(`${path}/topics/orders/events`, {
      method: "POST",
      token: secret,
      headers: { "content-type": "application/cloudevents+json" },
      body: JSON.stringify(event),
    });
    assert.equal(answer.status, 202);
    assert.equal((await rig.fetch(`${path}/topics/x`, { method: "PUT", token: secret, body: "{}" })).status, 403);
    assert.equal((await rig.fetch(`${path}/topics/orders/events`, { token: secret })).status, 403);
  });
});
