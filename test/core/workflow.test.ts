import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import { checkDefinition } from "../../src/core/workflow/check.ts";
import { decide } from "../../src/core/workflow/decide.ts";
import type { Block, Json, Step, WorkflowDefinition } from "../../src/core/workflow/definition.ts";
import type { RunEvent } from "../../src/core/workflow/event.ts";
import { fill, holds, parsePath, type Scope } from "../../src/core/workflow/expression.ts";
import { fold, isNews, openTasks } from "../../src/core/workflow/state.ts";
import { propertyRuns } from "../drivers/property-runs.ts";
import { type Functions, simulate } from "./workflow-simulation.ts";

/** Appends the function's name to a text, so that an output tells its way. */
const trail: Functions = (name, input) => `${typeof input === "string" ? input : JSON.stringify(input)}>${name}`;
const fails = (code: string): never => {
  // oxlint-disable-next-line typescript/only-throw-error -- a failure here is an outcome, not an error
  throw { code, message: "as told" };
};
const calls = (events: readonly RunEvent[]): string[] =>
  events.flatMap((event) => (event.kind === "scheduled" && event.spec.kind === "call" ? event.task : []));
const outputOf = (state: { output?: { json?: Json } | object }): Json | undefined =>
  (state.output as { json: Json }).json;

