/** The whole way of an event over real SQLite: topics, fan-out, the real dispatcher; functions are scripts, time is the test's. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { VirgaError } from "../../src/core/errors.ts";
import { openSqliteStore, type SqliteStore } from "../../src/drivers/store/sqlite/store.ts";
import { createMemoryStore } from "../../src/drivers/store/memory/store.ts";
import { createDispatcher } from "../../src/engine/dispatcher.ts";
import type { Dispatcher, StartRun, Workflows } from "../../src/engine/engine.ts";
import { createEvents, type EventsEngine } from "../../src/engine/events.ts";
import { createHistory } from "../../src/engine/history.ts";
import { createIdentifier } from "../../src/engine/identifier.ts";
import { removeTree } from "../removal.ts";
import type { Clock } from "../../src/ports/clock.ts";
import type { FakeCall } from "./fake-runtime.ts";
import { ManualClock, seededChance } from "./manual-clock.ts";
import { revisionOf, rig, type RevisionSettings, silent } from "./rig.ts";

/** A run of a function for an event, as the function saw it. */
export interface Delivery {
  readonly function: string;
  readonly invocation: string;
  readonly subscription: string;
  readonly sequence: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class World {
  readonly clock = new ManualClock();
  readonly deliveries: Delivery[] = [];
  /** How a call of the function ends; 200 where it says nothing. */
  answer: (delivery: Delivery, call: FakeCall) => number | undefined = () => 200;
  /** Why the dispatcher takes no call, where it takes none. */
  refusal: VirgaError | undefined;
  events!: EventsEngine;
  dispatcher!: Dispatcher;
  readonly #file: string;
  readonly #chance = seededChance();
  readonly #functions = new Map<string, RevisionSettings>();
  #store!: SqliteStore;
  #isOpen = false;
  #life!: Life;
  #rig!: ReturnType<typeof rig>;

  constructor(t: { after(action: () => void): void }) {
    const folder = mkdtempSync(join(tmpdir(), "virga-events-"));
    this.#file = join(folder, "store.sqlite");
    t.after(() => {
      this.kill();
      removeTree(folder);
    });
    this.open();
  }

  /** A new process on the old store. Without events: one that dies before it comes to them. */
  open(withEvents = true): void {
    const life: Life = { dead: false, calls: Infinity };
    this.#life = life;
    const clock: Clock = {
      now: () => this.clock.now(),
      monotonic: () => this.clock.monotonic(),
      after: (delayMs, action) => this.clock.after(delayMs, () => life.dead || action()),
    };
    this.#store = openSqliteStore({ file: this.#file, clock, chance: this.#chance });
    this.#isOpen = true;
    const records = mortal(this.#store.records, life);
    const journal = mortal(this.#store.journal, life);
    const queue = mortal(this.#store.queue, life);
    this.#rig = rig({}, this.clock);
    this.#rig.runtime.onCall = (call) => {
      if (!life.dead) this.#ran(call, life);
    };
    const history = createHistory({
      journal,
      clock,
      log: silent,
      retention: { maxPerNamespace: 100_000, maxAgeMs: 30 * 86_400_000 },
    });
    const identify = createIdentifier(clock, this.#chance);
    const { functions, invoker } = this.#rig;
    for (const settings of this.#functions.values()) functions.deploy(revisionOf(settings));
    this.dispatcher = createDispatcher({
      queue,
      records,
      values: createMemoryStore({ clock, chance: this.#chance }).blobs,
      invoker,
      functions,
      history,
      clock,
      chance: this.#chance,
      identify,
      log: silent,
      concurrency: 100,
    });
    const dispatcher: Pick<Dispatcher, "accept" | "status"> = {
      status: (namespace, id) => this.dispatcher.status(namespace, id),
      accept: (request) =>
        this.refusal === undefined ? this.dispatcher.accept(request) : Promise.reject(this.refusal),
    };
    this.events = createEvents({
      records,
      journal,
      dispatcher,
      functions,
      workflows: this.workflows,
      clock,
      identify,
      log: silent,
    });
    this.dispatcher.start();
    if (withEvents) this.events.start();
  }

  /** Names of workflows that there are, and the runs that were begun, by id. */
  readonly workflowNames = new Set<string>();
  readonly runs = new Map<string, StartRun>();
  readonly workflows: Pick<Workflows, "get" | "start"> = {
    get: (namespace, name) =>
      Promise.resolve(
        this.workflowNames.has(name)
          ? { namespace, name, version: 1, definition: { steps: [] }, createdAt: 0, updatedAt: 0 }
          : undefined,
      ),
    start: (request) => {
      const id = request.id!;
      const duplicate = this.runs.has(id);
      if (!duplicate) this.runs.set(id, request);
      return Promise.resolve({ id, duplicate });
    },
  };

  /** SIGKILL: nothing that was not asked of the store by now is ever done. */
  kill(): void {
    this.#life.dead = true;
    if (this.#isOpen) this.#store.close();
    this.#isOpen = false;
  }

  restart(): void {
    this.kill();
    this.open();
  }

  /** The process dies at its call of the store after `calls` more. Resolves when it is dead. */
  killAfter(calls: number): void {
    this.#life.calls = calls;
  }

  get dead(): boolean {
    return this.#life.dead;
  }

  deploy(name: string, settings: RevisionSettings = {}): void {
    this.#functions.set(name, { ...settings, name });
    this.#rig.functions.deploy(revisionOf({ ...settings, name }));
  }

  undeploy(name: string): void {
    this.#functions.delete(name);
    this.#rig.functions.delete({ namespace: "default", name });
  }

  async topic(name = "orders", retention = {}): Promise<void> {
    await this.events.topics.put({ namespace: "default", name, retention });
  }

  publish(ids: readonly string[], more: object = {}, topic = "orders"): Promise<{ first: number; last: number }> {
    const events = ids.map((id) => ({ specversion: "1.0", id, source: "/shop", type: "order.placed", ...more }));
    return this.events.topics.publish("default", topic, events);
  }

  subscribe(name: string, more: object = {}, target: object = {}): Promise<unknown> {
    return this.events.subscriptions.put({
      namespace: "default",
      name,
      topic: "orders",
      target: { function: "note", ...target },
      ...more,
    });
  }

  async status(name: string) {
    return (await this.events.subscriptions.get("default", name))?.status;
  }

  /** What is under way comes to rest; with `ms`, after that time. */
  async pass(ms = 0): Promise<void> {
    await this.clock.advance(ms);
    for (let turn = 0; turn < 60; turn++) await setImmediate();
    await this.clock.advance(10);
    for (let turn = 0; turn < 20; turn++) await setImmediate();
  }

  ids(subscription: string): string[] {
    return this.deliveries.filter((one) => one.subscription === subscription).map((one) => one.headers["ce-id"]!);
  }

  #ran(call: FakeCall, life: Life): void {
    const { headers: flat, id, body } = call.call;
    const headers: Record<string, string> = {};
    for (let index = 0; index < flat.length; index += 2) headers[flat[index]!] = flat[index + 1]!;
    const delivery: Delivery = {
      function: call.instance.code?.name ?? "",
      invocation: id,
      subscription: headers["x-virga-subscription"] ?? "",
      sequence: Number(headers["x-virga-sequence"]),
      headers,
      body: Buffer.from(body ?? []).toString(),
    };
    this.deliveries.push(delivery);
    const status = this.answer(delivery, call);
    if (status === undefined) return;
    void setImmediate().then(() => {
      if (!life.dead && call.cancelled === undefined) call.answer(status);
    });
  }
}

interface Life {
  dead: boolean;
  calls: number;
}

/** What a process that was killed asks of its store is never done. */
function mortal<T extends object>(port: T, life: Life): T {
  return new Proxy(port, {
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver);
      if (typeof member !== "function") return member;
      return (...parameters: unknown[]): unknown => {
        if (life.calls-- <= 0) life.dead = true;
        if (life.dead) return new Promise(() => {});
        return Reflect.apply(member, target, parameters);
      };
    },
  });
}
