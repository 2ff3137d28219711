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
  readonly #windowMs: number;
  #newest: Sample | undefined;
  /** When the samples began that are like the newest one. */
  #alikeSince = 0;
  readonly #series: Readonly<Record<MetricName, Series>>;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
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
    if (this.#newest === undefined || !alike(this.#newest, sample)) this.#alikeSince = now;
    this.#newest = sample;
    const series = this.#series;
    series.concurrency.record(now, sample.concurrency);
    series.requests.record(now, sample.requests);
    series.completed.record(now, sample.completed);
    series.queue.record(now, sample.queue);
    series.cpu.record(now, sample.cpu);
    series.instances.record(now, sample.instances);
  }

  /** As `record` each second from `from` to `to`. */
  repeat(from: number, to: number, sample: Sample): void {
    // What is older than the window is of no account.
    for (let at = Math.max(from, to - Math.ceil(this.#windowMs / 1000) * 1000); at <= to; at += 1000)
      this.record(at, sample);
  }

  /** Whether all that is known is alike, in calls of which none came or ended. */
  quiet(now: number): boolean {
    const newest = this.#newest;
    return (
      newest !== undefined &&
      newest.requests + newest.completed + newest.concurrency === 0 &&
      now - this.#alikeSince > this.#windowMs
    );
  }

  of(name: MetricName): Series {
    return this.#series[name];
  }
}

function alike(one: Sample, other: Sample): boolean {
  return (
    one.concurrency === other.concurrency &&
    one.requests === other.requests &&
    one.completed === other.completed &&
    one.queue === other.queue &&
    one.cpu === other.cpu &&
    one.instances === other.instances
  );
}

/** Whether nothing was measured. */
export function isEmpty({ concurrency, requests, completed, queue, cpu, instances }: Sample): boolean {
  return concurrency === 0 && requests === 0 && completed === 0 && queue === 0 && cpu === 0 && instances === 0;
}

export const metricNames = Object.keys(metricKinds) as MetricName[];