describe("workflow: steps", () => {
  test("a sequence hands each output to the next step", () => {
    const { state, events } = simulate({ steps: [{ call: "a" }, { call: "b" }, { call: "c" }] }, "in", trail);
    assert.equal(state.status, "succeeded");
    assert.equal(outputOf(state), "in>a>b>c");
    assert.deepEqual(calls(events), ["0", "1", "2"]);
  });

  test("branches begin together, see what was before them, and give their outputs under their names", () => {
    const definition = {
      steps: [
        { name: "synth", call: "synth" },
        { name: "checks", parallel: { drc: { call: "drc" }, sim: [{ call: "sim" }, { call: "view" }] } },
        { call: "report", input: { netlist: "$.steps.synth", drc: "$.steps.checks.drc", all: "$.previous" } },
      ],
    } satisfies WorkflowDefinition;
    let report: Json = null;
    const { state, events } = simulate(checkDefinition(definition), "top", (name, input) => {
      if (name === "report") report = input;
      return trail(name, input, "");
    });
    assert.equal(state.status, "succeeded");
    const both = { drc: "top>synth>drc", sim: "top>synth>sim>view" };
    assert.deepEqual(report, { netlist: "top>synth", drc: "top>synth>drc", all: both });
    assert.deepEqual(calls(events), ["synth", "checks/drc/0", "checks/sim/0", "checks/sim/1", "2"]);
  });

  test("a map runs its block for each item, no more at once than told, in order", () => {
    const definition: WorkflowDefinition = {
      steps: [{ map: "$.input.list", do: { call: "f", input: ["$.item", "$.index"] }, concurrency: 3 }],
    };
    const input = { list: [5, 6, 7, 8, 9] };
    const { state, widest } = simulate(
      definition,
      input,
      (_name, given) => given,
      (open) => open - 1,
    );
    assert.deepEqual(outputOf(state), [
      [5, 0],
      [6, 1],
      [7, 2],
      [8, 3],
      [9, 4],
    ]);
    assert.equal(widest, 3);
    assert.deepEqual(outputOf(simulate(definition, { list: [] }, trail).state), []);
    assert.equal(simulate(definition, { list: 3 }, trail).state.error?.code, "invalid_map");
  });

  test("a choice takes the first branch whose condition holds", () => {
    const definition: WorkflowDefinition = {
      steps: [
        {
          choose: [
            { when: { path: "$.input.n", atLeast: 10 }, do: { call: "many" } },
            { when: { path: "$.input.n", above: 0 }, do: { call: "some" } },
          ],
          otherwise: { set: "none" },
        },
      ],
    };
    const taken = (input: Json): Json | undefined => outputOf(simulate(definition, input, (name) => name).state);
    assert.deepEqual([taken({ n: 12 }), taken({ n: 1 }), taken({ n: 0 }), taken({})], ["many", "some", "none", "none"]);
  });

  test("a failed step is tried again after growing pauses, then its catch runs, else the run fails with its error", () => {
    const step: Step = { name: "f", call: "f", retry: { attempts: 3, backoffMs: 100, codes: ["flaky"] } };
    const flaky = simulate({ steps: [step] }, null, (_name, _input, task) =>
      task === "f#3" ? "third" : fails("flaky"),
    );
    assert.equal(outputOf(flaky.state), "third");
    const pauses = flaky.events.flatMap((event) =>
      event.kind === "scheduled" && event.spec.kind === "timer" ? event.spec.delayMs : [],
    );
    assert.deepEqual(pauses, [100, 200]);
    const other = simulate({ steps: [step] }, null, () => fails("other"));
    assert.deepEqual([other.state.status, other.state.error?.code], ["failed", "other"]);
    assert.deepEqual(calls(other.events), ["f"]);
    const caught = simulate(
      { steps: [{ ...step, catch: [{ do: { set: "$.error.code" } }] }, { call: "g" }] },
      null,
      (name, input) => (name === "f" ? fails("flaky") : input),
    );
    assert.equal(outputOf(caught.state), "flaky");
  });

  test("a failing branch leaves the others to their ends; the first by order gives the error", () => {
    const definition: WorkflowDefinition = { steps: [{ parallel: [{ call: "ok" }, { call: "x" }, { call: "y" }] }] };
    for (const chosen of [0, 1, 2]) {
      const { state } = simulate(
        definition,
        null,
        (name) => (name === "ok" ? 1 : fails(name)),
        (open) => Math.min(chosen, open - 1),
      );
      assert.equal(state.error?.code, "x");
      assert.deepEqual(openTasks(state), []);
    }
  });

  test("an answer may count as a failure by what it says", () => {
    const definition: WorkflowDefinition = { steps: [{ call: "f", failWhen: { path: "$.error", exists: true } }] };
    assert.equal(simulate(definition, null, () => ({ fine: 1 })).state.status, "succeeded");
    const failed = simulate(definition, null, () => ({ error: "no" }));
    assert.equal(failed.state.status, "failed");
    assert.deepEqual(outputOf(failed.state), { error: "no" }, "the answer is kept");
  });

  test("a signal is taken by who waits for it, also when it came first, and once", () => {
    const definition: WorkflowDefinition = { steps: [{ call: "a" }, { event: "go" }, { event: "go" }] };
    const signals = [
      { name: "go", value: 1 },
      { name: "go", value: 2 },
    ];
    for (const order of [0, 1]) {
      const { state } = simulate(definition, null, trail, (open) => (order === 0 ? 0 : open - 1), { signals });
      assert.equal(outputOf(state), 2);
    }
    const { state } = simulate(definition, null, trail, () => 0, { signals: signals.slice(1) });
    assert.equal(state.status, "running");
    const twice: RunEvent = { kind: "signalled", at: 9, name: "go", id: "same", value: { json: 3 } };
    const once = fold(state, [twice]);
    assert.equal(isNews(once, twice), false);
    assert.deepEqual(fold(once, [twice]).signals, once.signals);
  });

  test("a reference to what is not there fails the step, and its catch may run", () => {
    const step: Step = { set: "$.input.gone", catch: [{ codes: ["missing_value"], do: { set: "caught" } }] };
    assert.equal(outputOf(simulate({ steps: [step] }, {}, trail).state), "caught");
  });

  test("a run that is stopped ends, and nothing that comes later changes it", () => {
    const { events } = simulate({ steps: [{ event: "never" }] }, null, trail);
    const stopped = fold(fold(undefined, events), [{ kind: "stopped", at: 5, status: "cancelled", message: "enough" }]);
    const decision = decide(stopped, new Map());
    assert.ok(decision.kind === "commands");
    assert.deepEqual(
      decision.commands.map((command) => command.kind === "end" && command.status),
      ["cancelled"],
    );
  });
});

