import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { parse } from "yaml";
import { Platform } from "./harness.ts";

/** Counts the effects of each task outside of the platform, where a SIGKILL cannot reach. */
const effects = new Map<string, number>();
const counter = createServer((request, response) => {
  const key = decodeURIComponent(request.url?.slice(1) ?? "");
  effects.set(key, (effects.get(key) ?? 0) + 1);
  response.end("counted");
});

let platform: Platform;
before(async () => {
  await new Promise<void>((ready) => counter.listen(0, "127.0.0.1", ready));
  platform = await Platform.start();
});
after(async () => {
  await platform.stop();
  counter.close();
});

const runs = "/v1/namespaces/default/workflow-runs";

async function deployWorkflow(name: string, definition: unknown): Promise<void> {
  const answer = await platform.request(`/v1/namespaces/default/workflows/${name}`, {
    method: "PUT",
    body: JSON.stringify(definition),
  });
  assert.equal(answer.status, 200, answer.text);
}

interface Event {
  readonly kind: string;
  readonly task?: string;
  readonly ref?: string;
  readonly outcome?: { readonly ok: boolean };
}

async function history(id: string): Promise<Event[]> {
  const events: Event[] = [];
  for (let from: string | undefined = "1"; from !== undefined;) {
    const page: { items: Event[]; next?: string } = (
      await platform.request(`${runs}/${id}/history?from=${from}`)
    ).json();
    events.push(...page.items);
    from = page.next;
  }
  return events;
}

test(
  "a sequence of 50 steps and a parallel of 100 end once, though the server is killed again and again",
  { timeout: 240_000 },
  async () => {
    const { port } = counter.address() as AddressInfo;
    const step = `
      export default async (request) => {
        await fetch("http://127.0.0.1:${port}/" + encodeURIComponent(request.headers.get("idempotency-key")));
        await new Promise((done) => setTimeout(done, 15));
        return { count: (await request.json()).count + 1 };
      };`;
    await platform.deploy(
      "step",
      { "index.mjs": step },
      {
        runtime: "node",
        limits: { concurrency: 16 },
        scaling: { max: 2 },
        async: { maxAttempts: 100, backoffMs: 10 },
      },
    );
    await deployWorkflow("sequence", { steps: Array.from({ length: 50 }, () => ({ call: "step" })) });
    await deployWorkflow("wide", { steps: [{ parallel: Array.from({ length: 100 }, () => ({ call: "step" })) }] });

    const start = async (workflow: string): Promise<string> => {
      const answer = await platform.request(runs, {
        method: "POST",
        body: JSON.stringify({ workflow, input: { count: 0 } }),
        headers: { "idempotency-key": workflow },
      });
      assert.equal(answer.status, 202, answer.text);
      return answer.json().id;
    };
    const ids = { sequence: await start("sequence"), wide: await start("wide") };
    let killedAtWork = 0;
    for (let kill = 0; kill < 8; kill++) {
      await pause(150 + (kill % 4) * 90);
      await platform.kill();
      await platform.up();
      const { status, tasks } = (await platform.request(`${runs}/${ids.sequence}`)).json();
      if (status === "running" && tasks.length > 0) killedAtWork++;
    }
    assert.ok(killedAtWork >= 3, `only ${killedAtWork} kills came while the sequence ran`);
    for (const [workflow, id] of Object.entries(ids)) {
      for (;;) {
        const { status } = (await platform.request(`${runs}/${id}?waitMs=5000`)).json();
        if (status !== "running") break;
      }
      assert.equal(await start(workflow), id, "started again with its key it is the same run");
      const output = (await platform.request(`${runs}/${id}/result`)).json();
      if (workflow === "sequence") assert.deepEqual(output, { count: 50 });
      else
        assert.deepEqual(
          output,
          Array.from({ length: 100 }, () => ({ count: 1 })),
        );

      const events = await history(id);
      const count = (kind: string): number => events.filter((event) => event.kind === kind).length;
      const tasks = workflow === "sequence" ? 50 : 100;
      assert.deepEqual([count("started"), count("scheduled"), count("settled"), count("ended")], [1, tasks, tasks, 1]);
      assert.equal(new Set(events.flatMap(({ task }) => task ?? [])).size, tasks);
      for (const { task } of events) {
        if (task !== undefined)
          assert.ok((effects.get(`${id}/0/${task}`) ?? 0) >= 1, `${task} settled without running`);
      }
    }
    const listed = (await platform.request(`${runs}?limit=10`)).json();
    assert.deepEqual(
      listed.items.map(({ workflow, status }: { workflow: string; status: string }) => `${workflow} ${status}`),
      ["wide succeeded", "sequence succeeded"],
    );
  },
);

test(
  "the guide's example runs: synthesis, three checks side by side, a report, a sign-off",
  { timeout: 60_000 },
  async () => {
    const guide = readFileSync(new URL("../../docs/workflows.md", import.meta.url), "utf8");
    const { name, ...definition } = parse(/```yaml\n(.*?)```/s.exec(guide)![1]!);
    const functions: Record<string, string> = {
      synth: "({ netlist: input.design + '.v', cells: 42 })",
      drc: "({ violations: 0, of: input.netlist })",
      sim: "({ passed: true, seed: input.seed })",
      timing: "{ throw new Error('no library') }",
      report: "({ clean: input.checks.drc.violations === 0, ...input })",
    };
    for (const [fn, code] of Object.entries(functions)) {
      await platform.deploy(
        fn,
        {
          "index.mjs": `const answer = (input) => ${code};\nexport default async (request) => answer(await request.json());`,
        },
        {
          runtime: "node",
          async: { maxAttempts: 1 },
        },
      );
    }
    await deployWorkflow(name, definition);
    const { id } = (
      await platform.request(runs, {
        method: "POST",
        body: JSON.stringify({ workflow: name, input: { design: "alu" } }),
      })
    ).json();
    const signal = { method: "POST", body: JSON.stringify({ name: "signoff", value: { by: "ada" } }) };
    assert.equal((await platform.request(`${runs}/${id}/signals`, signal)).status, 202);
    const run = (await platform.request(`${runs}/${id}?waitMs=30000`)).json();
    assert.equal(run.status, "succeeded", JSON.stringify(run.error));
    const { by, report } = (await platform.request(`${runs}/${id}/result`)).json();
    assert.equal(by, "ada");
    assert.deepEqual([report.design, report.cells, report.checks.sim], ["alu", 42, { passed: true, seed: 7 }]);
    assert.equal(report.checks.timing.slack, null);
    const synth = run.tasks.find((task: { id: string }) => task.id === "synth");
    const record = await platform.record(synth.invocation);
    assert.deepEqual([record.cause.kind, record.cause.parent], ["workflow", id]);
  },
);
