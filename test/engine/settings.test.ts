import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { defaultLimits, defaultPolicySettings, defaultScaling, widestLimits } from "../../src/core/defaults.ts";
import { VirgaError } from "../../src/core/errors.ts";
import { checkSettings, completeSettings } from "../../src/engine/settings.ts";

const code = { runtime: "node", handler: "index.js", convention: "native" };

function refusal(settings: unknown): VirgaError {
  try {
    completeSettings(checkSettings(settings), code);
  } catch (error) {
    assert.ok(error instanceof VirgaError, String(error));
    assert.equal(error.code, "invalid_field");
    assert.ok(error.detail.field?.startsWith("settings"), error.detail.field);
    assert.ok(error.detail.fix, "every refusal names a way out");
    return error;
  }
  throw new assert.AssertionError({ message: `accepted: ${JSON.stringify(settings)}` });
}

test("what is missing is filled in with what was detected and the defaults", () => {
  const config = completeSettings(checkSettings({ limits: { memoryMb: 512 } }), code);
  assert.equal(config.runtime, "node");
  assert.deepEqual(config.limits, { ...defaultLimits, memoryMb: 512 });
  assert.equal(config.public, false);
  assert.ok(!("cors" in config) && !("description" in config));
  assert.deepEqual(JSON.parse(JSON.stringify(config)), config);
});

test("a member that is undefined counts as absent", () => {
  const settings = { limits: { memoryMb: undefined }, description: undefined } as never;
  assert.equal(completeSettings(settings, code).limits.memoryMb, defaultLimits.memoryMb);
});

test("the same settings in another order are the same", () => {
  const a = completeSettings(checkSettings({ environment: { A: "1", B: "2" }, secrets: ["X", "Y"] }), code);
  const b = completeSettings(checkSettings({ secrets: ["Y", "X"], environment: { B: "2", A: "1" } }), code);
  assert.equal(JSON.stringify(a), JSON.stringify(b));
});

test("an unknown setting is refused with the one that was meant", () => {
  const inner = refusal({ limits: { memroyMb: 1 } });
  assert.equal(inner.detail.field, "settings.limits.memroyMb");
  assert.match(inner.detail.fix!, /memoryMb/);
  assert.match(refusal({ handlr: "x" }).detail.fix!, /handler/);
  assert.match(refusal({ zzzzzz: 1 }).detail.fix!, /runtime, handler/);
});

test("no limit goes beyond the widest", () => {
  for (const [name, widest] of Object.entries(widestLimits)) {
    const error = refusal({ limits: { [name]: widest + 1 } });
    assert.equal(error.detail.field, `settings.limits.${name}`);
    assert.match(error.detail.fix!, new RegExp(String(widest)));
    completeSettings(checkSettings({ limits: { [name]: widest } }), code);
    refusal({ limits: { [name]: -1 } });
    refusal({ limits: { [name]: Number.NaN } });
  }
});

test("settings that contradict each other are refused", () => {
  assert.equal(refusal({ scaling: { min: 5, max: 2 } }).detail.field, "settings.scaling.min");
  assert.equal(refusal({ scaling: { min: 200 } }).detail.field, "settings.scaling.min");
  assert.equal(refusal({ async: { backoffMs: 100_000 } }).detail.field, "settings.async.backoffMs");
  assert.equal(refusal({ environment: { A: "1" }, secrets: ["A"] }).detail.field, "settings.secrets.0");
  refusal({ secrets: ["A", "A"] });
});

test("a scaling policy has its settings filled in, and no other's", () => {
  const scaling = (given: unknown) => completeSettings(checkSettings({ scaling: given }), code).scaling;
  assert.deepEqual(scaling(undefined), { ...defaultScaling, keepAlive: { policy: "learned" } });
  assert.deepEqual(scaling({ policy: "kpa", max: 5, kpa: { target: 10 } }), {
    ...defaultScaling,
    max: 5,
    policy: "kpa",
    kpa: { ...defaultPolicySettings.kpa, target: 10 },
  });
  assert.deepEqual(scaling({ policy: "queue" }).queue, defaultPolicySettings.queue);
  for (const policy of ["kpa", "openfaas", "queue", "cpu"] as const) {
    assert.deepEqual(JSON.parse(JSON.stringify(scaling({ policy }))), scaling({ policy }));
  }
});

test("keep-alive: who names a time means it, who names nothing gets the policy that learns", () => {
  const keepAlive = (given: object) => completeSettings(checkSettings({ scaling: given }), code).scaling.keepAlive;
  assert.deepEqual(keepAlive({ min: 1 }), { policy: "learned" });
  assert.deepEqual(keepAlive({ keepAliveMs: 5000 }), { policy: "fixed" });
  assert.deepEqual(keepAlive({ keepAliveMs: 5000, keepAlive: { policy: "hybrid" } }), { policy: "hybrid" });
  assert.deepEqual(keepAlive({ keepAlive: { coldShare: 0.02 } }), { policy: "learned", coldShare: 0.02 });
  assert.equal(keepAlive({ policy: "queue" }), undefined);
});

