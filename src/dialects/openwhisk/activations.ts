/** `/namespaces/NS/activations/…` (contract sections 1.7, 2.1). */
import type { FunctionState, Invocation } from "../../core/model.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { HistoryFilter } from "../../engine/engine.ts";
import { newerFirst } from "../../engine/segment.ts";
import { activationOf, invocationIdOf, logLines, noteOf, summaryOf } from "./activation.ts";
import { noteFor } from "./call-adapter.ts";
import type { WhiskContext } from "./context.ts";
import { malformed, notFound, WhiskError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { readPage, whole } from "./listing.ts";
import {
  engineName,
  engineNamespace,
  type QualifiedName,
  qualifiedName,
  readReference,
  whiskNamespace,
} from "./names.ts";
import { resolveAction } from "./resolution.ts";
import { systemNamespace } from "./system/install.ts";

export async function listActivations(context: WhiskContext, exchange: Exchange, namespace: string): Promise<void> {
  const { skip, limit, count } = readPage(exchange);
  const docs = exchange.flag("docs");
  if (count && docs) throw malformed("The query parameters 'docs' and 'count' may not be used together.");
  const given = exchange.query.get("name") ?? "";
  const reference = given === "" ? undefined : readReference(given, namespace);
  if (given !== "" && reference === undefined) throw malformed(`'${given}' is no name of an action.`);
  const since = whole(exchange, "since", 0);
  const until = whole(exchange, "upto", 0);
  const filter = {
    ...(since === 0 ? {} : { since }),
    ...(until === 0 ? {} : { until }),
    limit: count ? mostCounted : skip + limit,
  };
  const own =
    reference?.package === undefined
      ? await newest(context, namespace, reference && engineName(reference, namespace), filter)
      : await ofPackage(context, namespace, reference, given.startsWith("/"), filter);
  if (count) {
    exchange.answer(200, { activations: Math.max(0, own.length - skip) });
    return;
  }
  const activations = own.slice(skip, skip + limit).map((record) => activationOf(record));
  exchange.answer(200, docs ? activations : activations.map(summaryOf));
}

type Filter = Omit<HistoryFilter, "name">;

async function newest(
  context: WhiskContext,
  namespace: string,
  name: string | undefined,
  filter: Filter,
): Promise<Invocation[]> {
  const { history } = context.engine;
  const found = await history.list(engineNamespace(namespace), { ...filter, ...(name === undefined ? {} : { name }) });
  return withNotes(context, found);
}

/**
 * Of `package/action`: of the caller's own package, of the package of that name that a binding leads to, and of others' packages
 * of that name (`isAbsolute`: of that one alone).
 */
async function ofPackage(
  context: WhiskContext,
  caller: string,
  wanted: QualifiedName,
  isAbsolute: boolean,
  filter: Filter,
): Promise<Invocation[]> {
  const { name, package: inPackage } = wanted;
  const bindings = (await context.entities.list("package", caller)).filter(
    ({ binding }) => binding?.name === inPackage,
  );
  const names = new Set([
    ...[wanted.namespace, ...(isAbsolute ? [] : await namespacesCalled(context, caller))].map((namespace) =>
      engineName({ ...wanted, namespace }, caller),
    ),
    ...bindings.map((bound) => engineName({ namespace: caller, package: bound.name, name }, caller)),
  ]);
  const isOf = (owner: string | undefined): boolean =>
    isAbsolute ? owner === `${wanted.namespace}/${inPackage}` : owner?.split("/")[1] === inPackage;
  // A binding may have led elsewhere: what a call was of, its record says.
  const isWanted = (record: Invocation): boolean => {
    const { path = "", binding } = noteOf(record) ?? {};
    const owner = path.split("/").slice(0, -1).join("/");
    return isOf(binding) || isOf(owner);
  };
  const lists = await Promise.all([...names].map((one) => newest(context, caller, one, filter)));
  return lists.flat().filter(isWanted).sort(newerFirst).slice(0, filter.limit);
}

/** Others' namespaces of which something was called, besides `whisk.system`. */
async function namespacesCalled({ engine }: WhiskContext, caller: string): Promise<Set<string>> {
  const namespace = engineNamespace(caller);
  const found = new Set([systemNamespace]);
  // Names of what is another's begin with "@".
  for (let after: string | undefined = "@"; after !== undefined;) {
    const page: FunctionState[] = await engine.functions.list(namespace, { after, limit: 500 });
    const foreign = page.map(({ name }) => name).filter((name) => name.startsWith("@"));
    for (const name of foreign) found.add(qualifiedName(name, caller)?.namespace ?? systemNamespace);
    after = foreign.length < 500 ? undefined : foreign.at(-1);
  }
  return found;
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
