import { fixedPolicy } from "./fixed.ts";
import { greedyDualPolicy } from "./greedy-dual.ts";
import { hybridPolicy } from "./hybrid.ts";
import { defaultColdShare, learnedPolicy } from "./learned.ts";
import type { KeepAlivePolicy, KeepAlivePolicyName } from "./policy.ts";

export const policyNames: readonly KeepAlivePolicyName[] = ["learned", "hybrid", "greedy-dual", "fixed"];

/** The policy of a function that is configured so. `keepMs`: of `fixed`; `coldShare`: of `learned`. */
export function policyOf(
  name: KeepAlivePolicyName,
  { keepMs, coldShare = defaultColdShare }: { readonly keepMs: number; readonly coldShare?: number | undefined },
): KeepAlivePolicy {
  switch (name) {
    case "fixed":
      return fixedPolicy(keepMs);
    case "hybrid":
      return hybridPolicy;
    case "greedy-dual":
      return greedyDualPolicy;
    case "learned":
      return learnedPolicy(coldShare);
  }
}
