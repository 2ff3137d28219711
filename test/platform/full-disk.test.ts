import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { cannotMount, SmallDisk } from "../drivers/small-disk.ts";
import { until } from "../until.ts";
import { type Answer, Platform } from "./harness.ts";

const invocations = "/v1/namespaces/default/invocations";
const runs = "/v1/namespaces/default/workflow-runs";

describe("with a full disk under large results and values of workflows", { skip: cannotMount() }, () => {
  let platform: Platform;
  let disk: SmallDisk;
  before(async () => {
    disk = new SmallDisk(16 * 2 ** 20);
    platform = await Platform.start();
    await platform.kill();
    const values = join(platform.home, "data", "values");
    rmSync(values, { recursive: true });
    symlinkSync(disk.folder("values"), values);
    await platform.up();
    const fourfold = `(await request.json()).repeat(4)`;
    await deploy("thrice", fourfold, { maxAttempts: 3, backoffMs: 1 });
    await deploy("once", fourfold, { delivery: "at-most-once" });
    await deploy("failing", `${fourfold}, { status: 500 }`, { maxAttempts: 1 });
    await deploy("chance", `(await import("node:crypto")).randomBytes(150_000).toString("hex")`, {});
  });
  afterEach(() => disk.free());
  after(async () => {
    await platform.stop();
    disk.remove();
  });

  test("a call whose result cannot be kept is tried again, then a dead letter that says why; revived with room, it succeeds", async () => {
    const text = noise();
    disk.fill();
    const id = await callLater("thrice", text);
    const { status, attempt, error } = await settled(id);
    assert.deepEqual([status, attempt, error?.code], ["dead_letter", 3, "storage_full"]);
    assert.match(error?.message ?? "", /^The answer of 1200002 bytes could not be kept: .*ENOSPC/);
    assert.equal((await platform.call("thrice", { body: '"still there "' })).json<string>().length, 48);

    disk.free();
    const letter = `/v1/namespaces/default/dead-letters/${id}/revive`;
    assert.equal((await platform.request(letter, { method: "POST" })).status, 204);
    await until(async () => (await settled(id)).status === "succeeded", "the revived call does not succeed");
    assert.equal((await platform.request(`${invocations}/${id}/result`)).json(), text.repeat(4));
  });

  test("a call that must not run twice has failed, and says why", async () => {
    disk.fill();
    const { status, attempt, error } = await settled(await callLater("once", noise()));
    assert.deepEqual([status, attempt, error?.code], ["failed", 1, "storage_full"]);
  });

  test("a call that fails with an answer that cannot be kept is a dead letter all the same", async () => {
    disk.fill();
    const { status, attempt, error } = await settled(await callLater("failing", noise()));
    assert.deepEqual([status, attempt, error?.code], ["dead_letter", 1, "storage_full"]);
  });

  test("a run is not accepted with an input that cannot be kept", async () => {
    disk.fill();
    const answer = await start({ steps: [{ set: "$.input" }] }, noise());
    assert.deepEqual([answer.status, answer.json().error.code], [507, "storage_full"]);
  });

  test("a step whose result cannot be kept fails with the reason", async () => {
    const { id } = (await start({ steps: [{ event: "go" }, { call: "thrice", input: "$.input" }] }, noise())).json();
    disk.fill();
    const told = await platform.request(`${runs}/${id}/signals`, { body: JSON.stringify({ name: "go" }) });
    assert.equal(told.status, 202, told.text);
    const { status, error } = await over(id);
    assert.deepEqual([status, error?.code], ["failed", "storage_full"]);
  });

  test("a step whose outcome cannot be kept for the run waits for room, and its call does not run again", async () => {
    disk.fill();
    const { id } = (await start({ steps: [{ call: "chance" }] }, null)).json();
    await until(() => platform.output.includes("could not be settled"), "no log line tells of it");
    assert.equal((await platform.request(`${runs}/${id}`)).json().status, "running");

    disk.free();
    await platform.kill();
    await platform.up();
    assert.equal((await over(id)).status, "succeeded");
    const [{ invocation }] = (await platform.request(`${runs}/${id}`)).json().tasks;
    assert.equal((await settled(invocation)).attempt, 1);
    const output = await platform.request(`${runs}/${id}/result`);
    assert.ok(output.body.equals((await platform.request(`${invocations}/${invocation}/result`)).body));
  });

  async function deploy(name: string, answer: string, async: Record<string, unknown>): Promise<void> {
    const files = { "index.mjs": `export default async (request) => Response.json(${answer});` };
    await platform.deploy(name, files, { runtime: "node", async });
  }

  async function callLater(name: string, input: string): Promise<string> {
    const path = `/v1/namespaces/default/functions/${name}/invocations`;
    const answer = await platform.request(path, { body: JSON.stringify(input) });
    assert.equal(answer.status, 202, answer.text);
    return answer.json().id;
  }

  function settled(
    id: string,
  ): Promise<{ status: string; attempt: number; error?: { code: string; message: string } }> {
    const ends = ["succeeded", "failed", "dead_letter"];
    return until(async () => {
      const record = await platform.record(id);
      return ends.includes(record?.status) && (record.invocation ?? record);
    }, "the call does not settle");
  }

  async function start(definition: unknown, input: unknown): Promise<Answer> {
    const name = `run-${randomBytes(4).toString("hex")}`;
    const path = `/v1/namespaces/default/workflows/${name}`;
    const made = await platform.request(path, { method: "PUT", body: JSON.stringify(definition) });
    assert.equal(made.status, 200, made.text);
    return await platform.request(runs, { body: JSON.stringify({ workflow: name, input }) });
  }

  function over(id: string): Promise<{ status: string; error?: { code: string } }> {
    return until(async () => {
      const view = (await platform.request(`${runs}/${id}?waitMs=5000`)).json();
      return view.status !== "running" && view;
    }, "the run does not end");
  }
});

function noise(): string {
  return randomBytes(150_000).toString("hex");
}
