import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { VirgaError } from "../../src/core/errors.ts";
import type { NestedAnswer, NestedCall } from "../../src/ports/runtime.ts";
import type { FakeCall } from "./fake-runtime.ts";
import { settle } from "./manual-clock.ts";
import { revisionOf, rig } from "./rig.ts";

describe("invoker: timeouts", () => {
  test("a call that runs too long fails, and its instance is killed", async () => {
    const { runtime, functions, call, clock, records } = rig();
    functions.deploy(revisionOf({ limits: { timeoutMs: 1000 } }));
    const late = call();
    await clock.advance(10);
    const { instance } = runtime.running[0]!;
    instance.cpuMicros = 900_000;
    await clock.advance(1005);
    assert.equal(late.error?.code, "timeout");
    assert.match(late.error?.message ?? "", /1000 ms/);
    assert.equal(late.settled, 1);
    await settle();
    assert.notEqual(instance.exit, undefined);
    assert.equal(records[0]!.status, "timed_out");
    assert.equal(records[0]!.usage.cpuMs, 900, "what it burnt is metered though it never said so");
  });

  test("with several calls on the instance the others may finish first", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ limits: { timeoutMs: 1000, concurrency: 4 } }));
    const slow = call();
    await clock.advance(500);
    const good = call();
    const { instance } = runtime.running[0]!;
    await clock.advance(510);
    assert.equal(slow.error?.code, "timeout");
    assert.equal(instance.exit, undefined);
    const next = call();
    await clock.advance(10);
    assert.notEqual(runtime.running.at(-1)!.instance, instance, "it gets no new calls");
    [...instance.calls.values()].find(({ cancelled }) => cancelled === undefined)!.answer();
    await settle();
    assert.equal(good.ended, 1);
    assert.notEqual(instance.exit, undefined);
    runtime.running[0]!.answer();
    assert.equal(next.ended, 1);
  });

  test("waiting does not count as running; waiting too long is no_instance and says why", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ limits: { timeoutMs: 1000, startTimeoutMs: 500 }, scaling: { max: 1 } }));
    call();
    await clock.advance(10);
    const second = call();
    const third = call();
    await clock.advance(900);
    runtime.running[0]!.answer();
    await clock.advance(700);
    assert.equal(second.settled, 0, "it has run for 0.7 s");
    assert.equal(third.error?.code, "no_instance");
    assert.match(third.error?.message ?? "", /max of 1/);
    runtime.running[0]!.answer();
    assert.equal(second.ended, 1);
  });

  test("a caller's shorter time is kept", async () => {
    const { functions, call, clock } = rig();
    functions.deploy(revisionOf());
    const late = call({ timeoutMs: 200 });
    await clock.advance(215);
    assert.equal(late.error?.code, "timeout");
  });

  test("a deadline longer than a turn of the wheel is kept", async () => {
    const { functions, call, clock } = rig();
    functions.deploy(revisionOf({ limits: { timeoutMs: 60_000 } }));
    const late = call();
    await clock.advance(59_900);
    assert.equal(late.settled, 0);
    await clock.advance(120);
    assert.equal(late.error?.code, "timeout");
  });
});

