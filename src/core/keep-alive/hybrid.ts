import { forecast } from "./arima.ts";
import { duration, type KeepAlivePolicy, type Plan } from "./policy.ts";

/**
 * The hybrid histogram of Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020), with the parameters of the paper:
 * idle times in bins of a minute over four hours. Where the histogram says something (the coefficient of variation of its
 * bins is 2 at least), an instance is made at the 5th percentile less 10 % and kept up to the 99th plus 10 %.
 * Where it says nothing, the instance is kept for the histogram's whole range. Where most idle times lie beyond the range,
 * the next one is forecast from the last ones (see `forecast`), with 15 % on either side.
 */
export const hybridPolicy: KeepAlivePolicy<HybridState> = {
  name: "hybrid",

  begin: () => ({
    bins: new Uint16Array(binCount),
    inside: 0,
    squares: 0,
    outside: 0,
    recent: [],
    forecastMs: 0,
    planned: 0,
    headMs: 0,
    tailMs: 0,
  }),

  observe(state, idleMs, _now, times) {
    const bin = Math.floor(idleMs / binMs);
    if (bin >= binCount) {
      state.outside += times;
      state.forecastMs = 0;
    } else {
      if (state.bins[bin]! + times > 65_535) halve(state);
      const count = state.bins[bin]!;
      const added = Math.min(times, 65_535 - count);
      state.bins[bin] = count + added;
      state.squares += added * (2 * count + added);
      state.inside += added;
    }
    if (state.outside === 0) return;
    // Needed as soon as they might be forecast from.
    state.recent.push(idleMs);
    if (state.recent.length > recentCount) state.recent.shift();
    state.forecastMs = 0;
  },

  decide(state, idleMs) {
    const kind = kindOf(state);
    if (kind === "forecast") {
      if (state.forecastMs === 0) state.forecastMs = Math.max(1, forecast(state.recent));
      return window(idleMs, state.forecastMs * (1 - forecastMargin), state.forecastMs * (1 + forecastMargin));
    }
    if (kind === "range") return { keepMs: rangeMs, prewarmMs: Number.POSITIVE_INFINITY };
    // The percentiles move slowly once there are many calls: read anew after one in a hundred more.
    if (state.inside > state.planned * 1.01 || state.inside < state.planned) readPercentiles(state);
    return window(idleMs, state.headMs * (1 - margin), state.tailMs * (1 + margin));
  },

  explain(state, { keepMs, prewarmMs }) {
    const kind = kindOf(state);
    if (kind === "range") return `its idle times show no pattern: kept for ${duration(rangeMs)}`;
    const until = duration(kind === "forecast" ? state.forecastMs * (1 + forecastMargin) : state.tailMs * (1 + margin));
    const basis =
      kind === "forecast"
        ? `the next call is forecast after ${duration(state.forecastMs)}`
        : `9 of 10 idle times end between ${duration(state.headMs)} and ${duration(state.tailMs)}`;
    return prewarmMs === Number.POSITIVE_INFINITY || keepMs > 0
      ? `${basis}: kept until ${until}`
      : `${basis}: made again after ${duration(prewarmMs)}, kept until ${until}`;
  },
};

export interface HybridState {
  /** Idle times by the minute. */
  readonly bins: Uint16Array;
  inside: number;
  /** Sum of the squared counts. */
  squares: number;
  /** Idle times beyond the range. */
  outside: number;
  /** The newest idle times, in ms; kept from the first one beyond the range on. */
  readonly recent: number[];
  /** 0: to be made. */
  forecastMs: number;
  /** `inside` when the percentiles were read. */
  planned: number;
  headMs: number;
  tailMs: number;
}

function kindOf(state: HybridState): "histogram" | "range" | "forecast" {
  const { inside, outside, squares } = state;
  if (outside > inside) return "forecast";
  if (inside === 0) return "range";
  // Variance over squared mean, both over the bins.
  return (squares * binCount) / (inside * inside) - 1 >= leastVariation ** 2 ? "histogram" : "range";
}

function window(idleMs: number, fromMs: number, toMs: number): Plan {
  // Less than a bin is not worth letting go.
  return fromMs < binMs / 2 || idleMs >= fromMs
    ? { keepMs: toMs, prewarmMs: Number.POSITIVE_INFINITY }
    : { keepMs: 0, prewarmMs: fromMs };
}

function readPercentiles(state: HybridState): void {
  let sum = 0;
  let head = -1;
  for (let bin = 0; bin < binCount; bin++) {
    sum += state.bins[bin]!;
    if (head < 0 && sum >= state.inside * 0.05) head = bin;
    if (sum >= state.inside * 0.99) {
      state.tailMs = (bin + 1) * binMs;
      break;
    }
  }
  state.headMs = head * binMs;
  state.planned = state.inside;
}

function halve(state: HybridState): void {
  state.inside = 0;
  state.squares = 0;
  for (let bin = 0; bin < binCount; bin++) {
    const count = state.bins[bin]! >> 1;
    state.bins[bin] = count;
    state.inside += count;
    state.squares += count * count;
  }
  state.outside = Math.round(state.outside / 2);
}

const binMs = 60_000;
const binCount = 240;
const rangeMs = binMs * binCount;
const leastVariation = 2;
const margin = 0.1;
const forecastMargin = 0.15;
const recentCount = 32;
