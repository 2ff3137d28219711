/** What came of asynchronous calls, sent to those who asked for it (contract section 2.2). Durable: a callback outlives a crash. */
import { asVirgaError } from "../../core/errors.ts";
import type { Invocation } from "../../core/model.ts";
import type { History } from "../../engine/engine.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock, Timer } from "../../ports/clock.ts";
import type { Log } from "../../ports/log.ts";
import type { Lease, Queue } from "../../ports/queue.ts";

export interface CallbacksOptions {
  readonly queue: Queue;
  readonly history: Pick<History, "get">;
  readonly values: Pick<Blobs, "get">;
  readonly clock: Clock;
  readonly log: Log;
  /** Where the gateway itself is reached, for addresses that call it `gateway`; undefined while it is not. */
  readonly gateway: () => string | undefined;
}

interface Order {
  readonly namespace: string;
  readonly callback: string;
  readonly callId: string;
}

export class Callbacks {
  readonly #options: CallbacksOptions;
  readonly #sending = new Set<Promise<void>>();
  readonly #cutOff = new AbortController();
  #timer: Timer | undefined;
  #pumping = false;
  #stopped = false;

  constructor(options: CallbacksOptions) {
    this.#options = options;
  }

  /** At the platform's start: what a predecessor held is nobody's. */
  async start(): Promise<void> {
    await this.#options.queue.reclaim?.(queueName);
    await this.#pump();
  }

  /** Of a settled call; resolves when its callback is on disk. The same call again is the same callback. */
  settled(record: Invocation): Promise<void> | undefined {
    const note = record.annotations?.["openfaas"] as { callId: string; callback?: string } | undefined;
    if (note?.callback === undefined || record.status === "cancelled") return undefined;
    return this.#keep(record, { namespace: record.namespace, callback: note.callback, callId: note.callId });
  }

  /** Those on their way have `graceMs`; then they are left for the next start. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    const patience = this.#options.clock.after(graceMs, () => this.#cutOff.abort());
    await Promise.all(this.#sending);
    patience.cancel();
  }

  async #keep({ id }: Invocation, order: Order): Promise<void> {
    await this.#options.queue.enqueue(queueName, { id, body: Buffer.from(JSON.stringify(order)) });
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#pumping || this.#stopped) return;
    this.#pumping = true;
    const { queue, clock, log } = this.#options;
    try {
      while (!this.#stopped && this.#sending.size < atOnce) {
        const leases = await queue.lease(queueName, atOnce - this.#sending.size, leaseMs);
        for (const lease of leases) {
          const sending = this.#send(lease).finally(() => {
            this.#sending.delete(sending);
            void this.#pump();
          });
          this.#sending.add(sending);
        }
        if (leases.length === 0) break;
      }
      this.#timer?.cancel();
      const dueAt = await queue.nextDueAt(queueName);
      if (dueAt !== undefined && !this.#stopped)
        this.#timer = clock.after(Math.max(leastPauseMs, dueAt - clock.now()), () => void this.#pump());
    } catch (thrown) {
      log.error("callbacks could not be looked for", { error: asVirgaError(thrown) });
      if (!this.#stopped) this.#timer = clock.after(troubleMs, () => void this.#pump());
    } finally {
      this.#pumping = false;
    }
  }

  async #send(lease: Lease): Promise<void> {
    const { queue, history, log } = this.#options;
    const order = JSON.parse(Buffer.from(lease.body).toString("utf8")) as Order;
    const fields = { namespace: order.namespace, callId: order.callId, invocation: lease.id };
    try {
      const record = await history.get(order.namespace, lease.id);
      if (record !== undefined) await this.#post(order, record);
      await queue.settle(queueName, lease.receipt);
    } catch (thrown) {
      const error = asVirgaError(thrown);
      if (this.#stopped || lease.attempt < mostAttempts) {
        const pauseMs = Math.min(firstPauseMs * 2 ** (lease.attempt - 1), longestPauseMs);
        await queue.release(queueName, lease.receipt, pauseMs).catch(() => undefined);
        return;
      }
      log.warn("a callback was given up", { ...fields, attempts: lease.attempt, error });
      await queue.bury(queueName, lease.receipt, error.message).catch(() => undefined);
    }
  }

  /** Rejects where it does not arrive. Whatever it is answered, but for 429 and 5xx, it has arrived. */
  async #post({ callback, callId }: Order, record: Invocation): Promise<void> {
    const { result, timings, name, namespace } = record;
    const headers = new Headers();
    const given = result?.headers ?? [];
    for (let index = 0; index + 1 < given.length; index += 2) {
      if (!ownHeaders.has(given[index]!.toLowerCase())) headers.append(given[index]!, given[index + 1]!);
    }
    headers.set("x-call-id", callId);
    headers.set("x-duration-seconds", (timings.runMs / 1000).toFixed(6));
    headers.set("x-function-status", String(result?.status ?? 503));
    headers.set("x-function-name", namespace === "openfaas-fn" ? name : `${name}.${namespace}`);
    const body = result === undefined ? Buffer.from(record.error?.message ?? "") : await this.#bodyOf(result);
    const address = this.#addressOf(callback);
    // Fetch takes no address with a password in it.
    if (address.username !== "" || address.password !== "") {
      const pair = [address.username, address.password].map(decodeURIComponent).join(":");
      headers.set("authorization", `Basic ${Buffer.from(pair).toString("base64")}`);
      address.username = address.password = "";
    }
    const answer = await fetch(address, {
      method: "POST",
      headers,
      body: new Uint8Array(body),
      redirect: "follow",
      signal: AbortSignal.any([AbortSignal.timeout(answerMs), this.#cutOff.signal]),
    });
    // Unread, it would hold its connection.
    await answer.body?.cancel();
    const { status } = answer;
    if (status === 429 || status >= 500) throw new Error(`${address.origin}${address.pathname} answered ${status}`);
  }

  async #bodyOf({ body, blob }: NonNullable<Invocation["result"]>): Promise<Buffer> {
    if (blob === undefined) return Buffer.from(body ?? "", "base64");
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await this.#options.values.get(blob)).content) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  #addressOf(callback: string): URL {
    const url = new URL(callback);
    const gateway = this.#options.gateway();
    if (gateway === undefined || !gatewayNames.has(url.hostname)) return url;
    return new URL(`${gateway}${url.pathname}${url.search}`);
  }
}

/** What the platform itself is called by those who were written for a cluster. */
export const gatewayNames: ReadonlySet<string> = new Set([
  "gateway",
  "gateway.openfaas",
  "gateway.openfaas.svc",
  "gateway.openfaas.svc.cluster.local",
]);

const queueName = "openfaas/callbacks";
const ownHeaders = new Set(["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"]);
const atOnce = 64;
const leaseMs = 120_000;
const answerMs = 60_000;
const firstPauseMs = 1000;
const longestPauseMs = 120_000;
const mostAttempts = 12;
const leastPauseMs = 50;
const troubleMs = 1000;
