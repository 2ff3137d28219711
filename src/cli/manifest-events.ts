import { createHash } from "node:crypto";
import { z } from "zod";
import { parseFilter } from "./event-options.ts";
import { parseDuration } from "./units.ts";

/** `subscriptions` and `schedule` of a function in `virga.yaml`. */

const text = (description: string) => z.string().min(1).meta({ description });
const pattern = z
  .string()
  .meta({ description: "The value; `a*` begins with, `*a` ends with, `*` is there; with `!` before it the contrary." });

const subscription = z
  .strictObject({
    topic: text("Made where it is not there."),
    name: text("The subscription's name. Default: made of function and topic.").optional(),
    filter: z
      .record(z.string().regex(/^[a-z0-9]+$/, "an attribute's name has lower-case letters and digits"), pattern)
      .optional()
      .meta({ description: "Attributes that must fit, all of them." }),
    path: text("Path and query behind the function's root.").optional(),
    format: z.enum(["binary", "structured", "data"]).optional(),
    order: z
      .union([z.literal(true), z.strictObject({ by: text("In order among events with the same value of it.") })])
      .optional()
      .meta({ description: "true: one delivery after another." }),
    from: z
      .union([z.enum(["newest", "oldest"]), z.int().min(1)])
      .optional()
      .meta({ description: "Of a new one: where it begins. Default: newest." }),
  })
  .meta({ description: "Events of this topic call the function." });

const every = z
  .string()
  .transform((written, context) => {
    const ms = parseDuration(written);
    if (ms !== undefined) return ms;
    context.addIssue({ code: "custom", message: `"${written}" is no duration such as 30s or 1h` });
    return z.NEVER;
  })
  .meta({ description: "An interval, 1s or more.", examples: ["30s", "1h"] });

const catchUp = z
  .enum(["latest", "all", "none"])
  .optional()
  .meta({ description: "Of due times that an outage missed: the newest, all, or none. Default: latest." });
const data = z.unknown().optional().meta({ description: "What the function gets as its body." });

const schedule = z
  .union([
    text('Minute, hour, day of the month, month, day of the week, in UTC: "0 2 * * *".'),
    z.strictObject({ cron: text("As above."), timezone: text("IANA name.").optional(), catchUp, data }),
    z.strictObject({ every, catchUp, data }),
  ])
  .meta({ description: "When the function is called by itself." });

export const eventFields = {
  subscriptions: z.array(subscription).optional().meta({ description: "Topics whose events call the function." }),
  schedule: schedule.optional(),
};

/** A document of the API, by the place where it belongs. */
export interface WantedEventObject {
  readonly kind: "topics" | "subscriptions" | "event-sources";
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What a function's `subscriptions` and `schedule` come to: topics before what names them. */
export function eventObjects(
  fn: string,
  declared: {
    readonly subscriptions?: readonly z.output<typeof subscription>[] | undefined;
    readonly schedule?: z.output<typeof schedule> | undefined;
  },
): WantedEventObject[] {
  const objects: WantedEventObject[] = [];
  for (const { topic, name, filter = {}, path, format, order, from } of declared.subscriptions ?? []) {
    objects.push({ kind: "topics", name: topic, body: {} });
    objects.push({
      kind: "subscriptions",
      name: name ?? joined(fn, topic),
      body: {
        topic,
        target: { function: fn, ...(path === undefined ? {} : { path }) },
        filters: Object.entries(filter).map(([attribute, value]) =>
          parseFilter(value.startsWith("!") ? `!${attribute}=${value.slice(1)}` : `${attribute}=${value}`),
        ),
        format: format ?? "binary",
        ...(order === undefined ? {} : { order: order === true ? {} : order }),
        ...(from === undefined ? {} : { from }),
      },
    });
  }
  if (declared.schedule === undefined) return objects;
  const wanted = typeof declared.schedule === "string" ? { cron: declared.schedule } : declared.schedule;
  const name = joined(fn, "schedule");
  const timer =
    "every" in wanted
      ? { kind: "interval", everyMs: wanted.every }
      : { kind: "schedule", cron: wanted.cron, timezone: ("timezone" in wanted && wanted.timezone) || "UTC" };
  const { catchUp: rule, data: body } = wanted as { catchUp?: string; data?: unknown };
  objects.push(
    { kind: "topics", name, body: {} },
    { kind: "subscriptions", name, body: { topic: name, target: { function: fn }, filters: [], format: "binary" } },
    {
      kind: "event-sources",
      name,
      body: { topic: name, timer, catchUp: rule ?? "latest", event: body === undefined ? {} : { data: body } },
    },
  );
  return objects;
}

/** A name of two, as short as names must be. */
function joined(fn: string, what: string): string {
  const name = `${fn}-${what}`;
  if (name.length <= longestName) return name;
  return `${name.slice(0, longestName - 9)}-${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
}

const longestName = 63;
