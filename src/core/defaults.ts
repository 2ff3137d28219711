import type {
  AsyncPolicy,
  CpuSettings,
  ExpressionSettings,
  KpaSettings,
  Limits,
  OpenFaasSettings,
  QueueSettings,
  Scaling,
  ScheduleSettings,
} from "./model.ts";

/** What a function gets that does not say otherwise. */
export const defaultLimits: Limits = {
  memoryMb: 256,
  cpus: 1,
  timeoutMs: 60_000,
  startTimeoutMs: 10_000,
  concurrency: 1,
  processes: 256,
  openFiles: 1024,
  fileSizeMb: 512,
  tmpMb: 128,
  requestBytes: 16 * 2 ** 20,
  responseBytes: 64 * 2 ** 20,
  logBytes: 256 * 2 ** 10,
  queueLength: 1000,
};

export const defaultScaling: Scaling = { min: 0, max: 100, keepAliveMs: 60_000, policy: "demand", weight: 1 };

/** What each policy has in its group of settings. Those of `kpa` and `openfaas` are their peers' defaults. */
export const defaultPolicySettings: {
  readonly kpa: KpaSettings;
  readonly openfaas: OpenFaasSettings;
  readonly queue: QueueSettings;
  readonly cpu: CpuSettings;
  readonly schedule: ScheduleSettings;
  readonly expression: ExpressionSettings;
} = {
  kpa: {
    metric: "concurrency",
    utilizationPercent: 70,
    windowMs: 60_000,
    panicWindowPercent: 10,
    panicThresholdPercent: 200,
    aggregation: "linear",
    targetBurstCapacity: 211,
    activationScale: 0,
    initialScale: 1,
    scaleDownDelayMs: 0,
    maxScaleUpRate: 1000,
    maxScaleDownRate: 2,
    scaleToZero: true,
    graceMs: 30_000,
    retentionMs: 0,
  },
  openfaas: {
    type: "rps",
    target: 50,
    proportion: 0.9,
    zero: false,
    zeroAfterMs: 15 * 60_000,
    downWindowMs: 0,
    factor: 20,
    stepMs: 30_000,
  },
  // KEDA's queue scalers aim at five messages each.
  queue: { target: 5, downWindowMs: 0 },
  // Kubernetes' defaults.
  cpu: { targetPercent: 80, windowMs: 15_000, downWindowMs: 5 * 60_000 },
  schedule: { timezone: "UTC", at: [] },
  expression: { formula: "", downWindowMs: 0 },
};

export const defaultAsync: AsyncPolicy = {
  maxAttempts: 3,
  maxAgeMs: 6 * 3_600_000,
  backoffMs: 500,
  maxBackoffMs: 60_000,
  delivery: "at-least-once",
};

/** The widest that a function may ask for; each has a reason to exist on a machine of a few hundred GB. */
export const widestLimits: Limits = {
  memoryMb: 1_048_576,
  cpus: 256,
  timeoutMs: 24 * 3_600_000,
  startTimeoutMs: 600_000,
  concurrency: 10_000,
  processes: 32_768,
  openFiles: 1_048_576,
  fileSizeMb: 1_048_576,
  tmpMb: 1_048_576,
  requestBytes: 16 * 2 ** 30,
  responseBytes: 16 * 2 ** 30,
  logBytes: 64 * 2 ** 20,
  queueLength: 1_000_000,
};
