import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { type Rig, startRig } from "../gateway/rig.ts";
import { folder, run } from "./harness.ts";

/** The first YAML of `docs/workflows.md`. */
const chip = /```yaml\n(.*?)```/s.exec(readFileSync(new URL("../../docs/workflows.md", import.meta.url), "utf8"))![1]!;

describe("commands about workflows, against the real API", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
  });
  after(() => rig[Symbol.asyncDispose]());

  const virga = async (...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    run(argv, { environment: { VIRGA_URL: rig.url, VIRGA_TOKEN: rig.token } });
  const fine = async (...argv: string[]): Promise<string> => {
    const outcome = await virga(...argv);
    assert.equal(outcome.code, 0, `${argv.join(" ")}: ${outcome.stderr}`);
    return outcome.stdout;
  };

  test("the example of the guide is deployed, started, described, cancelled and deleted", async (t) => {
    const home = folder(t, { "chip.yaml": chip });
    assert.equal(await fine("workflow", "deploy", `${home}/chip.yaml`), "chip version 1\n");
    assert.equal(await fine("workflow", "deploy", `${home}/chip.yaml`, "--name", "again"), "again version 1\n");
    assert.match(await fine("workflow", "list"), /chip +1 +5 steps .* synthesis, three checks/);
    const id = (await fine("workflow", "start", "chip", "-d", '{"design":"alu"}', "--key", "k")).trim();
    assert.equal((await fine("workflow", "start", "chip", "--key", "k")).trim(), id);
    assert.match(await fine("workflow", "describe", id), /status +running\n[^]*synth +call synth +open/);
    assert.match(await fine("workflow", "runs"), new RegExp(`${id} +chip@1 +running`));
    assert.equal(await fine("workflow", "cancel", id), `cancelled ${id}\n`);
    assert.equal((await virga("workflow", "cancel", id)).code, 6);
    assert.match(await fine("workflow", "runs", "--status", "cancelled"), new RegExp(`${id} +chip@1 +cancelled`));
    assert.equal(await fine("workflow", "delete", "chip", "-y"), "deleted chip\n");
    assert.equal((await virga("workflow", "start", "chip")).code, 5);
  });

  test("--follow shows what happens until the end, then the output; a failed run fails the command", async (t) => {
    const home = folder(t, {
      "ask.yaml": "name: ask\nsteps: [{ name: told, event: go }, { set: { told: $.steps.told } }]",
      "bad.yaml": "name: bad\nsteps: [{ fail: { code: mine, message: no good } }]",
    });
    await fine("workflow", "deploy", `${home}/ask.yaml`);
    await fine("workflow", "deploy", `${home}/bad.yaml`);
    const id = (await fine("workflow", "start", "ask", "--key", "f")).trim();
    const following = virga("workflow", "start", "ask", "--key", "f", "--follow");
    await fine("workflow", "signal", id, "go", "-d", "[1,2]");
    const { code, stdout, stderr } = await following;
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), { told: [1, 2] });
    assert.match(stderr, /→ told {2}event {2}\(the run began\)[^]*• go/);
    const bad = await virga("workflow", "start", "bad", "--follow");
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /mine|no good/);
  });

  test("a file with a mistake is refused with the place and the way out", async (t) => {
    const home = folder(t, {
      "x.yaml": "name: x\nsteps: [{ call: a, input: $.steps.b }]",
      "y.yaml": "- 1",
      "z.yaml": "a: [",
    });
    const wrong = await virga("workflow", "deploy", `${home}/x.yaml`);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /steps\.0\.input/);
    assert.equal((await virga("workflow", "deploy", `${home}/y.yaml`)).code, 2);
    assert.equal((await virga("workflow", "deploy", `${home}/z.yaml`)).code, 2);
    assert.equal((await virga("workflow", "start", "x", "-d", "{")).code, 2);
  });
});