describe("workflow: deciders", () => {
  const decider: WorkflowDefinition = { decider: { function: "brain" } };

  test("the decider is asked after each completion with what is known, and ends the run", () => {
    const questions: Json[] = [];
    const { state, events } = simulate(decider, 3, (name, input): Json => {
      if (name !== "brain") return (input as number) + 1;
      questions.push(input);
      const { tasks } = input as { tasks: Record<string, { status: string; output?: number }> };
      if (tasks["up"] === undefined)
        return { schedule: [{ id: "up", call: "increment", input: 3 }], state: { seen: 1 } };
      if (tasks["up"].status === "open") return {};
      return { done: true, output: tasks["up"].output ?? null };
    });
    assert.equal(outputOf(state), 4);
    assert.deepEqual(calls(events), ["~decide/0", "up", "~decide/1"]);
    assert.deepEqual((questions[1] as { state: Json }).state, { seen: 1 });
    assert.deepEqual((questions[1] as { news: Json }).news, ["up"]);
  });

  test("one that replays names all its tasks each time; each begins once", () => {
    const { state, events } = simulate(decider, null, (name, input): Json => {
      if (name !== "brain") return name;
      const { tasks } = input as { tasks: Record<string, { status: string }> };
      const schedule = ["a", "b", "c"].map((id) => ({ id, call: id }));
      const done = Object.values(tasks).filter(({ status }) => status === "succeeded").length === 3;
      return done ? { done: true, output: "all" } : { schedule };
    });
    assert.equal(outputOf(state), "all");
    assert.deepEqual(
      calls(events)
        .filter((task) => !task.startsWith("~"))
        .sort(),
      ["a", "b", "c"],
    );
  });

  test("one that changes its mind, stalls or answers nonsense fails the run", () => {
    const withAnswers = (...answers: Json[]): string | undefined => {
      let asked = 0;
      return simulate(decider, null, (name) => (name === "brain" ? (answers[asked++] ?? null) : null)).state.error
        ?.code;
    };
    const first = { schedule: [{ id: "x", call: "a" }] };
    assert.equal(withAnswers(first, { schedule: [{ id: "x", call: "b" }] }), "nondeterministic");
    assert.equal(withAnswers({}), "stalled");
    assert.equal(withAnswers("nonsense"), "invalid_decision");
    assert.equal(withAnswers({ error: { code: "mine", message: "m" } }), "mine");
  });

  test("a restart begins anew under the same id and keeps the signals that wait", () => {
    const { state } = simulate(
      decider,
      0,
      (_name, input): Json => {
        const { generation, signals } = input as { generation: number; signals: Json[] };
        return generation < 3 ? { restart: generation + 1 } : { done: true, output: signals.length };
      },
      (open) => open - 1,
      { signals: [{ name: "s", value: 1 }] },
    );
    assert.equal(state.started.generation, 3);
    assert.equal(outputOf(state), 1);
  });

  test("a dialect's protocol asks and reads in its own words", () => {
    const conductor = {
      question: () => ({ value: 1 }),
      answer: (answer: Json) => ({ schedule: [], done: { output: (answer as { params: Json }).params } }),
    };
    const definition: WorkflowDefinition = { decider: { function: "brain", protocol: "conductor" } };
    const { state } = simulate(
      definition,
      0,
      () => ({ params: "boxed" }),
      () => 0,
      { protocols: { conductor } },
    );
    assert.equal(outputOf(state), "boxed");
    assert.equal(simulate(definition, 0, () => null).state.error?.code, "invalid_decision");
  });
});

