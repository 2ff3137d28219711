/**
 * What is published of Azure's function workload of July 2019: Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020),
 * and the notebook beside the released trace that redraws its figures. Where only a curve is published,
 * the points here are read off it, to about one hundredth.
 */

/** Points of a cumulative distribution: [value, share at or below it]. */
export type Curve = readonly (readonly [value: number, share: number])[];

/** Figure 5(a): calls a day of an application, on average over the two weeks. Its steps are the periods of timers. */
export const applicationRates: Curve = [
  [1 / 14, 0.035],
  [2 / 14, 0.065],
  [0.5, 0.13],
  [0.99, 0.17],
  [1, 0.21],
  [2, 0.265],
  [10, 0.38],
  [24, 0.455],
  [48, 0.5],
  [96, 0.56],
  [288, 0.67],
  [480, 0.73],
  [1000, 0.78],
  [1440, 0.82],
  [1e4, 0.925],
  [1e5, 0.98],
  [1e6, 0.9945],
  [1e7, 0.999],
  [1e8, 1],
];

/** Figure 5(a): the same of single functions. */
export const functionRates: Curve = [
  [1, 0.34],
  [24, 0.645],
  [288, 0.83],
  [1440, 0.93],
];

/** Figure 6: coefficient of variation of the time from call to call, by what triggers the application. */
export const variation = {
  all: [
    [0.05, 0.24],
    [0.5, 0.44],
    [1, 0.57],
    [2, 0.715],
    [4, 0.86],
    [10, 0.945],
  ],
  onlyTimers: [
    [0.05, 0.55],
    [0.5, 0.85],
    [1, 0.93],
  ],
  someTimer: [
    [0.05, 0.36],
    [0.5, 0.63],
    [1, 0.755],
    [4, 0.925],
  ],
  noTimer: [
    [0.05, 0.13],
    [0.5, 0.24],
    [1, 0.34],
    [2, 0.55],
    [4, 0.76],
    [6, 0.845],
    [10, 0.91],
  ],
} as const satisfies Record<string, Curve>;

/** Figure 3: share of applications whose functions are triggered by timers alone, and by timers among others. */
export const onlyTimerShare = 0.1336;
export const someTimerShare = 0.2915;

/** Figure 1: functions of an application. */
export const functionsPerApplication: Curve = [
  [1, 0.54],
  [2, 0.705],
  [3, 0.795],
  [4, 0.85],
  [5, 0.88],
  [6, 0.905],
  [8, 0.93],
  [10, 0.95],
  [20, 0.983],
  [50, 0.997],
  [100, 0.9996],
  [300, 1],
];

/** Figure 7: average run time of a function in seconds is about log-normal with these parameters of the logarithm. */
export const runTime = { mean: -0.38, sigma: 2.36 } as const;

/** Figure 8: average memory of an application in MB is about Burr (XII) with these parameters. */
export const memory = { c: 11.652, k: 0.221, scale: 107.083 } as const;

/** The value below which `share` lies; straight lines over the logarithm of the value. */
export function quantile(curve: Curve, share: number): number {
  let [lowValue, lowShare] = curve[0]!;
  if (share <= lowShare) return lowValue;
  for (const [value, cumulative] of curve) {
    if (share <= cumulative) {
      const part = (share - lowShare) / (cumulative - lowShare);
      return lowValue * (value / lowValue) ** part;
    }
    [lowValue, lowShare] = [value, cumulative];
  }
  return lowValue;
}
