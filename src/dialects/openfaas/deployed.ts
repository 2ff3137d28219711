/** The engine's functions that are OpenFaaS's. */
import type { FunctionId, Revision } from "../../core/model.ts";
import type { FaasContext } from "./context.ts";
import type { Deployment } from "./deployment.ts";
import { FaasError } from "./errors.ts";
import { deploymentOf } from "./projection.ts";

export interface DeployedFunction {
  readonly deployment: Deployment;
  readonly revision: Revision;
  readonly createdAt: number;
  /** False: somebody has set its traffic by the platform's own means. */
  readonly followsLatest: boolean;
}

/** Rejects with 404 for what is not there, or not of OpenFaaS. */
export async function deployed({ engine }: FaasContext, id: FunctionId): Promise<DeployedFunction> {
  const state = await engine.functions.get(id);
  const revision = state && (await engine.functions.revision(id, state.latestRevision));
  const deployment = revision && deploymentOf(revision.config);
  if (state === undefined || revision === undefined || deployment === undefined)
    throw new FaasError(404, `function ${id.name} not found in namespace ${id.namespace}`);
  return { deployment, revision, createdAt: state.createdAt, followsLatest: state.followLatest };
}

export async function* deployedIn({ engine }: FaasContext, namespace: string): AsyncGenerator<DeployedFunction> {
  for (let after: string | undefined; ;) {
    const states = await engine.functions.list(namespace, { limit: page, ...(after === undefined ? {} : { after }) });
    for (const state of states) {
      const revision = await engine.functions.revision(state, state.latestRevision);
      const deployment = revision && deploymentOf(revision.config);
      if (revision !== undefined && deployment !== undefined)
        yield { deployment, revision, createdAt: state.createdAt, followsLatest: state.followLatest };
    }
    after = states.at(-1)?.name;
    if (states.length < page) return;
  }
}

const page = 200;
