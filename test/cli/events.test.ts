import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Rig, startRig } from "../gateway/rig.ts";
import { folder, run } from "./harness.ts";

describe("commands about events, against the real API", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    await rig.add("invoice", (call) => call.answer(200, [], "ok"));
  });
  after(() => rig[Symbol.asyncDispose]());

  const virga = async (...argv: string[]): Promise<string> => {
    const outcome = await run(argv, { environment: { VIRGA_URL: rig.url, VIRGA_TOKEN: rig.token } });
    assert.equal(outcome.code, 0, `${argv.join(" ")}: ${outcome.stderr}`);
    return outcome.stdout;
  };

  test("a topic is made, published to, read and deleted", async (t) => {
    await virga("topic", "create", "orders", "--max-events", "500", "--max-age", "2d");
    assert.equal(
      await virga(
        "topic",
        "publish",
        "orders",
        "--type",
        "order.placed",
        "-d",
        '{"total":5}',
        "--attribute",
        "region=eu",
      ),
      "1\n",
    );
    assert.equal(await virga("topic", "publish", "orders", "-d", "plain text"), "2\n");
    const event = { specversion: "1.0", id: "x", source: "/s", type: "order.paid" };
    const home = folder(t, { "events.json": JSON.stringify([event, { ...event, id: "y" }]) });
    assert.equal(await virga("topic", "publish", "orders", "--event", `@${home}/events.json`), "3-4\n");
    const events = JSON.parse(await virga("topic", "events", "orders", "-o", "json")) as {
      event: Record<string, unknown>;
    }[];
    assert.deepEqual(
      events.map((one) => [one.event["type"], one.event["data"], one.event["region"]]),
      [
        ["order.placed", { total: 5 }, "eu"],
        ["virga.message", "plain text", undefined],
        ["order.paid", undefined, undefined],
        ["order.paid", undefined, undefined],
      ],
    );
    assert.match(await virga("topic", "events", "orders", "--from", "4"), /4 .*order\.paid .*y\n$/);
    assert.match(await virga("topic", "get", "orders"), /4, sequences 1 to 4\n.*500 events, for 2 d/s);
    assert.match(await virga("topic", "list"), /orders +500 +2 d/);
  });

  test("a subscription is set, shown, explained, sent back and deleted", async () => {
    const line = await virga(
      ...["subscription", "set", "bill", "invoice", "--topic", "orders", "--filter", "type=order.*"],
      ...["--filter", "!source=/test*", "--order-by", "subject", "--max-attempts", "7", "--from", "oldest"],
    );
    assert.equal(line, "orders where type=order.* and !source=/test* → invoice\n");
    const shown = JSON.parse(await virga("subscription", "get", "bill", "-o", "json")) as Record<string, unknown>;
    assert.deepEqual(
      [shown["filters"], shown["order"], shown["delivery"]],
      [
        [{ prefix: { type: "order." } }, { not: { prefix: { source: "/test" } } }],
        { by: "subject" },
        { maxAttempts: 7 },
      ],
    );
    assert.match(await virga("subscription", "get", "bill"), /state +flowing\n.*sequence 0, 4 behind/s);
    assert.match(
      await virga("subscription", "explain", "bill", "--limit", "2"),
      /1 +yes .*\n.*2 +no .*type is "virga.message"/,
    );
    assert.match(
      await virga("subscription", "list"),
      /bill +orders +type=order\.\* and !source=\/test\* +invoice +yes/,
    );
    assert.match(await virga("subscription", "seek", "bill", "3"), /goes on with sequence 3/);
    assert.match(await virga("subscription", "delete", "bill", "-y"), /deleted bill/);
  });

  test("a source is set, shown and deleted", async () => {
    const line = await virga(
      "source",
      "set",
      "nightly",
      "--topic",
      "orders",
      "--cron",
      "0 2 * * *",
      "--timezone",
      "Europe/Berlin",
    );
    assert.equal(line, "0 2 * * * (Europe/Berlin) → orders\n");
    await virga("source", "set", "tick", "--topic", "orders", "--every", "30s", "-d", "[1]", "--catch-up", "all");
    await virga("source", "set", "launch", "--topic", "orders", "--at", "2127-01-01T00:00:00Z", "--disabled");
    assert.match(await virga("source", "list"), /launch .*once.* no\n.*nightly .*\n.*tick +orders +every 30 s +yes/);
    assert.match(await virga("source", "get", "tick"), /next +2\d{3}-.*\n.*fired +0/s);
    for (const name of ["nightly", "tick", "launch"]) await virga("source", "delete", name, "--yes");
    await virga("topic", "delete", "orders", "-y");
  });

  test("what is wrong with the words is said before anything is sent", async () => {
    const environment = { VIRGA_URL: rig.url, VIRGA_TOKEN: rig.token };
    const wrong: [string[], RegExp][] = [
      [["source", "set", "x"], /--cron, --every and --at/],
      [["source", "set", "x", "--every", "soon"], /duration/],
      [["source", "set", "x", "--at", "someday"], /ISO date/],
      [["source", "set", "x", "--every", "1m", "-d", "{"], /not JSON/],
      [["subscription", "set", "x", "f", "--filter", "type"], /attribute=value/],
      [["subscription", "set", "x", "f", "--filters", "{}"], /JSON list/],
      [["subscription", "seek", "x", "middle"], /newest, oldest or a sequence/],
      [["topic", "publish", "x", "--event", "@none.json"], /--event/],
    ];
    for (const [argv, message] of wrong) {
      const outcome = await run(argv, { environment });
      assert.equal(outcome.code, 2, argv.join(" "));
      assert.match(outcome.stderr, message);
    }
  });
});