describe("workflow: any order", () => {
  const leaf: fc.Arbitrary<Step> = fc.oneof(
    fc.constantFrom("a", "b", "c", "bad").map((call): Step => ({ call })),
    fc.constant<Step>({ wait: 5 }),
    fc.constant<Step>({ call: "bad", catch: [{ do: { call: "a" } }] }),
    fc.constant<Step>({ call: "bad", retry: { attempts: 2, backoffMs: 1 }, catch: [{ do: { set: 1 } }] }),
  );
  const { block } = fc.letrec<{ step: Step; block: Block }>((tie) => ({
    step: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc
        .tuple(fc.array(tie("block"), { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 3 }))
        .map(([parallel, concurrency]): Step => ({ parallel, concurrency })),
      tie("block").map((block): Step => ({ map: [1, 2, 3], do: block, concurrency: 2 })),
      tie("block").map((block): Step => ({ choose: [{ when: { path: "$.input", equals: 1 }, do: block }] })),
    ),
    block: fc.array(tie("step"), { minLength: 1, maxLength: 3 }),
  }));
  const functions: Functions = (name, input, task) => (name === "bad" ? fails(`bad ${task}`) : [name, input]);

  test("any interleaving of completions gives the same tasks with the same outcomes, and the same end", () => {
    fc.assert(
      fc.property(block, fc.infiniteStream(fc.nat()), fc.constantFrom(1, 2), (steps, choices, input) => {
        const definition = checkDefinition({ steps });
        const pick = (open: number): number => (choices.next().value as number) % Math.max(1, open);
        const one = simulate(definition, input, functions);
        const other = simulate(definition, input, functions, pick);
        const told = ({ state }: typeof one) => ({
          status: state.status,
          output: state.output,
          error: state.error,
          tasks: [...state.tasks.values()].map(({ id, outcome }) => JSON.stringify([id, outcome])).sort(),
        });
        assert.deepEqual(told(other), told(one));
      }),
      { numRuns: propertyRuns(80) },
    );
  });

  test("folding the journal again, in one go or event by event, gives the same state and the same decision", () => {
    fc.assert(
      fc.property(block, fc.infiniteStream(fc.nat()), (steps, choices) => {
        const pick = (open: number): number => (choices.next().value as number) % Math.max(1, open);
        const { state, events } = simulate(checkDefinition({ steps }), 1, functions, pick);
        assert.deepEqual(fold(undefined, events), state);
        for (let cut = 1; cut < events.length; cut += 3) {
          const before = fold(undefined, events.slice(0, cut));
          const copy = structuredClone(before);
          assert.deepEqual(decide(before, new Map()), decide(copy, new Map()));
          assert.deepEqual(fold(before, events.slice(cut)), state);
          assert.deepEqual(before, copy, "fold and decide leave their input alone");
        }
      }),
      { numRuns: propertyRuns(40) },
    );
  });

  test("a settlement told again, at any later moment, changes nothing but the count of events", () => {
    fc.assert(
      fc.property(block, fc.nat(), fc.nat(), (steps, which, when) => {
        const { state, events } = simulate(checkDefinition({ steps }), 1, functions);
        const settled = events
          .map((event, index) => ({ event, index }))
          .filter(({ event }) => event.kind === "settled");
        fc.pre(settled.length > 0);
        const { event, index } = settled[which % settled.length]!;
        const at = index + 1 + (when % (events.length - index));
        const again = fold(undefined, events.toSpliced(at, 0, event));
        assert.deepEqual([again.status, again.output, again.error], [state.status, state.output, state.error]);
        assert.equal(isNews(fold(undefined, events.slice(0, at)), event), false);
      }),
      { numRuns: propertyRuns(40) },
    );
  });
});

