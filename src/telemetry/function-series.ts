import type { Metric, Registry } from "prom-client";
import type { FunctionId, Invocation, InvocationStatus } from "../core/model.ts";

export interface SeriesGroup extends FunctionId {
  readonly statuses: Partial<Record<InvocationStatus, number>>;
  /** Calls by duration: one counter for each bound of `bounds`, one for what is longer. */
  readonly durations: Float64Array;
  durationSeconds: number;
  coldStarts: number;
  coldStartSeconds: number;
}

/**
 * Counters of the functions. `max` of them have series of their own; the calls of all others are counted together under
 * `_other`, so that a tenant with a hundred thousand functions does not fill the monitoring system.
 */
export class FunctionSeries {
  readonly #max: number;
  readonly #namespaces = new Map<string, Map<string, SeriesGroup>>();
  readonly #others = newGroup("_other", "_other");
  #size = 0;

  constructor(max: number) {
    this.#max = max;
  }

  add(invocation: Invocation): void {
    const group = this.#namespaces.get(invocation.namespace)?.get(invocation.name) ?? this.#open(invocation);
    group.statuses[invocation.status] = (group.statuses[invocation.status] ?? 0) + 1;
    const seconds = invocation.timings.totalMs / 1000;
    let bucket = 0;
    while (bucket < bounds.length && seconds > (bounds[bucket] as number)) bucket++;
    group.durations[bucket] = (group.durations[bucket] ?? 0) + 1;
    group.durationSeconds += seconds;
    if (invocation.usage.coldStart) {
      group.coldStarts++;
      group.coldStartSeconds += (invocation.timings.coldStartMs + invocation.timings.initMs) / 1000;
    }
  }

  groupOf(namespace: string, name: string): SeriesGroup {
    return this.#namespaces.get(namespace)?.get(name) ?? this.#open({ namespace, name });
  }

  forget({ namespace, name }: FunctionId): void {
    const groups = this.#namespaces.get(namespace);
    if (groups?.delete(name) !== true) return;
    this.#size--;
    if (groups.size === 0) this.#namespaces.delete(namespace);
  }

  /** Those with calls, the common one last. */
  *groups(): Generator<SeriesGroup> {
    for (const groups of this.#namespaces.values()) yield* groups.values();
    yield this.#others;
  }

  register(registry: Registry): void {
    const define = (
      name: string,
      help: string,
      type: "counter" | "histogram",
      values: (group: SeriesGroup) => Lines,
    ) => {
      const get = () => ({ name, help, type, aggregator: "sum", values: [...this.groups()].flatMap(values) });
      // A registry asks its metrics for their name and `get()`, and for no more of what prom-client's own classes have.
      registry.registerMetric({ name, get } as unknown as Metric);
    };
    define("virga_invocations_total", "Settled invocations by function and status.", "counter", statusLines);
    define("virga_invocation_duration_seconds", "From acceptance to the last byte.", "histogram", durationLines);
    define("virga_cold_starts_total", "Calls that waited for a fresh instance.", "counter", (group) =>
      group.coldStarts === 0 ? [] : [{ labels: labelsOf(group), value: group.coldStarts }],
    );
    define("virga_cold_start_seconds_total", "Time that calls waited for fresh instances.", "counter", (group) =>
      group.coldStarts === 0 ? [] : [{ labels: labelsOf(group), value: group.coldStartSeconds }],
    );
  }

  #open({ namespace, name }: FunctionId): SeriesGroup {
    if (this.#size >= this.#max) return this.#others;
    let groups = this.#namespaces.get(namespace);
    if (groups === undefined) this.#namespaces.set(namespace, (groups = new Map()));
    const group = newGroup(namespace, name);
    groups.set(name, group);
    this.#size++;
    return group;
  }
}

/** As prom-client's registry writes them. */
type Lines = { metricName?: string; labels: Record<string, string | number>; value: number }[];

/** From a warm call in a millisecond to an hour of simulation, about three to a decade. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600];

function newGroup(namespace: string, name: string): SeriesGroup {
  return {
    namespace,
    name,
    statuses: {},
    durations: new Float64Array(bounds.length + 1),
    durationSeconds: 0,
    coldStarts: 0,
    coldStartSeconds: 0,
  };
}

function labelsOf(group: SeriesGroup): Record<string, string> {
  return { namespace: group.namespace, function: group.name };
}

function statusLines(group: SeriesGroup): Lines {
  return Object.entries(group.statuses).map(([status, value]) => ({ labels: { ...labelsOf(group), status }, value }));
}

function durationLines(group: SeriesGroup): Lines {
  const metric = "virga_invocation_duration_seconds";
  const labels = labelsOf(group);
  const lines: Lines = [];
  let sum = 0;
  for (const [index, count] of group.durations.entries()) {
    sum += count;
    lines.push({ metricName: `${metric}_bucket`, labels: { ...labels, le: bounds[index] ?? "+Inf" }, value: sum });
  }
  if (sum === 0) return [];
  lines.push({ metricName: `${metric}_sum`, labels, value: group.durationSeconds });
  lines.push({ metricName: `${metric}_count`, labels, value: sum });
  return lines;
}
