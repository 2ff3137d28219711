/** What OpenFaaS's gateway counts, for Prometheus and for `invocationCount` (contract section 1). */
import { Counter, Gauge, Registry } from "prom-client";
import type { FunctionId, Revision } from "../../core/model.ts";
import type { Engine } from "../../engine/engine.ts";

export interface Series {
  readonly label: string;
  started: number;
  readonly byCode: Map<number, { calls: number; seconds: number; readonly buckets: number[] }>;
}

export class CallCounts {
  readonly #engine: Pick<Engine, "usage" | "pool">;
  readonly #series = new Map<string, Series>();

  constructor(engine: Pick<Engine, "usage" | "pool">) {
    this.#engine = engine;
  }

  /** Cheap: it is on the way of every call. */
  started(id: FunctionId): Series {
    const called = `${id.name}.${id.namespace}`;
    // What can be no function's name is nobody's series.
    const label = /^[\w.-]{1,128}$/.test(called) ? called : "unknown";
    const series = this.#series.get(label) ?? this.#add(label);
    series.started++;
    return series;
  }

  #add(label: string): Series {
    if (this.#series.size >= mostSeries) this.#forgetInvented();
    const series = { label, started: 0, byCode: new Map() };
    this.#series.set(label, series);
    return series;
  }

  /** Names may be anybody's: of those, no call was ever anything but 404. */
  #forgetInvented(): void {
    for (const [label, { byCode }] of this.#series)
      if (byCode.size === 1 && byCode.has(404)) this.#series.delete(label);
  }

  ended({ byCode }: Series, status: number, seconds: number): void {
    let code = byCode.get(status);
    if (code === undefined) byCode.set(status, (code = { calls: 0, seconds: 0, buckets: limits.map(() => 0) }));
    code.calls++;
    code.seconds += seconds;
    for (let index = limits.length - 1; index >= 0 && seconds <= limits[index]!; index--) code.buckets[index]!++;
  }

  forget({ namespace, name }: FunctionId): void {
    this.#series.delete(`${name}.${namespace}`);
  }

  /** Calls of each function of a namespace, over restarts; those of an earlier function of its name too. */
  async totals(namespace: string): Promise<ReadonlyMap<string, number>> {
    const totals = new Map<string, number>();
    for (const { name, requests } of await this.#engine.usage.days(namespace, {}))
      totals.set(name, (totals.get(name) ?? 0) + requests);
    return totals;
  }

  /**
   * The text exposition format. `deployed`: the functions whose replicas are shown; `isShown` says of which others' calls are.
   */
  async render(
    deployed: readonly Pick<Revision, "namespace" | "name" | "config">[],
    isShown: (functionName: string) => boolean,
  ): Promise<{ text: string; type: string }> {
    const registry = new Registry();
    const registers = [registry];
    const total = new Counter({
      name: "gateway_function_invocation_total",
      help: "Function invocation count",
      labelNames: ["function_name", "code"],
      registers,
    });
    const started = new Counter({
      name: "gateway_function_invocation_started",
      help: "The total number of function HTTP requests started.",
      labelNames: ["function_name"],
      registers,
    });
    const gauge = (name: string, help: string): Gauge =>
      new Gauge({ name, help, labelNames: ["function_name"], registers });
    const replicas = gauge("gateway_service_count", "Current count of replicas for function");
    const ready = gauge("gateway_service_ready_count", "Current count of ready replicas for function");
    const target = gauge("gateway_service_target", "Target load for function");
    const min = gauge("gateway_service_min", "Min replicas for function");
    const inFlight = gauge(
      "gateway_invocation_function_invocation_inflight",
      "Current count of requests in flight for function",
    );
    const shown = [...this.#series.values()].filter(({ label }) => isShown(label));
    for (const { label, started: calls, byCode } of shown) {
      const name = { function_name: label };
      let left = calls;
      started.inc(name, calls);
      for (const [code, { calls: ended }] of byCode) {
        total.inc({ ...name, code: String(code) }, ended);
        left -= ended;
      }
      inFlight.set(name, left);
    }
    for (const { config, ...id } of deployed) {
      const name = { function_name: `${id.name}.${id.namespace}` };
      const there = this.#engine.pool.instances(id).filter(({ state }) => state !== "draining");
      const { openfaas, queue, min: least } = config.scaling;
      replicas.set(name, there.length);
      ready.set(name, there.filter(({ state }) => state !== "starting").length);
      target.set(name, openfaas?.target ?? queue?.target ?? 0);
      min.set(name, least);
    }
    return { text: `${await registry.metrics()}\n${secondsText(shown)}`, type: registry.contentType };
  }
}

/** By hand: these were counted already, and the library's own would count anew. */
function secondsText(all: Iterable<Series>): string {
  const name = "gateway_functions_seconds";
  const lines = [`# HELP ${name} Function time taken`, `# TYPE ${name} histogram`];
  for (const { label, byCode } of all) {
    for (const [code, { calls, seconds, buckets }] of byCode) {
      const labels = `function_name="${label}",code="${code}"`;
      for (const [index, limit] of limits.entries())
        lines.push(`${name}_bucket{le="${limit}",${labels}} ${buckets[index]}`);
      lines.push(`${name}_bucket{le="+Inf",${labels}} ${calls}`);
      lines.push(`${name}_sum{${labels}} ${seconds}`, `${name}_count{${labels}} ${calls}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** The client library's defaults, in seconds. */
const limits = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const mostSeries = 20_000;
