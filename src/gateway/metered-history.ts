import type { History } from "../engine/engine.ts";
import type { InvocationLog } from "../engine/history.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** What is left out where a bench asks for the price of it; the server does `all`. */
export type Metering = "all" | "uncounted" | "unrecorded";

/** The same history, each settled invocation counted on its way in. */
export function meterHistory(history: History, metrics: Metrics, metering: Metering = "all"): History {
  if (metering === "uncounted") return history;
  const reading = {
    get: (namespace, id) => history.get(namespace, id),
    list: (namespace, filter) => history.list(namespace, filter),
    follow: (filter, listener) => history.follow(filter, listener),
    logged: (line) => history.logged(line),
    flush: () => history.flush(),
  } satisfies Partial<History>;
  if (metering === "unrecorded") return { ...reading, append() {}, appendDurably: () => Promise.resolve() };
  return {
    ...reading,
    append(invocation) {
      metrics.settled(invocation);
      history.append(invocation);
    },
    appendDurably(invocation) {
      metrics.settled(invocation);
      return history.appendDurably(invocation);
    },
  };
}

/** What the usage ledger hears of the records. */
export function ledgerSource(
  log: InvocationLog,
  metering: Metering = "all",
): Pick<InvocationLog, "onSegment" | "holdBack" | "flush"> {
  if (metering === "all") return log;
  return { onSegment: () => () => {}, holdBack() {}, flush: () => log.flush() };
}
