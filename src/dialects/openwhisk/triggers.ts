/** `/namespaces/NS/triggers/…` (contract section 1.5). */
import type { WhiskContext } from "./context.ts";
import { checkOverwrite, commonFields, keyValuesOr } from "./document-body.ts";
import type { Rule, Trigger } from "./entities.ts";
import type { Exchange } from "./exchange.ts";
import { sizeLimits } from "./limits.ts";
import { answerList } from "./listing.ts";
import type { Subject } from "./subjects.ts";

export async function listTriggers({ entities }: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const all = await entities.list("trigger", namespace);
  answerList(exchange, "triggers", all, ({ parameters: _parameters, ...trigger }) => ({ ...trigger, limits: {} }));
}

export async function getTrigger(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { document } = await context.entities.get("trigger", { namespace, name });
  exchange.answer(200, await shown(context, document));
}

export async function putTrigger(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { entities, firing, clock } = context;
  const body = await exchange.json(sizeLimits.parameters * 3);
  const before = await entities.before("trigger", { namespace, name });
  checkOverwrite(before !== undefined, exchange.flag("overwrite"));
  const trigger: Trigger = {
    namespace,
    name,
    parameters: keyValuesOr(body["parameters"], "parameters", before?.document.parameters),
    annotations: keyValuesOr(body["annotations"], "annotations", before?.document.annotations),
    ...commonFields(body, before?.document, clock.now()),
  };
  // The topic first: a trigger that can be seen can be fired.
  await firing.putTrigger(trigger);
  await entities.put("trigger", { namespace, name }, trigger, before);
  // Rules of an earlier trigger of this name, which have been waiting.
  if (before === undefined) {
    for (const rule of await context.documents.rulesOf(namespace, name))
      await firing.putRule({ ...rule, status: "inactive" });
  }
  exchange.answer(200, await shown(context, trigger));
}

export async function deleteTrigger(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { entities, firing, documents } = context;
  const before = await entities.get("trigger", { namespace, name });
  const rules = await documents.rulesOf(namespace, name);
  // The document last: what is cut off before can be done again.
  for (const rule of rules) await deactivate(context, rule);
  await firing.deleteTrigger(before.document, rules);
  await entities.delete({ namespace, name }, before);
  exchange.answer(200, await shown(context, before.document));
}

/** 202 with the activation's id; 204 where no rule is active. */
export async function fireTrigger(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
  subject: Subject,
): Promise<void> {
  const { entities, firing, throttles } = context;
  const found = await entities.get("trigger", { namespace, name });
  throttles.fire(namespace, subject);
  const payload = await exchange.json(sizeLimits.payload);
  const headers = Object.fromEntries(
    Object.entries(exchange.request.headers)
      .filter(([header]) => header !== "authorization")
      .map(([header, value]) => [header, Array.isArray(value) ? value.join(", ") : (value ?? "")]),
  );
  const activationId = await firing.fire(found.document, payload, headers);
  if (activationId === undefined) exchange.answerEmpty(204);
  else exchange.answer(202, { activationId }, ["x-openwhisk-activation-id", activationId]);
}

async function deactivate({ entities }: WhiskContext, rule: Rule): Promise<void> {
  const place = { namespace: rule.namespace, name: rule.name };
  const kept = await entities.find("rule", place);
  if (kept !== undefined) await entities.put("rule", place, { ...kept.document, status: "inactive" }, kept);
}

async function shown({ documents }: WhiskContext, trigger: Trigger): Promise<unknown> {
  const rules = await documents.rulesOf(trigger.namespace, trigger.name);
  return {
    ...trigger,
    limits: {},
    rules: Object.fromEntries(
      rules.map(({ namespace, name, action, status }) => [`${namespace}/${name}`, { action, status }]),
    ),
  };
}
