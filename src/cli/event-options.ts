/** What the commands about events take on the command line. */
import { VirgaError } from "../core/errors.ts";
import type { Filter } from "../core/events/filter.ts";
import { parseDuration } from "./units.ts";

export function durationOption(option: string, text: string | undefined): number | undefined {
  const ms = text === undefined ? undefined : parseDuration(text);
  if (text === undefined || ms !== undefined) return ms;
  throw new VirgaError("bad_request", `--${option} takes a duration such as 30s, 12h or 7d, not "${text}"`, {
    field: option,
  });
}

/** `type=a`, `type=a*`, `type=*a`, `type=*` (it is there); with `!` before it the contrary. */
export function parseFilter(text: string): Filter {
  const [, not, name, value] = /^(!?)([a-z0-9]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw new VirgaError("bad_request", `--filter takes attribute=value, not "${text}"`, {
      field: "filter",
      fix: "such as type=order.placed, type=order.*, type=*.paid or !type=order.test",
    });
  }
  const filter: Filter = value.endsWith("*")
    ? { prefix: { [name]: value.slice(0, -1) } }
    : value.startsWith("*")
      ? { suffix: { [name]: value.slice(1) } }
      : { exact: { [name]: value } };
  return not === "!" ? { not: filter } : filter;
}

/** A filter as a person reads it. */
export function filterText(filter: Filter): string {
  if ("exact" in filter) return pairs(filter.exact, (value) => value);
  if ("prefix" in filter) return pairs(filter.prefix, (value) => `${value}*`);
  if ("suffix" in filter) return pairs(filter.suffix, (value) => `*${value}`);
  if ("all" in filter) return `(${filter.all.map(filterText).join(" and ")})`;
  if ("any" in filter) return `(${filter.any.map(filterText).join(" or ")})`;
  return `!${filterText(filter.not)}`;
}

function pairs(attributes: Readonly<Record<string, string>>, show: (value: string) => string): string {
  return Object.entries(attributes)
    .map(([name, value]) => `${name}=${show(value)}`)
    .join(" and ");
}
