import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { firstStance, nextStance, type ProcessorLook, type Stance } from "../../src/core/affinity.ts";

/** Shares of 50 ms. */
function look(active: number, brief: number): ProcessorLook {
  return { elapsedMs: 50, serverActiveMs: active * 50, briefMs: brief * 50, others: 1 };
}

const shared: Stance = { ...firstStance, affinity: "server", since: 1000 };

test("while one processor can do it all, the server and brief calls share it", () => {
  assert.deepEqual(nextStance(firstStance, look(0.5, 0.3), 200), {
    ...firstStance,
    affinity: "server",
    since: 200,
  });
  assert.equal(nextStance(firstStance, look(0.01, 0), 200).affinity, "server");
  assert.equal(nextStance(firstStance, look(0.7, 0.4), 200), firstStance);
});

test("calls one behind the other keep them together, however busy the processor is", () => {
  // A chain of functions: the server rests while an instance works.
  assert.equal(nextStance(shared, look(0.54, 0.46), 2000), shared);
});

test("calls at the same time set them free, each time for longer until it has held for long", () => {
  const crowd = look(0.97, 0.83);
  const first = nextStance(shared, crowd, 2000);
  assert.deepEqual(first, { affinity: "any", since: 2000, until: 2500, patienceMs: 1000 });
  const quiet = look(0.5, 0.2);
  assert.equal(nextStance(first, quiet, 2499), first);
  const again = nextStance(first, quiet, 2500);
  assert.equal(again.affinity, "server");
  assert.equal(nextStance(again, crowd, 2600), again, "what the move itself disturbs is not looked at");
  const second = nextStance(again, crowd, 2700);
  assert.equal(second.until, 2700 + 1000);
  const held = { ...again, patienceMs: 16_000 };
  assert.equal(nextStance(held, crowd, 2500 + 1000).until, 3500 + 500);
});

test("where the server has no rest, brief calls keep off its processor, while the others have room for them", () => {
  const apart = nextStance(shared, look(0.97, 0.3), 2000);
  assert.deepEqual(apart, { affinity: "others", since: 2000, until: 2500, patienceMs: 1000 });
  assert.equal(nextStance(apart, look(0.1, 0.1), 2100), apart, "what the move itself disturbs is not looked at");
  assert.equal(nextStance(apart, look(0.75, 0.6), 2200), apart);
  assert.equal(nextStance(apart, look(0.95, 0.95), 2200), apart, "the server is still what all wait for");
  const over = nextStance(apart, look(0.5, 0.9), 2200);
  assert.deepEqual(over, { affinity: "any", since: 2200, until: 3200, patienceMs: 2000 });
  assert.equal(nextStance(over, look(0.97, 0.3), 3199), over);
  assert.equal(nextStance(over, look(0.97, 0.3), 3200).affinity, "others");
  assert.equal(nextStance(over, look(0.97, 0.8), 3200), over, "with too much for one processor");
  assert.equal(nextStance(over, { ...look(0.97, 0.8), others: 7 }, 3200).affinity, "others");
  assert.equal(nextStance(over, look(0.97, 0.01), 3200), over, "nothing to be gained");
});

test("whatever is seen, a retreat lasts 16 s at most, and sharing does not end while the server rests", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const looks = fc.array(fc.tuple(share, share), { maxLength: 200 });
  fc.assert(
    fc.property(looks, (seen) => {
      let stance = firstStance;
      for (const [index, [active, brief]] of seen.entries()) {
        const now = (index + 1) * 50;
        const next = nextStance(stance, look(active, brief), now);
        assert.ok(next.until - now <= 16_000);
        if (stance.affinity === "server" && next.affinity !== "server") assert.ok(active >= 0.9);
        if (stance.affinity !== "others" && next.affinity === "others") assert.ok(active >= 0.8 && brief <= 0.7);
        stance = next;
      }
    }),
  );
});
