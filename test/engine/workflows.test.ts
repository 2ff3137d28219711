import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import type { Json, Step, WorkflowDefinition } from "../../src/core/workflow/definition.ts";
import type { RunView, SequencedEvent } from "../../src/engine/engine.ts";
import { propertyRuns } from "../drivers/property-runs.ts";
import { type Script, WorkflowWorld } from "./workflow-world.ts";

const add: Script = (input) => (input as number) + 1;
const double: Script = (input) => (input as number) * 2;
const echo: Script = (input) => input;
const never: Script = () => new Promise<Json>(() => {});

async function world(scripts: Record<string, Script>): Promise<WorkflowWorld> {
  const made = new WorkflowWorld(scripts);
  await made.begin();
  return made;
}

const allEvents = (made: WorkflowWorld, id: string): Promise<SequencedEvent[]> =>
  made.workflows.history("default", id, { from: 1, limit: 10_000 });

describe("workflows: runs", () => {
  test("a sequence runs to its end, and its tasks name their invocations with their timings", async () => {
    using made = await world({ add, double });
    const view = await made.run({ steps: [{ call: "add" }, { name: "twice", call: "double" }] }, 20);
    assert.deepEqual([view.status, view.output], ["succeeded", { json: 42 }]);
    assert.deepEqual(
      view.tasks.map(({ id, target, status, timings }) => [id, target, status, timings?.runMs]),
      [
        ["0", "add", "succeeded", 2],
        ["twice", "double", "succeeded", 2],
      ],
    );
    const record = (await made.life.dispatcher.status("default", view.tasks[0]!.invocation!))?.invocation;
    assert.deepEqual([record?.cause.kind, record?.cause.parent], ["workflow", view.id]);
  });

  test("a start is kept before it is acknowledged, and the same idempotency key is the same run", async () => {
    using made = await world({ never });
    await made.workflows.put("default", "w", { steps: [{ call: "never" }] });
    const start = (key: string): Promise<{ id: string; duplicate: boolean }> =>
      made.workflows.start({ namespace: "default", workflow: "w", input: { json: 1 }, idempotencyKey: key });
    const first = await start("k");
    assert.equal((await allEvents(made, first.id))[0]?.kind, "started");
    assert.deepEqual(await start("k"), { id: first.id, duplicate: true });
    assert.notEqual((await start("other")).id, first.id);
    const none = made.workflows.start({ namespace: "default", workflow: "none", input: { json: 1 } });
    await assert.rejects(none, { code: "not_found" });
  });

  test("a run keeps to the definition that it began with", async () => {
    using made = await world({ add, double });
    const { id } = await made.start({ steps: [{ wait: 100 }, { call: "add" }] }, 1);
    const changed = await made.workflows.put("default", "w", { steps: [{ call: "double" }] });
    assert.equal(changed.version, 2);
    assert.equal((await made.workflows.put("default", "w", { steps: [{ call: "double" }] })).version, 2);
    assert.equal(await made.workflows.delete("default", "w"), true);
    assert.deepEqual((await made.untilOver(id)).output, { json: 2 });
  });

  test("an answer of 4xx, a dead letter and an unknown function fail their steps with their own codes", async () => {
    using made = await world({
      refuses: () => ({ status: 404, body: { error: { code: "no_such_cell", message: "nand9" } } }),
      breaks: () => ({ status: 500, body: "broken" }),
    });
    const caught = (call: string): WorkflowDefinition => ({
      steps: [{ call, catch: [{ do: { set: "$.error.code" } }] }],
    });
    assert.deepEqual((await made.run(caught("refuses"), null)).output, { json: "no_such_cell" });
    assert.deepEqual((await made.run(caught("breaks"), null)).output, { json: "function_error" });
    assert.equal(made.effects.length, 3, "the function's own policy tried the second twice");
    assert.deepEqual((await made.run(caught("missing"), null)).output, { json: "not_found" });
  });

  test("a wait takes as long as it says, a time limit ends the run and cuts its call off", async () => {
    using made = await world({ never });
    const before = made.clock.now();
    const waited = await made.run({ steps: [{ wait: 3000 }] }, null);
    assert.ok(waited.endedAt! - before >= 3000 && waited.endedAt! - before < 3100);
    const { id } = await made.start({ steps: [{ call: "never" }], timeoutMs: 500 }, null);
    const late = await made.untilOver(id);
    assert.equal(late.status, "timed_out");
    const call = await made.life.dispatcher.status("default", late.tasks[0]!.invocation!);
    assert.equal(call?.status, "cancelled");
  });

  test("a signal before or after the wait for it goes on; without one the wait times out", async () => {
    using made = await world({ echo });
    const definition: WorkflowDefinition = {
      steps: [{ event: "approval", timeoutMs: 1000, catch: [{ codes: ["timeout"], do: { set: "too late" } }] }],
    };
    const { id } = await made.start(definition, null);
    const signal = { name: "approval", id: "s1", value: { json: { by: "ada" } } };
    assert.deepEqual(await made.workflows.signal("default", id, signal), { id: "s1", duplicate: false });
    assert.deepEqual((await made.untilOver(id)).output, { json: { by: "ada" } });
    await assert.rejects(made.workflows.signal("default", id, signal), { code: "conflict" });
    await assert.rejects(made.workflows.signal("default", "nobody", signal), { code: "not_found" });
    assert.deepEqual((await made.run(definition, null)).output, { json: "too late" });
  });

  test("a cancelled run ends at once, with its call, its timer and its child", async () => {
    using made = await world({ never });
    await made.workflows.put("default", "child", { steps: [{ call: "never" }] });
    const { id } = await made.start(
      { steps: [{ parallel: [{ call: "never" }, { wait: 1e6 }, { workflow: "child" }] }] },
      1,
    );
    await made.clock.advance(50);
    assert.equal(await made.workflows.cancel("default", id), true);
    const view = await made.untilOver(id);
    await made.clock.advance(50);
    assert.equal(view.status, "cancelled");
    assert.equal(await made.workflows.cancel("default", id), false);
    const [call, , child] = view.tasks;
    assert.equal((await made.life.dispatcher.status("default", call!.invocation!))?.status, "cancelled");
    assert.equal((await made.workflows.run("default", child!.run!))?.status, "cancelled");
    assert.deepEqual(
      (await made.workflows.runs("default", { status: "cancelled", limit: 10 })).map(({ workflow }) => workflow).sort(),
      ["child", "w"],
    );
  });

  test("a settled call that could not be told to its run stays in the queue, is told again, and does not run again", async () => {
    using made = await world({ add });
    const { workflows } = made;
    const tell = workflows.settled.bind(workflows);
    let told = 0;
    workflows.settled = (record) => {
      told++;
      return told === 1 ? Promise.reject(new VirgaError("storage_full", "the disk is full")) : tell(record);
    };
    const { id } = await made.start({ steps: [{ call: "add" }] }, 1);
    await made.clock.advance(100);
    assert.equal((await made.workflows.run("default", id))?.status, "running");
    await made.clock.advance(31_000);
    assert.deepEqual((await made.untilOver(id)).output, { json: 2 });
    assert.deepEqual([told, made.effects.length], [2, 1]);
  });

  test("a call that someone cancels while it waits fails its step", async () => {
    using made = await world({ breaks: () => ({ status: 500, body: null }) });
    made.functions.deploy({
      ...made.functions.resolve({ namespace: "default", name: "breaks" }, {}),
      config: {
        ...made.functions.resolve({ namespace: "default", name: "breaks" }, {}).config,
        async: { maxAttempts: 9, maxAgeMs: 1e9, backoffMs: 1e6, maxBackoffMs: 1e6, delivery: "at-least-once" },
      },
    });
    const { id } = await made.start({ steps: [{ call: "breaks" }] }, null);
    await made.clock.advance(50);
    const [task] = (await made.workflows.run("default", id))!.tasks;
    assert.equal(await made.life.dispatcher.cancel("default", task!.invocation!), true);
    const view = await made.untilOver(id);
    assert.deepEqual([view.status, view.error?.code], ["failed", "cancelled"]);
  });

  test("a child's output is its step's, its failure too, and runs in each other end somewhere", async () => {
    using made = await world({ add });
    await made.workflows.put("default", "inner", {
      steps: [
        { choose: [{ when: { path: "$.input", equals: 9 }, do: { fail: { code: "nine", message: "no" } } }] },
        { call: "add" },
      ],
    });
    const outer: WorkflowDefinition = { steps: [{ workflow: "inner" }] };
    assert.deepEqual((await made.run(outer, 1)).output, { json: 2 });
    assert.equal((await made.run(outer, 9)).error?.code, "nine");
    const endless = await made.run({ steps: [{ workflow: "w" }] }, 1);
    assert.equal(endless.error?.code, "loop_detected");
  });

  test("values over 256 KiB lie beside the journal and arrive all the same; over 16 MiB they fail", async () => {
    using made = await world({
      large: () => "x".repeat(300 * 1024),
      huge: () => "x".repeat(9 * 2 ** 20),
      measure: (input) => (typeof input === "string" ? input.length : (input as Json[]).length),
    });
    const view = await made.run({ steps: [{ name: "l", call: "large" }, { call: "measure" }] }, null);
    assert.deepEqual(view.output, { json: 300 * 1024 });
    assert.ok("blob" in view.tasks[0]!.output!);
    const events = await allEvents(made, view.id);
    assert.ok(JSON.stringify(events).length < 10_000);
    const joined = await made.run(
      { steps: [{ parallel: [{ call: "large" }, { call: "large" }] }, { call: "measure" }] },
      0,
    );
    assert.deepEqual(joined.output, { json: 2 });
    const over = await made.run({ steps: [{ parallel: [{ call: "huge" }, { call: "huge" }] }] }, 0);
    assert.equal(over.error?.code, "payload_too_large");
  });

  test("a decider leads a run, restarts included, and its journal is cut", async () => {
    using made = await world({
      add,
      brain: (question): Json => {
        const { generation, input, tasks } = question as {
          generation: number;
          input: number;
          tasks: Record<string, { output?: number }>;
        };
        const { output } = tasks["up"] ?? {};
        if (output === undefined) return { schedule: [{ id: "up", call: "add", input }] };
        return generation < 4 ? { restart: output } : { done: true, output };
      },
    });
    const view = await made.run({ decider: { function: "brain" } }, 0);
    assert.deepEqual([view.output, view.generation], [{ json: 5 }, 4]);
    assert.ok((await allEvents(made, view.id))[0]!.sequence > 5);
    await made.begin();
    assert.deepEqual((await made.workflows.run("default", view.id))?.output, { json: 5 });
  });

  test("a namespace that is deleted takes its workflows, runs and histories along", async () => {
    using made = await world({ add });
    const view = await made.run({ steps: [{ call: "add" }] }, 1);
    const { id } = await made.start({ steps: [{ event: "never" }] }, 1);
    await made.workflows.forget("default");
    assert.deepEqual(await made.workflows.list("default", { limit: 9 }), []);
    assert.deepEqual(await made.workflows.runs("default", { limit: 9 }), []);
    for (const gone of [view.id, id]) assert.equal(await made.workflows.run("default", gone), undefined);
    const signal = made.workflows.signal("default", id, { name: "never", value: { json: 1 } });
    await assert.rejects(signal, { code: "not_found" });
  });

  test("runs are listed newest first, page by page, and histories go when their retention is over", async () => {
    using made = new WorkflowWorld({ add });
    await made.begin(undefined, { retentionMs: 2000 });
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) {
      ids.push((await made.run({ steps: [{ call: "add" }] }, index)).id);
      await made.clock.advance(10);
    }
    const first = await made.workflows.runs("default", { limit: 3 });
    const rest = await made.workflows.runs("default", { limit: 3, after: first.at(-1)!.id });
    assert.deepEqual(
      [...first, ...rest].map(({ id }) => id),
      ids.toReversed(),
    );
    assert.deepEqual(await made.workflows.runs("default", { limit: 9, workflow: "other" }), []);
    await made.clock.advance(3000);
    await made.workflows.sweep();
    assert.deepEqual(await made.workflows.runs("default", { limit: 9 }), []);
    assert.equal(await made.workflows.run("default", ids[0]!), undefined);
  });

  test("two owners of one run lead it to one end: whose append comes second begins again on what is there", async () => {
    using made = await world({ add });
    const steps: Step[] = Array.from({ length: 12 }, (_, index) =>
      index % 2 === 0 ? { event: "go" } : { call: "add" },
    );
    const { id } = await made.start({ steps: [...steps, { set: "$.previous" }] }, 0);
    const owners = [made.workflows, made.life.twin()];
    for (const owner of owners) await owner.run("default", id);
    // Each hears of half of the signals, and of what the other wrote by its own appends being refused.
    for (let index = 0; index < 6; index++) {
      const signal = { name: "go", id: `s${index}`, value: { json: index * 10 } };
      const told = await Promise.all(owners.map((owner) => owner.signal("default", id, signal)));
      assert.equal(told.filter(({ duplicate }) => !duplicate).length, 1);
      await made.clock.advance(20);
    }
    const view = await made.untilOver(id);
    assert.deepEqual([view.status, view.output], ["succeeded", { json: 51 }]);
    const events = await allEvents(made, id);
    const count = (kind: string): number => events.filter((event) => event.kind === kind).length;
    assert.deepEqual([count("scheduled"), count("signalled"), count("settled"), count("ended")], [12, 6, 6, 1]);
    assert.equal(made.effects.length, 6);
  });

  test("a run whose journal cannot be read stands in no other's way", async () => {
    using made = await world({ add });
    const { id: broken } = await made.start({ steps: [{ event: "go" }, { call: "add" }] }, 1);
    const { id } = await made.start({ steps: [{ event: "go" }, { call: "add" }] }, 1);
    await made.damage(`workflow-runs/default/${broken}`);
    await made.begin();
    await made.workflows.signal("default", id, { name: "go", value: { json: 1 } });
    assert.deepEqual((await made.untilOver(id)).output, { json: 2 });
  });
});

