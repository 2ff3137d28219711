/** `/namespaces/NS/rules/…` (contract section 1.5). */
import type { Json } from "../../core/workflow/definition.ts";
import type { WhiskContext } from "./context.ts";
import { checkOverwrite, commonFields, keyValuesOr } from "./document-body.ts";
import type { EntityPath, Rule } from "./entities.ts";
import { malformed, notFound, WhiskError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { sizeLimits } from "./limits.ts";
import { answerList } from "./listing.ts";
import { type QualifiedName, readReference } from "./names.ts";
import { resolveAction } from "./resolution.ts";

export async function listRules({ entities }: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  answerList(exchange, "rules", await entities.list("rule", namespace), ({ status: _status, ...rule }) => rule);
}

export async function getRule(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  exchange.answer(200, (await context.entities.get("rule", { namespace, name })).document);
}

export async function putRule(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { entities, firing, clock } = context;
  const body = await exchange.json(sizeLimits.parameters * 2);
  const before = await entities.before("rule", { namespace, name });
  checkOverwrite(before !== undefined, exchange.flag("overwrite"));
  const trigger = readPath(body["trigger"], namespace, "trigger") ?? before?.document.trigger;
  const action = readPath(body["action"], namespace, "action") ?? before?.document.action;
  if (trigger === undefined) throw malformed("a rule needs a trigger.");
  if (action === undefined) throw malformed("a rule needs an action.");
  if (trigger.path !== namespace || (await entities.find("trigger", { namespace, name: trigger.name })) === undefined) {
    throw new WhiskError(400, `The trigger '/${trigger.path}/${trigger.name}' does not exist.`);
  }
  await checkAction(context, action, namespace);
  const rule: Rule = {
    namespace,
    name,
    // A new one is active; a change of it leaves it as it is.
    status: before?.document.status ?? "active",
    trigger,
    action,
    annotations: keyValuesOr(body["annotations"], "annotations", before?.document.annotations),
    ...commonFields(body, before?.document, clock.now()),
  };
  // A subscription belongs to its topic.
  if (before !== undefined && before.document.trigger.name !== trigger.name) await firing.deleteRule(before.document);
  await entities.put("rule", { namespace, name }, rule, before);
  await firing.putRule(rule);
  exchange.answer(200, rule);
}

/** POST `{ status }`: 200 without a body. */
export async function setRuleStatus(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { entities, firing, clock } = context;
  const { status } = await exchange.json(sizeLimits.parameters);
  if (status !== "active" && status !== "inactive") throw malformed("status is neither active nor inactive.");
  const before = await entities.get("rule", { namespace, name });
  const { document } = before;
  if ((await entities.find("trigger", { namespace, name: document.trigger.name })) === undefined) throw notFound();
  const rule: Rule = document.status === status ? document : { ...document, status, updated: clock.now() };
  if (rule !== document) await entities.put("rule", { namespace, name }, rule, before);
  // Also where it had that status: an earlier request may have been cut off behind the line above.
  await firing.putRule(rule);
  exchange.answerEmpty(200);
}

export async function deleteRule(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { entities, firing } = context;
  const before = await entities.get("rule", { namespace, name });
  await firing.deleteRule(before.document);
  await entities.delete({ namespace, name }, before);
  exchange.answer(200, before.document);
}

/** `/ns/name`, `/ns/pkg/name`, or `{ path, name }`. */
function readPath(given: Json | undefined, namespace: string, field: string): EntityPath | undefined {
  if (given === undefined || given === null) return undefined;
  const { path, name } = given as { readonly path?: string; readonly name?: string };
  const text = typeof given === "object" && !Array.isArray(given) ? `/${path}/${name}` : given;
  const reference = typeof text === "string" ? readReference(text, namespace) : undefined;
  if (reference === undefined) throw malformed(`${field} is no name of an entity: ${JSON.stringify(given)}.`);
  return entityPath(reference);
}

function entityPath({ namespace, package: inPackage, name }: QualifiedName): EntityPath {
  return { path: inPackage === undefined ? namespace : `${namespace}/${inPackage}`, name };
}

async function checkAction(context: WhiskContext, { path, name }: EntityPath, namespace: string): Promise<void> {
  const reference = readReference(`/${path}/${name}`, namespace)!;
  try {
    await resolveAction(context.documents, reference, namespace);
  } catch (thrown) {
    if (!(thrown instanceof WhiskError) || thrown.status !== 404) throw thrown;
    throw new WhiskError(400, `The action '/${path}/${name}' does not exist.`);
  }
  await context.deployments.importComposite(reference, namespace);
}
