import type { IncomingMessage, ServerResponse } from "node:http";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { requestId } from "../telemetry/request-id.ts";
import type { CallPath } from "./call-path.ts";
import { authenticate } from "./credential.ts";
import { linger, refuse } from "./refusal.ts";
import type { RequestHead } from "./request-head.ts";

/** `/healthz`, `/readyz` and `/metrics`. */
export class Health {
  /** Set when the platform stops: whoever balances load should send nothing more. */
  draining = false;
  readonly #engine: CallPath["engine"];
  readonly #identify: () => string;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #probe: () => Promise<void>;
  #probed: Promise<void> | undefined = undefined;
  #probedAt = Number.NEGATIVE_INFINITY;

  /** `probe` tries what every accepted call needs: a durable write. */
  constructor({ engine, identify, clock, metrics }: CallPath, probe: () => Promise<void>) {
    this.#engine = engine;
    this.#identify = identify;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#probe = probe;
  }

  /** False where the path is none of these. */
  serve(path: string, request: IncomingMessage, response: ServerResponse, head: RequestHead): boolean {
    const id = requestId(head.requestId, this.#identify);
    if (path === "/healthz") this.#answer(response, id, "application/json", '{"status":"up"}\n');
    else if (path === "/readyz") void this.#ready(response, id);
    else if (path === "/metrics") void this.#scrape(response, id, head.authorization);
    else return false;
    linger(request, this.#clock);
    return true;
  }

  async #ready(response: ServerResponse, id: string): Promise<void> {
    try {
      if (this.draining) throw new VirgaError("unavailable", "the platform is stopping");
      // The path is open to everyone: one write a second at most, however often it is asked.
      if (this.#clock.monotonic() - this.#probedAt > 1000) {
        this.#probedAt = this.#clock.monotonic();
        this.#probed = this.#probe();
      }
      await this.#probed;
      this.#answer(response, id, "application/json", '{"status":"ready"}\n');
    } catch (thrown) {
      const { message } = asVirgaError(thrown);
      const error = new VirgaError("unavailable", `not ready: ${message}`);
      this.#metrics.request("health", error.status);
      refuse(response, error, ["x-request-id", id]);
    }
  }

  async #scrape(response: ServerResponse, id: string, authorization: string | undefined): Promise<void> {
    try {
      const token = authenticate(this.#engine.access, authorization);
      if (token.namespaces !== "*" || token.role !== "admin") {
        throw new VirgaError("forbidden", "metrics are about every namespace", { fix: "use an administrator's token" });
      }
      this.#answer(response, id, this.#metrics.contentType, await this.#metrics.render());
    } catch (thrown) {
      const error = asVirgaError(thrown);
      this.#metrics.request("health", error.status);
      refuse(response, error, ["x-request-id", id]);
    }
  }

  #answer(response: ServerResponse, id: string, type: string, text: string): void {
    this.#metrics.request("health", 200);
    if (response.destroyed) return;
    const length = String(Buffer.byteLength(text));
    response.writeHead(200, ["content-type", type, "content-length", length, "x-request-id", id]);
    response.end(text);
  }
}
