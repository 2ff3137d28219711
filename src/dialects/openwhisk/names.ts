/**
 * OpenWhisk's names and what goes by them in the engine.
 *
 * A namespace of OpenWhisk is the engine's namespace of the same name (`whisk.system` is `whisk-system` there: a dot does not
 * fit into one). An action is a function of the namespace that *calls* it, as OpenWhisk's containers are: one of another
 * namespace, or one that is reached through a binding, has a function of its own in each namespace that uses it.
 *
 *     hello                        hello
 *     tools/hello                  tools.hello
 *     /whisk.system/utils/sort     @whisk%2Esystem.utils.sort     called from elsewhere
 */

/** A fully qualified name: `/namespace/name` or `/namespace/package/name`. */
export interface QualifiedName {
  /** As OpenWhisk knows it: `whisk.system`. */
  readonly namespace: string;
  readonly package?: string;
  readonly name: string;
}

/** A word character, then word characters, `@`, `.`, blanks, `&`, `-`, not ending in a blank; 256 at most. */
export function isEntityName(text: string): boolean {
  return text.length <= 256 && /^\w(?:[\w@ .&-]*[\w@.&-])?$/.test(text);
}

export function engineNamespace(namespace: string): string {
  return namespace === "whisk.system" ? "whisk-system" : namespace;
}

export function whiskNamespace(namespace: string): string {
  return namespace === "whisk-system" ? "whisk.system" : namespace;
}

/** The name of the function, workflow, topic or subscription that stands for an entity, in the namespace `caller`. */
export function engineName({ namespace, package: inPackage, name }: QualifiedName, caller: string): string {
  const own = nameIn(inPackage, name);
  return namespace === caller ? own : `@${encodePart(namespace)}.${own}`;
}

/** The same in the namespace that the entity lies in. */
export function nameIn(inPackage: string | undefined, name: string): string {
  return inPackage === undefined ? encodePart(name) : `${encodePart(inPackage)}.${encodePart(name)}`;
}

/** The way back. Undefined for a name that is none of OpenWhisk's. */
export function qualifiedName(engineName: string, caller: string): QualifiedName | undefined {
  const key = `${caller}/${engineName}`;
  let found = known.get(key);
  if (found === undefined) {
    found = readEngineName(engineName, caller);
    if (known.size >= mostKnown) known.clear();
    if (found !== undefined) known.set(key, found);
  }
  return found;
}

/** Every call asks for its own. */
const known = new Map<string, QualifiedName>();
const mostKnown = 10_000;

function readEngineName(engineName: string, caller: string): QualifiedName | undefined {
  const foreign = engineName.startsWith("@");
  const parts = (foreign ? engineName.slice(1) : engineName).split(".").map(decodePart);
  const namespace = foreign ? parts.shift() : caller;
  const name = parts.pop();
  const [inPackage, ...rest] = parts;
  if (namespace === undefined || name === undefined || name === "" || rest.length > 0) return undefined;
  return { namespace, name, ...(inPackage === undefined ? {} : { package: inPackage }) };
}

/** `/namespace/package/name`. */
export function pathOf({ namespace, package: inPackage, name }: QualifiedName): string {
  return inPackage === undefined ? `/${namespace}/${name}` : `/${namespace}/${inPackage}/${name}`;
}

/**
 * A reference as users write it: `name`, `package/name`, `/namespace/name`, `/namespace/package/name`; `_` is the caller's namespace.
 * Undefined for what is none.
 */
export function readReference(text: string, caller: string): QualifiedName | undefined {
  const absolute = text.startsWith("/");
  const parts = (absolute ? text.slice(1) : text).split("/");
  const [given, ...rest] = absolute ? parts : [caller, ...parts];
  const namespace = given === "_" ? caller : given;
  if (namespace === undefined || rest.length === 0 || rest.length > 2) return undefined;
  if (![namespace, ...rest].every(isEntityName)) return undefined;
  const name = rest.at(-1)!;
  return rest.length === 2 ? { namespace, package: rest[0]!, name } : { namespace, name };
}

function encodePart(part: string): string {
  // The one word that the engine takes for no name.
  if (part === "__proto__") return "_%5Fproto__";
  if (/^[\w-]*$/.test(part)) return part;
  return part.replaceAll(
    /[^\w-]/g,
    (character) => `%${character.codePointAt(0)!.toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

function decodePart(part: string): string {
  if (!part.includes("%")) return part;
  return part.replaceAll(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));
}
