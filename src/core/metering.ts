import type { CallUsage, RateCard } from "./model.ts";

/**
 * What a call's run is paid as: whole milliseconds, rounded up. A call that ran at all costs at least one.
 * A cold start is not part of it; records show it apart.
 */
export function billedMs(runMs: number): number {
  return runMs > 0 ? Math.ceil(runMs) : 0;
}

/**
 * GB-seconds, as the public clouds count them: the memory that was configured (not what was used) times the billed time,
 * 1 GB being 1024 MB of 2^20 bytes.
 */
export function gbSeconds(memoryMb: number, billedMs: number): number {
  return gbSecondsOf(memoryMb * billedMs);
}

/** The same from a sum of `memoryMb × billedMs`, which stays a whole number however many calls are added. */
export function gbSecondsOf(mbMs: number): number {
  return mbMs / 1024 / 1000;
}

export interface Cost {
  readonly currency: string;
  readonly requests: number;
  readonly memory: number;
  readonly cpu: number;
  readonly total: number;
}

/** What usage costs by a rate card. Nothing is rounded: the reader's currency decides. */
export function price(
  usage: { readonly requests: number; readonly gbSeconds: number; readonly cpuSeconds: number },
  rates: RateCard,
): Cost {
  const requests = (usage.requests / 1_000_000) * rates.perMillionRequests;
  const memory = usage.gbSeconds * rates.perGbSecond;
  const cpu = usage.cpuSeconds * rates.perCpuSecond;
  return { currency: rates.currency, requests, memory, cpu, total: requests + memory + cpu };
}

/** The cost of one call. */
export function priceOfCall(usage: CallUsage, rates: RateCard): Cost {
  return price(
    { requests: 1, gbSeconds: gbSeconds(usage.memoryMb, usage.billedMs), cpuSeconds: usage.cpuMs / 1000 },
    rates,
  );
}
