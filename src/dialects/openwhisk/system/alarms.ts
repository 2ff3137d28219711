/**
 * What the feeds of `/whisk.system/alarms` ask for: a timer on a trigger's topic. They are actions as any other, and come here
 * with the key of the trigger's owner. Each due time fires once, across restarts; of those that an outage of more than 30 s
 * missed, the newest does (`strict: true`: all).
 */
import type { Source } from "../../../core/events/model.ts";
import { dueTimes, type Timer } from "../../../core/events/timer.ts";
import { asVirgaError } from "../../../core/errors.ts";
import type { Json } from "../../../core/workflow/definition.ts";
import type { WantedSource, WantedTimer } from "../../../engine/events.ts";
import type { WhiskContext } from "../context.ts";
import type { Trigger } from "../entities.ts";
import { malformed, notFound, WhiskError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { defaultsOf } from "../fire.ts";
import { sizeLimits } from "../limits.ts";
import { engineName, engineNamespace, isEntityName } from "../names.ts";

/** `trigger` is what stands behind `/api/v1/alarms/`. */
export async function serveAlarms(context: WhiskContext, exchange: Exchange, given: string): Promise<void> {
  const subject = context.subjects.authenticate(exchange.header("authorization"));
  if (subject === undefined) throw new WhiskError(401, "The supplied authentication is invalid.");
  const name = nameOf(given);
  if (name === undefined) throw notFound();
  const { namespace } = subject;
  const { sources } = context.engine.events;
  const own = { namespace: engineNamespace(namespace), name: engineName({ namespace, name }, namespace) };
  switch (exchange.method) {
    case "PUT": {
      const trigger = await context.entities.find("trigger", { namespace, name });
      if (trigger === undefined) throw notFound();
      const wanted = sourceOf(await exchange.json(sizeLimits.payload), trigger.document, context.clock.now());
      const source = await sources.put({ ...own, topic: own.name, ...wanted }).catch((thrown: unknown) => {
        throw inFeedWords(thrown);
      });
      exchange.answer(200, shown(source));
      return;
    }
    case "POST": {
      const { active } = await exchange.json(sizeLimits.payload);
      if (typeof active !== "boolean") throw malformed("active is neither true nor false.");
      const source = await sources.get(own.namespace, own.name);
      if (source === undefined) throw notFound();
      // One that is resumed begins anew: what was due meanwhile does not fire.
      exchange.answer(200, shown(await sources.put({ ...source, enabled: active })));
      return;
    }
    case "GET": {
      const source = await sources.get(own.namespace, own.name);
      if (source === undefined) throw notFound();
      exchange.answer(200, { ...shown(source), status: statusOf(source, source.status) });
      return;
    }
    case "DELETE":
      if (!(await sources.delete(own.namespace, own.name))) throw notFound();
      exchange.answer(200, {});
      return;
    default:
      throw new WhiskError(405, "Alarms take GET, PUT, POST and DELETE.");
  }
}

/** The engine's refusal of a timer, with the feed's parameter that it is about. */
function inFeedWords(thrown: unknown): unknown {
  const { code, message, detail } = asVirgaError(thrown);
  const parameter = parameters[detail.field?.split(".").at(-1) ?? ""];
  return code === "invalid_field" && parameter !== undefined ? malformed(`${parameter}: ${message}`) : thrown;
}

/** By the last part of the engine's field. */
const parameters: Readonly<Record<string, string>> = {
  cron: "cron",
  timezone: "timezone",
  everyMs: "minutes",
  startAt: "startDate",
  endAt: "stopDate",
  at: "date",
  data: "trigger_payload",
};

/** Undefined for what is none, as where a percent sign begins no character. */
function nameOf(given: string): string | undefined {
  try {
    const name = decodeURIComponent(given);
    return isEntityName(name) ? name : undefined;
  } catch {
    return undefined;
  }
}

/** The extension attribute that says what becomes of a trigger that has fired for good. */
const deleteAfterFire = "deleteafterfire";

/** After a trigger's only fire: it goes, and with `rules` its rules go too. Resolves at once where that was not asked for. */
export async function deleteFired(
  context: WhiskContext,
  trigger: Trigger,
  { event, sequence }: { readonly event: Readonly<Record<string, unknown>>; readonly sequence: number },
): Promise<void> {
  const wanted = event[deleteAfterFire];
  if (wanted !== "true" && wanted !== "rules") return;
  const { entities, documents, firing, engine } = context;
  const place = { namespace: trigger.namespace, name: trigger.name };
  const own = engineNamespace(trigger.namespace);
  const rules = await documents.rulesOf(trigger.namespace, trigger.name);
  for (const rule of rules)
    await handedOver(
      context,
      own,
      engineName({ namespace: rule.namespace, name: rule.name }, rule.namespace),
      sequence,
    );
  await engine.events.sources.delete(own, engineName(place, trigger.namespace));
  const kept = await entities.find("trigger", place);
  if (kept !== undefined) await entities.delete(place, kept);
  await firing.deleteTrigger(trigger, rules);
  if (wanted !== "rules") return;
  for (const rule of rules) {
    const there = await entities.find("rule", { namespace: rule.namespace, name: rule.name });
    if (there !== undefined) await entities.delete({ namespace: rule.namespace, name: rule.name }, there);
  }
}

/** Until a subscription has passed the event: then its call is accepted. */
async function handedOver(
  { engine, clock }: WhiskContext,
  namespace: string,
  name: string,
  sequence: number,
): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const found = await engine.events.subscriptions.get(namespace, name);
    if (found === undefined || !found.enabled || found.status.sequence >= sequence) return;
    await new Promise<void>((resolve) => clock.after(200, resolve));
  }
}

