import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import type { CallAdapter } from "../../src/engine/call-adapter.ts";
import { settle } from "./manual-clock.ts";
import { revisionOf, rig } from "./rig.ts";

const wrapping: CallAdapter = {
  prepare: ({ id, body, request }) => ({
    body: Buffer.from(`<${request.name} ${id}: ${Buffer.from(body).toString()}>`),
    headers: ["content-type", "text/wrapped"],
    annotations: { note: "kept" },
    keepsResult: true,
  }),
};

function adapted(adapter: CallAdapter) {
  const made = rig({ adapters: { peer: adapter } });
  made.functions.deploy(revisionOf({ config: { dialect: "peer" } }));
  return made;
}

describe("call adapters of dialects", () => {
  test("what goes to the instance is the adapter's; the record has its notes and the answer", async () => {
    const { runtime, call, clock, records } = adapted(wrapping);
    const observed = call({ annotations: { given: 1 } });
    await clock.advance(10);
    const [running] = runtime.running;
    assert.equal(Buffer.from(running!.call.body!).toString(), `<hello ${observed.handle.id}: in>`);
    assert.deepEqual(running!.call.headers, ["content-type", "text/wrapped"]);
    running!.answer(200, "out");
    assert.equal(observed.body, "out");
    assert.deepEqual(records[0]!.annotations, { given: 1, note: "kept" });
    assert.deepEqual(records[0]!.result, {
      status: 200,
      headers: ["content-type", "text/plain"],
      body: Buffer.from("out").toString("base64"),
    });
  });

  test("a body that comes in parts is whole before an instance is held for it", async () => {
    const { runtime, call, clock } = adapted(wrapping);
    const observed = call({ body: undefined as never });
    await clock.advance(10);
    assert.equal(runtime.running.length, 0);
    assert.equal(observed.handle.write(Buffer.from("a")), true, "the sender may go on");
    observed.handle.write(Buffer.from("b"));
    observed.handle.end();
    await clock.advance(10);
    assert.match(Buffer.from(runtime.running[0]!.call.body!).toString(), /: ab>$/);
  });

  test("one that reads first is waited for; a call that is cut off meanwhile reaches no program", async () => {
    let read = (): void => undefined;
    const slow: CallAdapter = {
      prepare: (call) =>
        new Promise((resolve) => {
          read = () => resolve(wrapping.prepare(call));
        }),
    };
    const { runtime, call, clock } = adapted(slow);
    const [first, second] = [call(), call()];
    await clock.advance(10);
    second.handle.cancel("cancelled");
    assert.equal(second.error?.code, "cancelled");
    read();
    await settle();
    assert.ok(runtime.running.every((running) => running.call.id === first.handle.id));
  });

  test("what it refuses ends the call with its error, and the instance serves the next one", async () => {
    let refuses = true;
    const { runtime, call, clock, records } = adapted({
      prepare(one) {
        if (refuses) throw new VirgaError("forbidden", "not yours");
        return wrapping.prepare(one);
      },
    });
    const refused = call();
    await clock.advance(10);
    assert.equal(refused.error?.code, "forbidden");
    assert.equal(records[0]!.status, "failed");
    refuses = false;
    call();
    await clock.advance(10);
    assert.equal(runtime.running.length, 1);
  });

  test("an answer beyond a record's share is left out of it, and the caller has it all the same", async () => {
    const { runtime, call, clock, records } = adapted(wrapping);
    const observed = call();
    await clock.advance(10);
    runtime.running[0]!.answer(200, "x".repeat(2 ** 20 + 1));
    assert.equal(observed.body.length, 2 ** 20 + 1);
    assert.deepEqual(records[0]!.result, { status: 200, headers: ["content-type", "text/plain"] });
  });
});
