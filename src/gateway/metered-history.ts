import type { History } from "../engine/engine.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** The same history, each settled invocation counted on its way in. */
export function meterHistory(history: History, metrics: Metrics): History {
  return {
    append(invocation) {
      metrics.settled(invocation);
      history.append(invocation);
    },
    appendDurably(invocation) {
      metrics.settled(invocation);
      return history.appendDurably(invocation);
    },
    get: (namespace, id) => history.get(namespace, id),
    list: (namespace, filter) => history.list(namespace, filter),
    follow: (filter, listener) => history.follow(filter, listener),
    logged: (line) => history.logged(line),
    flush: () => history.flush(),
  };
}
