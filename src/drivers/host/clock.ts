import { randomBytes } from "node:crypto";
import type { Chance, Clock } from "../../ports/clock.ts";

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

export const systemChance: Chance = {
  random: () => Math.random(),
  bytes: (length) => randomBytes(length),
};
