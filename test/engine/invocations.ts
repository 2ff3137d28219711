import type { Invocation } from "../../src/core/model.ts";
import { acceptedTime } from "../../src/engine/segment.ts";

/** A settled call, with what a test cares about. */
export function invocation(
  id: string,
  given: Partial<Omit<Invocation, "usage">> & { acceptedAt?: number; usage?: Partial<Invocation["usage"]> } = {},
): Invocation {
  const { acceptedAt, usage, ...rest } = given;
  const record: Invocation = {
    namespace: "default",
    name: "hello",
    id,
    revision: 1,
    cause: { kind: "http" },
    status: "succeeded",
    attempt: 1,
    timings: { acceptedAt: acceptedAt ?? 0, queueMs: 0, coldStartMs: 0, initMs: 0, runMs: 1, totalMs: 1 },
    logs: [],
    ...rest,
    usage: {
      coldStart: false,
      billedMs: 1,
      memoryMb: 128,
      memoryPeakBytes: 1,
      cpuMs: 0.5,
      bytesIn: 10,
      bytesOut: 20,
      ...usage,
    },
  };
  if (acceptedAt !== undefined) return record;
  return { ...record, timings: { ...record.timings, acceptedAt: acceptedTime(record) } };
}
