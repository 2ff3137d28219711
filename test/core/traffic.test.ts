import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VirgaError } from "../../src/core/errors.ts";
import type { TrafficTarget } from "../../src/core/model.ts";
import { allTo, checkTraffic, mainRevision, shareAt, sharesOf, tagged } from "../../src/core/traffic.ts";

const refused = (targets: TrafficTarget[], field: string) =>
  assert.throws(
    () => checkTraffic(targets),
    (error: unknown) =>
      error instanceof VirgaError &&
      error.code === "invalid_field" &&
      error.detail.field === field &&
      !!error.detail.fix,
  );

test("traffic that is no whole split is refused with the field at fault", () => {
  refused([], "targets");
  refused([{ revision: 1, weight: 99 }], "targets");
  refused([{ revision: 0, weight: 100 }], "targets.0.revision");
  refused([{ revision: 1, weight: 50.5 }], "targets.0.weight");
  refused([{ revision: 1, weight: 101 }], "targets.0.weight");
  refused(
    [
      { revision: 1, weight: 100 },
      { revision: 2, weight: 0 },
    ],
    "targets.1.weight",
  );
  refused(
    [
      { revision: 1, weight: 50 },
      { revision: 1, weight: 50 },
    ],
    "targets.1.revision",
  );
  refused([{ revision: 1, weight: 100, tag: "A!" }], "targets.0.tag");
  refused(
    [
      { revision: 1, weight: 100, tag: "a" },
      { revision: 2, weight: 0, tag: "a" },
    ],
    "targets.1.tag",
  );
});

test("one revision may have a share and several tags", () => {
  checkTraffic([
    { revision: 1, weight: 100 },
    { revision: 1, weight: 0, tag: "blue" },
    { revision: 1, weight: 0, tag: "green" },
  ]);
});

test("moving all traffic keeps the tags where they are", () => {
  const before = [
    { revision: 1, weight: 60 },
    { revision: 2, weight: 40, tag: "canary" },
  ];
  assert.deepEqual(allTo(3, before), [
    { revision: 3, weight: 100 },
    { revision: 2, weight: 0, tag: "canary" },
  ]);
  assert.deepEqual(allTo(2, before), [{ revision: 2, weight: 100, tag: "canary" }]);
});

test("moving a tag leaves its former revision the weight that it had", () => {
  const before = [
    { revision: 1, weight: 70 },
    { revision: 2, weight: 30, tag: "next" },
  ];
  assert.deepEqual(tagged("next", 1, before), [
    { revision: 1, weight: 70, tag: "next" },
    { revision: 2, weight: 30 },
  ]);
  assert.deepEqual(
    tagged("next", 3, [
      { revision: 1, weight: 100 },
      { revision: 2, weight: 0, tag: "next" },
    ]),
    [
      { revision: 1, weight: 100 },
      { revision: 3, weight: 0, tag: "next" },
    ],
  );
});

test("the main revision is the one with most weight, the newest among equals", () => {
  assert.equal(
    mainRevision([
      { revision: 1, weight: 50 },
      { revision: 2, weight: 50 },
    ]),
    2,
  );
  assert.equal(
    mainRevision([
      { revision: 1, weight: 60 },
      { revision: 2, weight: 40 },
    ]),
    1,
  );
  assert.equal(mainRevision([]), undefined);
});

test("moves keep a valid split valid, and shares follow the weights", () => {
  const splits = fc
    .array(
      fc.record({ revision: fc.integer({ min: 1, max: 5 }), cut: fc.integer({ min: 0, max: 100 }), tag: fc.boolean() }),
      {
        minLength: 1,
        maxLength: 5,
      },
    )
    .map((parts): TrafficTarget[] => {
      const cuts = [
        ...parts
          .slice(1)
          .map((part) => part.cut)
          .sort((a, b) => a - b),
        100,
      ];
      return parts.map(({ revision, tag }, index) => {
        const weight = cuts[index]! - (index === 0 ? 0 : cuts[index - 1]!);
        return tag ? { revision, weight, tag: `t${index}` } : { revision, weight };
      });
    })
    .filter((targets) => {
      try {
        checkTraffic(targets);
        return true;
      } catch {
        return false;
      }
    });
  fc.assert(
    fc.property(
      splits,
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom("t0", "t1", "other"),
      (targets, revision, tag) => {
        checkTraffic(allTo(revision, targets));
        assert.equal(mainRevision(allTo(revision, targets)), revision);
        const moved = tagged(tag, revision, targets);
        checkTraffic(moved);
        assert.deepEqual(
          moved.filter((target) => target.tag === tag).map((target) => target.revision),
          [revision],
        );
        const { revisions, ends } = sharesOf(targets);
        const hits = new Map<number, number>();
        for (let percent = 0; percent < 100; percent++) {
          const hit = revisions[shareAt(ends, (percent + 0.5) / 100)]!;
          hits.set(hit, (hits.get(hit) ?? 0) + 1);
        }
        for (const number of new Set(targets.map((target) => target.revision))) {
          const weight = targets.reduce((sum, target) => sum + (target.revision === number ? target.weight : 0), 0);
          assert.equal(hits.get(number) ?? 0, weight);
        }
      },
    ),
  );
});