/** All that a run can be made of. */
const everything: WorkflowDefinition = {
  steps: [
    { name: "first", call: "add" },
    {
      name: "both",
      parallel: { left: [{ call: "add" }, { wait: 40 }, { call: "double" }], right: { workflow: "child" } },
    },
    { name: "flaky", call: "flaky", input: 5, retry: { attempts: 3, backoffMs: 20 } },
    { name: "items", map: [1, 2, 3], do: { call: "double" }, concurrency: 2 },
    { name: "told", event: "go" },
    { set: ["$.steps.first", "$.steps.both", "$.steps.flaky", "$.steps.items", "$.steps.told"] },
  ],
};
const expected: Json = [2, { left: 6, right: 3 }, 5, [2, 4, 6], "gone"];
const scripts: Record<string, Script> = {
  add,
  double,
  flaky: (input, { task }) => (task === "flaky" ? { status: 400, body: null } : input),
};

/** Runs `everything` though the process dies again and again; the client asks again until it is acknowledged. */
async function survive(deaths: readonly number[]): Promise<{ writes: number; lives: number }> {
  using made = new WorkflowWorld(scripts, 50);
  await made.begin();
  await made.workflows.put("default", "child", { steps: [{ call: "add" }] });
  await made.workflows.put("default", "w", everything);
  const left = [...deaths];
  let lives = 1;
  let life = await made.begin(left.shift());
  const next = async (): Promise<void> => {
    lives++;
    life = await made.begin(left.shift());
  };
  /** What the client asked, or undefined where the process died before it answered. */
  const asked = async <T>(question: () => Promise<T>): Promise<T> => {
    for (;;) {
      let answer: { value: T } | undefined;
      question().then(
        (value) => (answer = { value }),
        () => undefined,
      );
      for (let round = 0; round < 40 && answer === undefined && !life.dead(); round++) await made.clock.advance(5);
      if (answer !== undefined) return answer.value;
      assert.ok(life.dead(), "a living process answers");
      await next();
    }
  };
  const start = { namespace: "default", workflow: "w", input: { json: 1 }, idempotencyKey: "once" };
  const { id } = await asked(() => made.workflows.start(start));
  await asked(() => made.workflows.signal("default", id, { name: "go", id: "one", value: { json: "gone" } }));
  for (let round = 0; ; round++) {
    assert.ok(round < 300, `run ${id} is not over`);
    if (life.dead()) await next();
    await made.clock.advance(25);
    if (life.dead()) continue;
    if ((await asked(() => made.workflows.run("default", id)))?.status !== "running") break;
  }
  // Until what is behind the end is done, too.
  for (let round = 0; round < 10; round++) {
    if (life.dead()) await next();
    await made.clock.advance(100);
  }
  const view = (await made.workflows.run("default", id))!;
  assert.deepEqual([view.status, view.output], ["succeeded", { json: expected }]);
  const events = await allEvents(made, id);
  const names = events.flatMap((event) => (event.kind === "scheduled" ? event.task : []));
  assert.equal(new Set(names).size, names.length, "each task is scheduled once");
  const settled = events.flatMap((event) => (event.kind === "settled" ? event.ref : []));
  assert.equal(new Set(settled).size, settled.length, "each task settles once");
  assert.equal(events.filter(({ kind }) => kind === "ended").length, 1);
  assert.equal(events.filter(({ kind }) => kind === "signalled").length, 1);
  assert.deepEqual(new Set(made.effects).size, 9, "each call ran");
  const runs = await made.workflows.runs("default", { limit: 10 });
  assert.deepEqual(runs.map(({ workflow, status }) => `${workflow} ${status}`).sort(), [
    "child succeeded",
    "w succeeded",
  ]);
  return { writes: life.writes(), lives };
}