function sourceOf(
  body: Readonly<Record<string, Json>>,
  trigger: Trigger,
  now: number,
): Omit<WantedSource, "namespace" | "name" | "topic"> {
  const payload = payloadOf(body["trigger_payload"]);
  const after = body["kind"] === "once" ? afterFire(body["deleteAfterFire"]) : undefined;
  const strict = body["strict"] === true || body["strict"] === "true";
  return {
    timer: limited(timerOf(body, now), body["maxTriggers"], now),
    catchUp: strict ? "all" : "latest",
    event: {
      type: "org.apache.openwhisk.alarm",
      data: { ...defaultsOf(trigger), ...payload },
      ...(after === undefined ? {} : { extensions: { [deleteAfterFire]: after } }),
    },
    enabled: true,
  };
}

function timerOf(body: Readonly<Record<string, Json>>, now: number): WantedTimer {
  const startAt = dateOf(body["startDate"], "startDate");
  const endAt = dateOf(body["stopDate"], "stopDate");
  const bounds = { ...(startAt === undefined ? {} : { startAt }), ...(endAt === undefined ? {} : { endAt }) };
  switch (body["kind"]) {
    case "alarm": {
      const { cron, timezone } = body;
      if (typeof cron !== "string") throw malformed("alarms trigger feed is missing the cron parameter.");
      return { kind: "schedule", cron, ...(typeof timezone === "string" ? { timezone } : {}), ...bounds };
    }
    case "interval": {
      const minutes = Number(body["minutes"]);
      if (!Number.isFinite(minutes) || minutes <= 0) {
        throw malformed("interval trigger feed is missing the minutes parameter, or it is no positive number.");
      }
      return { kind: "interval", everyMs: Math.round(minutes * 60_000), ...bounds };
    }
    case "once": {
      const at = dateOf(body["date"], "date");
      if (at === undefined) throw malformed("once trigger feed is missing the date parameter.");
      if (at <= now) throw malformed(`the date ${new Date(at).toISOString()} is in the past.`);
      return { kind: "once", at };
    }
    default:
      throw malformed("kind is none of alarm, interval and once.");
  }
}

/** `maxTriggers` as the due time of the last one. */
function limited(timer: WantedTimer, given: Json | undefined, now: number): WantedTimer {
  const most = given === undefined || given === null ? Number.NaN : Number(given);
  if (!Number.isInteger(most) || most < 1 || most > mostCounted || timer.kind === "once") return timer;
  const complete =
    timer.kind === "interval"
      ? { ...timer, startAt: timer.startAt ?? now + timer.everyMs }
      : { timezone: "UTC", ...timer };
  const times = dueTimes(complete);
  let last: number | undefined;
  let due = times.next(now);
  for (let index = 0; index < most && due !== undefined; index++) {
    last = due;
    due = times.next(due);
  }
  return last === undefined ? timer : { ...complete, endAt: last };
}

const mostCounted = 10_000;

function payloadOf(given: Json | undefined): Readonly<Record<string, Json>> {
  if (given === undefined || given === null || given === "") return {};
  let payload: Json = given;
  if (typeof given === "string") {
    try {
      payload = JSON.parse(given) as Json;
    } catch {
      // A text that is no JSON is a payload too.
      payload = { payload: given };
    }
  }
  return typeof payload === "object" && payload !== null && !Array.isArray(payload)
    ? (payload as Readonly<Record<string, Json>>)
    : { payload };
}

function afterFire(given: Json | undefined): string | undefined {
  if (given === undefined || given === null || given === false || given === "false") return undefined;
  if (given === true || given === "true") return "true";
  if (given === "rules") return "rules";
  throw malformed("deleteAfterFire is none of false, true and rules.");
}

/** An ISO date, or milliseconds since the epoch. */
function dateOf(given: Json | undefined, field: string): number | undefined {
  if (given === undefined || given === null || given === "") return undefined;
  const text = typeof given === "string" ? given : JSON.stringify(given);
  const at = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isFinite(at)) return at;
  throw malformed(`${field} ${JSON.stringify(given)} is no date such as 2026-12-31T23:59:00.000Z.`);
}

/** In the words of the feeds' parameters: clients export a trigger by what it answers, and make it anew from that. */
function shown({ namespace, name, timer, catchUp, event }: Source): Record<string, unknown> {
  const after = event.extensions?.[deleteAfterFire];
  return {
    config: {
      name,
      namespace,
      ...timerShown(timer),
      ...(timer.startAt === undefined ? {} : { startDate: new Date(timer.startAt).toISOString() }),
      ...(timer.endAt === undefined ? {} : { stopDate: new Date(timer.endAt).toISOString() }),
      ...(catchUp === "all" ? { strict: true } : {}),
      ...(after === undefined ? {} : { deleteAfterFire: after }),
      trigger_payload: event.data ?? {},
    },
  };
}

function timerShown(timer: Timer): Record<string, unknown> {
  switch (timer.kind) {
    case "schedule":
      return { cron: timer.cron, timezone: timer.timezone };
    case "interval":
      return { minutes: timer.everyMs / 60_000 };
    case "once":
      return { date: new Date(timer.at).toISOString() };
  }
}

function statusOf(
  { enabled, updatedAt }: Source,
  { nextDueAt, problem }: { nextDueAt?: number; problem?: string },
): unknown {
  return {
    active: enabled && nextDueAt !== undefined,
    dateChanged: new Date(updatedAt).toISOString(),
    ...(nextDueAt === undefined ? {} : { nextDue: new Date(nextDueAt).toISOString() }),
    ...(problem === undefined ? {} : { reason: { message: problem } }),
  };
}