describe("invoker: callers that leave", () => {
  test("an instance that acknowledges the cancel serves the next call", async () => {
    const { runtime, functions, call, clock, records } = rig();
    functions.deploy(revisionOf());
    const left = call();
    await clock.advance(10);
    left.handle.cancel("cancelled");
    assert.equal(left.error?.code, "cancelled");
    assert.equal(records.length, 0);
    await settle();
    assert.equal(records[0]!.status, "cancelled");
    const next = call();
    runtime.running[0]!.answer();
    assert.equal(next.ended, 1);
    assert.equal(runtime.starts, 1);
  });

  test("one that does not is given no other call, and killed after a second", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.acknowledges = false;
    functions.deploy(revisionOf());
    const left = call();
    await clock.advance(10);
    const { instance } = runtime.running[0]!;
    left.handle.cancel("cancelled");
    const next = call();
    await clock.advance(500);
    assert.equal(instance.calls.size, 1);
    assert.equal(instance.exit, undefined);
    assert.equal(runtime.alive.length, 2);
    await clock.advance(600);
    assert.notEqual(instance.exit, undefined);
    runtime.running[0]!.answer();
    assert.equal(next.ended, 1);
  });

  test("a late acknowledgement saves the instance", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.acknowledges = false;
    functions.deploy(revisionOf({ scaling: { max: 1 } }));
    const left = call();
    await clock.advance(10);
    const [running] = runtime.running;
    left.handle.cancel("cancelled");
    const next = call();
    await clock.advance(500);
    running!.acknowledge();
    assert.equal(runtime.running.length, 1, "the waiting call has its slot");
    await clock.advance(1000);
    assert.equal(running!.instance.exit, undefined);
    runtime.running[0]!.answer();
    assert.equal(next.ended, 1);
  });

  test("a caller that leaves the line gives up its place", async () => {
    const { runtime, functions, call, clock, pool } = rig();
    functions.deploy(revisionOf({ scaling: { max: 1 } }));
    call();
    await clock.advance(10);
    const leaves = call();
    leaves.handle.cancel("cancelled");
    assert.equal(leaves.error?.code, "cancelled");
    assert.equal(pool.waiting({ namespace: "default", name: "hello" }), 0);
    runtime.running[0]!.answer();
    assert.equal(runtime.running.length, 0);
  });
});

describe("invoker: crashes", () => {
  test("a crash fails every call of the instance, and another serves those who wait", async () => {
    const { runtime, functions, call, clock, records } = rig();
    functions.deploy(revisionOf({ limits: { concurrency: 2 }, scaling: { max: 1 } }));
    const lost = [call(), call()];
    await clock.advance(10);
    const waits = call();
    runtime.alive[0]!.crash(true);
    await clock.advance(50);
    assert.deepEqual(
      lost.map(({ error }) => error?.code),
      ["out_of_memory", "out_of_memory"],
    );
    assert.equal(records.length, 2);
    runtime.running[0]!.answer();
    assert.equal(waits.ended, 1);
    assert.equal(runtime.starts, 2);
  });

  test("a call whose link forgets it is told by the exit", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf());
    const forgotten = call();
    await clock.advance(10);
    const [instance] = runtime.alive;
    instance!.calls.clear();
    instance!.crash();
    await clock.advance(1100);
    assert.equal(forgotten.error?.code, "function_crashed");
  });

  test("an instance that dies idle is not used", async () => {
    const { runtime, functions, call, clock, pool } = rig();
    functions.deploy(revisionOf());
    call();
    await clock.advance(10);
    runtime.running[0]!.answer();
    runtime.alive[0]!.crash();
    await settle();
    assert.equal(pool.memory().usedMb, 0);
    const next = call();
    await clock.advance(10);
    runtime.running[0]!.answer();
    assert.equal(next.ended, 1);
  });
});

