import assert from "node:assert/strict";
import { test } from "node:test";
import type { Affinity } from "../../src/core/affinity.ts";
import { ProcessorAffinity } from "../../src/engine/processor-affinity.ts";
import type { PoolCall, Worker } from "../../src/engine/worker.ts";
import { ManualClock } from "./manual-clock.ts";

function setting() {
  const clock = new ManualClock();
  const server = { held: [] as boolean[], activeMs: 0 };
  const affinity = new ProcessorAffinity(clock, {
    holdServer: (isHeld) => void server.held.push(isHeld),
    serverActiveMs: () => server.activeMs,
    others: 1,
  });
  return { clock, server, affinity };
}

/** An instance whose calls a test ends. */
class Instance {
  readonly moves: Affinity[] = [];
  readonly worker: Worker;
  readonly #state: { served: number; accountedCpuMicros: number; calls: { first: PoolCall | undefined } };

  constructor(cpus = 1) {
    this.#state = { served: 0, accountedCpuMicros: 0, calls: { first: undefined } };
    const instance = { bindTo: (to: Affinity) => void this.moves.push(to) };
    const fleet = { revision: { config: { limits: { cpus } } } };
    this.worker = Object.assign(this.#state, { instance, fleet }) as unknown as Worker;
  }

  ended(calls: number, cpuMicrosEach: number): void {
    this.#state.served += calls;
    this.#state.accountedCpuMicros += calls * cpuMicrosEach;
    this.#state.calls.first = undefined;
  }

  begun(): void {
    this.#state.calls.first = {} as PoolCall;
  }
}

test("an instance of brief calls shares the server's processor; one that has not been called does not", async () => {
  const { clock, server, affinity } = setting();
  const [called, quiet] = [new Instance(), new Instance()];
  affinity.add(called.worker);
  affinity.add(quiet.worker);
  called.ended(10, 40);
  await clock.advance(50);
  assert.deepEqual([server.held, called.moves, quiet.moves], [[true], ["server"], []]);
  called.ended(10, 40);
  await clock.advance(50);
  assert.deepEqual(called.moves, ["server"], "said once");
});

test("an instance whose call is open from one look to the next is free, and stays so for a second", async () => {
  const { clock, affinity } = setting();
  const one = new Instance();
  affinity.add(one.worker);
  one.ended(10, 40);
  await clock.advance(50);
  one.begun();
  await clock.advance(50);
  assert.deepEqual(one.moves, ["server"]);
  await clock.advance(50);
  assert.deepEqual(one.moves, ["server", "any"]);
  for (let passed = 0; passed < 950; passed += 50) {
    one.ended(5, 40);
    await clock.advance(50);
    assert.deepEqual(one.moves, ["server", "any"], `${passed} ms later`);
  }
  one.ended(5, 40);
  await clock.advance(100);
  assert.deepEqual(one.moves, ["server", "any", "server"]);
});

test("calls that take their time on the processor are left alone", async () => {
  const { clock, affinity } = setting();
  const one = new Instance();
  affinity.add(one.worker);
  one.ended(2, 20_000);
  await clock.advance(50);
  one.ended(1, 2001);
  await clock.advance(1000);
  assert.deepEqual(one.moves, []);
});

test("a function that may use several processors sees them all", async () => {
  const { clock, affinity } = setting();
  const one = new Instance(2);
  affinity.add(one.worker);
  one.ended(10, 40);
  await clock.advance(1000);
  assert.deepEqual(one.moves, []);
});

test("an instance without a call is free after a second: it may be at something that no call tells of", async () => {
  const { clock, affinity } = setting();
  const one = new Instance();
  affinity.add(one.worker);
  one.ended(10, 40);
  await clock.advance(50);
  await clock.advance(2000);
  assert.deepEqual(one.moves, ["server", "any"]);
  one.ended(1, 40);
  await clock.advance(1000);
  assert.deepEqual(one.moves, ["server", "any", "server"]);
});

test("a server that never rests has its processor alone, and all are free where the others are what it waits for", async () => {
  const { clock, server, affinity } = setting();
  const one = new Instance();
  affinity.add(one.worker);
  const go = async (turns: number, activeMs: number, calls: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) {
      one.ended(calls, 100);
      server.activeMs += activeMs;
      await clock.advance(50);
    }
  };
  await go(1, 10, 100); // still starting
  await go(7, 50, 100);
  assert.deepEqual([server.held, one.moves], [[true], ["server", "others"]]);
  await go(4, 20, 480);
  assert.deepEqual(server.held, [true, false]);
  assert.deepEqual(one.moves, ["server", "others", "any"]);
});

test("an instance without a call stays away from a server that never rests, until all are free", async () => {
  const { clock, server, affinity } = setting();
  const [busy, resting] = [new Instance(), new Instance()];
  for (const { worker } of [busy, resting]) affinity.add(worker);
  resting.ended(1, 100);
  const go = async (turns: number, activeMs: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) {
      busy.ended(100, 100);
      server.activeMs += activeMs;
      await clock.advance(50);
    }
  };
  await go(1, 10);
  await go(7, 50);
  assert.deepEqual(resting.moves, ["server", "others"]);
  await go(60, 50);
  assert.deepEqual(resting.moves, ["server", "others"]);
  resting.ended(1, 100);
  await go(1, 50);
  assert.deepEqual(resting.moves, ["server", "others"]);
  await go(30, 50);
  await go(4, 10);
  assert.deepEqual(resting.moves, ["server", "others", "any"]);
});

test("what is over is not moved; without instances it does not look, and at its end the server is free", async () => {
  const { clock, server, affinity } = setting();
  const [one, other] = [new Instance(), new Instance()];
  affinity.add(one.worker);
  one.ended(1, 40);
  await clock.advance(50);
  affinity.remove(one.worker);
  await clock.advance(1000);
  assert.equal(clock.pending, 0);
  affinity.add(other.worker);
  affinity.close();
  assert.equal(clock.pending, 0);
  assert.deepEqual([server.held, one.moves, other.moves], [[true, false], ["server"], []]);
});
