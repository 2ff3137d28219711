import { VirgaError, asVirgaError } from "../core/errors.ts";
import type { FunctionConfig, Limits, Network, Revision } from "../core/model.ts";
import type { Artifacts } from "../ports/artifacts.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Instance, InstanceEvents, Runtime } from "../ports/runtime.ts";
import type { Sandbox } from "../ports/sandbox.ts";
import type { Secrets } from "./engine.ts";

export interface StarterOptions {
  readonly runtimes: ReadonlyMap<string, Runtime>;
  readonly sandbox: Sandbox;
  readonly artifacts: Pick<Artifacts, "locate">;
  readonly secrets: Pick<Secrets, "reveal">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface BlankRequest {
  readonly id: string;
  readonly runtime: string;
  readonly limits: Limits;
  readonly network: Network;
  readonly events: InstanceEvents;
  readonly background?: boolean;
}

/** Starts blank instances and loads code into them. */
export class Starter {
  readonly #options: StarterOptions;

  constructor(options: StarterOptions) {
    this.#options = options;
  }

  runtimeOf(runtime: string): Runtime {
    const name = nameOf(runtime);
    const found = this.#options.runtimes.get(name);
    if (found !== undefined) return found;
    throw new VirgaError("runtime_unknown", `There is no runtime ${name} on this server`, {
      field: "runtime",
      fix: `Use one of ${[...this.#options.runtimes.keys()].join(", ")}.`,
    });
  }

  async blank(request: BlankRequest): Promise<Instance> {
    const runtime = this.runtimeOf(request.runtime);
    return this.#within(
      request.limits.startTimeoutMs,
      runtime.start({ ...request, sandbox: this.#options.sandbox }),
      // It came too late, when nobody waits for it any more.
      (instance) => this.end(instance),
    );
  }

  /** What `specialise` needs beside the instance: code on disk, secrets in clear. Gathered while a blank one starts. */
  async belongings(revision: Revision): Promise<Belongings> {
    const { config } = revision;
    const [directory, secrets] = await Promise.all([
      this.#options.artifacts.locate(revision.artifact),
      config.secrets.length === 0 ? noSecrets : this.#options.secrets.reveal(revision.namespace, config.secrets),
    ]);
    return { directory, environment: { ...config.environment, ...secrets } };
  }

  async specialise(instance: Instance, revision: Revision, belongings: Belongings): Promise<void> {
    await this.#within(
      revision.config.limits.startTimeoutMs,
      instance.specialise({
        namespace: revision.namespace,
        name: revision.name,
        revision: revision.number,
        config: revision.config,
        directory: belongings.directory,
        fileCount: revision.build.fileCount,
        environment: belongings.environment,
      }),
      () => undefined,
    );
  }

  /** Kills an instance that is of no use. Resolves when it is gone. */
  async end(instance: Instance): Promise<void> {
    try {
      await instance.stop(0);
    } catch (thrown) {
      this.#options.log.error("an instance could not be stopped", {
        instance: instance.id,
        error: asVirgaError(thrown),
      });
    }
  }

  /**
   * Runtimes keep the start timeout themselves, and know better what was late. This is for one that does not come back:
   * a call must never wait for it.
   */
  async #within<T>(timeoutMs: number, work: Promise<T>, late: (value: T) => Promise<void> | undefined): Promise<T> {
    const over = Promise.withResolvers<never>();
    let isOver = false;
    const timer = this.#options.clock.after(timeoutMs + spareMs, () => {
      isOver = true;
      over.reject(
        new VirgaError("timeout", `The instance was not ready within ${timeoutMs} ms`, {
          field: "limits.startTimeoutMs",
          fix: "Raise limits.startTimeoutMs, or do less before the first call.",
        }),
      );
    });
    try {
      return await Promise.race([work, over.promise]);
    } finally {
      timer.cancel();
      if (isOver) work.then(late, () => undefined);
    }
  }
}

export interface Belongings {
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Whether a prewarmed instance can take the code: not where the program starts with it. */
export function takesBlank(config: FunctionConfig): boolean {
  return config.convention !== "http" && config.convention !== "stdio";
}

/** `node` of `node:22`. */
export function nameOf(runtime: string): string {
  const colon = runtime.indexOf(":");
  return colon < 0 ? runtime : runtime.slice(0, colon);
}

const noSecrets: Record<string, string> = {};
const spareMs = 1000;
