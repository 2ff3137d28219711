/**
 * What the platform counts, for Prometheus. The call path only adds to plain numbers of an object per function;
 * labels, text and everything that is looked up come at the scrape.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { FunctionId, Invocation } from "../core/model.ts";
import { FunctionSeries, type SeriesGroup } from "./function-series.ts";

export interface Metrics {
  /** Counts a settled invocation, whatever caused it. Cheap. */
  settled(invocation: Invocation): void;
  /** Counts an answered HTTP request. Cheap. */
  request(kind: RequestKind, status: number): void;
  /** Counts a deploy by how it ended. */
  deployed(outcome: DeployOutcome): void;
  /** Forgets a function's series: it was deleted. */
  forget(id: FunctionId): void;
  /** What is looked at when a scrape comes. */
  watch(view: PlatformView): void;
  /** The text exposition format. */
  render(): Promise<string>;
  readonly contentType: string;
}

export type RequestKind = "function" | "api" | "health";
export type DeployOutcome = "built" | "cached" | "unchanged" | "failed";

/** The moving state behind the gauges; the engine's pool has these by the same names. */
export interface PlatformView {
  instances(): readonly { readonly namespace: string; readonly name: string; readonly state: string }[];
  waiting(id: FunctionId): number;
  prewarmed(): readonly {
    readonly runtime: string;
    readonly memoryMb: number;
    readonly ready: number;
    readonly starting: number;
  }[];
  memory(): { readonly usedMb: number; readonly budgetMb: number };
}

/** Messages of the asynchronous queue by state. */
export interface QueueDepth {
  readonly waiting: number;
  readonly leased: number;
  readonly dead: number;
}

export interface MetricsOptions {
  /** Functions with series of their own; those beyond share one. A scrape has some 20 lines for each. */
  readonly maxFunctions?: number;
  readonly queueDepth?: () => Promise<QueueDepth>;
  /** False leaves out the process's own (memory, CPU, event-loop lag), which only one registry of a process should have. */
  readonly ofProcess?: boolean;
}

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  // Every 100 ms is enough to see a stalled loop; the default of 10 ms wakes an idle process for nothing.
  if (options.ofProcess !== false) collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  const series = new FunctionSeries(options.maxFunctions ?? 1000);
  series.register(registry);
  const requests = requestCounter(registry);
  const deploys = new Counter({
    name: "virga_deploys_total",
    help: "Deploys by how they ended.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  if (options.queueDepth !== undefined) queueGauge(registry, options.queueDepth);

  return {
    settled: (invocation) => series.add(invocation),
    request: requests,
    deployed: (outcome) => deploys.inc({ outcome }),
    forget: (id) => series.forget(id),
    watch: (view) => poolGauges(registry, view, series),
    render: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

function requestCounter(registry: Registry): Metrics["request"] {
  const kinds: readonly RequestKind[] = ["function", "api", "health"];
  // One slot for each kind and hundred of the status.
  const counts = new Float64Array(kinds.length * 10);
  new Counter({
    name: "virga_http_requests_total",
    help: "HTTP requests answered, by what they asked for and the class of the status.",
    labelNames: ["kind", "class"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [index, count] of counts.entries()) {
        if (count > 0) this.inc({ kind: kinds[Math.floor(index / 10)] ?? "", class: `${index % 10}xx` }, count);
      }
    },
  });
  return (kind, status) => {
    const slot = (kind === "function" ? 0 : kind === "api" ? 10 : 20) + Math.min(9, Math.floor(status / 100));
    counts[slot] = (counts[slot] ?? 0) + 1;
  };
}

function queueGauge(registry: Registry, depth: () => Promise<QueueDepth>): void {
  new Gauge({
    name: "virga_queue_messages",
    help: "Accepted asynchronous calls that are not settled, by state.",
    labelNames: ["state"],
    registers: [registry],
    async collect() {
      const { waiting, leased, dead } = await depth();
      this.set({ state: "waiting" }, waiting);
      this.set({ state: "leased" }, leased);
      this.set({ state: "dead" }, dead);
    },
  });
}

function poolGauges(registry: Registry, view: PlatformView, series: FunctionSeries): void {
  new Gauge({
    name: "virga_instances",
    help: "Instances by function and state.",
    labelNames: ["namespace", "function", "state"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { namespace, name, state } of view.instances()) {
        const group = series.groupOf(namespace, name);
        this.inc({ namespace: group.namespace, function: group.name, state });
      }
    },
  });
  new Gauge({
    name: "virga_calls_waiting",
    help: "Calls that wait for an instance.",
    labelNames: ["namespace", "function"],
    registers: [registry],
    collect() {
      this.reset();
      for (const group of series.groups()) count(this, group, view.waiting(group));
    },
  });
  new Gauge({
    name: "virga_prewarmed_instances",
    help: "Blank instances that wait for a function.",
    labelNames: ["runtime", "memory_mb", "state"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { runtime, memoryMb, ready, starting } of view.prewarmed()) {
        this.set({ runtime, memory_mb: memoryMb, state: "ready" }, ready);
        this.set({ runtime, memory_mb: memoryMb, state: "starting" }, starting);
      }
    },
  });
  new Gauge({
    name: "virga_memory_bytes",
    help: "Memory promised to instances, and the budget for it.",
    labelNames: ["of"],
    registers: [registry],
    collect() {
      const { usedMb, budgetMb } = view.memory();
      this.set({ of: "used" }, usedMb * 2 ** 20);
      this.set({ of: "budget" }, budgetMb * 2 ** 20);
    },
  });
}

function count(gauge: Gauge<"namespace" | "function">, group: SeriesGroup, waiting: number): void {
  if (waiting > 0) gauge.set({ namespace: group.namespace, function: group.name }, waiting);
}
