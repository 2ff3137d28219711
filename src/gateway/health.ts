import type { IncomingMessage, ServerResponse } from "node:http";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { Access } from "../engine/engine.ts";
import type { Clock } from "../ports/clock.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { authenticate } from "./credential.ts";
import { refuse } from "./refusal.ts";

/** `/healthz`, `/readyz` and `/metrics`. */
export class Health {
  /** Set when the platform stops: whoever balances load should send nothing more. */
  draining = false;
  readonly #access: Access;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #probe: () => Promise<void>;
  #probed: Promise<void> | undefined = undefined;
  #probedAt = Number.NEGATIVE_INFINITY;

  /** `probe` tries what every accepted call needs: a durable write. */
  constructor(access: Access, clock: Clock, metrics: Metrics, probe: () => Promise<void>) {
    this.#access = access;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#probe = probe;
  }

  /** False where the path is none of these. */
  serve(path: string, request: IncomingMessage, response: ServerResponse, authorization: string | undefined): boolean {
    if (path === "/healthz") this.#answer(response, 200, "application/json", '{"status":"up"}\n');
    else if (path === "/readyz") void this.#ready(response);
    else if (path === "/metrics") void this.#scrape(response, authorization);
    else return false;
    request.resume();
    return true;
  }

  async #ready(response: ServerResponse): Promise<void> {
    try {
      if (this.draining) throw new VirgaError("unavailable", "the platform is stopping");
      // The path is open to everyone: one write a second at most, however often it is asked.
      if (this.#clock.monotonic() - this.#probedAt > 1000) {
        this.#probedAt = this.#clock.monotonic();
        this.#probed = this.#probe();
      }
      await this.#probed;
      this.#answer(response, 200, "application/json", '{"status":"ready"}\n');
    } catch (thrown) {
      const { message } = asVirgaError(thrown);
      const error = new VirgaError("unavailable", `not ready: ${message}`);
      this.#metrics.request("health", error.status);
      refuse(response, error);
    }
  }

  async #scrape(response: ServerResponse, authorization: string | undefined): Promise<void> {
    try {
      const token = authenticate(this.#access, authorization);
      if (token.namespaces !== "*" || token.role !== "admin") {
        throw new VirgaError("forbidden", "metrics are about every namespace", { fix: "use an administrator's token" });
      }
      this.#answer(response, 200, this.#metrics.contentType, await this.#metrics.render());
    } catch (thrown) {
      const error = asVirgaError(thrown);
      this.#metrics.request("health", error.status);
      refuse(response, error);
    }
  }

  #answer(response: ServerResponse, status: number, type: string, text: string): void {
    this.#metrics.request("health", status);
    if (response.destroyed) return;
    response.writeHead(status, ["content-type", type, "content-length", String(Buffer.byteLength(text))]);
    response.end(text);
  }
}
