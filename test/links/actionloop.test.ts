import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { VirgaError } from "../../src/core/errors.ts";
import { ActionLoopInstance } from "../../src/links/actionloop/index.ts";
import type { Runtime } from "../../src/ports/runtime.ts";
import { pause } from "../contracts/sandbox.ts";
import { Bench, type ConfigChanges, configOf, type Running } from "../runtimes/python/function.ts";
import { missingTools } from "../tools.ts";

/** A loop in Python: `begin` runs once, `answer` for each `call`, and may `say` a line. */
const loop = (begin: string, answer: string): string => `
import json, os, sys, time
out = os.fdopen(3, "w")
def say(line): out.write(line + "\\n"); out.flush()
${begin}
for line in sys.stdin:
    call = json.loads(line)
    value = call["value"]
    ${answer}
`;
const ready = `say('{"ok":true}')`;
const echo = `print("looping", flush=True); say(json.dumps(call))`;

describe("the actionloop link", { skip: missingTools("python"), timeout: 60_000 }, () => {
  const bench = new Bench();
  after(() => bench.close());

  function serve(begin: string, answer: string, changes: ConfigChanges = {}, acknowledges = true): Promise<Running> {
    const start: Runtime["start"] = (request) =>
      Promise.resolve(
        new ActionLoopInstance(request, () => ({
          command: (directory) => ["/usr/bin/env", "python3", `${directory}/loop.py`],
          mounts: [],
          environment: () => ({ PATH: "/usr/local/bin:/usr/bin:/bin" }),
          acknowledges,
        })),
      );
    const runtime = { start } as Runtime;
    const config = configOf({ handler: "loop.py", convention: "actionloop", ...changes });
    return bench.deploy(runtime, bench.folder({ "loop.py": loop(begin, answer) }), config);
  }
  const post = (body: string, headers: readonly string[] = []) => ({
    method: "POST",
    body: Buffer.from(body),
    headers,
  });

  test("a call is a line each way; what is printed goes with it", async () => {
    const running = await serve(ready, echo);
    for (const body of [`{"a":1}`, `{\n  "a": "x\\ny"\r\n}`, `[1,2]`]) {
      const answer = await running.call(post(body));
      assert.equal(answer.status, 200, answer.error?.message);
      assert.deepEqual(JSON.parse(answer.text), { value: JSON.parse(body) });
    }
    assert.deepEqual(JSON.parse((await running.call()).text), { value: {} });
    const whole = post(`{"value":{},"action_name":"/guest/a"}`, ["content-type", "application/vnd.openwhisk.run+json"]);
    assert.equal(JSON.parse((await running.call(whole)).text).action_name, "/guest/a");
    await running.printed(5);
    assert.equal(running.logs[2]!.invocation, "call-3");
  });

  test("a program that says nothing of being ready is ready at once, where it is known to be such", async () => {
    const running = await serve("", echo, {}, false);
    assert.equal((await running.call(post("{}"))).status, 200);
  });

  test("one that is not ready in time, ends before it is, or says something else is not started", async () => {
    const limits = { ...configOf({}).limits, startTimeoutMs: 700 };
    const refusals: [string, string, RegExp][] = [
      ["pass", "timeout", /could take no calls within 700 ms/],
      [`print("no such library"); sys.exit(4)`, "start_failed", /exit code 4.*no such library/],
      [`say('{"ok":false}')`, "start_failed", /said \{"ok":false\}/],
    ];
    for (const [begin, code, message] of refusals) {
      await assert.rejects(serve(begin, echo, { limits }), (error: VirgaError) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    }
  });

  test("an answer that is no object or list is 502; one that is too long is refused", async () => {
    const running = await serve(
      ready,
      `say({"text": "hello", "number": "5", "long": json.dumps({"x": "y" * 200000})}[value["say"]])`,
      {
        limits: { ...configOf({}).limits, responseBytes: 100_000 },
      },
    );
    for (const kind of ["text", "number"]) {
      const answer = await running.call(post(`{"say":"${kind}"}`));
      assert.equal(answer.status, 502);
      assert.match(JSON.parse(answer.text).error, /did not return a dictionary/);
    }
    assert.equal((await running.call(post(`{"say":"long"}`))).error?.code, "response_too_large");
  });

  test("the late answer of a call that was ended is not the next one's", async () => {
    const running = await serve(
      ready,
      `time.sleep(value.get("seconds", 0)); say(json.dumps({"of": value.get("name")}))`,
    );
    const { promise: acknowledged, resolve } = Promise.withResolvers<string>();
    running.onAcknowledged = resolve;
    const slow = running.call(post(`{"seconds":0.3,"name":"slow"}`));
    await pause(50);
    slow.handle.cancel("timeout");
    assert.equal((await slow).error?.code, "timeout");
    assert.equal(await acknowledged, "call-1");
    const next = await running.call(post(`{"name":"next"}`));
    assert.deepEqual(JSON.parse(next.text), { of: "next" });
  });

  test("a call cancelled before its body is whole never reaches the program", async () => {
    const running = await serve(ready, echo);
    const left = running.call({ method: "POST" }, true);
    left.handle.write(Buffer.from(`{"a"`));
    left.handle.cancel("cancelled");
    left.handle.end();
    assert.equal((await left).error?.code, "cancelled");
    const pieces = running.call({ method: "POST" }, true);
    for (const piece of [`{"a`, `":`, `2}`]) pieces.handle.write(Buffer.from(piece));
    pieces.handle.end();
    assert.deepEqual(JSON.parse((await pieces).text), { value: { a: 2 } });
  });

  test("an end in mid-call is told; a stop waits for the call that runs", async () => {
    const running = await serve(ready, "os._exit(9)");
    assert.equal((await running.call(post("{}"))).error?.code, "function_crashed");
    assert.equal((await running.instance.exited).code, 9);
    assert.ok((await running.call(post("{}"))).error !== undefined, "an ended instance took a call");
    const patient = await serve(ready, `time.sleep(0.3); say("{}")`);
    const call = patient.call(post("{}"));
    await pause(50);
    const stopped = patient.instance.stop(5000);
    assert.equal((await call).status, 200);
    await stopped;
  });
});
