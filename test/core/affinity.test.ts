import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { firstStance, nextStance, type ProcessorLook, type Stance } from "../../src/core/affinity.ts";

/** Shares of 50 ms. */
function look(ran: number, waited: number, brief: number): ProcessorLook {
  return { elapsedMs: 50, serverRanMs: ran * 50, serverWaitedMs: waited * 50, briefMs: brief * 50 };
}

const shared: Stance = { ...firstStance, affinity: "server", since: 1000 };

test("while one processor can do it all, the server and brief calls share it", () => {
  assert.deepEqual(nextStance(firstStance, look(0.5, 0.1, 0.3), 200), {
    ...firstStance,
    affinity: "server",
    since: 200,
  });
  assert.equal(nextStance(firstStance, look(0.01, 0, 0), 200).affinity, "server");
  assert.equal(nextStance(firstStance, look(0.7, 0, 0.4), 200), firstStance);
});

test("calls one behind the other keep them together, however busy the processor is", () => {
  // A chain of functions: the server waits for each instance to lie down, and rests while the next one works.
  assert.equal(nextStance(shared, look(0.52, 0.33, 0.46), 2000), shared);
  // A busy server that has its processor for itself.
  assert.equal(nextStance(shared, look(0.98, 0.02, 0.1), 2000), shared);
});

test("calls at the same time set them free, each time for longer until it has held for long", () => {
  const crowd = look(0.75, 0.22, 0.23);
  const first = nextStance(shared, crowd, 2000);
  assert.deepEqual(first, { affinity: "any", since: 2000, until: 3000, patienceMs: 2000 });
  const quiet = look(0.5, 0, 0.2);
  assert.equal(nextStance(first, quiet, 2999), first);
  const again = nextStance(first, quiet, 3000);
  assert.equal(again.affinity, "server");
  assert.equal(nextStance(again, crowd, 3100), again, "what the move itself disturbs is not looked at");
  const second = nextStance(again, crowd, 3200);
  assert.equal(second.until, 3200 + 2000);
  const held = { ...again, patienceMs: 16_000 };
  assert.equal(nextStance(held, crowd, 3000 + 10_000).until, 13_000 + 1000);
});

test("whatever is seen, a retreat lasts 16 s at most, and none is taken while nobody waits", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const looks = fc.array(fc.tuple(share, share, share), { maxLength: 200 });
  fc.assert(
    fc.property(looks, (seen) => {
      let stance = firstStance;
      for (const [index, [ran, waited, brief]] of seen.entries()) {
        const now = (index + 1) * 50;
        const next = nextStance(stance, look(ran, waited, brief), now);
        assert.ok(next.until - now <= 16_000);
        if (stance.affinity === "server" && next.affinity === "any") assert.ok(waited >= 0.1);
        stance = next;
      }
    }),
  );
});
