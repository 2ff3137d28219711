import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { VirgaError } from "../../src/core/errors.ts";
import { createBinaryRuntime } from "../../src/runtimes/binary/runtime.ts";
import { pause } from "../contracts/sandbox.ts";
import { Bench, type ConfigChanges, configOf, type Running, silent } from "../runtimes/python/function.ts";
import { missingTools } from "../tools.ts";

/** A server of `/init` and `/run`; `init` and `run` see the request's JSON as `given`, and call `self.answer`. */
const server = (init: string, run: string): string => `#!/usr/bin/env python3
import http.server, json, os, sys, time
initialised = {}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status); self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
        print("XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX", flush=True)
        print("XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX", file=sys.stderr, flush=True)
    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/init":
            initialised.update(given["value"])
            ${init}
        elif self.path == "/run":
            ${run}
        else: self.answer(404, {})
    def log_message(self, *rest): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
`;
const ready = `self.answer(200, {"ok": True})`;
const echo = `print("running", flush=True); self.answer(200, {"init": initialised, "run": given})`;

describe("servers of /init and /run", { skip: missingTools("python"), timeout: 60_000 }, () => {
  const bench = new Bench();
  const runtime = createBinaryRuntime({ toolsDirectory: bench.tools, log: silent });
  after(() => bench.close());

  async function serve(init: string, run: string, changes: ConfigChanges = {}): Promise<Running> {
    const directory = bench.folder({ handler: server(init, run) });
    const config = configOf({ runtime: "binary", handler: "handler", convention: "openwhisk", ...changes });
    await bench.build(runtime, directory, config);
    return bench.deploy(runtime, directory, config);
  }
  const post = (body: string, headers: readonly string[] = []) => ({
    method: "POST",
    body: Buffer.from(body),
    headers,
  });

  test("one is told its environment once, and each call with its deadline; what it says goes with the call", async () => {
    const running = await serve(ready, echo, { environment: { CORNER: "slow" } });
    const deadline = Date.now() + 20_000;
    for (const count of [1, 2]) {
      const answer = await running.call({ ...post(`{"count":${count}}`), deadline });
      assert.equal(answer.status, 200, answer.error?.message);
      const { init, run } = JSON.parse(answer.text);
      assert.equal(init.env.CORNER, "slow");
      assert.deepEqual([init.main, init.code, init.binary], ["main", "", false]);
      assert.deepEqual(run.value, { count });
      assert.equal(run.activation_id, `call-${count}`);
      assert.equal(run.deadline, String(deadline));
      assert.equal(run.action_name, init.name);
    }
    await running.printed(2);
    assert.deepEqual(
      running.logs.map(({ text, invocation }) => [text, invocation]),
      [
        ["running", "call-1"],
        ["running", "call-2"],
      ],
    );
  });

  test("no body is an empty object; a body that is a call of OpenWhisk's already goes as it is", async () => {
    const running = await serve(ready, echo);
    assert.deepEqual(JSON.parse((await running.call()).text).run.value, {});
    const whole = post(`{"value":{"a":1},"activation_id":"b"}`, ["content-type", "application/vnd.openwhisk.run+json"]);
    assert.deepEqual(JSON.parse((await running.call(whole)).text).run, { value: { a: 1 }, activation_id: "b" });
    const { error } = await running.call(post("a,b\n1,2\n"));
    assert.equal(error?.code, "function_error");
    assert.match(error.message, /no JSON/);
  });

  test("a body may follow in pieces; a stop waits for it, and one that is cancelled before its end is over", async () => {
    const running = await serve(ready, echo);
    const left = running.call({ method: "POST" }, true);
    left.handle.write(Buffer.from(`{"a"`));
    left.handle.cancel("cancelled");
    assert.equal((await left).error?.code, "cancelled");
    const late = running.call({ method: "POST" }, true);
    late.handle.write(Buffer.from(`{"a"`));
    const stopped = running.instance.stop(5000);
    await pause(50);
    late.handle.write(Buffer.from(`:1}`));
    late.handle.end();
    assert.deepEqual(JSON.parse((await late).text).run.value, { a: 1 });
    await stopped;
    const { error } = await running.call(post("{}"));
    assert.ok(error !== undefined, "a stopped instance took a call");
  });

  test("an error of the action is its answer; an end in mid-call and a deadline are told as such", async () => {
    const run = `
                if given["value"].get("end"): os._exit(9)
                elif given["value"].get("hang"): time.sleep(60)
                else: self.answer(502, {"error": "no such gate"})`;
    const running = await serve(ready, run);
    const failed = await running.call(post("{}"));
    assert.deepEqual([failed.status, JSON.parse(failed.text)], [502, { error: "no such gate" }]);
    const hanging = running.call(post(`{"hang":true}`));
    await pause(50);
    hanging.handle.cancel("timeout");
    assert.equal((await hanging).error?.code, "timeout");
    const { error } = await running.call(post(`{"end":true}`));
    assert.equal(error?.code, "function_crashed");
    assert.equal((await running.instance.exited).code, 9);
  });

  test("a server that refuses /init, ends in it or does not answer it is not started, with the reason", async () => {
    const refusals: [string, string, RegExp][] = [
      [`self.answer(502, {"error": "no such library"})`, "start_failed", /502.*no such library/],
      ["os._exit(3)", "start_failed", /broke off \/init.*exit code 3|broke off \/init.*3/],
      ["time.sleep(60)", "timeout", /did not answer \/init within 1500 ms/],
    ];
    for (const [init, code, message] of refusals) {
      const limits = { ...configOf({}).limits, startTimeoutMs: 1500 };
      await assert.rejects(serve(init, echo, { limits }), (error: VirgaError) => {
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    }
  });
});
