/** `/system/functions`, `/system/function/NAME`, `/system/scale-function/NAME` (contract section 2.1). */
import type { FunctionId } from "../../core/model.ts";
import { once } from "../../core/once.ts";
import type { FunctionSettings } from "../../engine/engine.ts";
import type { FaasContext } from "./context.ts";
import { permit } from "./credential.ts";
import { deployed, type DeployedFunction, deployedIn } from "./deployed.ts";
import { type Deployment, readDeployment } from "./deployment.ts";
import { FaasError } from "./errors.ts";
import { dropEvents, followAnnotations, readTopicAnnotations } from "./event-annotations.ts";
import type { Exchange } from "./exchange.ts";
import { checkLabel, secretVariable } from "./names.ts";
import type { Image } from "./images.ts";
import { guestLayer, imageOf, settingsOf } from "./projection.ts";
import { forgetScale, restoreScale, setScale } from "./scale.ts";

export async function listFunctions(context: FaasContext, exchange: Exchange): Promise<void> {
  const namespace = exchange.namespace();
  permit(context.engine.access, exchange, namespace, "read");
  const counts = await context.counts.totals(namespace);
  const statuses = [];
  for await (const found of deployedIn(context, namespace)) statuses.push(statusOf(context, found, counts));
  exchange.answer(200, statuses);
}

export async function getFunction(context: FaasContext, exchange: Exchange, name: string): Promise<void> {
  const id = { namespace: exchange.namespace(), name };
  permit(context.engine.access, exchange, id.namespace, "read");
  const found = await deployed(context, id);
  const status = statusOf(context, found, await context.counts.totals(id.namespace));
  const usage = exchange.query.get("usage");
  if (usage !== "1" && usage !== "true") exchange.answer(200, status);
  else exchange.answer(200, { ...status, usage: await usageOf(context, id) });
}

/** POST makes it or changes it; PUT changes one that is there, which is how clients find out. */
export async function putFunction(context: FaasContext, exchange: Exchange): Promise<void> {
  const deployment = readDeployment(await exchange.json(), exchange.query.get("namespace"));
  const id = { namespace: deployment.namespace, name: deployment.service };
  permit(context.engine.access, exchange, id.namespace, "change");
  await context.turn(`${id.namespace}/${id.name}`, async () => {
    if (exchange.method === "PUT") await deployed(context, id);
    await deploy(context, deployment);
  });
  // At 200, clients say that it was there and is updated.
  exchange.empty(exchange.method === "PUT" ? 200 : 202);
}

export async function deleteFunction(context: FaasContext, exchange: Exchange): Promise<void> {
  const { functionName, namespace: inBody } = await exchange.json();
  const namespace = exchange.namespace(inBody);
  checkLabel(functionName, "functionName");
  permit(context.engine.access, exchange, namespace, "change");
  const id = { namespace, name: functionName };
  await context.turn(`${namespace}/${functionName}`, async () => {
    await deployed(context, id);
    await forgetFunction(context, id);
  });
  exchange.empty(202);
}

export async function scaleFunction(context: FaasContext, exchange: Exchange, name: string): Promise<void> {
  const { replicas, namespace: inBody } = await exchange.json();
  const namespace = exchange.namespace(inBody);
  permit(context.engine.access, exchange, namespace, "change");
  if (typeof replicas !== "number" || !Number.isInteger(replicas) || replicas < 0 || replicas > mostReplicas)
    throw new FaasError(400, `replicas: it is no whole number from 0 to ${mostReplicas}`);
  await context.turn(`${namespace}/${name}`, async () => {
    await deployed(context, { namespace, name });
    await setScale(context, { namespace, name }, replicas);
  });
  exchange.empty(202);
}

/** With what belongs to it. */
export async function forgetFunction(context: FaasContext, id: FunctionId): Promise<void> {
  await dropEvents(context, id);
  await forgetScale(context, id);
  await context.engine.functions.delete(id);
  context.counts.forget(id);
  context.looseLines.forget(id);
}

async function deploy(context: FaasContext, deployment: Deployment): Promise<void> {
  const { engine, images, namespaces } = context;
  const { namespace, service, annotations, secrets = [] } = deployment;
  const image = await images.find(deployment.image);
  const settings = settingsOf(deployment, image, context.defaultMax);
  readTopicAnnotations(annotations);
  await namespaces.prepare(namespace);
  const known = new Set((await engine.secrets.list(namespace)).map(({ name }) => name));
  const missing = secrets.filter((name) => !known.has(secretVariable(name)));
  if (missing.length > 0)
    throw new FaasError(
      400,
      `unable to find secret ${missing.join(", ")} in namespace ${namespace}: make it with faas-cli secret create`,
    );
  const id = { namespace, name: service };
  await install(context, deployment, image, settings);
  await forgetScale(context, id);
  await followAnnotations(context, id, annotations);
}

/** False where that is what is there already. */
async function install(
  { engine, blobs }: FaasContext,
  deployment: Deployment,
  image: Image,
  settings: FunctionSettings,
  signal = new AbortController().signal,
): Promise<boolean> {
  const { namespace, service: name } = deployment;
  const { digest } = await blobs.put(once(await guestLayer(deployment, image)));
  const { changed } = await engine.deployer.deploy(
    { namespace, name, source: image.source, layers: [digest], settings, trial: false, traffic: "latest" },
    () => undefined,
    signal,
  );
  return changed;
}

/** Deploys a function as it was deployed, with this release's guest; what its image's name stands for by now is not asked. */
export async function renew(context: FaasContext, id: FunctionId, signal: AbortSignal): Promise<boolean> {
  const { deployment, revision, followsLatest } = await deployed(context, id);
  const image = imageOf(revision.config);
  if (image === undefined || !followsLatest) return false;
  const changed = await install(context, deployment, image, settingsOf(deployment, image, context.defaultMax), signal);
  if (changed) await restoreScale(context, id);
  return changed;
}

/** FunctionStatus. What the deployment did not give is not made up: clients compare. */
function statusOf(
  context: FaasContext,
  { deployment, createdAt }: DeployedFunction,
  counts: ReadonlyMap<string, number>,
) {
  const { service, namespace, labels, annotations, ...rest } = deployment;
  const id = { namespace, name: service };
  const { pool } = context.engine;
  const available = pool.instances(id).filter(({ state }) => state !== "draining" && state !== "starting").length;
  return {
    name: service,
    namespace,
    ...rest,
    labels: { ...labels, faas_function: service },
    annotations: { ...annotations },
    invocationCount: counts.get(service) ?? 0,
    replicas: Math.max(available, pool.wanted(id)),
    availableReplicas: available,
    createdAt: new Date(createdAt).toISOString(),
  };
}

/** `cpu` in thousandths of a processor, of the last seconds; as far as the platform has looked. */
async function usageOf({ engine }: FaasContext, id: FunctionId): Promise<{ cpu: number; totalMemoryBytes: number }> {
  const { cpu, memoryBytes } = await engine.pool.usage(id);
  return { cpu: Math.round(cpu * 1000), totalMemoryBytes: memoryBytes };
}

const mostReplicas = 10_000;
