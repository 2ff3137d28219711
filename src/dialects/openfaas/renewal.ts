import { asVirgaError } from "../../core/errors.ts";
import type { FaasContext } from "./context.ts";
import { deployedIn } from "./deployed.ts";
import { FaasError } from "./errors.ts";
import { renew } from "./functions.ts";
import { guestDigest } from "./projection.ts";

/**
 * After an upgrade of the platform: functions that have another guest than this release's are deployed again, one after another,
 * as their users deployed them. What cannot be done is logged, and tried again at the next start.
 */
export async function renewGuests(context: FaasContext, signal: AbortSignal): Promise<void> {
  const { records, namespaces, log } = context;
  try {
    if ((await records.get<string>(key))?.value === guestDigest()) return;
    let isWhole = true;
    for (const { name: namespace } of await namespaces.list())
      for await (const { deployment } of deployedIn(context, namespace)) {
        const id = { namespace, name: deployment.service };
        try {
          const isRenewed = await context.turn(`${namespace}/${id.name}`, () => renew(context, id, signal));
          if (isRenewed) log.info("a function has this release's guest now", { ...id });
        } catch (thrown) {
          if (signal.aborted) return;
          // Deleted meanwhile.
          if (thrown instanceof FaasError && thrown.status === 404) continue;
          isWhole = false;
          log.error("a function could not be given this release's guest", { ...id, error: asVirgaError(thrown) });
        }
      }
    if (isWhole) await records.put(key, guestDigest());
  } catch (thrown) {
    if (!signal.aborted) log.error("functions could not be looked through", { error: asVirgaError(thrown) });
  }
}

/** The guest that all functions have been deployed with. */
const key = "openfaas/guest";
