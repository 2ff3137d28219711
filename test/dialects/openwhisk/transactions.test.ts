import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { missingTools } from "../../tools.ts";
import { until } from "./fixtures.ts";
import { Whisk } from "./whisk.ts";

/** Says how it is known, and gives back what it is given. */
const code = `function main({ said }) {
  const { __OW_TRANSACTION_ID: transaction, __OW_ACTIVATION_ID: activation, __OW_NAMESPACE: namespace } = process.env;
  return { transaction, activation, namespace, said };
}`;

describe("the ids of a request and of its call", { skip: missingTools("bwrap") }, () => {
  let whisk: Whisk;
  let alice: string;

  before(async () => {
    whisk = await Whisk.start();
    alice = await whisk.user("alice");
    for (const auth of [whisk.auth, alice])
      await whisk.rest("/api/v1/namespaces/_/actions/said", {
        method: "PUT",
        body: JSON.stringify({
          exec: { kind: "nodejs:default", code },
          annotations: [{ key: "web-export", value: true }],
        }),
        auth,
      });
  });
  after(() => whisk?.stop());

  async function invoke(query: string, { body = {}, auth = whisk.auth, headers = {} } = {}) {
    const path = `/api/v1/namespaces/_/actions/said?${query}`;
    const answer = await whisk.rest(path, { method: "POST", body: JSON.stringify(body), auth, headers });
    const transaction = answer.headers.get("x-request-id");
    const activation = answer.headers.get("x-openwhisk-activation-id");
    return { transaction, activation, document: (await answer.json()) as any }; // eslint-disable-line typescript/no-explicit-any
  }

  /** The activation, once it is over. */
  const settled = (id: string) =>
    until(async () => {
      const answer = await whisk.rest(`/api/v1/namespaces/_/activations/${id}`);
      assert.equal(answer.status, 200);
      return (await answer.json()) as any; // eslint-disable-line typescript/no-explicit-any
    });

  test("a request without an id is known by its activation's, to the client and to the action", async () => {
    const { transaction, activation, document } = await invoke("blocking=true&result=true");
    assert.match(activation ?? "", /^[0-9a-f]{32}$/);
    assert.equal(transaction, activation);
    assert.deepEqual(document, { transaction, activation, namespace: "guest" });
    const other = await invoke("blocking=true");
    assert.notEqual(other.activation, activation);
    assert.equal(other.document.activationId, other.activation);
    assert.equal(other.document.response.result.activation, other.activation);
  });

  test("a client's own is kept, and its calls have others", async () => {
    const headers = { "x-request-id": "trace-1" };
    const first = await invoke("blocking=true&result=true", { headers });
    const second = await invoke("blocking=true&result=true", { headers });
    for (const { transaction, activation, document } of [first, second]) {
      assert.equal(transaction, "trace-1");
      assert.deepEqual(document, { transaction, activation, namespace: "guest" });
    }
    assert.notEqual(first.activation, second.activation);
  });

  test("what is called without waiting has its request's id later, too", async () => {
    const { transaction, activation, document } = await invoke("");
    assert.deepEqual(document, { activationId: activation });
    const { response } = await settled(activation!);
    assert.deepEqual(response.result, { transaction, activation, namespace: "guest" });
  });

  test("a web action's caller knows the activation", async () => {
    const answer = await whisk.rest("/api/v1/web/guest/default/said.json", { auth: false });
    const activation = answer.headers.get("x-openwhisk-activation-id");
    assert.equal(answer.headers.get("x-request-id"), activation);
    assert.deepEqual(await answer.json(), { transaction: activation, activation, namespace: "guest" });
  });

  test("one path means each caller's own namespace", async () => {
    const own = await invoke("blocking=true&result=true");
    const others = await invoke("blocking=true&result=true", { auth: alice });
    assert.equal(own.document.namespace, "guest");
    assert.equal(others.document.namespace, "alice");
  });

  test("answers are as long as they say in bytes, whatever they hold", async () => {
    for (const said of ["plain", "größer €", "\u{1F41F}", '"\\\n'])
      for (const query of ["blocking=true", "blocking=true&result=true"]) {
        const { document } = await invoke(query, { body: { said } });
        const result = query.endsWith("result=true") ? document : document.response.result;
        assert.equal(result.said, said, query);
        if (result === document) continue;
        assert.equal(document.response.size, Buffer.byteLength(JSON.stringify(result)));
        const kept = await settled(document.activationId);
        assert.deepEqual(kept.response, document.response);
      }
  });
});
