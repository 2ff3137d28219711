import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Chain, type Chained } from "../../src/engine/chain.ts";

class Item implements Chained<Item> {
  chain: object | undefined = undefined;
  nextInChain: Item | undefined = undefined;
  previousInChain: Item | undefined = undefined;
}

test("a chain holds what a Set would, in the same order", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(19)), (touched) => {
      const items = Array.from({ length: 20 }, () => new Item());
      const chain = new Chain<Item>();
      const set = new Set<Item>();
      for (const index of touched) {
        const item = items[index]!;
        const isThere = set.delete(item);
        assert.equal(chain.delete(item), isThere);
        if (!isThere) {
          chain.add(item);
          set.add(item);
        }
        assert.deepEqual([...chain], [...set]);
        assert.equal(chain.size, set.size);
        assert.equal(chain.first, set.values().next().value);
      }
    }),
  );
});

test("what is taken out on the way is not met, and another chain's items stay there", () => {
  const [one, two, three] = [new Item(), new Item(), new Item()];
  const chain = new Chain<Item>();
  for (const item of [one, two, three]) chain.add(item);
  const met: Item[] = [];
  for (const item of chain) {
    met.push(item);
    chain.delete(two);
  }
  assert.deepEqual(met, [one, three]);
  assert.equal(new Chain<Item>().delete(one), false);
  assert.equal(chain.size, 2);
});
