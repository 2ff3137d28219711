import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { byShare, dominantShare, type Holding, type Party, reasonToYield } from "../../src/core/fair-share.ts";

const machine = { memoryMb: 1000, cpus: 4 };
const one = { memoryMb: 100, cpus: 1 };

function party(namespace: string, name: string, held: Partial<Holding>, weights: [number, number] = [1, 1]): Party {
  const holding = { memoryMb: 0, cpus: 0, ...held };
  return {
    namespace,
    name,
    ofNamespace: holding,
    ofFunction: holding,
    namespaceWeight: weights[0],
    functionWeight: weights[1],
  };
}

test("a share is the larger of memory's and processors', divided by the weight", () => {
  assert.equal(dominantShare({ memoryMb: 500, cpus: 1 }, machine, 1), 0.5);
  assert.equal(dominantShare({ memoryMb: 100, cpus: 2 }, machine, 1), 0.5);
  assert.equal(dominantShare({ memoryMb: 500, cpus: 1 }, machine, 2), 0.25);
});

test("who has much yields to who has little, until another instance would turn it round", () => {
  const claimant = (memoryMb: number): Party => party("b", "f", { memoryMb });
  const holder = party("a", "f", { memoryMb: 600 });
  assert.match(reasonToYield(holder, claimant(0), one, one, machine)!, /namespace b has less than its share/);
  assert.ok(reasonToYield(holder, claimant(400), one, one, machine));
  assert.equal(reasonToYield(holder, claimant(500), one, one, machine), undefined);
});

test("within a namespace functions are compared, by their own weights", () => {
  const holder = party("a", "large", { memoryMb: 500 });
  assert.match(reasonToYield(holder, party("a", "small", {}), one, one, machine)!, /small has less/);
  const heavy = party("a", "large", { memoryMb: 500 }, [1, 5]);
  assert.equal(reasonToYield(heavy, party("a", "small", { memoryMb: 100 }), one, one, machine), undefined);
});

test("a namespace with twice the weight has twice as much in the end, and it comes to rest", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), (weightA, weightB) => {
      const slots = 30;
      const full = { memoryMb: slots * 100, cpus: 1e9 };
      let a = slots;
      const at = (count: number): Partial<Holding> => ({ memoryMb: count * 100 });
      const sides = (): [Party, Party] => [
        party("a", "f", at(a), [weightA, 1]),
        party("b", "f", at(slots - a), [weightB, 1]),
      ];
      let moves = 0;
      for (let moved = true; moved && moves < 200; moves++) {
        const [holder, claimant] = sides();
        moved = reasonToYield(holder, claimant, one, one, full) !== undefined;
        if (moved) a--;
        else if (reasonToYield(claimant, holder, one, one, full) !== undefined) {
          a++;
          moved = true;
        }
      }
      assert.ok(moves < 200, "it goes back and forth for ever");
      const fair = (slots * weightA) / (weightA + weightB);
      assert.ok(Math.abs(a - fair) <= 1, `${a} where ${fair} is fair`);
    }),
  );
});

test("of those who wait, who has least comes first", () => {
  const order = [
    party("a", "f", { memoryMb: 300 }),
    party("b", "f", { memoryMb: 100 }),
    party("c", "f", { cpus: 1 }),
  ].toSorted(byShare(machine));
  assert.deepEqual(
    order.map(({ namespace }) => namespace),
    ["b", "c", "a"],
  );
});