describe("virga.yaml: what calls a function", () => {
  const manifest = `functions:
  invoice:
    runtime: node
    handler: invoice.mjs
    subscriptions:
      - { topic: orders, filter: { type: order.*, source: "!/test*" }, order: { by: subject } }
    schedule: { cron: "0 2 * * *", timezone: Europe/Berlin, data: [1] }
`;

  test("its topics, subscriptions and source are made by the deploy, and changed when they change", async (t) => {
    await using rig = await startRig();
    const root = folder(t, { "virga.yaml": manifest, "invoice.mjs": "export default () => 1" });
    const deploy = async (...more: string[]) => {
      const environment = { VIRGA_URL: rig.url, VIRGA_TOKEN: rig.token };
      const outcome = await run(["deploy", ...more], { environment, directory: root });
      assert.equal(outcome.code, 0, outcome.stderr);
      return outcome.stderr;
    };
    const { subscriptions, sources, topics } = rig.engine.events;
    const plan = await deploy("--dry-run");
    assert.match(
      plan,
      /\+ topic orders\n.*\+ subscription invoice-orders, of topic orders\n.*\+ source invoice-schedule/s,
    );
    assert.deepEqual(await topics.list("default"), []);

    await deploy();
    const made = await subscriptions.get("default", "invoice-orders");
    assert.deepEqual(
      [made?.filters, made?.order, made?.target],
      [
        [{ prefix: { type: "order." } }, { not: { prefix: { source: "/test" } } }],
        { by: "subject" },
        { function: "invoice" },
      ],
    );
    const source = await sources.get("default", "invoice-schedule");
    assert.deepEqual(
      [source?.timer, source?.event],
      [{ kind: "schedule", cron: "0 2 * * *", timezone: "Europe/Berlin" }, { data: [1] }],
    );
    assert.equal((await subscriptions.get("default", "invoice-schedule"))?.topic, "invoice-schedule");

    assert.doesNotMatch(await deploy(), /topic|subscription|source invoice/);
    writeFileSync(
      join(root, "virga.yaml"),
      manifest.replace("order.*", "order.placed").replace(/schedule: .*/, "schedule: { every: 30s }"),
    );
    const changes = await deploy();
    assert.match(changes, /~ subscription invoice-orders, of topic orders\n.*~ source invoice-schedule/s);
    assert.doesNotMatch(changes, /[~+] topic /);
    assert.equal((await sources.get("default", "invoice-schedule"))?.timer.kind, "interval");
    assert.doesNotMatch(await deploy(), /topic|subscription|source invoice/);
  });

  test("what is wrong is named with its line", async (t) => {
    const root = folder(t, { "virga.yaml": manifest.replace("{ by: subject }", "5"), "invoice.mjs": "" });
    const outcome = await run(["deploy"], { environment: {}, directory: root });
    assert.equal(outcome.code, 2);
    assert.match(outcome.stderr, /virga\.yaml:6:\d+: functions\.invoice\.subscriptions\[0\]\.order/);
  });
});
