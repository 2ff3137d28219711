import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Rig, startRig } from "./rig.ts";

describe("the API of workflows", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig[Symbol.asyncDispose]());

  const ask = async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; json: any }> => {
    const answer = await rig.fetch(`/v1/namespaces/default/${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, json: text === "" ? undefined : JSON.parse(text) };
  };

  test("definitions are put, listed, given back and deleted; what is wrong is named with its place", async () => {
    const steps = [{ event: "go" }];
    assert.equal((await ask("PUT", "workflows/b", { steps })).json.version, 1);
    assert.equal((await ask("PUT", "workflows/a", { steps })).status, 200);
    const listed = await ask("GET", "workflows?limit=1");
    assert.deepEqual([listed.json.items[0].name, listed.json.next], ["a", "a"]);
    assert.equal((await ask("GET", "workflows?limit=1&after=a")).json.items[0].name, "b");
    assert.deepEqual((await ask("GET", "workflows/a")).json.definition, { steps });
    const wrong = await ask("PUT", "workflows/a", { steps: [{ call: "x", inptu: 1 }] });
    assert.deepEqual([wrong.status, wrong.json.error.field], [400, "steps.0.inptu"]);
    assert.match(wrong.json.error.fix, /input/);
    assert.equal((await ask("DELETE", "workflows/a")).status, 204);
    assert.equal((await ask("DELETE", "workflows/a")).status, 404);
  });

  test("a run is started, waits for its signal, and gives its output and its history", async () => {
    await ask("PUT", "workflows/w", { steps: [{ name: "told", event: "go" }, { set: { told: "$.steps.told" } }] });
    const started = await ask("POST", "workflow-runs", { workflow: "w", input: 1 }, { "idempotency-key": "k" });
    assert.equal(started.status, 202);
    const again = await ask("POST", "workflow-runs", { workflow: "w", input: 1 }, { "idempotency-key": "k" });
    assert.deepEqual(again.json, { ...started.json, duplicate: true });
    const run = `workflow-runs/${started.json.id}`;
    const waiting = await ask("GET", `${run}?waitMs=10`);
    assert.deepEqual([waiting.json.status, waiting.json.tasks[0].target], ["running", "go"]);
    assert.equal((await ask("GET", `${run}/result`)).status, 409);
    const signal = { name: "go", id: "s", value: [1] };
    assert.deepEqual((await ask("POST", `${run}/signals`, signal)).json, { id: "s", duplicate: false });
    assert.equal((await ask("GET", `${run}?waitMs=1000`)).json.status, "succeeded");
    assert.deepEqual((await ask("GET", `${run}/result`)).json, { told: [1] });
    assert.equal((await ask("POST", `${run}/signals`, signal)).status, 409);
    assert.equal((await ask("DELETE", run)).status, 409);
    const history = await ask("GET", `${run}/history?limit=3`);
    assert.deepEqual(
      history.json.items.map(({ kind }: { kind: string }) => kind),
      ["started", "scheduled", "signalled"],
    );
    assert.deepEqual((await ask("GET", `${run}/history?from=${history.json.next}`)).json.items[0].kind, "ended");
    const listed = await ask("GET", "workflow-runs?workflow=w&status=succeeded");
    assert.deepEqual(
      listed.json.items.map(({ id }: { id: string }) => id),
      [started.json.id],
    );
  });

  test("a cancelled run answers its result with its error; what is not there is 404", async () => {
    await ask("PUT", "workflows/c", { steps: [{ call: "nobody" }] });
    const { id } = (await ask("POST", "workflow-runs", { workflow: "c" })).json;
    assert.equal((await ask("DELETE", `workflow-runs/${id}`)).status, 204);
    const result = await ask("GET", `workflow-runs/${id}/result`);
    assert.deepEqual([result.status, result.json.error.code], [499, "cancelled"]);
    for (const path of [
      "workflow-runs/none",
      "workflow-runs/none/history",
      "workflow-runs/none/result",
      "workflows/none",
    ])
      assert.equal((await ask("GET", path)).status, 404, path);
    assert.equal((await ask("POST", "workflow-runs", { workflow: "none" })).status, 404);
    assert.equal((await ask("POST", "workflow-runs/none/signals", { name: "x" })).status, 404);
  });
});
