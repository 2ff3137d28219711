import type { ScalingSettings } from "../../core/model.ts";
import { durationMs } from "./deployment.ts";
import { FaasError } from "./errors.ts";

export interface ScaleLabels {
  readonly min: number;
  readonly max: number;
  readonly factor: number;
  readonly settings: ScalingSettings;
}

/**
 * `com.openfaas.scale.…` on the engine's policy of OpenFaaS's rules (contract section 1). `defaultMax`: where no label names a maximum.
 * Throws 400, naming the label.
 */
export function readScaleLabels(labels: Readonly<Record<string, string>> = {}, defaultMax: number): ScaleLabels {
  const value = (name: string): string | undefined => {
    const text = labels[prefix + name]?.trim();
    return text === "" ? undefined : text;
  };
  const amount = (name: string, least: number, fallback: number, isWhole: boolean): number => {
    const text = value(name);
    if (text === undefined) return fallback;
    const number = Number(text);
    if (Number.isFinite(number) && number >= least && (!isWhole || Number.isInteger(number))) return number;
    throw wrong(name, text, `a ${isWhole ? "whole " : ""}number from ${least} on`);
  };
  const type = value("type") ?? "rps";
  if (!types.has(type)) throw wrong("type", type, [...types].join(", "));
  const zero = (value("zero") ?? "false").toLowerCase();
  if (zero !== "true" && zero !== "false") throw wrong("zero", zero, "true or false");
  const isZero = zero === "true";
  const max = Math.max(1, amount("max", 0, defaultMax, true));
  const min = amount("min", 0, 1, true);
  if (min > max) throw wrong("min", String(min), `at most ${prefix}max, which is ${max}`);
  const proportion = amount("target-proportion", 0, 0.9, false);
  if (proportion === 0) throw wrong("target-proportion", "0", "above 0");
  const target = amount("target", 0, 50, false);
  if (target === 0) throw wrong("target", "0", "above 0");
  const downWindowMs = Math.min(durationOf("down.window", value("down.window"), 0), longestDownWindowMs);
  const factor = amount("factor", 0, 20, false);
  return {
    min,
    max,
    factor,
    settings: {
      // What may be at zero has no floor; the rules themselves keep one instance under load.
      min: isZero ? 0 : Math.max(1, min),
      max,
      policy: type === "queue" ? "queue" : "openfaas",
      ...(type === "queue"
        ? { queue: { target, downWindowMs } }
        : {
            openfaas: {
              type: type as "rps" | "capacity" | "cpu",
              target,
              proportion,
              zero: isZero,
              zeroAfterMs: durationOf("zero-duration", value("zero-duration"), 15 * 60_000),
              downWindowMs,
              factor,
            },
          }),
    },
  };
}

function durationOf(name: string, text: string | undefined, fallback: number): number {
  return text === undefined ? fallback : durationMs(text, prefix + name);
}

function wrong(name: string, text: string, wanted: string): FaasError {
  return new FaasError(400, `label ${prefix}${name}: ${JSON.stringify(text)} is not ${wanted}`);
}

const prefix = "com.openfaas.scale.";
const types = new Set(["rps", "capacity", "cpu", "queue"]);
const longestDownWindowMs = 5 * 60_000;
