import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { FramedCall } from "../../src/links/framed/call.ts";
import { Streams } from "../../src/links/framed/streams.ts";
// @ts-expect-error the guest is plain JavaScript
import { Streams as GuestStreams } from "../../src/runtimes/node/guest/streams.mjs";

interface Open {
  readonly stream: number;
}

const steps = fc.array(fc.record({ opens: fc.boolean(), which: fc.nat() }), { maxLength: 300 });

test("every open call is found by its stream, and no two share one", () => {
  fc.assert(
    fc.property(steps, (taken) => {
      const streams = new Streams();
      const open = new Map<number, FramedCall>();
      for (const { opens, which } of taken) {
        if (opens || open.size === 0) {
          const stream = streams.next();
          assert.equal(stream % 2, 1);
          assert.equal(open.has(stream), false);
          const call = { stream } as FramedCall;
          streams.add(call);
          open.set(stream, call);
        } else {
          const [stream, call] = [...open][which % open.size]!;
          streams.delete(call);
          open.delete(stream);
          assert.equal(streams.get(stream), undefined);
        }
        assert.equal(streams.size, open.size);
        for (const [stream, call] of open) assert.equal(streams.get(stream), call);
        assert.deepEqual(new Set(streams), new Set(open.values()));
      }
    }),
  );
});

test("one that stays open for ever takes no other's number and makes the table no larger", () => {
  const streams = new Streams();
  const lasting = { stream: streams.next() } as FramedCall;
  streams.add(lasting);
  for (let count = 0; count < 1000; count++) {
    const call = { stream: streams.next() } as FramedCall;
    streams.add(call);
    assert.notEqual(call.stream, lasting.stream);
    streams.delete(call);
  }
  assert.deepEqual([...streams], [lasting]);
  assert.equal(streams.get(lasting.stream), lasting);
});

test("the guest's table holds calls of whatever streams", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(2 ** 30), { maxLength: 100 }), fc.func(fc.boolean()), (turns, ends) => {
      const streams = new GuestStreams() as {
        size: number;
        add(call: Open): void;
        delete(call: Open): void;
        get(stream: number): Open | undefined;
        values(): Open[];
      };
      const open = new Map<number, Open>();
      // Numbers that meet in one place are the ones that matter.
      for (const turn of turns.flatMap((one) => [one, one + 64, one + 4096])) {
        const call = { stream: 2 * turn + 1 };
        if (open.has(call.stream)) continue;
        streams.add(call);
        open.set(call.stream, call);
        if (ends(turn)) {
          streams.delete(call);
          open.delete(call.stream);
        }
      }
      assert.equal(streams.size, open.size);
      for (const [stream, call] of open) assert.equal(streams.get(stream), call);
      assert.deepEqual(new Set(streams.values()), new Set(open.values()));
    }),
  );
});
