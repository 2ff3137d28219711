/** `/namespaces/NS/packages/…` (contract section 1.5). */
import type { Json } from "../../core/workflow/definition.ts";
import type { WhiskContext } from "./context.ts";
import { checkOverwrite, commonFields, keyValuesOr } from "./document-body.ts";
import type { Package } from "./entities.ts";
import { forbidden, malformed, notFound, WhiskError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { mergedKeyValues, withKeyValue } from "./key-values.ts";
import { sizeLimits } from "./limits.ts";
import { answerList } from "./listing.ts";
import { isEntityName } from "./names.ts";

export async function listPackages(
  { entities }: WhiskContext,
  exchange: Exchange,
  namespace: string,
  caller: string,
): Promise<void> {
  const all = await entities.list("package", namespace);
  const seen = namespace === caller ? all : all.filter(({ publish }) => publish);
  answerList(
    exchange,
    "packages",
    seen,
    ({ namespace: owner, name, version, publish, annotations, binding, updated }) => ({
      namespace: owner,
      name,
      version,
      publish,
      annotations,
      binding: binding ?? false,
      updated,
    }),
  );
}

export async function getPackage(
  { entities }: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
  caller: string,
): Promise<void> {
  const found = await visible(entities, namespace, name, caller);
  const { binding } = found;
  const provider = binding === undefined ? found : await providerOf(entities, binding, namespace);
  const actions = await entities.list("action", provider.namespace);
  const inside = actions.filter((action) => action.namespace === `${provider.namespace}/${provider.name}`);
  const entry = ({ name: one, version, annotations }: (typeof actions)[number]) => ({
    name: one,
    version,
    annotations,
  });
  const isFeed = ({ annotations }: (typeof actions)[number]): boolean => annotations.some(({ key }) => key === "feed");
  exchange.answer(200, {
    ...found,
    binding: binding ?? {},
    parameters: binding === undefined ? found.parameters : mergedKeyValues(provider.parameters, found.parameters),
    actions: inside.filter((action) => !isFeed(action)).map(entry),
    feeds: inside.filter(isFeed).map(entry),
  });
}

export async function putPackage(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { entities, deployments, clock } = context;
  if (name === "default") throw new WhiskError(400, "Package name is reserved: default.");
  const body = await exchange.json(sizeLimits.parameters * 3);
  const before = await entities.before("package", { namespace, name });
  checkOverwrite(before !== undefined, exchange.flag("overwrite"));
  const binding = readBinding(body["binding"], namespace) ?? before?.document.binding;
  if (binding !== undefined) {
    if (before !== undefined && before.document.binding === undefined) {
      throw new WhiskError(409, "Resource is a package and cannot become a binding.");
    }
    await checkBinding(context, binding, namespace);
  }
  const annotations = keyValuesOr(body["annotations"], "annotations", before?.document.annotations);
  const document: Package = {
    namespace,
    name,
    ...(binding === undefined ? {} : { binding }),
    parameters: keyValuesOr(body["parameters"], "parameters", before?.document.parameters),
    annotations: binding === undefined ? annotations : withKeyValue(annotations, "binding", { ...binding }),
    ...commonFields(body, before?.document, clock.now()),
  };
  await entities.put("package", { namespace, name }, document, before);
  const bound = before?.document.binding;
  if (bound !== undefined && (bound.namespace !== binding?.namespace || bound.name !== binding.name))
    await deployments.unbind(namespace, name);
  exchange.answer(200, shown(document));
}

export async function deletePackage(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  name: string,
): Promise<void> {
  const { entities, deployments } = context;
  const before = await entities.get("package", { namespace, name });
  const inside = (await entities.list("action", namespace)).filter(
    (action) => action.namespace === `${namespace}/${name}`,
  );
  if (inside.length > 0 && !exchange.flag("force")) {
    throw new WhiskError(
      409,
      `Package not empty (contains ${inside.length} ${inside.length === 1 ? "entity" : "entities"}).`,
    );
  }
  for (const action of inside) {
    const place = { namespace, package: name, name: action.name };
    const kept = await entities.find("action", place);
    if (kept === undefined) continue;
    await entities.delete(place, kept);
    await deployments.remove(place);
  }
  await entities.delete({ namespace, name }, before);
  if (before.document.binding !== undefined) await deployments.unbind(namespace, name);
  exchange.answer(200, shown(before.document));
}

/** Rejects with 403 for what another namespace does not have, or has not made public. */
export async function visible(
  entities: WhiskContext["entities"],
  namespace: string,
  name: string,
  caller: string,
): Promise<Package> {
  if (namespace === caller) return (await entities.get("package", { namespace, name })).document;
  const found = (await entities.find("package", { namespace, name }))?.document;
  if (found?.publish !== true) throw forbidden();
  return found;
}

function shown(document: Package): unknown {
  return { ...document, binding: document.binding ?? {} };
}

async function providerOf(
  entities: WhiskContext["entities"],
  binding: NonNullable<Package["binding"]>,
  caller: string,
): Promise<Package> {
  const provider = (await entities.find("package", binding))?.document;
  if (provider === undefined) throw notFound();
  if (binding.namespace !== caller && !provider.publish) throw forbidden();
  return provider;
}

function readBinding(given: Json | undefined, caller: string): Package["binding"] {
  if (given === undefined || given === null || given === false) return undefined;
  if (typeof given !== "object" || Array.isArray(given)) throw malformed("binding is no object.");
  const { namespace = "_", name } = given as Readonly<Record<string, Json>>;
  if (name === undefined && Object.keys(given).length === 0) return undefined;
  const owner = namespace === "_" ? caller : namespace;
  if (typeof owner !== "string" || typeof name !== "string" || !isEntityName(name)) {
    throw malformed("binding names no package.");
  }
  return { namespace: owner, name };
}

async function checkBinding(
  { entities }: WhiskContext,
  binding: NonNullable<Package["binding"]>,
  caller: string,
): Promise<void> {
  const provider = (await entities.find("package", binding))?.document;
  if (binding.namespace !== caller && provider?.publish !== true) throw forbidden();
  if (provider === undefined) throw new WhiskError(400, "Binding references a package that does not exist.");
  if (provider.binding !== undefined) throw new WhiskError(400, "Cannot bind to another package binding.");
}
