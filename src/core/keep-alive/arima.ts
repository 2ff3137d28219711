/**
 * A forecast of the next value of a short series, by the best of five ARIMA models: (0,0,0), (1,0,0), (0,1,0), (1,1,0) and
 * (0,1,1), by the corrected Akaike criterion. Fitted by conditional least squares. That is the part of an automatic ARIMA
 * that series of a few dozen idle times can bear.
 */
export function forecast(series: readonly number[]): number {
  const length = series.length;
  if (length < 3) return mean(series);
  let best = mean(series);
  let bestScore = Number.POSITIVE_INFINITY;
  // Judged on the same last values, whatever a model needs to begin.
  const consider = (errors: number, parameters: number, next: number): void => {
    const count = length - 2;
    const correction =
      count > parameters + 2 ? (2 * (parameters + 1) * (parameters + 2)) / (count - parameters - 2) : 1e9;
    const score = count * Math.log(errors / count + 1e-9) + 2 * (parameters + 1) + correction;
    if (score < bestScore) [bestScore, best] = [score, next];
  };
  const level = mean(series);
  consider(squares(series.slice(2), level), 1, level);
  const steps = series.slice(1).map((value, index) => value - series[index]!);
  consider(squares(steps.slice(1), 0), 0, series.at(-1)!);
  const own = autoregression(series);
  consider(own.errors, 2, own.next);
  const ofSteps = autoregression(steps, true);
  consider(ofSteps.errors, 1, series.at(-1)! + ofSteps.next);
  for (let weight = 0.1; weight < 1; weight += 0.2) {
    const smooth = smoothing(series, weight);
    consider(smooth.errors, 1, smooth.next);
  }
  return Math.max(0, best);
}

/** y = a + b·(the one before). `through`: a is 0. */
function autoregression(series: readonly number[], through = false): { errors: number; next: number } {
  const before = series.slice(0, -1);
  const after = series.slice(1);
  const [meanBefore, meanAfter] = through ? [0, 0] : [mean(before), mean(after)];
  let product = 0;
  let square = 0;
  for (let index = 0; index < before.length; index++) {
    product += (before[index]! - meanBefore) * (after[index]! - meanAfter);
    square += (before[index]! - meanBefore) ** 2;
  }
  const slope = square === 0 ? 0 : Math.max(-0.99, Math.min(0.99, product / square));
  const at = (value: number): number => meanAfter + slope * (value - meanBefore);
  let errors = 0;
  for (let index = through ? 0 : 1; index < before.length; index++) errors += (after[index]! - at(before[index]!)) ** 2;
  return { errors, next: at(series.at(-1)!) };
}

/** (0,1,1) is exponential smoothing. */
function smoothing(series: readonly number[], weight: number): { errors: number; next: number } {
  let level = series[0]!;
  let errors = 0;
  for (let index = 1; index < series.length; index++) {
    const error = series[index]! - level;
    if (index > 1) errors += error * error;
    level += weight * error;
  }
  return { errors, next: level };
}

function squares(values: readonly number[], around: number): number {
  return values.reduce((sum, value) => sum + (value - around) ** 2, 0);
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
