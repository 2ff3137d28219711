/** `/namespaces/NS/activations/…` (contract sections 1.7, 2.1). */
import type { Invocation } from "../../core/model.ts";
import type { Json } from "../../core/workflow/definition.ts";
import { activationOf, invocationIdOf, logLines, noteOf, summaryOf } from "./activation.ts";
import { noteFor } from "./call-adapter.ts";
import type { WhiskContext } from "./context.ts";
import { malformed, notFound, WhiskError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { readPage, whole } from "./listing.ts";
import { engineName, engineNamespace, qualifiedName, readReference, whiskNamespace } from "./names.ts";
import { resolveAction } from "./resolution.ts";

export async function listActivations(context: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const { skip, limit, count } = readPage(exchange);
  const docs = exchange.flag("docs");
  if (count && docs) throw malformed("The query parameters 'docs' and 'count' may not be used together.");
  const given = exchange.query.get("name");
  const reference = given === null || given === "" ? undefined : readReference(given, namespace);
  if (given !== null && given !== "" && reference === undefined) throw malformed(`'${given}' is no name of an action.`);
  const since = whole(exchange, "since", 0);
  const upto = whole(exchange, "upto", 0);
  const found = await context.engine.history.list(engineNamespace(namespace), {
    ...(reference === undefined ? {} : { name: engineName(reference, namespace) }),
    ...(since === 0 ? {} : { since }),
    ...(upto === 0 ? {} : { until: upto }),
    limit: count ? mostCounted : skip + limit,
  });
  const own = await withNotes(context, found);
  if (count) {
    exchange.answer(200, { activations: Math.max(0, own.length - skip) });
    return;
  }
  const activations = own.slice(skip, skip + limit).map((record) => activationOf(record));
  exchange.answer(200, docs ? activations : activations.map(summaryOf));
}

export async function getActivation(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  id: string,
): Promise<void> {
  exchange.answer(200, activationOf(await recordOf(context, namespace, id)));
}

export async function getLogs(context: WhiskContext, exchange: Exchange, namespace: string, id: string): Promise<void> {
  const record = await recordOf(context, namespace, id);
  exchange.answer(200, { logs: noteOf(record)?.logs ?? logLines(record) });
}

export async function getResult(
  context: WhiskContext,
  exchange: Exchange,
  namespace: string,
  id: string,
): Promise<void> {
  const { response } = activationOf(await recordOf(context, namespace, id));
  const { result, status, success, size } = response;
  exchange.answer(200, { result, status, success, ...(size === undefined ? {} : { size }) });
}

async function recordOf(context: WhiskContext, namespace: string, id: string): Promise<Invocation> {
  const invocation = invocationIdOf(id);
  if (invocation === undefined) {
    throw malformed(`The activation id '${id.slice(0, 64)}' is not of 32 hexadecimal digits.`);
  }
  const found = await context.engine.history.get(engineNamespace(namespace), invocation);
  const [record] = found === undefined || found.status === "running" ? [] : await withNotes(context, [found]);
  if (record === undefined) throw notFound();
  return record;
}

/**
 * The records that are activations. One whose call came to its end before an instance was there has no note of its own: what it
 * was a call of is looked up.
 */
async function withNotes({ documents }: WhiskContext, records: readonly Invocation[]): Promise<Invocation[]> {
  const known = new Map<string, Json | undefined>();
  const found: Invocation[] = [];
  for (const record of records) {
    if (noteOf(record) !== undefined) {
      found.push(record);
      continue;
    }
    if (!known.has(record.name)) known.set(record.name, await noteByName(documents, record));
    const whisk = known.get(record.name);
    if (whisk !== undefined) found.push({ ...record, annotations: { ...record.annotations, whisk } });
  }
  return found;
}

async function noteByName(
  documents: WhiskContext["documents"],
  { namespace, name }: Invocation,
): Promise<Json | undefined> {
  const caller = whiskNamespace(namespace);
  const called = qualifiedName(name, caller);
  try {
    return called && (noteFor(await resolveAction(documents, called, caller)) as unknown as Json);
  } catch (thrown) {
    if (thrown instanceof WhiskError) return undefined;
    throw thrown;
  }
}

const mostCounted = 100_000;
