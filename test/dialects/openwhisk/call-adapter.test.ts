import assert from "node:assert/strict";
import { test } from "node:test";
import type { Revision } from "../../../src/core/model.ts";
import { ActionCall } from "../../../src/dialects/openwhisk/action-call.ts";
import { createCallAdapter } from "../../../src/dialects/openwhisk/call-adapter.ts";
import type { Action } from "../../../src/dialects/openwhisk/entities.ts";
import { node } from "../../../src/dialects/openwhisk/languages/node.ts";
import { python } from "../../../src/dialects/openwhisk/languages/python.ts";
import { resolveAction } from "../../../src/dialects/openwhisk/resolution.ts";
import { actionOf } from "./action-bench.ts";

const key = 'uuid:a,"b';
const adapter = createCallAdapter({
  documents: {
    action: (namespace, inPackage, name) =>
      inPackage === undefined && name === "hello" ? hello(namespace) : undefined,
    package: () => undefined,
  },
  apiHost: () => "http://127.0.0.1:3233",
  apiKeyOf: (namespace) => (namespace === "guest" ? key : Promise.resolve(undefined)),
});

function hello(namespace: string): Action {
  const parameters = [{ key: "SECRET", value: "s", init: true }];
  return actionOf("nodejs:20", {}, { namespace, name: "hello", parameters });
}

async function bodyFor(handler: string, namespace = "guest", request: object = { cause: { requestId: "asked" } }) {
  const prepared = await adapter.prepare({
    id: "01234567-89ab-cdef-0123-456789abcdef",
    request: { namespace, name: "hello", ...request } as never,
    body: Buffer.from('{"n":1}'),
    revision: { config: { handler } } as unknown as Revision,
    deadline: 1234.5,
  });
  return { suffices: prepared.bodySuffices, body: JSON.parse(Buffer.from(prepared.body).toString()) as unknown };
}

test("this release's guest of Node is given a list, and nothing beside it", async () => {
  const id = "0123456789abcdef0123456789abcdef";
  assert.deepEqual(await bodyFor(node.handler), {
    suffices: true,
    body: [id, "asked", "1234", `guest,/guest/hello,0.0.1,http://127.0.0.1:3233,${key}`, { n: 1 }, { SECRET: "s" }],
  });
  const { body } = await bodyFor(node.handler, "other");
  assert.equal((body as string[])[3], "other,/other/hello,0.0.1,http://127.0.0.1:3233,");
});

test("guests of other languages, and Node's of an earlier release, are given the body of /run", async () => {
  for (const handler of [python.handler, "openwhisk-action.mjs"])
    assert.deepEqual(await bodyFor(handler), {
      suffices: false,
      body: {
        value: { n: 1 },
        namespace: "guest",
        action_name: "/guest/hello",
        action_version: "0.0.1",
        activation_id: "0123456789abcdef0123456789abcdef",
        transaction_id: "asked",
        deadline: "1234",
        api_host: "http://127.0.0.1:3233",
        api_key: key,
        env: { SECRET: "s" },
      },
    });
});

test("what the API has worked out for a call is taken as it is", async () => {
  const called = { namespace: "guest", name: "hello" };
  const action = resolveAction({ action: () => hello("guest"), package: () => undefined }, called, "guest");
  const known = new ActionCall({
    action: await action,
    caller: "guest",
    payload: new Uint8Array(0),
    id: "unused",
    activationId: "f".repeat(32),
    transactionId: "its own",
    cause: "api",
  });
  const { body } = await bodyFor(node.handler, "guest", { name: "nothing by this name", cause: {}, known });
  assert.deepEqual((body as unknown[]).slice(0, 2), ["f".repeat(32), "its own"]);
  assert.equal((body as string[])[3], `guest,/guest/hello,0.0.1,http://127.0.0.1:3233,${key}`);
});

test("a call that nobody gave an id is known by its activation's", async () => {
  const { body } = await bodyFor(node.handler, "guest", { cause: {} });
  const id = "0123456789abcdef0123456789abcdef";
  assert.deepEqual((body as unknown[]).slice(0, 2), [id, id]);
});
