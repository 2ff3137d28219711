import type { ManifestScaling } from "./manifest-schema.ts";

/** A function's scaling as the API takes it: the same words, with units in the names of durations and percentages. */
export function scalingOf(scaling: ManifestScaling): Record<string, unknown> {
  const { min, max, policy, weight, spare, keepAlive, kpa, openfaas, queue, cpu, schedule, expression } = scaling;
  return renamed({
    min,
    max,
    keepAliveMs: typeof keepAlive === "object" ? keepAlive.time : keepAlive,
    keepAlive: typeof keepAlive === "object" ? keptBy(keepAlive) : undefined,
    policy,
    weight,
    spare,
    kpa: kpa && renamed(kpa),
    openfaas: openfaas && renamed(openfaas),
    queue: queue && renamed(queue),
    cpu: cpu && renamed({ targetPercent: cpu.target, windowMs: cpu.window, downWindowMs: cpu.downWindow }),
    schedule,
    expression: expression && renamed(expression),
  });
}

/** A time alone says nothing of a policy. */
function keptBy({ policy, coldShare }: { policy?: string | undefined; coldShare?: number | undefined }) {
  return policy === undefined && coldShare === undefined ? undefined : renamed({ policy, coldShare });
}

function renamed(group: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(group)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [apiNames[key] ?? key, value]),
  );
}

const apiNames: Readonly<Record<string, string>> = {
  utilization: "utilizationPercent",
  window: "windowMs",
  panicWindow: "panicWindowPercent",
  panicThreshold: "panicThresholdPercent",
  scaleDownDelay: "scaleDownDelayMs",
  grace: "graceMs",
  retention: "retentionMs",
  zeroAfter: "zeroAfterMs",
  downWindow: "downWindowMs",
  step: "stepMs",
};
