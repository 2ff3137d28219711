import assert from "node:assert/strict";
import { test } from "node:test";
import { inOrderOfPriority, reasonToStop, worthOfKeeping } from "../../src/core/keep-alive/worth.ts";
import { place } from "../../src/core/placement.ts";

const machine = {
  usedMb: 900,
  leavingMb: 0,
  budgetMb: 1000,
  instances: 9,
  leavingInstances: 0,
  budgetInstances: 10,
};
const idle = [
  { item: "dear", memoryMb: 100, worth: 9 },
  { item: "cheap", memoryMb: 100, worth: 1 },
  { item: "middling", memoryMb: 100, worth: 5 },
];

test("where there is room nothing has to go", () => {
  assert.deepEqual(
    place(100, machine, () => idle),
    { kind: "start" },
  );
});

test("the least worth goes first, and no more than is needed", () => {
  const placement = place(250, machine, () => [...idle]);
  assert.deepEqual(placement.kind === "wait" && placement.evict, ["cheap", "middling"]);
});

test("what is leaving already is counted", () => {
  const placement = place(250, { ...machine, leavingMb: 100, leavingInstances: 1 }, () => [...idle]);
  assert.deepEqual(placement.kind === "wait" && placement.evict, ["cheap"]);
});

test("where all of them would not do, none is stopped", () => {
  const placement = place(800, machine, () => [...idle]);
  assert.deepEqual(placement.kind === "wait" && placement.evict, []);
});

test("the count of instances is a limit of its own", () => {
  const placement = place(10, { ...machine, instances: 10 }, () => [...idle]);
  assert.deepEqual(placement.kind === "wait" && placement.evict, ["cheap"]);
});

test("more than the machine has is never", () => {
  assert.equal(place(1001, machine, () => idle).kind, "never");
});

test("an idle instance stays for keepAliveMs, and below the floor for ever", () => {
  const instance = { idleMs: 60_000, keepAliveMs: 60_000, ready: 2, min: 1 };
  assert.match(reasonToStop(instance) ?? "", /60000 ms/);
  assert.equal(reasonToStop({ ...instance, idleMs: 59_999 }), undefined);
  assert.equal(reasonToStop({ ...instance, ready: 1 }), undefined);
});

test("often used, lately used, slow to start and small is worth more", () => {
  const base = { idleMs: 1000, memoryMb: 256, startMs: 100, served: 10, ageMs: 60_000 };
  const worth = worthOfKeeping(base);
  assert.ok(worthOfKeeping({ ...base, served: 100 }) > worth);
  assert.ok(worthOfKeeping({ ...base, idleMs: 0 }) > worth);
  assert.ok(worthOfKeeping({ ...base, startMs: 1000 }) > worth);
  assert.ok(worthOfKeeping({ ...base, memoryMb: 128 }) > worth);
});

test("instances with priorities stand in their order, on the places that they hold by their worth", () => {
  const all = [
    { item: "a", worth: 1, priority: 30 },
    { item: "b", worth: 5 },
    { item: "c", worth: 3, priority: 10 },
    { item: "d", worth: 9, priority: 20 },
  ];
  const ordered = inOrderOfPriority(all).sort((a, b) => a.worth - b.worth);
  assert.deepEqual(
    ordered.map(({ item, worth }) => [item, worth]),
    [
      ["c", 1],
      ["d", 3],
      ["b", 5],
      ["a", 9],
    ],
  );
});
