import { VirgaError } from "./errors.ts";
import type { TrafficTarget } from "./model.ts";
import { checkName } from "./names.ts";

/** Throws `invalid_field` where targets are no whole split of a function's calls. That the revisions exist is the registry's to know. */
export function checkTraffic(targets: readonly TrafficTarget[]): void {
  if (targets.length === 0) {
    throw new VirgaError("invalid_field", "traffic names no revision", {
      field: "targets",
      fix: "name at least one revision with weight 100",
    });
  }
  const tags = new Set<string>();
  const untagged = new Set<number>();
  let sum = 0;
  for (const [index, target] of targets.entries()) {
    const field = `targets.${index}`;
    if (!Number.isInteger(target.revision) || target.revision < 1) {
      throw new VirgaError("invalid_field", `${target.revision} is no revision number`, {
        field: `${field}.revision`,
        fix: "use a whole number from 1",
      });
    }
    if (!Number.isInteger(target.weight) || target.weight < 0 || target.weight > 100) {
      throw new VirgaError("invalid_field", `a weight of ${target.weight} is not in 0–100`, {
        field: `${field}.weight`,
        fix: "use a whole number of percent",
      });
    }
    sum += target.weight;
    if (target.tag === undefined) {
      if (untagged.has(target.revision)) {
        throw new VirgaError("invalid_field", `revision ${target.revision} is named twice`, {
          field: `${field}.revision`,
          fix: "give its whole share in one target",
        });
      }
      if (target.weight === 0) {
        throw new VirgaError("invalid_field", `revision ${target.revision} has no weight and no tag`, {
          field: `${field}.weight`,
          fix: "give it a weight or a tag, or leave it out",
        });
      }
      untagged.add(target.revision);
      continue;
    }
    checkName(target.tag, `${field}.tag`, "tag");
    if (tags.has(target.tag)) {
      throw new VirgaError("invalid_field", `tag ${target.tag} is given twice`, {
        field: `${field}.tag`,
        fix: "a tag reaches one revision",
      });
    }
    tags.add(target.tag);
  }
  if (sum !== 100) {
    throw new VirgaError("invalid_field", `the weights add up to ${sum}, not 100`, {
      field: "targets",
      fix: "make the weights add up to 100",
    });
  }
}

/** All calls to one revision; tags stay where they are. */
export function allTo(revision: number, before: readonly TrafficTarget[]): TrafficTarget[] {
  const targets: TrafficTarget[] = [];
  let placed = false;
  for (const target of before) {
    if (target.tag === undefined) continue;
    const takes: boolean = target.revision === revision && !placed;
    placed ||= takes;
    targets.push({ revision: target.revision, weight: takes ? 100 : 0, tag: target.tag });
  }
  if (!placed) targets.unshift({ revision, weight: 100 });
  return targets;
}

/** Moves a tag to a revision. Whoever had it keeps its weight. */
export function tagged(tag: string, revision: number, before: readonly TrafficTarget[]): TrafficTarget[] {
  const targets: TrafficTarget[] = [];
  for (const target of before) {
    if (target.tag !== tag) targets.push(target);
    else if (target.weight > 0) targets.push({ revision: target.revision, weight: target.weight });
  }
  const bare = targets.findIndex((target) => target.revision === revision && target.tag === undefined);
  if (bare >= 0) targets[bare] = { revision, weight: targets[bare]!.weight, tag };
  else targets.push({ revision, weight: 0, tag });
  return mergedWeights(targets);
}

/** The revision that has most traffic; among equals the newest. Undefined for no traffic at all. */
export function mainRevision(targets: readonly TrafficTarget[]): number | undefined {
  const weights = new Map<number, number>();
  for (const { revision, weight } of targets) weights.set(revision, (weights.get(revision) ?? 0) + weight);
  let best: number | undefined;
  for (const [revision, weight] of weights) {
    if (weight === 0) continue;
    if (best === undefined || weight > weights.get(best)! || (weight === weights.get(best)! && revision > best)) {
      best = revision;
    }
  }
  return best;
}

/** Upper ends of the targets' shares in [0, 1), for `share`. Targets without weight have none. */
export interface Shares {
  readonly revisions: readonly number[];
  readonly ends: readonly number[];
}

export function sharesOf(targets: readonly TrafficTarget[]): Shares {
  const revisions: number[] = [];
  const ends: number[] = [];
  let sum = 0;
  for (const { revision, weight } of targets) {
    if (weight === 0) continue;
    sum += weight;
    revisions.push(revision);
    ends.push(sum / 100);
  }
  return { revisions, ends };
}

/** The index of the share that `pick`, uniform in [0, 1), falls into. */
export function shareAt(ends: readonly number[], pick: number): number {
  let index = 0;
  while (index < ends.length - 1 && pick >= ends[index]!) index++;
  return index;
}

/** Two bare targets of one revision, which moving a tag may leave, become one. */
function mergedWeights(targets: readonly TrafficTarget[]): TrafficTarget[] {
  const merged: TrafficTarget[] = [];
  for (const target of targets) {
    const twin =
      target.tag === undefined
        ? merged.findIndex((other) => other.tag === undefined && other.revision === target.revision)
        : -1;
    if (twin < 0) merged.push(target);
    else merged[twin] = { revision: target.revision, weight: merged[twin]!.weight + target.weight };
  }
  return merged;
}
