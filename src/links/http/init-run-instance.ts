import { VirgaError } from "../../core/errors.ts";
import type { Call, CallHandle, CallSink, Instance, Specialisation, StartRequest } from "../../ports/runtime.ts";
import type { ExitReport, ProgramUsage } from "../../ports/sandbox.ts";
import { HttpInstance, type HttpProgram } from "./http-instance.ts";
import { RunCall } from "./run-call.ts";

/**
 * A server of OpenWhisk's protocol for containers, on `$PORT`: one `POST /init` before it is ready, one `POST /run` for each
 * call. What it answers to `/run` is the answer of the call. Lines that only say where an activation's log ends are left out.
 */
export class InitRunInstance implements Instance {
  readonly id: string;
  readonly exited: Promise<ExitReport>;
  readonly #server: HttpInstance;
  #code: Specialisation | undefined;
  /** Calls whose bodies are still on their way here; the server has not heard of them. */
  readonly #receiving = new Set<RunCall>();
  #whenReceived: (() => void) | undefined;

  constructor(request: StartRequest, describe: (code: Specialisation) => HttpProgram) {
    const { events } = request;
    this.#server = new HttpInstance(
      {
        ...request,
        events: {
          log: (invocation, line) => {
            if (line.text !== endOfLog) events.log(invocation, line);
          },
          acknowledged: (invocation) => events.acknowledged?.(invocation),
          callFunction: (parent, nested) => events.callFunction(parent, nested),
        },
      },
      describe,
    );
    this.id = request.id;
    this.exited = this.#server.exited;
  }

  async specialise(code: Specialisation): Promise<void> {
    const giveUp = AbortSignal.timeout(code.config.limits.startTimeoutMs);
    await this.#server.specialise(code);
    this.#code = code;
    try {
      await this.#initialise(code, giveUp);
    } catch (error) {
      await this.#server.stop(0);
      throw error;
    }
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    const run: RunCall = new RunCall(this.#server, this.#code!, call, sink, () => {
      this.#receiving.delete(run);
      if (this.#receiving.size === 0) this.#whenReceived?.();
    });
    this.#receiving.add(run);
    if (call.body !== undefined) run.begin(call.body);
    return run;
  }

  /** Everything goes by `/run`. */
  upgradeAddress(): undefined {
    return undefined;
  }

  usage(): Promise<ProgramUsage> {
    return this.#server.usage();
  }

  async stop(graceMs: number): Promise<ExitReport> {
    const began = performance.now();
    if (this.#receiving.size > 0 && graceMs > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#whenReceived = resolve;
        timer = setTimeout(resolve, graceMs);
      });
      clearTimeout(timer);
    }
    return this.#server.stop(Math.max(0, graceMs - (performance.now() - began)));
  }

  async #initialise({ namespace, name, config, environment }: Specialisation, giveUp: AbortSignal): Promise<void> {
    const { host, port } = this.#server.upgradeAddress()!;
    const value = { name: `/${namespace}/${name}`, main: "main", code: "", binary: false, env: environment };
    let status: number;
    let text: string;
    try {
      const answer = await fetch(`http://${host.includes(":") ? `[${host}]` : host}:${port}/init`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ value }),
        signal: giveUp,
      });
      status = answer.status;
      text = await answer.text();
    } catch (error) {
      if (giveUp.aborted) {
        const limit = config.limits.startTimeoutMs;
        throw new VirgaError("timeout", `The server did not answer /init within ${limit} ms`, {
          field: "limits.startTimeoutMs",
          fix: "Raise limits.startTimeoutMs, or do less in /init.",
        });
      }
      const crash = await this.#server.crashBehind();
      throw new VirgaError(
        "start_failed",
        `The server broke off /init: ${crash?.message ?? (error as Error).message}`,
        {
          cause: error,
          ...(crash?.detail.log === undefined ? {} : { log: crash.detail.log }),
        },
      );
    }
    if (status === 200) return;
    throw new VirgaError("start_failed", `The server answered /init with ${status}: ${text.slice(0, 500)}`, {
      fix: "Answer /init with 200 when the server can take calls.",
    });
  }
}

/** What OpenWhisk's servers print on both outputs after `/run` and a failed `/init`. */
const endOfLog = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";
