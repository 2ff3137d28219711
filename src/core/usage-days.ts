import { gbSecondsOf } from "./metering.ts";
import type { FunctionId, Invocation, UsageDay } from "./model.ts";

/**
 * Sums of calls. All are whole numbers, so that adding them in any order, in any grouping, gives the same result:
 * the ledger is equal to the records, not close to them.
 */
export interface UsageSums {
  requests: number;
  errors: number;
  coldStarts: number;
  billedMs: number;
  /** Σ memoryMb × billedMs. */
  mbMs: number;
  cpuMicros: number;
  bytesIn: number;
  bytesOut: number;
}

export function noUsage(): UsageSums {
  return { requests: 0, errors: 0, coldStarts: 0, billedMs: 0, mbMs: 0, cpuMicros: 0, bytesIn: 0, bytesOut: 0 };
}

/** Every record counts as one request; a repeated attempt of an asynchronous call is a record of its own. */
export function addInvocation(sums: UsageSums, { status, usage }: Invocation): void {
  sums.requests += 1;
  if (status !== "succeeded") sums.errors += 1;
  if (usage.coldStart) sums.coldStarts += 1;
  sums.billedMs += usage.billedMs;
  sums.mbMs += usage.memoryMb * usage.billedMs;
  sums.cpuMicros += Math.round(usage.cpuMs * 1000);
  sums.bytesIn += usage.bytesIn;
  sums.bytesOut += usage.bytesOut;
}

export function addSums(to: UsageSums, more: UsageSums): void {
  to.requests += more.requests;
  to.errors += more.errors;
  to.coldStarts += more.coldStarts;
  to.billedMs += more.billedMs;
  to.mbMs += more.mbMs;
  to.cpuMicros += more.cpuMicros;
  to.bytesIn += more.bytesIn;
  to.bytesOut += more.bytesOut;
}

/** A call counts for the day (UTC) on which it was accepted, `YYYY-MM-DD`. */
export function dayOf(acceptedAt: number): string {
  const number = Math.floor(acceptedAt / dayMs);
  if (number !== lastDay.number) lastDay = { number, text: new Date(acceptedAt).toISOString().slice(0, 10) };
  return lastDay.text;
}

const dayMs = 86_400_000;
/** Calls come many on a day, and a date is dear to make. */
let lastDay = { number: 0, text: "1970-01-01" };

export function isDay(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)) && dayOf(Date.parse(text)) === text;
}

export function usageDay(id: FunctionId, day: string, sums: UsageSums): UsageDay {
  return {
    namespace: id.namespace,
    name: id.name,
    day,
    requests: sums.requests,
    errors: sums.errors,
    coldStarts: sums.coldStarts,
    billedMs: sums.billedMs,
    gbSeconds: gbSecondsOf(sums.mbMs),
    cpuSeconds: sums.cpuMicros / 1_000_000,
    bytesIn: sums.bytesIn,
    bytesOut: sums.bytesOut,
  };
}
