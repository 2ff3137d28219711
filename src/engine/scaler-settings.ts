import { z } from "zod";
import type {
  CpuSettings,
  ExpressionSettings,
  KeepAliveSettings,
  KpaSettings,
  OpenFaasSettings,
  QueueSettings,
  ScalingSettings,
  ScheduleSettings,
} from "../core/model.ts";

const whole = (least: number, most: number) =>
  z.number().int("is no whole number").min(least, `is below ${least}`).max(most, `is above ${most}`);
const number = (least: number, most: number) =>
  z.number().min(least, `is below ${least}`).max(most, `is above ${most}`);

type Fields<T> = { [K in keyof T]-?: z.ZodType<NonNullable<T[K]>> };

const oneHourMs = 3_600_000;
const oneDayMs = 24 * oneHourMs;
const mostInstances = 10_000;

/** The bounds of `kpa` are those of Knative's annotations and of its config-autoscaler. */
const kpa: Fields<KpaSettings> = {
  metric: z.enum(["concurrency", "rps"]),
  target: number(0.01, 1_000_000),
  utilizationPercent: number(1, 100),
  windowMs: whole(6000, oneHourMs),
  panicWindowPercent: number(1, 100),
  panicThresholdPercent: number(110, 1000),
  aggregation: z.enum(["linear", "weighted-exponential"]),
  targetBurstCapacity: number(-1, 1_000_000).refine(
    (value) => value === -1 || value >= 0,
    "is neither -1 nor 0 or more",
  ),
  activationScale: whole(0, mostInstances),
  initialScale: whole(0, mostInstances),
  scaleDownDelayMs: whole(0, oneHourMs),
  maxScaleUpRate: number(1.01, 1_000_000),
  maxScaleDownRate: number(1.01, 1_000_000),
  scaleToZero: z.boolean(),
  graceMs: whole(0, oneDayMs),
  retentionMs: whole(0, oneHourMs),
};

const openfaas: Fields<OpenFaasSettings> = {
  type: z.enum(["rps", "capacity", "cpu", "step"]),
  target: number(0.01, 1_000_000),
  proportion: number(0.01, 1),
  zero: z.boolean(),
  zeroAfterMs: whole(1000, 30 * oneDayMs),
  downWindowMs: whole(0, 5 * 60_000),
  factor: whole(0, 100),
  stepMs: whole(1000, oneHourMs),
};

const queue: Fields<QueueSettings> = { target: number(0.01, 1_000_000), downWindowMs: whole(0, oneHourMs) };

const cpu: Fields<CpuSettings> = {
  targetPercent: number(1, 100),
  windowMs: whole(2000, oneHourMs),
  downWindowMs: whole(0, oneHourMs),
};

const schedule: Fields<ScheduleSettings> = {
  timezone: z.string().max(64, "is longer than 64 characters"),
  at: z
    .array(z.strictObject({ cron: z.string().max(256, "is longer than 256 characters"), min: whole(0, mostInstances) }))
    .max(100, "has more than 100 entries"),
};

const expression: Fields<ExpressionSettings> = { formula: z.string(), downWindowMs: whole(0, oneHourMs) };

const keepAlive: Fields<KeepAliveSettings> = {
  policy: z.enum(["learned", "hybrid", "greedy-dual", "fixed"]),
  coldShare: number(0.001, 0.9),
};

/** `settings.scaling`, as far as each field can be judged by itself; `completeScaling` sees the whole. */
export const scalingSettings = z
  .strictObject({
    min: whole(0, mostInstances),
    max: whole(1, mostInstances),
    keepAliveMs: whole(0, oneDayMs),
    weight: number(0.01, 100),
    spare: whole(0, mostInstances),
    keepAlive: z.strictObject(keepAlive).partial(),
    policy: z.enum(["demand", "kpa", "openfaas", "queue", "cpu", "schedule", "expression"]),
    kpa: z.strictObject(kpa).partial(),
    openfaas: z.strictObject(openfaas).partial(),
    queue: z.strictObject(queue).partial(),
    cpu: z.strictObject(cpu).partial(),
    schedule: z.strictObject(schedule).partial(),
    expression: z.strictObject(expression).partial(),
  })
  .partial() satisfies z.ZodType<ScalingSettings>;
