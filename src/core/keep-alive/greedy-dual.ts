import type { KeepAliveCost, KeepAlivePolicy } from "./policy.ts";

/**
 * Greedy-Dual as FaasCache applies it to keep-alive (Fuerst and Sharma, ASPLOS 2021): nothing is let go before memory is
 * short; then the function of the lowest priority goes. Priority is the clock at its last use + frequency · cost / size;
 * the clock is the priority of the one that went last, so what is not used grows old against what is.
 */
export const greedyDualPolicy: KeepAlivePolicy<undefined> = {
  name: "greedy-dual",
  begin: () => undefined,
  observe: () => undefined,
  decide: () => forever,
  explain: () => "kept until its memory is needed",
};

/** `frequency`: uses since the function was last without any instance. */
export function priority(clock: number, frequency: number, { memoryMb, startMs }: KeepAliveCost): number {
  return clock + (frequency * Math.max(1, startMs)) / Math.max(1, memoryMb);
}

const forever = { keepMs: Number.POSITIVE_INFINITY, prewarmMs: Number.POSITIVE_INFINITY };
