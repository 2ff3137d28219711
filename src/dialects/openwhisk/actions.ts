/** `/namespaces/NS/actions/…` (contract sections 1.2, 2.1). */
import { once } from "../../core/once.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { WhiskContext } from "./context.ts";
import { checkOverwrite, commonFields, keyValuesOr } from "./document-body.ts";
import type { CodeExec, Exec, KeyValues, SequenceExec } from "./entities.ts";
import type { Kept, StoredAction } from "./entity-store.ts";
import { malformed, notFound, WhiskError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import { mergedKeyValues, withKeyValue } from "./key-values.ts";
import { isNativeImage, needsMain, readKind } from "./kinds.ts";
import { readLimits, sizeLimits } from "./limits.ts";
import { answerList } from "./listing.ts";
import { pathOf, type QualifiedName, readReference } from "./names.ts";
import { resolveAction } from "./resolution.ts";
import { mostComponents } from "./sequence.ts";

/** All of a namespace, or those of one package. */
export async function listActions(
  { entities }: WhiskContext,
  exchange: Exchange,
  namespace: string,
  inPackage: string | undefined,
): Promise<void> {
  const all = await entities.list("action", namespace);
  const wanted =
    inPackage === undefined ? all : all.filter((action) => action.namespace === `${namespace}/${inPackage}`);
  answerList(
    exchange,
    "actions",
    wanted,
    ({ name, version, publish, annotations, limits, exec, updated, ...action }) => ({
      namespace: action.namespace,
      name,
      version,
      publish,
      annotations,
      limits,
      exec: { binary: "binary" in exec && exec.binary },
      updated,
    }),
  );
}

export async function getAction(
  context: WhiskContext,
  exchange: Exchange,
  name: QualifiedName,
  caller: string,
): Promise<void> {
  const found = await resolveAction(context.documents, name, caller);
  const withCode = exchange.query.get("code") !== "false";
  const action = found.action as StoredAction;
  const parameters = mergedKeyValues(...found.beneath, action.parameters);
  exchange.answer(200, { ...shown(action, withCode ? await codeOf(context, action) : undefined), parameters });
}

export async function putAction(context: WhiskContext, exchange: Exchange, name: QualifiedName): Promise<void> {
  const { entities, deployments, clock } = context;
  await checkPackage(context, name);
  const body = await exchange.json(sizeLimits.document);
  const before = await entities.before("action", name);
  checkOverwrite(before !== undefined, exchange.flag("overwrite"));
  const now = clock.now();
  const { exec, code } = await readExec(context, body["exec"], before, name);
  const kind = exec.kind;
  const common = commonFields(body, before?.document, now);
  const action: StoredAction = {
    namespace: name.package === undefined ? name.namespace : `${name.namespace}/${name.package}`,
    name: name.name,
    exec,
    annotations: annotationsOf(body, before?.document, kind),
    parameters:
      exec.kind === "sequence"
        ? [{ key: "_actions", value: (exec as SequenceExec).components }]
        : keyValuesOr(body["parameters"], "parameters", before?.document.parameters),
    limits: readLimits(body["limits"], before?.document.limits),
    ...common,
    ...(code === undefined ? {} : { code }),
  };
  if (exec.kind === "sequence") await checkSequence(context, exec as SequenceExec, name);
  await entities.put("action", name, action, before);
  await deployments.ensure(name);
  exchange.answer(200, shown(action, await codeOf(context, action)));
}

export async function deleteAction(context: WhiskContext, exchange: Exchange, name: QualifiedName): Promise<void> {
  const { entities, deployments } = context;
  await checkPackage(context, name);
  const before = await entities.get("action", name);
  await entities.delete(name, before);
  await deployments.remove(name);
  exchange.answer(200, shown(before.document, undefined));
}

/** As it goes over the wire. */
export function shown({ code: _code, ...action }: StoredAction, code: string | undefined): Record<string, unknown> {
  return { ...action, exec: code === undefined ? action.exec : { ...action.exec, code } };
}

function annotationsOf(
  body: Readonly<Record<string, Json>>,
  before: StoredAction | undefined,
  kind: string,
): KeyValues {
  const removed = (body["delAnnotations"] ?? []) as readonly Json[];
  if (!Array.isArray(removed)) throw malformed("delAnnotations is no list of keys.");
  const kept = (before?.annotations ?? []).filter(({ key }) => !removed.includes(key));
  const merged = mergedKeyValues(kept, keyValuesOr(body["annotations"], "annotations", []));
  const isNew = before === undefined && !merged.some(({ key }) => key === "provide-api-key");
  const complete = isNew ? withKeyValue(merged, "provide-api-key", false) : merged;
  return withKeyValue(complete, "exec", kind);
}

async function readExec(
  context: WhiskContext,
  given: Json | undefined,
  before: Kept<"action"> | undefined,
  name: QualifiedName,
): Promise<{ exec: Exec; code?: StoredAction["code"] }> {
  if (given === undefined || given === null) {
    if (before === undefined) throw malformed("exec undefined: an action needs its code.");
    const { exec, code } = before.document;
    return { exec, ...(code === undefined ? {} : { code }) };
  }
  if (typeof given !== "object" || Array.isArray(given)) throw malformed("exec is no object.");
  const { kind, code, main, image, components } = given as Readonly<Record<string, Json>>;
  if (typeof kind !== "string") throw malformed("exec has no kind.");
  if (kind.trim().toLowerCase() === "sequence") return { exec: readSequence(components, name) };
  if (main !== undefined && typeof main !== "string") throw malformed("exec.main is no text.");
  const isBlackbox = kind.trim().toLowerCase() === "blackbox";
  if (isBlackbox && (typeof image !== "string" || !isNativeImage(image))) {
    throw malformed(
      `images are not supported yet: the image ${JSON.stringify(image ?? null)} cannot be run. Use --native with a program, or a kind with its code.`,
    );
  }
  if (code === undefined && isBlackbox) throw malformed("a native action needs a program: give it as code.");
  if (typeof code !== "string") throw malformed("exec.code is no text.");
  const resolved = isBlackbox ? undefined : readKind(kind);
  if (resolved !== undefined && needsMain(resolved.family) && (main === undefined || main === "")) {
    throw malformed(`'main' entry point required for ${resolved.kind}: name the class with --main.`);
  }
  const binary = isBase64(code);
  const bytes = Buffer.from(code, binary ? "base64" : "utf8");
  if (bytes.length > sizeLimits.code) {
    throw new WhiskError(
      413,
      `The code is too large: ${bytes.length} bytes, and at most ${sizeLimits.code} are taken.`,
    );
  }
  const { digest, size } = await context.blobs.put(once(bytes));
  await context.engine.deployer.adopt(digest);
  const exec: CodeExec = {
    kind: resolved?.kind ?? "blackbox",
    binary,
    ...(main === undefined || main === "" ? {} : { main }),
    ...(isBlackbox ? { image: image as string } : {}),
  };
  return { exec, code: { digest, size } };
}

function readSequence(given: Json | undefined, { namespace }: QualifiedName): SequenceExec {
  if (!Array.isArray(given) || given.length === 0) throw malformed("a sequence needs at least one component.");
  const components = (given as readonly Json[]).map((one) => {
    const reference = typeof one === "string" ? readReference(one, namespace) : undefined;
    if (reference === undefined) throw malformed(`${JSON.stringify(one)} is no name of an action.`);
    return pathOf(reference);
  });
  return { kind: "sequence", components };
}

/** Components are there, may be used, are no more than 50 with those of sequences within, and none leads back here. */
async function checkSequence(context: WhiskContext, { components }: SequenceExec, name: QualifiedName): Promise<void> {
  const self = pathOf(name);
  const count = async (paths: readonly string[], depth: number): Promise<number> => {
    let sum = 0;
    for (const path of paths) {
      if (path === self || depth > mostComponents) throw new WhiskError(400, "Sequence may not refer to itself.");
      const reference = readReference(path, name.namespace)!;
      let found;
      try {
        found = await resolveAction(context.documents, reference, name.namespace);
      } catch (thrown) {
        if (!(thrown instanceof WhiskError) || thrown.status !== 404) throw thrown;
        throw new WhiskError(400, `Sequence component does not exist: ${path}.`);
      }
      await context.deployments.importComposite(reference, name.namespace);
      const { exec } = found.action;
      sum += exec.kind === "sequence" ? await count((exec as SequenceExec).components, depth + 1) : 1;
      if (sum > mostComponents)
        throw new WhiskError(400, `Too many actions in the sequence: at most ${mostComponents} are taken.`);
    }
    return sum;
  };
  await count(components, 0);
}

/** The package of an action that is changed is there, and no binding. */
async function checkPackage(
  { entities }: WhiskContext,
  { namespace, package: inPackage }: QualifiedName,
): Promise<void> {
  if (inPackage === undefined) return;
  const found = await entities.find("package", { namespace, name: inPackage });
  if (found === undefined) throw notFound();
  if (found.document.binding !== undefined) throw new WhiskError(400, "Operation not permitted on package binding.");
}

export async function codeOf({ blobs }: WhiskContext, { code, exec }: StoredAction): Promise<string | undefined> {
  if (code === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await blobs.get(code.digest)).content) chunks.push(chunk);
  return Buffer.concat(chunks).toString((exec as CodeExec).binary ? "base64" : "utf8");
}

/** As OpenWhisk tells code from Base64: by its letters and its length. */
function isBase64(text: string): boolean {
  const trimmed = text.trim();
  return trimmed.length > 0 && trimmed.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(trimmed);
}