describe("invoker: limits", () => {
  test("an announced answer over responseBytes fails before a byte is passed on", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ limits: { responseBytes: 10 } }));
    const cut = call();
    await clock.advance(10);
    runtime.running[0]!.sink.head(200, ["content-length", "11"]);
    assert.equal(cut.error?.code, "response_too_large");
    assert.equal(cut.status, undefined);
  });

  test("a streamed answer over responseBytes is cut, and its neighbour is not", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ limits: { responseBytes: 10, concurrency: 2 } }));
    const cut = call();
    const good = call();
    await clock.advance(10);
    const [big, small] = runtime.running as [FakeCall, FakeCall];
    big.answer(200, "eleven bytes");
    small.answer(200, "ok");
    assert.equal(cut.error?.code, "response_too_large");
    assert.equal(cut.error?.detail.field, "limits.responseBytes");
    assert.equal(cut.body, "");
    assert.equal(good.body, "ok");
    assert.equal(cut.settled, 1);
  });

  test("a request over requestBytes is refused, whole or streamed", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ limits: { requestBytes: 4 } }));
    const whole = call({ body: Buffer.from("12345") });
    assert.equal(whole.error?.code, "request_too_large");
    const streamed = call({ body: undefined });
    await clock.advance(10);
    streamed.handle.write(Buffer.from("123"));
    assert.equal(streamed.settled, 0);
    streamed.handle.write(Buffer.from("45"));
    assert.equal(streamed.error?.code, "request_too_large");
    assert.equal(runtime.instances[0]!.served, 1);
  });

  test("a body that comes before the instance is held back and handed over in order", async () => {
    const { runtime, functions, call, clock } = rig();
    runtime.startMs = 50;
    functions.deploy(revisionOf());
    const streamed = call({ body: undefined });
    let drained = 0;
    streamed.handle.onDrain = () => drained++;
    assert.equal(streamed.handle.write(Buffer.from("a")), false);
    await clock.advance(60);
    assert.equal(drained, 1);
    streamed.handle.write(Buffer.from("b"));
    streamed.handle.end();
    const [running] = runtime.running;
    assert.equal(Buffer.concat(running!.received).toString(), "ab");
    assert.equal(running!.bodyEnded, true);
    running!.answer();
    assert.equal(streamed.invocation?.usage.bytesIn, 2);
  });

  test("log lines belong to their call; those over logBytes are counted and dropped", async () => {
    const { runtime, functions, call, clock, records, lines } = rig();
    functions.deploy(revisionOf({ limits: { logBytes: 10, concurrency: 2 } }));
    call();
    call();
    await clock.advance(10);
    const [one, two] = runtime.running as [FakeCall, FakeCall];
    one.log("12345");
    two.log("two");
    one.log("67890");
    one.log("more");
    one.log("and more");
    one.answer();
    two.answer();
    assert.deepEqual(
      records[0]!.logs.map(({ text }) => text),
      ["12345", "67890"],
    );
    assert.equal(records[0]!.logsDropped, 2);
    assert.deepEqual(
      records[1]!.logs.map(({ text }) => text),
      ["two"],
    );
    assert.equal(lines.length, 3, "followers are spared the flood too");
  });
});

