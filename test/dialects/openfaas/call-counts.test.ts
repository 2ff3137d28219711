import assert from "node:assert/strict";
import { test } from "node:test";
import { CallCounts } from "../../../src/dialects/openfaas/call-counts.ts";

const engine = {} as ConstructorParameters<typeof CallCounts>[0];

test("names that are no function's leave room for those that are", async () => {
  const counts = new CallCounts(engine);
  const call = (name: string, status: number): void =>
    counts.ended(counts.started({ namespace: "openfaas-fn", name }), status, 0.01);
  call("early", 200);
  for (let number = 0; number < 20_000; number++) call(`invented-${number}`, 404);
  for (let time = 0; time < 3; time++) call("late", 500);
  const { text } = await counts.render([], (name) => !name.startsWith("invented-"));
  const lines = text.split("\n").filter((line) => line.startsWith("gateway_function_invocation_total{"));
  assert.deepEqual(lines, [
    'gateway_function_invocation_total{function_name="early.openfaas-fn",code="200"} 1',
    'gateway_function_invocation_total{function_name="late.openfaas-fn",code="500"} 3',
  ]);
});
