import { existsSync } from "node:fs";
import { join } from "node:path";
import { VirgaError } from "../core/errors.ts";
import type { FunctionConfig } from "../core/model.ts";
import { ActionLoopInstance } from "../links/actionloop/index.ts";
import { DeferredInstance } from "../links/deferred-instance.ts";
import { ExecInstance } from "../links/exec/index.ts";
import { HttpInstance, InitRunInstance } from "../links/http/index.ts";
import type {
  BuildRequest,
  Detection,
  Instance,
  Runtime,
  StartRequest,
  Toolchain as HostToolchain,
} from "../ports/runtime.ts";
import type { Mount } from "../ports/sandbox.ts";

/** What is peculiar to a language whose code becomes a program of its own. */
export interface Toolchain {
  readonly name: string;
  /** The first is the default. Rejects with `runtime_unavailable`, naming the package to install. */
  versions(): Promise<readonly string[]>;
  detect(directory: string): Promise<Detection | undefined>;
  /** Part of the build cache's key: what does the building, in which version. */
  fingerprint(): Promise<string>;
  /** Compiles, or checks, in place. Rejects with `build_failed`, naming file and line. */
  build(request: BuildRequest): Promise<void>;
  /** The program; `root` is the code's folder inside the sandbox. */
  command(root: string, config: FunctionConfig): readonly string[];
  /** For builds that somebody else runs. */
  toolchain?(): Promise<HostToolchain>;
  /** What of the host it needs beside the system's folders. */
  readonly mounts?: readonly Mount[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** A runtime of programs: a server on `$PORT` (`http`), a process for each call (`stdio`), a loop (`actionloop`), or a server of `/init` and `/run` (`openwhisk`). */
export function programRuntime(toolchain: Toolchain): Runtime {
  const describe = (config: FunctionConfig) => ({
    command: (root: string) => [...toolchain.command(root, config), ...config.args],
    mounts: toolchain.mounts ?? [],
    environment: () => ({ ...baseEnvironment, ...toolchain.environment }),
  });
  return {
    name: toolchain.name,
    prewarm: false,
    versions: () => toolchain.versions(),
    detect: (directory) => toolchain.detect(directory),
    fingerprint: () => toolchain.fingerprint(),
    ...(toolchain.toolchain === undefined ? {} : { toolchain: () => toolchain.toolchain!() }),

    async build(request) {
      const { convention } = request.config;
      if (request.signal.aborted) throw new VirgaError("cancelled", "The deploy was cancelled");
      if (!conventions.has(convention)) {
        throw new VirgaError(
          "build_failed",
          `A program in ${toolchain.name} cannot be called by convention \`${convention}\``,
          {
            field: "convention",
            fix: "Set convention to `http` (a server on $PORT), `stdio` (a process for each call), `actionloop`, or `openwhisk` (a server with /init and /run).",
          },
        );
      }
      await toolchain.versions();
      await toolchain.build(request);
    },

    start(request: StartRequest): Promise<Instance> {
      const instance = new DeferredInstance(request.id, undefined, ({ config, directory }) => {
        const program = describe(config);
        if (config.convention === "http") return new HttpInstance(request, () => program);
        if (config.convention === "openwhisk") return new InitRunInstance(request, () => program);
        if (config.convention === "stdio") return new ExecInstance(request, () => program);
        // A program that came compiled may be from before there was a word for being ready.
        const acknowledges = existsSync(join(directory, acknowledging));
        return new ActionLoopInstance(request, () => ({ ...program, acknowledges }));
      });
      return Promise.resolve(instance);
    },
  };
}

/** A file with which code says that its program acknowledges (`links/actionloop`); one that came compiled may not. */
export const acknowledging = ".virga/acknowledges";
const conventions = new Set(["http", "stdio", "actionloop", "openwhisk"]);
const baseEnvironment = { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: "/tmp", LANG: "C.UTF-8" };
