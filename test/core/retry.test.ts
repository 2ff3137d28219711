import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultAsync } from "../../src/core/defaults.ts";
import { comesAgain, nextStep, retryDelayMs } from "../../src/core/retry.ts";

const first = { attempt: 1, ageMs: 0, random: 0.5 };

test("pauses double to the longest, with full jitter", () => {
  const policy = { ...defaultAsync, backoffMs: 100, maxBackoffMs: 1000 };
  assert.deepEqual(
    [1, 2, 3, 4, 5, 1000].map((attempt) => retryDelayMs(attempt, policy, 0.5)),
    [50, 100, 200, 400, 500, 500],
  );
  assert.equal(retryDelayMs(1, policy, 0), 0);
});

test("answers below 500 succeed, 5xx answers and failed runs come again until the attempts are used up", () => {
  assert.deepEqual(nextStep({ kind: "answered", status: 499 }, first, defaultAsync), { kind: "succeed" });
  assert.deepEqual(nextStep({ kind: "answered", status: 500 }, first, defaultAsync), {
    kind: "retry",
    delayMs: 250,
    counted: true,
  });
  for (const code of ["function_error", "function_crashed", "out_of_memory", "timeout", "start_failed"] as const) {
    assert.equal(nextStep({ kind: "failed", code }, first, defaultAsync).kind, "retry", code);
    assert.equal(nextStep({ kind: "failed", code }, { ...first, attempt: 3 }, defaultAsync).kind, "bury", code);
  }
});

test("what another run cannot change is given up at once", () => {
  for (const code of ["not_found", "request_too_large", "response_too_large", "forbidden"] as const) {
    assert.deepEqual(nextStep({ kind: "failed", code }, first, defaultAsync), { kind: "bury", reason: code, code });
  }
});

test("an attempt that never reached user code is not counted, but time goes on", () => {
  const last = { attempt: 3, ageMs: 0, random: 0.5 };
  for (const code of ["queue_full", "no_instance", "unavailable"] as const) {
    const step = nextStep({ kind: "failed", code }, last, defaultAsync);
    assert.deepEqual([step.kind, step.kind === "retry" && step.counted], ["retry", false]);
    const old = nextStep({ kind: "failed", code }, { ...last, ageMs: defaultAsync.maxAgeMs }, defaultAsync);
    assert.equal(old.kind === "bury" && old.code, "too_old");
  }
});

test("a list of statuses says which answers come again, and no other does", () => {
  const policy = { ...defaultAsync, retryStatuses: [429, 502] };
  const stepOf = (status: number, attempt = 1) => nextStep({ kind: "answered", status }, { ...first, attempt }, policy);
  assert.deepEqual(stepOf(429), { kind: "retry", delayMs: 250, counted: true });
  assert.deepEqual(stepOf(502), { kind: "retry", delayMs: 250, counted: true });
  assert.deepEqual(stepOf(200), { kind: "succeed" });
  assert.deepEqual(stepOf(404), { kind: "succeed" });
  assert.deepEqual(stepOf(500), { kind: "fail" });
  assert.deepEqual(stepOf(429, 3), {
    kind: "bury",
    reason: "answered 429, after 3 of 3 attempts",
    code: "function_error",
  });
  assert.deepEqual(
    [200, 429, 499, 500].map((status) => comesAgain(status, defaultAsync)),
    [false, false, false, true],
  );
  assert.equal(comesAgain(500, { ...defaultAsync, retryStatuses: [] }), false);
  // What it did not answer is no matter of statuses.
  assert.equal(nextStep({ kind: "failed", code: "function_crashed" }, first, policy).kind, "retry");
});

test("Retry-After is the least pause, and cannot outlive the call", () => {
  const stepOf = (retryAfterMs: number) =>
    nextStep({ kind: "answered", status: 503, retryAfterMs }, first, defaultAsync);
  assert.deepEqual(stepOf(100), { kind: "retry", delayMs: 250, counted: true });
  assert.deepEqual(stepOf(600_000), { kind: "retry", delayMs: 600_000, counted: true });
  const late = stepOf(defaultAsync.maxAgeMs + 1);
  assert.equal(late.kind === "bury" && late.code, "too_old");
});
