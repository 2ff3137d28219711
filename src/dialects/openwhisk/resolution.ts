/** Which action a reference means, with the parameters that lie beneath a call of it (contract sections 1.2, 1.3). */
import type { Json } from "../../core/workflow/definition.ts";
import type { Action, KeyValues, Package } from "./entities.ts";
import { forbidden, notFound } from "./errors.ts";
import { engineName, pathOf, type QualifiedName } from "./names.ts";

/** What is asked of the documents. A value where it is in memory, a promise where it has to be read. */
export interface Documents {
  action(namespace: string, inPackage: string | undefined, name: string): MaybeSoon<Action | undefined>;
  package(namespace: string, name: string): MaybeSoon<Package | undefined>;
}

export type MaybeSoon<T> = T | Promise<T>;

export interface ResolvedAction {
  readonly action: Action;
  /** Where its code is: the provider's, where it is reached through a binding. */
  readonly provider: QualifiedName;
  /** As the caller named it. */
  readonly called: QualifiedName;
  /** `namespace/package/name` of the provider. */
  readonly path: string;
  /** What it is called in the engine's namespace of the caller. */
  readonly engineName: string;
  /** It runs as a workflow, not as a call of one function. */
  readonly isComposite: boolean;
  /** Its program may call back with the key of the caller's user. */
  readonly getsKey: boolean;
  /** `namespace/package`, where it is reached through a binding. */
  readonly binding?: string;
  /** Parameters of package and binding, as their documents have them. */
  readonly beneath: readonly KeyValues[];
  /** Defaults of package, binding and action; the later win. */
  readonly defaults: Defaults;
}

export interface Defaults {
  /** Merged beneath the payload of each run. */
  readonly values: Readonly<Record<string, Json>>;
  /** For the environment of the action's start. */
  readonly init: Readonly<Record<string, string>>;
  readonly isEmpty: boolean;
}

/** Throws 404 for what is not there, and 403 for what another namespace has not made public. */
export function resolveAction(documents: Documents, called: QualifiedName, caller: string): MaybeSoon<ResolvedAction> {
  if (called.package === undefined) {
    if (called.namespace !== caller) throw forbidden();
    const action = documents.action(called.namespace, undefined, called.name);
    return soon(action, (found) => resolved(called, called, caller, found, []));
  }
  return soon(documents.package(called.namespace, called.package), (inPackage) =>
    throughPackage(documents, called, caller, inPackage),
  );
}

export function annotation(annotations: KeyValues, key: string): Json | undefined {
  return annotations.find((one) => one.key === key)?.value;
}

/** As Node's programs see truth, which is how OpenWhisk reads its flags: absent, null, false, 0 and "" are none. */
export function isTruthy(value: Json | undefined): boolean {
  return Boolean(value);
}

export function isConductor({ annotations, exec }: Action): boolean {
  return exec.kind !== "sequence" && isTruthy(annotation(annotations, "conductor"));
}

/** It runs as a workflow, not as a call of one function. */
export function isComposite(action: Action): boolean {
  return action.exec.kind === "sequence" || isConductor(action);
}

function throughPackage(
  documents: Documents,
  called: QualifiedName,
  caller: string,
  inPackage: Package | undefined,
): MaybeSoon<ResolvedAction> {
  const isOwn = called.namespace === caller;
  if (inPackage === undefined) throw isOwn ? notFound() : forbidden();
  if (!isOwn && !inPackage.publish) throw forbidden();
  const { binding } = inPackage;
  if (binding === undefined) {
    const action = documents.action(called.namespace, inPackage.name, called.name);
    return soon(action, (found) => resolved(called, called, caller, found, [inPackage.parameters]));
  }
  return soon(documents.package(binding.namespace, binding.name), (provider) => {
    if (provider === undefined) throw binding.namespace === caller ? notFound() : forbidden();
    if (binding.namespace !== called.namespace && !provider.publish) throw forbidden();
    const at: QualifiedName = { namespace: binding.namespace, package: binding.name, name: called.name };
    return soon(documents.action(binding.namespace, binding.name, called.name), (found) =>
      resolved(called, at, caller, found, [provider.parameters, inPackage.parameters]),
    );
  });
}

function resolved(
  called: QualifiedName,
  provider: QualifiedName,
  caller: string,
  action: Action | undefined,
  beneath: readonly KeyValues[],
): ResolvedAction {
  if (action === undefined) throw notFound();
  const isPlain = called === provider && called.package === undefined;
  const known = isPlain ? plain.get(action) : undefined;
  if (known !== undefined) return known;
  const key = annotation(action.annotations, "provide-api-key");
  const isBound = called.namespace !== provider.namespace || called.package !== provider.package;
  const found: ResolvedAction = {
    action,
    provider,
    called,
    path: pathOf(provider).slice(1),
    engineName: engineName(called, caller),
    isComposite: isComposite(action),
    getsKey: key === undefined || isTruthy(key),
    ...(isBound ? { binding: `${called.namespace}/${called.package}` } : {}),
    beneath,
    defaults: mergedDefaults([...beneath, action.parameters]),
  };
  if (isPlain) plain.set(action, found);
  return found;
}

/** Of actions in no package: they depend on their own document alone, which is another one after each change. */
const plain = new WeakMap<Action, ResolvedAction>();

function mergedDefaults(layers: readonly KeyValues[]): Defaults {
  if (layers.every((layer) => layer.length === 0)) return noDefaults;
  const merged = new Map(layers.flat().map((one) => [one.key, one]));
  const values: Record<string, Json> = {};
  const init: Record<string, string> = {};
  for (const { key, value, init: atStart } of merged.values()) {
    if (atStart === true) init[key] = typeof value === "string" ? value : JSON.stringify(value);
    else values[key] = value;
  }
  return { values, init, isEmpty: false };
}

const noDefaults: Defaults = { values: {}, init: {}, isEmpty: true };

export function soon<T, U>(value: MaybeSoon<T>, then: (value: T) => MaybeSoon<U>): MaybeSoon<U> {
  return value instanceof Promise ? value.then(then) : then(value);
}
