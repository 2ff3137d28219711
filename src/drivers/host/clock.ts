import { randomBytes } from "node:crypto";
import type { Chance, Clock } from "../../ports/clock.ts";

/** Node's timers take 31 bits and fire at once above. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, action) {
    let timer: NodeJS.Timeout;
    const wait = (ms: number): void => {
      timer = ms > longestTimerMs ? setTimeout(wait, longestTimerMs, ms - longestTimerMs) : setTimeout(action, ms);
      timer.unref();
    };
    wait(delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

export const systemChance: Chance = {
  random: () => Math.random(),
  bytes: (length) => randomBytes(length),
};
