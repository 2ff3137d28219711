import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { defaultLimits } from "../core/defaults.ts";
import { VirgaError } from "../core/errors.ts";
import { policyOf } from "../core/keep-alive/policies.ts";
import type { ScalingPolicy } from "../core/model.ts";
import { completeScaling } from "../core/scaling/settings.ts";
import type { ScalingOutcome } from "../simulator/fleet.ts";
import { reportOf, type ScalingContestant, type ScalingReport, together } from "../simulator/scaling.ts";
import type { SyntheticOptions } from "../simulator/synthetic.ts";

export interface ScalingPolicies {
  /** Names, or `expression:FORMULA`. */
  readonly policies: readonly string[];
  readonly concurrency: number;
  readonly max: number;
}

/** What a thread is given. */
export interface ScalingPart {
  readonly trace: SyntheticOptions;
  readonly policies: ScalingPolicies;
}

/** What it tells: a day that is done, and at the end what each policy came to. */
export type ScalingNews = { readonly day: number } | { readonly outcomes: readonly ScalingOutcome[] };

export const scalingNames = ["demand", "kpa", "openfaas", "queue", "cpu"] as const satisfies ScalingPolicy[];

/** With their policies' defaults, as a function has them that says no more. */
export function scalingContestants({ policies, concurrency, max }: ScalingPolicies): ScalingContestant[] {
  return policies.map((text) => {
    const formula = text.startsWith("expression:") ? text.slice("expression:".length) : undefined;
    const policy = formula === undefined ? scalingNames.find((known) => known === text) : "expression";
    if (policy === undefined) {
      throw new VirgaError("bad_request", `--scaling does not take "${text}"`, {
        field: "scaling",
        fix: `Use ${scalingNames.join(", ")} or expression:FORMULA.`,
      });
    }
    const scaling = completeScaling({ policy, max, ...(formula === undefined ? {} : { expression: { formula } }) });
    return {
      label: text,
      config: { limits: { ...defaultLimits, concurrency }, scaling },
      keepAlive: scaling.keepAlive === undefined ? undefined : policyOf(scaling.keepAlive.policy, scalingKeep),
    };
  });
}

/**
 * Replays a synthetic trace on all processors: functions do not know of each other, so each thread makes and replays a part
 * of them. `onShare` hears how much is done.
 */
export async function simulateInParts(
  trace: SyntheticOptions,
  policies: ScalingPolicies,
  signal: AbortSignal,
  onShare: (share: number) => void,
): Promise<ScalingReport[]> {
  const labels = scalingContestants(policies).map(({ label }) => label);
  const threads = availableParallelism();
  // Some functions have a thousand times the calls of others: with more parts than threads none waits long for the last one.
  const of = threads * partsOfThread;
  const parts: (readonly ScalingOutcome[])[] = [];
  let daysDone = 0;
  let next = 0;
  const thread = async (): Promise<void> => {
    while (next < of) {
      const index = next++;
      parts[index] = await runPart({ trace: { ...trace, part: { index, of } }, policies }, signal, () =>
        onShare(++daysDone / (trace.days * of)),
      );
    }
  };
  await Promise.all(Array.from({ length: threads }, thread));
  return labels.map((label, index) => reportOf(label, together(parts.map((outcomes) => outcomes[index]!)), trace.days));
}

async function runPart(part: ScalingPart, signal: AbortSignal, onDay: () => void): Promise<readonly ScalingOutcome[]> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<readonly ScalingOutcome[]>();
  const file = new URL(`./scaling-simulation-part${extname(import.meta.filename)}`, import.meta.url);
  const worker = new Worker(file, { workerData: part });
  const abort = (): void => {
    void worker.terminate();
    reject(signal.reason as Error);
  };
  signal.addEventListener("abort", abort);
  worker.on("message", (news: ScalingNews) => {
    if ("outcomes" in news) resolve(news.outcomes);
    else onDay();
  });
  worker.on("error", reject);
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

const scalingKeep = { keepMs: 60_000 };
const partsOfThread = 4;