test("what is wrong about a policy is named by its field", () => {
  for (const [scaling, field, message] of [
    [{ policy: "kppa" }, "policy", /is none of demand, kpa/],
    [{ kpa: {} }, "kpa", /the policy is demand/],
    [{ keepAlive: { policy: "lru" } }, "keepAlive.policy", /is none of learned, hybrid/],
    [{ keepAlive: { policy: "hybrid", coldShare: 0.1 } }, "keepAlive.coldShare", /the policy is hybrid/],
    [{ policy: "queue", keepAlive: {} }, "keepAlive", /the policy is queue/],
    [{ policy: "queue", cpu: { targetPercent: 5 } }, "cpu", /the policy is queue/],
    [{ policy: "kpa", kpa: { window: 6 } }, "kpa.window", /is no setting/],
    [{ policy: "kpa", kpa: { windowMs: 5999 } }, "kpa.windowMs", /below 6000/],
    [{ policy: "kpa", kpa: { windowMs: 6500 } }, "kpa.windowMs", /whole number of seconds/],
    [{ policy: "kpa", kpa: { panicThresholdPercent: 100 } }, "kpa.panicThresholdPercent", /below 110/],
    [{ policy: "kpa", kpa: { targetBurstCapacity: -0.5 } }, "kpa.targetBurstCapacity", /neither -1 nor/],
    [{ policy: "kpa", kpa: { activationScale: 1 } }, "kpa.activationScale", /is 1/],
    [{ policy: "kpa", max: 3, kpa: { activationScale: 4 } }, "kpa.activationScale", /above the maximum of 3/],
    [{ policy: "kpa", min: 3, kpa: { activationScale: 2 } }, "kpa.activationScale", /below the minimum of 3/],
    [{ policy: "kpa", max: 3, kpa: { initialScale: 4 } }, "kpa.initialScale", /above the maximum of 3/],
    [{ policy: "openfaas", openfaas: { type: "latency" } }, "openfaas.type", /is none of rps, capacity/],
    [{ policy: "openfaas", openfaas: { proportion: 2 } }, "openfaas.proportion", /above 1/],
    [{ policy: "openfaas", min: 1, openfaas: { zero: true } }, "openfaas.zero", /minimum is 1/],
    [{ policy: "schedule" }, "schedule.at", /has no entry/],
    [{ policy: "schedule", schedule: { at: [{ cron: "* *", min: 1 }] } }, "schedule.at.0.cron", /has 2 fields/],
    [{ policy: "schedule", schedule: { at: [{ cron: "@daily", min: -1 }] } }, "schedule.at.0.min", /below 0/],
    [{ policy: "schedule", schedule: { at: [{ cron: "@daily", mn: 1 }] } }, "schedule.at.0.min", /must be a number/],
    [{ policy: "schedule", max: 2, schedule: { at: [{ cron: "@daily", min: 3 }] } }, "schedule.at.0.min", /above the/],
    [
      { policy: "schedule", schedule: { timezone: "Mars", at: [{ cron: "@daily", min: 1 }] } },
      "schedule.timezone",
      /no time zone "Mars"/,
    ],
    [{ policy: "expression" }, "expression.formula", /the formula is empty/],
    [
      { policy: "expression", expression: { formula: "1 + reqests" } },
      "expression.formula",
      /settings.scaling.expression.formula, column 5: reqests is no metric/,
    ],
  ] as const) {
    const error = refusal({ scaling });
    assert.equal(error.detail.field, `settings.scaling.${field}`, JSON.stringify(scaling));
    assert.match(error.message, message);
  }
  assert.match(refusal({ scaling: { policy: "kpa", kpa: { windowM: 1 } } }).detail.fix!, /windowMs/);
  const entry = refusal({ scaling: { policy: "schedule", schedule: { at: [{ cron: "@daily", min: 1, mx: 2 }] } } });
  assert.match(entry.detail.fix!, /settings here are cron, min|did you mean min/);
});

test("code outside of the archive cannot be named", () => {
  for (const handler of ["../x.js", "a/../../x", "/etc/passwd", "", "a\0b", "..\\x"]) {
    assert.equal(refusal({ handler }).detail.field, "settings.handler");
  }
  assert.equal(
    completeSettings(checkSettings({ runtime: "binary", handler: "/usr/bin/yosys" }), code).handler,
    "/usr/bin/yosys",
  );
});

test("environment names, sizes and values are checked", () => {
  refusal({ environment: { "1A": "x" } });
  refusal({ environment: { "A=B": "x" } });
  refusal({ environment: { A: 1 } });
  refusal({ environment: { A: "a\0b" } });
  refusal({
    environment: Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`A${index}`, "x".repeat(60_000)])),
  });
});

test("anything at all is accepted or refused with a field and a way out", () => {
  const keys = fc.constantFrom(
    "runtime",
    "handler",
    "limits",
    "scaling",
    "async",
    "cors",
    "environment",
    "secrets",
    "labels",
    "x",
  );
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.dictionary(keys, fc.anything())), (settings) => {
      let checked;
      try {
        checked = checkSettings(settings);
      } catch {
        refusal(settings);
        return;
      }
      try {
        completeSettings(checked, code);
      } catch {
        refusal(settings);
      }
    }),
  );
});
