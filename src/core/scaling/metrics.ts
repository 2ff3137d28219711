import { Series } from "./series.ts";

/** What was measured of a function within one second. */
export interface Sample {
  /** Calls in flight, running or waiting, averaged over time. */
  readonly concurrency: number;
  /** Calls that came, and calls that ended. */
  readonly requests: number;
  readonly completed: number;
  /** Calls that wait, at the end of the second. */
  readonly queue: number;
  /** Processors in use by all instances. */
  readonly cpu: number;
  /** Instances that are ready, at the end of the second. */
  readonly instances: number;
}

export type MetricName = keyof Sample;

/** `counter`: what happened in each second, to be asked for as a rate; `gauge`: what there was. */
export const metricKinds: Readonly<Record<MetricName, "counter" | "gauge">> = {
  concurrency: "gauge",
  requests: "counter",
  completed: "counter",
  queue: "gauge",
  cpu: "gauge",
  instances: "gauge",
};

/** The samples of the last `windowMs`. */
export class Metrics {
  readonly #series: Readonly<Record<MetricName, Series>>;

  constructor(windowMs: number) {
    const series = (): Series => new Series(windowMs);
    this.#series = {
      concurrency: series(),
      requests: series(),
      completed: series(),
      queue: series(),
      cpu: series(),
      instances: series(),
    };
  }

  record(now: number, sample: Sample): void {
    for (const name of metricNames) this.#series[name].record(now, sample[name]);
  }

  of(name: MetricName): Series {
    return this.#series[name];
  }
}

export const metricNames = Object.keys(metricKinds) as MetricName[];