describe("workflows: crashes", () => {
  test("wherever in its writes the process dies, the run ends once, and each task is in the journal once", async () => {
    const { writes } = await survive([]);
    assert.ok(writes > 60, `${writes} writes`);
    for (let death = 1; death <= writes; death++) {
      const { lives } = await survive([death]);
      assert.ok(lives >= 1);
    }
  });

  test("so it does when it dies again and again", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 3, max: 60 }), { minLength: 2, maxLength: 8 }), async (deaths) => {
        await survive(deaths);
      }),
      { numRuns: propertyRuns(10) },
    );
  });
});

describe("workflows: what dialects need", () => {
  test("a step whose answer holds `stopWhen` ends its block with that answer", async () => {
    using made = await world({ fails: () => ({ error: "no" }), double });
    const steps: Step[] = [
      { call: "fails", stopWhen: { path: "$.error", exists: true } },
      { name: "never", call: "double" },
    ];
    const view = await made.run({ steps }, 1);
    assert.deepEqual([view.status, view.output], ["succeeded", { json: { error: "no" } }]);
    assert.equal(view.tasks.length, 1);
    const inner = await made.run({ steps: [{ choose: [], otherwise: steps }, { call: "echo2" }] }, 1);
    assert.equal(inner.tasks.length, 2, "only the block ends, not what stands around it");
  });

  test("a call that prefers a workflow is a run where there is one, else a call", async () => {
    using made = await world({ add, double });
    await made.workflows.put("default", "add", { steps: [{ call: "double" }, { call: "add" }] });
    const view = await made.run({ steps: [{ call: "add", preferWorkflow: true }] }, 20);
    assert.deepEqual([view.status, view.output], ["succeeded", { json: 41 }]);
    await made.workflows.delete("default", "add");
    assert.deepEqual((await made.run({ steps: [{ call: "add", preferWorkflow: true }] }, 20)).output, { json: 21 });
  });

  for (const what of ["deleted", "made"] as const) {
    test(`a call that prefers a workflow which is ${what} over a crash stays what it has begun to be`, async () => {
      const outputs = new Set<string>();
      const steps: Step[] = [{ wait: 50 }, { call: "double" }];
      for (let writes = 1; writes <= 16; writes++) {
        let calls = 0;
        using made = new WorkflowWorld({ slow: () => ((calls += 1), "called"), double });
        await made.begin();
        if (what === "deleted") await made.workflows.put("default", "slow", { steps });
        await made.workflows.put("default", "outer", { steps: [{ call: "slow", preferWorkflow: true }] });
        const outer = { namespace: "default", workflow: "outer", input: { json: 4 }, id: "outer" };
        await made.begin(writes);
        void made.workflows.start(outer);
        await made.clock.advance(10);
        made.life.kill();
        if (what === "deleted") await made.definitions().delete("default", "slow");
        else await made.definitions().put("default", "slow", { steps });
        await made.begin();
        await made.workflows.start(outer);
        const { status, output } = await made.untilOver("outer");
        assert.equal(status, "succeeded", `${writes} writes`);
        const runs = await made.workflows.runs("default", { workflow: "slow", limit: 10 });
        assert.equal(runs.length + Math.min(calls, 1), 1, `${writes} writes: ${runs.length} runs, ${calls} calls`);
        outputs.add(JSON.stringify(output));
      }
      assert.deepEqual([...outputs].sort(), ['{"json":"called"}', '{"json":8}'], "crashes before and after it began");
    });
  }

  test("`stopWhen` in a parallel block ends its branch, and in a map its item", async () => {
    using made = await world({ fails: () => ({ error: "no" }), double });
    const steps: Step[] = [{ call: "fails", stopWhen: { path: "$.error", exists: true } }, { call: "double" }];
    const parallel = await made.run({ steps: [{ parallel: { a: steps, b: [{ call: "double" }] } }] }, 3);
    assert.deepEqual([parallel.status, parallel.output], ["succeeded", { json: { a: { error: "no" }, b: 6 } }]);
    using sieve = await world({ odd: (item) => (Number(item) % 2 === 1 ? Number(item) : { even: item }), double });
    const each: Step[] = [
      { call: "odd", input: "$.item", stopWhen: { path: "$.even", exists: true } },
      { call: "double" },
    ];
    const mapped = await sieve.run({ steps: [{ map: "$.input", do: each }] }, [1, 2, 3]);
    assert.deepEqual(mapped.output, { json: [2, { even: 2 }, 6] });
  });

  test("a run stays open until its end was taken, over a failure and a restart", async () => {
    using made = new WorkflowWorld({ add });
    const heard: unknown[] = [];
    const hear =
      (failures: number) =>
      async (run: RunView): Promise<void> => {
        heard.push([run.status, run.output]);
        if (heard.length <= failures) throw new Error("not now");
      };
    await made.begin(undefined, { onEnded: hear(Infinity) });
    const { id } = await made.start({ steps: [{ call: "add" }] }, 1);
    await made.untilOver(id);
    await made.clock.advance(120_000);
    const before = heard.length;
    assert.ok(before >= 2, `a failure is tried again; told ${before} times`);
    await made.begin(undefined, { onEnded: hear(0) });
    await made.clock.advance(120_000);
    assert.equal(heard.length, before + 1, "the next process tells it");
    await made.begin(undefined, { onEnded: hear(0) });
    await made.clock.advance(120_000);
    assert.equal(heard.length, before + 1, "taken once, it is not told again");
    for (const one of heard) assert.deepEqual(one, ["succeeded", { json: 2 }]);
  });
});
