import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { CodeExec } from "../../../src/dialects/openwhisk/entities.ts";
import type { Json } from "../../../src/core/workflow/definition.ts";
import { missingTools } from "../../tools.ts";
import { ActionBench, actionOf, zipOf } from "./action-bench.ts";

describe("actions in Python", { skip: missingTools("python") }, () => {
  const bench = new ActionBench();
  after(() => bench.close());

  const start = (code: string, exec: Partial<CodeExec> = {}) => bench.start(actionOf("python:3", exec), code);
  const zipped = async (files: Record<string, string>, exec: Partial<CodeExec> = {}) =>
    bench.start(actionOf("python:3", { binary: true, ...exec }), await zipOf(files));

  async function result(code: string, value: Json = {}, exec: Partial<CodeExec> = {}): Promise<Json> {
    const ran = await (await start(code, exec)).run(value);
    assert.equal(ran.status, 200, JSON.stringify(ran));
    return ran.value;
  }

  test("main takes a dictionary and returns one", async () => {
    const hello = 'def main(args):\n    return {"payload": "Hello, " + args.get("name", "Wörld")}\n';
    const started = await start(hello);
    assert.deepEqual(await started.run(), { status: 200, value: { payload: "Hello, Wörld" }, error: undefined });
    assert.deepEqual((await started.run({ name: "Donald" })).value, { payload: "Hello, Donald" });
  });

  test("lists are taken and returned", async () => {
    assert.deepEqual(await result("def main(args):\n    return args[::-1]\n", ["a", "b"]), ["b", "a"]);
  });

  test("the entry has the name that the action gives", async () => {
    assert.deepEqual(await result('def niam(args):\n    return {"ok": True}\n', {}, { main: "niam" }), { ok: true });
  });

  test("what is guarded for the command line is not run", async () => {
    const code = 'def main(args):\n    return {"ok": True}\nif __name__ == "__main__":\n    raise SystemExit(1)\n';
    assert.deepEqual(await result(code), { ok: true });
  });

  test("what is no dictionary and no list is the developer's error", async () => {
    for (const value of ["'text'", "5", "None"]) {
      const ran = await (await start(`def main(args):\n    return ${value}\n`)).run();
      assert.equal(ran.status, 502, value);
      assert.deepEqual(ran.value, { error: "The action did not return a dictionary or array." });
    }
    const ran = await (await start('def main(args):\n    return {"a": object()}\n')).run();
    assert.equal(ran.status, 502);
    assert.match((ran.value as { error: string }).error, /cannot be written as JSON.*object/);
  });

  test("an exception is the application's error, with its trace in the log", async () => {
    const started = await start('def main(args):\n    raise ValueError("no such gate")\n');
    assert.deepEqual((await started.run()).value, { error: "no such gate" });
    await started.running.printed(1);
    assert.match(started.lines.join("\n"), /stderr: .*Traceback[\s\S]*__action__\.py", line 2/);
  });

  test("code that cannot be loaded is the developer's error", async () => {
    for (const [code, shown] of [
      ["def main(args)\n", /SyntaxError/],
      ["import nowhere\n", /No module named 'nowhere'/],
      ["other = 1\n", /no function 'main'/],
      ["raise SystemExit(3)\n", /SystemExit/],
    ] as const) {
      const ran = await (await start(code)).run();
      assert.equal(ran.status, 502);
      const { error } = ran.value as { error: string };
      assert.match(error, /^Initialization has failed due to: /);
      assert.match(error, shown);
    }
  });

  test("each call has its variables", async () => {
    const started = await start(
      "import os\nEARLY = os.environ['SECRET']\ndef main(args):\n" +
        "    return {'early': EARLY, 'name': os.environ['__OW_ACTION_NAME'], 'id': os.environ['__OW_ACTIVATION_ID'], 'key': os.environ.get('__OW_API_KEY')}\n",
    );
    const first = await started.run({}, { apiKey: "uuid:key", env: { SECRET: "s" } });
    const id = "0123456789abcdef0123456789abcdef";
    assert.deepEqual(first.value, { early: "s", name: "/guest/subject", id, key: "uuid:key" });
    const next = await started.run({}, { activation: "f".repeat(32) });
    assert.equal((next.value as { id: string }).id, "f".repeat(32));
  });

  test("what is printed is the call's log", async () => {
    const started = await start(
      "import sys\ndef main(args):\n    print('out')\n    print('err', file=sys.stderr)\n    return {}\n",
    );
    await started.run();
    await started.running.printed(2);
    assert.deepEqual(started.lines.toSorted(), ["stderr: err", "stdout: out"]);
  });

  test("a zip has its entry in __main__.py, and modules beside it", async () => {
    const started = await zipped({
      "__main__.py":
        "import gates\ndef main(args):\n    return {'gate': gates.NAME, 'data': open('data.txt').read()}\n",
      "gates.py": "NAME = 'nand'\n",
      "data.txt": "of the zip",
    });
    assert.deepEqual((await started.run()).value, { gate: "nand", data: "of the zip" });
    const without = await (await zipped({ "main.py": "def main(args):\n    return {}\n" })).run();
    assert.equal(without.status, 502);
    assert.match((without.value as { error: string }).error, /__main__\.py/);
  });

  test("a virtual environment in the zip goes before everything else", async () => {
    const packages = "virtualenv/lib/python3.7/site-packages";
    const started = await zipped({
      "__main__.py": "import gates, linked\ndef main(args):\n    return {'gate': gates.NAME, 'linked': linked.NAME}\n",
      [`${packages}/gates/__init__.py`]: "NAME = 'of the environment'\n",
      [`${packages}/more.pth`]: "more\n",
      [`${packages}/more/linked.py`]: "NAME = 'by a path file'\n",
      "virtualenv/bin/activate_this.py": "raise Exception('not run')\n",
    });
    assert.deepEqual((await started.run()).value, { gate: "of the environment", linked: "by a path file" });
  });

  test("several calls run in one instance where the action allows it", async () => {
    const action = actionOf("python:3", {}, { limits: { timeout: 20_000, memory: 256, logs: 10, concurrency: 4 } });
    const started = await bench.start(
      action,
      "import threading\nboth = threading.Barrier(2, timeout=10)\ndef main(args):\n    both.wait()\n    return {'ok': True}\n",
    );
    const [first, second] = await Promise.all([started.run(), started.run()]);
    assert.deepEqual([first.value, second.value], [{ ok: true }, { ok: true }]);
  });

  test("an action that ends its process has no answer", async () => {
    const started = await start("import os\ndef main(args):\n    os._exit(1)\n");
    assert.equal((await started.run()).error, "function_crashed");
  });
});
