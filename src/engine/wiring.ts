import type { VirgaError } from "../core/errors.ts";
import type { LogLine } from "../core/model.ts";
import type { Clock } from "../ports/clock.ts";
import type { InstanceEvents, NestedAnswer, NestedCall } from "../ports/runtime.ts";
import type { History } from "./engine.ts";
import type { Fleet } from "./fleet.ts";
import type { PoolCall, Worker } from "./worker.ts";

/** A call from inside an instance; `parent` is undefined where the instance names none of its own calls. */
export type CallFunction = (parent: PoolCall | undefined, request: NestedCall) => Promise<NestedAnswer>;

/**
 * What an instance says besides answers, led to where it belongs. Made before the instance is,
 * and bound to its fleet and worker as these become known: a prewarmed instance has neither yet.
 */
export class Wiring implements InstanceEvents {
  readonly #id: string;
  readonly #clock: Clock;
  readonly #history: Pick<History, "logged">;
  readonly #callFunction: CallFunction;
  fleet: Fleet | undefined;
  worker: Worker | undefined;
  #strayWindow = 0;
  #strayLength = 0;

  constructor(id: string, clock: Clock, history: Pick<History, "logged">, callFunction: CallFunction) {
    this.#id = id;
    this.#clock = clock;
    this.#history = history;
    this.#callFunction = callFunction;
  }

  log(invocation: string | undefined, line: LogLine): void {
    const fleet = this.fleet;
    if (fleet === undefined) return;
    const call = invocation === undefined ? undefined : this.worker?.call(invocation);
    if (call === undefined ? !this.#strayFits(line, fleet) : !call.logged(line)) return;
    if (this.worker === undefined) fleet.onTrialLog?.(line.text);
    const { namespace, name, number } = fleet.revision;
    this.#history.logged({
      namespace,
      name,
      revision: number,
      instance: this.#id,
      invocation: call?.id,
      at: line.at,
      stream: line.stream,
      text: line.text,
    });
  }

  acknowledged(invocation: string): void {
    this.worker?.acknowledged(invocation);
  }

  callFunction(parent: string, request: NestedCall): Promise<NestedAnswer> {
    return this.#callFunction(this.worker?.call(parent), request);
  }

  /** The instance has died under these calls. */
  lose(error: VirgaError): void {
    for (const call of this.worker?.calls ?? []) call.lost(error);
  }

  /** Output outside of any call has one call's share for each second. */
  #strayFits(line: LogLine, fleet: Fleet): boolean {
    const window = Math.floor(this.#clock.monotonic() / 1000);
    if (window !== this.#strayWindow) {
      this.#strayWindow = window;
      this.#strayLength = 0;
    }
    this.#strayLength += line.text.length;
    return this.#strayLength <= fleet.revision.config.limits.logBytes;
  }
}
