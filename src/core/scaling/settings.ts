import { defaultPolicySettings, defaultScaling } from "../defaults.ts";
import { VirgaError } from "../errors.ts";
import type { KeepAliveSettings, Scaling, ScalingPolicy, ScalingSettings } from "../model.ts";
import { parseExpression } from "./expression.ts";
import { parseSchedule } from "./schedule.ts";

/**
 * Settings with every default filled in; the group of the policy that is used, and no other.
 * Throws `invalid_field` for what contradicts itself, naming the field.
 */
export function completeScaling(given: ScalingSettings | undefined): Scaling {
  const policy = given?.policy ?? defaultScaling.policy;
  const scaling: Scaling = {
    min: given?.min ?? defaultScaling.min,
    max: given?.max ?? defaultScaling.max,
    keepAliveMs: given?.keepAliveMs ?? defaultScaling.keepAliveMs,
    policy,
    weight: given?.weight ?? defaultScaling.weight,
    ...spareOf(policy, given?.spare),
    ...keepAliveOf(policy, given),
    ...(policy === "demand" ? {} : { [policy]: over(defaultPolicySettings[policy], given?.[policy]) }),
  };
  for (const group of policyGroups) {
    if (group === policy || given?.[group] === undefined) continue;
    throw wrong(group, `is there, but the policy is ${policy}`, `set scaling.policy to ${group}, or take it out`);
  }
  if (scaling.min > scaling.max) {
    throw new VirgaError("invalid_field", `a minimum of ${scaling.min} is above the maximum of ${scaling.max}`, {
      field: "settings.scaling.min",
      fix: "lower scaling.min or raise scaling.max",
    });
  }
  checkPolicy(scaling);
  return scaling;
}

function spareOf(policy: ScalingPolicy, spare = 0): { spare?: number } {
  if (spare === 0) return {};
  if (policy === "demand" || policy === "schedule") return { spare };
  throw wrong("spare", `is there, but the policy is ${policy}`, "take it out: that policy says how many there are");
}

/** Whoever names a time means that time; whoever names nothing gets the policy that learns. */
function keepAliveOf(policy: ScalingPolicy, given: ScalingSettings | undefined): { keepAlive?: KeepAliveSettings } {
  if (policy !== "demand" && policy !== "schedule") {
    if (given?.keepAlive === undefined) return {};
    throw wrong("keepAlive", `is there, but the policy is ${policy}`, "take it out: that policy says who stays");
  }
  const { policy: name = given?.keepAliveMs === undefined ? "learned" : "fixed", coldShare } = given?.keepAlive ?? {};
  if (coldShare !== undefined && name !== "learned") {
    throw wrong("keepAlive.coldShare", `is there, but the policy is ${name}`, "set keepAlive.policy to learned");
  }
  return { keepAlive: { policy: name, ...(coldShare === undefined ? {} : { coldShare }) } };
}

function checkPolicy({ min, max, kpa, openfaas, schedule, expression }: Scaling): void {
  if (kpa !== undefined) {
    if (kpa.windowMs % 1000 !== 0) throw wrong("kpa.windowMs", "is no whole number of seconds", "use 60000, say");
    if (kpa.initialScale > max) throw wrong("kpa.initialScale", `is above the maximum of ${max}`, "lower it");
    if (kpa.activationScale === 1) throw wrong("kpa.activationScale", "is 1", "use 2 or more, or 0 for none");
    if (kpa.activationScale > max) throw wrong("kpa.activationScale", `is above the maximum of ${max}`, "lower it");
    if (kpa.activationScale > 0 && kpa.activationScale < min) {
      throw wrong("kpa.activationScale", `is below the minimum of ${min}`, "raise it, or take it out");
    }
  }
  if (openfaas?.zero === true && min > 0) {
    throw wrong("openfaas.zero", `is true, but the minimum is ${min}`, "set scaling.min to 0, or take it out");
  }
  if (schedule !== undefined) {
    if (schedule.at.length === 0) throw wrong("schedule.at", "has no entry", "name a cron expression and its min");
    for (const [index, entry] of schedule.at.entries()) {
      located(`schedule.at.${index}.cron`, () => parseSchedule({ ...schedule, timezone: "UTC", at: [entry] }));
      if (entry.min > max) throw wrong(`schedule.at.${index}.min`, `is above the maximum of ${max}`, "lower it");
    }
    located("schedule.timezone", () => parseSchedule({ ...schedule, at: [] }));
  }
  if (expression !== undefined) located("expression.formula", () => parseExpression(expression.formula));
}

/** Runs a parser and adds the field to what it throws. */
function located(field: string, parse: () => unknown): void {
  try {
    parse();
  } catch (thrown) {
    if (!(thrown instanceof VirgaError)) throw thrown;
    throw new VirgaError(thrown.code, `settings.scaling.${field}, ${thrown.message}`, {
      ...thrown.detail,
      field: `settings.scaling.${field}`,
    });
  }
}

function wrong(field: string, problem: string, fix: string): VirgaError {
  return new VirgaError("invalid_field", `settings.scaling.${field} ${problem}`, {
    field: `settings.scaling.${field}`,
    fix,
  });
}

function over<T extends object>(defaults: T, given: Partial<T> | undefined): T {
  const result = { ...defaults };
  for (const key in given) {
    if (given[key] !== undefined) result[key] = given[key];
  }
  return result;
}

const policyGroups = Object.keys(defaultPolicySettings) as (keyof typeof defaultPolicySettings)[];
