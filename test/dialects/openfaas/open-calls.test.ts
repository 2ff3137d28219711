import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
// @ts-expect-error the guest is plain JavaScript
import { OpenCalls } from "../../../src/dialects/openfaas/guest/open-calls.mjs";

interface Open {
  readonly size: number;
  readonly only: object | undefined;
  add(call: object): number;
  get(seat: number): object | undefined;
  remove(seat: number): void;
  clear(): object[];
}

const steps = fc.array(fc.record({ opens: fc.boolean(), which: fc.nat() }), { maxLength: 300 });

test("every open call is found by its seat, no two share one, and there are no more than were open at once", () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const calls = new OpenCalls() as Open;
      const open = new Map<number, object>();
      let most = 0;
      for (const { opens, which } of taken) {
        if (opens || open.size === 0) {
          const call = {};
          const seat = calls.add(call);
          assert.equal(open.has(seat), false);
          open.set(seat, call);
          most = Math.max(most, open.size);
          assert.ok(seat < most);
        } else {
          const [seat] = [...open][which % open.size]!;
          calls.remove(seat);
          open.delete(seat);
          assert.equal(calls.get(seat), undefined);
        }
        assert.equal(calls.size, open.size);
        assert.equal(calls.only, open.size === 1 ? [...open.values()][0] : undefined);
        for (const [seat, call] of open) assert.equal(calls.get(seat), call);
      }
      assert.deepEqual(new Set(calls.clear()), new Set(open.values()));
      assert.equal(calls.size, 0);
    }),
  );
});
