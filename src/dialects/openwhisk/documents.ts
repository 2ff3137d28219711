import type { EntityStore, Kept } from "./entity-store.ts";
import type { Rule, Trigger } from "./entities.ts";
import type { RuleDocuments } from "./fire.ts";
import type { Documents, MaybeSoon } from "./resolution.ts";

/** The store's documents, as the rules that look for them want to have them. */
export function documentsOf({ entities }: { readonly entities: EntityStore }): Documents & RuleDocuments {
  return {
    action: (namespace, inPackage, name) =>
      documentOf(entities.find("action", { namespace, package: inPackage, name })),
    package: (namespace, name) => documentOf(entities.find("package", { namespace, name })),
    trigger: (namespace, name): MaybeSoon<Trigger | undefined> =>
      documentOf(entities.find("trigger", { namespace, name })),
    async rulesOf(namespace, trigger): Promise<readonly Rule[]> {
      const rules = await entities.list("rule", namespace);
      return rules.filter((rule) => rule.trigger.name === trigger && rule.trigger.path === namespace);
    },
  };
}

function documentOf<K extends "action" | "package" | "trigger" | "rule">(
  kept: MaybeSoon<Kept<K> | undefined>,
): MaybeSoon<Kept<K>["document"] | undefined> {
  return kept instanceof Promise ? kept.then((found) => found?.document) : kept?.document;
}
