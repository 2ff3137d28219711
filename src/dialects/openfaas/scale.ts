import type { FunctionId } from "../../core/model.ts";
import type { FaasContext } from "./context.ts";
import { permit } from "./credential.ts";
import { FaasError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { deployed } from "./deployed.ts";
import { functionAddress } from "./names.ts";
import { readScaleLabels } from "./scale-labels.ts";

/** Kept until the next deploy, over restarts of the platform too. Rejects with 503 where no instances are given any more. */
export async function setScale({ engine, records }: FaasContext, id: FunctionId, replicas: number): Promise<void> {
  if (!(await engine.pool.scale(id, replicas)))
    throw new FaasError(503, `${id.name} cannot be scaled while the platform stops`);
  await records.put(keyOf(id), { ...id, replicas } satisfies SetScale);
}

export async function forgetScale({ records }: Pick<FaasContext, "records">, id: FunctionId): Promise<void> {
  await records.delete(keyOf(id));
}

/** Of a namespace that is being deleted. */
export async function forgetScales({ records }: Pick<FaasContext, "records">, namespace: string): Promise<void> {
  for (const { key } of await records.list(`${prefix}${namespace}/`)) await records.delete(key);
}

/** At the platform's start. */
export async function restoreScales({ engine, records }: FaasContext): Promise<void> {
  for (const { value } of await records.list<SetScale>(prefix)) await engine.pool.scale(value, value.replicas);
}

/** Of a function that has a new revision, and was not deployed by its user. */
export async function restoreScale({ engine, records }: FaasContext, id: FunctionId): Promise<void> {
  const set = await records.get<SetScale>(keyOf(id));
  if (set !== undefined) await engine.pool.scale(id, set.value.replicas);
}

/**
 * `POST /system/alert`: Prometheus' Alertmanager says that functions have much to do, or no longer. A step up is `factor` percent of
 * the maximum; what is over goes down to the minimum at once.
 */
export async function serveAlert(context: FaasContext, exchange: Exchange): Promise<void> {
  const { alerts } = await exchange.json();
  if (!Array.isArray(alerts)) throw new FaasError(400, "alerts: it is no list");
  for (const alert of alerts as (Alert | null)[]) {
    const { status, labels } = alert ?? {};
    const name = labels?.["function_name"];
    if (typeof name !== "string" || name === "") throw new FaasError(400, "alerts: labels.function_name is missing");
    const id = functionAddress(name);
    permit(context.engine.access, exchange, id.namespace, "change");
    await context.turn(`${id.namespace}/${id.name}`, async () => {
      const { deployment } = await deployed(context, id);
      const { min, max, factor } = readScaleLabels(deployment.labels, context.defaultMax);
      const current = context.engine.pool.wanted(id);
      const isOver = status === "resolved";
      const next = isOver ? min : Math.min(max, current + Math.ceil((max * factor) / 100));
      if (min !== max && (isOver || factor > 0)) await setScale(context, id, next);
    });
  }
  exchange.empty(200);
}

interface SetScale extends FunctionId {
  readonly replicas: number;
}

interface Alert {
  readonly status?: unknown;
  readonly labels?: Readonly<Record<string, unknown>>;
}

function keyOf({ namespace, name }: FunctionId): string {
  return `${prefix}${namespace}/${name}`;
}

const prefix = "openfaas/replicas/";