describe("invoker: the rest", () => {
  test("an unknown function fails without an invocation, after the handle was given", async () => {
    const { call, records } = rig();
    const unknown = call({ name: "nothing" });
    assert.equal(unknown.settled, 0);
    await settle();
    assert.equal(unknown.error?.code, "not_found");
    assert.equal(unknown.invocation, undefined);
    assert.equal(records.length, 0);
  });

  test("an answer of 500 is a failed invocation with its status", async () => {
    const { runtime, functions, call, clock, records } = rig();
    functions.deploy(revisionOf());
    call();
    await clock.advance(10);
    runtime.running[0]!.answer(503);
    assert.equal(records[0]!.status, "failed");
    assert.equal(records[0]!.responseStatus, 503);
  });

  test("call() gathers an answer, and its signal cuts it off", async () => {
    const { runtime, functions, invoker, clock } = rig();
    functions.deploy(revisionOf());
    const request = {
      namespace: "default",
      name: "hello",
      cause: { kind: "api" },
      method: "GET",
      target: "/",
      url: "/",
      headers: [],
      body: Buffer.alloc(0),
    } as const;
    const good = invoker.call(request);
    await clock.advance(10);
    runtime.running[0]!.answer(201, "made");
    const { status, body } = await good;
    assert.deepEqual([status, Buffer.from(body).toString()], [201, "made"]);
    const abort = new AbortController();
    const cut = invoker.call(request, abort.signal);
    await settle();
    abort.abort();
    assert.equal((await cut).error?.code, "cancelled");
    await assert.rejects(invoker.call({ ...request, name: "none" }), { code: "not_found" });
  });

  test("a nested call runs in the same namespace with the parent's cause and time", async () => {
    const { runtime, functions, call, clock, records } = rig();
    functions.deploy(revisionOf({ limits: { timeoutMs: 1000 } }));
    functions.deploy(revisionOf({ name: "child" }));
    const parent = call({ cause: { kind: "http", requestId: "r1" } });
    await clock.advance(100);
    const answer = nested(runtime.running[0]!, { function: "child" });
    await clock.advance(10);
    const child = runtime.running.find(({ instance }) => instance.code?.name === "child")!;
    assert.ok(child.call.deadline <= runtime.running[0]!.call.deadline);
    child.answer(200, "from child");
    assert.equal(Buffer.from((await answer).body).toString(), "from child");
    const [record] = records;
    assert.deepEqual(
      [record!.cause.kind, record!.cause.parent, record!.cause.root, record!.cause.requestId],
      ["function", parent.handle.id, parent.handle.id, "r1"],
    );
  });

  test("a nested call ends with its parent", async () => {
    const { runtime, functions, call, clock, records } = rig();
    functions.deploy(revisionOf());
    functions.deploy(revisionOf({ name: "child" }));
    const parent = call();
    await clock.advance(10);
    const answer = assert.rejects(nested(runtime.running[0]!, { function: "child" }), { code: "cancelled" });
    await clock.advance(10);
    parent.handle.cancel("cancelled");
    await answer;
    await settle();
    assert.deepEqual(
      records.map(({ status }) => status),
      ["cancelled", "cancelled"],
    );
  });

  test("nested calls into another namespace, and in circles, are refused", async () => {
    const { runtime, functions, call, clock } = rig();
    functions.deploy(revisionOf({ limits: { concurrency: 100 } }));
    call();
    await clock.advance(10);
    await assert.rejects(nested(runtime.running[0]!, { function: "elsewhere/hello" }), { code: "forbidden" });
    for (let depth = 1; depth <= 64; depth++) {
      void nested(runtime.running.at(-1)!, { function: "hello" }).catch(() => undefined);
      await settle();
      assert.equal(runtime.running.length, depth + 1);
    }
    await assert.rejects(nested(runtime.running.at(-1)!, { function: "default/hello" }), { code: "loop_detected" });
  });

  test("a connection holds a slot until it is closed", async () => {
    const { functions, invoker, clock, records, pool, runtime } = rig();
    functions.deploy(revisionOf({ config: { convention: "http" }, limits: { timeoutMs: 1000 } }));
    const opening = invoker.connect(upgrade);
    await clock.advance(10);
    const pass = await opening;
    assert.deepEqual([pass.host, pass.port], ["127.0.0.1", 1]);
    assert.equal(pool.instances()[0]!.state, "busy");
    pass.close(3, 4);
    assert.equal(pool.instances()[0]!.state, "idle");
    assert.deepEqual([records[0]!.usage.bytesIn, records[0]!.usage.bytesOut], [3, 4]);
    const second = await invoker.connect(upgrade);
    let told: VirgaError | undefined;
    second.onEnd = (error) => {
      told = error;
    };
    await clock.advance(1010);
    assert.equal(told?.code, "timeout");
    await clock.advance(1000);
    assert.equal(records[1]!.status, "timed_out");
    assert.equal(runtime.alive.length, 0, "a holder that does not close costs the instance");
  });

  test("a function without a server takes no connection", async () => {
    const { functions, invoker, clock } = rig();
    functions.deploy(revisionOf());
    const refused = assert.rejects(invoker.connect(upgrade), { code: "bad_request" });
    await clock.advance(10);
    await refused;
  });
});

const upgrade = {
  namespace: "default",
  name: "hello",
  cause: { kind: "http" },
  method: "GET",
  target: "/",
  url: "/",
  headers: [],
  body: undefined,
} as const;

function nested(parent: FakeCall, request: Partial<NestedCall>): Promise<NestedAnswer> {
  return parent.instance.request.events.callFunction(parent.call.id, {
    function: "hello",
    method: "GET",
    path: "/",
    headers: [],
    body: new Uint8Array(),
    ...request,
  });
}
