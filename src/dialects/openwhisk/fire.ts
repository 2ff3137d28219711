/** Triggers as topics, rules as subscriptions (contract section 1.5). */
import type { StoredEvent } from "../../core/events/model.ts";
import type { Invocation } from "../../core/model.ts";
import type { Json } from "../../core/workflow/definition.ts";
import type { Engine } from "../../engine/engine.ts";
import { activationIdOf, type WhiskNote } from "./activation.ts";
import type { Rule, Trigger } from "./entities.ts";
import { engineName, engineNamespace, pathOf, type QualifiedName, readReference, whiskNamespace } from "./names.ts";

/** What is asked of the documents. */
export interface RuleDocuments {
  trigger(namespace: string, name: string): Promise<Trigger | undefined> | Trigger | undefined;
  rulesOf(namespace: string, trigger: string): Promise<readonly Rule[]>;
}

export interface Firing {
  /** The payload over the trigger's defaults, and the request's headers beside them. Resolves to the activation's id; undefined where no rule is active. */
  fire(trigger: Trigger, payload: Json, headers: Readonly<Record<string, string>>): Promise<string | undefined>;
  /** For the engine's events: a topic has new ones. Writes the activations of triggers; gives the one that the topic is of. */
  published(namespace: string, topic: string, events: readonly StoredEvent[]): Promise<Trigger | undefined>;
  /** A trigger is made: its topic is there. */
  putTrigger(trigger: Trigger): Promise<void>;
  /** Its rules' subscriptions and its alarms go with it; the rules stay, inactive. */
  deleteTrigger(trigger: Trigger, rules: readonly Rule[]): Promise<void>;
  putRule(rule: Rule): Promise<void>;
  deleteRule(rule: Rule): Promise<void>;
}

export interface FiringOptions {
  readonly engine: Pick<Engine, "events" | "history">;
  readonly documents: RuleDocuments;
  readonly identify: () => string;
}

export const headersField = "__ow_headers";

export function createFiring({ engine, documents, identify }: FiringOptions): Firing {
  const { topics, subscriptions, sources } = engine.events;

  async function putTrigger({ namespace, name }: Trigger): Promise<void> {
    await topics.put({ namespace: engineNamespace(namespace), name: engineName({ namespace, name }, namespace) });
  }

  async function linesOf(trigger: Trigger, stored: StoredEvent): Promise<string[]> {
    const rules = await documents.rulesOf(trigger.namespace, trigger.name);
    return Promise.all(
      rules.map(async (rule) => {
        const about = { rule: `${rule.namespace}/${rule.name}`, action: pathOf(actionOf(rule)).slice(1) };
        if (rule.status !== "active") {
          return JSON.stringify({ statusCode: 1, success: false, error: `Rule '${about.rule}' is inactive`, ...about });
        }
        const subscription = engineName({ namespace: rule.namespace, name: rule.name }, rule.namespace);
        const id = await subscriptions.deliveryId(engineNamespace(rule.namespace), subscription, stored);
        return JSON.stringify({
          statusCode: 0,
          success: true,
          ...(id === undefined ? {} : { activationId: activationIdOf(id) }),
          ...about,
        });
      }),
    );
  }

  return {
    putTrigger,

    async fire(trigger, payload, headers) {
      const rules = await documents.rulesOf(trigger.namespace, trigger.name);
      if (!rules.some(({ status }) => status === "active")) return undefined;
      const id = identify();
      const event = {
        specversion: "1.0",
        id,
        source: `/openwhisk/${encodeURIComponent(trigger.namespace)}/triggers/${encodeURIComponent(trigger.name)}`,
        type: "org.apache.openwhisk.trigger",
        datacontenttype: "application/json",
        data: { ...defaultsOf(trigger), ...(payload as object), [headersField]: headers },
      };
      await topics.publish(
        engineNamespace(trigger.namespace),
        engineName({ namespace: trigger.namespace, name: trigger.name }, trigger.namespace),
        [event],
      );
      return activationIdOf(id);
    },

    async published(namespace, topic, events) {
      const own = whiskNamespace(namespace);
      const trigger = await documents.trigger(own, decoded(topic));
      if (trigger === undefined) return undefined;
      for (const stored of events) {
        engine.history.append(
          triggerRecord(namespace, topic, trigger, stored, await linesOf(trigger, stored), identify),
        );
      }
      return trigger;
    },

    async deleteTrigger(trigger, rules) {
      const namespace = engineNamespace(trigger.namespace);
      for (const rule of rules) {
        await subscriptions.delete(
          namespace,
          engineName({ namespace: rule.namespace, name: rule.name }, rule.namespace),
        );
      }
      const topic = engineName({ namespace: trigger.namespace, name: trigger.name }, trigger.namespace);
      // Its alarms, where the client did not ask their feed to delete them.
      for (const source of await sources.list(namespace)) {
        if (source.topic === topic) await sources.delete(namespace, source.name);
      }
      await topics.delete(namespace, topic);
    },

    async putRule(rule) {
      const { namespace, name, trigger, status } = rule;
      const action = actionOf(rule);
      await subscriptions.put({
        namespace: engineNamespace(namespace),
        name: engineName({ namespace, name }, namespace),
        topic: engineName({ namespace: trigger.path, name: trigger.name }, namespace),
        target: { function: engineName(action, namespace), preferWorkflow: true },
        format: "data",
        enabled: status === "active",
        from: "newest",
      });
    },

    async deleteRule({ namespace, name }) {
      await subscriptions.delete(engineNamespace(namespace), engineName({ namespace, name }, namespace));
    },
  };
}

export function actionOf({ action, namespace }: Rule): QualifiedName {
  return readReference(`/${action.path}/${action.name}`, namespace)!;
}

export function defaultsOf({ parameters }: Pick<Trigger, "parameters">): Record<string, Json> {
  return Object.fromEntries(parameters.map(({ key, value }) => [key, value]));
}

function decoded(topic: string): string {
  return topic.replaceAll(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCodePoint(Number.parseInt(hex, 16)));
}

function triggerRecord(
  namespace: string,
  topic: string,
  trigger: Trigger,
  { event, at }: StoredEvent,
  lines: readonly string[],
  identify: () => string,
): Invocation {
  const { [headersField]: _, ...payload } = (event.data ?? {}) as Record<string, Json>;
  const body = Buffer.from(JSON.stringify(payload));
  const note: WhiskNote = {
    path: `${trigger.namespace}/${trigger.name}`,
    kind: "trigger",
    version: trigger.version,
    logs: lines,
  };
  return {
    // A timer's events have names of their own.
    id: /^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(event.id) ? event.id : identify(),
    namespace,
    name: topic,
    revision: 0,
    cause: { kind: "event" },
    status: "succeeded",
    attempt: 1,
    timings: { acceptedAt: at, queueMs: 0, coldStartMs: 0, initMs: 0, runMs: 0, totalMs: 0 },
    usage: {
      coldStart: false,
      billedMs: 0,
      memoryMb: 0,
      memoryPeakBytes: 0,
      cpuMs: 0,
      bytesIn: body.length,
      bytesOut: 0,
    },
    logs: [],
    result: { status: 200, headers: jsonType, body: body.toString("base64") },
    annotations: { whisk: note as unknown as Json },
  };
}

const jsonType = ["content-type", "application/json"];