describe("workflow: definitions and expressions", () => {
  test("what is wrong in a definition is named with its place", () => {
    const wrong = (definition: unknown): string | undefined => {
      try {
        checkDefinition(definition);
        return undefined;
      } catch (thrown) {
        assert.ok(thrown instanceof VirgaError && thrown.code === "invalid_field", String(thrown));
        return thrown.detail.field;
      }
    };
    assert.equal(wrong({}), "steps");
    assert.equal(wrong({ steps: [] }), "steps");
    assert.equal(wrong({ steps: [{ call: "so big" }] }), "steps.0.call");
    assert.equal(wrong({ steps: [{ call: "a", cal: 1 }] }), "steps.0.cal");
    assert.equal(wrong({ steps: [{ call: "a", wait: 1 }] }), "steps.0");
    assert.equal(
      wrong({
        steps: [
          { name: "x", call: "a" },
          { name: "x", call: "a" },
        ],
      }),
      "steps.1.name",
    );
    assert.equal(wrong({ steps: [{ set: { a: "$.steps.later" } }, { name: "later", call: "a" }] }), "steps.0.set.a");
    assert.equal(wrong({ steps: [{ set: "$.item" }] }), "steps.0.set");
    assert.equal(wrong({ steps: [{ map: "$.input", do: { set: "$.item" } }] }), undefined);
    assert.equal(wrong({ steps: [{ parallel: { a: { wait: -1 } } }] }), "steps.0.parallel.a.wait");
    assert.equal(
      wrong({ steps: [{ choose: [{ when: { path: "nope" }, do: { wait: 1 } }] }] }),
      "steps.0.choose.0.when.path",
    );
    assert.equal(wrong({ decider: { function: "a" }, steps: [{ wait: 1 }] }), "steps");
    assert.equal(wrong({ steps: [{ call: "a", retry: { attempts: 0 } }] }), "steps.0.retry.attempts");
    let deep: Json = { wait: 1 };
    for (let depth = 0; depth < 20; depth++) deep = { parallel: [deep] };
    assert.match(wrong({ steps: [deep] }) ?? "", /^steps\.0\.parallel\.0/);
  });

  test("a value that lies in a blob is asked for where it is looked into, handed on as it is where not, and too large for ever", () => {
    const decided = (set: Json, bytes: number, contents = new Map<string, Json>()): ReturnType<typeof decide> => {
      const definition = checkDefinition({ steps: [{ set }] });
      const input = { blob: "b", bytes, as: "json" } as const;
      const started = {
        kind: "started",
        at: 0,
        workflow: "w",
        version: 1,
        definition,
        input,
        generation: 0,
        depth: 0,
      } as const;
      return decide(fold(undefined, [started]), contents);
    };
    const ended = (decision: ReturnType<typeof decide>): unknown => {
      assert.ok(decision.kind === "commands" && decision.commands[0]?.kind === "end");
      return decision.commands[0].output ?? decision.commands[0].error?.code;
    };
    assert.deepEqual(decided("$.input.x", 400_000), {
      kind: "load",
      blobs: [{ blob: "b", bytes: 400_000, as: "json" }],
    });
    assert.deepEqual(ended(decided("$.input.x", 400_000, new Map([["b", { x: 5 }]]))), { json: 5 });
    assert.deepEqual(ended(decided("$.input", 2 ** 30)), { blob: "b", bytes: 2 ** 30, as: "json" });
    assert.equal(ended(decided("$.input.x", 2 ** 30)), "payload_too_large");
  });

  test("references, literal dollars and conditions read as documented", () => {
    assert.deepEqual(parsePath('$.a-b[2]["x y\\"z"]'), ["a-b", 2, 'x y"z']);
    assert.equal(parsePath("$.a..b"), undefined);
    const scope: Scope = (root) =>
      root === "input" ? { json: { n: 3, list: [1, { deep: true }], zero: null } } : undefined;
    const filled = (template: Json): Json => (fill(template, scope, new Map()) as { json: Json }).json;
    assert.deepEqual(filled({ a: ["$.input.list[1].deep", "$$.input", "$5"], n: "$.input.n" }), {
      a: [true, "$.input", "$5"],
      n: 3,
    });
    const test = (condition: Parameters<typeof holds>[0]): boolean => holds(condition, scope, new Map());
    assert.equal(test({ path: "$.input.n", above: 2, below: 4 }), true);
    assert.equal(test({ path: "$.input.n", above: "2" }), false);
    assert.equal(test({ path: "$.input.list", equals: [1, { deep: true }] }), true);
    assert.equal(test({ path: "$.input.zero", exists: true }), true);
    assert.equal(test({ path: "$.input.zero.more", exists: false }), true);
    assert.equal(
      test({
        not: {
          any: [
            { path: "$.input.n", in: [1, 2] },
            { path: "$.input.n", atMost: 2 },
          ],
        },
      }),
      true,
    );
    assert.equal(test({ path: "$.input.constructor", exists: true }), false);
  });
});
