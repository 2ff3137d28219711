import { VirgaError } from "../errors.ts";
import { quote } from "../names.ts";
import { attributeOf, type CloudEvent, isAttributeName } from "./event.ts";

/**
 * A condition on an event's attributes, as the CloudEvents Subscriptions API (section 3.2.4) and Knative's triggers have it.
 * Of `exact`, `prefix` and `suffix` each attribute named must be there and fit; an empty prefix asks only that it is there.
 */
export type Filter =
  | { readonly exact: Readonly<Record<string, string>> }
  | { readonly prefix: Readonly<Record<string, string>> }
  | { readonly suffix: Readonly<Record<string, string>> }
  | { readonly all: readonly Filter[] }
  | { readonly any: readonly Filter[] }
  | { readonly not: Filter };

export interface FilterVerdict {
  readonly passes: boolean;
  readonly reason: string;
}

/** Whether an event passes all of the filters, and which one decided. */
export function passes(filters: readonly Filter[], event: CloudEvent): FilterVerdict {
  return filters.length === 0 ? { passes: true, reason: "there is no filter" } : passesAll(filters, event);
}

/** Filters as they were written. Throws `invalid_field` with the path of what is wrong. */
export function checkFilters(given: unknown, field = "filters"): Filter[] {
  return checkList(given, field, 0);
}

function verdictOf(filter: Filter, event: CloudEvent): FilterVerdict {
  if ("exact" in filter) return compare(filter.exact, event, "is", (value, wanted) => value === wanted);
  if ("prefix" in filter)
    return compare(filter.prefix, event, "begins with", (value, start) => value.startsWith(start));
  if ("suffix" in filter) return compare(filter.suffix, event, "ends with", (value, end) => value.endsWith(end));
  if ("all" in filter) return passesAll(filter.all, event);
  if ("any" in filter) return passesAny(filter.any, event);
  const { passes: refused, reason } = verdictOf(filter.not, event);
  return { passes: !refused, reason: `not: ${reason}` };
}

function passesAll(filters: readonly Filter[], event: CloudEvent): FilterVerdict {
  const reasons: string[] = [];
  for (const filter of filters) {
    const verdict = verdictOf(filter, event);
    if (!verdict.passes) return verdict;
    reasons.push(verdict.reason);
  }
  return { passes: true, reason: reasons.join(" and ") };
}

function passesAny(filters: readonly Filter[], event: CloudEvent): FilterVerdict {
  const reasons: string[] = [];
  for (const filter of filters) {
    const verdict = verdictOf(filter, event);
    if (verdict.passes) return verdict;
    reasons.push(verdict.reason);
  }
  return { passes: false, reason: reasons.join(" and ") };
}

function compare(
  attributes: Readonly<Record<string, string>>,
  event: CloudEvent,
  verb: string,
  fits: (value: string, wanted: string) => boolean,
): FilterVerdict {
  const reasons: string[] = [];
  for (const [name, wanted] of Object.entries(attributes)) {
    const value = attributeOf(event, name);
    if (value === undefined) return { passes: false, reason: `it has no ${name}` };
    if (!fits(value, wanted)) {
      return { passes: false, reason: `${name} is ${quote(value)}; wanted: ${verb} ${quote(wanted)}` };
    }
    reasons.push(`${name} ${verb} ${quote(wanted)}`);
  }
  return { passes: true, reason: reasons.join(" and ") };
}

function checkList(given: unknown, field: string, depth: number): Filter[] {
  if (!Array.isArray(given)) throw wrong(field, "is no list of filters");
  if (given.length > mostFilters) throw wrong(field, `has more than ${mostFilters} filters`);
  return given.map((filter, index) => checkFilter(filter, `${field}.${index}`, depth));
}

function checkFilter(given: unknown, field: string, depth: number): Filter {
  if (depth > deepest) throw wrong(field, `is nested more than ${deepest} deep`);
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw wrong(field, "is no filter");
  const [entry, ...more] = Object.entries(given) as [string, unknown][];
  if (entry === undefined || more.length > 0)
    throw wrong(field, `has ${more.length + (entry ? 1 : 0)} keys instead of 1`);
  const [kind, value] = entry;
  const inner = `${field}.${kind}`;
  switch (kind) {
    case "exact":
      return { exact: checkAttributes(value, inner) };
    case "prefix":
      return { prefix: checkAttributes(value, inner) };
    case "suffix":
      return { suffix: checkAttributes(value, inner) };
    case "all":
      return { all: checkMembers(value, inner, depth) };
    case "any":
      return { any: checkMembers(value, inner, depth) };
    case "not":
      return { not: checkFilter(value, inner, depth + 1) };
    default:
      throw wrong(inner, "is no kind of filter");
  }
}

function checkMembers(given: unknown, field: string, depth: number): Filter[] {
  const members = checkList(given, field, depth + 1);
  if (members.length === 0) throw wrong(field, "is empty");
  return members;
}

function checkAttributes(given: unknown, field: string): Record<string, string> {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw wrong(field, "is no map of attributes");
  const entries = Object.entries(given) as [string, unknown][];
  if (entries.length === 0) throw wrong(field, "is empty");
  if (entries.length > mostFilters) throw wrong(field, `has more than ${mostFilters} attributes`);
  for (const [name, value] of entries) {
    if (!isAttributeName(name))
      throw wrong(`${field}.${name}`, "is no attribute's name: lower-case letters and digits");
    if (typeof value !== "string") throw wrong(`${field}.${name}`, "is no text");
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

function wrong(field: string, problem: string): VirgaError {
  return new VirgaError("invalid_field", `${field} ${problem}`, {
    field,
    fix: 'write one of exact, prefix, suffix, all, any, not, such as { "exact": { "type": "order.placed" } }',
  });
}

const deepest = 16;
const mostFilters = 64;
