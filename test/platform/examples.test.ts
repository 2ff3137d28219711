import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { missingTools } from "../tools.ts";
import { Platform } from "./harness.ts";

const examples = resolve(import.meta.dirname, "../../examples");

describe("the examples", { skip: missingTools("python", "pip") }, () => {
  let platform: Platform;
  before(async () => {
    platform = await Platform.start({ arguments: ["--examples"] });
    while (!platform.output.includes("Next:")) await new Promise((resume) => setTimeout(resume, 50));
  });
  after(() => platform.stop());

  test("qr-api: an HTTP API in TypeScript with a dependency from npm", async () => {
    const one = await platform.call("qr-api", { path: "/?text=hello", token: false });
    assert.equal(one.status, 200, one.text);
    assert.equal(one.headers["content-type"], "image/svg+xml");
    assert.match(one.text, /^<svg/);
    const batch = await platform.call("qr-api", { path: "/batch", body: JSON.stringify(["a", "b"]), token: false });
    assert.deepEqual(
      batch.json().map((code: { text: string; modules: number }) => [code.text, code.modules]),
      [
        ["a", 21],
        ["b", 21],
      ],
    );
    assert.equal((await platform.call("qr-api", { token: false })).status, 400);
  });

  test("thumbnail: Python with a dependency from requirements.txt, on a real image", async () => {
    const image = readFileSync(join(examples, "thumbnail/rain.png"));
    const facts = await platform.call("thumbnail", { path: "/?facts", body: image, token: false });
    assert.equal(facts.status, 200, facts.text);
    assert.deepEqual([facts.json().width, facts.json().height, facts.json().format], [640, 400, "PNG"]);
    const small = await platform.call("thumbnail", { path: "/?width=64", body: image, token: false });
    assert.equal(small.headers["content-type"], "image/png");
    assert.equal(small.body.readUInt32BE(16), 64);
    assert.equal((await platform.call("thumbnail", { body: "no image", token: false })).status, 415);
  });

  test("netlist-stats: a native program over stdin and stdout", async () => {
    const answer = await platform.call("netlist-stats", {
      body: readFileSync(join(examples, "netlist-stats/adder.v")),
      token: false,
    });
    assert.equal(answer.text, "9\tcells in 2 modules\n4\tfull_adder\n2\tAND2\n2\tXOR2\n1\tOR2\n");
    const body = "nothing";
    const refused = await platform.call("netlist-stats", { body });
    assert.equal(refused.json().error.code, "function_error");
    assert.match(refused.text, /no module in the input/);
    // What a function prints is its owner's affair.
    const stranger = await platform.call("netlist-stats", { body, token: false });
    assert.equal(stranger.json().error.code, "function_error");
    assert.doesNotMatch(stranger.text, /no module/);
  });

  test("countdown: a streaming answer", async () => {
    const answer = await platform.call("countdown", { path: "/?from=3&every=5", token: false });
    assert.equal(answer.headers["content-type"], "text/event-stream");
    assert.deepEqual(answer.text.match(/data: \d+/g), ["data: 3", "data: 2", "data: 1", "data: 0"]);
  });

  test("netlist-report: a function that calls another, and whose URL needs the token", async () => {
    const body = JSON.stringify({ adder: readFileSync(join(examples, "netlist-stats/adder.v"), "utf8"), empty: "" });
    assert.equal((await platform.call("netlist-report", { body, token: false })).status, 401);
    const report = (await platform.call("netlist-report", { body })).json();
    assert.equal(report.cells, 9);
    assert.deepEqual(report.netlists[0].types, { full_adder: 4, AND2: 2, XOR2: 2, OR2: 1 });
    assert.match(report.netlists[1].error, /no module/);
  });

  test("the start prints for each a curl line, and where the token lies", () => {
    for (const name of ["qr-api", "thumbnail", "netlist-stats", "countdown", "netlist-report"])
      assert.match(platform.output, new RegExp(`curl .*${platform.url}/f/default/${name}/`));
    assert.match(platform.output, /token/i);
  });
});
