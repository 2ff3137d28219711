import { duration, type KeepAlivePolicy } from "./policy.ts";

/** The same time for everybody, as most platforms have it. */
export function fixedPolicy(keepMs: number): KeepAlivePolicy<undefined> {
  const plan = { keepMs, prewarmMs: Number.POSITIVE_INFINITY };
  return {
    name: "fixed",
    begin: () => undefined,
    observe: () => undefined,
    decide: () => plan,
    explain: () => `kept for a fixed ${duration(keepMs)}`,
  };
}
