import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { missingTools } from "../../tools.ts";
import { until } from "./fixtures.ts";
import { Whisk } from "./whisk.ts";

const hello = { kind: "nodejs:default", code: "function main() { return {} }" };

interface Listed {
  readonly activationId: string;
  readonly name: string;
  readonly start: number;
}

describe("activations by the name of a packaged action", { skip: missingTools("bwrap") }, () => {
  let whisk: Whisk;
  let alice: string;
  const invoked: Record<string, string> = {};

  async function put(path: string, body: object, auth = whisk.auth): Promise<void> {
    const answer = await whisk.rest(`/api/v1/namespaces/_/${path}`, {
      method: "PUT",
      body: JSON.stringify(body),
      auth,
    });
    assert.equal(answer.status, 200, await answer.text());
  }

  /** By the guest; the activation's id. */
  async function invoke(action: string): Promise<string> {
    const [, namespace, rest] = /^(?:\/([^/]+)\/)?(.*)$/.exec(action)!;
    const path = `/api/v1/namespaces/${namespace ?? "_"}/actions/${rest}?blocking=true`;
    const answer = await whisk.rest(path, { method: "POST", body: "{}" });
    assert.equal(answer.status, 200, action);
    return ((await answer.json()) as Listed).activationId;
  }

  const list = (query: string): Promise<Listed[]> => whisk.document<Listed[]>(`activations?${query}`);

  /** Which of the invocations a name finds, newest first. */
  async function found(name: string): Promise<(string | undefined)[]> {
    const actions = new Map(Object.entries(invoked).map(([action, id]) => [id, action]));
    return (await list(`name=${name}`)).map(({ activationId }) => actions.get(activationId));
  }

  before(async () => {
    whisk = await Whisk.start();
    alice = await whisk.user("alice");
    await put("packages/tools", {});
    await put("actions/tools/echo", { exec: hello });
    await put("actions/echo", { exec: hello });
    await put("packages/utils", {});
    await put("actions/utils/echo", { exec: hello });
    await put("packages/bound", { binding: { namespace: "whisk.system", name: "utils" } });
    await put("packages/own", { binding: { namespace: "_", name: "tools" } });
    await put("packages/tools", { publish: true }, alice);
    await put("actions/tools/echo", { exec: hello }, alice);
    await put("actions/tools/chain", { exec: { kind: "sequence", components: ["/_/tools/echo"] } }, alice);
    for (const action of [
      "echo",
      "tools/echo",
      "utils/echo",
      "bound/echo",
      "own/echo",
      "/whisk.system/utils/echo",
      "/alice/tools/echo",
      "/alice/tools/chain",
      "/whisk.system/utils/date",
    ])
      invoked[action] = await invoke(action);
    const calls = Object.values(invoked);
    await until(async () => {
      const all = new Set((await list("limit=0")).map(({ activationId }) => activationId));
      assert.ok(calls.every((id) => all.has(id)));
    });
  });
  after(() => whisk?.stop());

  test("calls of the package are found, those through a binding by the binding's name and the package's own", async () => {
    assert.deepEqual(await found("own/echo"), ["own/echo"]);
    assert.deepEqual(await found("bound/echo"), ["bound/echo"]);
    assert.deepEqual(await found("utils/echo"), ["/whisk.system/utils/echo", "bound/echo", "utils/echo"]);
    assert.deepEqual(await found("utils/date"), ["/whisk.system/utils/date"]);
  });

  test("calls of another namespace's package are found, and a sequence's components are calls too", async () => {
    const [component, ...rest] = await found("tools/echo");
    assert.equal(component, undefined);
    assert.deepEqual(rest, ["/alice/tools/echo", "own/echo", "tools/echo"]);
    assert.deepEqual(await found("tools/chain"), ["/alice/tools/chain"]);
  });

  test("a name with its namespace finds what was called of that one alone", async () => {
    assert.deepEqual(await found("/whisk.system/utils/echo"), ["/whisk.system/utils/echo", "bound/echo"]);
    assert.deepEqual(await found("/_/tools/echo"), ["own/echo", "tools/echo"]);
    assert.deepEqual(await found("/guest/own/echo"), ["own/echo"]);
  });

  test("a name without a package finds what is in none", async () => {
    assert.deepEqual(await found("echo"), ["echo"]);
  });

  test("pages, bounds in time and the number hold for all of them together", async () => {
    const all = await list("name=utils/echo");
    assert.deepEqual(await list("name=utils/echo&limit=1&skip=1"), all.slice(1, 2));
    assert.deepEqual(await list("name=utils/echo&skip=3"), []);
    assert.deepEqual(await whisk.document("activations?name=utils/echo&count=true"), { activations: 3 });
    assert.deepEqual(await list(`name=utils/echo&upto=1`), []);
    assert.deepEqual(await list(`name=utils/echo&since=${all.at(-1)!.start - 60_000}`), all);
    const [newest] = await whisk.document("activations?name=utils/echo&docs=true&limit=1");
    assert.equal(newest.activationId, invoked["/whisk.system/utils/echo"]);
  });

  test("where a binding leads does not change what was called through it before", async () => {
    await put("packages/bound?overwrite=true", { binding: { namespace: "_", name: "tools" } });
    invoked["bound anew"] = await invoke("bound/echo");
    await until(async () => assert.equal((await found("bound/echo")).length, 2));
    assert.deepEqual(await found("bound/echo"), ["bound anew", "bound/echo"]);
    assert.ok((await found("tools/echo")).includes("bound anew"));
    assert.ok(!(await found("utils/echo")).includes("bound anew"));
  });

  test("what was not called is not found, and what is no name is refused", async () => {
    assert.deepEqual(await found("absent/echo"), []);
    assert.deepEqual(await found("utils/absent"), []);
    assert.equal((await whisk.rest("/api/v1/namespaces/_/activations?name=a/b/c/d")).status, 400);
  });
});
